"""The two phases of a rebalance: who is waited for, for how long, and what becomes of assignments."""

from __future__ import annotations

import pytest

from dohle.groups.classic.commands import Describe, Leaver, Synced
from dohle.groups.rebalances import Cause, Rebalance
from dohle.groups.records import ClassicGroupRecord
from dohle.model.errors import CoordinatorNotAvailable, DohleError
from dohle.model.group_errors import (
    FencedInstanceId,
    GroupIdNotFound,
    IllegalGeneration,
    InconsistentGroupProtocol,
    RebalanceInProgress,
    UnknownMember,
)
from tests.groups.classic import GROUP, INSTANT, OTHER_TOPIC, Members, is_refused, joined, not_joined, synced
from tests.groups.harness import Harness


@pytest.fixture
def group() -> Members:
    return Members(Harness(INSTANT))


def rebalances(group: Members) -> list[Rebalance]:
    told: list[Rebalance] = []
    group.harness.shard.state.rebalances.on_end = told.append
    return told


# syncing


def test_followers_wait_for_the_leader_and_late_ones_are_told_at_once(group: Members) -> None:
    told = group.join_all(*(group.ask_to_join() for _ in range(3)))
    leader, early, late = (one.member_id for one in told)
    waits = group.sync(early, 1)
    assert waits.waits
    assert group.state == "CompletingRebalance"
    own = group.sync(leader, 1, {leader: b"L", early: b"E", late: b"l", "stranger": b"S"})
    assert [synced(own), synced(waits), synced(group.sync(late, 1))] == [b"L", b"E", b"l"]
    record = group.harness.log[-1]
    assert isinstance(record, ClassicGroupRecord)
    assert record.value is not None
    assert {one.member_id: one.assignment for one in record.value.members} == {leader: b"L", early: b"E", late: b"l"}


def test_an_assignment_is_given_out_when_it_is_committed(group: Members) -> None:
    told = group.join_all(group.ask_to_join(), group.ask_to_join())
    leader, follower = (one.member_id for one in told)
    group.harness.hold()
    waiting = [group.sync(follower, 1), group.sync(leader, 1, {leader: b"L", follower: b"F"})]
    assert all(one.waits for one in waiting)
    group.harness.commit()
    assert [synced(one) for one in waiting] == [b"F", b"L"]


def test_who_is_not_assigned_anything_has_nothing(group: Members) -> None:
    told = group.join_all(group.ask_to_join(), group.ask_to_join())
    group.sync(told[0].member_id, 1, {told[0].member_id: b"all"})
    assert synced(group.sync(told[1].member_id, 1)) == b""


def test_an_assignment_that_cannot_be_written_is_withdrawn_and_all_join_again(group: Members) -> None:
    told = group.join_all(group.ask_to_join(), group.ask_to_join())
    waiting = group.sync(told[1].member_id, 1)
    group.harness.refusal = CoordinatorNotAvailable("too few replicas")
    leader = group.sync(told[0].member_id, 1, {one.member_id: b"x" for one in told})
    is_refused(waiting, CoordinatorNotAvailable)
    is_refused(leader, CoordinatorNotAvailable)
    assert group.state == "PreparingRebalance"
    assert {member.assignment for member in group.describe().members} == {b""}
    group.harness.refusal = None
    again = group.join_all(*(group.ask_to_join(one.member_id) for one in told))
    group.assign(again)


def test_a_commit_that_comes_after_the_next_rebalance_began_changes_nothing(group: Members) -> None:
    told = group.join_all(group.ask_to_join(), group.ask_to_join())
    group.harness.hold()
    leader = group.sync(told[0].member_id, 1, {one.member_id: b"x" for one in told})
    late = group.ask_to_join()
    group.harness.commit()
    is_refused(leader, RebalanceInProgress)
    assert late.waits
    assert group.state == "PreparingRebalance"
    assert {member.assignment for member in group.describe().members} == {b""}


