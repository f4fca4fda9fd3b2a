"""Processes of the simulated world: nodes as they are in production, and clients.

A process has an event loop, a clock and a network of its own, and shares nothing with others. A machine has the disk
that outlives a node's processes. What a real process's `main` does around a `Node` is done here.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from dohle.cluster.config import NodeConfig
from dohle.cluster.node import Node, Seams
from dohle.model.errors import DohleError
from dohle.model.metadata import (
    METADATA_VERSION,
    NEWEST_METADATA_VERSION,
    OLDEST_METADATA_VERSION,
    FeatureRange,
)
from dohle.runtime.tasks import Tasks
from dohle.testing.world.disk import SimDisk
from dohle.testing.world.drifting_loop import DriftingLoop
from dohle.testing.world.network import Fabric, SimNetwork
from dohle.testing.world.process_loop import ProcessLoop
from dohle.testing.world.seams import InlineWorkers, SimClock

OnBug = Callable[[str], None]


class SimProcess:
    """One process. `on_bug` hears of exceptions that nothing should let through."""

    def __init__(
        self, name: str, machine: str, fabric: Fabric, chance: Random, on_bug: OnBug, *, clock_rate: float = 1.0
    ) -> None:
        self.name = name
        self.machine = machine
        self.random = chance
        time_offset = chance.uniform(0, 10_000)
        self.loop: ProcessLoop
        if clock_rate == 1.0:
            self.loop = ProcessLoop(fabric.scheduler, name, time_offset)  # type: ignore[abstract]  # only for mypy
        else:
            self.loop = DriftingLoop(fabric.scheduler, name, time_offset, clock_rate)  # type: ignore[abstract]
        self.clock = SimClock(fabric.scheduler, wall_offset_ms=chance.randint(-500, 500), loop=self.loop)
        self.network = SimNetwork(fabric, self, self.clock, self._broke)
        self._on_bug = on_bug
        self._tasks = Tasks(name, self._broke)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Starts `work` in this process."""
        self.loop.call_soon(self._tasks.spawn, work, name)

    def _broke(self, failure: BaseException) -> None:
        self._on_bug(f"{self.name}: {failure!r}")


class NodeProcess(SimProcess):
    """A node's process, from its start to its end."""

    def __init__(
        self,
        config: NodeConfig,
        disk: SimDisk,
        name: str,
        fabric: Fabric,
        chance: Random,
        on_bug: OnBug,
        on_over: Callable[[], object],
        *,
        clock_rate: float,
        newest_version: int = NEWEST_METADATA_VERSION,
    ) -> None:
        super().__init__(name, config.host, fabric, chance, on_bug, clock_rate=clock_rate)
        self._features = (FeatureRange(METADATA_VERSION, OLDEST_METADATA_VERSION, newest_version),)
        seams = Seams(self.clock, disk, self.network, chance, InlineWorkers(self.clock))
        self.ready = False
        self._disk = disk
        self._disk_failures_before = disk.failures
        self.ended: DohleError | OSError | None = None  # why it ended by itself
        self.over = False
        self._on_end: list[Callable[[], None]] = []
        self._on_over = on_over
        self.loop.call_soon(self._begin, config, seams)
        self.node: Node | None = None

    def _begin(self, config: NodeConfig, seams: Seams) -> None:
        self.node = Node(config, seams, on_failure=self._failed, features=self._features)
        self._tasks.spawn(self._start(self.node), "start")

    async def _start(self, node: Node) -> None:
        try:
            await node.start()
            await node.wait_until_ready()
            self.ready = True
        except DohleError as error:
            self._failed(error)

    def _failed(self, failure: BaseException) -> None:
        if not isinstance(failure, DohleError | OSError):
            self._broke(failure)
        elif self.ended is None:
            self.ended = failure
            self.stop(lambda: None)

    @property
    def met_disk_failure(self) -> bool:
        """Whether its disk has given it a reason to end."""
        return self._disk.failures > self._disk_failures_before

    @property
    def lacks_a_directory(self) -> bool:
        """Whether it goes on without one of its disks, for as long as it lives."""
        return self.node is not None and self.node.broker is not None and bool(self.node.broker.log_dirs.offline)

    @property
    def ending(self) -> bool:
        return bool(self._on_end)

    def stop(self, then: Callable[[], None]) -> None:
        """Ends it as SIGTERM does, and calls `then` when it is gone."""
        self._on_end.append(then)
        if len(self._on_end) == 1:
            ending = Tasks(f"end of {self.name}", self._broke)
            self.loop.call_soon(ending.spawn, self._stop(), "stop")

    async def _stop(self) -> None:
        await self._tasks.close()
        if self.node is not None:
            await self.node.stop()
        await self.network.close()
        self.over = True
        for tell in self._on_end:
            tell()
        self._on_over()
