"""Offsets of simple groups against a dictionary, through refused appends, hand-overs, topics and time."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dohle.groups.offsets import (
    Commit,
    DeleteGroup,
    DeleteOffsets,
    FetchOffsets,
    ListGroups,
    OffsetToCommit,
)
from dohle.groups.settings import GroupSettings
from dohle.model.errors import NotEnoughReplicas, UnknownTopicOrPartition
from dohle.model.group_errors import GroupIdNotFound, NotCoordinator
from dohle.model.ids import TopicPartition
from tests.groups.harness import Harness

HOUR_MS = 3_600_000
RETENTION_HOURS = 4
PARTITIONS = 2

GROUPS = st.sampled_from(["g", "h"])
TOPICS = st.sampled_from(["t", "u"])
NUMBERS = st.integers(0, PARTITIONS - 1)
OFFSETS = st.integers(0, 9)


class Offsets(RuleBasedStateMachine):
    """`kept` maps group, topic and partition to the offset and the hour until which it is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.harness = Harness(
            GroupSettings(offsets_retention_ms=RETENTION_HOURS * HOUR_MS, offsets_retention_check_interval_ms=HOUR_MS)
        )
        self.topics: set[str] = set()
        self.kept: dict[tuple[str, str, int], tuple[int, int]] = {}
        self.hour = 0
        self.reads = False

    @rule(topic=TOPICS)
    def make_topic(self, topic: str) -> None:
        self.topics.add(topic)
        self.harness.make_topic(topic, PARTITIONS)

    @precondition(lambda self: self.topics)
    @rule(data=st.data())
    def drop_topic(self, data: st.DataObject) -> None:
        topic = data.draw(st.sampled_from(sorted(self.topics)))
        self.topics.remove(topic)
        self.harness.drop_topic(topic)
        self.harness.pass_time(0)
        self.forget(lambda key: key[1] == topic)

    @rule(group=GROUPS, topic=TOPICS, partition=NUMBERS, offset=OFFSETS, hours=st.none() | st.integers(1, 6))
    def commit(self, group: str, topic: str, partition: int, offset: int, hours: int | None) -> None:
        retention_ms = None if hours is None else hours * HOUR_MS
        command = Commit(group, (OffsetToCommit(topic, partition, offset),), retention_ms=retention_ms)
        [error] = self.harness.call(command)
        assert isinstance(error, UnknownTopicOrPartition) == (topic not in self.topics)
        if error is None:
            self.kept[group, topic, partition] = offset, self.hour + (hours or RETENTION_HOURS)

    @rule(group=GROUPS, topic=TOPICS, partition=NUMBERS)
    def delete(self, group: str, topic: str, partition: int) -> None:
        reply = self.harness.ask(DeleteOffsets(group, (TopicPartition(topic, partition),))).reply
        if not self.has(group):
            assert isinstance(reply, GroupIdNotFound)
        elif topic not in self.topics:
            assert isinstance(reply[0], UnknownTopicOrPartition)
        else:
            assert reply == (None,)
            self.kept.pop((group, topic, partition), None)

    @rule(group=GROUPS)
    def delete_group(self, group: str) -> None:
        reply = self.harness.ask(DeleteGroup(group)).reply
        assert isinstance(reply, GroupIdNotFound) == (not self.has(group))
        self.forget(lambda key: key[0] == group)

    @rule(hours=st.integers(1, 3))
    def pass_time(self, hours: int) -> None:
        self.harness.pass_time(hours * HOUR_MS / 1000)
        self.hour += hours
        self.forget(lambda key: self.kept[key][1] <= self.hour)

    @precondition(lambda self: self.topics)
    @rule(group=GROUPS, partition=NUMBERS, offset=OFFSETS)
    def commit_in_vain(self, group: str, partition: int, offset: int) -> None:
        self.harness.refusal = NotEnoughReplicas()
        asked = self.harness.ask(Commit(group, (OffsetToCommit(min(self.topics), partition, offset),)))
        assert asked.error is self.harness.refusal
        self.harness.refusal = None

    @rule()
    def restart(self) -> None:
        """The next look at what is old begins an hour after the load, so this is a whole hour."""
        self.harness.restart()
        self.pass_time(1)

    @precondition(lambda self: self.topics)
    @rule(group=GROUPS, partition=NUMBERS, offset=OFFSETS, is_kept=st.booleans())
    def commit_as_the_coordinator_goes(self, group: str, partition: int, offset: int, is_kept: bool) -> None:
        topic = min(self.topics)
        self.harness.hold()
        asked = self.harness.ask(Commit(group, (OffsetToCommit(topic, partition, offset),)))
        assert asked.waits
        self.harness.restart(keep=len(self.harness.log) if is_kept else self.harness.watermark)
        assert isinstance(asked.error, NotCoordinator)
        if is_kept:
            self.kept[group, topic, partition] = offset, self.hour + RETENTION_HOURS
        self.pass_time(1)

    @invariant()
    def all_is_as_in_the_dictionary(self) -> None:
        """A read changes nothing either."""
        for group in ("g", "h"):
            expected = [
                (topic, partition, self.kept[group, topic, partition][0]) for _, topic, partition in self.of(group)
            ]
            fetched = self.harness.call(FetchOffsets(group))
            assert [(one.topic, one.partition, one.value.offset) for one in fetched] == expected
            asked = tuple([(topic, tuple(range(PARTITIONS))) for topic in ("u", "t")])
            single = self.harness.call(FetchOffsets(group, asked))
            told = {(one.topic, one.partition): one.value.offset for one in single if one.value is not None}
            assert told == {(topic, partition): offset for topic, partition, offset in expected}
        listed = [one.group_id for one in self.harness.call(ListGroups())]
        assert listed == sorted({group for group, _, _ in self.kept})

    def of(self, group: str) -> list[tuple[str, str, int]]:
        return sorted([key for key in self.kept if key[0] == group])

    def has(self, group: str) -> bool:
        return bool(self.of(group))

    def forget(self, is_gone: object) -> None:
        assert callable(is_gone)
        self.kept = {key: value for key, value in self.kept.items() if not is_gone(key)}


TestOffsets = Offsets.TestCase
TestOffsets.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
