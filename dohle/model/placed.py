"""Placed batches: batches of another log that keep their offsets here, as an import brings them.

A placed batch says in its base offset where it belongs, and a leader appends it there or not at all. So that a log has
no gaps, offsets that nobody has records for are covered by a batch without records (`hole`), which every reader of the
format passes over: Kafka's own cleaner leaves such batches behind. Whoever wrote it is not said: the producers of the
other log have ids that may be those of others here, and its transactions are decided before.
"""

from __future__ import annotations

from collections.abc import Iterator

from crc32c import crc32c

from dohle.model.batch import (
    CRC_END,
    HEADER,
    HEADER_BYTES,
    LENGTH_END,
    MAGIC,
    NO_PRODUCER,
    NO_TIMESTAMP,
    TRANSACTIONAL_BIT,
    BatchHeader,
    Bytes,
    read_header,
    stamp_append_time,
)
from dohle.model.codecs import Codec
from dohle.model.records import NO_LEADER_EPOCH, Record, decode_records, encode_batch

MOST_OFFSETS = (1 << 31) - 1
"""A batch's last offset delta is an int32."""


def hole(base_offset: int, next_offset: int) -> bytes:
    """Returns a batch without records that covers the offsets from `base_offset` to below `next_offset`."""
    assert 0 < next_offset - base_offset <= MOST_OFFSETS
    length = HEADER_BYTES - LENGTH_END
    times = (NO_TIMESTAMP, NO_TIMESTAMP)
    producer = (NO_PRODUCER, NO_PRODUCER, NO_PRODUCER)
    return _with_crc(
        BatchHeader(
            base_offset, length, NO_LEADER_EPOCH, MAGIC, 0, 0, next_offset - base_offset - 1, *times, *producer, 0
        ),
        b"",
    )


def holes(base_offset: int, next_offset: int) -> Iterator[bytes]:
    """Yields batches without records for all these offsets."""
    while base_offset < next_offset:
        end = min(next_offset, base_offset + MOST_OFFSETS)
        yield hole(base_offset, end)
        base_offset = end


def placed(batch: Bytes) -> bytes:
    """Returns the sound batch of another log with its offsets, times and records, and without its producer."""
    header = read_header(batch)
    return _with_crc(
        header._replace(
            partition_leader_epoch=NO_LEADER_EPOCH,
            attributes=header.attributes & ~TRANSACTIONAL_BIT,
            producer_id=NO_PRODUCER,
            producer_epoch=NO_PRODUCER,
            base_sequence=NO_PRODUCER,
        ),
        memoryview(batch)[HEADER_BYTES : header.size_bytes],
    )


def placed_from(batch: Bytes, offset: int) -> Iterator[bytes]:
    """Yields what there is of the sound batch from `offset` on, which lies within it, up to its last record."""
    header = read_header(batch)
    run: list[Record] = []
    for record in decode_records(batch):
        if record.offset < offset:
            continue
        if run and record.offset != run[-1].offset + 1:
            yield _encoded(run, header)
            run = []
        run.append(record)
    if run:
        yield _encoded(run, header)


def _encoded(run: list[Record], header: BatchHeader) -> bytes:
    encoded = bytearray(encode_batch(run, base_offset=run[0].offset, codec=Codec.numbered(header.codec)))
    if header.is_append_time:
        stamp_append_time(encoded, 0, header.max_timestamp)
    return bytes(encoded)


def _with_crc(header: BatchHeader, records: Bytes) -> bytes:
    crc = crc32c(records, crc32c(HEADER.pack(*header)[CRC_END:]))
    return HEADER.pack(*header._replace(crc=crc)) + bytes(records)
