"""Log reader: finds batches by offset in a log's segments.

A read is one bulk read of whole batches. Readers mostly go on where they stopped, so the positions where the last few
reads ended are remembered; others go through the sparse index and the headers behind its entry.

Every batch that leaves is checked: its CRC, and what the CRC does not cover as far as its neighbours tell. Nobody knows
what comes from the device and what still lies in the page cache, so both are: 1.4 microseconds for a batch of 200 bytes
and 2.7 for one of 16 KiB. For most reads handing it to a thread would cost more, so it is done on the loop, in turns.
What a lookup only passes by is looked at by its header alone.

Reads may wait for the device while the log grows, rolls, or is truncated; `forget` is called at a truncation, and the
log asks again when one came in between.
"""

from __future__ import annotations

from typing import NamedTuple

from crc32c import crc32c

from dohle.model.batch import CRC_END, HEADER, HEADER_BYTES, LENGTH_END, MAGIC, BatchHeader
from dohle.runtime.tasks import turn
from dohle.storage.segment import DamagedFile, Segment
from dohle.storage.segments import Segments

_ENDS_KEPT = 16
_IN_A_TURN = 512  # batches that are checked before the loop does what waits


class _Checked(NamedTuple):
    """How far a check has come: where the next batch begins in what was read, and its offset, -1 if unknown."""

    at: int
    following: int
    is_over: bool


class LogReader:
    """Reads of one log. Raises DamagedFile where there is no batch though one must be."""

    __slots__ = ("_ends", "_segments")

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self._ends: dict[int, tuple[Segment, int]] = {}  # offset -> where its batch begins

    def forget(self) -> None:
        self._ends.clear()

    async def read(self, offset: int, max_bytes: int, up_to: int, min_one: bool, from_device: bool) -> bytes:
        """Returns whole batches from the one on that holds `offset`, all of them sound and ending at or below `up_to`.

        `from_device`: the page cache is not believed of a sealed segment, if one begins at `offset`.

        Raises DamagedFile where the first of them is not, or is not to be found.
        """
        segment = self._segments.floor(offset)
        if segment.base_offset < up_to:
            self._segments.touch(segment)
            following = self._segments.after(segment)
            if from_device and segment.base_offset == offset and following is not None:
                await segment.file().drop_cache()
            try:
                data = await self._read_in(segment, offset, max_bytes, up_to, min_one)
            except DamagedFile as error:
                if error.offsets is None:  # no header tells where it ends
                    error.offsets = (offset, following.base_offset if following is not None else up_to)
                raise
            if data is not None:
                return data
            # a roll begins at the log's end, so that no gap is between two segments
            beyond = following.base_offset if following is not None else up_to
            reason = f"the batches from offset {offset} to {beyond} are missing"
            raise DamagedFile(segment.log_path, segment.size, reason, (offset, beyond))
        return b""

    async def _read_in(self, segment: Segment, offset: int, max_bytes: int, up_to: int, min_one: bool) -> bytes | None:
        """Returns None where the segment ends before `offset`."""
        known = self._ends.get(offset)
        start = known[1] if known is not None and known[0] is segment else await segment.locate(offset)
        size = segment.size
        if start >= size:
            return None
        data = await segment.file().read_at(start, min(max(max_bytes, HEADER_BYTES), size - start))
        first = segment.header_in(data, 0, start)
        if first.size_bytes > size - start:
            raise DamagedFile(segment.log_path, start, "the batch is cut")
        if first.size_bytes > max_bytes and not min_one:
            return b""
        if first.size_bytes > len(data):
            data = await segment.file().read_at(start, first.size_bytes)
        is_known = known is not None and known[0] is segment
        if first.base_offset > offset or (is_known and first.base_offset < offset):  # else `locate` has looked
            raise DamagedFile(segment.log_path, start, f"a batch of offset {first.base_offset} where {offset} comes")
        checked = _check(segment, data, start, _Checked(0, first.base_offset, False), up_to)
        while not checked.is_over:
            await turn(0, every=1)
            checked = _check(segment, data, start, checked, up_to)
        if not checked.at:
            return b""
        self._remember(checked.following, segment, start + checked.at)
        return data if checked.at == len(data) else data[: checked.at]

    def _remember(self, offset: int, segment: Segment, position: int) -> None:
        self._ends.pop(offset, None)
        self._ends[offset] = (segment, position)
        if len(self._ends) > _ENDS_KEPT:
            del self._ends[next(iter(self._ends))]

    async def border(self, offset: int) -> tuple[Segment, int, int]:
        """Returns segment, position and base offset of the batch that holds `offset`, or of the next one.

        Where there is none: the last segment's end, with `offset` itself.
        """
        segment = self._segments.floor(offset)
        found: list[BatchHeader] = []

        def is_it(_: int, header: BatchHeader) -> bool:
            if header.next_offset > offset:
                found.append(header)
            return bool(found)

        position = await segment.walk(await segment.locate(offset), segment.size, is_it)
        return segment, position, min(found[0].base_offset, offset) if found else offset


def _check(segment: Segment, data: bytes, start: int, checked: _Checked, up_to: int) -> _Checked:
    """Goes on checking the batches in `data`, which was read at `start`, up to the last whole one below `up_to`.

    What comes behind a damaged batch is left to the read that begins there. Raises DamagedFile where the first is.
    """
    view, limit, at, expected = memoryview(data), len(data), checked.at, checked.following
    for _ in range(_IN_A_TURN):
        if at + HEADER_BYTES > limit:
            return _Checked(at, expected, True)
        base_offset, length, _epoch, magic, crc, _attributes, delta = HEADER.unpack_from(data, at)[:7]
        end, following = at + length + LENGTH_END, base_offset + delta + 1
        if end > limit and at:
            return _Checked(at, expected, True)  # cut off by the read, or damaged, which the next one finds
        if magic != MAGIC or end < at + HEADER_BYTES:
            fault = "no batch begins here"
        elif crc32c(view[at + CRC_END : end]) != crc:
            fault = f"the CRC-32C of the batch of offset {expected} does not match"
        elif base_offset != expected or delta < 0:
            fault = f"a batch of offset {base_offset} where {expected} comes next"
        elif following > up_to:
            return _Checked(at, expected, True)
        else:
            at, expected = end, following
            continue
        if at:
            return _Checked(at, expected, True)
        following = following if base_offset == expected < following <= up_to else expected + 1
        raise DamagedFile(segment.log_path, start, fault, (expected, following))
    return _Checked(at, expected, False)
