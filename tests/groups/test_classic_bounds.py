"""What strangers can make a coordinator keep."""

from __future__ import annotations

from dohle.groups.classic.commands import NotJoined
from dohle.groups.settings import GroupSettings
from dohle.model.group_errors import GroupMaxSizeReached, MemberIdRequired, UnknownMember
from tests.groups.classic import Members, join, joined, not_joined
from tests.groups.harness import Harness

MANY = 20_000


def one_that_works(harness: Harness) -> tuple[Members, str]:
    group = Members(harness)
    (told,) = group.stable(1)
    return group, told.member_id


def test_ids_that_nobody_uses_make_room_for_newer_ones() -> None:
    harness = Harness(GroupSettings(initial_rebalance_delay_ms=0))
    others, member_id = one_that_works(harness)
    given = [harness.ask(join(group_id="crowded", needs_member_id=True)) for _ in range(MANY)]
    ids = [not_joined(asked, MemberIdRequired) for asked in given]
    newcomers = harness.shard.classic._phases.newcomers
    assert newcomers.counted_bytes <= 16 << 20
    assert len(newcomers) < MANY
    assert len(harness.shard.state.timers._heap) < 3 * len(newcomers), "timers that are set no more go as well"
    assert not_joined(harness.ask(join(ids[0], group_id="crowded")), UnknownMember) == ids[0]
    asked = harness.ask(join(ids[-1], group_id="crowded"))
    assert others.heartbeat(member_id, 1).reply is None
    harness.pass_time(1)
    assert joined(asked).generation == 1, "an initial rebalance waits for nobody"
    harness.pass_time(10)
    assert len(newcomers) == 0


def test_members_that_never_go_on_are_refused_beyond_a_bound_and_others_are_unharmed() -> None:
    harness = Harness(GroupSettings(initial_rebalance_delay_ms=0))
    others, member_id = one_that_works(harness)
    given = [harness.ask(join(group_id="crowded", rebalance_timeout_ms=300_000)) for _ in range(MANY)]
    refused = [asked for asked in given if not asked.waits]
    assert refused
    assert all(isinstance(asked.reply, NotJoined) for asked in refused)
    assert not_joined(refused[0], GroupMaxSizeReached) == ""
    assert harness.shard.classic._phases.newcomers.counted_bytes <= 16 << 20
    assert others.heartbeat(member_id, 1).reply is None
    harness.pass_time(11)
    assert harness.shard.state.groups["crowded"].state == "Empty"
    assert len(harness.shard.classic._phases.newcomers) == 0


def test_what_is_made_up_leaves_nothing() -> None:
    harness = Harness()
    for number in range(1000):
        not_joined(harness.ask(join(f"made-up-{number}", group_id=f"g{number % 7}")), UnknownMember)
    assert not harness.shard.state.groups
    assert not harness.log


def test_one_subscription_is_not_larger_than_all_may_be() -> None:
    harness = Harness()
    huge = (("range", bytes(17 << 20)),)
    assert not_joined(harness.ask(join(protocols=huge)), GroupMaxSizeReached) == ""
    assert len(harness.shard.classic._phases.newcomers) == 0
