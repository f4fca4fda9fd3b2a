"""DriftingLoop: the event loop of a process on a machine whose monotonic clock, and so its timers, run fast or slow."""

from __future__ import annotations

from dohle.testing.world.process_loop import ProcessLoop
from dohle.testing.world.scheduler import Scheduler


class DriftingLoop(ProcessLoop):
    """Its clock advances by `rate` seconds a second."""

    def __init__(self, scheduler: Scheduler, name: str, time_offset: float, rate: float) -> None:
        super().__init__(scheduler, name, time_offset)
        self._rate = rate

    def time(self) -> float:
        return super().time() * self._rate

    def world_time(self, when: float) -> float:
        # a little late, so that rounding never lets a timer find that it is not due yet
        return super().world_time(when / self._rate + 1e-9)
