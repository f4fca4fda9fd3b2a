"""Stragglers: who keeps the others waiting goes by itself, for as long as it takes longer than they do.

Whoever shares a turn (a round of syncs, a push, a request) waits for the slowest in it, but not for long. Those that
are not done after `STRAGGLES_S` are let go, and the others go on. Which of them are slow shows when they are done: what
the others began later is done before. On a disk or a machine that is slow as a whole nobody overtakes anybody, and who
was late once is among the others again.

Times are whoever's clock it is. What this leaves out: the turns themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from dataclasses import dataclass
from typing import Generic, TypeVar

STRAGGLES_S = 0.02
"""For how long all wait for one that takes long; then the others go on without it."""
MOST_APART = 4
"""How many go by themselves at a time: more are slow only where everything is."""
APART_S = 60.0
"""After so long without a turn nobody is known to be slow any more,"""
PROMPT_TIMES = 8
"""nor who was as quick as the others so many times in a row."""
_OVERTAKEN_S = 0.75 * STRAGGLES_S
"""How much later than it others must have begun: those that were let go on without it have."""

T = TypeVar("T")


@dataclass(slots=True)
class _Apart:
    until: float
    prompt_times_left: int  # before it is among the others again
    late_times: int = 0


class Stragglers(Generic[T]):
    """Who goes by himself, of those that share their turns."""

    def __init__(self) -> None:
        self._apart: dict[T, _Apart] = {}
        # of those that are not apart: they say what is quick
        self._youngest_done = float("-inf")  # when that began of which all is done
        self._last_done_at = float("-inf")

    def __bool__(self) -> bool:
        return bool(self._apart)

    def apart(self, now: float) -> Set[T]:
        self._drop_expired(now)
        return self._apart.keys()

    def is_apart(self, one: T, now: float) -> bool:
        apart = self._apart.get(one)
        if apart is None:
            return False
        if now >= apart.until:
            del self._apart[one]
            return False
        return True

    def let_go(self, ones: Collection[T], now: float) -> bool:
        """Has these go by themselves, at first for this once, or says that they are too many: all are slow then."""
        self._drop_expired(now)
        if len({*ones, *self._apart}) > MOST_APART:
            return False
        for one in ones:
            self._apart.setdefault(one, _Apart(now + APART_S, prompt_times_left=1))
        return True

    def is_overtaken(self, began: float) -> bool:
        """Whether what began then and is not done is late: it began well before what others have done."""
        return self._youngest_done >= began + _OVERTAKEN_S

    def late(self, one: T, now: float) -> bool:
        """It was overtaken, and goes by itself if there is a place. Returns whether that makes it known to be slow."""
        apart = self._apart.get(one)
        if apart is None:
            self._drop_expired(now)
            if len(self._apart) >= MOST_APART:
                return False
            apart = self._apart[one] = _Apart(now + APART_S, PROMPT_TIMES)
        apart.until, apart.prompt_times_left = now + APART_S, PROMPT_TIMES
        apart.late_times += 1
        return apart.late_times == PROMPT_TIMES

    def done(self, one: T, began: float, now: float) -> bool:
        """Its turn that began then is over. Returns whether it is now known to be slow."""
        apart = self._apart.get(one)
        if apart is None:
            self._youngest_done = max(self._youngest_done, began)
            self._last_done_at = now
        elif self.is_overtaken(began):
            return self.late(one, now)
        elif now - began <= STRAGGLES_S or self._last_done_at > began:  # else there was nobody to compare it with
            apart.prompt_times_left -= 1
            if not apart.prompt_times_left:
                del self._apart[one]
        return False

    def _drop_expired(self, now: float) -> None:
        self._apart = {one: apart for one, apart in self._apart.items() if now < apart.until}

    def forget(self, one: T) -> None:
        self._apart.pop(one, None)
