"""The codecs of record batches, in the shapes that Kafka's clients write and read.

- gzip: members of RFC 1952, as they are.
- snappy: raw blocks in the framing of snappy-java ("xerial"); a bare raw block is read too, as some clients send it.
- lz4: frames with independent blocks, since Kafka's Java client refuses linked ones. Levels above 1 cost five times the
  time for a fifth less; 1 is the fast compressor that Kafka's own client uses.
- zstd: frames, at level 3, Kafka's default.

Decompression never writes more than its limit, whatever sizes the input declares: the output is a buffer that grows up
to the limit and is not grown beyond.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Final

import cramjam

from dohle.model.errors import CorruptMessage, UnsupportedCompressionType

MAX_DECOMPRESSED_BYTES: Final = 100 * 1024 * 1024
"""A batch's records decompressed: as many as a whole request may hold."""

_GZIP_LEVEL: Final = 6
_LZ4_LEVEL: Final = 1
_ZSTD_LEVEL: Final = 3

_XERIAL_MAGIC: Final = b"\x82SNAPPY\x00"
_XERIAL_HEADER: Final = _XERIAL_MAGIC + struct.pack(">ii", 1, 1)  # version, lowest compatible version
_XERIAL_BLOCK_BYTES: Final = 32 * 1024  # as snappy-java cuts its input
_BLOCK_LENGTH: Final = struct.Struct(">i")

_LEAST_GUESS_BYTES: Final = 64 * 1024
_GUESSED_RATIO: Final = 6
_GROWTH: Final = 8

_Source = bytes | bytearray | memoryview


class Codec(IntEnum):
    """The codec's number in a batch's attributes; its lower-case name is the value of `compression.type`."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4

    @classmethod
    def named(cls, name: str) -> Codec:
        """Returns the codec of `name`, one of none, gzip, snappy, lz4, zstd. Raises UnsupportedCompressionType."""
        for codec in cls:
            if codec.name.lower() == name:
                return codec
        known = ", ".join(codec.name.lower() for codec in cls)
        raise UnsupportedCompressionType(f"no codec is called {name!r}: use one of {known}")

    @classmethod
    def numbered(cls, number: int) -> Codec:
        """Returns the codec of `number` in a batch's attributes. Raises UnsupportedCompressionType."""
        if number > cls.ZSTD:
            raise UnsupportedCompressionType(f"the batch names codec {number}, and 0 to {cls.ZSTD} are known")
        return cls(number)


def compress(codec: Codec, plain: _Source) -> bytes:
    """Returns `plain` compressed."""
    match codec:
        case Codec.NONE:
            return bytes(plain)
        case Codec.GZIP:
            return bytes(cramjam.gzip.compress(plain, level=_GZIP_LEVEL))
        case Codec.SNAPPY:
            return _compress_xerial(plain)
        case Codec.LZ4:
            compressor = cramjam.lz4.Compressor(level=_LZ4_LEVEL, content_checksum=False, block_linked=False)
            compressor.compress(plain)
            return bytes(compressor.finish())
        case Codec.ZSTD:
            return bytes(cramjam.zstd.compress(plain, level=_ZSTD_LEVEL))


def decompress(codec: Codec, packed: _Source, limit_bytes: int = MAX_DECOMPRESSED_BYTES) -> bytes:
    """Returns `packed` decompressed. Raises CorruptMessage if it is garbage or would exceed `limit_bytes`."""
    match codec:
        case Codec.NONE:
            if len(packed) > limit_bytes:
                raise _too_large(codec, limit_bytes)
            return bytes(packed)
        case Codec.GZIP:
            return _decompress_bounded(codec, cramjam.gzip.decompress_into, packed, limit_bytes)
        case Codec.SNAPPY:
            return _decompress_snappy(packed, limit_bytes)
        case Codec.LZ4:
            return _decompress_bounded(codec, cramjam.lz4.decompress_into, packed, limit_bytes)
        case Codec.ZSTD:
            return _decompress_bounded(codec, cramjam.zstd.decompress_into, packed, limit_bytes)


def _decompress_bounded(
    codec: Codec, decompress_into: Callable[[_Source, bytearray], int], packed: _Source, limit_bytes: int
) -> bytes:
    # cramjam does not tell "does not fit" from "garbage" but by its words, so every failure is tried with more room:
    # a handful of times at most, and garbage fails at the same early place each time.
    room_bytes = min(max(_LEAST_GUESS_BYTES, _GUESSED_RATIO * len(packed)), limit_bytes)
    while True:
        plain = bytearray(room_bytes)
        try:
            size = decompress_into(packed, plain)
        except cramjam.DecompressionError as error:
            if room_bytes == limit_bytes:
                raise CorruptMessage(
                    f"the records are no {codec.name.lower()}, or more than {limit_bytes} bytes of it: {error}"
                ) from error
            room_bytes = min(room_bytes * _GROWTH, limit_bytes)
        else:
            return bytes(memoryview(plain)[:size])


def _compress_xerial(plain: _Source) -> bytes:
    view = memoryview(plain)
    parts = [_XERIAL_HEADER]
    for start in range(0, len(view), _XERIAL_BLOCK_BYTES):
        block = bytes(cramjam.snappy.compress_raw(view[start : start + _XERIAL_BLOCK_BYTES]))
        parts += (_BLOCK_LENGTH.pack(len(block)), block)
    return b"".join(parts)


def _decompress_snappy(packed: _Source, limit_bytes: int) -> bytes:
    view = memoryview(packed)
    if bytes(view[: len(_XERIAL_MAGIC)]) != _XERIAL_MAGIC:
        return _decompress_raw_snappy(view, limit_bytes)
    blocks: list[bytes] = []
    position, size = len(_XERIAL_HEADER), 0
    while position < len(view):
        if len(view) - position < _BLOCK_LENGTH.size:
            raise CorruptMessage(f"the snappy records are cut inside a block's length, at byte {position}")
        length: int = _BLOCK_LENGTH.unpack_from(view, position)[0]
        position += _BLOCK_LENGTH.size
        if not 0 < length <= len(view) - position:
            raise CorruptMessage(
                f"a snappy block of {length} bytes begins at byte {position}, where {len(view) - position} are left"
            )
        block = _decompress_raw_snappy(view[position : position + length], limit_bytes - size)
        blocks.append(block)
        position += length
        size += len(block)
    return b"".join(blocks)


def _decompress_raw_snappy(packed: memoryview, limit_bytes: int) -> bytes:
    try:
        declared = cramjam.snappy.decompress_raw_len(packed)
        if declared > limit_bytes:
            raise _too_large(Codec.SNAPPY, limit_bytes)
        plain = bytearray(declared)
        size = cramjam.snappy.decompress_raw_into(packed, plain)
    except cramjam.DecompressionError as error:
        raise CorruptMessage(f"the records are no snappy: {error}") from error
    return bytes(memoryview(plain)[:size])


def _too_large(codec: Codec, limit_bytes: int) -> CorruptMessage:
    return CorruptMessage(f"the {codec.name.lower()} records would take more than {limit_bytes} bytes")
