"""A bound on bytes in flight: back-pressure."""

from __future__ import annotations

import asyncio
from collections import deque


class ByteBudget:
    """Up to `most_bytes` at once, first come first served; a single larger piece passes while nothing else is out."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._taken = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size_bytes: int) -> None:
        """Returns once `size_bytes` fit."""
        if self.take_if_fits(size_bytes):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size_bytes, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(size_bytes)
            raise

    def take_if_fits(self, size_bytes: int) -> bool:
        """Takes them without a wait, or returns False."""
        fits = not self._waiting and self._fits(size_bytes)
        if fits:
            self._taken += size_bytes
        return fits

    def take_now(self, size_bytes: int) -> None:
        """Counts what is there already, whether it fits or not; others wait the longer."""
        self._taken += size_bytes

    @property
    def free_bytes(self) -> int:
        """How much fits; 0 also where more is out than may be."""
        return max(0, self._most_bytes - self._taken)

    def give_back(self, size_bytes: int) -> None:
        self._taken -= size_bytes
        while self._waiting:
            size, turn = self._waiting[0]
            if turn.done():  # whoever waited was cancelled
                self._waiting.popleft()
                continue
            if not self._fits(size):
                return
            self._waiting.popleft()
            self._taken += size
            turn.set_result(None)

    def _fits(self, size_bytes: int) -> bool:
        return self._taken == 0 or self._taken + size_bytes <= self._most_bytes