def test_a_commit_that_comes_in_the_next_generation_assigns_nothing(group: Members) -> None:
    told = group.join_all(group.ask_to_join(), group.ask_to_join())
    group.harness.hold()
    group.sync(told[0].member_id, 1, {one.member_id: b"old" for one in told})
    for one in told:
        group.ask_to_join(one.member_id, protocols=OTHER_TOPIC)
    live = group.harness.shard.state.groups[GROUP]
    assert (live.generation, live.state) == (2, "CompletingRebalance")
    waiting = group.sync(told[1].member_id, 2)
    group.harness.commit()
    assert waiting.waits
    assert group.state == "CompletingRebalance"
    group.sync(told[0].member_id, 2, {one.member_id: b"new" for one in told})
    assert synced(waiting) == b"new"


def test_a_leader_that_brings_the_assignment_twice_is_answered_for_each(group: Members) -> None:
    (told,) = group.join_all(group.ask_to_join())
    group.harness.hold()
    first = group.sync(told.member_id, 1, {told.member_id: b"1"})
    second = group.sync(told.member_id, 1, {told.member_id: b"2"})
    group.harness.commit()
    is_refused(first, RebalanceInProgress)
    assert synced(second) == b"1", "the first that was committed"
    assert group.state == "Stable"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"generation": 2}, IllegalGeneration),
        ({"generation": 0}, IllegalGeneration),
        ({"member_id": "nobody"}, UnknownMember),
        ({"instance_id": "nobody"}, UnknownMember),
        ({"protocol_type": "connect"}, InconsistentGroupProtocol),
        ({"protocol": "sticky"}, InconsistentGroupProtocol),
    ],
)
def test_syncs_that_are_refused(group: Members, given: dict[str, object], error: type[DohleError]) -> None:
    (told,) = group.join_all(group.ask_to_join())
    is_refused(group.sync(**({"member_id": told.member_id, "generation": 1} | given)), error)  # type: ignore[arg-type]
    assert synced(group.sync(told.member_id, 1, {}, protocol_type="consumer", protocol="range")) == b""


def test_a_sync_in_no_group_and_in_an_empty_one(group: Members) -> None:
    is_refused(group.sync("m", 1), UnknownMember)
    (told,) = group.stable(1)
    group.leave(told.member_id)
    is_refused(group.sync(told.member_id, 1), UnknownMember)


def test_who_syncs_while_others_join_is_to_join(group: Members) -> None:
    told = group.stable(2)
    group.ask_to_join()
    is_refused(group.sync(told[0].member_id, 1), RebalanceInProgress)


@pytest.mark.parametrize("missing", [0, 1], ids=["the leader", "a follower"])
def test_who_does_not_sync_is_removed_after_the_rebalance_timeout(group: Members, missing: int) -> None:
    notes = rebalances(group)
    told = group.join_all(*(group.ask_to_join(rebalance_timeout_ms=8000, session_timeout_ms=60_000) for _ in range(2)))
    there = told[1 - missing]
    answer = group.sync(there.member_id, 1, {one.member_id: b"x" for one in told})
    assert answer.waits == (missing == 0)
    group.harness.pass_time(8.1)
    assert group.state == "PreparingRebalance"
    is_refused(group.heartbeat(there.member_id, 1), RebalanceInProgress)
    is_refused(group.heartbeat(told[missing].member_id, 1), UnknownMember)
    if missing == 0:
        is_refused(answer, RebalanceInProgress)
    (again,) = group.join_all(group.ask_to_join(there.member_id))
    group.assign([again])
    assert notes[-1].members == 1


def test_nobody_is_removed_whose_sync_came_in_time(group: Members) -> None:
    group.stable(3, rebalance_timeout_ms=8000, session_timeout_ms=60_000)
    group.harness.pass_time(20)
    assert group.state == "Stable"


# joining


