"""Who may join a classic group, as whom, and what they are told."""

from __future__ import annotations

import pytest

from dohle.groups.classic.commands import Joined
from dohle.groups.records import ClassicGroupRecord
from dohle.groups.settings import GroupSettings
from dohle.groups.subscription import Subscription, encode_subscription
from dohle.model.errors import CoordinatorNotAvailable, UnknownServerError
from dohle.model.group_errors import (
    GroupMaxSizeReached,
    InconsistentGroupProtocol,
    InvalidSessionTimeout,
    MemberIdRequired,
    UnknownMember,
)
from tests.groups.classic import GROUP, INSTANT, OTHER_TOPIC, RANGE, Members, join, joined, not_joined
from tests.groups.harness import Asked, Harness

SUBSCRIBED = encode_subscription(Subscription(("t",)))


def members(settings: GroupSettings = INSTANT) -> Members:
    return Members(Harness(settings))


def test_who_comes_without_an_id_is_given_one_and_joins_with_it() -> None:
    group = members()
    member_id = not_joined(group.ask_to_join(needs_member_id=True), MemberIdRequired)
    assert member_id.startswith("c-")
    assert len(member_id) == len("c-") + 36
    assert group.harness.log == [ClassicGroupRecord(GROUP, group.harness.log[0].value)]
    assert group.state == "Empty"
    asked = group.ask_to_join(member_id, needs_member_id=True)
    (told,) = group.join_all(asked)
    assert told.member_id == told.leader == member_id
    assert told.generation == 1
    assert told.protocol_type == "consumer"
    assert told.protocol == "range"
    assert [member.metadata for member in told.members] == [SUBSCRIBED]


def test_old_clients_join_at_once() -> None:
    group = members()
    (told,) = group.join_all(group.ask_to_join())
    assert told.member_id == told.leader


def test_an_id_that_is_not_used_is_given_up_after_a_session() -> None:
    group = members()
    member_id = not_joined(group.ask_to_join(needs_member_id=True, session_timeout_ms=6000), MemberIdRequired)
    group.harness.pass_time(6.1)
    assert not_joined(group.ask_to_join(member_id), UnknownMember) == member_id


def test_a_member_that_nobody_knows_does_not_make_a_group() -> None:
    group = members()
    assert not_joined(group.ask_to_join("made-up"), UnknownMember) == "made-up"
    assert not group.harness.log
    group.stable(1)
    assert not_joined(group.ask_to_join("made-up"), UnknownMember) == "made-up"


@pytest.mark.parametrize("session_ms", [5999, 1_800_001, -1])
def test_sessions_are_within_what_the_operator_allows(session_ms: int) -> None:
    assert not_joined(members().ask_to_join("x", session_timeout_ms=session_ms), InvalidSessionTimeout) == "x"


@pytest.mark.parametrize("given", [{"protocol_type": ""}, {"protocols": ()}])
def test_an_empty_group_takes_whoever_brings_a_protocol(given: dict[str, object]) -> None:
    group = members()
    assert not_joined(group.ask_to_join(**given), InconsistentGroupProtocol) == ""
    assert not group.harness.log, "a refused join makes no group"


@pytest.mark.parametrize("given", [{"protocol_type": "connect"}, {"protocols": (("sticky", b""),)}])
def test_all_members_have_a_protocol_in_common(given: dict[str, object]) -> None:
    group = members()
    (told,) = group.stable(1)
    assert not_joined(group.ask_to_join(**given), InconsistentGroupProtocol) == ""
    assert not_joined(group.ask_to_join(told.member_id, **given), InconsistentGroupProtocol) == told.member_id
    assert group.state == "Stable"


def test_the_protocol_that_all_support_and_most_want_is_chosen() -> None:
    group = members()
    brought = ["ab", "ba", "bac"]
    asked = [group.ask_to_join(protocols=tuple((name, name.encode()) for name in names)) for names in brought]
    told = group.join_all(*asked)
    assert {one.protocol for one in told} == {"b"}
    assert [member.metadata for member in told[0].members] == [b"b"] * 3
    late = group.ask_to_join(protocols=(("c", b""), ("a", b"")))
    again = [
        group.ask_to_join(one.member_id, protocols=tuple((name, name.encode()) for name in names))
        for one, names in zip(told, brought, strict=True)
    ]
    assert {one.protocol for one in group.join_all(late, *again)} == {"a"}, "the only one that all support"


def test_a_group_that_was_empty_takes_another_protocol_type() -> None:
    group = members()
    (told,) = group.stable(1)
    assert group.leave(told.member_id) == [None]
    (other,) = group.join_all(group.ask_to_join(protocol_type="connect", protocols=(("compatible", b"x"),)))
    assert other.protocol_type == "connect"
    assert other.generation == 3


def test_the_initial_delay_is_extended_as_long_as_others_come_up_to_the_rebalance_timeout() -> None:
    group = members(GroupSettings(initial_rebalance_delay_ms=3000))
    asked = [group.ask_to_join(rebalance_timeout_ms=8000)]
    for _ in range(3):
        group.harness.pass_time(2.5)
        asked.append(group.ask_to_join(rebalance_timeout_ms=8000))
    assert all(one.waits for one in asked)
    group.harness.pass_time(0.6)
    assert {joined(one).generation for one in asked} == {1}


def test_nobody_else_comes_and_the_initial_delay_is_all() -> None:
    group = members(GroupSettings(initial_rebalance_delay_ms=3000))
    asked = group.ask_to_join()
    group.harness.pass_time(2.9)
    assert asked.waits
    group.harness.pass_time(0.2)
    assert joined(asked).generation == 1


def test_a_follower_that_joins_again_unchanged_is_told_what_it_knew() -> None:
    group = members()
    told = group.stable(2)
    again = joined(group.ask_to_join(told[1].member_id))
    assert again == told[1]
    assert group.state == "Stable"


