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


class LoopClock:
    """The running event loop's time, and the system's wall clock."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
