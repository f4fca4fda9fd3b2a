"""Newcomers: what strangers make a coordinator keep, and how much of it there may be.

Who asks for a member id, or joins and never syncs, costs memory for as long as a session or a rebalance may last. So
all of them together, over the groups of a shard, have a budget. It leaves room for some ten thousand that come at once;
members that have synced are bounded by `group.max.size`.
"""

from __future__ import annotations

from typing import Final, TypeAlias

_MOST_BYTES: Final = 16 << 20
_EACH_BYTES: Final = 1 << 10
"""What one costs beside its names and subscription: its entries, and its timer's."""

Newcomer: TypeAlias = tuple[str, str]
"""A group's id and a member's."""


class Newcomers:
    """Counts bytes. An id that was given out and not used yet has to make room for others."""

    def __init__(self) -> None:
        self.counted_bytes = 0
        self._costs: dict[Newcomer, int] = {}
        self._pending: dict[Newcomer, None] = {}

    def __len__(self) -> int:
        return len(self._costs)

    def makes_room(self, variable_bytes: int) -> Newcomer | None:
        """Returns the oldest id that was given out and has to go for another newcomer to come; None if none has to, or
        there is none."""
        if self.fits(variable_bytes):
            return None
        return next(iter(self._pending), None)

    def fits(self, variable_bytes: int) -> bool:
        return self.counted_bytes + _EACH_BYTES + variable_bytes <= _MOST_BYTES

    def come(self, newcomer: Newcomer, variable_bytes: int, *, is_pending: bool) -> None:
        """Counts one; `is_pending`: it was only given its id."""
        self.settle(newcomer)
        self._costs[newcomer] = cost = _EACH_BYTES + variable_bytes
        self.counted_bytes += cost
        if is_pending:
            self._pending[newcomer] = None

    def settle(self, newcomer: Newcomer) -> None:
        """It is gone, or it has synced."""
        self.counted_bytes -= self._costs.pop(newcomer, 0)
        self._pending.pop(newcomer, None)
