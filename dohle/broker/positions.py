"""Positions of readers: how far a log goes beyond one, and how old what comes next is there.

The time is that of the record, exact to it where its batch is small. Of a larger one only the header is looked at, and
the time is taken to have passed evenly from its first record to its newest: a lag need not be exact to what a producer
gathered for one request. What a request reads is bounded; positions beyond that are answered without a time, and who
asks again asks for these first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from dohle.broker.replicas import Replicas
from dohle.model.batch import BatchHeader, read_header
from dohle.model.errors import DamagedReplica, DohleError, OffsetNotAvailable
from dohle.model.ids import PartitionKey
from dohle.model.records import decode_records
from dohle.runtime.clock import Clock
from dohle.storage.log import Log

MOST_READS = 256
MOST_READ_BYTES = 4 << 20
"""Of one request, for times."""
_DECODED_BYTES = 16 << 10
_DECODED_RECORDS = 500
"""Of a batch that has no more, records are looked at, which takes less than a millisecond."""


class ReaderPosition(NamedTuple):
    """`offset` is the next to be read, -1 if that is not known; `wants_time`: of the record there."""

    key: PartitionKey
    offset: int
    wants_time: bool


@dataclass(frozen=True, slots=True)
class Surrounding:
    """The log around a position. `timestamp_ms` is that of the first record at or after it, None where there is none,
    where it was not wanted, and where more was wanted than is read at once."""

    log_start_offset: int
    high_watermark: int
    timestamp_ms: int | None = None


class Positions:
    """Of readers of the partitions that this broker leads."""

    def __init__(self, replicas: Replicas, clock: Clock) -> None:
        self._replicas = replicas
        self._clock = clock

    async def describe(self, wanted: Sequence[ReaderPosition]) -> list[Surrounding | DohleError]:
        """Returns what surrounds each position, or what keeps it from being told."""
        budget = _Budget()
        found: list[Surrounding | DohleError] = []
        for position in wanted:
            try:
                found.append(await self._describe(position, budget))
            except DohleError as error:
                found.append(error)
        return found

    async def _describe(self, position: ReaderPosition, budget: _Budget) -> Surrounding:
        partition = self._replicas.partition(position.key)
        leading = partition.leading()
        log = leading.log
        if not leading.watermark_is_current:
            raise OffsetNotAvailable(
                f"the high watermark of {partition.name} has not reached the start of leader epoch"
                f" {leading.leader_epoch} yet"
            )
        start, end = log.log_start_offset, log.high_watermark
        if not position.wants_time or position.offset < 0 or max(position.offset, start) >= end or budget.is_spent:
            return Surrounding(start, end)
        try:
            timestamp_ms = await partition.read(partial(_time_at, offset=position.offset, budget=budget))
        except DamagedReplica as failure:
            raise leading.found_damage(failure, self._clock.now()) from failure
        return Surrounding(start, end, timestamp_ms)


class _Budget:
    """What is left to be read for one request."""

    def __init__(self) -> None:
        self._reads = MOST_READS
        self._bytes = MOST_READ_BYTES

    @property
    def is_spent(self) -> bool:
        return self._reads <= 0 or self._bytes <= 0

    def spend(self, size_bytes: int) -> None:
        self._reads -= 1
        self._bytes -= size_bytes


async def _time_at(log: Log, *, offset: int, budget: _Budget) -> int | None:
    """Returns the time of the first record from `offset` on; None where there is none below the watermark."""
    while True:
        end = log.high_watermark
        offset = max(offset, log.log_start_offset)
        batch = await log.read(offset, 1, up_to=end) if offset < end else b""
        if not batch:
            return None
        budget.spend(len(batch))
        header = read_header(batch)
        timestamp_ms = _time_in(batch, header, offset)
        if timestamp_ms is not None:
            return timestamp_ms
        if budget.is_spent:  # compaction may have left many batches without what is looked for
            return header.max_timestamp
        offset = header.next_offset


def _time_in(batch: bytes, header: BatchHeader, offset: int) -> int | None:
    """Returns the time of the batch's first record from `offset` on, about that where it is large; None if it has no
    such record."""
    if header.record_count == 0:
        return None
    if header.is_append_time:
        return header.max_timestamp
    if len(batch) <= _DECODED_BYTES and header.record_count <= _DECODED_RECORDS:
        return next((record.timestamp_ms for record in decode_records(batch) if record.offset >= offset), None)
    share = max(0, offset - header.base_offset) / max(1, header.last_offset_delta)
    return header.base_timestamp + int((header.max_timestamp - header.base_timestamp) * share)
