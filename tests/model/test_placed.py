"""Batches that keep their offsets: what is taken from another log, and what a leader demands."""

from __future__ import annotations

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from dohle.model.batch import CRC_END, HEADER, HEADER_BYTES, TRANSACTIONAL_BIT, read_header, stamp_append_time
from dohle.model.codecs import Codec
from dohle.model.errors import InvalidRecord, InvalidTimestamp, OffsetOutOfRange
from dohle.model.placed import MOST_OFFSETS, hole, holes, placed, placed_from
from dohle.model.produced import validate_placed_batch, validate_produced_batch
from dohle.model.records import Record, decode_records, encode_batch
from dohle.model.topic_config import TopicConfig

CONFIG = TopicConfig()
RECORDS = [Record(b"k", bytes([at]) * 30, (("h", b"v"),), 1000 + at, 40 + at) for at in range(6)]


def source(codec: Codec = Codec.NONE) -> bytes:
    return encode_batch(RECORDS, base_offset=40, codec=codec, producer_id=7, producer_epoch=2, base_sequence=9)


@pytest.mark.parametrize("codec", list(Codec))
def test_a_placed_batch_has_its_offsets_and_records_and_no_producer(codec: Codec) -> None:
    batch = placed(source(codec))
    header = validate_placed_batch(batch, CONFIG, 40)
    assert list(decode_records(batch)) == RECORDS
    assert (header.codec, header.producer_id, header.base_sequence) == (codec, -1, -1)


@given(st.integers(0, 1 << 40), st.integers(1, 1 << 34))
def test_holes_cover_all_offsets_without_records(base: int, count: int) -> None:
    expected = base
    for batch in holes(base, base + count):
        header = validate_placed_batch(batch, CONFIG, expected)
        assert list(decode_records(batch)) == []
        assert header.last_offset_delta < MOST_OFFSETS
        expected = header.next_offset
    assert expected == base + count


@pytest.mark.parametrize("codec", list(Codec))
@pytest.mark.parametrize("start", range(40, 46))
def test_what_lies_below_a_start_within_a_batch_is_left_out(codec: Codec, start: int) -> None:
    batches = list(placed_from(source(codec), start))
    assert [record for batch in batches for record in decode_records(batch)] == RECORDS[start - 40 :]
    validate_placed_batch(batches[0], CONFIG, start)


def test_records_below_a_start_go_though_the_batch_has_append_time() -> None:
    batch = bytearray(source())
    stamp_append_time(batch, 0, 5000)
    (kept,) = placed_from(batch, 44)
    assert [(one.offset, one.timestamp_ms) for one in decode_records(kept)] == [(44, 5000), (45, 5000)]
    assert read_header(kept).is_append_time


def test_a_placed_batch_is_appended_where_it_belongs_or_not_at_all() -> None:
    for end in (39, 41, 46):
        with pytest.raises(OffsetOutOfRange, match=f"the log ends at {end}"):
            validate_placed_batch(placed(source()), CONFIG, end)


def test_a_placed_batch_is_nobodys() -> None:
    with pytest.raises(InvalidRecord, match="a producer's"):
        validate_placed_batch(source(), CONFIG, 40)


def test_a_producer_may_not_leave_offsets_out() -> None:
    with pytest.raises(InvalidRecord, match="0 records"):
        validate_produced_batch(hole(0, 3), CONFIG, 0)


def test_a_topic_with_append_time_takes_holes_alone() -> None:
    config = TopicConfig(message_timestamp_type="LogAppendTime")
    validate_placed_batch(hole(0, 40), config, 0)
    with pytest.raises(InvalidTimestamp):
        validate_placed_batch(placed(source()), config, 40)


def test_a_transaction_is_over_once_its_batch_is_placed() -> None:
    header = read_header(source())
    inside = HEADER.pack(*header._replace(attributes=header.attributes | TRANSACTIONAL_BIT)) + source()[HEADER_BYTES:]
    inside = HEADER.pack(*read_header(inside)._replace(crc=crc32c(inside[CRC_END:]))) + inside[HEADER_BYTES:]
    with pytest.raises(InvalidRecord, match="no transaction"):
        validate_placed_batch(inside, CONFIG, 40)
    batch = placed(inside)
    assert not validate_placed_batch(batch, CONFIG, 40).is_transactional
    assert list(decode_records(batch)) == RECORDS
