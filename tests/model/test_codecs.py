"""The codecs, against what Apache Kafka's Java client wrote."""

from pathlib import Path

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dohle.model.codecs import Codec, compress, decompress
from dohle.model.errors import CorruptMessage, UnsupportedCompressionType
from dohle.model.records import Record, decode_records, encode_batch

PACKING = [codec for codec in Codec if codec != Codec.NONE]
JAVA_RECORDS = [
    Record(b"key", b"value", (("name", b"header"), ("empty", None)), 1_700_000_000_000, 0),
    Record(None, b"x" * 200, (), 1_700_000_000_123, 1),
    Record(b"tombstone", None, (), 1_699_999_999_000, 2),
]


def java_batch(codec):
    lines = (Path(__file__).parent / "java_batches.txt").read_text(encoding="ascii").splitlines()
    batches = dict(line.split() for line in lines if not line.startswith("#"))
    return bytes.fromhex(batches[codec.name.lower()])


@pytest.mark.parametrize("codec", Codec)
def test_what_java_wrote_is_read(codec):
    assert list(decode_records(java_batch(codec))) == JAVA_RECORDS


def test_an_uncompressed_batch_is_javas_byte_for_byte():
    ours = encode_batch(JAVA_RECORDS, producer_id=4711, producer_epoch=3, base_sequence=42)
    assert ours == java_batch(Codec.NONE)


# Magic numbers; for snappy also the versions, for lz4 the flags: blocks independent, with checksums, no content size.
# Batches of all five codecs that this module wrote, 300 mixed records each, were read by kafka-clients 4.1.0.
BEGINNINGS = {
    Codec.SNAPPY: "82534e415050590000000001000000010000001",
    Codec.LZ4: "04224d1870",
    Codec.ZSTD: "28b52ffd",
    Codec.GZIP: "1f8b08",
}


@pytest.mark.parametrize("codec", PACKING)
def test_what_is_written_begins_as_javas_reader_needs_it(codec):
    assert compress(codec, b"dohle" * 40).hex().startswith(BEGINNINGS[codec])


def test_lz4_blocks_are_independent_in_large_frames_too():
    flags = compress(Codec.LZ4, b"dohle" * 100_000)[4]
    assert flags >> 6 == 1
    assert flags & 0x20


@settings(max_examples=40)
@given(st.binary(max_size=300), st.integers(0, 1000), st.sampled_from(Codec))
def test_what_is_compressed_comes_back(piece, times, codec):
    plain = piece * times
    assert decompress(codec, memoryview(compress(codec, plain))) == plain


def test_snappy_is_cut_into_blocks_and_put_together():
    plain = bytes(range(256)) * 1000
    packed = compress(Codec.SNAPPY, plain)
    assert int.from_bytes(packed[16:20], "big") < 33_000
    assert decompress(Codec.SNAPPY, packed) == plain


def test_bare_raw_snappy_is_read():
    assert decompress(Codec.SNAPPY, bytes(cramjam.snappy.compress_raw(b"bare" * 100))) == b"bare" * 100


@pytest.mark.parametrize("codec", PACKING)
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
def test_cut_data_are_refused(codec, keep):
    packed = compress(codec, bytes(range(256)) * 300)
    with pytest.raises(CorruptMessage):
        decompress(codec, packed[: int(len(packed) * keep)], limit_bytes=1_000_000)


@pytest.mark.parametrize("codec", PACKING)
def test_garbage_is_refused(codec):
    with pytest.raises(CorruptMessage):
        decompress(codec, b"\xfe" * 100)


@pytest.mark.parametrize("length", [-1, 0, 5, 1 << 30])
def test_a_snappy_block_that_leads_out_of_its_batch_is_refused(length):
    header = compress(Codec.SNAPPY, b"x")[:16]
    with pytest.raises(CorruptMessage):
        decompress(Codec.SNAPPY, header + length.to_bytes(4, "big", signed=True) + b"\x01\x00a")


def test_a_snappy_block_that_declares_gigabytes_is_refused_before_they_are_taken():
    with pytest.raises(CorruptMessage, match="more than"):
        decompress(Codec.SNAPPY, b"\xff\xff\xff\xff\x0f" + b"a" * 20)


@pytest.mark.parametrize("codec", Codec)
def test_the_limit_is_exact(codec):
    packed = compress(codec, b"a" * 100_000)
    assert len(decompress(codec, packed, limit_bytes=100_000)) == 100_000
    with pytest.raises(CorruptMessage):
        decompress(codec, packed, limit_bytes=99_999)


@pytest.mark.parametrize("codec", PACKING)
def test_what_shrinks_a_thousandfold_is_read(codec):
    assert decompress(codec, compress(codec, bytes(20_000_000))) == bytes(20_000_000)


def test_codecs_go_by_name_and_number():
    assert [Codec.named(codec.name.lower()) for codec in Codec] == [Codec.numbered(number) for number in range(5)]
    with pytest.raises(UnsupportedCompressionType, match=r"lzma.*zstd"):
        Codec.named("lzma")
    with pytest.raises(UnsupportedCompressionType, match="7"):
        Codec.numbered(7)
