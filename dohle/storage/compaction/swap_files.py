"""Swap files: how a segment that was written anew takes the place of others, whatever moment a crash comes at.

    1  <base>.log.cleaned, .index.cleaned and .timeindex.cleaned are written, and synced with their names
    2  <base>.log.cleaned becomes <base>.log.swap, durably: from now on that is the segment
    3  the files of the segments in whose place it comes are renamed to ….deleted, durably
    4  its indexes and then its batches get their names, durably

A start deletes what was cleaned and came no further, and goes on from step 3 where it finds a `.swap`: whatever lies in
its offsets goes, and indexes are built again when they are used first. An empty batch stands where others are gone, so
that the offsets of a segment end exactly where those end whose place it takes. (Kafka's names and order, with syncs
between the steps, so that nothing rests on the order in which a file system keeps renames.)
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dohle.model.batch import BatchHeader
from dohle.runtime.disk import Disk, File
from dohle.storage.compaction.sealed_indexes import SealedIndexes
from dohle.storage.producer_snapshots import SUFFIX as SNAPSHOT_SUFFIX
from dohle.storage.segment import (
    INDEX_SUFFIX,
    LOG_SUFFIX,
    TIME_INDEX_SUFFIX,
    DamagedFile,
    Segment,
    named_offsets,
    segment_name,
)
from dohle.storage.segment_index import OffsetIndex, TimeIndex

CLEANED_SUFFIX = ".cleaned"
SWAP_SUFFIX = ".swap"

_INDEXES = (INDEX_SUFFIX, TIME_INDEX_SUFFIX)

log = logging.getLogger(__name__)


class CleanedFiles:
    """Those of one segment that is being written. Where a method raises OSError, `discard` is to be called."""

    def __init__(self, disk: Disk, folder: str, base_offset: int) -> None:
        self.size = 0
        self.entries = (0, 0)  # of the indexes
        self.are_taken = False  # to be swapped in
        self._disk = disk
        self._folder = folder
        self._path = f"{folder}/{segment_name(base_offset)}"
        self._files: list[File] = []
        self._batches = self._make(LOG_SUFFIX)

    def _make(self, suffix: str) -> File:
        file = self._disk.open(self._path + suffix + CLEANED_SUFFIX, create=True)
        self._files.append(file)
        file.truncate(0)
        return file

    def append(self, batches: bytes) -> None:
        if batches:
            self._batches.append([batches])
            self.size += len(batches)

    def add_indexes(self, indexes: SealedIndexes) -> None:
        for suffix, data in zip(_INDEXES, (indexes.offsets, indexes.times), strict=True):
            self._make(suffix).append([data])
        self.entries = len(indexes.offsets) // OffsetIndex.ENTRY_BYTES, len(indexes.times) // TimeIndex.ENTRY_BYTES

    async def sync(self) -> None:
        await self._disk.sync(self._files, [self._folder])

    async def commit(self) -> None:
        """Step 2."""
        self.close()
        self._disk.rename(self._path + LOG_SUFFIX + CLEANED_SUFFIX, self._path + LOG_SUFFIX + SWAP_SUFFIX)
        await self._disk.sync([], [self._folder])

    def settle(self) -> None:
        """Step 4, but for the sync."""
        for suffix in _INDEXES:
            self._disk.rename(self._path + suffix + CLEANED_SUFFIX, self._path + suffix)
        self._disk.rename(self._path + LOG_SUFFIX + SWAP_SUFFIX, self._path + LOG_SUFFIX)

    def close(self) -> None:
        for file in self._files:
            file.close()
        self._files.clear()

    def discard(self) -> None:
        """Deletes what is there; a start would."""
        self.close()
        for suffix in (LOG_SUFFIX, *_INDEXES):
            path = self._path + suffix + CLEANED_SUFFIX
            if self._disk.exists(path):
                self._disk.delete(path)


async def swapped_in(disk: Disk, folder: str, names: Sequence[str]) -> list[tuple[int, int]]:
    """Returns the first offset, and the one behind the last, of each segment that has come as far as step 2."""
    found: list[tuple[int, int]] = []
    for base_offset in named_offsets(names, LOG_SUFFIX + SWAP_SUFFIX):
        segment = Segment(disk, folder, base_offset, index_interval_bytes=0, ending=SWAP_SUFFIX)
        segment.size = segment.file().size()
        end = base_offset

        def note(_: int, header: BatchHeader) -> bool:
            nonlocal end
            end = header.next_offset
            return False

        try:
            await segment.walk(0, segment.size, note)
        except DamagedFile as error:
            log.error("%s; what it was to replace behind offset %d stays", error.message, end)
        finally:
            segment.close()
        found.append((base_offset, end))
    return found


async def finish_swaps(disk: Disk, folder: str, names: Sequence[str]) -> None:
    """Steps 3 and 4, at a start, where `names` are what the folder holds."""
    for start, end in await swapped_in(disk, folder, names):
        log.info("%s: the compaction of offsets %d to %d is finished", folder, start, end - 1)
        for suffix in (*_INDEXES, LOG_SUFFIX, SNAPSHOT_SUFFIX):
            for base_offset in named_offsets(names, suffix):
                if start <= base_offset < end and (suffix != SNAPSHOT_SUFFIX or base_offset > start):
                    disk.delete(f"{folder}/{segment_name(base_offset)}{suffix}")
        await disk.sync([], [folder])
        path = f"{folder}/{segment_name(start)}{LOG_SUFFIX}"
        disk.rename(path + SWAP_SUFFIX, path)
        await disk.sync([], [folder])
