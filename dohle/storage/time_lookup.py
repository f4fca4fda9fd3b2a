"""Time lookup: the first record of a log that is not older than a time, and the one with the newest time (KIP-734).

Both are exact to the record, in whatever order the times came. Indexes and headers say at most how new a batch's
records are: compaction leaves the newest time of what went in a header, and a log may begin within a batch. So
they say where to look, and the records decide; a batch whose records are looked at is checked by its CRC.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from dohle.model.batch import NO_TIMESTAMP, BatchHeader
from dohle.model.errors import CorruptMessage
from dohle.model.records import Record, decode_records
from dohle.storage.segment import DamagedFile, Segment
from dohle.storage.segments import Segments

T = TypeVar("T")


class Found(NamedTuple):
    """A record, by its offset and its time in ms."""

    offset: int
    timestamp: int


class SearchedLog(Protocol):
    """What a lookup needs of a log."""

    @property
    def log_start_offset(self) -> int: ...
    @property
    def log_end_offset(self) -> int: ...
    @property
    def version(self) -> tuple[int, int]: ...
    def check_sound(self) -> None: ...
    async def checked(self, work: Coroutine[Any, Any, T], version: tuple[int, int]) -> T | None: ...


class TimeLookup:
    """Of one log. Raises what its `read` does."""

    __slots__ = ("_log", "_segments")

    def __init__(self, log: SearchedLog, segments: Segments) -> None:
        self._log = log
        self._segments = segments

    async def first_at(self, timestamp: int, *, up_to: int | None = None) -> Found | None:
        """Returns the first record that is not older than `timestamp`, None if all are.

        Only batches that end at or below `up_to` are looked at.
        """
        return await self._look(partial(_first_at, self._segments, timestamp), up_to)

    async def newest(self, *, up_to: int | None = None) -> Found | None:
        """Returns the first of the records with the newest time; None where no record has one.

        Only batches that end at or below `up_to` are looked at.
        """
        return await self._look(partial(_newest, self._segments), up_to)

    async def _look(
        self, look: Callable[[int, int], Coroutine[Any, Any, Found | None]], up_to: int | None
    ) -> Found | None:
        while True:
            self._log.check_sound()
            version, start, end = self._log.version, self._log.log_start_offset, self._log.log_end_offset
            if start == end:
                return None
            found = await self._log.checked(look(start, end if up_to is None else min(up_to, end)), version)
            if version == self._log.version:
                return found


async def _first_at(segments: Segments, timestamp: int, start: int, up_to: int) -> Found | None:
    segment: Segment | None = segments.floor(start)
    while segment is not None and segment.base_offset < up_to:
        segments.touch(segment)
        if await segment.newest_timestamp() >= timestamp:
            found = await _first_in(segment, timestamp, start, up_to)
            if found is not None:
                return found
        segment = segments.after(segment)
    return None


async def _first_in(segment: Segment, timestamp: int, start: int, up_to: int) -> Found | None:
    await segment.load_indexes()
    position = await segment.locate(max(segment.base_offset + segment.times.floor(timestamp), start))
    while (hit := await _next_batch(segment, position, timestamp, up_to)) is not None:
        position, header = hit
        for record in await _records(segment, position, header, start):
            if record.timestamp_ms >= timestamp:
                return Found(record.offset, record.timestamp_ms)
        position += header.size_bytes
    return None


async def _newest(segments: Segments, start: int, up_to: int) -> Found | None:
    """Looks at the segments that may have the newest record first, and at no more than it must."""
    bounds: list[tuple[int, Segment]] = []
    for segment in list(segments.all):
        following = segments.after(segment)
        if segment.base_offset < up_to and (following is None or following.base_offset > start):
            if segment.newest is None:
                segments.touch(segment)
            bounds.append((await segment.newest_timestamp(), segment))
    best: Found | None = None
    for bound, segment in sorted(bounds, key=lambda one: (-one[0], one[1].base_offset)):
        if bound < _least(best):
            break
        segments.touch(segment)
        best = await _newer_in(segment, best, start, up_to)
    return best


async def _newer_in(segment: Segment, best: Found | None, start: int, up_to: int) -> Found | None:
    """Returns the segment's newest record, unless `best` is newer, or as new and before it."""
    await segment.load_indexes()
    timestamp, relative = segment.times.before(up_to - segment.base_offset)
    if segment.newest is not None and segment.base_offset + segment.newest[1] < up_to:
        timestamp, relative = max(segment.newest, (timestamp, relative))
    position = await segment.locate(max(segment.base_offset, start))
    if timestamp > NO_TIMESTAMP and segment.base_offset + relative >= start:
        # by the index no batch up to that one is newer, and only its records can tell whether they are as new
        at = await segment.locate(segment.base_offset + relative)
        hit = await _next_batch(segment, at, timestamp, up_to)
        if hit is not None and hit[0] == at:
            newest = await _newest_record(segment, *hit, start)
            best = _better(best, newest)
            if newest is not None and newest.timestamp == timestamp:
                position = at + hit[1].size_bytes
    while True:
        hit = await _next_batch(segment, position, _least(best), up_to)
        if hit is None:
            return best
        best = _better(best, await _newest_record(segment, *hit, start))
        position = hit[0] + hit[1].size_bytes


def _least(best: Found | None) -> int:
    """Returns how new a record must be to be of interest beside `best`: of those that are as new the first counts."""
    return NO_TIMESTAMP + 1 if best is None else best.timestamp


def _better(one: Found | None, other: Found | None) -> Found | None:
    """Returns the newer of both, the first one where they are as new."""
    found = [record for record in (one, other) if record is not None]
    return max(found, key=lambda record: (record.timestamp, -record.offset)) if found else None


async def _newest_record(segment: Segment, position: int, header: BatchHeader, start: int) -> Found | None:
    best: Found | None = None
    for record in await _records(segment, position, header, start):
        if record.timestamp_ms > (NO_TIMESTAMP if best is None else best.timestamp):
            best = Found(record.offset, record.timestamp_ms)
    return best


async def _next_batch(segment: Segment, position: int, timestamp: int, up_to: int) -> tuple[int, BatchHeader] | None:
    """Returns where the next batch is that may have a record as new, and its header; None where none ends in time."""
    hits: list[BatchHeader] = []

    def is_hit(_: int, header: BatchHeader) -> bool:
        if header.max_timestamp >= timestamp or header.next_offset > up_to:
            hits.append(header)
        return bool(hits)

    position = await segment.walk(position, segment.size, is_hit)
    return (position, hits[0]) if hits and hits[0].next_offset <= up_to else None


async def _records(segment: Segment, position: int, header: BatchHeader, start: int) -> Iterator[Record]:
    """Returns the records of a batch from `start` on. Raises DamagedFile."""
    batch = await segment.file().read_at(position, header.size_bytes)
    return _decoded(segment, position, batch, start)


def _decoded(segment: Segment, position: int, batch: bytes, start: int) -> Iterator[Record]:
    try:
        for record in decode_records(batch):
            if record.offset >= start:
                yield record
    except CorruptMessage as error:
        raise DamagedFile(segment.log_path, position, error.message) from error
