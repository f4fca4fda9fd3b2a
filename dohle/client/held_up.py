"""What holds moves up: brokers that are down and have to be in sync before the end, and partitions without a leader.

A move that is merely slow is not held up. Who starts anew is down for some seconds, so whoever acts on this waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dohle.client.partition_changes import OngoingReassignment
from dohle.client.values import NodeDescription

_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class HeldUp:
    """A move that cannot end as things are."""

    move: OngoingReassignment
    down: tuple[int, ...]  # of its targets, all of which have to be in sync
    has_leader: bool

    def ends_elsewhere(self, drained: int) -> bool:
        """Whether it would not be held up if `drained` were moved away to other brokers than this move names."""
        leaving = {drained, *self.move.adding_replicas}
        return self.has_leader and leaving.issuperset(self.down)


def held_up(ongoing: Iterable[OngoingReassignment], nodes: Sequence[NodeDescription]) -> list[HeldUp]:
    """Returns which of these moves wait for what is down, by partition."""
    alive = {node.node_id for node in nodes if not node.fenced}
    found = [
        HeldUp(one, tuple(sorted(node for node in one.target_replicas if node not in alive)), one.leader >= 0)
        for one in ongoing
    ]
    return sorted((one for one in found if one.down or not one.has_leader), key=lambda one: one.move.name)


def hold_ups(held: Sequence[HeldUp]) -> dict[str, str]:
    """Returns what is waited for, in words, and by whom as well: a sentence for each reason."""
    by_reason: dict[str, list[HeldUp]] = {}
    for one in held:
        by_reason.setdefault(_reason(one), []).append(one)
    return {
        why: f"{_named(those)} {'waits' if len(those) == 1 else 'wait'} for {why}" for why, those in by_reason.items()
    }


def _reason(one: HeldUp) -> str:
    if not one.has_leader:
        return f"a leader, of the brokers that were in sync last: {', '.join(map(str, one.move.in_sync_replicas))}"
    named = ", ".join(map(str, one.down))
    return f"broker {named}, which is down" if len(one.down) == 1 else f"brokers {named}, which are down"


def _named(held: Sequence[HeldUp]) -> str:
    shown = ", ".join(str(one.move.name) for one in held[:_MOST_NAMED])
    more = len(held) - _MOST_NAMED
    return f"{shown} and {more} more" if more > 0 else shown
