"""Records into batches and out of them: the producer's and the consumer's inner loops.

A `BatchBuilder` gathers records and encodes them all at once, in one loop over local variables; `decode_records` checks
and decompresses a batch at once and then makes records one by one, as they are asked for. Both spell out the common
case, small numbers in varints, and leave the rest to `varint`: a record of 100 bytes costs a microsecond or two in
either direction, which is most of what a client spends on it.

Record: varint length, int8 attributes (0), varint timestamp delta, varint offset delta, key and value (varint length,
-1 for null), varint header count, and headers (key, value). Transactional and control batches are read, not built.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from crc32c import crc32c

from dohle.model.batch import (
    CRC_END,
    HEADER_BYTES,
    LENGTH_END,
    MAGIC,
    NO_PRODUCER,
    NO_TIMESTAMP,
    Bytes,
    PartialBatch,
    check_crc,
    read_header,
)
from dohle.model.codecs import MAX_DECOMPRESSED_BYTES, Codec, compress, decompress
from dohle.model.errors import CorruptMessage
from dohle.model.varint import VARINTS, decode_varint

Headers = Sequence[tuple[str, bytes | None]]
"""Names and values in the order given; a name may occur more than once."""

NO_LEADER_EPOCH: Final = -1
NO_OFFSET: Final = -1
"""Offset of a record that is in no log yet."""

_Row = tuple[int, bytes | None, bytes | None, Headers]
"""What the encoder loops over: timestamp, key, value, headers."""

_BEFORE_CRC: Final = struct.Struct(">qiibI")
_AFTER_CRC: Final = struct.Struct(">hiqqqhii")

_ATTRIBUTES: Final = b"\x00"
_NULL: Final = VARINTS[-1]
_RAW_NULL: Final = 1
_NO_HEADERS: Final = VARINTS[0]

_RECORD_OVERHEAD_BYTES: Final = 24
"""Everything but key, value and headers, at its largest: lengths below 64 MiB, half a million records, any dates."""
_HEADER_OVERHEAD_BYTES: Final = 8


class Record(NamedTuple):
    """One record. A named tuple, since consumers make hundreds of thousands of them a second."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp_ms: int = NO_TIMESTAMP
    offset: int = NO_OFFSET


class BatchBuilder:
    """Gathers the records of one batch. `size_bytes` never understates what they take uncompressed."""

    __slots__ = ("_add", "_rows", "size_bytes")

    def __init__(self) -> None:
        self._rows: list[_Row] = []
        self._add = self._rows.append
        self.size_bytes = HEADER_BYTES

    def __len__(self) -> int:
        return len(self._rows)

    def append(self, key: bytes | None, value: bytes | None, timestamp_ms: int, headers: Headers = ()) -> None:
        """Adds a record; its offset in the batch is the number of records before it."""
        self._add((timestamp_ms, key, value, headers))
        self.size_bytes += _RECORD_OVERHEAD_BYTES + (len(key) if key else 0) + (len(value) if value else 0)
        if headers:
            self.size_bytes += _headers_bytes(headers)

    def build(
        self,
        codec: Codec = Codec.NONE,
        *,
        producer_id: int = NO_PRODUCER,
        producer_epoch: int = NO_PRODUCER,
        base_sequence: int = NO_PRODUCER,
    ) -> bytes:
        """Returns the batch, from base offset 0 on, for a leader to stamp. Needs at least one record."""
        return _encode(
            self._rows,
            codec=codec,
            base_offset=0,
            leader_epoch=NO_LEADER_EPOCH,
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            base_sequence=base_sequence,
        )


def record_size_bytes(key: bytes | None, value: bytes | None, headers: Headers = ()) -> int:
    """Returns by how much a record makes a batch larger, before compression, at most."""
    return _RECORD_OVERHEAD_BYTES + len(key or b"") + len(value or b"") + _headers_bytes(headers)


