"""Scheduler: one thread of virtual time under the event loops of all simulated processes.

Time stands still while anything can run and then jumps to the next timer. The seed decides which process runs next;
within one, callbacks run in the order in which they were scheduled, as `call_soon` promises. Nothing else has a say: no
selector, no thread, no wall clock.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio.events import _set_running_loop
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from dohle.testing.world.trace import Trace
from dohle.testing.world.waiting import waiting_tasks

if TYPE_CHECKING:
    from dohle.testing.world.process_loop import ProcessLoop, WorldEvent


class SimulationStuck(Exception):
    """The simulation cannot go on: a deadlock, or a loop that never rests. Says who waits."""


class Scheduler:
    """Runs loops made with `ProcessLoop(scheduler, name)`."""

    def __init__(self, random: Random, *, event_budget: int = 20_000_000) -> None:
        self.now = 0.0
        self.events = 0
        self.trace = Trace()
        self.loops: list[ProcessLoop] = []
        self.callback_failures: list[str] = []
        self.on_turn: Callable[[ProcessLoop], None] | None = None
        self._random = random
        self._event_budget = event_budget
        self._timers: list[tuple[float, int, ProcessLoop, asyncio.TimerHandle | WorldEvent]] = []
        self._serial = 0
        self._runnable: list[ProcessLoop] = []

    def serial(self) -> int:
        """Returns the next of the run's numbers; what hashes or compares by it does so alike in every run."""
        self._serial += 1
        return self._serial

    def add_timer(self, when: float, loop: ProcessLoop, handle: asyncio.TimerHandle | WorldEvent) -> None:
        heapq.heappush(self._timers, (when, self.serial(), loop, handle))

    def has_work(self, loop: ProcessLoop) -> None:
        """Puts `loop` among those that may run next; it is not among them now."""
        self._runnable.append(loop)

    def run_until(self, done: Callable[[], bool]) -> None:
        """Runs until `done`, looked at after every turn. Raises SimulationStuck."""
        try:
            while not done():
                if not self._runnable:
                    self._jump()
                    continue
                index = self._random.randrange(len(self._runnable)) if len(self._runnable) > 1 else 0
                loop = self._runnable.pop(index)
                self.trace.turn(self.now, loop.number)
                _set_running_loop(loop)
                self.events += loop.turn()
                if self.on_turn is not None:
                    self.on_turn(loop)
                if self.events > self._event_budget:
                    raise SimulationStuck(
                        f"{self.events} events after {self.now:.3f} simulated seconds: something never rests, at last"
                        f" in {loop.name}.\n{self._waiting()}"
                    )
        finally:
            _set_running_loop(None)

    def _jump(self) -> None:
        """Moves time to the next timer, and hands all that are due to their loops."""
        timers = self._timers
        if not timers:
            raise SimulationStuck(f"a deadlock at {self.now:.3f}: no timer, and nothing can run.\n" + self._waiting())
        self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= self.now:
            _, _, loop, handle = heapq.heappop(timers)
            loop.timer_is_due(handle)

    def _waiting(self) -> str:
        """Returns which tasks of living processes wait, and where."""
        living = [loop for loop in self.loops if loop.alive and loop.tasks]
        return "\n".join(f"{loop.name}:\n{waiting_tasks(loop.tasks)}" for loop in living)
