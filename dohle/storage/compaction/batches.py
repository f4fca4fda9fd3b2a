"""Batches that a compaction writes: with fewer records, with none, and in the place of those that are gone.

Offsets are never left out: where whole batches go, an empty one takes their place, up to the next that stays, of the
leader epoch that they had and with their newest timestamp. So a batch begins where the one before it ends in this log
as in any other, and a missing one is damage; epochs begin where they began; and retention finds the age of what was
there. Kafka writes such batches too, to keep a producer's last sequence, and its clients pass over them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from crc32c import crc32c

from dohle.model.batch import (
    CODEC_BITS,
    CRC_AT,
    CRC_END,
    HEADER,
    HEADER_BYTES,
    LENGTH_END,
    MAGIC,
    NO_PRODUCER,
    NO_TIMESTAMP,
    BatchHeader,
    read_header,
)
from dohle.storage.roll import MOST_RELATIVE_OFFSET

_UINT32 = struct.Struct(">I")


def with_payload(header: BatchHeader, payload: bytes) -> bytes:
    """Returns the batch of `header`, whose length and CRC are worked out, with `payload` behind it."""
    batch = bytearray(HEADER_BYTES + len(payload))
    HEADER.pack_into(batch, 0, *header._replace(batch_length=len(batch) - LENGTH_END, crc=0))
    batch[HEADER_BYTES:] = payload
    _UINT32.pack_into(batch, CRC_AT, crc32c(memoryview(batch)[CRC_END:]))
    return bytes(batch)


def emptied(header: BatchHeader) -> bytes:
    """Returns the batch without its records: its producer's epoch and sequence are still told."""
    return with_payload(header._replace(attributes=header.attributes & ~CODEC_BITS, record_count=0), b"")


@dataclass(slots=True)
class Gone:
    """Batches that go, one behind the other, of one leader epoch."""

    base_offset: int
    next_offset: int
    leader_epoch: int
    max_timestamp: int

    def takes(self, header: BatchHeader) -> bool:
        """Goes on with this batch, if that may be."""
        last_offset = header.base_offset + header.last_offset_delta
        if header.partition_leader_epoch != self.leader_epoch or last_offset - self.base_offset > MOST_RELATIVE_OFFSET:
            return False
        self.next_offset = last_offset + 1
        if header.max_timestamp > self.max_timestamp:
            self.max_timestamp = header.max_timestamp
        return True

    def encode(self) -> bytes:
        """Returns the empty batch in their place."""
        last_delta = self.next_offset - 1 - self.base_offset
        batch = bytearray(
            HEADER.pack(  # as BatchHeader has the fields
                *(self.base_offset, HEADER_BYTES - LENGTH_END, self.leader_epoch, MAGIC, 0, 0, last_delta),
                *(NO_TIMESTAMP, self.max_timestamp, NO_PRODUCER, NO_PRODUCER, NO_PRODUCER, 0),
            )
        )
        _UINT32.pack_into(batch, CRC_AT, crc32c(memoryview(batch)[CRC_END:]))
        return bytes(batch)


def beginning_at(batches: bytes, offset: int) -> bytes:
    """Returns batches of which the first does not begin below `offset`, where another replica's log ends.

    That one may end among batches which have gone here since, and have one empty batch in their place.
    """
    first = read_header(batches) if batches else None
    if first is None or first.record_count or first.is_idempotent or first.base_offset >= offset:
        return batches
    rest = gone(first)
    rest.base_offset = offset
    return rest.encode() + batches[first.size_bytes :]


def gone(header: BatchHeader) -> Gone:
    return Gone(header.base_offset, header.next_offset, header.partition_leader_epoch, header.max_timestamp)
