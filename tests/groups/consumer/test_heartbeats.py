"""KIP-848 heartbeats: joining, leaving, handing partitions on."""

from __future__ import annotations

import pytest

from dohle.groups.consumer.commands import ConsumerDescribe, ConsumerGroupDescription, ConsumerHeartbeat
from dohle.groups.group import Group
from dohle.groups.records import CurrentRecord, GroupEpochRecord, MemberRecord, TargetEpochRecord, TargetRecord
from dohle.groups.settings import GroupSettings
from dohle.model.errors import InvalidRequest
from dohle.model.group_errors import (
    FencedInstanceId,
    FencedMemberEpoch,
    GroupIdNotFound,
    GroupMaxSizeReached,
    NonEmptyGroup,
    StaleMemberEpoch,
    UnknownMember,
    UnreleasedInstanceId,
    UnsupportedAssignor,
)
from dohle.model.ids import PartitionKey
from tests.groups.consumer.members import TestMember, settle
from tests.groups.harness import Harness

GROUP = "g"


def described(harness: Harness) -> ConsumerGroupDescription:
    description = harness.call(ConsumerDescribe(GROUP))
    assert isinstance(description, ConsumerGroupDescription)
    return description


@pytest.fixture
def harness() -> Harness:
    harness = Harness()
    harness.make_topic("t", partitions=6)
    return harness


def member(harness: Harness, member_id: str, **more: object) -> TestMember:
    values: dict[str, object] = {"topics": ("t",), **more}
    return TestMember(harness, GROUP, member_id, **values)  # type: ignore[arg-type]


def test_the_first_member_has_all_in_its_first_answer(harness: Harness) -> None:
    one = member(harness, "a")
    answer = one.beat()
    assert answer is not None
    assert answer.member_epoch == 1
    assert answer.heartbeat_interval_ms == 5000
    assert len(one.partitions) == 6
    assert [type(record) for record in harness.log] == [
        MemberRecord,
        GroupEpochRecord,
        TargetRecord,
        TargetEpochRecord,
        CurrentRecord,
    ]
    answer = one.beat()
    assert answer is not None
    assert answer.assignment is None, "told once"
    assert len(harness.log) == 5, "a heartbeat that changes nothing writes nothing"
    answer = one.beat(full=True)
    assert answer is not None
    assert answer.assignment == one.held, "who tells all is told all"


def test_a_partition_is_handed_on_when_its_holder_has_confirmed(harness: Harness) -> None:
    one, two = member(harness, "a"), member(harness, "b")
    one.beat()
    answer = two.beat()
    assert answer is not None
    assert answer.assignment == ()
    assert answer.member_epoch == 2
    assert answer.heartbeat_interval_ms == 200, "who waits comes sooner"
    assert described(harness).state == "Reconciling"
    had = one.held
    revoking = harness.call(one.request())
    assert revoking.member_epoch == 1
    assert sum(len(numbers) for _, numbers in revoking.assignment) == 3
    two.beat()
    assert two.held == ()
    still = harness.call(one.request())
    assert still.member_epoch == 1
    assert still.assignment is None, "as long as it says that it has them"
    two.beat()
    assert two.held == ()
    one.take(revoking)
    one.beat()
    assert one.epoch == 2
    assert len(one.partitions) == 3
    two.beat()
    assert len(two.partitions) == 3
    assert not one.partitions & two.partitions
    assert two.interval_ms == 5000
    assert described(harness).state == "Stable"
    assert had != one.held


def test_who_is_silent_is_fenced_and_others_have_its_partitions(harness: Harness) -> None:
    one, two = member(harness, "a"), member(harness, "b")
    one.beat()
    two.beat()
    harness.pass_time(44)
    two.beat()
    harness.pass_time(2)
    assert [each.member_id for each in described(harness).members] == ["b"]
    two.beat()
    assert len(two.partitions) == 6
    one.beat()
    assert isinstance(one.errors[0], UnknownMember)


