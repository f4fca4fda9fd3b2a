"""Swap files: how a segment that was written anew takes the place of others, whatever moment a crash comes at.

    1  <base>.log.cleaned, and .index, .timeindex and .seals likewise, are written, and synced with their names
    2  <base>.log.cleaned becomes <base>.log.swap, durably: from now on that is the segment
    3  the files of the segments in whose place it comes are renamed to ….deleted, durably
    4  its indexes get their names, durably, and then its batches

A start deletes what was cleaned and came no further, and goes on from step 3 where it finds a `.swap`: whatever lies in
its offsets goes, and indexes are built again when they are used first; but a damaged one does not take the place of
what is there. An empty batch stands where others are gone, so that the offsets of a segment end exactly where those end
whose place it takes. (Kafka's names and order, with syncs between the steps, so that nothing rests on the order in
which a file system keeps renames.)
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from dohle.model.batch import BatchHeader
from dohle.runtime.disk import Disk, File
from dohle.storage.compaction.sealed_indexes import SealedIndexes
from dohle.storage.producer_snapshots import SUFFIX as SNAPSHOT_SUFFIX
from dohle.storage.seals import SEALS_SUFFIX
from dohle.storage.segment import (
    INDEX_SUFFIX,
    INDEX_SUFFIXES,
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
        contents = {INDEX_SUFFIX: indexes.offsets, TIME_INDEX_SUFFIX: indexes.times, SEALS_SUFFIX: indexes.seals}
        for suffix, data in contents.items():
            self._make(suffix).append([data])
        self.entries = len(indexes.offsets) // OffsetIndex.ENTRY_BYTES, len(indexes.times) // TimeIndex.ENTRY_BYTES

    async def sync(self) -> None:
        await self._disk.sync(self._files, [self._folder])

    async def commit(self) -> None:
        """Step 2."""
        self.close()
        self._disk.rename(self._path + LOG_SUFFIX + CLEANED_SUFFIX, self._path + LOG_SUFFIX + SWAP_SUFFIX)
        await self._disk.sync([], [self._folder])

    def settle_indexes(self) -> None:
        """The first half of step 4, but for the sync."""
        for suffix in INDEX_SUFFIXES:
            self._disk.rename(self._path + suffix + CLEANED_SUFFIX, self._path + suffix)

    def settle(self) -> None:
        """The second half, but for the sync."""
        self._disk.rename(self._path + LOG_SUFFIX + SWAP_SUFFIX, self._path + LOG_SUFFIX)

    def close(self) -> None:
        for file in self._files:
            file.close()
        self._files.clear()

    def discard(self) -> None:
        """Deletes what is there; a start would."""
        self.close()
        for suffix in (LOG_SUFFIX, *INDEX_SUFFIXES):
            path = self._path + suffix + CLEANED_SUFFIX
            if self._disk.exists(path):
                self._disk.delete(path)


class Swapped(NamedTuple):
    """A segment that has come as far as step 2: its first offset, and the one behind its last.

    Unless it `is_taken` the segments in whose place it was to come stay: they are there, and it is damaged.
    """

    start: int
    end: int
    is_taken: bool


async def swapped_in(disk: Disk, folder: str, names: Sequence[str]) -> list[Swapped]:
    """Returns what has come as far as step 2, where `names` are what the folder holds."""
    found: list[Swapped] = []
    bases = named_offsets(names, LOG_SUFFIX)
    for base_offset in named_offsets(names, LOG_SUFFIX + SWAP_SUFFIX):
        segment = Segment(disk, folder, base_offset, index_interval_bytes=0, ending=SWAP_SUFFIX)
        end, damage = await _end_of(segment)
        if damage is None and end not in bases:  # the active one is never replaced, so that another follows
            damage = DamagedFile(segment.log_path, segment.size, f"it ends at offset {end}, where no segment begins")
        is_taken = damage is None or base_offset not in bases
        if damage is not None:
            log.error("%s; what it was to replace %s", damage.message, "is gone" if is_taken else "stays")
        found.append(Swapped(base_offset, end, is_taken))
    return found


async def _end_of(segment: Segment) -> tuple[int, DamagedFile | None]:
    """Returns the offset behind the last batch that follows the one before, by their headers, and what is wrong."""
    end = segment.base_offset

    def note(position: int, header: BatchHeader) -> bool:
        nonlocal end
        if header.base_offset != end or header.last_offset_delta < 0:
            reason = f"a batch of offset {header.base_offset} where {end} comes next"
            raise DamagedFile(segment.log_path, position, reason)
        if position + header.size_bytes > segment.size:
            raise DamagedFile(segment.log_path, position, "the batch is cut")
        end = header.next_offset
        return False

    try:
        segment.size = segment.file().size()
        await segment.walk(0, segment.size, note)
        if not segment.size:
            raise DamagedFile(segment.log_path, 0, "it is empty")
    except DamagedFile as damage:
        return end, damage
    finally:
        segment.close()
    return end, None


async def finish_swaps(disk: Disk, folder: str, names: Sequence[str]) -> None:
    """Steps 3 and 4, at a start, where `names` are what the folder holds."""
    for start, end, is_taken in await swapped_in(disk, folder, names):
        path = f"{folder}/{segment_name(start)}{LOG_SUFFIX}"
        if not is_taken:
            disk.delete(path + SWAP_SUFFIX)
            continue
        log.info("%s: the compaction of offsets %d to %d is finished", folder, start, end - 1)
        for suffix in (*INDEX_SUFFIXES, LOG_SUFFIX, SNAPSHOT_SUFFIX):
            for base_offset in named_offsets(names, suffix):
                if start <= base_offset < end and (suffix != SNAPSHOT_SUFFIX or base_offset > start):
                    disk.delete(f"{folder}/{segment_name(base_offset)}{suffix}")
        await disk.sync([], [folder])
        disk.rename(path + SWAP_SUFFIX, path)
        await disk.sync([], [folder])
