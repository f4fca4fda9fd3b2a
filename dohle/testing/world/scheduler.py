"""Scheduler: one thread of virtual time under the event loops of all simulated processes.

Time stands still while anything can run and then jumps to the next timer. The seed decides which process runs next;
within one, callbacks run in the order in which they were scheduled, as `call_soon` promises. Nothing else has a say: no
selector, no thread, no wall clock.
"""

from __future__ import annotations

import math
from asyncio.events import _set_running_loop
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

from dohle.testing.world.trace import TURN, Trace
from dohle.testing.world.waiting import waiting_tasks

if TYPE_CHECKING:
    from dohle.testing.world.process_loop import ProcessLoop


class SimulationStuck(Exception):
    """The simulation cannot go on: a deadlock, or a loop that never rests. Says who waits."""


class Scheduler:
    """Runs loops made with `ProcessLoop(scheduler, name)`."""

    def __init__(self, random: Random, *, event_budget: int = 20_000_000) -> None:
        self.now = 0.0
        self.deadline = math.inf
        self.events = 0
        self.trace = Trace()
        self.loops: list[ProcessLoop] = []
        self.runnable: list[ProcessLoop] = []  # those that may run next: who has work adds itself, once
        self.callback_failures: list[str] = []
        self.on_turn: Callable[[ProcessLoop], None] | None = None
        self._random = random
        self._event_budget = event_budget
        self._timers: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self.serial = partial(next, count(1))
        """Returns the next of the run's numbers; what hashes or compares by it does so alike in every run."""
        self._stopped = False

    def at(self, when: float, happens: Callable[..., object], *args: Any) -> None:
        """Calls `happens` at the time `when`, outside of all processes; at one time, in the order of these calls."""
        heappush(self._timers, (when, self.serial(), happens, args))

    def stop(self) -> None:
        """Has `run` end after this turn."""
        self._stopped = True

    def run(self) -> None:
        """Runs until it is stopped, or the next timer lies past the deadline. Raises SimulationStuck."""
        runnable, trace, draw, on_turn = self.runnable, self.trace, self._random.randrange, self.on_turn
        take, enter, pack = runnable.pop, _set_running_loop, TURN.pack
        self._stopped = False
        try:
            while not self._stopped:
                if not runnable:
                    self._jump()
                    continue
                loop = take(draw(len(runnable))) if len(runnable) > 1 else take()
                trace.gathered += pack(self.now, loop.number)
                enter(loop)
                self.events += loop.turn()
                if on_turn is not None:
                    on_turn(loop)
                if self.events > self._event_budget:
                    raise SimulationStuck(
                        f"{self.events} events after {self.now:.3f} simulated seconds: something never rests, at last"
                        f" in {loop.name}.\n{self._waiting()}"
                    )
        finally:
            enter(None)

    def _jump(self) -> None:
        """Moves time to the next timer, and to the one after it until something can run."""
        timers, runnable, take = self._timers, self.runnable, heappop
        while timers:
            now = timers[0][0]
            if now > self.deadline:
                self.stop()
                return
            if now > self.now:
                self.now = now
            else:
                now = self.now
            while timers and timers[0][0] <= now:
                _, _, happens, args = take(timers)
                happens(*args)
            if runnable or self._stopped:
                return
        raise SimulationStuck(f"a deadlock at {self.now:.3f}: no timer, and nothing can run.\n" + self._waiting())

    def _waiting(self) -> str:
        """Returns which tasks of living processes wait, and where."""
        living = [loop for loop in self.loops if loop.alive and any(not task.done() for task in loop.tasks)]
        return "\n".join(f"{loop.name}:\n{waiting_tasks(loop.tasks)}" for loop in living)
