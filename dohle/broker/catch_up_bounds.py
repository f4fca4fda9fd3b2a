"""CatchUpBounds: how fast replicas are brought up that begin with nothing, at both ends (KIP-73).

Two rates: the throttle of reassignments, for replicas that they add; and this broker's setting, for replicas that are
made anew, as after a disk was replaced. Each bounds what this broker sends, to all followers together; and, since a
follower may be fed by many leaders, this broker's share of what that one receives: the rate divided by the number of
brokers that lead what it lacks, as metadata has it. So nobody has to hold back acknowledgements to slow a leader down.

Who was in sync and comes back is never held up: it might be written faster than it may catch up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dohle.broker.read_budget import ReadBudget
from dohle.model.ids import NO_NODE, NodeId
from dohle.model.image import ClusterImage
from dohle.runtime.clock import Clock

_FEEDERS_S = 1.0
"""How long a count of leaders holds: counting walks all that the follower has."""


class CatchUpBound:
    """Several budgets that all have to allow a chunk."""

    def __init__(self, budgets: Sequence[ReadBudget]) -> None:
        self._budgets = budgets

    def pause_s(self) -> float:
        """Returns for how long nothing may be read."""
        return max(budget.pause_s() for budget in self._budgets)

    def chunk_bytes(self, most_bytes: int) -> int:
        """Returns how much may be read at once."""
        return min(budget.chunk_bytes(most_bytes) for budget in self._budgets)

    def spend(self, size_bytes: int) -> None:
        for budget in self._budgets:
            budget.spend(size_bytes)


class CatchUpBounds:
    """The bounds on what this broker sends, by follower. `fill_bytes_per_s` 0 means no bound."""

    def __init__(self, clock: Clock, image: Callable[[], ClusterImage], fill_bytes_per_s: int) -> None:
        self._clock = clock
        self._image = image
        self._fill_bytes_per_s = fill_bytes_per_s
        self._all_moves = ReadBudget(clock, self._move_bytes_per_s)
        self._all_fills = ReadBudget(clock, lambda: fill_bytes_per_s)
        self._moves: dict[NodeId, CatchUpBound] = {}
        self._fills: dict[NodeId, CatchUpBound] = {}

    def _move_bytes_per_s(self) -> int:
        return self._image().reassignment_bytes_per_s

    def of_moves_to(self, follower: NodeId) -> CatchUpBound:
        """Returns the bound for replicas that reassignments add there."""
        if follower not in self._moves:
            feeders = _Feeders(self._clock, lambda: self._leaders_of_moves_to(follower))
            share = ReadBudget(self._clock, lambda: feeders.share(self._move_bytes_per_s()))
            self._moves[follower] = CatchUpBound((self._all_moves, share))
        return self._moves[follower]

    def of_fills_of(self, follower: NodeId) -> CatchUpBound:
        """Returns the bound for replicas that were made anew there."""
        if follower not in self._fills:
            feeders = _Feeders(self._clock, lambda: self._leaders_of_fills_of(follower))
            share = ReadBudget(self._clock, lambda: feeders.share(self._fill_bytes_per_s))
            self._fills[follower] = CatchUpBound((self._all_fills, share))
        return self._fills[follower]

    def _leaders_of_moves_to(self, follower: NodeId) -> set[NodeId]:
        image = self._image()
        moving = [image.partition(key) for key in image.reassigning]
        return {
            partition.leader
            for partition in moving
            if partition is not None
            and follower in partition.adding_replicas
            and follower not in partition.in_sync_replicas
        }

    def _leaders_of_fills_of(self, follower: NodeId) -> set[NodeId]:
        return {
            partition.leader
            for _, partition in self._image().replicas_of(follower)
            if follower not in partition.in_sync_replicas
        }


class _Feeders:
    """How many brokers feed one follower, counted now and then."""

    def __init__(self, clock: Clock, leaders: Callable[[], set[NodeId]]) -> None:
        self._clock = clock
        self._leaders = leaders
        self._count = 1
        self._holds_until = 0.0

    def share(self, bytes_per_s: int) -> int:
        """Returns what each of them may send; 0, for no bound, of 0."""
        now = self._clock.now()
        if bytes_per_s and now >= self._holds_until:
            self._holds_until = now + _FEEDERS_S
            self._count = max(1, len(self._leaders() - {NO_NODE}))
        return -(-bytes_per_s // self._count)
