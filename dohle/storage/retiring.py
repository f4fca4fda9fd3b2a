"""Retiring: takes out of service what lies below the starts of a folder's logs, by whole segments.

In this order, of which each step is durable before the next begins: the new starts are in their checkpoint, which says
to a later start that nothing is missing; so are the names of the segments that follow; then the old files are renamed.
A crash in between leaves old segments, with gaps among them it may be, that the next start knows by the checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable

from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk
from dohle.runtime.tasks import turn
from dohle.storage.checkpoints import Checkpoints
from dohle.storage.group_commit import GroupCommit
from dohle.storage.log import Log

_GROUP = 128  # logs whose folders are synced together
_IN_A_TURN = 16  # logs that are looked at before the loop does what waits


class Retiring:
    """Of one folder."""

    def __init__(self, disk: Disk, clock: Clock, commit: GroupCommit, checkpoints: Checkpoints) -> None:
        self.segments = 0  # so many were taken out of service since the start
        self.size_bytes = 0
        self._disk = disk
        self._clock = clock
        self._commit = commit
        self._checkpoints = checkpoints

    async def run(self, logs: Iterable[Log]) -> None:
        """Raises StorageFailure; DiskFull, and nothing was retired, where the checkpoint has no room."""
        found: list[Log] = []
        for number, log in enumerate(logs):
            await turn(number, every=_IN_A_TURN)
            if _has_dead_segments(log):
                found.append(log)
        if not found:
            return
        with self._commit.replacing():
            await self._checkpoints.write()
        for start in range(0, len(found), _GROUP):
            with self._commit.syncing():
                await self._retire(found[start : start + _GROUP])

    async def _retire(self, logs: list[Log]) -> None:
        async with self._checkpoints.writing:  # held while logs are removed
            present = [log for log in logs if _has_dead_segments(log)]  # else it is gone, or being cut
            await self._disk.sync([], [log.folder for log in present])
            now = self._clock.now()
            for log in present:
                taken = log.take_below(self._checkpoints.sure_start(log.key))
                log.retired.add(taken, now + log.config.file_delete_delay_ms / 1000)
                self.segments += len(taken)
                self.size_bytes += sum(segment.size for segment in taken)


def _has_dead_segments(log: Log) -> bool:
    """Whether some lie below the log's start; one that is active is sealed for it. Raises StorageFailure."""
    if not log.is_settled:
        return False
    if log.log_start_offset == log.log_end_offset:
        log.seal()
    sealed = log.sealed.all
    return bool(sealed) and log.sealed.end_of(sealed[0]) <= log.log_start_offset
