"""Where rare things are seen that happen to groups: who coordinates them, who is fenced, what is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from dohle.broker.groups.led_shard import LedShard
from dohle.groups.consumer.membership import Memberships
from dohle.groups.offsets import Commit, Offsets
from dohle.groups.outcome import NOTHING, Moment, Outcome, Ticket
from dohle.groups.rebalances import Cause
from dohle.model.group_errors import UnknownMember
from dohle.testing.invariants.rarities import Counts, Wrapped, around

WRAPS: list[Wrapped] = []

_around = partial(around, WRAPS)


@_around(LedShard, LedShard._loaded)
def _(counts: Counts, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def loaded(self: LedShard) -> None:
        await original(self)
        counts.add("groups are taken over by another coordinator", self.loaded > 0)

    return loaded


@_around(LedShard, LedShard.resign)
def _(counts: Counts, original: Callable[..., None]) -> Callable[..., None]:
    def resign(self: LedShard) -> None:
        counts.add("a coordinator resigns while somebody waits", any(not one.done() for one in self._asked.values()))
        original(self)

    return resign


@_around(Memberships, Memberships._time_out)
def _(counts: Counts, original: Callable[..., Outcome]) -> Callable[..., Outcome]:
    def time_out(self: Memberships, group_id: str, member_id: str, cause: Cause, *rest: Any) -> Outcome:
        outcome = original(self, group_id, member_id, cause, *rest)
        if outcome is not NOTHING:
            counts.add("a member's session ends", cause is Cause.SESSION_TIMED_OUT)
            counts.add("a member does not give up in time", cause is Cause.POLL_TIMED_OUT)
        return outcome

    return time_out


@_around(Offsets, Offsets.commit)
def _(counts: Counts, original: Callable[..., Outcome]) -> Callable[..., Outcome]:
    def commit(self: Offsets, command: Commit, ticket: Ticket, moment: Moment) -> Outcome:
        outcome = original(self, command, ticket, moment)
        replies = outcome.replies[ticket]
        counts.add("a commit of a fenced member is refused", any(isinstance(one, UnknownMember) for one in replies))
        return outcome

    return commit
