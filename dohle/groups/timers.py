"""Timers by name. One that is set again only notes its later time: a heartbeat costs a dictionary entry."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable
from typing import Final, TypeAlias

from dohle.groups.outcome import Moment, Outcome

_LEAST_SWEPT: Final = 64
"""Entries of timers that are set no more go once there are as many of them as of others, and so many."""

Action: TypeAlias = Callable[[Moment], Outcome]


class Timers:
    """Times are monotonic seconds. Of equal times the one that was set first comes first."""

    def __init__(self) -> None:
        self._due: dict[Hashable, tuple[float, Action]] = {}
        self._heap: list[tuple[float, int, Hashable]] = []
        self._count = 0

    def __contains__(self, name: Hashable) -> bool:
        return name in self._due

    def set(self, name: Hashable, at_s: float, action: Action) -> None:
        """Sets the timer, or sets it anew."""
        before = self._due.get(name)
        self._due[name] = (at_s, action)
        if before is None or at_s < before[0]:
            self._push(at_s, name)

    def cancel(self, name: Hashable) -> None:
        if self._due.pop(name, None) is not None and len(self._heap) > _LEAST_SWEPT + 2 * len(self._due):
            self._heap = [entry for entry in self._heap if entry[2] in self._due]
            heapq.heapify(self._heap)

    def next_s(self) -> float | None:
        """Returns when to come again; None if nothing is set."""
        while self._heap:
            at_s, _, name = self._heap[0]
            due = self._due.get(name)
            if due is not None and due[0] == at_s:
                return at_s
            heapq.heappop(self._heap)
            if due is not None and due[0] > at_s:
                self._push(due[0], name)
        return None

    def take(self, now_s: float) -> Action | None:
        """Takes one timer that is due; it is set no more."""
        at_s = self.next_s()
        if at_s is None or at_s > now_s:
            return None
        _, _, name = heapq.heappop(self._heap)
        return self._due.pop(name)[1]

    def _push(self, at_s: float, name: Hashable) -> None:
        self._count += 1
        heapq.heappush(self._heap, (at_s, self._count, name))
