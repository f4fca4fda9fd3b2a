"""The last value of each key of a log: all that a coordinator needs of it.

A partition of `__consumer_offsets` may hold ten times as many records as keys, since a commit replaces the one before.
So keys and values are only cut out here, and a value is not looked into unless it is the last one. Deleted keys are
forgotten. Records of a transaction count once it is committed, as of its marker.
"""

from __future__ import annotations

from itertools import islice
from struct import Struct
from typing import Final, TypeAlias

from dohle.model.batch import CODEC_BITS, CONTROL_BIT, HEADER, HEADER_BYTES, LENGTH_END, TRANSACTIONAL_BIT
from dohle.model.codecs import Codec, decompress
from dohle.model.errors import CorruptMessage
from dohle.model.varint import decode_varint

Values: TypeAlias = dict[bytes, bytes | None]

_MARKER: Final = Struct(">hh")  # version and type, the key of a control record
_COMMIT: Final = 1


class LastValues:
    """Takes sound batches in the order of their offsets; gives values out in pieces."""

    def __init__(self) -> None:
        self._values: Values = {}
        self._open: dict[int, Values] = {}  # transactions, by their producer

    def __len__(self) -> int:
        return len(self._values)

    def take(self, batches: bytes) -> int:
        """Returns the offset that follows them. Raises CorruptMessage for a batch that is not what its header says."""
        position = next_offset = 0
        while position < len(batches):
            fields = HEADER.unpack_from(batches, position)
            length, attributes, producer_id, count = fields[1], fields[5], fields[9], fields[12]
            next_offset = fields[0] + fields[6] + 1
            end = position + length + LENGTH_END
            start = position + HEADER_BYTES
            position = end
            if not count:
                continue
            if attributes & CODEC_BITS:
                plain = decompress(Codec.numbered(attributes & CODEC_BITS), memoryview(batches)[start:end])
                start, end = 0, len(plain)
            else:
                plain = batches
            if attributes & CONTROL_BIT:
                self._end_transaction(producer_id, plain, count, start, end)
            elif attributes & TRANSACTIONAL_BIT:
                _cut(plain, count, start, end, self._open.setdefault(producer_id, {}))
            else:
                _cut(plain, count, start, end, self._values)
        return next_offset

    def _end_transaction(self, producer_id: int, plain: bytes, count: int, start: int, end: int) -> None:
        records: Values = {}
        _cut(plain, count, start, end, records)
        (marker,) = records
        written = self._open.pop(producer_id, {})
        if _MARKER.unpack_from(marker)[1] == _COMMIT:
            for key, value in written.items():
                self._values.pop(key, None)
                self._values[key] = value

    def given(self, most: int) -> list[tuple[bytes, bytes]]:
        """Returns at most so many keys with their values, which are forgotten here; nothing once all are given."""
        values = self._values
        found: list[tuple[bytes, bytes]] = []
        while values and not found:
            keys = list(islice(values, most))
            found = [(key, value) for key in keys if (value := values.pop(key)) is not None]
        return found


def _cut(plain: bytes, count: int, position: int, size: int, into: Values) -> None:
    """Notes the values of the `count` records in [position, size). Numbers of one or two bytes are read in place."""
    try:
        for _ in range(count):
            if (raw := plain[position]) < 0x80:
                position += 1
            elif (high := plain[position + 1]) < 0x80:
                raw, position = raw & 0x7F | high << 7, position + 2
            else:
                length, position = decode_varint(plain, position)
                raw = length << 1
            end = position + (raw >> 1)
            position += 1  # attributes
            while plain[position] >= 0x80:  # the timestamp's delta
                position += 1
            position += 1
            while plain[position] >= 0x80:  # the offset's
                position += 1
            position += 1
            if (raw := plain[position]) < 0x80:
                position += 1
            elif (high := plain[position + 1]) < 0x80:
                raw, position = raw & 0x7F | high << 7, position + 2
            else:
                length, position = decode_varint(plain, position)
                raw = length << 1
            if raw & 1:
                raise CorruptMessage("a coordinator's record has no key")
            key = plain[position : (position := position + (raw >> 1))]
            if (raw := plain[position]) < 0x80:
                position += 1
            elif (high := plain[position + 1]) < 0x80:
                raw, position = raw & 0x7F | high << 7, position + 2
            else:
                length, position = decode_varint(plain, position)
                raw = length << 1 if length >= 0 else 1
            value = None if raw & 1 else plain[position : (position := position + (raw >> 1))]
            if position >= end:
                raise CorruptMessage("a coordinator's record is longer than it says")
            into[key] = value
            position = end
    except IndexError as error:
        raise CorruptMessage("a coordinator's batch ends inside a record") from error
    if position != size:
        raise CorruptMessage("a coordinator's batch does not hold what it says")
