"""Static members of classic groups (KIP-345, KIP-814): who comes back under an instance id, and who is fenced."""

from __future__ import annotations

import pytest

from dohle.groups.classic.commands import Joined, Leaver
from dohle.groups.records import ClassicGroupRecord
from dohle.model.errors import CoordinatorNotAvailable
from dohle.model.group_errors import FencedInstanceId, IllegalGeneration, InconsistentGroupProtocol, UnknownMember
from tests.groups.classic import GROUP, INSTANT, OTHER_TOPIC, RANGE, Members, is_refused, joined, not_joined, synced
from tests.groups.harness import Harness

TWO = (*RANGE, ("sticky", b"s"))


@pytest.fixture
def group() -> Members:
    return Members(Harness(INSTANT))


def pair(group: Members) -> tuple[Joined, Joined]:
    """A stable group of two static members, `leader` and `follower`."""
    told = group.stable(0, "leader", "follower", rebalance_timeout_ms=20_000, session_timeout_ms=30_000)
    return told[0], told[1]


def comes_back(group: Members, instance: str, **given: object) -> Joined:
    return joined(group.ask_to_join("", instance, rebalance_timeout_ms=20_000, session_timeout_ms=30_000, **given))


def instances(group: Members) -> dict[str | None, str]:
    return {member.instance_id: member.member_id for member in group.describe().members}


# coming back to a stable group


def test_a_follower_comes_back_without_a_rebalance(group: Members) -> None:
    leader, follower = pair(group)
    again = comes_back(group, "follower")
    assert again.member_id.startswith("follower-")
    assert again.member_id != follower.member_id
    assert (again.generation, again.leader, again.members, again.skip_assignment) == (1, leader.member_id, (), False)
    assert group.state == "Stable"
    assert synced(group.sync(again.member_id, 1)) == bytes([1]), "its former assignment"
    assert group.heartbeat(leader.member_id, 1).reply is None
    is_refused(group.heartbeat(follower.member_id, 1, "follower"), FencedInstanceId)
    is_refused(group.sync(follower.member_id, 1, None, "follower"), FencedInstanceId)
    is_refused(group.heartbeat(follower.member_id, 1), UnknownMember)
    assert not_joined(group.ask_to_join(follower.member_id, "follower"), FencedInstanceId) == follower.member_id
    record = group.harness.log[-1]
    assert isinstance(record, ClassicGroupRecord)
    assert record.value is not None
    assert {one.member_id: one.assignment for one in record.value.members} == {
        leader.member_id: bytes([0]),
        again.member_id: bytes([1]),
    }


def test_a_leader_comes_back_and_has_nothing_to_assign(group: Members) -> None:
    leader, follower = pair(group)
    again = comes_back(group, "leader")
    assert again.leader == again.member_id
    assert again.skip_assignment
    assert {member.member_id for member in again.members} == {again.member_id, follower.member_id}
    assert synced(group.sync(again.member_id, 1)) == bytes([0])
    assert group.state == "Stable"
    assert leader.member_id not in instances(group).values()


def test_an_old_leader_that_comes_back_does_not_take_itself_for_one(group: Members) -> None:
    leader, _ = pair(group)
    again = comes_back(group, "leader", can_skip_assignment=False)
    assert (again.leader, again.members, again.skip_assignment) == (leader.member_id, (), False)


def test_the_new_id_is_told_when_it_is_committed(group: Members) -> None:
    pair(group)
    group.harness.hold()
    asked = group.ask_to_join("", "follower")
    assert asked.waits
    group.harness.commit()
    assert joined(asked).generation == 1
    told = instances(group)
    group.harness.restart()
    assert instances(group) == told


def test_an_id_that_cannot_be_written_is_taken_back(group: Members) -> None:
    _, follower = pair(group)
    group.harness.refusal = CoordinatorNotAvailable("too few replicas")
    asked = group.ask_to_join("", "follower", protocols=TWO)
    assert not_joined(asked, CoordinatorNotAvailable) == ""
    group.harness.refusal = None
    assert instances(group)["follower"] == follower.member_id
    assert group.heartbeat(follower.member_id, 1, "follower").reply is None
    assert synced(group.sync(follower.member_id, 1, None, "follower")) == bytes([1])
    group.harness.pass_time(29)
    assert group.state == "Stable"


