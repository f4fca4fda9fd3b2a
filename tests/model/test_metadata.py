"""Metadata records: every kind survives its encoding, in a version that all nodes read, and what this software does not
know is refused clearly."""

import itertools
from dataclasses import dataclass

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohle.model import metadata_forms
from dohle.model.errors import CorruptLog, UnsupportedVersion
from dohle.model.metadata import (
    NEWEST_METADATA_VERSION,
    OLDEST_METADATA_VERSION,
    SUPPORTED_FEATURES,
    BrokerChange,
    BrokerDraining,
    Doubt,
    EndFork,
    Endpoint,
    FeatureLevel,
    FeatureRange,
    ForkedPartition,
    ForkedReplica,
    ForkState,
    ForkTopic,
    GroupOverride,
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
    check_levels,
)
from dohle.model.metadata_batch import encode_metadata, levels_in, voters_in
from dohle.model.metadata_forms import decode_record, encode_record

IDS = st.binary(min_size=16, max_size=16)
NODES = st.integers(-1, 2**31 - 1)
REPLICAS = st.lists(NODES, max_size=5).map(tuple)
OFFSETS = st.integers(-1, 2**63 - 1)
TEXT = st.text(max_size=20)
ENDPOINTS = st.lists(st.builds(Endpoint, TEXT, TEXT, st.integers(1, 65535), TEXT), max_size=3).map(tuple)
VOTERS = st.lists(st.builds(Voter, NODES, IDS, TEXT, st.integers(1, 65535)), max_size=3).map(tuple)
DOUBTS = st.lists(st.builds(Doubt, NODES, OFFSETS, OFFSETS, st.booleans()), max_size=3).map(tuple)

FORKED = st.lists(
    st.builds(ForkedPartition, REPLICAS, OFFSETS, OFFSETS, OFFSETS, st.integers(0, 2**32 - 1), REPLICAS, REPLICAS),
    max_size=3,
).map(tuple)

RECORDS = st.one_of(
    st.builds(ForkTopic, IDS, TEXT, IDS, OFFSETS, FORKED),
    st.builds(ForkedReplica, IDS, NODES, NODES, OFFSETS, OFFSETS, st.integers(0, 2**32 - 1)),
    st.builds(EndFork, IDS),
    st.builds(GroupOverride, TEXT, TEXT, st.none() | TEXT),
    st.builds(ForkState, IDS, TEXT, IDS, OFFSETS, FORKED, OFFSETS),
    st.builds(FeatureLevel, TEXT, st.integers(0, 100)),
    st.builds(Voters, TEXT, VOTERS),
    st.builds(RegisterBroker, NODES, IDS, IDS, ENDPOINTS, TEXT, st.just(SUPPORTED_FEATURES)),
    st.builds(BrokerChange, NODES, OFFSETS, st.booleans(), st.booleans()),
    st.builds(BrokerDraining, NODES, st.booleans()),
    st.builds(Topic, IDS, TEXT),
    st.builds(Partition, IDS, NODES, REPLICAS, REPLICAS, NODES),
    st.builds(PartitionChange, IDS, NODES, NODES, NODES, NODES, REPLICAS, DOUBTS, REPLICAS, NODES, REPLICAS),
    st.builds(RemoveTopic, IDS),
    st.builds(TopicOverride, IDS, TEXT, st.none() | TEXT),
    st.builds(ProducerIds, NODES, OFFSETS, OFFSETS),
    st.just(NoOp()),
)


@given(RECORDS)
def test_what_is_encoded_comes_back_as_it_was(record):
    decoded = decode_record(encode_record(record, NEWEST_METADATA_VERSION))
    assert decoded == record
    assert type(decoded) is type(record)


def test_parts_of_a_record_come_back_with_their_names():
    voter = Voter(1, bytes(16), "here", 7092)
    (voters, _) = bootstrap_records("cluster", (voter,))
    assert decode_record(encode_record(voters, 1)).voters[0].host == "here"


def test_the_encoding_is_what_logs_already_hold():
    assert encode_record(RemoveTopic(bytes(16)), 1) == msgpack.packb([8, 1, bytes(16)])
    change = PartitionChange(b"t" * 16, 3, 2, 5, 7, (2, 1), (Doubt(1, 4, 99, False),))
    assert encode_record(change, 1) == msgpack.packb([7, 1, b"t" * 16, 3, 2, 5, 7, [2, 1], [[1, 4, 99, False]]])
    change = PartitionChange(b"t" * 16, 3, -1, 5, 7, (2, 1), (), (3,), 2, (1,))
    assert encode_record(change, 2) == msgpack.packb([7, 2, b"t" * 16, 3, -1, 5, 7, [2, 1], [], [3], 2, [1]])


