"""What a leader takes from a producer, and with which error it refuses the rest."""

import struct

import pytest
from crc32c import crc32c

from dohle.model.batch import CRC_END, HEADER_BYTES, read_header
from dohle.model.codecs import Codec
from dohle.model.errors import (
    CorruptMessage,
    InvalidRecord,
    InvalidTimestamp,
    MessageTooLarge,
    RecordListTooLarge,
    UnsupportedCompressionType,
)
from dohle.model.produced import validate_produced_batch
from dohle.model.records import Record, encode_batch
from dohle.model.topic_config import TopicConfig

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
FIELDS = {"attributes": (21, ">h"), "last_offset_delta": (23, ">i"), "max_timestamp": (35, ">q"), "count": (57, ">i")}


def batch_of(*timestamps, key=b"key", **settings):
    return encode_batch([Record(key, b"value", (), at) for at in timestamps or (NOW_MS,)], **settings)


def with_field(batch, field, value):
    """The batch with one field of its header changed, under a right CRC."""
    changed = bytearray(batch)
    position, layout = FIELDS[field]
    struct.pack_into(layout, changed, position, value)
    struct.pack_into(">I", changed, 17, crc32c(changed[CRC_END:]))
    return bytes(changed)


def with_byte(batch, position, value):
    changed = bytearray(batch)
    changed[position] = value
    return bytes(changed)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("codec", Codec)
def test_a_sound_batch_is_taken(codec, kind):
    batch = batch_of(NOW_MS, NOW_MS + 5, codec=codec, producer_id=1, producer_epoch=0, base_sequence=0)
    assert validate_produced_batch(kind(batch), TopicConfig(), NOW_MS) == read_header(batch)


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        pytest.param(b"", InvalidRecord, id="nothing"),
        pytest.param(batch_of()[:40], InvalidRecord, id="half a header"),
        pytest.param(batch_of()[:-1], InvalidRecord, id="half a batch"),
        pytest.param(batch_of() * 2, InvalidRecord, id="two batches"),
        pytest.param(batch_of() + b"\x00", InvalidRecord, id="a byte too many"),
        pytest.param(with_byte(batch_of(), 16, 0), InvalidRecord, id="magic 0"),
        pytest.param(with_byte(batch_of(), 16, 1), InvalidRecord, id="magic 1"),
        pytest.param(with_byte(batch_of(), 16, 3), CorruptMessage, id="magic 3"),
        pytest.param(with_byte(batch_of(), 11, 48), CorruptMessage, id="impossible length"),
        pytest.param(with_byte(batch_of(), HEADER_BYTES + 8, 0), CorruptMessage, id="wrong CRC"),
        pytest.param(batch_of(base_offset=7), InvalidRecord, id="offset other than 0"),
        pytest.param(with_field(batch_of(), "count", 2), InvalidRecord, id="more records than offsets"),
        pytest.param(with_field(batch_of(), "last_offset_delta", 1), InvalidRecord, id="more offsets than records"),
        pytest.param(
            with_field(with_field(batch_of(), "count", 0), "last_offset_delta", -1), InvalidRecord, id="no records"
        ),
        pytest.param(with_field(batch_of(), "attributes", 0x20), InvalidRecord, id="control batch"),
        pytest.param(with_field(batch_of(), "attributes", 0x10), InvalidRecord, id="transaction"),
        pytest.param(batch_of(producer_id=5, producer_epoch=0, base_sequence=-1), InvalidRecord, id="no sequence"),
        pytest.param(with_field(batch_of(), "attributes", 5), UnsupportedCompressionType, id="unknown codec"),
        pytest.param(with_field(batch_of(), "attributes", 8), InvalidTimestamp, id="append time from a producer"),
    ],
)
def test_what_kafka_refuses_is_refused_with_its_code(sent, error):
    with pytest.raises(error) as raised:
        validate_produced_batch(sent, TopicConfig(), NOW_MS)
    assert raised.value.code == error.code


def test_the_largest_batch_is_exactly_max_message_bytes():
    batch = batch_of()
    validate_produced_batch(batch, TopicConfig(max_message_bytes=len(batch)), NOW_MS)
    with pytest.raises(MessageTooLarge, match=r"max\.message\.bytes"):
        validate_produced_batch(batch, TopicConfig(max_message_bytes=len(batch) - 1), NOW_MS)


def test_a_batch_must_fit_into_a_segment():
    batch = batch_of()
    with pytest.raises(RecordListTooLarge, match=r"segment\.bytes"):
        validate_produced_batch(batch, TopicConfig(segment_bytes=len(batch) - 1), NOW_MS)


