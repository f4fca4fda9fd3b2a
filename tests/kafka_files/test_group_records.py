"""Coordinators' records, which Apache Kafka's own code reads and writes again, byte for byte."""

from __future__ import annotations

import subprocess

import pytest

from dohle.broker.groups.record_bytes import encoded
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
    MemberRecord,
    MemberSubscription,
    OffsetRecord,
    RegexRecord,
    ResolvedRegex,
    TargetEpochRecord,
    TargetRecord,
)
from dohle.model.ids import TopicId
from tests.kafka_files.java import HERE, MOST_S, QUICK_START, classpath

pytestmark = pytest.mark.processes
TOPICS = TopicId(bytes(range(16))), TopicId(bytes(range(1, 17)))
MEMBERS = (
    ClassicMemberState("m-1", "i", "client", "/127.0.0.1", 60_000, 45_000, b"\0\1sub", b"\0\1ass"),
    ClassicMemberState("m-2", None, "", "/127.0.0.1", 300_000, 10_000, b"", b""),
)
ASSIGNMENT = ((TOPICS[0], (0, 3)), (TOPICS[1], (7,)))
HELD = ((TOPICS[0], ((0, 4), (3, 5))), (TOPICS[1], ((7, 5),)))
SUBSCRIPTION = MemberSubscription(None, "rack", "client", "/10.0.0.1", ("a", "b"), None, 300_000, "uniform")
PROTOCOLS = ClassicProtocols(45_000, (("range", b"\0"), ("sticky", b"\1\2")))
RECORDS: list[GroupRecord] = [
    OffsetRecord("g", "t", 3, None),
    OffsetRecord("g", "t", 3, CommittedOffset(17, 4, "where I was", 1_800_000_000_000, -1, TOPICS[0])),
    OffsetRecord("größe", "t", 3, CommittedOffset(17, -1, "", 1_800_000_000_000)),
    OffsetRecord("g", "t", 3, CommittedOffset(17, -1, "m" * 4096, 1_800_000_000_000)),
    OffsetRecord("g", "t", 3, CommittedOffset(17, -1, "old", 1_800_000_000_000, 1_800_000_600_000)),
    ClassicGroupRecord("g", None),
    ClassicGroupRecord("g", ClassicGroupState("consumer", 3, "range", "m-1", 1_800_000_000_000, MEMBERS)),
    ClassicGroupRecord("g", ClassicGroupState("", 4, None, None, -1, ())),
    GroupEpochRecord("g", None),
    GroupEpochRecord("g", GroupEpoch(7, -123_456_789)),
    GroupEpochRecord("g", GroupEpoch(7, 0)),
    MemberRecord("g", "m", None),
    MemberRecord("g", "m", SUBSCRIPTION),
    MemberRecord("g", "m", MemberSubscription("i", None, "c", "h", (), "a.*|b", -1, None)),
    MemberRecord("g", "m", MemberSubscription("i", None, "c", "h", ("t",), None, 9, None, PROTOCOLS)),
    TargetEpochRecord("g", None),
    TargetEpochRecord("g", 7),
    TargetEpochRecord("g", 7, 1_800_000_000_000),
    TargetRecord("g", "m", None),
    TargetRecord("g", "m", ()),
    TargetRecord("g", "m", ASSIGNMENT),
    CurrentRecord("g", "m", None),
    CurrentRecord("g", "m", CurrentAssignment(5, 4, 1, HELD, ())),
    CurrentRecord("g", "m", CurrentAssignment(5, 5, 0, (), HELD)),
    RegexRecord("g", "a.*", None),
    RegexRecord("g", "a.*", ResolvedRegex(("a", "ab"), 90, 1_800_000_000_000)),
]


def test_java_writes_what_it_has_read_of_ours() -> None:
    """Every kind, as the version that Kafka writes; and what it has read says what ours says."""
    ours = [" ".join(part.hex() for part in encoded(record) if part is not None) for record in RECORDS]
    command = ["java", *QUICK_START, "-cp", classpath(), str(HERE / "EchoGroupRecords.java")]
    done = subprocess.run(command, input="\n".join(ours), capture_output=True, text=True, timeout=MOST_S, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    theirs = [line.partition("\t") for line in done.stdout.splitlines()]
    assert [line for line, _, _ in theirs] == ours
    told = {line: text for line, _, text in theirs}
    assert "OffsetCommitValue(offset=17, leaderEpoch=4, metadata='where I was'" in told[ours[1]]
    assert "topicId=AAECAwQFBgcICQoLDA0ODw" in told[ours[1]]
    assert "expireTimestamp=1800000600000" in told[ours[4]]
    assert "classicMemberMetadata=null" in told[ours[12]]
    assert "sessionTimeoutMs=45000" in told[ours[14]]
    assert "assignmentEpochs=[4, 5]" in told[ours[22]]