def encode_batch(
    records: Iterable[Record],
    *,
    base_offset: int = 0,
    leader_epoch: int = NO_LEADER_EPOCH,
    codec: Codec = Codec.NONE,
    producer_id: int = NO_PRODUCER,
    producer_epoch: int = NO_PRODUCER,
    base_sequence: int = NO_PRODUCER,
) -> bytes:
    """Returns `records`, at least one, as a batch that numbers them from `base_offset` on, whatever theirs say."""
    return _encode(
        [(record.timestamp_ms, record.key, record.value, record.headers) for record in records],
        codec=codec,
        base_offset=base_offset,
        leader_epoch=leader_epoch,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
    )


def decode_records(batch: Bytes, position: int = 0, *, limit_bytes: int = MAX_DECOMPRESSED_BYTES) -> Iterator[Record]:
    """Returns the records of the batch at `position`, made one by one as they are asked for.

    CRC and codec are checked before it returns. Raises CorruptMessage where the batch is damaged or holds anything but
    what its header says, here or from the iterator, and UnsupportedCompressionType. No more than `limit_bytes` are
    decompressed.
    """
    header = read_header(batch, position)
    end = position + header.size_bytes
    if end > len(batch):
        raise PartialBatch(position, header.size_bytes, len(batch) - position)
    if not check_crc(batch, position, header):
        raise CorruptMessage(f"the batch of offset {header.base_offset} is damaged: its CRC-32C does not match")
    plain = decompress(Codec.numbered(header.codec), memoryview(batch)[position + HEADER_BYTES : end], limit_bytes)
    records = _decode(plain, header.record_count, header.base_offset, header.base_timestamp)
    if header.is_append_time:
        return (record._replace(timestamp_ms=header.max_timestamp) for record in records)
    return records


def _headers_bytes(headers: Headers) -> int:
    return sum(_HEADER_OVERHEAD_BYTES + len(name.encode()) + len(value or b"") for name, value in headers)


def _encode(
    rows: Sequence[_Row],
    *,
    codec: Codec,
    base_offset: int,
    leader_epoch: int,
    producer_id: int,
    producer_epoch: int,
    base_sequence: int,
) -> bytes:
    assert rows, "a batch holds at least one record"
    payload, max_timestamp = _encode_records(rows)
    if codec != Codec.NONE:
        payload = compress(codec, payload)
    count = len(rows)
    covered = _AFTER_CRC.pack(
        codec, count - 1, rows[0][0], max_timestamp, producer_id, producer_epoch, base_sequence, count
    )
    crc = crc32c(payload, crc32c(covered))
    length = CRC_END - LENGTH_END + len(covered) + len(payload)
    return b"".join((_BEFORE_CRC.pack(base_offset, length, leader_epoch, MAGIC, crc), covered, payload))


def _encode_records(rows: Sequence[_Row]) -> tuple[bytes, int]:
    """Returns the records' bytes and the highest timestamp."""
    varints = VARINTS
    base_timestamp = max_timestamp = rows[0][0]
    parts: list[bytes] = []
    for offset_delta, (timestamp, key, value, headers) in enumerate(rows):
        if timestamp > max_timestamp:
            max_timestamp = timestamp
        time = varints[timestamp - base_timestamp]
        offset = varints[offset_delta]
        if key is None:
            key_length, key = _NULL, b""
        else:
            key_length = varints[len(key)]
        if value is None:
            value_length, value = _NULL, b""
        else:
            value_length = varints[len(value)]
        tail = _encode_headers(headers) if headers else _NO_HEADERS
        length = varints[
            1 + len(time) + len(offset) + len(key_length) + len(key) + len(value_length) + len(value) + len(tail)
        ]
        parts += (length, _ATTRIBUTES, time, offset, key_length, key, value_length, value, tail)
    return b"".join(parts), max_timestamp


def _encode_headers(headers: Headers) -> bytes:
    parts = [VARINTS[len(headers)]]
    for name, value in headers:
        encoded = name.encode()
        parts += (VARINTS[len(encoded)], encoded)
        parts += (_NULL,) if value is None else (VARINTS[len(value)], value)
    return b"".join(parts)


