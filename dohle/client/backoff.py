"""Backoff: how long to wait before the next try."""

from __future__ import annotations

from random import Random
from typing import Final

_FIRST_S: Final = 0.020
_LONGEST_S: Final = 0.500
_GROWTH: Final = 1.25  # gentle: how late a new leader is noticed is a share of how long there was none


class Backoff:
    """Grows from 20 ms to half a second while tries fail; up to a fifth is left to chance, so that clients spread."""

    __slots__ = ("_next_s", "_random")

    def __init__(self, random: Random) -> None:
        self._random = random
        self._next_s = _FIRST_S

    def next_s(self) -> float:
        wait_s = self._next_s
        self._next_s = min(wait_s * _GROWTH, _LONGEST_S)
        return wait_s * (1 - self._random.random() / 5)

    def reset(self) -> None:
        self._next_s = _FIRST_S
