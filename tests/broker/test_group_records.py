"""Coordinators' records as bytes: what is written is read back the same, and what is not known is left alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dohle.broker.groups.record_bytes import decoded, encoded
from dohle.groups.rebalances import Cause, Rebalance, Who
from dohle.groups.records import (
    ClassicGroupRecord,
    ClassicGroupState,
    ClassicMemberState,
    ClassicProtocols,
    CommittedOffset,
    CurrentAssignment,
    CurrentRecord,
    GroupEpoch,
    GroupEpochRecord,
    GroupRecord,
    KeptRebalance,
    MemberRecord,
    MemberSubscription,
    OffsetRecord,
    RebalanceRecord,
    RegexRecord,
    ResolvedRegex,
    TargetEpochRecord,
    TargetRecord,
)
from dohle.kafka.codec import decode, encode
from dohle.kafka.declaration import NO_UUID
from dohle.kafka.messages.group_records import OffsetCommitKey, OffsetCommitValue
from dohle.model.errors import CorruptMessage
from dohle.model.ids import TopicId

TEXT = st.text(max_size=8)
NUMBER = st.integers(0, (1 << 31) - 1)
LONG = st.integers(0, (1 << 62) - 1)
TOPIC = st.binary(min_size=16, max_size=16).filter(any).map(TopicId)
BYTES = st.binary(max_size=8)


def per_topic(partitions: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    drawn = st.dictionaries(TOPIC, partitions, max_size=3)
    return drawn.map(lambda found: tuple(sorted(found.items())))


ASSIGNMENT = per_topic(st.sets(NUMBER, min_size=1, max_size=4).map(lambda found: tuple(sorted(found))))
HELD = per_topic(
    st.dictionaries(NUMBER, NUMBER, min_size=1, max_size=4).map(lambda found: tuple(sorted(found.items())))
)
OFFSETS = st.builds(CommittedOffset, LONG, NUMBER, TEXT, LONG, topic_id=st.none() | TOPIC)
EXPIRING = st.builds(CommittedOffset, LONG, st.just(-1), TEXT, LONG, expire_ms=LONG)
MEMBER_STATE = st.builds(
    ClassicMemberState, TEXT, st.none() | TEXT, TEXT, TEXT, NUMBER, NUMBER, subscription=BYTES, assignment=BYTES
)
CLASSIC = st.builds(
    ClassicGroupState,
    TEXT,
    NUMBER,
    st.none() | TEXT,
    st.none() | TEXT,
    LONG,
    st.lists(MEMBER_STATE, max_size=3).map(tuple),
)
PROTOCOLS = st.builds(ClassicProtocols, NUMBER, st.lists(st.tuples(TEXT, BYTES), max_size=2).map(tuple))
SUBSCRIPTION = st.builds(
    MemberSubscription,
    st.none() | TEXT,
    st.none() | TEXT,
    TEXT,
    TEXT,
    st.lists(TEXT, max_size=3).map(tuple),
    st.none() | st.text(min_size=1, max_size=8),
    NUMBER,
    st.none() | TEXT,
    st.none() | PROTOCOLS,
)
WHO = st.builds(Who, TEXT, st.none() | TEXT, TEXT, TEXT)
REBALANCE = st.builds(
    Rebalance,
    st.just("g"),
    st.sampled_from(Cause),
    st.none() | WHO,
    LONG,
    TEXT,
    st.none() | st.floats(0, 1e6),
    NUMBER,
    st.none() | LONG,
    st.none() | WHO,
    st.none() | LONG,
    st.lists(WHO, max_size=2).map(tuple),
    NUMBER,
)
RECORDS: st.SearchStrategy[GroupRecord] = st.one_of(
    st.builds(OffsetRecord, TEXT, TEXT, NUMBER, st.none() | OFFSETS | EXPIRING),
    st.builds(ClassicGroupRecord, TEXT, st.none() | CLASSIC),
    st.builds(GroupEpochRecord, TEXT, st.none() | st.builds(GroupEpoch, NUMBER, LONG)),
    st.builds(MemberRecord, TEXT, TEXT, st.none() | SUBSCRIPTION),
    st.builds(TargetEpochRecord, TEXT, NUMBER, st.just(-1) | st.integers(1, 1 << 60)),
    st.builds(TargetEpochRecord, TEXT, st.none()),
    st.builds(TargetRecord, TEXT, TEXT, st.none() | ASSIGNMENT),
    st.builds(
        CurrentRecord,
        TEXT,
        TEXT,
        st.none() | st.builds(CurrentAssignment, NUMBER, NUMBER, st.sampled_from([0, 1, 2, 127]), HELD, HELD),
    ),
    st.builds(
        RegexRecord,
        TEXT,
        TEXT,
        st.none() | st.builds(ResolvedRegex, st.lists(TEXT, max_size=3).map(tuple), LONG, LONG),
    ),
    st.builds(RebalanceRecord, st.just("g"), NUMBER, st.none() | st.builds(KeptRebalance, LONG, REBALANCE, NUMBER)),
)


@given(RECORDS)
@settings(max_examples=400)
def test_what_is_written_is_read_back(record: GroupRecord) -> None:
    key, value = encoded(record)
    assert decoded(key, value) == record
    assert (value is None) == (getattr(record, "value", getattr(record, "epoch", 0)) is None)


def test_kinds_that_are_not_known_are_nobodys() -> None:
    assert decoded(b"\x00\x0bwhatever", b"\x00\x00whatever") is None
    assert decoded(b"\x7f\xff", None) is None


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        (b"", None, "less than 2 bytes"),
        (b"\x00\x02\x00\x01g", b"\x00", "less than 2 bytes"),
        (b"\x00\x02\x00\x05g", None, "has 5 bytes"),
        (b"\x00\x02\x00\x01g", b"\x00\x09", "version 9"),
        (b"\x00\x02\x00\x01g", b"\x00\x03\x00", "cut short"),
    ],
)
def test_what_is_no_record_is_told(key: bytes, value: bytes | None, complaint: str) -> None:
    with pytest.raises(CorruptMessage, match=complaint):
        decoded(key, value)


def test_every_version_of_an_offset_is_read() -> None:
    key, _ = encoded(OffsetRecord("g", "t", 3, None))
    read = [
        decoded(key, bytes.fromhex(value))
        for value in (
            "0000 0000000000000011 0001 6d 0000000000000022",
            "0001 0000000000000011 0001 6d 0000000000000022 0000000000000033",
            "0002 0000000000000011 0001 6d 0000000000000022",
            "0003 0000000000000011 00000004 0001 6d 0000000000000022",
            "0004 0000000000000011 00000004 02 6d 0000000000000022 00",
        )
    ]
    values = [(17, -1, -1), (17, -1, 51), (17, -1, -1), (17, 4, -1), (17, 4, -1)]
    assert read == [
        OffsetRecord("g", "t", 3, CommittedOffset(offset, epoch, "m", 34, expire_ms))
        for offset, epoch, expire_ms in values
    ]


def test_a_group_of_the_first_version_has_its_sessions_time_out_for_both() -> None:
    key, _ = encoded(ClassicGroupRecord("g", None))
    value = bytes.fromhex("0000 0001 70 00000007 ffff ffff 00000001 0001 6d 0001 63 0001 68 00000064 00000000 00000000")
    member = ClassicMemberState("m", None, "c", "h", 100, 100, b"", b"")
    assert decoded(key, value) == ClassicGroupRecord("g", ClassicGroupState("p", 7, None, None, -1, (member,)))


@given(st.builds(OffsetRecord, TEXT, TEXT, NUMBER, OFFSETS | EXPIRING))
@settings(max_examples=200)
def test_offsets_by_hand_are_those_of_the_codec(record: OffsetRecord) -> None:
    key, value = encoded(record)
    assert value is not None
    assert record.value is not None
    of, key_end = decode(OffsetCommitKey, 0, memoryview(key), 2)
    version = int.from_bytes(value[:2], "big")
    said, value_end = decode(OffsetCommitValue, version, memoryview(value), 2)
    assert (key_end, value_end) == (len(key), len(value))
    assert version == (4 if record.value.expire_ms == -1 else 1)
    assert b"".join(encode(of, 0, b"\0\1")) == key
    assert b"".join(encode(said, version, value[:2])) == value
    assert (of.group, of.topic, of.partition) == (record.group_id, record.topic, record.partition)
    assert (said.offset, said.metadata, said.commit_timestamp, said.expire_timestamp) == (
        record.value.offset,
        record.value.metadata,
        record.value.commit_ms,
        record.value.expire_ms,
    )
    assert said.topic_id == (record.value.topic_id or NO_UUID)


def test_long_metadata_and_unknown_tags_of_an_offset_are_read() -> None:
    long = OffsetRecord("g", "t", 3, CommittedOffset(17, 4, "m" * 4000, 34))
    assert decoded(*encoded(long)) == long
    key, _ = encoded(long)
    value = bytes.fromhex("0004 0000000000000011 00000004 02 6d 0000000000000022 01 07 02 aaaa")
    assert decoded(key, value) == OffsetRecord("g", "t", 3, CommittedOffset(17, 4, "m", 34))
    with pytest.raises(ValueError, match="bytes"):
        encoded(OffsetRecord("g", "t", 3, CommittedOffset(17, 4, "m" * 40_000, 34)))
    with pytest.raises(ValueError, match="no form"):
        encoded(OffsetRecord("g" * 40_000, "t", 3, None))


@pytest.mark.parametrize(
    "damaged",
    ["0001 ffff 0001 74 00000000", "0001 0001 67", "0001 0009 67 0001 74 00000000", "0001 0001 ff 0001 74 00000000"],
)
def test_a_damaged_key_of_an_offset_is_told(damaged: str) -> None:
    with pytest.raises(CorruptMessage):
        decoded(bytes.fromhex(damaged), None)


@pytest.mark.parametrize("damaged", ["0004 00", "0004 0000000000000011 00000004 00", "0003 00", "0007"])
def test_a_damaged_value_of_an_offset_is_told(damaged: str) -> None:
    with pytest.raises(CorruptMessage):
        decoded(bytes.fromhex("0001 0001 67 0001 74 00000000"), bytes.fromhex(damaged))
