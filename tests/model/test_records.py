"""Records into batches and back."""

import struct

import pytest
from crc32c import crc32c
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dohle.model.batch import HEADER, HEADER_BYTES, read_header
from dohle.model.codecs import Codec
from dohle.model.errors import CorruptMessage, UnsupportedCompressionType
from dohle.model.records import BatchBuilder, Record, decode_records, encode_batch, record_size_bytes

FIELD = st.none() | st.binary(max_size=200) | st.integers(0, 20_000).map(bytes)
RECORD = st.builds(
    Record,
    key=FIELD,
    value=FIELD,
    headers=st.lists(st.tuples(st.text(max_size=70), st.none() | st.binary(max_size=70)), max_size=70).map(tuple),
    timestamp_ms=st.integers(-1, 1 << 45),
)


def with_payload(payload, count=1, codec=0):
    """A batch around `payload` whose header and CRC are right."""
    covered = struct.pack(">hiqqqhii", codec, count - 1, 0, 0, -1, -1, -1, count) + payload
    return struct.pack(">qiibI", 0, 9 + len(covered), 0, 2, crc32c(covered)) + covered


@settings(max_examples=60)
@given(st.lists(RECORD, min_size=1, max_size=12), st.sampled_from(Codec), st.integers(0, 1 << 60))
def test_records_come_back_as_they_were(records, codec, base_offset):
    batch = encode_batch(records, base_offset=base_offset, codec=codec)
    expected = [record._replace(offset=base_offset + i) for i, record in enumerate(records)]
    assert list(decode_records(memoryview(b"xyz" + batch + b"more"), 3)) == expected
    header = read_header(batch)
    assert header.codec == codec
    assert header.record_count == len(records)
    assert header.max_timestamp == max(record.timestamp_ms for record in records)


@settings(max_examples=60)
@given(st.lists(RECORD, min_size=1, max_size=12))
@example([Record(None, None, (), -1), Record(None, None, (), 1 << 45)])
def test_a_builder_never_understates_its_size(records):
    builder = BatchBuilder()
    for record in records:
        before = builder.size_bytes
        builder.append(record.key, record.value, record.timestamp_ms, record.headers)
        assert builder.size_bytes - before == record_size_bytes(record.key, record.value, record.headers)
    batch = builder.build()
    assert len(builder) == len(records)
    assert builder.size_bytes >= len(batch)
    assert batch == encode_batch(records)


def test_a_builder_gives_the_producers_identity():
    builder = BatchBuilder()
    builder.append(b"k", b"v", 17)
    header = read_header(builder.build(Codec.ZSTD, producer_id=5, producer_epoch=6, base_sequence=7))
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (5, 6, 7)
    assert (header.base_offset, header.partition_leader_epoch, header.codec) == (0, -1, Codec.ZSTD)


def test_many_records_cross_every_width_of_offsets():
    records = [Record(None, b"", (), 0) for _ in range(20_000)]
    offsets = [record.offset for record in decode_records(encode_batch(records, base_offset=3))]
    assert offsets == list(range(3, 20_003))


@pytest.mark.parametrize("size", [0, 1, 63, 64, 8191, 8192, 1 << 20])
def test_every_width_of_a_length(size):
    record = Record(b"k" * size, b"v" * size, (("n", b"h" * size),), 0)
    assert list(decode_records(encode_batch([record]))) == [record._replace(offset=0)]


@given(st.data())
def test_damage_of_any_byte_behind_the_crc_is_refused(data):
    batch = bytearray(encode_batch([Record(b"key", b"value", (("a", b"b"),), 5)] * 3))
    at = data.draw(st.integers(17, len(batch) - 1))
    batch[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CorruptMessage):
        list(decode_records(batch))


@settings(max_examples=300)
@given(st.binary(max_size=60), st.integers(-3, 5))
def test_garbage_under_a_right_crc_is_refused_or_is_whole_records(payload, count):
    try:
        records = list(decode_records(with_payload(payload, count)))
    except CorruptMessage:
        return
    assert len(records) == max(count, 0)


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_record_under_a_right_crc_never_reads_beyond_itself(data):
    payload = bytearray(encode_batch([Record(b"key", b"v" * 70, (("a", None),), 5)] * 2)[HEADER_BYTES:])
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at] = data.draw(st.integers(0, 255))
    try:
        records = list(decode_records(with_payload(bytes(payload), 2)))
    except CorruptMessage:
        return
    assert sum(len(record.key or b"") + len(record.value or b"") for record in records) <= len(payload)


@pytest.mark.parametrize(
    ("payload", "count"),
    [
        ("", 1),
        ("0c00000001010000", 1),  # one byte follows
        ("0c000000010100", 2),  # a record is missing
        ("0d000000010100", 1),  # negative length
        ("0c000000030100", 1),  # key of -2
        ("0c000000010300", 1),  # value of -2
        ("0c0000000101", 1),  # cut
        ("0c00000001027f00", 1),  # value longer than its record
        ("0c000000010101", 1),  # -1 headers
        ("10000000010102010000", 1),  # header without a name
        ("1000000001010202ff01", 1),  # header name that is no UTF-8
        ("0e00000001018040", 1),  # more headers than bytes
    ],
)
def test_contradictions_inside_a_batch_are_refused(payload, count):
    with pytest.raises(CorruptMessage):
        list(decode_records(with_payload(bytes.fromhex(payload), count)))


def test_the_least_record_is_taken():
    assert list(decode_records(with_payload(bytes.fromhex("0c000000010100")))) == [Record(None, None, (), 0, 0)]


def test_an_empty_batch_has_no_records():
    assert list(decode_records(with_payload(b"", 0))) == []


def test_a_cut_batch_is_refused():
    batch = encode_batch([Record(b"k", b"v")])
    with pytest.raises(CorruptMessage, match="cut"):
        decode_records(batch[:-1])


def test_an_unknown_codec_is_named():
    with pytest.raises(UnsupportedCompressionType, match="codec 6"):
        decode_records(with_payload(b"", 1, codec=6))


@pytest.mark.parametrize("codec", [codec for codec in Codec if codec != Codec.NONE])
def test_a_bomb_is_refused(codec):
    batch = encode_batch([Record(None, bytes(3_000_000))], codec=codec)
    assert len(batch) < 200_000
    assert len(list(decode_records(batch, limit_bytes=3_100_000))) == 1
    with pytest.raises(CorruptMessage):
        decode_records(batch, limit_bytes=2_900_000)


def test_a_batch_is_a_header_and_its_records():
    assert HEADER.size == HEADER_BYTES == len(with_payload(b""))
