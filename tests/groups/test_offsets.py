"""Committed offsets: who may commit, read and delete them, and what is listed. Expiry: test_expiry.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pytest

from dohle.groups.group import CLASSIC, CONSUMER
from dohle.groups.offsets import (
    Commit,
    DeleteGroup,
    DeleteOffsets,
    FetchedOffset,
    FetchOffsets,
    ListedGroup,
    ListGroups,
    OffsetToCommit,
)
from dohle.groups.records import CommittedOffset, GroupRecord, OffsetRecord
from dohle.groups.settings import GroupSettings
from dohle.model.errors import DohleError, NotEnoughReplicas, UnknownTopicId, UnknownTopicOrPartition
from dohle.model.group_errors import (
    GroupIdNotFound,
    GroupSubscribedToTopic,
    IllegalGeneration,
    NonEmptyGroup,
    NotCoordinator,
    OffsetMetadataTooLarge,
    RebalanceInProgress,
    StaleMemberEpoch,
    UnknownMember,
)
from dohle.model.ids import PartitionKey, TopicId, TopicPartition
from tests.groups.harness import Harness


def end_of(group_id: str) -> OffsetRecord:
    """Returns what stands for the records of a group's end, and is nothing to the part that has its offsets."""
    return OffsetRecord(group_id, "the end", 0, None)


@dataclass
class Members:
    """A group of either kind, with members that one can give it."""

    group_id: str
    kind: str = CLASSIC
    state: str = "Stable"
    protocol_type: str = "consumer"
    is_simple: bool = False
    empty_since_ms: int | None = None
    topics: tuple[str, ...] = ()
    refusal: DohleError | None = None
    commits: list[tuple[str, float]] = field(default_factory=list)

    def subscribes_to(self, topic: str) -> bool:
        return topic in self.topics

    def check_commit(
        self,
        member_id: str,
        instance_id: str | None,
        epoch: int,
        partitions: Sequence[PartitionKey] = (),
        *,
        knows_epochs: bool,
    ) -> None:
        if self.refusal is not None:
            raise self.refusal

    def committed(self, member_id: str, now_s: float) -> None:
        self.commits.append((member_id, now_s))

    def check_fetch(self, member_id: str | None, epoch: int) -> None:
        if self.refusal is not None:
            raise self.refusal

    def check_deletion(self) -> None:
        if self.state != "Empty":
            raise NonEmptyGroup

    def tombstones(self) -> Iterable[GroupRecord]:
        return [end_of(self.group_id)]


def with_topics(settings: GroupSettings | None = None) -> tuple[Harness, TopicId]:
    harness = Harness(settings)
    harness.make_topic("u", 1)
    return harness, harness.make_topic("t", 2)


def with_group(**fields: object) -> tuple[Harness, Members]:
    harness, _ = with_topics()
    group = harness.shard.state.groups["g"] = Members("g", **fields)  # type: ignore[arg-type]
    return harness, group


def committed(harness: Harness, topic: str | TopicId = "t", partition: int = 0, offset: int = 7) -> None:
    assert harness.call(Commit("g", (OffsetToCommit(topic, partition, offset),))) == (None,)


def codes(replies: Iterable[DohleError | None]) -> list[type[DohleError] | None]:
    return [None if reply is None else type(reply) for reply in replies]


def values(fetched: tuple[FetchedOffset, ...]) -> list[tuple[object, int, int | None]]:
    return [(one.topic, one.partition, None if one.value is None else one.value.offset) for one in fetched]


# commits


def test_a_commit_is_kept_with_all_that_it_says() -> None:
    harness, topic_id = with_topics()
    commit = Commit("g", (OffsetToCommit("t", 1, 7, 3, "mine"), OffsetToCommit(topic_id, 0, 8)))
    assert harness.call(commit) == (None, None)
    at_ms = harness.moment.wall_ms
    [first, second] = harness.call(FetchOffsets("g", (("t", (1,)), (topic_id, (0,)))))
    assert first == FetchedOffset("t", 1, CommittedOffset(7, 3, "mine", at_ms, -1, topic_id))
    assert second == FetchedOffset(topic_id, 0, CommittedOffset(8, -1, "", at_ms, -1, topic_id))


def test_what_cannot_be_committed_leaves_the_rest_alone() -> None:
    harness, topic_id = with_topics(GroupSettings(offset_metadata_max_bytes=4))
    unknown = TopicId(b"?" * 16)
    offsets = (
        OffsetToCommit("none", 0, 1),
        OffsetToCommit("t", 2, 1),
        OffsetToCommit("t", -1, 1),
        OffsetToCommit(unknown, 0, 1),
        OffsetToCommit(topic_id, 2, 1),
        OffsetToCommit("t", 0, 1, metadata="12345"),
        OffsetToCommit("t", 1, 1, metadata="1234"),
    )
    missing = UnknownTopicOrPartition
    expected = [missing, missing, missing, UnknownTopicId, missing, OffsetMetadataTooLarge, None]
    assert codes(harness.call(Commit("g", offsets))) == expected
    assert [record.partition for record in harness.log if isinstance(record, OffsetRecord)] == [1]


