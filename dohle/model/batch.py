"""The header of Kafka's record batch, magic 2 (KIP-98): reading, splitting, stamping, and telling torn from damaged.

A batch is opaque here: nothing in this module looks behind the 61 bytes of its header except for the CRC-32C, which
covers everything from the attributes to the end. Base offset and leader epoch lie before the CRC, so a leader stamps
them without touching it.

Every function takes the buffer and a position in it, so that nothing is copied out of a larger read. Records and
codecs are in `records` and `codecs`; what a leader demands of a produced batch is in `produced`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from crc32c import crc32c

from dohle.model.errors import CorruptMessage

Bytes = bytes | bytearray | memoryview
"""What can be read from; a memoryview must be contiguous and of single bytes."""

HEADER_BYTES = 61
MAGIC = 2
NO_PRODUCER = -1
"""Producer id, epoch and sequence of a batch whose producer is not idempotent."""
NO_TIMESTAMP = -1
SECTOR_BYTES = 512
"""What a disk writes as a whole."""

CODEC_BITS = 0x07
APPEND_TIME_BIT = 0x08
TRANSACTIONAL_BIT = 0x10
CONTROL_BIT = 0x20
DELETE_HORIZON_BIT = 0x40

HEADER = struct.Struct(">qiibIhiqqqhii")
LENGTH_END = 12
"""Bytes up to and including batch_length, which counts the bytes after itself."""
CRC_AT = 17
CRC_END = 21
"""Where the bytes begin that the CRC covers."""

_LENGTH_AT = 8
_EPOCH_AT, _EPOCH_END = 12, 16
_MAX_TIMESTAMP_AT = 35
_LEAST_LENGTH = HEADER_BYTES - LENGTH_END
_SEQUENCE_MASK = 0x7FFF_FFFF
_ZERO_SECTOR = bytes(SECTOR_BYTES)
_INT16 = struct.Struct(">h")
_INT32 = struct.Struct(">i")
_UINT32 = struct.Struct(">I")
_INT64 = struct.Struct(">q")


class PartialBatch(CorruptMessage):
    """The buffer ends inside a batch.

    `position` is where that batch begins in the buffer, `needed_bytes` the least that must be there from this position
    on: the whole batch, or just a header while even that is cut.
    """

    def __init__(self, position: int, needed_bytes: int, present_bytes: int) -> None:
        super().__init__(
            f"the batch at byte {position} is cut: it needs {needed_bytes} bytes and {present_bytes} are there"
        )
        self.position = position
        self.needed_bytes = needed_bytes


class BatchHeader(NamedTuple):
    """The header's fields in their order on the wire. A named tuple, since one is made for every batch that passes."""

    base_offset: int
    batch_length: int
    partition_leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size_bytes(self) -> int:
        """The whole batch, header included."""
        return self.batch_length + LENGTH_END

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> int:
        return self.base_offset + self.last_offset_delta + 1

    @property
    def codec(self) -> int:
        """The codec's number, 0 to 7; not every one names a codec (see `codecs.Codec`)."""
        return self.attributes & CODEC_BITS

    @property
    def is_append_time(self) -> bool:
        """Every record bears `max_timestamp`, the time at which the leader appended it."""
        return self.attributes & APPEND_TIME_BIT != 0

    @property
    def is_transactional(self) -> bool:
        return self.attributes & TRANSACTIONAL_BIT != 0

    @property
    def is_control(self) -> bool:
        return self.attributes & CONTROL_BIT != 0

    @property
    def is_compacted(self) -> bool:
        """Records of it are gone; the others keep their offsets."""
        return self.record_count <= self.last_offset_delta

    @property
    def is_idempotent(self) -> bool:
        return self.producer_id >= 0

    @property
    def last_sequence(self) -> int:
        """The last record's sequence number; it follows int32's maximum with 0. -1 where the batch has none."""
        if self.base_sequence < 0:
            return NO_PRODUCER
        return (self.base_sequence + self.last_offset_delta) & _SEQUENCE_MASK