def test_a_leader_that_joins_again_sets_off_a_rebalance() -> None:
    group = members()
    told = group.stable(2)
    assert group.ask_to_join(told[0].member_id).waits
    assert group.state == "PreparingRebalance"


def test_a_follower_that_wants_something_else_sets_off_a_rebalance() -> None:
    group = members()
    told = group.stable(2)
    asked = [group.ask_to_join(told[1].member_id, protocols=OTHER_TOPIC), group.ask_to_join(told[0].member_id)]
    assert [one.generation for one in group.join_all(*asked)] == [2, 2]


def test_while_the_leader_assigns_the_same_join_is_answered_again_and_another_begins_anew() -> None:
    group = members()
    told = group.join_all(group.ask_to_join(), group.ask_to_join())
    assert joined(group.ask_to_join(told[0].member_id)) == told[0], "the leader, with the members"
    assert joined(group.ask_to_join(told[1].member_id)) == told[1]
    waiting = group.sync(told[1].member_id, 1)
    assert group.ask_to_join(told[0].member_id, protocols=OTHER_TOPIC).waits
    assert group.state == "PreparingRebalance"
    assert not waiting.waits, "told to join again"


def test_who_asks_twice_to_join_is_answered_once_for_each() -> None:
    group = members()
    told = group.stable(2)
    first = group.ask_to_join(told[0].member_id)
    second = group.ask_to_join(told[0].member_id)
    assert not first.waits
    group.join_all(group.ask_to_join(told[1].member_id))
    assert joined(second).generation == 2


def test_the_leader_that_does_not_come_is_followed_by_another() -> None:
    group = members()
    told = group.stable(2)
    asked = group.ask_to_join(told[1].member_id, protocols=OTHER_TOPIC, rebalance_timeout_ms=5000)
    for _ in range(12):
        group.heartbeat(told[0].member_id, 1)
        group.harness.pass_time(5)
    answer = joined(asked)
    assert answer.leader == told[1].member_id
    assert [member.member_id for member in answer.members] == [told[1].member_id]


def test_a_new_member_that_went_away_is_waited_for_five_minutes() -> None:
    group = members()
    (told,) = group.stable(1, rebalance_timeout_ms=600_000)
    gone = group.ask_to_join(rebalance_timeout_ms=600_000)
    for _ in range(59):
        group.heartbeat(told.member_id, 1)
        group.harness.pass_time(5)
        assert gone.waits
    group.heartbeat(told.member_id, 1)
    group.harness.pass_time(5.1)
    assert not_joined(gone, UnknownMember) == ""


def test_an_id_was_not_given_to_a_static_member() -> None:
    group = members()
    member_id = not_joined(group.ask_to_join(needs_member_id=True), MemberIdRequired)
    assert not_joined(group.ask_to_join(member_id, "i"), UnknownServerError) == member_id


def test_a_group_that_cannot_be_written_is_not_made() -> None:
    group = members()
    group.harness.refusal = CoordinatorNotAvailable("too few replicas")
    timers = group.harness.shard.next_s()
    asked = [group.ask_to_join(needs_member_id=True), group.ask_to_join("", "i"), group.ask_to_join()]
    assert isinstance(asked[0].reply, CoordinatorNotAvailable)
    for waited in asked[1:]:
        not_joined(waited, CoordinatorNotAvailable)
    assert not group.harness.shard.state.groups
    assert group.harness.shard.next_s() == timers, "nothing is left behind"
    group.harness.refusal = None
    assert group.stable(1)[0].generation == 1


# the size of a group


def limited(most: int, **given: int) -> Members:
    return members(GroupSettings(max_size=most, **({"initial_rebalance_delay_ms": 0} | given)))


def outcomes(asked: list[Asked]) -> list[bool]:
    """Who was let in."""
    return [isinstance(one.reply, Joined) for one in asked]


def test_ids_are_given_to_more_than_may_join() -> None:
    group = limited(2)
    ids = [not_joined(group.ask_to_join(needs_member_id=True), MemberIdRequired) for _ in range(4)]
    asked = [group.ask_to_join(member_id) for member_id in ids]
    group.harness.pass_time(60)
    assert outcomes(asked) == [True, True, False, False]
    assert not_joined(asked[3], GroupMaxSizeReached) == ""


def test_no_more_join_than_may() -> None:
    group = limited(2, initial_rebalance_delay_ms=1000)
    asked = [group.ask_to_join() for _ in range(4)]
    group.harness.pass_time(3)
    assert outcomes(asked) == [True, True, False, False]
    told = [joined(one) for one in asked[:2]]
    group.assign(told)
    not_joined(group.ask_to_join(), GroupMaxSizeReached)
    not_joined(group.ask_to_join("", "static"), GroupMaxSizeReached)
    assert joined(group.ask_to_join(told[1].member_id)), "who is in stays in"


def test_a_loaded_group_that_is_too_large_gets_rid_of_the_last() -> None:
    group = limited(4)
    told = group.stable(4)
    group.harness.settings = GroupSettings(max_size=2)
    group.harness.restart()
    assert group.state == "PreparingRebalance"
    asked = [group.ask_to_join(one.member_id) for one in told]
    group.harness.pass_time(0)
    assert [one.waits for one in asked] == [True, True, False, False]
    group.harness.pass_time(60)
    assert outcomes(asked) == [True, True, False, False]
    assert len(group.describe().members) == 2


def test_what_a_subscription_takes_is_what_it_takes() -> None:
    assert join(client_id="abc", protocols=(("r", b"12"),)).size_bytes == 6
    assert join(protocols=RANGE).size_bytes == len("c") + len("range") + len(SUBSCRIBED)
