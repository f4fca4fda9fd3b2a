"""Rate: bytes a second over the last minutes, of one thing, without a timer.

Two windows are kept, the present one and the one before, of which as much counts as the last `WINDOW_S` seconds reach
into it, as if it had been even. What is counted costs a comparison and an addition.
"""

from __future__ import annotations

WINDOW_S = 120.0
_LEAST_S = 10.0
"""A younger rate is taken over so many seconds: a first batch says nothing."""


class Rate:
    """Counts from `now` on."""

    __slots__ = ("_before", "_counted", "_since", "_window_began")

    def __init__(self, now: float) -> None:
        self._since = now
        self._window_began = now
        self._counted = 0
        self._before = 0

    def count(self, amount: int, now: float) -> None:
        if now - self._window_began >= WINDOW_S:
            self._turn(now)
        self._counted += amount

    def per_s(self, now: float) -> float:
        if now - self._window_began >= WINDOW_S:
            self._turn(now)
        of_before = max(0.0, 1 - (now - self._window_began) / WINDOW_S)
        return (self._counted + self._before * of_before) / min(WINDOW_S, max(_LEAST_S, now - self._since))

    def _turn(self, now: float) -> None:
        windows = int((now - self._window_began) / WINDOW_S)
        self._before = self._counted if windows == 1 else 0
        self._counted = 0
        self._window_began += windows * WINDOW_S
