"""Which partition a key belongs to: Kafka's default, so that every client puts a key where the others look for it.

What happens to records without a key is the producer's own affair.
"""

from __future__ import annotations

import struct
from typing import Final

_SEED: Final = 0x9747B28C
_MULTIPLIER: Final = 0x5BD1E995
_UINT32_MASK: Final = 0xFFFF_FFFF
_INT32_MASK: Final = 0x7FFF_FFFF


def murmur2(data: bytes) -> int:
    """Returns the 32-bit MurmurHash2 of `data`, with Kafka's seed, unsigned."""
    size = len(data)
    hashed = _SEED ^ size
    whole = size & ~3
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        mixed = word * _MULTIPLIER & _UINT32_MASK
        mixed = (mixed ^ mixed >> 24) * _MULTIPLIER
        hashed = (hashed * _MULTIPLIER ^ mixed) & _UINT32_MASK
    if whole < size:
        hashed = (hashed ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _UINT32_MASK
    hashed = (hashed ^ hashed >> 13) * _MULTIPLIER & _UINT32_MASK
    return hashed ^ hashed >> 15


def partition_for(key: bytes, partitions: int) -> int:
    """Returns the partition, of `partitions`, that `key` belongs to."""
    return (murmur2(key) & _INT32_MASK) % partitions
