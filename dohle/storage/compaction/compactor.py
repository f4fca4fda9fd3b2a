"""Compactor: compacts the logs of one folder, one at a time, below what a crash or another leader may take away.

What may be compacted is sealed, lies below the log's high watermark and below its written recovery point, and is as old
as min.compaction.lag.ms asks for. Segments are written anew in groups that stay within segment.bytes and the range of
relative offsets, and take the place of the former ones as `swap_files` says; who reads those comes to an end. The CPU
work is done elsewhere (`Cleaning`), and so many bytes are read and written a second as `Pace` allows.

A compaction that is broken off leaves a log of which some segments are compacted, and is begun again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from dohle.model.batch import HEADER_BYTES
from dohle.model.topic_config import TopicConfig
from dohle.runtime.disk import Disk
from dohle.runtime.workers import Aside
from dohle.storage.checkpoints import Checkpoints
from dohle.storage.compaction.cleaning import Cleaning, Step
from dohle.storage.compaction.swap_files import CleanedFiles
from dohle.storage.compaction.swaps import Swaps
from dohle.storage.group_commit import GroupCommit
from dohle.storage.headroom import LEAST_FREE_BYTES
from dohle.storage.log import Log
from dohle.storage.roll import MOST_RELATIVE_OFFSET
from dohle.storage.room import DiskFull
from dohle.storage.segment import MOST_BYTES, DamagedFile, Segment

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Cleanable:
    """What there is to compact in a log."""

    log: Log
    dirty_from: int
    segments: Sequence[Segment]  # from the first on, all that may be compacted
    dirty: Sequence[Segment]  # the last of them, which hold what was not compacted yet
    is_late: bool  # by max.compaction.lag.ms

    @property
    def ratio(self) -> float:
        """How much of it was not compacted yet."""
        size = sum(segment.size for segment in self.segments)
        return sum(segment.size for segment in self.dirty) / size if size else 0.0

    @property
    def is_due(self) -> bool:
        return self.is_late or self.ratio > self.log.config.min_cleanable_dirty_ratio


class Pace(Protocol):
    """How fast a compaction may read and write."""

    async def passed(self, size_bytes: int) -> None: ...


class Compactor:
    """Of one folder. What it has done since the start stands in its counters."""

    def __init__(self, disk: Disk, commit: GroupCommit, checkpoints: Checkpoints, swaps: Swaps) -> None:
        self.runs = 0
        self.read_bytes = 0
        self.freed_bytes = 0
        self.dropped_records = 0
        self._disk = disk
        self._commit = commit
        self._checkpoints = checkpoints
        self._swaps = swaps

    async def look_at(self, log: Log, now_ms: int) -> Cleanable | None:
        """Returns what there is to compact, None where nothing is. Raises StorageFailure, DamagedReplica."""
        if not log.is_settled:
            return None
        return await log.checked(self._look_at(log, now_ms), log.version)

    async def _look_at(self, log: Log, now_ms: int) -> Cleanable | None:
        end = min(log.high_watermark, self._checkpoints.sure_end(log.key))
        sealed = [one for one in log.sealed.all if log.sealed.end_of(one) <= end]
        if not sealed:
            return None
        first, lag_ms = sealed[0].base_offset, log.config.min_compaction_lag_ms
        dirty_from = log.cleaned_to if first <= log.cleaned_to <= end else first
        dirty = [one for one in sealed if log.sealed.end_of(one) > dirty_from]
        for number, segment in enumerate(dirty if lag_ms else ()):
            if await segment.newest_timestamp() > now_ms - lag_ms:
                del sealed[len(sealed) - len(dirty) + number :], dirty[number:]
                break
        if not dirty:
            return None
        return Cleanable(log, dirty_from, sealed, dirty, await self._is_late(log.config, dirty[0], now_ms))

    async def _is_late(self, config: TopicConfig, segment: Segment, now_ms: int) -> bool:
        """Whether the segment's first batch is older than may be."""
        if config.max_compaction_lag_ms >= now_ms:
            return False
        header = segment.header_in(await segment.file().read_at(0, HEADER_BYTES), 0, 0)
        return 0 <= header.max_timestamp < now_ms - config.max_compaction_lag_ms

    async def compact(self, found: Cleanable, aside: Aside, pace: Pace) -> None:
        """Compacts by what `aside`, a Cleaning, has been told. Raises StorageFailure, DamagedReplica, LostWorker."""
        log = found.log
        version = log.version
        end = await log.checked(self._learn(found, aside, pace), version)
        if end is None or end <= found.dirty_from:
            return
        log.sealed.replaced_below = max(log.sealed.replaced_below, end)  # as soon as any of it may be gone
        below = [one for one in found.segments if one.base_offset < end]
        for group in grouped(below, log):
            if not await log.checked(self._rewrite(log, group, aside, pace), version):
                return  # cut, removed, or busy: it is begun anew
        if log.version[0] == version[0] and log.is_settled:
            log.cleaned_to = end
            self.runs += 1

    async def _learn(self, found: Cleanable, aside: Aside, pace: Pace) -> int:
        """Returns the offset below which all keys are known."""
        await aside.run(Cleaning.begin_learning, found.dirty_from, found.dirty[0].base_offset)
        end = found.dirty_from
        for segment in found.dirty:
            async for step in self._feed(found.log, segment, Cleaning.learn, aside, pace):
                end = step.learnt_end
                if step.is_full:
                    return end
        return end

    async def _feed(
        self, log: Log, segment: Segment, work: Callable[[Cleaning, bytes], Step], aside: Aside, pace: Pace
    ) -> AsyncIterator[Step]:
        """Hands the segment over piece by piece; yields what became of each. Raises DamagedFile."""
        position, wanted = 0, _CHUNK_BYTES
        file = self._disk.open(segment.log_path)
        try:
            while position < segment.size:
                left = segment.size - position
                chunk = await file.read_at(position, min(wanted, left))
                self.read_bytes += len(chunk)
                await pace.passed(len(chunk))
                step = await aside.run(work, chunk)
                position += step.consumed
                if step.fault is not None or step.needed > left - step.consumed:
                    fault = step.fault or f"the batch needs {step.needed} bytes, and {left - step.consumed} are left"
                    offsets = (step.next_offset, log.sealed.end_of(segment))
                    raise DamagedFile(segment.log_path, position, fault, offsets)
                wanted = max(_CHUNK_BYTES, step.needed)
                yield step
                if step.is_full:
                    return
        finally:
            file.close()

    async def _rewrite(self, log: Log, group: Sequence[Segment], aside: Aside, pace: Pace) -> bool:
        """Returns whether the group stands compacted now."""
        size = sum(segment.size for segment in group)
        if self._disk.free_bytes(log.folder) < size + LEAST_FREE_BYTES:
            raise DiskFull(f"{log.name}: a compaction needs {size + LEAST_FREE_BYTES >> 20} MiB of room")
        await aside.run(Cleaning.begin, group[0].base_offset, log.config.index_interval_bytes)
        if not log.is_settled:
            return False
        with self._commit.using():
            files = CleanedFiles(self._disk, log.folder, group[0].base_offset)
        try:
            changes = await self._fill(log, group, files, aside, pace)
            if changes is None or not log.is_settled:
                return False
            if not changes:
                return True
            compacted = await self._swaps.run(log, group, files, lambda: log.is_settled)
        finally:
            if not files.are_taken:  # else they are being swapped in, whoever waits for it
                self._swaps.discard(log, files)
        if compacted is None:
            return False
        self.freed_bytes += size - compacted.size
        return True

    async def _fill(
        self, log: Log, group: Sequence[Segment], files: CleanedFiles, aside: Aside, pace: Pace
    ) -> int | None:
        """Returns how much is not as it was, None where the log is busy otherwise or gone."""
        changes = len(group) - 1
        for segment in group:
            async for step in self._feed(log, segment, Cleaning.clean, aside, pace):
                if not log.is_settled:
                    return None
                with self._commit.using():
                    files.append(step.output)
                self.dropped_records += step.dropped
                changes += step.changes
                await pace.passed(len(step.output))
        output, indexes = await aside.run(Cleaning.finish)
        if not log.is_settled:
            return None
        with self._commit.using():
            files.append(output)
            files.add_indexes(indexes)
        return changes


def grouped(segments: Sequence[Segment], log: Log) -> list[list[Segment]]:
    """Returns the segments in groups of which each is small enough for one segment."""
    most, groups = min(log.config.segment_bytes, MOST_BYTES), list[list[Segment]]()
    size = 0
    for segment in segments:
        size += segment.size
        reaches = log.sealed.end_of(segment) - (groups[-1][0].base_offset if groups else 0)
        if groups and size <= most and reaches <= MOST_RELATIVE_OFFSET:
            groups[-1].append(segment)
        else:
            groups.append([segment])
            size = segment.size
    return groups
