"""Producer snapshots: the files `<offset>.snapshot` of a log's folder, and how producer states come back from them.

One is made with every seal, for all batches below its offset. Those at a segment's base stay; of the others the last
two. A state is the newest whole snapshot at or below an offset plus the batches after it; one
above what a log was truncated to is deleted before the log grows again.
"""

from __future__ import annotations

import logging
from bisect import bisect_right, insort
from collections.abc import Sequence

from dohle.model.batch import BatchHeader
from dohle.model.errors import CorruptLog
from dohle.runtime.disk import Disk, File
from dohle.storage.producer_states import ProducerStates
from dohle.storage.segment import segment_name
from dohle.storage.segments import Segments

SUFFIX = ".snapshot"

log = logging.getLogger(__name__)


class ProducerSnapshots:
    """The snapshots of one log, by offset."""

    __slots__ = ("_disk", "_folder", "_offsets")

    def __init__(self, disk: Disk, folder: str, offsets: Sequence[int]) -> None:
        self._disk = disk
        self._folder = folder
        self._offsets = sorted(offsets)

    @property
    def latest(self) -> int:
        """The newest snapshot's offset, or -1."""
        return self._offsets[-1] if self._offsets else -1

    def lies_in(self, folder: str) -> None:
        """The files lie elsewhere from now on."""
        self._folder = folder

    def _path(self, offset: int) -> str:
        return f"{self._folder}/{segment_name(offset)}{SUFFIX}"

    def write(self, offset: int, producers: ProducerStates, bases: Sequence[int]) -> File:
        """Writes the snapshot at `offset`; durable once the file and the folder are synced. Returns the open file."""
        if self._disk.exists(self._path(offset)) and self._disk.is_shared(self._path(offset)):
            self._disk.delete(self._path(offset))  # another log goes on with that file
        file = self._disk.open(self._path(offset), create=True)
        try:
            file.truncate(0)
            file.append([producers.encode()])
        except OSError:
            file.close()
            raise
        for old in [one for one in self._offsets if one < offset and one not in bases][:-1]:
            self._delete(old)  # but the last of them, for the new one is not durable yet
        if offset not in self._offsets:
            insort(self._offsets, offset)
        return file

    def up_to(self, end_offset: int) -> list[str]:
        """Returns the paths of those at or below `end_offset`."""
        return [self._path(offset) for offset in self._offsets if offset <= end_offset]

    def truncate_to(self, end_offset: int) -> None:
        """Deletes those above `end_offset`."""
        while self._offsets and self._offsets[-1] > end_offset:
            self._delete(self._offsets[-1])

    def delete_below(self, base_offset: int) -> None:
        """Deletes those below the first segment's base: no segment follows them."""
        while self._offsets and self._offsets[0] < base_offset:
            self._delete(self._offsets[0])

    def delete_within(self, start: int, end: int) -> None:
        """Deletes those between both: no segment begins there any more."""
        for offset in [one for one in self._offsets if start < one < end]:
            self._delete(offset)

    def _delete(self, offset: int) -> None:
        self._offsets.remove(offset)
        self._disk.delete(self._path(offset))

    async def restore(self, producers: ProducerStates, segments: Segments, end_offset: int, now: float) -> None:
        """Brings `producers` to the state of all batches below `end_offset`."""
        producers.clear()
        position = await self._load(producers, end_offset, now)
        position = max(position, segments.bases[0])
        while position < end_offset:
            segment = segments.floor(position)
            at = await segment.locate(position)

            def take(_: int, header: BatchHeader) -> bool:
                if header.base_offset < end_offset:
                    producers.update(header, now)
                return header.base_offset >= end_offset

            await segment.walk(at, segment.size, take)
            following = segments.after(segment)
            position = following.base_offset if following is not None else end_offset

    async def _load(self, producers: ProducerStates, end_offset: int, now: float) -> int:
        """Loads the newest whole snapshot at or below `end_offset`; returns its offset, or -1."""
        while (found := bisect_right(self._offsets, end_offset) - 1) >= 0:
            offset = self._offsets[found]
            try:
                producers.load(await self._disk.read_all(self._path(offset)), now)
            except CorruptLog as error:
                log.warning("%s: %s; an earlier one and the batches after it replace it", self._path(offset), error)
                self._delete(offset)
                continue
            return offset
        return -1