def read_header(buffer: Bytes, position: int = 0) -> BatchHeader:
    """Returns the header at `position`; the batch's records need not be in the buffer.

    Raises PartialBatch if fewer than 61 bytes are left, CorruptMessage if magic or length cannot be a batch's.
    """
    if len(buffer) - position < HEADER_BYTES:
        raise PartialBatch(position, HEADER_BYTES, len(buffer) - position)
    header = BatchHeader._make(HEADER.unpack_from(buffer, position))
    if header.magic != MAGIC:
        raise CorruptMessage(f"no batch at byte {position}: magic {header.magic} where only {MAGIC} is known")
    if header.batch_length < _LEAST_LENGTH:
        raise CorruptMessage(
            f"no batch at byte {position}: length {header.batch_length} is below the {_LEAST_LENGTH} of an empty one"
        )
    return header


def split_batches(buffer: Bytes, position: int = 0) -> Iterator[tuple[int, BatchHeader]]:
    """Yields position and header of every whole batch from `position` on; CRCs are not checked.

    Raises PartialBatch if the buffer ends inside a batch, after all whole ones were yielded, and CorruptMessage where
    no batch can begin.
    """
    end = len(buffer)
    while position < end:
        header = read_header(buffer, position)
        following = position + header.batch_length + LENGTH_END
        if following > end:
            raise PartialBatch(position, header.size_bytes, end - position)
        yield position, header
        position = following


def end_offset(batches: Bytes) -> int:
    """Returns the offset that follows `batches`, which are whole ones, at least one."""
    for _, header in split_batches(batches):
        next_offset = header.next_offset
    return next_offset


def check_crc(buffer: Bytes, position: int, header: BatchHeader) -> bool:
    """Whether the whole batch at `position` is undamaged. False also where the buffer ends inside it."""
    end = position + header.batch_length + LENGTH_END
    return end <= len(buffer) and crc32c(memoryview(buffer)[position + CRC_END : end]) == header.crc


def with_stamp(batch: Bytes, base_offset: int, leader_epoch: int) -> bytes:
    """Returns a copy of `batch` with the leader's base offset and epoch, which the CRC does not cover.

    It is immutable, so that whoever it is handed to may keep it: it is the only copy that a leader makes.
    """
    view = memoryview(batch)
    offset, epoch = _INT64.pack(base_offset), _INT32.pack(leader_epoch)
    return b"".join((offset, view[_LENGTH_AT:_EPOCH_AT], epoch, view[_EPOCH_END:]))


def stamp_append_time(buffer: bytearray | memoryview, position: int, max_timestamp: int) -> None:
    """Makes `max_timestamp` (ms) the time of every record of the batch at `position`, and renews the CRC."""
    header = read_header(buffer, position)
    _INT16.pack_into(buffer, position + CRC_END, header.attributes | APPEND_TIME_BIT)
    _INT64.pack_into(buffer, position + _MAX_TIMESTAMP_AT, max_timestamp)
    covered = memoryview(buffer)[position + CRC_END : position + header.size_bytes]
    _UINT32.pack_into(buffer, position + CRC_AT, crc32c(covered))


def is_torn(batch: Bytes, file_position: int) -> bool:
    """Whether a crash explains a bad batch: some 512-byte sector of the file never reached the disk.

    `batch` holds the bytes of a batch that failed its check, `file_position` is where they begin in their file. Torn
    means that in some sector that the batch touches all of the batch's bytes are zero. Says nothing about a batch whose
    check succeeds: that one may well hold such zeros.
    """
    start = 0
    while start < len(batch):
        end = min(start + SECTOR_BYTES - (file_position + start) % SECTOR_BYTES, len(batch))
        if batch[start:end] == _ZERO_SECTOR[: end - start]:
            return True
        start = end
    return False
