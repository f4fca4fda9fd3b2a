"""Producer states: what a log remembers of its idempotent producers, to tell a repeated batch from a new one.

Of each producer id the newest epoch and its last five batches (Kafka's rule: as many as a client has in flight). A
leader asks `check` before it appends; leaders and followers alike `update` with every batch. Sequence numbers follow
int32's maximum with 0.

Snapshots (`<offset>.snapshot`, the state of all batches below that offset) have Kafka's layout: int16 version 1,
uint32 CRC-32C of the rest, int32 count, and rows of 46 bytes. Kafka writes one row a producer; here each remembered
batch has a row, the newest last, so that after a restart all five are known, and Kafka's reader, where a later row of
the same producer wins, sees what it would have written itself.

A producer is forgotten when this process has not seen it for a while (the log's own time, not its records': records
may be years old). Transactional state is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from crc32c import crc32c

from dohle.model.batch import BatchHeader
from dohle.model.errors import CorruptLog, InvalidProducerEpoch, OutOfOrderSequenceNumber

BATCHES_KEPT = 5

_SEQUENCES = 2**31
_VERSION = 1
_PREFIX = struct.Struct(">hIi")
_CRC_END = 6
_ROW = struct.Struct(">qhiqiqiq")
_NO_COORDINATOR = -1
_NO_TRANSACTION = -1


class WrittenBatch(NamedTuple):
    """Where a producer's batch lies in the log."""

    first_sequence: int
    last_sequence: int
    base_offset: int
    last_offset: int
    timestamp: int


class Duplicate(NamedTuple):
    """The offsets that a repeated batch was written at the first time."""

    base_offset: int
    last_offset: int


class _Producer:
    __slots__ = ("batches", "epoch", "seen_at")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.batches: tuple[WrittenBatch, ...] = ()
        self.seen_at = 0.0

    def add(self, batch: WrittenBatch) -> None:
        self.batches = (*self.batches[1 - BATCHES_KEPT :], batch)


class ProducerStates:
    """The producers of one log. `now` is in seconds of the node's monotonic clock."""

    __slots__ = ("_producers",)

    def __init__(self) -> None:
        self._producers: dict[int, _Producer] = {}

    def __len__(self) -> int:
        return len(self._producers)

    def check(self, header: BatchHeader) -> Duplicate | None:
        """Returns where the batch was written before, or None if it may be appended.

        Raises InvalidProducerEpoch for an epoch that is over, OutOfOrderSequenceNumber where batches are missing.
        """
        known = self._producers.get(header.producer_id)
        if header.producer_id < 0 or header.is_control:
            return None
        if known is None:  # else a later batch in flight would be written before an earlier one that was refused
            if header.base_sequence != 0:
                raise OutOfOrderSequenceNumber(
                    f"producer {header.producer_id} is not known here, and its batch is not its first: it has sequence"
                    f" {header.base_sequence}"
                )
            return None
        if header.producer_epoch < known.epoch:
            raise InvalidProducerEpoch(
                f"producer {header.producer_id} writes in epoch {header.producer_epoch}, but {known.epoch} has begun: "
                "another instance has taken its place"
            )
        if header.producer_epoch > known.epoch:
            expected = 0
        else:
            for batch in known.batches:
                if batch.first_sequence == header.base_sequence and batch.last_sequence == header.last_sequence:
                    return Duplicate(batch.base_offset, batch.last_offset)
            expected = (known.batches[-1].last_sequence + 1) % _SEQUENCES
        if header.base_sequence != expected:
            raise OutOfOrderSequenceNumber(
                f"producer {header.producer_id}, epoch {header.producer_epoch}: sequence {header.base_sequence} where "
                f"{expected} comes next"
            )
        return None

    def update(self, header: BatchHeader, now: float) -> None:
        """Notes a batch that was appended; `header` bears its offsets in the log."""
        if header.producer_id < 0 or header.is_control:
            return
        known = self._producers.get(header.producer_id)
        if known is None or known.epoch != header.producer_epoch:
            known = self._producers[header.producer_id] = _Producer(header.producer_epoch)
        known.seen_at = now
        known.add(
            WrittenBatch(
                header.base_sequence, header.last_sequence, header.base_offset, header.last_offset, header.max_timestamp
            )
        )

    def last_below(self, end: int) -> dict[int, int]:
        """Returns the last offset of each producer's last batch that lies below `end`; -1 if none is remembered."""
        return {
            producer_id: max([batch.last_offset for batch in known.batches if batch.last_offset < end], default=-1)
            for producer_id, known in self._producers.items()
        }

    def newest(self) -> Iterator[tuple[int, int, WrittenBatch]]:
        """Yields each producer's id, its epoch and its last batch, by id."""
        for producer_id, known in sorted(self._producers.items()):
            yield producer_id, known.epoch, known.batches[-1]

    def expire(self, now: float, after_ms: int) -> None:
        """Forgets who was not seen for `after_ms`."""
        limit = now - after_ms / 1000
        for producer_id in [key for key, known in self._producers.items() if known.seen_at <= limit]:
            del self._producers[producer_id]

    def clear(self) -> None:
        self._producers.clear()

    def contradiction(self, gathered: ProducerStates, start_offset: int) -> str | None:
        """Returns what is said here and not by `gathered`, from all batches from `start_offset` on; None if nothing is.

        Who was forgotten for a while may be missing here, and so may what they wrote before.
        """
        for producer_id, known in self._producers.items():
            batches = tuple([batch for batch in known.batches if batch.base_offset >= start_offset])
            there = gathered._producers.get(producer_id)
            if batches and (there is None or there.epoch != known.epoch or there.batches[-len(batches) :] != batches):
                return f"producer {producer_id}, epoch {known.epoch}: the batches at its last offsets are not its own"
        return None

    def encode(self) -> bytes:
        """Returns a snapshot's bytes."""
        rows: list[bytes] = []
        for producer_id, known in self._producers.items():
            for batch in known.batches:
                delta = batch.last_offset - batch.base_offset
                rows.append(
                    _ROW.pack(
                        producer_id,
                        known.epoch,
                        batch.last_sequence,
                        batch.last_offset,
                        delta,
                        batch.timestamp,
                        _NO_COORDINATOR,
                        _NO_TRANSACTION,
                    )
                )
        body = b"".join(rows)
        count = struct.pack(">i", len(rows))
        return _PREFIX.pack(_VERSION, crc32c(count + body), len(rows)) + body

    def load(self, data: bytes, now: float) -> None:
        """Replaces everything by a snapshot. Raises CorruptLog, changing nothing, where `data` is not a whole one."""
        if len(data) < _PREFIX.size:
            raise CorruptLog(f"a producer snapshot of {len(data)} bytes is too short")
        version, crc, count = _PREFIX.unpack_from(data)
        if version != _VERSION or crc != crc32c(data[_CRC_END:]) or len(data) != _PREFIX.size + count * _ROW.size:
            raise CorruptLog(f"a producer snapshot is damaged: version {version}, {count} rows in {len(data)} bytes")
        self._producers.clear()
        for producer_id, epoch, last_sequence, last_offset, delta, timestamp, _, _ in _ROW.iter_unpack(
            data[_PREFIX.size :]
        ):
            known = self._producers.get(producer_id)
            if known is None or known.epoch != epoch:
                known = self._producers[producer_id] = _Producer(epoch)
                known.seen_at = now
            first_sequence = (last_sequence - delta) % _SEQUENCES
            known.add(WrittenBatch(first_sequence, last_sequence, last_offset - delta, last_offset, timestamp))
