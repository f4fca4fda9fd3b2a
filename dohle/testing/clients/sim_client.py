"""SimClient: a client's process in the simulated world, and the history in which it notes what it does and sees."""

from __future__ import annotations

from random import Random
from typing import Any

from dohle.testing.history.history import History
from dohle.testing.history.operations import Micro, Operation, Outcome
from dohle.testing.world.process import SimProcess
from dohle.testing.world.world import World


def seams_of(process: SimProcess) -> dict[str, Any]:
    """Returns what an SDK client needs to live in `process`."""
    return {"network": process.network, "clock": process.clock, "random": process.random}


class SimClient:
    """One client, on a machine of its own."""

    def __init__(self, world: World, history: History, name: str) -> None:
        self.process: SimProcess = world.client(name)
        self.clock = self.process.clock
        self.random: Random = self.process.random
        self.bootstrap = world.bootstrap
        self._history = history
        self._scheduler = world.scheduler

    @property
    def seams(self) -> dict[str, Any]:
        return seams_of(self.process)

    def invoke(self, *micro: Micro) -> Operation:
        return self._history.invoke(self.process.name, *micro, at_s=self._scheduler.now)

    def complete(
        self, operation: Operation, outcome: Outcome, *micro: Micro, rebalanced: tuple[str, ...] = (), why: str = ""
    ) -> None:
        now_s = self._scheduler.now
        self._history.complete(operation, outcome, *micro, at_s=now_s, rebalanced=rebalanced, why=why)