def test_a_group_that_is_not_there_takes_commits_of_no_member() -> None:
    harness, _ = with_topics()
    one = (OffsetToCommit("t", 0, 1),)
    assert codes(harness.call(Commit("g", one, epoch=0))) == [GroupIdNotFound]
    assert codes(harness.call(Commit("g", one, epoch=0, knows_epochs=False))) == [IllegalGeneration]
    assert codes(harness.call(Commit("g", one, member_id="m"))) == [None]
    assert codes(harness.call(Commit("g", one, member_id="m", epoch=0))) == [UnknownMember]
    assert codes(harness.call(Commit("", one))) == [None]


@pytest.mark.parametrize("error", [IllegalGeneration, UnknownMember, StaleMemberEpoch, RebalanceInProgress])
def test_a_commit_that_the_group_refuses_writes_nothing(error: type[DohleError]) -> None:
    harness, group = with_group(refusal=error())
    commit = Commit("g", (OffsetToCommit("none", 0, 1), OffsetToCommit("t", 0, 1)), "m", None, 3)
    assert codes(harness.call(commit)) == [UnknownTopicOrPartition, error]
    assert harness.log == []
    assert group.commits == []


def test_a_commit_shows_that_its_member_lives() -> None:
    harness, group = with_group()
    harness.call(Commit("g", (OffsetToCommit("t", 0, 1),), "m", None, 3))
    assert group.commits == [("m", harness.moment.now_s)]


def test_a_commit_of_unknown_topics_alone_asks_no_group() -> None:
    harness, group = with_group(refusal=UnknownMember())
    assert codes(harness.call(Commit("g", (OffsetToCommit("none", 0, 1),), "m", None, 3))) == [UnknownTopicOrPartition]
    assert group.commits == []


def test_of_several_commits_to_a_partition_the_last_counts() -> None:
    harness, _ = with_topics()
    assert harness.call(Commit("g", (OffsetToCommit("t", 0, 5), OffsetToCommit("t", 0, 3)))) == (None, None)
    assert values(harness.call(FetchOffsets("g"))) == [("t", 0, 3)]


def test_a_commit_that_cannot_be_written_is_not_there() -> None:
    harness, _ = with_topics()
    harness.refusal = NotEnoughReplicas()
    assert isinstance(harness.ask(Commit("g", (OffsetToCommit("t", 0, 5),))).error, NotEnoughReplicas)
    assert harness.call(FetchOffsets("g")) == ()


def test_a_commit_is_told_only_when_it_is_committed_and_so_is_what_was_read() -> None:
    harness, _ = with_topics()
    committed(harness)
    harness.hold()
    commit, fetch = harness.ask(Commit("g", (OffsetToCommit("t", 0, 9),))), harness.ask(FetchOffsets("g"))
    assert commit.waits
    assert fetch.waits
    harness.commit()
    assert commit.reply == (None,)
    assert values(fetch.reply) == [("t", 0, 9)]


def test_a_commit_that_a_failure_of_the_coordinator_cut_off_may_be_there_or_not() -> None:
    for keep, offset in ((2, 9), (1, 7)):
        harness, _ = with_topics()
        committed(harness)
        harness.hold()
        commit = harness.ask(Commit("g", (OffsetToCommit("t", 0, 9),)))
        harness.restart(keep=keep)
        assert isinstance(commit.error, NotCoordinator)
        assert values(harness.call(FetchOffsets("g"))) == [("t", 0, offset)]


# reads


def test_what_was_never_committed_is_told_as_nothing() -> None:
    harness, topic_id = with_topics()
    asked = (("t", (0, 9, -1)), ("none", (0,)), ("", (0,)), (topic_id, (1,)))
    for group_id in ("none", "g"):
        fetched = harness.call(FetchOffsets(group_id, asked))
        assert all(one.value is None and one.error is None for one in fetched)
        assert len(fetched) == 6
        committed(harness, "u")
    assert harness.call(FetchOffsets("none")) == ()


def test_a_topic_id_that_there_is_not_is_an_error() -> None:
    harness, _ = with_topics()
    unknown = TopicId(b"?" * 16)
    fetched = harness.call(FetchOffsets("g", ((unknown, (0, 1)), ("t", (0,)))))
    assert codes(one.error for one in fetched) == [UnknownTopicId, UnknownTopicId, None]


