"""Single log: a log with a folder, checkpoints, clean-stop mark and group commit of its own.

The controller quorum keeps its records in one, beside the partitions' logs, so that Raft never queues behind their
fsyncs. The data folder it lies in is open and locked by its owner.
"""

from __future__ import annotations

import logging

from dohle.model.errors import StorageFailure
from dohle.model.topic_config import TopicConfig
from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk
from dohle.runtime.tasks import Tasks, cancel
from dohle.storage.checkpoints import CHECKPOINT_INTERVAL_S, Checkpoints, LogKey, offsets_of, read_checkpoints
from dohle.storage.clean_stop import NO_EPOCH, leave_mark, take_mark
from dohle.storage.data_folder import parent
from dohle.storage.group_commit import GroupCommit, OnFailure
from dohle.storage.log import Log
from dohle.storage.recovery import LogFiles
from dohle.storage.room import DiskFull, needing_room

METADATA_LOG = "__cluster_metadata-0"

logger = logging.getLogger(__name__)


class SingleLog:
    """An open log and what keeps it durable."""

    def __init__(
        self, disk: Disk, clock: Clock, tasks: Tasks, commit: GroupCommit, checkpoints: Checkpoints, log: Log
    ) -> None:
        self.log = log
        self._disk = disk
        self._clock = clock
        self._commit = commit
        self._checkpoints = checkpoints
        self._tending = tasks.spawn(self._tend(), f"checkpoints of {log.name}")

    async def _tend(self) -> None:
        while True:
            await self._clock.sleep(CHECKPOINT_INTERVAL_S)
            try:
                with self._commit.replacing():
                    await self._checkpoints.write()
            except DiskFull:
                continue  # an older one stays, from which a start has more to check
            except StorageFailure:
                return  # the owner was told by the group commit

    async def cut_below(self, offset: int) -> None:
        """Lets the log begin at `offset`, and deletes the segments that lie below; durable on return.

        The new start is durable before a byte goes. Raises StorageFailure; DiskFull, and nothing has gone.
        """
        self.log.advance_log_start(offset)
        self.log.epochs.begin_at(self.log.log_start_offset)
        with self._commit.replacing():
            await self._checkpoints.write()
        with self._commit.syncing():
            for segment in self.log.take_below(self.log.log_start_offset):
                segment.delete()
            await self._disk.sync([], [self.log.folder])

    async def close(self) -> None:
        """Stops cleanly, if the disk lets it."""
        await cancel(self._tending)
        try:
            with self._commit.replacing():
                await self.log.flush()
                with needing_room():
                    files = self.log.write_state(clear_mark=True)
                await self._disk.sync(files, [self.log.folder])
                for file in files:
                    file.close()
                await self._checkpoints.write()
                if self.log.damage is None:
                    await leave_mark(self._disk, self.log.folder, NO_EPOCH)
        except StorageFailure as failure:
            logger.error("%s was not stopped cleanly: %s", self.log.name, failure)
        await self.log.close()
        await self._commit.close()


async def open_single_log(
    disk: Disk,
    clock: Clock,
    path: str,
    tasks: Tasks,
    *,
    on_failure: OnFailure,
    config: TopicConfig | None = None,
) -> SingleLog:
    """Opens the log in the folder `path`, `<topic>-<partition>`, made if it is missing.

    Raises DataFolderError for a damaged checkpoint, StorageFailure; a damaged log opens, and says so.
    """
    topic, _, partition = path.rpartition("/")[2].rpartition("-")
    key = (topic, int(partition))
    config = config if config is not None else TopicConfig()
    commit = GroupCommit(disk, tasks, name=path, on_failure=on_failure)
    logs: dict[LogKey, Log] = {}
    checkpoints = Checkpoints(disk, path, lambda: logs)
    with commit.syncing():
        if not disk.exists(path):
            disk.make_folder(path)
            await disk.sync([], [parent(path)])
        clean = await take_mark(disk, path) is not None
        found = await read_checkpoints(disk, path)
        checkpoints.begin_with(found)
        written = offsets_of(found, key)
        files = LogFiles(disk, path, written)
        if not clean:
            await disk.sync(files.unsure_files(), [path])
        opened = await files.open(clean=clean, now=clock.now())
    log = Log(disk, clock, commit, checkpoints, folder=path, key=key, topic_id=None, config=config, opened=opened)
    logs[key] = log
    return SingleLog(disk, clock, tasks, commit, checkpoints, log)
