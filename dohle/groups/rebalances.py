"""Rebalances as people ask about them: who set one off and why, who kept the others waiting, when it was over.

What is under way is in memory alone, and lost with the coordinator. What has ended is told to whoever listens, once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum


class Cause(Enum):
    """Why a group rebalances, in words for people."""

    JOINED = "joined"
    LEFT = "left"
    SESSION_TIMED_OUT = "session timed out"
    POLL_TIMED_OUT = "poll timed out"
    SUBSCRIPTION_CHANGED = "subscription changed"
    REASSIGNED = "asked for a new assignment"
    TOPICS_CHANGED = "topics changed"
    COORDINATOR = "the coordinator began it"


@dataclass(frozen=True, slots=True)
class Who:
    """A member, as it was then. `instance_id` None: not a static one."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str


@dataclass(frozen=True, slots=True)
class Rebalance:
    """One rebalance. Times are milliseconds by the wall clock.

    `who` None: no member set it off. `detail`: what the client gave as its reason, or what else is known; "" if
    nothing. `silent_s`: for how long the member had then neither joined nor committed, which is how long its poll took;
    None where that is not known. `epoch`: the generation or group epoch that it led to, -1 while it is under way.
    `last`: who was the last to join, at `last_ms`; None where nobody had to. `removed`: who did not come in time.
    `members`: how many there were in the end.
    """

    group_id: str
    cause: Cause
    who: Who | None
    began_ms: int
    detail: str = ""
    silent_s: float | None = None
    epoch: int = -1
    ended_ms: int | None = None
    last: Who | None = None
    last_ms: int | None = None
    removed: tuple[Who, ...] = ()
    members: int = 0


def _nobody(_rebalance: Rebalance) -> None:
    pass


class Rebalances:
    """Those that are under way in one shard, by group. `on_end` is told of each that has ended."""

    def __init__(self) -> None:
        self.on_end: Callable[[Rebalance], None] = _nobody
        self._under_way: dict[str, Rebalance] = {}

    def under_way(self, group_id: str) -> Rebalance | None:
        return self._under_way.get(group_id)

    def begin(self, rebalance: Rebalance) -> None:
        """Notes a new one; one that is begun anew before it has ended stays what it was."""
        self._under_way.setdefault(rebalance.group_id, rebalance)

    def joined(self, group_id: str, who: Who, wall_ms: int) -> None:
        """A member has come, or confirmed what it was to give up: it is the last one so far."""
        self._change(group_id, last=who, last_ms=wall_ms)

    def removed(self, group_id: str, who: Who) -> None:
        """The others will not wait for this member any longer."""
        if (rebalance := self._under_way.get(group_id)) is not None:
            self._change(group_id, removed=(*rebalance.removed, who))

    def end(self, group_id: str, epoch: int, members: int, wall_ms: int) -> None:
        if (rebalance := self._under_way.pop(group_id, None)) is not None:
            self.on_end(replace(rebalance, epoch=epoch, members=members, ended_ms=wall_ms))

    def forget(self, group_id: str) -> None:
        """The group is gone, and its rebalance with it."""
        self._under_way.pop(group_id, None)

    def _change(self, group_id: str, **values: object) -> None:
        if (rebalance := self._under_way.get(group_id)) is not None:
            self._under_way[group_id] = replace(rebalance, **values)  # type: ignore[arg-type]