def test_all_offsets_come_in_order() -> None:
    harness, _ = with_topics()
    for topic, partition in (("u", 0), ("t", 1), ("t", 0)):
        committed(harness, topic, partition)
    assert values(harness.call(FetchOffsets("g"))) == [("t", 0, 7), ("t", 1, 7), ("u", 0, 7)]


@pytest.mark.parametrize("error", [UnknownMember, StaleMemberEpoch, IllegalGeneration])
def test_a_read_that_the_group_refuses_tells_nothing(error: type[DohleError]) -> None:
    harness, _ = with_group(refusal=error())
    assert isinstance(harness.ask(FetchOffsets("g", None, "m", 3)).error, error)


def test_a_group_that_is_dead_has_no_offsets() -> None:
    harness, group = with_group()
    committed(harness)
    group.refusal = GroupIdNotFound()
    assert harness.call(FetchOffsets("g")) == ()
    assert values(harness.call(FetchOffsets("g", (("t", (0,)),)))) == [("t", 0, None)]


# deletions


def test_deleted_offsets_are_gone() -> None:
    harness, _ = with_topics()
    committed(harness)
    committed(harness, "u")
    asked = tuple(TopicPartition(*one) for one in (("t", 0), ("t", 0), ("t", 1), ("t", 2), ("none", 0)))
    missing = UnknownTopicOrPartition
    assert codes(harness.call(DeleteOffsets("g", asked))) == [None, None, None, missing, missing]
    assert values(harness.call(FetchOffsets("g"))) == [("u", 0, 7)]
    assert len(harness.log) == 3


def test_offsets_of_what_members_subscribe_to_stay() -> None:
    harness, _ = with_group(topics=("t",))
    committed(harness)
    committed(harness, "u")
    asked = (TopicPartition("t", 0), TopicPartition("u", 0))
    assert codes(harness.call(DeleteOffsets("g", asked))) == [GroupSubscribedToTopic, None]
    assert values(harness.call(FetchOffsets("g"))) == [("t", 0, 7)]


def test_offsets_of_members_whose_subscriptions_are_their_own_stay() -> None:
    harness, group = with_group(protocol_type="connect")
    committed(harness)
    assert isinstance(harness.ask(DeleteOffsets("g", (TopicPartition("t", 0),))).error, NonEmptyGroup)
    group.state = "Empty"
    assert harness.call(DeleteOffsets("g", (TopicPartition("t", 0),))) == (None,)


@pytest.mark.parametrize("partitions", [(), (TopicPartition("none", 0),)])
def test_offsets_of_no_group_cannot_be_deleted(partitions: tuple[TopicPartition, ...]) -> None:
    harness, _ = with_topics()
    assert isinstance(harness.ask(DeleteOffsets("g", partitions)).error, GroupIdNotFound)


def test_a_group_goes_with_its_offsets() -> None:
    harness, group = with_group()
    committed(harness)
    assert isinstance(harness.ask(DeleteGroup("g")).error, NonEmptyGroup)
    group.state = "Empty"
    del harness.shard.state.groups["g"]
    committed(harness, "t", 1)
    assert harness.call(DeleteGroup("g")) is None
    assert harness.call(FetchOffsets("g")) == ()
    assert harness.call(ListGroups()) == ()
    assert isinstance(harness.ask(DeleteGroup("g")).error, GroupIdNotFound)


def test_the_records_of_a_groups_end() -> None:
    _, group = with_group(state="Empty")
    harness, _ = with_topics()
    committed(harness, "t", 1)
    committed(harness, "t", 0)
    harness.shard.state.groups["g"] = group
    outcome = harness.shard.offsets.delete_group(DeleteGroup("g"), harness.ask(ListGroups()).ticket)
    offsets = [OffsetRecord("g", "t", partition, None) for partition in (0, 1)]
    assert outcome.records == (*offsets, end_of("g"))


# listings


def test_groups_are_listed_by_state_and_kind() -> None:
    harness, _ = with_group(state="PreparingRebalance")
    harness.shard.state.groups["c"] = Members("c", kind=CONSUMER, state="Stable")
    assert harness.call(Commit("s", (OffsetToCommit("t", 0, 1),))) == (None,)
    everything = (
        ListedGroup("c", "consumer", "Stable", "Consumer"),
        ListedGroup("g", "consumer", "PreparingRebalance", "Classic"),
        ListedGroup("s", "", "Empty", "Classic"),
    )
    assert harness.call(ListGroups()) == everything
    assert harness.call(ListGroups((" stable ", "EMPTY"))) == (everything[0], everything[2])
    assert harness.call(ListGroups((), ("classic",))) == everything[1:]
    assert harness.call(ListGroups(("Empty",), ("CONSUMER",))) == ()
    assert harness.call(ListGroups(("no such",))) == ()
    assert harness.call(ListGroups((), ("no such",))) == ()
    assert harness.call(ListGroups((), ("no such", "consumer"))) == everything[:1]
