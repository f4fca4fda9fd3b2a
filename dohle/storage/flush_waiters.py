"""Flush waiters: who waits until a log is durable up to some offset."""

from __future__ import annotations

import asyncio
from collections import deque

from dohle.model.errors import DohleError


class FlushWaiters:
    """In the order of their offsets, since a log's end never falls but by a truncation, which ends all waiting."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def wait_for(self, end: int) -> asyncio.Future[None]:
        """Returns what is done once everything below `end` is durable."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append((end, waiter))
        return waiter

    def reached(self, end: int) -> None:
        while self._waiting and self._waiting[0][0] <= end:
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def end_all(self, failure: DohleError | None) -> None:
        """Nobody waits any more: each is told of `failure`, or, without one, that all which is left is durable."""
        waiting, self._waiting = self._waiting, deque()
        for waiter in [waiter for _, waiter in waiting if not waiter.done()]:
            if failure is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(type(failure)(failure.message))