def test_timestamps_may_lie_an_hour_ahead_and_any_time_behind():
    validate_produced_batch(batch_of(0, NOW_MS + HOUR_MS), TopicConfig(), NOW_MS)
    with pytest.raises(InvalidTimestamp, match="ahead"):
        validate_produced_batch(batch_of(0, NOW_MS + HOUR_MS + 1), TopicConfig(), NOW_MS)


def test_a_record_without_a_timestamp_is_taken():
    validate_produced_batch(batch_of(-1), TopicConfig(message_timestamp_before_max_ms=1000), NOW_MS)


def test_timestamps_do_not_matter_where_the_leader_gives_them():
    config = TopicConfig(message_timestamp_type="LogAppendTime", message_timestamp_before_max_ms=1)
    validate_produced_batch(batch_of(0, NOW_MS + 5 * HOUR_MS), config, NOW_MS)


def test_bounds_that_were_set_hold_for_every_record():
    config = TopicConfig(message_timestamp_before_max_ms=1000)
    validate_produced_batch(batch_of(NOW_MS, NOW_MS - 1000, NOW_MS), config, NOW_MS)
    with pytest.raises(InvalidTimestamp, match=r"behind.*message\.timestamp\.before\.max\.ms"):
        validate_produced_batch(batch_of(NOW_MS, NOW_MS - 1001, NOW_MS), config, NOW_MS)


@pytest.mark.parametrize("codec", Codec)
def test_a_compacted_topic_needs_keys(codec):
    config = TopicConfig(cleanup_policy=("compact",))
    validate_produced_batch(batch_of(codec=codec), config, NOW_MS)
    keyless = batch_of(key=None, codec=codec)
    validate_produced_batch(keyless, TopicConfig(), NOW_MS)
    with pytest.raises(InvalidRecord, match="no key"):
        validate_produced_batch(keyless, config, NOW_MS)


def test_garbage_under_a_right_crc_is_refused_where_records_are_walked():
    garbage = with_field(batch_of(), "attributes", Codec.GZIP)
    validate_produced_batch(garbage, TopicConfig(), NOW_MS)
    with pytest.raises(InvalidRecord, match="not what its header says"):
        validate_produced_batch(garbage, TopicConfig(cleanup_policy=("compact",)), NOW_MS)


def records_refused(raised):
    return {place: wrong.split(":")[0] for place, wrong in raised.value.records.items()}


def test_records_without_keys_are_told_by_their_places():
    compacted = TopicConfig(cleanup_policy=("compact",))
    records = [Record(None if place % 3 == 1 else b"key", b"value", (), NOW_MS) for place in range(6)]
    with pytest.raises(InvalidRecord, match="2 of the batch's records are refused, record 1 first") as raised:
        validate_produced_batch(encode_batch(records), compacted, NOW_MS)
    assert records_refused(raised) == dict.fromkeys((1, 4), "the record has no key")


def test_records_at_wrong_times_are_told_by_their_places_and_decide_the_error():
    late, compacted = NOW_MS + HOUR_MS + 1, TopicConfig(cleanup_policy=("compact",))
    records = [Record(b"a", b"", (), NOW_MS), Record(b"b", b"", (), late), Record(None, b"", (), NOW_MS)]
    with pytest.raises(InvalidTimestamp, match="record 1 first") as raised:
        validate_produced_batch(encode_batch(records), compacted, NOW_MS)
    assert list(raised.value.records) == [2, 1]
    with pytest.raises(InvalidTimestamp) as raised:
        validate_produced_batch(encode_batch(records), TopicConfig(), NOW_MS)
    assert list(raised.value.records) == [1]


def test_a_header_that_claims_a_time_of_no_record_names_no_record():
    with pytest.raises(InvalidTimestamp, match="ahead of") as raised:
        validate_produced_batch(with_field(batch_of(), "max_timestamp", NOW_MS + 2 * HOUR_MS), TopicConfig(), NOW_MS)
    assert not raised.value.records


def test_no_more_than_ten_thousand_records_are_told():
    keyless = encode_batch([Record(None, b"", (), NOW_MS)] * 10_001, codec=Codec.GZIP)
    with pytest.raises(InvalidRecord) as raised:
        validate_produced_batch(keyless, TopicConfig(cleanup_policy=("compact",)), NOW_MS)
    assert len(raised.value.records) == 10_000