def test_who_does_not_join_again_is_removed_after_the_rebalance_timeout(group: Members) -> None:
    notes = rebalances(group)
    told = group.stable(3, rebalance_timeout_ms=9000, session_timeout_ms=100_000)
    asked = [group.ask_to_join(told[0].member_id), group.ask_to_join(told[1].member_id)]
    group.harness.pass_time(59.9)
    assert all(one.waits for one in asked), "the time-out is the longest that a member asks for"
    group.harness.pass_time(0.2)
    again = [joined(one) for one in asked]
    assert len(again[0].members) == 2
    group.assign(again)
    note = notes[-1]
    assert note.cause is Cause.REASSIGNED
    assert note.who is not None
    assert note.who.member_id == told[0].member_id
    assert [who.member_id for who in note.removed] == [told[2].member_id]
    assert note.last is not None
    assert note.last.member_id == told[1].member_id
    assert note.ended_ms is not None
    assert note.ended_ms - note.began_ms == 60_100
    assert (note.epoch, note.members) == (2, 2)


def test_a_pending_member_is_waited_for_until_its_session_is_over(group: Members) -> None:
    told = group.stable(1, rebalance_timeout_ms=30_000)
    group.ask_to_join(needs_member_id=True)
    again = group.ask_to_join(told[0].member_id)
    assert again.waits
    group.harness.pass_time(10.1)
    assert joined(again).generation == 2


def test_a_pending_member_that_comes_is_the_last_to_be_waited_for(group: Members) -> None:
    told = group.stable(1)
    pending = group.ask_to_join(needs_member_id=True).reply.member_id
    again, late = group.ask_to_join(told[0].member_id), group.ask_to_join(pending)
    assert {joined(again).generation, joined(late).generation} == {2}
    assert joined(again).leader == told[0].member_id


def test_generations_only_grow(group: Members) -> None:
    (told,) = group.stable(1)
    for generation in range(2, 6):
        (again,) = group.join_all(group.ask_to_join(told.member_id))
        assert again.generation == generation
        group.assign([again])
    group.leave(told.member_id)
    (new,) = group.stable(1)
    assert new.generation == 7, "the empty group had one as well"


# sessions


def test_a_session_ends_without_heartbeats(group: Members) -> None:
    notes = rebalances(group)
    told = group.stable(2)
    group.harness.pass_time(6)
    for _ in range(2):
        group.heartbeat(told[0].member_id, 1)
        group.harness.pass_time(5)
    assert group.state == "PreparingRebalance"
    is_refused(group.heartbeat(told[1].member_id, 1), UnknownMember)
    (again,) = group.join_all(group.ask_to_join(told[0].member_id))
    group.assign([again])
    note = notes[-1]
    assert note.cause is Cause.SESSION_TIMED_OUT
    assert note.who is not None
    assert note.who.member_id == told[1].member_id
    assert note.silent_s == pytest.approx(10)


def test_heartbeats_and_commits_keep_a_session(group: Members) -> None:
    told = group.stable(2)
    for _ in range(5):
        group.harness.pass_time(8)
        group.harness.shard.state.groups[GROUP].committed(told[0].member_id, group.harness.moment.now_s)
        assert group.heartbeat(told[1].member_id, 1).reply is None
    assert group.state == "Stable"


def test_who_waits_for_the_others_needs_no_heartbeats(group: Members) -> None:
    told = group.stable(2)
    waiting = group.ask_to_join(told[0].member_id)
    for _ in range(5):
        group.harness.pass_time(9)
        is_refused(group.heartbeat(told[1].member_id, 1), RebalanceInProgress)
    assert waiting.waits
    group.harness.pass_time(9)
    is_refused(group.heartbeat(told[1].member_id, 1), RebalanceInProgress)
    again = group.join_all(waiting, group.ask_to_join(told[1].member_id))
    assert len(again[0].members) == 2


def test_who_waits_for_the_assignment_needs_no_heartbeats(group: Members) -> None:
    told = group.join_all(*(group.ask_to_join() for _ in range(2)))
    waiting = group.sync(told[1].member_id, 1)
    for _ in range(5):
        group.harness.pass_time(9)
        assert group.heartbeat(told[0].member_id, 1).reply is None
    group.sync(told[0].member_id, 1, {})
    assert synced(waiting) == b""
    group.harness.pass_time(9)
    assert group.heartbeat(told[1].member_id, 1).reply is None, "its session began anew"