def test_the_second_one_to_come_back_fences_the_first_which_still_waits(group: Members) -> None:
    _, follower = pair(group)
    group.harness.hold()
    asked = [group.ask_to_join("", "follower") for _ in range(3)]
    group.harness.commit()
    for one in asked[:2]:
        assert not_joined(one, FencedInstanceId) not in ("", follower.member_id)
    assert joined(asked[2]).member_id == instances(group)["follower"]


def test_a_rebalance_that_begins_meanwhile_answers_it(group: Members) -> None:
    leader, _ = pair(group)
    group.harness.hold()
    asked = group.ask_to_join("", "follower")
    again = group.ask_to_join(leader.member_id, "leader")
    group.harness.commit()
    assert {joined(asked).generation, joined(again).generation} == {2}


def test_a_commit_during_a_rebalance_answers_nobody(group: Members) -> None:
    told = group.stable(0, "a", "b", "c")
    group.harness.hold()
    asked = group.ask_to_join("", "b")
    group.ask_to_join(told[0].member_id, "a")
    group.harness.commit()
    assert asked.waits
    group.ask_to_join(told[2].member_id, "c")
    assert joined(asked).generation == 2


def test_another_protocol_is_no_rebalance_unless_it_is_chosen(group: Members) -> None:
    group.assign(
        group.join_all(group.ask_to_join("", "leader", protocols=TWO), group.ask_to_join("", "follower", protocols=TWO))
    )
    assert comes_back(group, "follower", protocols=tuple(reversed(TWO))).generation == 1, "votes are even, or as before"
    assert group.state == "Stable"
    asked = group.ask_to_join("", "follower", protocols=(TWO[1],))
    assert asked.waits
    assert group.state == "PreparingRebalance"


def test_the_new_id_has_a_session_of_its_own(group: Members) -> None:
    leader, _ = pair(group)
    group.harness.pass_time(20)
    again = comes_back(group, "follower")
    group.heartbeat(leader.member_id, 1)
    group.harness.pass_time(20)
    group.heartbeat(leader.member_id, 1)
    assert group.state == "Stable"
    group.harness.pass_time(11)
    assert group.state == "PreparingRebalance"
    assert again.member_id not in instances(group).values()


def test_it_comes_back_again_and_again_under_other_ids(group: Members) -> None:
    pair(group)
    ids = {comes_back(group, "follower").member_id for _ in range(5)}
    assert len(ids) == 5
    assert len(group.describe().members) == 2


# coming back with its id


def test_a_follower_that_joins_with_its_id_is_told_what_it_knew(group: Members) -> None:
    _, follower = pair(group)
    assert joined(group.ask_to_join(follower.member_id, "follower")) == follower
    assert group.state == "Stable"


def test_a_leader_that_joins_with_its_id_sets_off_a_rebalance(group: Members) -> None:
    leader, _ = pair(group)
    assert group.ask_to_join(leader.member_id, "leader").waits
    assert group.state == "PreparingRebalance"


def test_a_follower_that_wants_something_else_sets_one_off(group: Members) -> None:
    leader, follower = pair(group)
    asked = [
        group.ask_to_join(follower.member_id, "follower", protocols=OTHER_TOPIC),
        group.ask_to_join(leader.member_id, "leader"),
    ]
    assert {joined(one).generation for one in asked} == {2}


@pytest.mark.parametrize("instance", ["follower", "leader"])
def test_an_id_under_another_ones_name_is_fenced(group: Members, instance: str) -> None:
    leader, follower = pair(group)
    wrong = leader if instance == "follower" else follower
    assert not_joined(group.ask_to_join(wrong.member_id, instance), FencedInstanceId) == wrong.member_id
    is_refused(group.sync(wrong.member_id, 1, None, instance), FencedInstanceId)
    is_refused(group.heartbeat(wrong.member_id, 1, instance), FencedInstanceId)
    assert not_joined(group.ask_to_join(wrong.member_id, "nobody"), UnknownMember) == wrong.member_id
    with pytest.raises(FencedInstanceId):
        group.harness.shard.state.groups[GROUP].check_commit(wrong.member_id, instance, 1, knows_epochs=True)


def test_what_does_not_fit_is_refused_first(group: Members) -> None:
    pair(group)
    assert not_joined(group.ask_to_join("", "follower", protocols=(("x", b""),)), InconsistentGroupProtocol) == ""


# rebalances


def test_while_the_leader_assigns_one_that_comes_back_sets_off_another_rebalance(group: Members) -> None:
    told = group.join_all(group.ask_to_join("", "leader"), group.ask_to_join("", "follower"))
    waiting = group.sync(told[1].member_id, 1, None, "follower")
    again = group.ask_to_join("", "follower")
    is_refused(waiting, FencedInstanceId)
    assert again.waits
    assert group.state == "PreparingRebalance"
    assert joined(group.ask_to_join(told[0].member_id, "leader")).generation == 2
    assert joined(again).generation == 2


