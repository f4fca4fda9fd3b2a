"""The quorum's snapshots: what one voter writes, fetches and installs, and how its log is cut after them (rule 8).

Keeps: the log begins at the snapshot before the newest, or at the newest if that was installed; whatever the moment of
a crash, a start finds a sound snapshot at the log's start or past it. Files and log change only in the one task that
works on the log; fetching goes on beside it, since it may take long.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from dohle.controller.log_work import CutBelow, LogWork
from dohle.controller.raft_wire import voter_set
from dohle.controller.snapshot_fetch import Fetched, SnapshotFetch
from dohle.controller.snapshot_files import SnapshotFiles
from dohle.controller.voters_log import voters_said_by
from dohle.model.ids import SnapshotId
from dohle.model.image import ClusterImage
from dohle.raft.effects import Effect, InstallSnapshot
from dohle.raft.node import RaftNode
from dohle.runtime.network import Address
from dohle.storage.room import DiskFull
from dohle.storage.single_log import SingleLog

log = logging.getLogger(__name__)


class QuorumSnapshots:
    """One voter's, as long as its quorum runs."""

    def __init__(
        self,
        files: SnapshotFiles,
        fetch: SnapshotFetch,
        node: RaftNode,
        single_log: SingleLog,
        log_work: LogWork,
        carry_out: Callable[[Sequence[Effect]], None],
    ) -> None:
        self.files = files
        self._fetch = fetch
        self._node = node
        self._single_log = single_log
        self._log_work = log_work
        self._carry_out = carry_out
        self._fetched: Fetched | None = None

    def written(self, snapshot: SnapshotId) -> None:
        """A snapshot of what is applied was written here: the log is to be cut at the one before it."""
        self._node.snapshot_made(snapshot)
        if len(self.files.sound) > 1:
            self._log_work.put(CutBelow(self.files.sound[-2].end_offset))

    def fetch(self, address: Address, snapshot: SnapshotId) -> None:
        """Has `snapshot`, or a later one, fetched; it is installed if it is still needed then."""
        self._fetch.want(address, snapshot, self._has_come)

    def _has_come(self, fetched: Fetched) -> None:
        self._fetched = fetched
        effects = self._node.snapshot_fetched(fetched.snapshot, voter_set(voters_said_by(fetched.image)))
        if not any(isinstance(effect, InstallSnapshot) for effect in effects):
            self.files.discard(fetched.snapshot)
        self._carry_out(effects)

    async def install(self, snapshot: SnapshotId) -> ClusterImage:
        """Puts the fetched snapshot in the place of the log; durable on return. Returns its image.

        The file gets its name first: a start after a crash finds it, and begins the log anew if that had not happened.
        """
        fetched, self._fetched = self._fetched, None
        assert fetched is not None
        assert fetched.snapshot == snapshot, (fetched.snapshot, snapshot)
        await self.files.put_in_place(snapshot)
        await self._single_log.log.start_over_at(snapshot.end_offset)
        self.files.delete_below(snapshot.end_offset)
        log.info("installed the snapshot of metadata up to offset %d", snapshot.end_offset)
        return fetched.image

    async def cut_below(self, offset: int) -> None:
        """Cuts the log below `offset`, where there is a snapshot, and deletes the snapshots before that."""
        if offset > self._single_log.log.log_start_offset:
            self._node.log_cut(offset)
            try:
                await self._single_log.cut_below(offset)
            except DiskFull as error:  # what was to go does after a later snapshot
                log.error("the metadata log is not cut: %s", error)
            else:
                self.files.delete_below(offset)
