"""Record batches, right ones and those with one thing wrong under a right checksum."""

from __future__ import annotations

import struct

from crc32c import crc32c

from dohle.model.batch import CRC_AT, CRC_END, HEADER, HEADER_BYTES, LENGTH_END, read_header
from dohle.model.codecs import Codec, compress
from dohle.model.records import Record, encode_batch
from dohle.model.varint import encode_varint

WHEN_MS = 1_700_000_000_000
"""When all records were made, but for those whose time is the case."""


def batch(
    *values: bytes,
    key: bytes | None = b"k",
    codec: Codec = Codec.NONE,
    producer: tuple[int, int, int] = (-1, -1, -1),
    when_ms: int = WHEN_MS,
    headers: tuple[tuple[str, bytes | None], ...] = (),
) -> bytes:
    """Returns a batch of one record for each of `values`, by default of one. `producer`: id, epoch, first sequence."""
    producer_id, epoch, sequence = producer
    return encode_batch(
        [Record(key, value, headers, when_ms + step) for step, value in enumerate(values or (b"v",))],
        codec=codec,
        producer_id=producer_id,
        producer_epoch=epoch,
        base_sequence=sequence,
    )


def changed(source: bytes, **fields: int) -> bytes:
    """Returns the batch with other fields in its header, under a right checksum."""
    return sealed(HEADER.pack(*read_header(source)._replace(**fields)) + source[HEADER_BYTES:])


def with_body(source: bytes, body: bytes, **fields: int) -> bytes:
    """Returns the batch with other bytes behind its header, and other fields in it, under a right checksum."""
    length = HEADER_BYTES - LENGTH_END + len(body)
    return sealed(HEADER.pack(*read_header(source)._replace(**{"batch_length": length, **fields})) + body)


def sealed(data: bytes) -> bytes:
    return data[:CRC_AT] + struct.pack(">I", crc32c(data[CRC_END:])) + data[CRC_END:]


def record(
    *,
    attributes: int = 0,
    time_delta: int = 0,
    offset_delta: int = 0,
    key: bytes | None = b"k",
    value: bytes | None = b"v",
    header_count: int = 0,
    length: int | None = None,
    behind: bytes = b"",
) -> bytes:
    """Returns a record as it lies in a batch; `length` is a lie about its own."""
    body = b"".join(
        [
            struct.pack("b", attributes),
            encode_varint(time_delta),
            encode_varint(offset_delta),
            *(encode_varint(-1) if part is None else encode_varint(len(part)) + part for part in (key, value)),
            encode_varint(header_count),
            behind,
        ]
    )
    return encode_varint(len(body) if length is None else length) + body


def bomb(codec: Codec, size_bytes: int = 16 << 20) -> bytes:
    """Returns a small batch whose one record is so large."""
    body = record(value=bytes(size_bytes))
    return with_body(batch(), compress(codec, body), attributes=codec)


def old_message(magic: int) -> bytes:
    """Returns a message of format 0 or 1 with the value `v`, as clients before Kafka 0.11 sent it."""
    import zlib

    time = struct.pack(">q", WHEN_MS) if magic == 1 else b""
    body = struct.pack(">bb", magic, 0) + time + struct.pack(">i", -1) + struct.pack(">i", 1) + b"v"
    message = struct.pack(">I", zlib.crc32(body)) + body
    return struct.pack(">qi", 0, len(message)) + message