def test_a_member_that_was_told_its_id_and_then_went_away_is_removed(group: Members) -> None:
    told = group.stable(1)
    late = group.ask_to_join()
    again = group.join_all(group.ask_to_join(told[0].member_id), late)
    group.sync(told[0].member_id, 2, {})
    for _ in range(2):
        group.harness.pass_time(5.1)
        group.heartbeat(told[0].member_id, 2)
    assert group.state == "PreparingRebalance"
    is_refused(group.heartbeat(again[1].member_id, 2), UnknownMember)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"generation": 2}, IllegalGeneration),
        ({"member_id": "nobody"}, UnknownMember),
        ({"instance_id": "nobody"}, UnknownMember),
    ],
)
def test_heartbeats_that_are_refused(group: Members, given: dict[str, object], error: type[DohleError]) -> None:
    is_refused(group.heartbeat("m", 1), UnknownMember)
    (told,) = group.stable(1)
    is_refused(group.heartbeat(**({"member_id": told.member_id, "generation": 1} | given)), error)  # type: ignore[arg-type]


# leaving


def test_the_last_one_to_leave_leaves_an_empty_group(group: Members) -> None:
    told = group.stable(2)
    assert group.leave(told[0].member_id, "nobody", told[1].member_id, told[1].member_id) == [
        None,
        UnknownMember,
        None,
        UnknownMember,
    ]
    assert group.state == "Empty"
    record = group.harness.log[-1]
    assert isinstance(record, ClassicGroupRecord)
    assert record.value is not None
    assert (record.value.generation, record.value.members, record.value.leader) == (2, (), None)
    assert record.value.protocol_type == "consumer"
    empty = group.harness.shard.state.groups[GROUP]
    assert empty.empty_since_ms == group.harness.moment.wall_ms
    assert not empty.is_simple


def test_who_leaves_while_it_waits_is_answered(group: Members) -> None:
    told = group.stable(2)
    waiting = group.ask_to_join(told[0].member_id)
    assert group.leave(told[0].member_id) == [None]
    assert not_joined(waiting, UnknownMember) == ""
    again = group.join_all(group.ask_to_join(told[1].member_id))
    waiting = group.ask_to_join()
    both = group.join_all(group.ask_to_join(again[0].member_id), waiting)
    for_assignment = group.sync(both[1].member_id, 3)
    assert group.leave(both[1].member_id) == [None]
    is_refused(for_assignment, UnknownMember)


def test_an_id_that_is_not_used_is_given_back(group: Members) -> None:
    pending = group.ask_to_join(needs_member_id=True).reply.member_id
    assert group.leave(pending) == [None]
    assert not_joined(group.ask_to_join(pending), UnknownMember) == pending


def test_the_one_who_all_wait_for_leaves(group: Members) -> None:
    told = group.stable(2)
    waiting = group.ask_to_join(told[0].member_id)
    group.leave(told[1].member_id)
    assert joined(waiting).generation == 2


def test_nobody_leaves_a_group_that_is_not_there(group: Members) -> None:
    assert group.leave("m", Leaver("", "i")) == [UnknownMember, UnknownMember]


def test_why_a_member_left_is_noted(group: Members) -> None:
    notes = rebalances(group)
    told = group.stable(3)
    group.harness.pass_time(4)
    for one in told[:2]:
        group.heartbeat(one.member_id, 1)
    group.harness.pass_time(3)
    group.leave(Leaver(told[2].member_id, None, "consumer poll timeout has expired."))
    again = group.join_all(*(group.ask_to_join(one.member_id) for one in told[:2]))
    group.assign(again)
    note = notes[-1]
    assert note.cause is Cause.POLL_TIMED_OUT
    assert note.detail == "consumer poll timeout has expired."
    assert note.silent_s == pytest.approx(7)
    group.leave(Leaver(told[1].member_id, None, "the consumer is being closed"))
    group.assign(group.join_all(group.ask_to_join(told[0].member_id)))
    assert notes[-1].cause is Cause.LEFT


