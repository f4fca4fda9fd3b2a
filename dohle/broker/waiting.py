"""Acknowledgements that wait for an offset to be reached.

A waiting acknowledgement belongs to the leader epoch of its append (rule 10): its owner fails all of them when that
epoch ends, so that none succeeds by a watermark of a later one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from dohle.model.errors import DohleError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Produced:
    """An acknowledged batch. `log_append_time_ms` is -1 unless the topic stamps it."""

    base_offset: int
    log_append_time_ms: int
    log_start_offset: int


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[T]):
    end_offset: int
    deadline: float
    answer: T
    future: asyncio.Future[T]


class Acknowledgements(Generic[T]):
    """What waits, by the offset it waits for."""

    def __init__(self) -> None:
        self._waiting: deque[_Waiting[T]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, end_offset: int, deadline: float, answer: T) -> asyncio.Future[T]:
        """Returns the future of `answer`, done once everything below `end_offset` counts."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(end_offset, deadline, answer, future)
        at = len(self._waiting)
        while at and self._waiting[at - 1].end_offset > end_offset:  # a duplicate waits for an older offset
            at -= 1
        self._waiting.insert(at, waiting)
        return future

    def reached(self, offset: int, failure: DohleError | None = None) -> None:
        """Completes what waited for `offset` or less; with `failure` if the offset counts no longer as promised."""
        while self._waiting and self._waiting[0].end_offset <= offset:
            waiting = self._waiting.popleft()
            if waiting.future.done():
                continue
            if failure is None:
                waiting.future.set_result(waiting.answer)
            else:
                waiting.future.set_exception(failure)

    def expire(self, now: float, failure: DohleError) -> None:
        """Fails what has waited past its deadline; the order of the others stays."""
        if not any(waiting.deadline <= now for waiting in self._waiting):
            return
        kept: deque[_Waiting[T]] = deque()
        for waiting in self._waiting:
            if waiting.deadline > now:
                kept.append(waiting)
            elif not waiting.future.done():
                waiting.future.set_exception(failure)
        self._waiting = kept

    def fail_all(self, failure: DohleError) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.future.done():
                waiting.future.set_exception(failure)
