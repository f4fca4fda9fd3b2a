"""Log reader: finds batches by offset and by timestamp in a log's segments.

A read is one bulk read of whole batches. Readers mostly go on where they stopped, so the positions where the last few
reads ended are remembered; others go through the sparse index and the headers behind its entry. Only headers are
looked at: no CRC, no record, except for the one batch that a timestamp leads to.

Reads may wait for the device while the log grows, rolls, or is truncated; `forget` is called at a truncation, and the
log asks again when one came in between.
"""

from __future__ import annotations

from dohle.model.batch import HEADER, HEADER_BYTES, LENGTH_END, BatchHeader
from dohle.model.errors import CorruptMessage
from dohle.model.records import decode_records
from dohle.storage.segment import DamagedFile, Segment
from dohle.storage.segments import Segments

_ENDS_KEPT = 16


class LogReader:
    """Reads of one log. Raises DamagedFile where there is no batch though one must be."""

    __slots__ = ("_ends", "_segments")

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self._ends: dict[int, tuple[Segment, int]] = {}  # offset -> where its batch begins

    def forget(self) -> None:
        self._ends.clear()

    async def read(self, offset: int, max_bytes: int, up_to: int, min_one: bool) -> bytes:
        """Returns whole batches from the one on that holds `offset`, all ending at or below `up_to`."""
        segment = self._segments.floor(offset)
        if segment.base_offset < up_to:
            self._segments.touch(segment)
            data = await self._read_in(segment, offset, max_bytes, up_to, min_one)
            if data is not None:
                return data
            following = self._segments.after(segment)
            if following is not None:  # a roll begins at the log's end, so that no gap is between two segments
                reason = f"the batches from offset {offset} to {following.base_offset} are missing"
                raise DamagedFile(segment.log_path, segment.size, reason)
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
        if first.next_offset > up_to or (first.size_bytes > max_bytes and not min_one):
            return b""
        if first.size_bytes > len(data):
            data = await segment.file().read_at(start, first.size_bytes)
            if len(data) < first.size_bytes:
                raise DamagedFile(segment.log_path, start, "the batch is cut")
        end, following = _whole_batches(segment, data, start, up_to)
        if following >= 0:
            self._remember(following, segment, start + end)
        return data if end == len(data) else data[:end]

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

    async def find_timestamp(self, timestamp: int, start: int, up_to: int) -> tuple[int, int] | None:
        """Returns (offset, timestamp) of the first record in [start, up_to) that is not older than `timestamp`."""
        segment: Segment | None = self._segments.floor(start)
        while segment is not None and segment.base_offset < up_to:
            self._segments.touch(segment)
            if await segment.newest_timestamp() >= timestamp:
                found = await self._find_in(segment, timestamp, start, up_to)
                if found is not None:
                    return found
            segment = self._segments.after(segment)
        return None

    async def _find_in(self, segment: Segment, timestamp: int, start: int, up_to: int) -> tuple[int, int] | None:
        await segment.load_indexes()
        position = await segment.locate(max(segment.base_offset + segment.times.floor(timestamp), start))
        while position < segment.size:
            hits: list[BatchHeader] = []

            def is_hit(_: int, header: BatchHeader, hits: list[BatchHeader] = hits) -> bool:
                if header.max_timestamp >= timestamp or header.next_offset > up_to:
                    hits.append(header)
                return bool(hits)

            position = await segment.walk(position, segment.size, is_hit)
            if not hits or hits[0].next_offset > up_to:
                return None
            batch = await segment.file().read_at(position, hits[0].size_bytes)
            try:
                for record in decode_records(batch):
                    if record.timestamp_ms >= timestamp and record.offset >= start:
                        return record.offset, record.timestamp_ms
            except CorruptMessage as error:
                raise DamagedFile(segment.log_path, position, error.message) from error
            position += hits[0].size_bytes  # the header's newest record lies before the start
        return None


def _whole_batches(segment: Segment, data: bytes, start: int, up_to: int) -> tuple[int, int]:
    """Returns where the whole batches below `up_to` end in `data`, and the offset that follows them, -1 if unknown.

    `data` was read at `start`, and its first batch is one of them.
    """
    known = segment.index.last_position_within(start + len(data), up_to - segment.base_offset)
    at, limit, following = max(known - start, 0), len(data), -1
    while at + HEADER_BYTES <= limit:
        fields = HEADER.unpack_from(data, at)
        base_offset, length, delta = fields[0], fields[1], fields[6]
        following = base_offset
        if base_offset + delta + 1 > up_to or at + length + LENGTH_END > limit:
            break
        if length < HEADER_BYTES - LENGTH_END:
            raise DamagedFile(segment.log_path, start + at, f"no batch begins here: its length would be {length}")
        at += length + LENGTH_END
        following = base_offset + delta + 1
    return at, following