def _decode(plain: bytes, count: int, base_offset: int, base_timestamp: int) -> Iterator[Record]:
    """Yields `count` records, which must fill `plain`.

    Numbers are kept raw, before zigzag is undone: odd ones are negative. Those of one and two bytes are read in place,
    because a call for each would double the time.
    """
    make = Record._make
    size = len(plain)
    position = 0
    key: bytes | None
    value: bytes | None
    try:
        for _ in range(count):
            if (raw := plain[position]) < 0x80:
                position += 1
            elif (high := plain[position + 1]) < 0x80:
                raw, position = raw & 0x7F | high << 7, position + 2
            else:
                raw, position = _raw_varint(plain, position)
            end = position + (raw >> 1)
            if raw & 1 or end > size:
                raise CorruptMessage(f"a record's length, before byte {position}, leads out of its batch")
            position += 1
            if (raw := plain[position]) < 0x80:
                position += 1
            elif (high := plain[position + 1]) < 0x80:
                raw, position = raw & 0x7F | high << 7, position + 2
            else:
                raw, position = _raw_varint(plain, position)
            timestamp = base_timestamp + (raw >> 1 ^ -(raw & 1))
            if (raw := plain[position]) < 0x80:
                position += 1
            elif (high := plain[position + 1]) < 0x80:
                raw, position = raw & 0x7F | high << 7, position + 2
            else:
                raw, position = _raw_varint(plain, position)
            offset = base_offset + (raw >> 1 ^ -(raw & 1))
            if (raw := plain[position]) == _RAW_NULL:
                key, position = None, position + 1
            elif raw < 0x80 and not raw & 1:
                start = position + 1
                key = plain[start : (position := start + (raw >> 1))]
            else:
                key, position = _field(plain, position)
            if (raw := plain[position]) < 0x80 and not raw & 1:
                start = position + 1
                value = plain[start : (position := start + (raw >> 1))]
            elif raw & 1 == 0 and (high := plain[position + 1]) < 0x80:
                start = position + 2
                value = plain[start : (position := start + ((raw & 0x7F | high << 7) >> 1))]
            else:
                value, position = _field(plain, position)
            if plain[position]:
                headers, position = _decode_headers(plain, position)
            else:
                headers, position = (), position + 1
            if position != end:
                raise CorruptMessage(f"a record ends at byte {position} of its batch's, and its length says {end}")
            yield make((key, value, headers, timestamp, offset))
    except IndexError as error:
        raise CorruptMessage(f"the batch of offset {base_offset} ends inside a record") from error
    if position != size:
        raise CorruptMessage(
            f"the batch of offset {base_offset} says {count} records, and {size - position} bytes follow"
        )


def _raw_varint(plain: bytes, position: int) -> tuple[int, int]:
    number, position = decode_varint(plain, position)
    return number << 1 ^ number >> 63, position


def _field(plain: bytes, position: int) -> tuple[bytes | None, int]:
    """Returns a key or value of any length, null included, and the position behind it."""
    length, position = decode_varint(plain, position)
    if length == -1:
        return None, position
    end = position + length
    if length < 0 or end > len(plain):
        raise CorruptMessage(f"a record's field of {length} bytes at byte {position} leads out of its batch")
    return plain[position:end], end


def _decode_headers(plain: bytes, position: int) -> tuple[tuple[tuple[str, bytes | None], ...], int]:
    count, position = decode_varint(plain, position)
    if not 0 <= count <= len(plain) - position:
        raise CorruptMessage(f"a record says that it has {count} headers, before byte {position}")
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        encoded, position = _field(plain, position)
        if encoded is None:
            raise CorruptMessage(f"a record's header has no name, before byte {position}")
        try:
            name = encoded.decode()
        except UnicodeDecodeError as error:
            raise CorruptMessage(f"a record's header name, before byte {position}, is no UTF-8") from error
        value, position = _field(plain, position)
        headers.append((name, value))
    return tuple(headers), position
