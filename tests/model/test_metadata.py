"""Metadata records: every kind survives its encoding, and what this software does not know is refused clearly."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohle.model.errors import CorruptLog, UnsupportedVersion
from dohle.model.metadata import (
    SUPPORTED_FEATURES,
    BrokerChange,
    Doubt,
    Endpoint,
    FeatureLevel,
    NoOp,
    Partition,
    PartitionChange,
    ProducerIds,
    RegisterBroker,
    RemoveTopic,
    Topic,
    TopicOverride,
    Voter,
    Voters,
    bootstrap_records,
    decode_record,
    encode_record,
)

IDS = st.binary(min_size=16, max_size=16)
NODES = st.integers(-1, 2**31 - 1)
REPLICAS = st.lists(NODES, max_size=5).map(tuple)
OFFSETS = st.integers(-1, 2**63 - 1)
TEXT = st.text(max_size=20)
ENDPOINTS = st.lists(st.builds(Endpoint, TEXT, TEXT, st.integers(1, 65535), TEXT), max_size=3).map(tuple)
VOTERS = st.lists(st.builds(Voter, NODES, IDS, TEXT, st.integers(1, 65535)), max_size=3).map(tuple)
DOUBTS = st.lists(st.builds(Doubt, NODES, OFFSETS, OFFSETS, st.booleans()), max_size=3).map(tuple)

RECORDS = st.one_of(
    st.builds(FeatureLevel, TEXT, st.integers(0, 100)),
    st.builds(Voters, TEXT, VOTERS),
    st.builds(RegisterBroker, NODES, IDS, IDS, ENDPOINTS, TEXT, st.just(SUPPORTED_FEATURES)),
    st.builds(BrokerChange, NODES, OFFSETS, st.booleans(), st.booleans()),
    st.builds(Topic, IDS, TEXT),
    st.builds(Partition, IDS, NODES, REPLICAS, REPLICAS, NODES),
    st.builds(PartitionChange, IDS, NODES, NODES, NODES, NODES, REPLICAS, DOUBTS),
    st.builds(RemoveTopic, IDS),
    st.builds(TopicOverride, IDS, TEXT, st.none() | TEXT),
    st.builds(ProducerIds, NODES, OFFSETS, OFFSETS),
    st.just(NoOp()),
)


@given(RECORDS)
def test_what_is_encoded_comes_back_as_it_was(record):
    decoded = decode_record(encode_record(record))
    assert decoded == record
    assert type(decoded) is type(record)


def test_parts_of_a_record_come_back_with_their_names():
    voter = Voter(1, bytes(16), "here", 7092)
    (voters, _) = bootstrap_records("cluster", (voter,))
    assert decode_record(encode_record(voters)).voters[0].host == "here"


def test_the_encoding_is_what_logs_already_hold():
    assert encode_record(RemoveTopic(bytes(16))) == msgpack.packb([8, 1, bytes(16)])
    change = PartitionChange(b"t" * 16, 3, 2, 5, 7, (2, 1), (Doubt(1, 4, 99, False),))
    assert encode_record(change) == msgpack.packb([7, 1, b"t" * 16, 3, 2, 5, 7, [2, 1], [[1, 4, 99, False]]])


@pytest.mark.parametrize(("record_type", "version"), [(7, 2), (99, 3)])
def test_a_record_of_a_newer_node_names_the_metadata_version_that_it_needs(record_type, version):
    with pytest.raises(UnsupportedVersion, match=f"type {record_type} needs metadata.version {version}.*upgrade"):
        decode_record(msgpack.packb([record_type, version, "whatever"]))


@pytest.mark.parametrize(
    "value",
    [b"", b"\xc1", b"\x80", b"\x01", msgpack.packb([8]), msgpack.packb([8, 1]), msgpack.packb([8, 1, b"", b""])],
)
def test_bytes_that_are_no_metadata_record_are_a_corrupt_log(value):
    with pytest.raises(CorruptLog):
        decode_record(value)
