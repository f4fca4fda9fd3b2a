"""Segment indexes: sparse maps from offset to file position, and from timestamp to offset, in Kafka's layout.

`.index` holds (int32 relative offset, int32 position): the last offset of a batch and where that batch begins;
`.timeindex` holds (int64 timestamp, int32 relative offset): no record with a later timestamp lies before that offset.
Both ascend strictly. They carry no checksum and are not synced before their segment is sealed: after an unclean stop
they are built again from the batches, and so is a file whose size or order is wrong.

Entries made by this process are in memory until the segment writes them to the file; what an earlier one wrote stays
in the file until somebody looks something up (`missing` says how many entries that are), so that idle logs cost little.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

_LITTLE = sys.byteorder == "little"


class IndexEntry(NamedTuple):
    """A batch by its last offset, relative to the segment's base, and its position in the file."""

    relative_offset: int
    position: int


class OffsetIndex:
    """`.index` of one segment."""

    ENTRY_BYTES = 8
    __slots__ = ("_offsets", "_positions", "missing", "stored")

    def __init__(self, stored: int = 0) -> None:
        self.stored = stored  # entries that the file holds
        self.missing = stored  # of these, how many are not in memory
        self._offsets = array("i")
        self._positions = array("i")

    def __len__(self) -> int:
        return self.missing + len(self._offsets)

    def add(self, relative_offset: int, position: int) -> None:
        assert not self._offsets or relative_offset > self._offsets[-1]
        self._offsets.append(relative_offset)
        self._positions.append(position)

    def covers(self, relative_offset: int) -> bool:
        """Whether `floor` can answer without the entries that are missing."""
        return not self.missing or (len(self._offsets) > 0 and self._offsets[0] <= relative_offset)

    def floor(self, relative_offset: int) -> IndexEntry | None:
        """Returns the last entry at or below `relative_offset`."""
        assert self.covers(relative_offset)
        found = bisect_right(self._offsets, relative_offset) - 1
        return IndexEntry(self._offsets[found], self._positions[found]) if found >= 0 else None

    def truncate_to(self, size: int) -> None:
        """Forgets the batches at file position `size` and above. All entries are in memory."""
        assert not self.missing
        keep = bisect_left(self._positions, size)
        del self._offsets[keep:]
        del self._positions[keep:]
        self.stored = min(self.stored, keep)

    def entries(self) -> Iterable[tuple[int, int]]:
        """Returns (relative offset, position) of those in memory."""
        return zip(self._offsets, self._positions, strict=True)

    def supply(self, data: bytes) -> bool:
        """Puts the file's content before what is in memory. False, changing nothing, where it cannot be an index."""
        if len(data) < self.missing * self.ENTRY_BYTES:
            return False
        values = array("i", data[: self.missing * self.ENTRY_BYTES])
        if _LITTLE:
            values.byteswap()
        offsets, positions = values[0::2] + self._offsets, values[1::2] + self._positions
        if not _ascends(offsets) or not _ascends(positions) or offsets[0] < 0:
            return False
        self._offsets, self._positions, self.missing = offsets, positions, 0
        return True

    def unwritten(self) -> bytes:
        """Returns what the file lacks after its `stored` entries."""
        values = array("i", bytes(self.ENTRY_BYTES * (len(self) - self.stored)))
        values[0::2] = self._offsets[self.stored - self.missing :]
        values[1::2] = self._positions[self.stored - self.missing :]
        if _LITTLE:
            values.byteswap()
        return values.tobytes()

    def unload(self) -> None:
        """Frees the memory; everything is in the file."""
        assert self.stored == len(self)
        self.missing = self.stored
        self._offsets, self._positions = array("i"), array("i")


class TimeIndex:
    """`.timeindex` of one segment."""

    ENTRY_BYTES = 12
    __slots__ = ("_offsets", "_timestamps", "missing", "stored")

    def __init__(self, stored: int = 0) -> None:
        self.stored = stored
        self.missing = stored
        self._timestamps = array("q")
        self._offsets = array("i")

    def __len__(self) -> int:
        return self.missing + len(self._offsets)

    def add(self, timestamp: int, relative_offset: int) -> None:
        self._timestamps.append(timestamp)
        self._offsets.append(relative_offset)

    def last_timestamp(self) -> int | None:
        """Returns the newest timestamp that is in memory."""
        return self._timestamps[-1] if self._timestamps else None

    def floor(self, timestamp: int) -> int:
        """Returns the relative offset from which on to look for `timestamp`; 0 if that is the segment's start."""
        assert not self.missing
        found = bisect_right(self._timestamps, timestamp - 1) - 1
        return self._offsets[found] if found >= 0 else 0

    def before(self, relative_offset: int) -> tuple[int, int]:
        """Returns (timestamp, relative offset) of the last entry below `relative_offset`, (-1, 0) if there is none."""
        assert not self.missing
        found = bisect_left(self._offsets, relative_offset) - 1
        return (self._timestamps[found], self._offsets[found]) if found >= 0 else (-1, 0)

    def truncate_to(self, relative_offset: int) -> None:
        """Forgets entries that name `relative_offset` or above. All entries are in memory."""
        assert not self.missing
        keep = bisect_left(self._offsets, relative_offset)
        del self._timestamps[keep:]
        del self._offsets[keep:]
        self.stored = min(self.stored, keep)

    def newest(self) -> tuple[int, int]:
        """Returns (timestamp, relative offset) of the last entry in memory, (-1, 0) if there is none."""
        return (self._timestamps[-1], self._offsets[-1]) if self._timestamps else (-1, 0)

    def entries(self) -> Iterable[tuple[int, int]]:
        """Returns (timestamp, relative offset) of those in memory."""
        return zip(self._timestamps, self._offsets, strict=True)

    def supply(self, data: bytes) -> bool:
        """As OffsetIndex.supply."""
        if len(data) < self.missing * self.ENTRY_BYTES:
            return False
        words = array("i", data[: self.missing * self.ENTRY_BYTES])  # two of a timestamp, one of an offset
        halves = array("i", bytes(8 * self.missing))
        halves[0::2], halves[1::2] = words[0::3], words[1::3]
        timestamps, offsets = array("q", halves.tobytes()), words[2::3]
        if _LITTLE:
            timestamps.byteswap()
            offsets.byteswap()
        timestamps += self._timestamps
        offsets += self._offsets
        if not _ascends(timestamps) or not _ascends(offsets) or offsets[0] < 0:
            return False
        self._timestamps, self._offsets, self.missing = timestamps, offsets, 0
        return True

    def unwritten(self) -> bytes:
        """As OffsetIndex.unwritten."""
        first = self.stored - self.missing
        timestamps, offsets = self._timestamps[first:], self._offsets[first:]
        if _LITTLE:
            timestamps.byteswap()
            offsets.byteswap()
        halves = array("i", timestamps.tobytes())
        words = array("i", bytes(self.ENTRY_BYTES * len(offsets)))
        words[0::3], words[1::3], words[2::3] = halves[0::2], halves[1::2], offsets
        return words.tobytes()

    def unload(self) -> None:
        """As OffsetIndex.unload."""
        assert self.stored == len(self)
        self.missing = self.stored
        self._timestamps, self._offsets = array("q"), array("i")


def _ascends(values: array[int]) -> bool:
    return all(map(int.__lt__, values, values[1:]))
