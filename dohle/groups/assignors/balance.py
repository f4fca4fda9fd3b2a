"""Balance: partitions held by members, moved until no exchange makes loads more even, or brings a partition home.

Members and what they share make a network: a member gives a partition to the pool that it is of, and a pool to any of
its subscribers. A path through it takes one partition from its first member, gives one to its last, and leaves the
loads of those between as they were. It costs one for each partition that leaves its home, and gains one for each that
comes back. What is sought is the least sum of squared loads, by which also the greatest load is least and the least
is greatest (Harvey, Ladner, Lovász, Tamir: Semi-matchings for bipartite graphs and load balancing, 2006), and of all
such assignments one with the fewest partitions away from home. It is found when no path makes either better: that is
what makes a flow one of least cost.

Invariants: at first everything with a home is there, so no mere exchange among members can bring partitions home; and
each path that is taken is a shortest one, so none can later either. Hence paths are looked for, and no cycles.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from dohle.groups.assignors.plan import SLICE

NOBODY = -1
_FAR = float("inf")
_LEVELS = 8
_STEPS_OF_A_MOVE = 16

_Partitions: TypeAlias = dict[int, None]
"""A set in the order in which they came."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Partitions that the same members may have: those of all topics to which just the members of `classes` subscribe,
    ascending."""

    classes: tuple[int, ...]
    partitions: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Held:
    """What one member has of one pool."""

    at_home: _Partitions = field(default_factory=dict)
    guests: _Partitions = field(default_factory=dict)

    def distance(self, move: int) -> float:
        """How far it is from the member to the pool, where a partition that leaves its home counts `move`."""
        return 1 if self.guests else move + 1 if self.at_home else _FAR

    def spare(self) -> int:
        """Returns the one that costs least to give away."""
        return next(reversed(self.guests or self.at_home))


class Balance:
    """Members, partitions, pools and classes (the members with one subscription) are numbers from 0. Every partition
    has to be `put` before `improve`."""

    def __init__(self, classes: Sequence[Sequence[int]], pools: Sequence[Pool]) -> None:
        self.classes = classes
        self.pools = pools
        members = sum(map(len, classes))
        partitions = sum(len(pool.partitions) for pool in pools)
        self.loads = [0] * members
        self.owners = [NOBODY] * partitions
        self.homes = [NOBODY] * partitions
        self.class_of = [0] * members
        for number, those in enumerate(classes):
            for member in those:
                self.class_of[member] = number
        self._pool_of = [0] * partitions
        for number, pool in enumerate(pools):
            for partition in pool.partitions:
                self._pool_of[partition] = number
        self.pools_of: list[list[int]] = [[] for _ in classes]
        self.held: list[dict[int, _Held]] = [{} for _ in range(members)]
        self.away: list[_Partitions] = [{} for _ in range(members)]  # by whose they were

    def put(self, partition: int, member: int, *, home: bool = False) -> None:
        """Gives a partition to a member that may have it."""
        if home:
            self.homes[partition] = member
        self.owners[partition] = member
        self.loads[member] += 1
        held = self.held[member].setdefault(self._pool_of[partition], _Held())
        owned_by = self.homes[partition]
        if owned_by == member:
            held.at_home[partition] = None
            return
        held.guests[partition] = None
        if owned_by != NOBODY:
            self.away[owned_by][partition] = None

    def take(self, partition: int) -> None:
        """Takes it from the member that has it."""
        member = self.owners[partition]
        self.owners[partition] = NOBODY
        self.loads[member] -= 1
        held = self.held[member][self._pool_of[partition]]
        if self.homes[partition] == member:
            del held.at_home[partition]
            return
        del held.guests[partition]
        if self.homes[partition] != NOBODY:
            del self.away[self.homes[partition]][partition]

    def holdings(self, member: int) -> list[int]:
        """Returns the partitions that it has, ascending."""
        return sorted(partition for held in self.held[member].values() for partition in (*held.at_home, *held.guests))

    def improve(self) -> Generator[None]:
        """Moves partitions until nothing is left to gain."""
        yield from self._link()
        # Where loads are far from even, those that are about as high go together; to the exact step at the end.
        grain = max(1, (max(self.loads, default=0) - min(self.loads, default=0)) // _LEVELS)
        while True:
            distances = _Distances(self, grain)
            yield from distances.measure()
            if not (yield from _Paths(self, distances).follow()):
                if grain == 1:
                    return
                grain //= 2

    def _link(self) -> Generator[None]:
        """Notes the pools of each class."""
        steps = 0
        for number, pool in enumerate(self.pools):
            for of in pool.classes:
                self.pools_of[of].append(number)
            steps += len(pool.classes)
            if steps > SLICE:
                steps = 0
                yield


class _Distances:
    """How far members, pools and classes are from outside, whence a partition reaches any member for what it makes
    loads less even. One partition of load outweighs all moves of a path, and one move all members on it: of paths that
    are as good, the one with the fewest members is the shortest."""

    def __init__(self, balance: Balance, grain: int) -> None:
        self._balance = balance
        self.move = len(balance.loads) + 1
        self.load = 2 * self.move * (len(balance.owners) + 1)
        self.from_outside = [self.load * (1 - load // grain * grain) for load in balance.loads]
        """Of each member, if a path begins with it."""
        self.to_member: list[float] = list(self.from_outside)
        self.to_pool: list[float] = [_FAR] * len(balance.pools)
        self.to_class: list[float] = [_FAR] * len(balance.classes)

    def measure(self) -> Generator[None]:
        """Finds them, in Bellman's and Ford's way: what a partition costs that comes home is below zero."""
        balance, to_member = self._balance, self.to_member
        queue = deque(sorted(range(len(to_member)), key=to_member.__getitem__))
        queued = [True] * len(to_member)
        steps = 0
        while queue:
            if steps > SLICE:
                steps = 0
                yield
            giver = queue.popleft()
            queued[giver] = False
            near = to_member[giver]
            nearer: list[tuple[int, float]] = []
            for number, held in balance.held[giver].items():
                steps += 1 + len(held.guests)
                nearer += [
                    (home, near + 1 - self.move) for guest in held.guests if (home := balance.homes[guest]) != NOBODY
                ]
                steps += self._reach_pool(number, near + held.distance(self.move), nearer)
            for member, distance in nearer:
                if distance < to_member[member]:
                    to_member[member] = distance
                    if not queued[member]:
                        queued[member] = True
                        queue.append(member)

    def _reach_pool(self, number: int, distance: float, nearer: list[tuple[int, float]]) -> int:
        """Notes whom a pool at that distance makes nearer. Returns how many steps that took."""
        if distance >= self.to_pool[number]:
            return 0
        balance = self._balance
        self.to_pool[number] = distance
        steps = 0
        for of in balance.pools[number].classes:
            if distance < self.to_class[of]:
                self.to_class[of] = distance
                nearer += [(member, distance) for member in balance.classes[of]]
                steps += len(balance.classes[of])
            steps += 1
        return steps


class _Paths:
    """Shortest paths, searched for from their ends. What was found to lead nowhere is not tried again: what moves makes
    new ways, and the next measuring finds them."""

    def __init__(self, balance: Balance, distances: _Distances) -> None:
        self._balance = balance
        self._distances = distances
        self._tried = [False] * len(balance.loads)
        self._holders: list[list[int]] = [[] for _ in balance.pools]
        self._next_holder = [0] * len(balance.pools)
        self._next_pool = [0] * len(balance.classes)
        self._steps = 0

    def follow(self) -> Generator[None, None, bool]:
        """Moves partitions along them as long as that gains anything; those with least get first. Returns whether any
        has moved."""
        balance = self._balance
        for member, holdings in enumerate(balance.held):
            for number, held in holdings.items():
                if held.guests or held.at_home:
                    self._holders[number].append(member)
            self._steps += len(holdings)
            if self._steps > SLICE:
                self._steps = 0
                yield
        wanting = [(load, member) for member, load in enumerate(balance.loads) if self._gains(member)]
        moved = False
        while wanting:
            if self._steps > SLICE:
                self._steps = 0
                yield
            self._steps += _STEPS_OF_A_MOVE
            _, end = wanting[0]
            if not self._follow_to(end):
                heapq.heappop(wanting)
                continue
            moved = True
            if self._gains(end):
                heapq.heapreplace(wanting, (balance.loads[end], end))
            else:
                heapq.heappop(wanting)
        return moved

    def _gains(self, end: int) -> bool:
        return self._distances.to_member[end] + self._distances.load * self._balance.loads[end] < 0

    def _begins(self, member: int, end: int) -> bool:
        """Whether a path to `end` may begin with this member, by the loads that they have now."""
        distances, loads = self._distances, self._balance.loads
        begin = distances.from_outside[member]
        moves = distances.to_member[end] - begin
        return (
            member != end
            and begin == distances.to_member[member]
            and distances.load * (loads[end] - loads[member] + 1) + moves < 0
        )

    def _follow_to(self, end: int) -> bool:
        path = [end]
        gifts: list[tuple[int, int]] = []
        self._tried[end] = True
        while path:
            gift = self._gift_to(path[-1])
            if gift is None:
                path.pop()
                del gifts[-1:]
                continue
            self._steps += _STEPS_OF_A_MOVE
            giver = gift[0]
            path.append(giver)
            gifts.append(gift)
            self._tried[giver] = True
            if self._begins(giver, end):
                # From the end: who is between gives what it had, not what it gets.
                for taker, (_, partition) in zip(path, gifts, strict=False):
                    self._balance.take(partition)
                    self._balance.put(partition, taker)
                for member in path:
                    self._tried[member] = False
                return True
        return False

    def _gift_to(self, member: int) -> tuple[int, int] | None:
        """Returns who gives it which partition on a shortest path to it; None if there is no other way any more."""
        balance, distances = self._balance, self._distances
        distance = distances.to_member[member]
        for partition in balance.away[member]:
            giver = balance.owners[partition]
            self._steps += 1
            if not self._tried[giver] and distances.to_member[giver] + 1 - distances.move == distance:
                return giver, partition
        of = balance.class_of[member]
        if distances.to_class[of] != distance:
            return None
        pools = balance.pools_of[of]
        while self._next_pool[of] < len(pools):
            number = pools[self._next_pool[of]]
            if distances.to_pool[number] == distance:
                giver = self._giver_to(number)
                if giver != NOBODY:
                    return giver, balance.held[giver][number].spare()
            self._next_pool[of] += 1
            self._steps += 1
        return None

    def _giver_to(self, number: int) -> int:
        """Returns a member on a shortest path to the pool; NOBODY if there is none any more."""
        distances, holders = self._distances, self._holders[number]
        while self._next_holder[number] < len(holders):
            giver = holders[self._next_holder[number]]
            away = self._balance.held[giver][number].distance(distances.move)
            if not self._tried[giver] and distances.to_member[giver] + away == distances.to_pool[number]:
                return giver
            self._next_holder[number] += 1
            self._steps += 1
        return NOBODY
