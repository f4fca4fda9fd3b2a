"""What a compaction looks at in records: key, offset, time, and whether there is a value; all else is passed over.

The bytes of a record stay as they are where it stays, for its deltas count from its batch's base, which stays. Only
where the base timestamp becomes another, because a delete horizon is written there, are records written anew.
"""

from __future__ import annotations

from typing import NamedTuple

from dohle.model.errors import CorruptMessage
from dohle.model.varint import VARINTS, decode_varint

_LONG = "a record's length, before byte {}, leads out of its batch"


class KeyedRecord(NamedTuple):
    """A record, in [start, end) of what it was read from. A named tuple, since a pass makes hundreds of thousands."""

    offset_delta: int
    key: bytes | None
    is_tombstone: bool
    timestamp_delta: int
    start: int
    end: int


def keyed_records(plain: bytes, count: int, position: int, size: int) -> list[KeyedRecord]:
    """Returns the `count` records, which must fill [position, size) of `plain`. Raises CorruptMessage.

    Small numbers are read in place, because a call for each would double the time.
    """
    found: list[KeyedRecord] = []
    add, new, kind = found.append, tuple.__new__, KeyedRecord  # what its _make does
    key: bytes | None
    try:
        for _ in range(count):
            start = position
            if (raw := plain[position]) < 0x80:
                position += 1
            elif (high := plain[position + 1]) < 0x80:
                raw, position = raw & 0x7F | high << 7, position + 2
            else:
                length, position = decode_varint(plain, position)
                raw = length << 1 if length >= 0 else 1
            end = position + (raw >> 1)
            if raw & 1 or end > size:
                raise CorruptMessage(_LONG.format(position))
            position += 1  # attributes
            if (raw := plain[position]) < 0x80:
                timestamp_delta, position = raw >> 1 ^ -(raw & 1), position + 1
            else:
                timestamp_delta, position = decode_varint(plain, position)
            if (raw := plain[position]) < 0x80:
                offset_delta, position = raw >> 1 ^ -(raw & 1), position + 1
            else:
                offset_delta, position = decode_varint(plain, position)
            if (raw := plain[position]) < 0x80:
                length, position = raw >> 1 ^ -(raw & 1), position + 1
            else:
                length, position = decode_varint(plain, position)
            if length >= 0:
                key = plain[position : position + length]
                position += length
            else:
                key = None
            is_tombstone = plain[position] == 1
            if position >= end:
                raise CorruptMessage(f"a record's key, before byte {position}, leads out of it")
            add(new(kind, (offset_delta, key, is_tombstone, timestamp_delta, start, end)))
            position = end
    except IndexError as error:
        raise CorruptMessage("the batch ends inside a record") from error
    if position != size:
        raise CorruptMessage(f"the batch says {count} records, and {size - position} bytes follow")
    return found


def moved_in_time(plain: bytes, record: KeyedRecord, later_ms: int) -> bytes:
    """Returns the record's bytes for a batch whose base timestamp is `later_ms` later than that of its own."""
    _, position = decode_varint(plain, record.start)
    _, behind = decode_varint(plain, position + 1)
    time = VARINTS[record.timestamp_delta - later_ms]
    rest = record.end - behind
    return b"".join((VARINTS[1 + len(time) + rest], plain[position : position + 1], time, plain[behind : record.end]))