def test_who_does_not_give_up_in_its_rebalance_timeout_is_fenced(harness: Harness) -> None:
    one, two = member(harness, "a", rebalance_timeout_ms=10_000), member(harness, "b")
    one.beat()
    two.beat()
    harness.call(one.request())
    for _ in range(5):
        harness.pass_time(3)
        harness.ask(one.request())
        two.beat()
    assert len(two.partitions) == 6
    assert [each.member_id for each in described(harness).members] == ["b"]


def test_a_lost_answer_is_told_again(harness: Harness) -> None:
    one, two = member(harness, "a"), member(harness, "b")
    one.beat()
    two.beat()
    one.beat()
    one.beat(loses_answer=True)
    assert one.epoch == 1
    assert described(harness).members[0].epoch == 2
    one.beat(full=True)
    assert one.epoch == 2
    assert not one.errors


@pytest.mark.parametrize("epoch", [1, 3])
def test_an_epoch_that_is_not_the_members_is_fenced(harness: Harness, epoch: int) -> None:
    one, two = member(harness, "a"), member(harness, "b")
    one.beat()
    two.beat()
    settle(one, two)
    assert one.epoch == 2
    stale = ConsumerHeartbeat(GROUP, "a", epoch, owned=(*one.held, *two.held), client_id="x")
    assert isinstance(harness.ask(stale).reply, FencedMemberEpoch)


def test_a_joining_member_that_is_known_keeps_its_place(harness: Harness) -> None:
    one = member(harness, "a")
    one.beat()
    held = one.held
    one.epoch, one.held = 0, ()
    one.beat()
    assert one.epoch == 1
    assert one.held == held


def test_leaving_frees_partitions_at_once(harness: Harness) -> None:
    one, two = member(harness, "a"), member(harness, "b")
    one.beat()
    two.beat()
    settle(one, two)
    before = len(harness.log)
    one.leave()
    assert [(type(r), getattr(r, "member_id", None)) for r in harness.log[before:]] == [
        (CurrentRecord, "a"),
        (TargetRecord, "a"),
        (MemberRecord, "a"),
        (GroupEpochRecord, None),
    ]
    two.beat()
    assert len(two.partitions) == 6
    two.leave()
    assert described(harness).state == "Empty"


def test_an_unknown_group_and_an_unknown_member(harness: Harness) -> None:
    assert isinstance(harness.ask(ConsumerHeartbeat(GROUP, "a", 3)).reply, GroupIdNotFound)
    assert isinstance(harness.ask(ConsumerHeartbeat(GROUP, "a", -1)).reply, GroupIdNotFound)
    assert isinstance(harness.ask(ConsumerDescribe(GROUP)).reply, GroupIdNotFound)
    member(harness, "a").beat()
    assert isinstance(harness.ask(ConsumerHeartbeat(GROUP, "b", 1)).reply, UnknownMember)
    assert isinstance(harness.ask(ConsumerHeartbeat(GROUP, "b", -1)).reply, UnknownMember)


BAD = ConsumerHeartbeat(GROUP, "a", 0, rebalance_timeout_ms=1000, topics=("t",), owned=())


@pytest.mark.parametrize(
    "request_",
    [
        ConsumerHeartbeat("", "a", 0, rebalance_timeout_ms=1000, topics=("t",), owned=()),
        ConsumerHeartbeat(GROUP, "a", 0, topics=("t",), owned=()),
        ConsumerHeartbeat(GROUP, "a", 0, rebalance_timeout_ms=1000, owned=()),
        ConsumerHeartbeat(GROUP, "a", 0, rebalance_timeout_ms=1000, topics=("t",)),
        ConsumerHeartbeat(GROUP, "a", 0, instance_id="", rebalance_timeout_ms=1000, topics=("t",), owned=()),
        ConsumerHeartbeat(GROUP, "a", 0, rack="", rebalance_timeout_ms=1000, topics=("t",), owned=()),
        ConsumerHeartbeat(GROUP, "", 1),
        ConsumerHeartbeat(GROUP, "", -1),
        ConsumerHeartbeat(GROUP, "a", -2),
        ConsumerHeartbeat(GROUP, "a", -3),
    ],
)
def test_bad_requests_are_refused(harness: Harness, request_: ConsumerHeartbeat) -> None:
    assert isinstance(harness.ask(request_).reply, InvalidRequest)
    assert not harness.log


