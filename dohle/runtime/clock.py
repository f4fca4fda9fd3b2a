"""Clock: the one place that time comes from.

Monotonic time drives every timer; wall time only stamps records and log lines. `asyncio.timeout` and
`loop.call_later` follow the event loop's time, and so this clock's.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Time for one node."""

    def now(self) -> float:
        """Returns monotonic seconds; only differences mean anything."""
        ...

    def wall_ms(self) -> int:
        """Returns milliseconds since 1970-01-01 UTC; may jump either way."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns after `seconds` of monotonic time; at once, yet after other ready tasks ran, for 0."""
        ...

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        """Returns once `event` is set, which this does itself after `seconds`; with None it waits for good.

        For what comes round all the time, and sees for itself what is due: `asyncio.timeout` would cancel its task each
        time, at three times the cost.
        """
        ...


class LoopClock:
    """The running event loop's time, and the system's wall clock."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        timer = None if seconds is None else self._set_later(event, max(seconds, 0.0))
        try:
            await event.wait()
        finally:
            if timer is not None:
                timer.cancel()

    def _set_later(self, event: asyncio.Event, seconds: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, event.set)
