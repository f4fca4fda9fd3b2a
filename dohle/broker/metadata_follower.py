"""The broker's copy of the cluster image: it follows the active controller by a stream of committed batches.

Only what is committed is ever sent, so nothing applied is taken back. Each batch is applied whole, then handed to the
broker, which acts on it before the next is applied. A broker that begins with nothing, or was away for longer than the
log reaches back, takes a snapshot in place of the batches: whole or not at all.

A start follows while the logs of its partitions are still being opened: the broker, which needs them, takes over then
what is known by that time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator

from dohle.broker.controller_client import METHODS, ControllerClient
from dohle.model.errors import (
    CorruptLog,
    NetworkException,
    NotController,
    OffsetNotAvailable,
    RequestTimedOut,
    StorageFailure,
    ThrottlingQuotaExceeded,
    UnknownServerError,
    error_for,
)
from dohle.model.ids import NO_NODE
from dohle.model.image import EMPTY_IMAGE, ClusterImage
from dohle.model.image_apply import apply_batch
from dohle.model.metadata import check_levels
from dohle.model.metadata_batch import MetadataBatch, decode_metadata
from dohle.model.snapshot import SnapshotReader
from dohle.rpc.identity import NodeIdentity
from dohle.rpc.snapshot_download import SnapshotDownload
from dohle.rpc.v1 import controller_pb2
from dohle.runtime.clock import Clock
from dohle.runtime.network import Address, Lane, Network, Stream
from dohle.runtime.tasks import turn

log = logging.getLogger(__name__)

_AT_ONCE = 100
"""Records after which the broker acts, and the loop does what waits: a change can be of thousands."""

MetadataStream = Stream[controller_pb2.FollowMetadataRequest, controller_pb2.FollowMetadataResponse]
OnBatches = Callable[[ClusterImage, list[MetadataBatch] | None], Awaitable[None]]


class MetadataFollower:
    """`image` is the newest; `on_batches` is awaited with each step's image and batches, None for a snapshot."""

    def __init__(self, controller: ControllerClient, identity: NodeIdentity, network: Network, clock: Clock) -> None:
        self.controller = controller
        self.on_batches: OnBatches | None = None  # the broker's, once there is one
        self.image: ClusterImage = EMPTY_IMAGE
        self.controller_id: int = NO_NODE
        self.committed_end = 0  # of the metadata log, as the active controller said last
        self.current_at: float | None = None  # when it first had all that was committed
        self._identity = identity
        self._network = network
        self._clock = clock
        self._grown = asyncio.Event()
        self._current_until = clock.now()

    async def begin_with(self, image: ClusterImage) -> None:
        """Takes what this node's controller knows to be committed, before anything is followed."""
        assert self.image is EMPTY_IMAGE, "metadata is followed already"
        if image.next_offset:
            await self._know(image, None)

    def lag_s(self) -> float:
        """Returns for how long this broker has not known, as far as it can tell, all that is committed."""
        return 0.0 if self._is_current else self._clock.now() - self._current_until

    @property
    def _is_current(self) -> bool:
        return self.controller_id != NO_NODE and self.image.next_offset >= self.committed_end

    def _note_time(self) -> None:
        """To be called before anything changes that may end being current."""
        if self._is_current:
            self._current_until = self._clock.now()

    async def run(self) -> None:
        failures = 0
        while True:
            node_id, address = self.controller.believed
            before = self.image.next_offset
            try:
                await self.controller.reach(node_id)
                await self._install(address, await self._follow(address))
            except (NotController, NetworkException, RequestTimedOut, ThrottlingQuotaExceeded) as error:
                level = logging.DEBUG if self.controller_id == NO_NODE else logging.INFO
                log.log(level, "no more metadata from node %d at %s: %s", node_id, address, error.message)
                self.controller.failed(node_id, error)
            self._note_time()
            self.controller_id = NO_NODE
            failures = 1 if self.image.next_offset > before else failures + 1
            await self.controller.pause(failures)

    async def reached(self, offset: int, within_s: float) -> None:
        """Returns once everything below `offset` is in the image, and acted on; or when time is up."""
        try:
            async with asyncio.timeout(within_s):
                while self.image.next_offset < offset:
                    self._grown.clear()
                    await self._grown.wait()
        except TimeoutError:
            pass

    async def _follow(self, address: Address) -> int:
        """Returns, if ever, how far a snapshot has to reach, which comes next."""
        stream = self._network.stream(address, METHODS["FollowMetadata"], lane=Lane.CONTROL)
        try:
            request = controller_pb2.FollowMetadataRequest(
                hello=self._identity.hello(), next_offset=self.image.next_offset
            )
            with _asking():
                await stream.send(request)
            while (message := await self._next(stream)) is not None:
                if message.HasField("hello"):
                    self._identity.check(message.hello)
                self._note_time()
                self.controller_id = message.leader_id
                self.committed_end = max(self.committed_end, message.committed_end)
                if message.snapshot_end_offset:
                    return message.snapshot_end_offset
                await self._apply(message.batches)
                if self.current_at is None and self._is_current:
                    self.current_at = self._clock.now()
            raise NetworkException("the controller ended the metadata stream")
        finally:
            stream.close()

    async def _next(self, stream: MetadataStream) -> controller_pb2.FollowMetadataResponse | None:
        with _asking():
            message = await stream.receive()
            if message is not None:
                where = Address(message.leader_host, message.leader_port) if message.leader_host else None
                self.controller.learn(message.leader_id, where)  # who answers NOT_CONTROLLER may know who is
                if message.failure.code:
                    raise error_for(message.failure.code, message.failure.message)
            return message

    async def _install(self, address: Address, least_end_offset: int) -> None:
        """Takes the snapshot of the controller at `address`. Raises NetworkException where it is not to be had."""
        least_end_offset = max(least_end_offset, self.image.next_offset + 1)
        try:
            with _asking():
                async with SnapshotDownload(self._network, address, self._identity) as download:
                    reader = SnapshotReader(await download.begin(least_end_offset), f"of {address}")
                    while batches := await download.next():
                        for _ in reader.feed(batches):
                            await self._clock.sleep(0)
            image = reader.finish()
        except (CorruptLog, OffsetNotAvailable) as error:
            raise NetworkException(f"no snapshot of the metadata: {error.message}") from error
        check_levels(image.features, self._identity.features, "this node")
        log.info("took the snapshot of metadata up to offset %d from %s", image.next_offset, address)
        await self._know(image, None)

    async def _apply(self, encoded: bytes) -> None:
        """Takes small batches together, and acts on so many records at once that the loop does what waits between."""
        gathered: list[MetadataBatch] = []
        image, records = self.image, 0
        for batch in decode_metadata(encoded):
            if records >= _AT_ONCE:
                await self._take(image, gathered)
                await turn(0, every=1)
                gathered, records = [], 0
            image = apply_batch(image, batch.records, batch.base_offset)
            gathered.append(batch)
            records += len(batch.records)
        if gathered:
            await self._take(image, gathered)

    async def _take(self, image: ClusterImage, batches: list[MetadataBatch]) -> None:
        if image.features is not self.image.features:
            check_levels(image.features, self._identity.features, "this node")
        await self._know(image, batches)

    async def _know(self, image: ClusterImage, batches: list[MetadataBatch] | None) -> None:
        if image.voters != self.image.voters:
            self.controller.know({voter.node_id: Address(voter.host, voter.port) for voter in image.voters})
        self.image = image
        if self.on_batches is not None:
            await self.on_batches(image, batches)
        self._grown.set()


@contextlib.contextmanager
def _asking() -> Iterator[None]:
    """Around what comes from a controller: its own trouble moves this broker on to the next, and is no worse."""
    try:
        yield
    except (StorageFailure, UnknownServerError) as error:
        raise NetworkException(f"the controller failed: {error.message}") from error
