"""Fetching a snapshot from a peer: onto this disk, checked batch by batch, under a temporary name until it is wanted.

One at a time; what goes wrong is said and left, for the leader offers again. Never half applied: the image is made on
the side, and whoever asked for it gets it only when all of it is read and durable.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dohle.controller.snapshot_files import SnapshotFiles, is_full
from dohle.model.errors import DataFolderError, DohleError, StorageFailure, UnsupportedVersion
from dohle.model.ids import SnapshotId
from dohle.model.image import ClusterImage
from dohle.model.snapshot import SnapshotReader
from dohle.rpc.identity import NodeIdentity
from dohle.rpc.snapshot_download import SnapshotDownload
from dohle.runtime.clock import Clock
from dohle.runtime.disk import File
from dohle.runtime.network import Address, Network
from dohle.runtime.tasks import Tasks

_PAUSE_S = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A snapshot that is durable under its temporary name, and its image."""

    snapshot: SnapshotId
    image: ClusterImage


class SnapshotFetch:
    """One controller's. `fetched` is called with each that came through; it sees to the file then."""

    def __init__(
        self, files: SnapshotFiles, network: Network, clock: Clock, identity: NodeIdentity, tasks: Tasks
    ) -> None:
        self._files = files
        self._network = network
        self._clock = clock
        self._identity = identity
        self._tasks = tasks
        self._is_running = False

    def want(self, address: Address, snapshot: SnapshotId, fetched: Callable[[Fetched], None]) -> None:
        """Fetches `snapshot`, or a later one, unless a fetch is under way."""
        if not self._is_running:
            self._is_running = True
            self._tasks.spawn(self._run(address, snapshot, fetched), "fetch-snapshot")

    async def _run(self, address: Address, snapshot: SnapshotId, fetched: Callable[[Fetched], None]) -> None:
        try:
            fetched(await self._fetch(address, snapshot.end_offset))
        except (StorageFailure, UnsupportedVersion):
            raise
        except DohleError as error:
            log.warning("no snapshot from %s: %s", address, error.message)
            await self._clock.sleep(_PAUSE_S)
        finally:
            self._is_running = False

    async def fetch_from_any(self, addresses: Sequence[Address], least_end_offset: int) -> ClusterImage:
        """Returns a snapshot's image from whichever peer gives one, in place; waits for as long as none does."""
        while True:
            for address in addresses:
                try:
                    fetched = await self._fetch(address, least_end_offset)
                except (StorageFailure, UnsupportedVersion):
                    raise
                except DohleError as error:
                    log.warning("no snapshot from %s: %s", address, error.message)
                    continue
                await self._files.put_in_place(fetched.snapshot)
                return fetched.image
            await self._clock.sleep(_PAUSE_S)

    async def _fetch(self, address: Address, least_end_offset: int) -> Fetched:
        async with SnapshotDownload(self._network, address, self._identity) as download:
            snapshot = await download.begin(least_end_offset)
            part = self._files.begin(snapshot)
            try:
                image = await self._take(download, snapshot, part)
                await self._files.finish(snapshot, part)
            finally:
                part.close()
        log.info("the snapshot of metadata up to offset %d came from %s", snapshot.end_offset, address)
        return Fetched(snapshot, image)

    async def _take(self, download: SnapshotDownload, snapshot: SnapshotId, part: File) -> ClusterImage:
        reader = SnapshotReader(snapshot, f"of {download.address}")
        while batches := await download.next():
            for _ in reader.feed(batches):
                await self._clock.sleep(0)
            try:
                part.append([batches])
            except OSError as error:
                if is_full(error):
                    raise DataFolderError(f"there is no room for a snapshot: {error}; free space") from error
                raise StorageFailure(f"a snapshot cannot be written ({error}): this controller stops") from error
        image = reader.finish()
        self._files.first_batch_crc = self._files.first_batch_crc or reader.first_batch_crc
        return image
