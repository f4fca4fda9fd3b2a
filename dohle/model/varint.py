"""Zigzag varints, in which a record's lengths, deltas and counts are written: seven bits a byte, the lowest first.

`VARINTS[n]` is the encoding of n: a table for the small numbers, of which nearly every record is made. Decoding is
bounded to 64 bits. Bulk decoding of records spells the one- and two-byte cases out in its own loop.
"""

from __future__ import annotations

from typing import Final

from dohle.model.errors import CorruptMessage

_TABLED: Final = 1 << 14
_MOST_BYTES: Final = 10
_UINT64_MASK: Final = (1 << 64) - 1


def encode_varint(number: int) -> bytes:
    """Returns `number`, a signed 64-bit integer, as 1 to 10 bytes."""
    rest = (number << 1 ^ number >> 63) & _UINT64_MASK
    encoded = bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


def decode_varint(buffer: bytes, position: int) -> tuple[int, int]:
    """Returns the number at `position` and the position behind it. Raises CorruptMessage."""
    raw = shift = 0
    for following in range(position, min(position + _MOST_BYTES, len(buffer))):
        byte = buffer[following]
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            raw &= _UINT64_MASK
            return raw >> 1 ^ -(raw & 1), following + 1
        shift += 7
    raise CorruptMessage(f"no varint at byte {position} of the records: cut, or longer than {_MOST_BYTES} bytes")


class _Varints(dict[int, bytes]):
    """Encodings by number, worked out at first use; only small numbers are kept, so that the table stays small."""

    def __missing__(self, number: int) -> bytes:
        encoded = encode_varint(number)
        if 0 <= number < _TABLED:
            self[number] = encoded
        return encoded


VARINTS: Final = _Varints()
"""The encoding of every signed 64-bit integer."""
