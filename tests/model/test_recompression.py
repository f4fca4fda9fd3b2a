"""Storing batches in the topic's codec."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohle.model.batch import check_crc, read_header
from dohle.model.codecs import Codec
from dohle.model.recompression import recompressed, wanted_codec
from dohle.model.records import Record, decode_records, encode_batch
from dohle.model.topic_config import TopicConfig

codecs = st.sampled_from(list(Codec))


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=20), codecs, codecs)
def test_records_and_header_survive_a_change_of_codec(values: list[bytes], before: Codec, after: Codec) -> None:
    records = [Record(b"k", value, timestamp_ms=7) for value in values]
    batch = encode_batch(records, codec=before, producer_id=5, producer_epoch=1, base_sequence=9)
    changed = recompressed(batch, after)
    header, old = read_header(changed), read_header(batch)
    assert check_crc(changed, 0, header)
    assert header.size_bytes == len(changed)
    assert header.codec == after
    assert list(decode_records(changed)) == list(decode_records(batch))
    same = {"batch_length": 0, "crc": 0, "attributes": 0}
    assert header._replace(**same) == old._replace(**same)


@pytest.mark.parametrize(
    ("name", "codec"), [("producer", None), ("uncompressed", Codec.NONE), ("zstd", Codec.ZSTD), ("lz4", Codec.LZ4)]
)
def test_a_topic_names_its_codec(name: str, codec: Codec | None) -> None:
    assert wanted_codec(TopicConfig.from_overrides({"compression.type": name})) == codec