def test_an_unknown_assignor_is_refused(harness: Harness) -> None:
    reply = harness.ask(
        ConsumerHeartbeat(GROUP, "a", 0, rebalance_timeout_ms=1, topics=("t",), owned=(), assignor="best")
    ).reply
    assert isinstance(reply, UnsupportedAssignor)
    assert "uniform, range" in reply.message


def test_the_assignor_that_most_ask_for_is_taken(harness: Harness) -> None:
    members = [
        member(harness, name, assignor=assignor)
        for name, assignor in zip("abc", ("range", "range", "uniform"), strict=True)
    ]
    for each in members:
        each.beat()
    assert described(harness).assignor == "range"


def test_a_full_group_takes_nobody_more() -> None:
    harness = Harness(GroupSettings(consumer_max_size=1))
    harness.make_topic("t")
    one, two = member(harness, "a"), member(harness, "b")
    one.beat()
    two.beat()
    assert isinstance(two.errors[0], GroupMaxSizeReached)
    one.beat()
    assert not one.errors


def test_a_static_member_that_will_be_back_keeps_its_partitions(harness: Harness) -> None:
    one, two = member(harness, "a", instance_id="i"), member(harness, "b")
    one.beat()
    two.beat()
    settle(one, two)
    held, epoch = one.held, one.epoch
    harness.call(ConsumerHeartbeat(GROUP, "a", -2, instance_id="i"))
    two.beat()
    assert len(two.partitions) == 3
    other = member(harness, "c", instance_id="i")
    other.beat()
    assert other.held == held
    assert other.epoch == epoch
    one.beat()
    assert isinstance(one.errors[0], FencedInstanceId)
    assert [each.member_id for each in described(harness).members] == ["b", "c"]
    assert described(harness).state == "Stable"


def test_a_static_member_that_does_not_come_back_is_fenced(harness: Harness) -> None:
    one, two = member(harness, "a", instance_id="i"), member(harness, "b")
    one.beat()
    two.beat()
    settle(one, two)
    harness.call(ConsumerHeartbeat(GROUP, "a", -2, instance_id="i"))
    for _ in range(10):
        harness.pass_time(5)
        two.beat()
    assert len(two.partitions) == 6


def test_an_instance_id_that_is_in_use_is_not_given_away(harness: Harness) -> None:
    one, two = member(harness, "a", instance_id="i"), member(harness, "b", instance_id="i")
    one.beat()
    two.beat()
    assert isinstance(two.errors[0], UnreleasedInstanceId)
    assert isinstance(harness.ask(ConsumerHeartbeat(GROUP, "b", -1, instance_id="i")).reply, FencedInstanceId)
    assert isinstance(harness.ask(ConsumerHeartbeat(GROUP, "b", -1, instance_id="j")).reply, UnknownMember)


def test_more_partitions_begin_a_new_epoch(harness: Harness) -> None:
    one = member(harness, "a")
    one.beat()
    harness.make_topic("other", partitions=3)
    one.beat()
    assert one.epoch == 1
    harness.make_topic("t", partitions=8)
    one.beat()
    assert one.epoch == 2
    assert len(one.partitions) == 8
    harness.drop_topic("t")
    one.beat()
    one.beat()
    assert one.epoch == 3
    assert not one.partitions


