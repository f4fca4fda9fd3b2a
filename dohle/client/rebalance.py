"""Rebalancing: which replicas go where so that brokers carry alike, with few bytes moved. A pure search, no I/O.

What is sought is a placement of a small `score` (dohle.client.balance), by simulated annealing from the one that is
there. A step gives one replica to another broker, or a partition another preferred leader, or both; or two partitions
exchange brokers, since where numbers are even nothing can move by itself. Small clusters are annealed several times,
hot at first, and what is found then is left by chains: changes that gain nothing alone, but do together.

The search is repeated from what it found for as long as it finds more: so a plan that was run is followed by an empty
one, where five repetitions are enough and no bound on moved bytes has cut it short. It draws from a number of its own
and counts its work instead of looking at a clock: the same cluster, the same plan. How close it comes to the best of
all placements is tested beside an exact solver.

Kept by every step, so that the plan keeps it: a partition has as many replicas as before, on different brokers, nowhere
but on the brokers given, in no more crowded racks; partitions that are not free stay; no broker gets more bytes than it
has room for; and no more than the bound on moved bytes is moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp, inf
from random import Random

from dohle.client.balance import DEFAULT_TOLERANCE, BrokerRoom, PlacedPartition
from dohle.client.placement_draft import Change, PlacementDraft

_MOST_REPETITIONS = 5
_LEAST_GAIN = 1e-9
_SAMPLES = 300
"""Changes by which it is learned what a usual one is worth: that times a heat is the temperature."""
_COOLING = 0.002
_EXCHANGES = 0.5
_LONGEST_CHAIN = 8
_MOST_LOOKS = 200_000
"""At steps of chains: bounds what a search spends on them to a second or so."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard a search tries: a heat for each annealing, tries for each partition, and at most so many."""

    heats: tuple[float, ...]
    tries_each: int
    most_tries: int
    chains: bool


_SMALL = 50
_FOR_SMALL = Effort((3.0, 1.0, 0.3) * 3, 500, 20_000, chains=True)
_FOR_LARGE = Effort((0.02,), 400, 100_000, chains=False)
CURSORY = Effort((0.3,), 100, 1_000, chains=False)
"""For who wants any plan that makes it better, and soon."""


@dataclass(frozen=True, slots=True)
class RebalanceTerms:
    """What an operator wants: within which share of the average all is even enough, and how much may be moved.

    `effort` is how hard it is looked for; None: as hard as a cluster of this size allows.
    """

    tolerance: float = DEFAULT_TOLERANCE
    most_moved_bytes: int | None = None
    effort: Effort | None = None


def rebalanced(
    brokers: Sequence[BrokerRoom], partitions: Sequence[PlacedPartition], terms: RebalanceTerms
) -> list[PlacedPartition]:
    """Returns the partitions, in their order, where they should be."""
    placed = list(partitions)
    if len(brokers) < 2 or not partitions:
        return placed
    for _ in range(_MOST_REPETITIONS if terms.most_moved_bytes is None else 1):
        draft = PlacementDraft(
            _with_room_left(brokers, partitions, placed), placed, terms.tolerance, terms.most_moved_bytes
        )
        _Search(draft).run(terms.effort)
        before = placed
        placed = [replace(one, replicas=draft.replicas(number)) for number, one in enumerate(before)]
        if placed == before:
            break
    return placed


def _with_room_left(
    brokers: Sequence[BrokerRoom], before: Sequence[PlacedPartition], placed: Sequence[PlacedPartition]
) -> list[BrokerRoom]:
    """Returns the brokers with what is left to them beside the replicas that come by what was found so far."""
    left = {broker.node_id: broker.free_bytes for broker in brokers}
    for old, new in zip(before, placed, strict=True):
        for node in new.replicas:
            if node not in old.replicas:
                left[node] -= new.size_bytes
    return [replace(broker, free_bytes=left[broker.node_id]) for broker in brokers]


class _Search:
    """One search from where the draft is."""

    def __init__(self, draft: PlacementDraft) -> None:
        self._draft = draft
        self._chance: Callable[[], float] = Random(0).random  # noqa: S311 - the same cluster, the same plan

    def run(self, effort: Effort | None) -> None:
        draft = self._draft
        if effort is None:
            effort = _FOR_SMALL if len(draft.free) <= _SMALL else _FOR_LARGE
        usual = self._usual_change()
        for heat in effort.heats:
            if draft.score > _LEAST_GAIN and usual:
                self._anneal(heat * usual, min(effort.most_tries, effort.tries_each * len(draft.free)))
        if effort.chains and draft.score > _LEAST_GAIN:
            self._follow_chains()

    def _usual_change(self) -> float:
        """Returns by how much a step makes things worse on average; 0 if there is none that may be."""
        drawn = [self._draft.drawn_step(self._chance) for _ in range(_SAMPLES)] if self._draft.free else []
        changes = [self._draft.change_by(step) for step in drawn if step is not None]
        worse = [change for change in changes if 0 < change < inf]
        return sum(worse) / len(worse) if worse else float(any(change < 0 for change in changes))

    def _anneal(self, hot: float, tries: int) -> None:
        """Takes steps that make it better, and others as long as it is hot; ends at the best that it came by."""
        draft, chance = self._draft, self._chance
        best, found = draft.score, draft.placed()
        for tried in range(tries):
            change = draft.drawn_exchange(chance) if chance() < _EXCHANGES else draft.drawn_step(chance)
            if change is None:
                continue
            gains = draft.change_by(change)
            if gains <= 0 or (gains < inf and chance() < exp(-gains / (hot * _COOLING ** (tried / tries)))):
                draft.take(change, gains)
                if draft.score < best - _LEAST_GAIN:
                    best, found = draft.score, draft.placed()
        draft.restore(found)

    def _follow_chains(self) -> None:
        """Takes chains that gain until none does, or enough has been looked at."""
        draft, looks = self._draft, _MOST_LOOKS
        while looks > 0:
            firsts = [(worth, change) for change in draft.all_changes() if (worth := draft.change_by(change)) < inf]
            for worth, first in sorted(firsts, key=lambda one: one[0]):
                gained, looked = self._chain(first, worth)
                looks -= looked
                if gained or looks <= 0:
                    break
            else:
                return

    def _chain(self, first: Change, worth: float) -> tuple[bool, int]:
        """Makes a change, whatever it costs, then the best step of some other partition, and so on; keeps the most that
        any of its beginnings gains. Returns whether one does, and at how many steps it looked.

        So what takes several partitions at once is found: rings of three, leaders that are exchanged (Kernighan, Lin).
        """
        draft = self._draft
        start = found = draft.placed()
        best, looked = draft.score - _LEAST_GAIN, 0
        change: Change | None = first
        changed: set[int] = set()
        for _ in range(_LONGEST_CHAIN):
            if change is None:
                break
            draft.take(change, worth)
            changed.update(step.partition for step in change)
            if draft.score < best:
                best, found = draft.score - _LEAST_GAIN, draft.placed()
            change, worth = None, inf
            for step in draft.all_steps():
                if step[0].partition not in changed:
                    looked += 1
                    if (one := draft.change_by(step)) < worth:
                        change, worth = step, one
        draft.restore(found)
        return found is not start, looked