def test_what_set_rebalances_off_is_told_apart(group: Members) -> None:
    notes = rebalances(group)
    told = group.stable(2)
    assert notes[-1].cause is Cause.JOINED
    changed = [group.ask_to_join(told[1].member_id, protocols=OTHER_TOPIC), group.ask_to_join(told[0].member_id)]
    group.assign(group.join_all(*changed))
    assert notes[-1].cause is Cause.SUBSCRIPTION_CHANGED
    asked = [group.ask_to_join(one.member_id, protocols=OTHER_TOPIC) for one in told]
    group.assign(group.join_all(*asked))
    assert notes[-1].cause is Cause.SUBSCRIPTION_CHANGED, "the leader's own is another one now"
    asked = [group.ask_to_join(one.member_id, protocols=OTHER_TOPIC) for one in told]
    group.assign(group.join_all(*asked))
    assert notes[-1].cause is Cause.REASSIGNED
    assert [note.epoch for note in notes] == [1, 2, 3, 4]


# the next coordinator


def test_a_loaded_group_goes_on_where_it_was(group: Members) -> None:
    told = group.stable(2, "static")
    before = group.describe()
    group.harness.pass_time(9)
    group.harness.restart()
    assert group.describe() == before
    group.harness.pass_time(9)
    assert [group.heartbeat(one.member_id, 1).reply for one in told] == [None] * 3, "sessions count from the load"
    assert synced(group.sync(told[2].member_id, 1)) == bytes([2])
    is_refused(group.heartbeat(told[0].member_id, 1, "static"), FencedInstanceId)
    group.harness.pass_time(10.1)
    assert group.state != "Stable"


def test_sessions_end_that_nobody_keeps_after_a_load(group: Members) -> None:
    group.stable(2)
    group.harness.restart()
    group.harness.pass_time(9.9)
    assert group.state == "Stable"
    group.harness.pass_time(0.2)
    assert group.state == "Empty"


def test_a_rebalance_that_the_coordinator_did_not_survive_begins_anew(group: Members) -> None:
    told = group.stable(2)
    group.ask_to_join(told[0].member_id)
    group.ask_to_join(told[1].member_id)
    group.harness.restart()
    assert group.state == "Stable"
    is_refused(group.heartbeat(told[0].member_id, 2), IllegalGeneration)
    asked = [group.ask_to_join(one.member_id, protocols=OTHER_TOPIC) for one in told]
    assert [one.generation for one in group.join_all(*asked)] == [2, 2]


def test_what_was_empty_is_loaded_empty(group: Members) -> None:
    told = group.stable(1)
    group.leave(told[0].member_id)
    group.harness.restart()
    assert group.state == "Empty"
    assert group.stable(1)[0].generation == 3


# descriptions


def test_only_a_stable_group_tells_what_its_members_brought(group: Members) -> None:
    told = group.stable(1)
    description = group.describe()
    assert (description.state, description.protocol_type, description.protocol) == ("Stable", "consumer", "range")
    (member,) = description.members
    assert (member.client_id, member.client_host, member.assignment) == ("c", "/127.0.0.1", b"\0")
    assert member.metadata
    group.ask_to_join()
    description = group.describe()
    assert (description.state, description.protocol) == ("PreparingRebalance", "")
    assert [member.metadata for member in description.members] == [b"", b""]
    assert told[0].member_id in {member.member_id for member in description.members}


def test_a_group_that_is_not_there_is_not_described(group: Members) -> None:
    is_refused(group.harness.ask(Describe("other")), GroupIdNotFound)


def test_a_member_that_answers_with_its_assignment_has_the_groups_protocol(group: Members) -> None:
    (told,) = group.stable(1)
    answer = group.sync(told.member_id, 1).reply
    assert answer == Synced("consumer", "range", b"\0")