def test_a_topic_that_is_not_subscribed_to_any_more_is_given_up(harness: Harness) -> None:
    harness.make_topic("u", partitions=2)
    one, two = member(harness, "a", topics=("t", "u")), member(harness, "b", topics=("u",))
    one.beat()
    two.beat()
    settle(one, two)
    one.topics = ("t",)
    one.beat(full=True)
    settle(one, two)
    assert len(one.partitions) == 6
    assert len(two.partitions) == 2


def test_commits_and_reads_of_offsets_need_the_members_epoch(harness: Harness) -> None:
    one = member(harness, "a")
    one.beat()
    group = harness.shard.state.groups[GROUP]
    group.check_commit("a", None, 1, knows_epochs=True)
    for epoch in (0, 2):
        with pytest.raises(StaleMemberEpoch):
            group.check_commit("a", None, epoch, knows_epochs=True)
        with pytest.raises(StaleMemberEpoch):
            group.check_fetch("a", epoch)
    with pytest.raises(UnknownMember):
        group.check_commit("", None, -1, knows_epochs=True)
    with pytest.raises(UnknownMember):
        group.check_fetch("b", 1)
    group.check_fetch(None, -1)
    with pytest.raises(NonEmptyGroup):
        group.check_deletion()
    one.leave()
    group.check_commit("", None, -1, knows_epochs=True)
    group.check_deletion()


def test_sessions_and_revocations_begin_anew_with_the_next_coordinator(harness: Harness) -> None:
    one, two = member(harness, "a", rebalance_timeout_ms=5000), member(harness, "b")
    one.beat()
    two.beat()
    harness.call(one.request())
    before = described(harness)
    harness.restart()
    assert described(harness) == before
    harness.pass_time(6)
    two.beat()
    assert len(two.partitions) == 6, "who had not confirmed was fenced"


def test_a_group_that_is_large_gets_its_target_in_slices() -> None:
    harness = Harness()
    harness.make_topic("t", partitions=3000)
    one = member(harness, "a")
    one.beat()
    assert one.epoch == 1
    assert not one.partitions
    assert one.interval_ms == 200
    harness.pass_time(1)
    one.beat()
    assert one.epoch == 2
    assert len(one.partitions) == 3000
    assert one.interval_ms == 5000
    two = member(harness, "b")
    two.beat()
    assert two.epoch == 2
    settle(one, two)
    harness.pass_time(1)
    settle(one, two)
    assert len(one.partitions) == len(two.partitions) == 1500


def test_a_target_whose_members_have_gone_is_for_the_others() -> None:
    harness = Harness()
    harness.make_topic("t", partitions=3000)
    one, two = member(harness, "a"), member(harness, "b")
    one.beat()
    harness.pass_time(1)
    two.beat()
    one.leave()
    harness.pass_time(1)
    settle(two)
    harness.pass_time(1)
    settle(two)
    assert len(two.partitions) == 3000


def test_a_commit_of_an_earlier_epoch_is_taken_for_what_was_held_since_then(harness: Harness) -> None:
    one, two = member(harness, "a"), member(harness, "b")
    one.beat()
    two.beat()
    settle(one, two)
    two.leave()
    settle(one)
    assert one.epoch == 3
    group = harness.shard.state.groups[GROUP]
    assert len(one.partitions) == 6
    kept = [key for key in sorted(one.partitions) if _commit_is_taken(group, 1, key)]
    assert len(kept) == 3, "the others came back in epoch 3"
    assert _commit_is_taken(group, 2, *kept)
    assert not _commit_is_taken(group, 2, *one.partitions), "all or nothing"
    assert not _commit_is_taken(group, 2, kept[0], PartitionKey(kept[0].topic_id, 99))
    assert not _commit_is_taken(group, 4, *kept)


def _commit_is_taken(group: Group, epoch: int, *partitions: PartitionKey) -> bool:
    try:
        group.check_commit("a", None, epoch, partitions, knows_epochs=True)
    except StaleMemberEpoch:
        return False
    return True
