"""Allowance: how many of the frames that cost the far side nothing are taken from it."""

from __future__ import annotations


class Allowance:
    """`most` at once, and `per_s` more each second."""

    def __init__(self, most: int, per_s: float) -> None:
        self._most = most
        self._per_s = per_s
        self._left = float(most)
        self._at_s = 0.0

    def take(self, now: float) -> bool:
        """Takes one; returns whether there was one."""
        self._left = min(self._most, self._left + (now - self._at_s) * self._per_s)
        self._at_s = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
