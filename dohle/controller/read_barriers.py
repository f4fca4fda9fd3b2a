"""ReadBarriers: the linearizable reads that wait until a majority has confirmed that this node leads (raft.md, rule 7).

Each has a number of its own, by which Raft says how it ended. Bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dohle.model.errors import NotController, ThrottlingQuotaExceeded

MOST_BARRIERS = 1024


class ReadBarriers:
    """Those of one quorum."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, begin: Callable[[int], None]) -> int:
        """Begins one with its number, and returns the offset up to which to apply before the read.

        Raises what `end` was told, ThrottlingQuotaExceeded if too many wait.
        """
        if len(self._waiting) >= MOST_BARRIERS:
            raise ThrottlingQuotaExceeded("too many reads wait for the controllers' quorum; ask again a little later")
        self._last += 1
        number = self._last
        barrier: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[number] = barrier
        try:
            begin(number)
            return await barrier
        finally:
            self._waiting.pop(number, None)

    def end(self, number: int, outcome: int | NotController) -> None:
        """The read of that number has ended with an offset, or with a refusal."""
        barrier = self._waiting.get(number)
        if barrier is None or barrier.done():
            return
        if isinstance(outcome, NotController):
            barrier.set_exception(outcome)
        else:
            barrier.set_result(outcome)

    def cancel(self) -> None:
        """Nobody will answer any more."""
        for barrier in self._waiting.values():
            barrier.cancel()