def test_while_all_join_the_one_that_comes_back_takes_the_place_of_the_one_that_waits(group: Members) -> None:
    told = group.stable(0, "a", "b", "c")
    group.ask_to_join(told[0].member_id, "a")
    waiting = group.ask_to_join(told[1].member_id, "b")
    again = group.ask_to_join("", "b")
    assert not_joined(waiting, FencedInstanceId) == told[1].member_id
    assert again.waits
    group.ask_to_join(told[2].member_id, "c")
    assert joined(again).generation == 2
    assert set(instances(group)) == {"a", "b", "c"}


@pytest.mark.parametrize("missing", ["leader", "follower"])
def test_a_static_member_that_does_not_join_stays_until_its_session_is_over(group: Members, missing: str) -> None:
    leader, follower = pair(group)
    there = follower if missing == "leader" else leader
    here = "follower" if missing == "leader" else "leader"
    group.heartbeat(leader.member_id, 1)
    given = {"session_timeout_ms": 60_000, "rebalance_timeout_ms": 20_000}
    asked = group.ask_to_join(there.member_id, here, protocols=OTHER_TOPIC, **given)
    group.harness.pass_time(20.1)
    told = joined(asked)
    assert told.generation == 2
    assert told.leader == there.member_id, "of those that have come"
    assert {member.instance_id for member in told.members} == {"leader", "follower"}
    group.sync(there.member_id, 2, {}, here)
    group.harness.pass_time(20.1)
    assert group.state == "PreparingRebalance", "it has not asked for its assignment"
    assert set(instances(group)) == {here}


def test_a_rebalance_that_nobody_joins_waits_for_the_sessions_of_static_members(group: Members) -> None:
    leader, follower = pair(group)
    changes = group.ask_to_join(leader.member_id, "leader", protocols=OTHER_TOPIC)
    again = group.ask_to_join("", "leader", protocols=OTHER_TOPIC)
    assert not_joined(changes, FencedInstanceId) == leader.member_id
    assert group.leave(Leaver("", "leader")) == [None]
    assert not_joined(again, UnknownMember) == ""
    group.harness.pass_time(20.1)
    assert group.state == "PreparingRebalance"
    assert set(instances(group)) == {"follower"}
    group.harness.pass_time(20)
    assert group.state == "Empty"
    is_refused(group.heartbeat(follower.member_id, 1, "follower"), UnknownMember)


def test_without_anybody_who_has_come_there_is_no_next_generation(group: Members) -> None:
    told = group.stable(0, "a", "b", session_timeout_ms=200_000, rebalance_timeout_ms=10_000)
    assert group.leave(Leaver("", "a")) == [None]
    group.harness.pass_time(35)
    live = group.harness.shard.state.groups[GROUP]
    assert (live.generation, live.state) == (1, "PreparingRebalance")
    given = {"session_timeout_ms": 200_000, "rebalance_timeout_ms": 10_000}
    assert joined(group.ask_to_join(told[1].member_id, "b", **given)).generation == 2


# leaving


def test_an_operator_removes_static_members_by_their_names(group: Members) -> None:
    leader, follower = pair(group)
    told = group.leave(
        Leaver("", "nobody"), Leaver("", None), Leaver(leader.member_id, "follower"), Leaver("", "follower")
    )
    assert told == [UnknownMember, UnknownMember, FencedInstanceId, None]
    assert group.state == "PreparingRebalance"
    assert group.leave(Leaver(leader.member_id, "leader")) == [None]
    assert group.state == "Empty"
    assert follower.member_id not in instances(group).values()


def test_commits_of_static_members_are_checked(group: Members) -> None:
    leader, _ = pair(group)
    live = group.harness.shard.state.groups[GROUP]
    live.check_commit(leader.member_id, "leader", 1, knows_epochs=True)
    live.check_commit(leader.member_id, None, 1, knows_epochs=True)
    for member_id, instance, epoch, error in (
        (leader.member_id, "leader", 2, IllegalGeneration),
        (leader.member_id, "leader", -1, IllegalGeneration),
        ("", None, -1, UnknownMember),
        ("", None, 1, UnknownMember),
        ("nobody", None, 1, UnknownMember),
    ):
        with pytest.raises(error):
            live.check_commit(member_id, instance, epoch, knows_epochs=True)
