"""Turnstile: lets one piece of work through in each pass of the event loop.

Bulk reads from the page cache take the loop a fraction of a millisecond each. With many readers at full speed a pass
would have one of each, and whatever needs several passes, as an append does until it is durable, would wait for them
all.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Turnstile:
    """Of one event loop, in the order of arrival."""

    def __init__(self) -> None:
        self._is_taken = False  # in this pass
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def passed(self) -> None:
        """Returns at once where nobody came through in this pass, else when it is the caller's turn."""
        loop = asyncio.get_running_loop()
        if self._is_taken:
            turn = loop.create_future()
            self._waiting.append(turn)
            await turn
            return
        self._is_taken = True
        loop.call_soon(self._next)

    def _next(self) -> None:
        """A pass later."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # who waited was cancelled
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._next)
                return
        self._is_taken = False
