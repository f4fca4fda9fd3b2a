"""How groups stand, and what operators change of them: refused while there are members, and never by halves."""

from __future__ import annotations

import pytest

from dohle.groups.classic.commands import Leave, Leaver, Sync
from dohle.groups.consumer.commands import ConsumerHeartbeat
from dohle.groups.group import CLASSIC, CONSUMER
from dohle.groups.offsets import Commit, OffsetToCommit
from dohle.groups.records import CommittedOffset
from dohle.groups.standing import DescribeStanding, ListOffsets, ListStandings, RemoveGroup, ResetOffsets
from dohle.groups.subscription import MemberAssignment, encode_assignment
from dohle.model.errors import UnknownTopicOrPartition
from dohle.model.group_errors import GroupIdNotFound, NonEmptyGroup
from dohle.model.ids import TopicPartition
from tests.groups.classic import GROUP, INSTANT, join, joined
from tests.groups.harness import Harness


def harness() -> Harness:
    made = Harness(INSTANT)
    made.make_topic("t", 3)
    return made


def offsets(*values: int) -> tuple[tuple[TopicPartition, int], ...]:
    return tuple((TopicPartition("t", number), offset) for number, offset in enumerate(values))


def committed(at: Harness, group: str = GROUP) -> dict[TopicPartition, int]:
    return {name: value.offset for name, value in at.call(DescribeStanding(group)).offsets}


def stable(at: Harness, assignment: bytes, **given) -> str:
    """Has one member join and sync; returns its id."""
    asked = at.ask(join(**given))
    at.pass_time(0)
    answer = joined(asked)
    at.call(
        Sync(GROUP, answer.member_id, given.get("instance_id"), answer.generation, ((answer.member_id, assignment),))
    )
    return answer.member_id


def test_a_group_that_is_not_there_gets_offsets_of_which_a_dry_run_writes_none():
    at = harness()
    with pytest.raises(GroupIdNotFound, match="there is no group g"):
        at.call(DescribeStanding(GROUP))
    at.call(ResetOffsets(GROUP, offsets(5, 6), validate_only=True))
    assert at.log == []
    at.call(ResetOffsets(GROUP, offsets(5, 6)))
    assert committed(at) == dict(offsets(5, 6))
    at.restart()
    assert committed(at) == dict(offsets(5, 6))
    assert at.call(ListOffsets()) == {GROUP: offsets(5, 6)}


def test_a_reset_is_all_or_nothing():
    at = harness()
    with pytest.raises(UnknownTopicOrPartition):
        at.call(ResetOffsets(GROUP, (*offsets(5), (TopicPartition("u", 0), 1))))
    assert at.log == []


def test_who_has_members_is_refused_with_their_names_until_they_have_left():
    at = harness()
    given = MemberAssignment((("t", (0, 2)),))
    member = stable(at, encode_assignment(given), instance_id="pod-1")
    written = len(at.log)
    for command in (ResetOffsets(GROUP, offsets(5)), RemoveGroup(GROUP), ResetOffsets(GROUP, offsets(5), True)):
        with pytest.raises(
            NonEmptyGroup, match=r"g is Stable and has members, so .*: stop pod-1 \(c at 127\.0\.0\.1\)"
        ):
            at.call(command)
    assert len(at.log) == written
    at.call(Leave(GROUP, (Leaver(member, "pod-1"),)))
    at.pass_time(0)
    at.call(ResetOffsets(GROUP, offsets(5)))
    at.call(RemoveGroup(GROUP, validate_only=True))
    assert committed(at) == dict(offsets(5))
    at.call(RemoveGroup(GROUP))
    with pytest.raises(GroupIdNotFound):
        at.call(RemoveGroup(GROUP))


def test_a_classic_group_is_described_by_what_its_members_are_assigned():
    at = harness()
    member = stable(at, encode_assignment(MemberAssignment((("t", (2, 0)),))))
    at.call(Commit(GROUP, (OffsetToCommit("t", 0, 7),), member, None, 1))
    standing = at.call(DescribeStanding(GROUP))
    (one,) = standing.members
    assert one.assigned == (TopicPartition("t", 0), TopicPartition("t", 2))
    assert (one.who.member_id, one.leads, one.state) == (member, True, "")
    assert (standing.state, standing.assignor, standing.epoch, standing.empty_since_ms) == ("Stable", "range", 1, -1)
    ((name, value),) = standing.offsets
    assert (name, value.offset) == (TopicPartition("t", 0), 7)
    assert isinstance(value, CommittedOffset)
    at.pass_time(0)
    (kept,) = at.call(DescribeStanding(GROUP)).rebalances
    assert (kept.number, kept.rebalance.epoch, kept.rebalance.members) == (0, 1, 1)
    (listed,) = at.call(ListStandings())
    assert (listed.group_id, listed.members, listed.kind) == (GROUP, 1, CLASSIC)


def test_an_assignment_that_only_clients_can_read_is_said_to_be_one():
    at = harness()
    stable(at, b"\x00")
    (one,) = at.call(DescribeStanding(GROUP)).members
    assert one.assigned is None


def test_who_keeps_a_rebalance_waiting_is_told_while_it_is_under_way():
    at = harness()
    first = stable(at, encode_assignment(MemberAssignment((("t", (0,)),))))
    at.ask(join(client_id="d"))
    standing = at.call(DescribeStanding(GROUP))
    assert standing.under_way is not None
    assert standing.under_way.who is not None
    assert standing.under_way.who.client_id == "d"
    states = {one.who.member_id == first: one.state for one in standing.members}
    assert states == {True: "has not joined again yet", False: ""}


def test_a_group_of_the_new_protocol_is_described_by_the_names_of_its_topics():
    at = harness()
    answer = at.call(
        ConsumerHeartbeat("new", "m", 0, rebalance_timeout_ms=1000, topics=("t",), owned=(), client_id="c")
    )
    at.pass_time(1)
    at.call(ConsumerHeartbeat("new", "m", answer.member_epoch, client_id="c"))
    at.pass_time(1)
    standing = at.call(DescribeStanding("new"))
    (one,) = standing.members
    assert one.assigned == tuple(TopicPartition("t", number) for number in range(3))
    assert (standing.kind, standing.assignor, one.who.client_id) == (CONSUMER, "uniform", "c")
    assert one.epoch > 0
    with pytest.raises(NonEmptyGroup, match="stop m "):
        at.call(ResetOffsets("new", offsets(1)))
    at.drop_topic("t")
    assert at.call(DescribeStanding("new")).members[0].assigned == ()
