"""PlacementDraft: a placement while a search changes it, and what each change would do to its score.

It is the score of `dohle.client.balance`, kept up to date: partitions and brokers are numbers here, and a change is
reckoned from the few brokers that it touches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import NamedTuple, TypeAlias

from dohle.client.balance import COST_OF_CROWDING, BrokerRoom, Carried, PlacedPartition, Scale, carried_by, crowding

Chance: TypeAlias = Callable[[], float]
"""Draws from [0, 1)."""


class Step(NamedTuple):
    """A partition's replicas as they would be; brokers by number."""

    partition: int
    replicas: tuple[int, ...]


Change: TypeAlias = tuple[Step, ...]
"""A step, or two of different partitions that exchange brokers."""


class PlacementDraft:
    """Only what is free moves, and nothing breaks what `dohle.client.rebalance` promises: that is worth inf."""

    def __init__(
        self,
        brokers: Sequence[BrokerRoom],
        partitions: Sequence[PlacedPartition],
        tolerance: float,
        most_moved_bytes: int | None,
    ) -> None:
        self._nodes = [broker.node_id for broker in brokers]
        number_of = {node: number for number, node in enumerate(self._nodes)}
        self._racks = [broker.rack or f"node {broker.node_id}" for broker in brokers]
        self._room = [broker.free_bytes for broker in brokers]
        self._partitions = partitions
        self.free = [
            number
            for number, one in enumerate(partitions)
            if one.free and all(node in number_of for node in one.replicas)
        ]
        self._origin: list[tuple[int, ...]] = [()] * len(partitions)
        for number in self.free:
            self._origin[number] = tuple([number_of[node] for node in partitions[number].replicas])
        self._placed = list(self._origin)
        self._weights = [(one.size_bytes, one.leader_load, one.follower_load) for one in partitions]
        carried = carried_by(brokers, partitions)
        self._carried = [carried[node] for node in self._nodes]
        self._scale = Scale.of(self._carried, tolerance)
        self._bounds = [bound for band in self._scale.bands for bound in band]
        self._imbalance = [self._scale.imbalance(one) for one in self._carried]
        self._bytes_left = inf if most_moved_bytes is None else most_moved_bytes
        self._cost_of_leader = self._scale.cost(leaders=1)
        self._cost_of_copy = [self._scale.cost(size_bytes=one.size_bytes, replicas=1) for one in partitions]
        self.score = sum(self._imbalance) + COST_OF_CROWDING * sum(self._crowding(one) for one in self._placed)

    def replicas(self, number: int) -> tuple[int, ...]:
        """Returns the node ids of a partition's replicas."""
        placed = self._placed[number]
        return tuple([self._nodes[b] for b in placed]) if placed else self._partitions[number].replicas

    def placed(self) -> list[tuple[int, ...]]:
        """Returns what `restore` takes."""
        return list(self._placed)

    def restore(self, placed: Sequence[tuple[int, ...]]) -> None:
        for number, replicas in enumerate(placed):
            if replicas != self._placed[number]:
                change = (Step(number, replicas),)
                self.take(change, self._change_by_step(change[0], bounded=False))

    # changes

    def drawn_step(self, chance: Chance) -> Change | None:
        """Returns a step of some free partition; None if what was drawn is none."""
        number = self.free[int(chance() * len(self.free))]
        replicas = self._placed[number]
        taker = int(chance() * len(self._nodes))
        place = int(chance() * len(replicas))
        if taker in replicas:
            return None if replicas[0] == taker else (Step(number, _led_by(replicas, replicas.index(taker))),)
        handed = (*replicas[:place], taker, *replicas[place + 1 :])
        if chance() < 0.25:
            handed = _led_by(handed, place or int(chance() * len(handed)))
        return (Step(number, handed),)

    def drawn_exchange(self, chance: Chance) -> Change | None:
        """Returns an exchange of some two free partitions; None if what was drawn is none."""
        one = self.free[int(chance() * len(self.free))]
        other = self.free[int(chance() * len(self.free))]
        place, other_place = int(chance() * len(self._placed[one])), int(chance() * len(self._placed[other]))
        return self._exchange(one, place, other, other_place)

    def all_steps(self) -> Iterator[Change]:
        for number in self.free:
            replicas = self._placed[number]
            for place in range(1, len(replicas)):
                yield (Step(number, _led_by(replicas, place)),)
            for taker in range(len(self._nodes)):
                if taker not in replicas:
                    yield from _handed_over(number, replicas, taker)

    def all_changes(self) -> Iterator[Change]:
        """Yields every step, and every exchange of two replicas."""
        yield from self.all_steps()
        for index, one in enumerate(self.free):
            for other in self.free[index + 1 :]:
                for place in range(len(self._placed[one])):
                    for other_place in range(len(self._placed[other])):
                        change = self._exchange(one, place, other, other_place)
                        if change is not None:
                            yield change

    def _exchange(self, one: int, place: int, other: int, other_place: int) -> Change | None:
        replicas, others = self._placed[one], self._placed[other]
        gives, gets = replicas[place], others[other_place]
        if one == other or gets in replicas or gives in others:
            return None
        return (
            Step(one, (*replicas[:place], gets, *replicas[place + 1 :])),
            Step(other, (*others[:other_place], gives, *others[other_place + 1 :])),
        )

    # their worth

    def change_by(self, change: Change) -> float:
        """Returns by how much the score would change, inf for what may not be."""
        if len(change) == 1:
            return self._change_by_step(change[0])
        one, other = change
        cost = self._cost_change(one) + self._cost_change(other)
        if cost == inf or self._more_moved(one) + self._more_moved(other) > max(0, self._bytes_left):
            return inf
        place, giver, getter = next(
            (place, b, c) for place, (b, c) in enumerate(zip(self._placed[one[0]], one[1], strict=True)) if b != c
        )
        leads, other_leads = place == 0, other[1][0] == giver
        size_bytes, *loads = self._weights[one[0]]
        other_bytes, *other_loads = self._weights[other[0]]
        leaders = other_leads - leads
        more_bytes = other_bytes - size_bytes
        more_load = other_loads[not other_leads] - loads[not leads]
        return (
            cost
            + self._with(giver, leaders, 0, more_bytes, more_load)
            + self._with(getter, -leaders, 0, -more_bytes, -more_load)
        )

    def _change_by_step(self, step: Step, *, bounded: bool = True) -> float:
        number, after = step
        before = self._placed[number]
        change = self._cost_change(step, bounded=bounded)
        if change == inf:
            return inf
        size_bytes, leader_load, follower_load = self._weights[number]
        first, last = after[0], before[0]
        for b in before:
            if b not in after:
                leads = b == last
                change += self._with(b, -leads, -1, -size_bytes, -(leader_load if leads else follower_load))
        for b in after:
            if b not in before:
                leads = b == first
                change += self._with(b, leads, 1, size_bytes, leader_load if leads else follower_load)
        if first != last:
            if last in after:
                change += self._with(last, -1, 0, 0, follower_load - leader_load)
            if first in before:
                change += self._with(first, 1, 0, 0, leader_load - follower_load)
        return change

    def _with(self, broker: int, leaders: int, replicas: int, size_bytes: float, load: float) -> float:
        """Returns how much more imbalanced the broker would be with so much more: `Scale.imbalance`, written out."""
        has = self._carried[broker]
        l_low, l_high, l_unit, r_low, r_high, r_unit, s_low, s_high, s_unit, w_low, w_high, w_unit = self._bounds
        leads, holds, stores, works = has[0] + leaders, has[1] + replicas, has[2] + size_bytes, has[3] + load
        total = -self._imbalance[broker]
        if leads > l_high:
            total += (leads - l_high) * l_unit
        elif leads < l_low:
            total += (l_low - leads) * l_unit
        if holds > r_high:
            total += (holds - r_high) * r_unit
        elif holds < r_low:
            total += (r_low - holds) * r_unit
        if stores > s_high:
            total += (stores - s_high) * s_unit
        elif stores < s_low:
            total += (s_low - stores) * s_unit
        if works > w_high:
            total += (works - w_high) * w_unit
        elif works < w_low:
            total += (w_low - works) * w_unit
        return total

    def _cost_change(self, step: Step, *, bounded: bool = True) -> float:
        number, after = step
        before, origin, size_bytes = self._placed[number], self._origin[number], self._weights[number][0]
        change = ((after[0] != origin[0]) - (before[0] != origin[0])) * self._cost_of_leader
        moved = 0
        for b in after:
            if b not in before and b not in origin:
                moved += 1
                if bounded and size_bytes > self._room[b]:
                    return inf
        for b in before:
            if b not in after and b not in origin:
                moved -= 1
        if bounded and moved > 0 and moved * size_bytes > self._bytes_left:
            return inf
        crowded = self._crowding(after) - self._crowding(before)
        if bounded and crowded > 0:
            return inf
        return change + moved * self._cost_of_copy[number] + crowded * COST_OF_CROWDING

    def _more_moved(self, step: Step) -> float:
        """Returns how many more bytes would move than without this step."""
        number, after = step
        before, origin = self._placed[number], self._origin[number]
        copies = sum(b not in origin for b in after) - sum(b not in origin for b in before)
        return copies * self._weights[number][0]

    def _crowding(self, replicas: tuple[int, ...]) -> int:
        racks = [self._racks[b] for b in replicas]
        return 0 if len(set(racks)) == len(racks) else crowding(racks)

    def take(self, change: Change, worth: float) -> None:
        """Makes the change; `worth` is what `change_by` says of it."""
        self.score += worth
        for number, after in change:
            before, origin = self._placed[number], self._origin[number]
            size_bytes, leader_load, follower_load = self._weights[number]
            for sign, replicas in ((-1, before), (1, after)):
                for place, b in enumerate(replicas):
                    leaders, holds, stores, load = self._carried[b]
                    load += sign * (follower_load if place else leader_load)
                    self._carried[b] = Carried(
                        leaders + sign * (place == 0), holds + sign, stores + sign * size_bytes, load
                    )
                    if b not in origin:
                        self._room[b] -= sign * size_bytes
                        self._bytes_left -= sign * size_bytes
            for b in dict.fromkeys((*before, *after)):
                self._imbalance[b] = self._scale.imbalance(self._carried[b])
            self._placed[number] = after


def _led_by(replicas: tuple[int, ...], place: int) -> tuple[int, ...]:
    """Returns the replicas with the one at `place` in the leader's, and the leader in its."""
    changed = list(replicas)
    changed[0], changed[place] = changed[place], changed[0]
    return tuple(changed)


def _handed_over(number: int, replicas: tuple[int, ...], taker: int) -> Iterator[Change]:
    """Yields the steps by which `taker` takes the place of each replica, and leads, or another does."""
    for place in range(len(replicas)):
        handed = (*replicas[:place], taker, *replicas[place + 1 :])
        yield (Step(number, handed),)
        for leader in (place,) if place else range(1, len(handed)):
            yield (Step(number, _led_by(handed, leader)),)