@pytest.mark.parametrize(("record_type", "version"), [(7, 99), (99, 3)])
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


@dataclass(frozen=True, slots=True)
class Grown:
    """A record that versions 3 and 5 have each given a field."""

    name: str
    size: int = 7
    doubts: tuple[Doubt, ...] = ()


@pytest.fixture
def grown_forms(monkeypatch):
    form = metadata_forms._form
    forms = (form(90, 1, Grown, "name"), form(90, 3, Grown, "size"), form(90, 5, Grown, doubts=Doubt))
    monkeypatch.setitem(metadata_forms._FORMS_OF, Grown, forms[::-1])
    for one in forms:
        monkeypatch.setitem(metadata_forms._FORM_AT, (one.record_type, one.version), one)


@pytest.mark.parametrize(
    ("version", "record", "written"),
    [
        (1, Grown("a"), [90, 1, "a"]),
        (2, Grown("a"), [90, 1, "a"]),
        (3, Grown("a", 8), [90, 3, "a", 8]),
        (4, Grown("a"), [90, 3, "a", 7]),
        (6, Grown("a", 8, (Doubt(1, 2, 3, True),)), [90, 5, "a", 8, [[1, 2, 3, True]]]),
    ],
)
def test_a_record_is_written_in_the_newest_form_that_is_finalised_and_read_whatever_its_form(
    grown_forms, version, record, written
):
    assert encode_record(record, version) == msgpack.packb(written)
    assert decode_record(msgpack.packb(written)) == record


@pytest.mark.parametrize(("version", "record"), [(0, Grown("a")), (2, Grown("a", 8)), (4, Grown("a", 7, (1,)))])
def test_what_a_version_brings_is_not_written_before_it_is_finalised(grown_forms, version, record):
    with pytest.raises(AssertionError, match=f"needs a metadata.version above {version}"):
        encode_record(record, version)


def test_a_later_field_needs_a_default():
    @dataclass(frozen=True)
    class Careless:
        name: str
        size: int

    with pytest.raises(AssertionError, match="later fields have no defaults"):
        metadata_forms._form(91, 1, Careless, "name")


@pytest.mark.parametrize("version", range(OLDEST_METADATA_VERSION, NEWEST_METADATA_VERSION + 1))
def test_a_batch_that_says_who_votes_is_found_in_every_version(version):
    said = Voters("c", (Voter(1, bytes(16), "here", 7092),))
    batch = encode_metadata([NoOp(), said], metadata_version=version, base_offset=3, term=1, timestamp_ms=0)
    assert list(voters_in(batch)) == [(5, said)]
    assert not list(levels_in(batch))


@pytest.mark.parametrize("version", range(OLDEST_METADATA_VERSION, NEWEST_METADATA_VERSION + 1))
def test_a_batch_that_finalises_a_level_is_found_in_every_version(version):
    level = FeatureLevel("metadata.version", version)
    batch = encode_metadata([NoOp(), level], metadata_version=version, base_offset=3, term=1, timestamp_ms=0)
    assert list(levels_in(batch)) == [(5, level)]
    assert not list(voters_in(batch))


def test_forms_are_in_order_and_only_the_newest_of_a_kind_has_all_its_fields():
    for forms in metadata_forms._FORMS_OF.values():
        assert not forms[0].beyond
        assert [one.version for one in forms] == sorted({one.version for one in forms}, reverse=True)
        assert all(len(later.fields) > len(earlier.fields) for later, earlier in itertools.pairwise(forms))
        assert len({one.record_type for one in forms}) == 1
    assert max(forms[0].version for forms in metadata_forms._FORMS_OF.values()) <= NEWEST_METADATA_VERSION


def test_a_node_cannot_work_at_a_level_that_it_does_not_support():
    check_levels({"metadata.version": 2}, (FeatureRange("metadata.version", 1, 2),), "this node")
    with pytest.raises(UnsupportedVersion, match=r"works at metadata\.version 3; this node knows 1 to 2: run it with"):
        check_levels({"metadata.version": 3}, (FeatureRange("metadata.version", 1, 2),), "this node")
    with pytest.raises(UnsupportedVersion, match="node 7 knows nothing of it"):
        check_levels({"metadata.version": 3}, (), "node 7")
