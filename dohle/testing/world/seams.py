"""The small seams of a simulated process: its clock, and its workers, which work at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from dohle.runtime.clock import LoopClock
from dohle.testing.world.process_loop import ProcessLoop
from dohle.testing.world.scheduler import Scheduler

T = TypeVar("T")

_BEGINNING_MS = 1_800_000_000_000
"""The wall's time when a simulation begins."""


class SimClock(LoopClock):
    """Virtual time; the wall clock is off by `wall_offset_ms`, as machines' clocks are."""

    def __init__(self, scheduler: Scheduler, wall_offset_ms: int = 0, loop: ProcessLoop | None = None) -> None:
        self._scheduler = scheduler
        self.wall_offset_ms = wall_offset_ms
        if loop is not None:  # the only one that asks: no need to look for the one that runs
            self.now = loop.time  # type: ignore[method-assign]

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            await _loop().sleep(seconds)
        else:
            await super().sleep(0)

    def _set_later(self, event: asyncio.Event, seconds: float) -> asyncio.TimerHandle:
        return _loop().set_later(event, seconds)

    def wall_ms(self) -> int:
        return _BEGINNING_MS + self.wall_offset_ms + int(self._scheduler.now * 1000)


def _loop() -> ProcessLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ProcessLoop), "virtual time passes in simulated processes alone"
    return loop


class InlineWorkers:
    """CPU work takes no virtual time, but lets other tasks run before its outcome is there."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock

    async def run(self, work: Callable[[], T]) -> T:
        result = work()
        await self._clock.sleep(0)
        return result

    async def aside(self, make: Callable[[], object]) -> InlineAside:
        return InlineAside(self._clock, make())

    def close(self) -> None:
        """Nothing is ever left running."""


class InlineAside:
    """The value is here."""

    def __init__(self, clock: SimClock, value: object) -> None:
        self._clock = clock
        self._value = value

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        result = work(self._value, *arguments)
        await self._clock.sleep(0)
        return result

    async def close(self) -> None:
        """Nothing is left."""
