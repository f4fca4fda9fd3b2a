"""ReadBudget: how many bytes a second may be read for what can wait: copies, catching up, scrubbing, compaction.

A chunk may overdraw the budget; the next one waits until that is made good.
"""

from __future__ import annotations

from collections.abc import Callable

from dohle.runtime.clock import Clock

LEAST_CHUNK_BYTES = 16 << 10
"""However slow: a chunk is never smaller."""


class ReadBudget:
    """`bytes_per_s` says what holds now; 0 means no bound."""

    def __init__(self, clock: Clock, bytes_per_s: Callable[[], int]) -> None:
        self._clock = clock
        self._bytes_per_s = bytes_per_s
        self._free_at = 0.0

    def pause_s(self) -> float:
        """Returns for how long nothing may be read."""
        return max(0.0, self._free_at - self._clock.now()) if self._bytes_per_s() else 0.0

    def chunk_bytes(self, most_bytes: int) -> int:
        """Returns how much may be read at once: what a second allows, at the most."""
        rate = self._bytes_per_s()
        return min(most_bytes, max(rate, LEAST_CHUNK_BYTES)) if rate else most_bytes

    def spend(self, size_bytes: int) -> None:
        rate = self._bytes_per_s()
        if rate:
            self._free_at = max(self._free_at, self._clock.now()) + size_bytes / rate
