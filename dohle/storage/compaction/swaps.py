"""Swaps: segments of one folder's logs that were written anew take the place of others, as `swap_files` says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk
from dohle.storage.checkpoints import Checkpoints
from dohle.storage.compaction.swap_files import CleanedFiles
from dohle.storage.group_commit import GroupCommit
from dohle.storage.log import Log
from dohle.storage.segment import Segment


class Swaps:
    """Of one folder."""

    def __init__(self, disk: Disk, clock: Clock, commit: GroupCommit, checkpoints: Checkpoints) -> None:
        self._disk = disk
        self._clock = clock
        self._commit = commit
        self._checkpoints = checkpoints

    async def run(
        self, log: Log, group: Sequence[Segment], files: CleanedFiles, is_wanted: Callable[[], bool]
    ) -> Segment | None:
        """Returns the segment that stands in the place of `group`, whose files stay for a while; durable on return.

        None if that is not wanted any more, or somebody else has to do with those segments: nothing has changed then.
        Raises StorageFailure. It goes on if the caller is cancelled.
        """
        with self._commit.syncing():
            await files.sync()
        outcome: list[Segment] = []
        files.are_taken = True
        swap = partial(self._swap, log, group, files, is_wanted, outcome)
        await asyncio.shield(self._commit.run_to_end(swap, f"swap {log.name}"))
        return outcome[0] if outcome else None

    async def _swap(
        self,
        log: Log,
        group: Sequence[Segment],
        files: CleanedFiles,
        is_wanted: Callable[[], bool],
        outcome: list[Segment],
    ) -> None:
        async with self._checkpoints.writing:  # held while folders are renamed, and before a log is cut
            if not is_wanted() or not log.sealed.are_settled(group):
                files.are_taken = False
                return
            interval_bytes = log.config.index_interval_bytes
            written = Segment(self._disk, log.folder, group[0].base_offset, index_interval_bytes=interval_bytes)
            written.is_sealed_with(files.size, *files.entries)
            with self._commit.syncing():
                await files.commit()
                log.sealed.rename(group)
                await self._disk.sync([], [log.folder])
                files.settle_indexes()
                await self._disk.sync([], [log.folder])
                files.settle()
                log.sealed.replace(group, written, self._clock.now() + log.config.file_delete_delay_ms / 1000)
                await self._disk.sync([], [log.folder])
            outcome.append(written)

    def discard(self, log: Log, files: CleanedFiles) -> None:
        """Deletes what was not taken. A folder that was renamed meanwhile keeps it until it goes, or is opened."""
        files.close()
        if log.is_its_own and not self._commit.failure:
            with self._commit.using():
                files.discard()
