"""The batch header: reading, splitting, stamping, CRC, torn sectors."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohle.model.batch import (
    CRC_END,
    HEADER,
    HEADER_BYTES,
    PartialBatch,
    check_crc,
    is_torn,
    read_header,
    split_batches,
    stamp_append_time,
    with_stamp,
)
from dohle.model.errors import CorruptMessage
from dohle.model.records import Record, decode_records, encode_batch


def batch_of(count=1, **settings):
    return encode_batch([Record(b"key", b"value %d" % i, (), 1000 + i) for i in range(count)], **settings)


def header_with(**changes):
    return read_header(batch_of())._replace(**changes)


def test_a_header_says_what_its_batch_holds():
    batch = batch_of(3, base_offset=70, leader_epoch=4, producer_id=9, producer_epoch=2, base_sequence=11)
    header = read_header(batch)
    assert header.size_bytes == len(batch)
    assert (header.base_offset, header.last_offset, header.next_offset) == (70, 72, 73)
    assert (header.partition_leader_epoch, header.record_count, header.codec) == (4, 3, 0)
    assert (header.base_timestamp, header.max_timestamp) == (1000, 1002)
    assert (header.producer_id, header.producer_epoch, header.base_sequence, header.last_sequence) == (9, 2, 11, 13)
    assert header.is_idempotent
    assert header.attributes == 0


def test_a_batch_of_no_idempotent_producer_has_no_sequence():
    header = read_header(batch_of(3))
    assert not header.is_idempotent
    assert header.last_sequence == -1


def test_the_sequence_follows_the_largest_int32_with_0():
    assert header_with(base_sequence=2**31 - 1, last_offset_delta=0).last_sequence == 2**31 - 1
    assert header_with(base_sequence=2**31 - 1, last_offset_delta=1).last_sequence == 0
    assert header_with(base_sequence=2**31 - 3, last_offset_delta=5).last_sequence == 2


def test_attribute_bits():
    assert header_with(attributes=0x10).is_transactional
    assert header_with(attributes=0x20).is_control
    assert header_with(attributes=0x08).is_append_time
    assert header_with(attributes=0x7C).codec == 4


@pytest.mark.parametrize("changes", [{"magic": 1}, {"magic": 3}, {"batch_length": 48}, {"batch_length": -1}])
def test_an_impossible_header_is_refused_with_its_position(changes):
    raw = b"before" + HEADER.pack(*header_with(**changes))
    with pytest.raises(CorruptMessage, match="byte 6"):
        read_header(raw, 6)


def test_the_least_batch_is_a_header_alone():
    empty = HEADER.pack(*header_with(batch_length=HEADER_BYTES - 12, record_count=0))
    assert [position for position, _ in split_batches(empty + empty)] == [0, 61]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_batches_are_split_in_any_buffer(kind):
    batches = [batch_of(1), batch_of(5), batch_of(2)]
    found = list(split_batches(kind(b"".join(batches))))
    assert [position for position, _ in found] == [0, len(batches[0]), len(batches[0]) + len(batches[1])]
    assert [header.record_count for _, header in found] == [1, 5, 2]


@given(st.data())
def test_a_cut_after_whole_batches_is_reported_after_them(data):
    first, second = batch_of(2), batch_of(3)
    cut = data.draw(st.integers(1, len(second) - 1))
    batches = split_batches(first + second[:cut])
    assert next(batches) == (0, read_header(first))
    with pytest.raises(PartialBatch) as raised:
        next(batches)
    assert raised.value.position == len(first)
    assert raised.value.needed_bytes == (HEADER_BYTES if cut < HEADER_BYTES else len(second))


def test_a_stamp_leaves_the_crc_right():
    batch = batch_of(2)
    for produced in (batch, bytearray(batch), memoryview(b"xx" + batch)[2:]):
        stamped = with_stamp(produced, base_offset=1 << 40, leader_epoch=77)
        header = read_header(stamped)
        assert (header.base_offset, header.partition_leader_epoch) == (1 << 40, 77)
        assert header._replace(base_offset=0, partition_leader_epoch=-1) == read_header(batch)
        assert check_crc(stamped, 0, header)
        assert stamped[HEADER_BYTES:] == batch[HEADER_BYTES:]
        assert produced == batch


def test_an_append_time_counts_for_every_record_and_renews_the_crc():
    buffer = bytearray(b"xx" + batch_of(3))
    stamp_append_time(memoryview(buffer), 2, 5555)
    header = read_header(buffer, 2)
    assert header.is_append_time
    assert header.max_timestamp == 5555
    assert check_crc(buffer, 2, header)
    assert [record.timestamp_ms for record in decode_records(buffer, 2)] == [5555, 5555, 5555]


@given(st.data())
def test_damage_of_any_covered_bit_is_found(data):
    batch = bytearray(batch_of(4))
    at = data.draw(st.integers(CRC_END - 4, len(batch) - 1))
    batch[at] ^= 1 << data.draw(st.integers(0, 7))
    assert not check_crc(batch, 0, read_header(batch))


def test_a_cut_batch_fails_its_check():
    batch = batch_of(4)
    assert not check_crc(batch[:-1], 0, read_header(batch))


@pytest.mark.parametrize(
    ("size", "file_position", "zeros", "torn"),
    [
        (2000, 0, (512, 1024), True),
        (2000, 0, (513, 1024), False),
        (2000, 0, (512, 1023), False),
        (2000, 0, (600, 1500), False),
        (2000, 100, (412, 924), True),
        (2000, 100, (512, 1024), False),
        (2000, 100, (0, 412), True),
        (2000, 0, (1536, 2000), True),
        (2000, 1 << 40, (0, 2000), True),
        (100, 500, (12, 100), True),
        (100, 500, (13, 100), False),
    ],
)
def test_torn_is_a_sector_in_which_all_bytes_of_the_batch_are_zero(size, file_position, zeros, torn):
    batch = bytearray(b"\xaa" * size)
    batch[zeros[0] : zeros[1]] = bytes(zeros[1] - zeros[0])
    assert is_torn(bytes(batch), file_position) is torn
    assert is_torn(memoryview(batch), file_position) is torn


def test_the_header_is_laid_out_as_kafkas():
    batch = batch_of(2, base_offset=1, leader_epoch=2, producer_id=3, producer_epoch=4, base_sequence=5)
    assert struct.unpack_from(">q", batch, 0) == (1,)
    assert struct.unpack_from(">i", batch, 12) == (2,)
    assert struct.unpack_from(">b", batch, 16) == (2,)
    assert struct.unpack_from(">q", batch, 43) == (3,)
    assert struct.unpack_from(">hii", batch, 51) == (4, 5, 2)
