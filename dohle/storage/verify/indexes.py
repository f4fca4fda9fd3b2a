"""A segment's two indexes, held beside its batches as they come by.

Each entry must be one that the segment would have made: of the offset index a batch's last offset and where the batch
begins, of the time index the newest timestamp so far and the last offset of the first batch that bears it. Entries may
be missing, for lookups then only take longer; but the time index of a sealed segment ends with its newest timestamp.
Entries for batches that are damaged are believed.
"""

from __future__ import annotations

from typing import TypeVar

from dohle.model.batch import NO_TIMESTAMP, BatchHeader
from dohle.runtime.disk import Disk
from dohle.storage.segment import INDEX_SUFFIX, TIME_INDEX_SUFFIX, Segment
from dohle.storage.segment_index import OffsetIndex, TimeIndex
from dohle.storage.verify.report import Report

_MENDED = "no record is lost; the node builds the index again from the segment when it uses it, and says so"
_UNNOTICED = (
    "no record is lost, but the node cannot tell: lookups may fail or miss records. Stop the node and delete the file; "
    "it is built again from the segment"
)

AnyIndex = TypeVar("AnyIndex", OffsetIndex, TimeIndex)


class IndexCheck:
    """The indexes of one segment that are complete in their files."""

    def __init__(self, disk: Disk, segment: Segment, report: Report) -> None:
        self._disk = disk
        self._segment = segment
        self._report = report
        self._positions: list[tuple[int, int]] = []  # those to come, the next one last
        self._times: list[tuple[int, int]] = []
        self._has_times = False
        self._is_wrong = False  # some entry of the time index
        self._last_time: tuple[int, int] | None = None
        self._newest = (NO_TIMESTAMP, 0)
        self._following = (0, 0)  # position and relative offset behind the last sound batch
        self._offset_path = segment.path + INDEX_SUFFIX
        self._time_path = segment.path + TIME_INDEX_SUFFIX
        self._taken = [0, 0]

    async def load(self) -> None:
        offsets = await self._read(self._offset_path, OffsetIndex())
        self._positions = [] if offsets is None else list(offsets.entries())[::-1]
        times = await self._read(self._time_path, TimeIndex())
        self._times = [] if times is None else list(times.entries())[::-1]
        self._has_times = times is not None
        self._last_time = self._times[0] if self._times else None

    async def _read(self, path: str, index: AnyIndex) -> AnyIndex | None:
        """Returns None, and reports why, where the file is no index."""
        data: bytes | None = None
        with self._report.reading(path):
            if not self._disk.exists(path):
                self._report.fault(path, 0, "it is missing", expected="the segment's index", meaning=_MENDED)
                return None
            data = await self._disk.read_all(path)
        if not data:
            return None if data is None else index
        kind, entry_bytes = type(index), index.ENTRY_BYTES
        if (found := kind(-(-len(data) // entry_bytes))).supply(data):
            return found
        sound = _sound_entries(kind, data)
        if (sound + 1) * entry_bytes > len(data):
            what = f"the last entry is cut: {len(data)} bytes"
        else:
            what = f"entry {sound} does not ascend"
        expected = f"entries of {entry_bytes} bytes that ascend"
        self._report.fault(path, sound * entry_bytes, what, expected=expected, meaning=_MENDED)
        return None

    def note(self, position: int, header: BatchHeader) -> None:
        """Takes the next sound batch of the segment. What lies before it and was not taken is damaged."""
        first, last = (offset - self._segment.base_offset for offset in (header.base_offset, header.last_offset))
        damaged_from, damaged_first = self._following
        self._following = position + header.size_bytes, last + 1
        if header.max_timestamp > self._newest[0]:
            self._newest = (header.max_timestamp, last)
        while self._positions and self._positions[-1][1] <= position:
            entry = self._positions.pop()
            if entry != (last, position) and not damaged_from <= entry[1] < position:
                self._bad_offset(entry, f"offset {last}, which is in {self._segment.log_path}")
            self._taken[0] += 1
        while self._times and self._times[-1][1] <= last:
            entry = self._times.pop()
            if damaged_from < position and damaged_first <= entry[1] < first:
                self._newest = entry if entry[0] >= self._newest[0] else self._newest
            elif entry != self._newest:
                self._bad_time(entry, f"{self._newest_words} up to there")
            self._taken[1] += 1

    @property
    def _newest_words(self) -> str:
        return f"timestamp {self._newest[0]} at {self._newest[1]}, the newest of {self._segment.log_path}"

    def finish(self) -> None:
        """All batches came by, and each is sound."""
        for entry in reversed(self._positions):
            self._bad_offset(entry, f"a batch in the {self._segment.size} bytes of the segment")
            self._taken[0] += 1
        for entry in reversed(self._times):
            self._bad_time(entry, "an offset in the segment")
            self._taken[1] += 1
        is_short = self._has_times and not self._is_wrong and self._newest[0] > NO_TIMESTAMP
        if is_short and self._last_time != self._newest:
            at = max(self._taken[1] - 1, 0) * TimeIndex.ENTRY_BYTES
            found = "it has no entry" if self._last_time is None else f"it ends with timestamp {self._last_time[0]}"
            expected = self._newest_words
            self._report.fault(self._time_path, at, found, expected=expected, meaning=_UNNOTICED)

    def _bad_offset(self, entry: tuple[int, int], expected: str) -> None:
        found = f"its entry says that the batch up to relative offset {entry[0]} begins at byte {entry[1]}"
        at = self._taken[0] * OffsetIndex.ENTRY_BYTES
        self._report.fault(self._offset_path, at, found, expected=expected, meaning=_UNNOTICED)

    def _bad_time(self, entry: tuple[int, int], expected: str) -> None:
        self._is_wrong = True
        found = f"its entry says timestamp {entry[0]} at relative offset {entry[1]}"
        at = self._taken[1] * TimeIndex.ENTRY_BYTES
        self._report.fault(self._time_path, at, found, expected=expected, meaning=_UNNOTICED)


def _sound_entries(kind: type[OffsetIndex] | type[TimeIndex], data: bytes) -> int:
    """Returns how many entries at the beginning are in order, which not all are."""
    least, most = 0, len(data) // kind.ENTRY_BYTES
    while least < most:
        middle = (least + most + 1) // 2
        if kind(middle).supply(data[: middle * kind.ENTRY_BYTES]):
            least = middle
        else:
            most = middle - 1
    return least
