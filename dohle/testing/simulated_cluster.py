"""SimulatedCluster: a cluster under test whose nodes, network, disks and time are simulated, as is the test's process.

The test's coroutine runs in a simulated process of its own, beside the nodes: whatever it does with asyncio happens in
virtual time, and every SDK client made meanwhile is one of the simulated world. The seed decides everything, so one
seed and one test are one run. Threads, sockets and processes are not to be had there.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any, TypeVar

from dohle.client.seams import Seams
from dohle.model.errors import ConfigurationError
from dohle.runtime.clock import Clock
from dohle.runtime.network import Network
from dohle.testing.cluster_under_test import ClusterUnderTest
from dohle.testing.process import NodeProcess
from dohle.testing.scheduler import SimulationStuck
from dohle.testing.topology import Topology
from dohle.testing.waiting import waiting_at, waiting_tasks
from dohle.testing.world import World

T = TypeVar("T")

TIME_LIMIT_S = 300.0
_START_PATIENCE_S = 60.0
_CANCEL_PATIENCE_S = 10.0
_NOT_SIMULATED = (
    "dohle_world simulates time, and what goes through Dohle's clients: sockets, threads and processes are not to be"
    " had there. Hand such parts in from the test, or use dohle_cluster"
)


class SimulationFailed(AssertionError):
    """A node failed, or the test does not go on."""


class SimulatedCluster(ClusterUnderTest):
    """A cluster of `nodes` simulated nodes. `run` runs coroutines beside them; `end` freezes all of it."""

    def __init__(self, seed: int, *, nodes: int = 3, time_limit_s: float = TIME_LIMIT_S) -> None:
        world = World(seed, Topology.combined(nodes))
        self._process = world.client("test")
        super().__init__(tuple(world.machines), ",".join(world.bootstrap), self._process.clock, "1")
        self.seed = seed
        self._world = world
        self._time_limit_s = time_limit_s
        self._deadline = 0.0
        self._cut_off: dict[int, None] = {}
        self._ended: dict[str, None] = {}  # processes of which it was told that they ended by themselves
        self.run(self._begin())

    async def _begin(self) -> None:
        await self._world.format()
        for node in self.nodes:
            self._world.start(node)
        await self._world.all_ready()

    # running

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work` in the simulated world, and returns or raises what it does.

        Raises SimulationFailed if a node fails meanwhile, or if `work` does not end within the time limit; `work` is
        then cancelled, so that it can tidy up. Time stands still between two runs.
        """
        __tracebackhide__ = True
        if asyncio._get_running_loop() is not None:
            work.close()
            raise RuntimeError("an event loop runs already: in a coroutine await this, and `run` nothing")
        self._deadline = self._world.scheduler.now + self._time_limit_s
        task: asyncio.Task[T] = self._process.loop.create_task(work, name="the test")
        with _no_collection():
            what = self._run_until_done(task)
            if what:
                self._world.say(what)
                waiting = waiting_tasks(self._process.loop.tasks)
                failure = SimulationFailed(f"{what}\nWho waits in the test's process:\n{waiting}")
                failure.with_traceback(waiting_at(task))
                self._cancel(task)
                raise failure
        try:
            return task.result()
        except NotImplementedError as error:
            error.add_note(_NOT_SIMULATED)
            raise

    def _run_until_done(self, task: asyncio.Task[Any]) -> str:
        """Returns why the simulation cannot go on, if so."""
        scheduler, bugs = self._world.scheduler, self._world.bugs
        known = len(bugs)
        stuck = (
            f"the test has not ended within {self._time_limit_s:g} simulated seconds, which"
            " @pytest.mark.dohle_world(time_limit_s=...) can raise"
        )
        try:
            scheduler.run_until(
                lambda: (
                    task.done()
                    or len(bugs) > known
                    or bool(scheduler.callback_failures)
                    or scheduler.now > self._deadline  # the nodes' timers let no deadlock of the test's be seen
                )
            )
        except SimulationStuck as failure:
            stuck = str(failure).partition("\n")[0]
        bugs += scheduler.callback_failures
        scheduler.callback_failures.clear()
        for machine in self._world.machines.values():
            process = machine.process
            if process is None or process.ended is None or process.met_disk_failure or process.name in self._ended:
                continue
            self._ended[process.name] = None
            bugs.append(f"{process.name} ended by itself: {process.ended!r}")
        return "; ".join(bugs[known:]) or ("" if task.done() else stuck)

    def _cancel(self, task: asyncio.Task[Any]) -> None:
        """Lets what was cut short tidy up; how that goes is nothing beside why it was cut short."""
        scheduler = self._world.scheduler
        deadline = scheduler.now + _CANCEL_PATIENCE_S
        task.cancel()
        try:
            scheduler.run_until(lambda: task.done() or scheduler.now > deadline)
        except SimulationStuck:
            return
        if task.done() and not task.cancelled():
            task.exception()

    def end(self) -> None:
        """Freezes all that still runs."""
        self._world.end()

    @property
    def timeline(self) -> Sequence[str]:
        """What happened, line by line."""
        return self._world.timeline

    @property
    def trace_hash(self) -> str:
        """Two runs with one hash were the same run."""
        return self._world.scheduler.trace.digest()

    def seams(self, client_id: str, network: Network | None, clock: Clock | None, random: Random | None) -> Seams:
        """Returns what a client made by the test stands on, in place of `Seams.of`."""
        if asyncio._get_running_loop() not in (None, self._process.loop):
            raise ConfigurationError(
                f"{client_id} was made on a real event loop, and a test with dohle_world runs in simulated time: make"
                " it in the test's coroutine or in `dohle_world.run`; the clients of dohle.sync need dohle_cluster"
            )
        process = self._process
        return Seams(network or process.network, clock or process.clock, random or process.random, owns_network=False)

    # time

    async def advance(self, seconds: float) -> None:
        self._world.say(f"{seconds:g} seconds pass")
        self._deadline += seconds
        await super().advance(seconds)

    # nodes

    def serves(self, node: int) -> bool:
        if node not in self.nodes or node in self._cut_off:
            return False
        process = self._running(node)
        return process is not None and process.ready and not process.loop.paused

    def _running(self, node: int) -> NodeProcess | None:
        process = self._world.machines[node].process
        return None if process is None or process.over else process

    def _all_running(self, nodes: Sequence[int]) -> tuple[int, ...]:
        for node in self._known(nodes):
            if self._running(node) is None:
                process = self._world.machines[node].process
                why = f": it has ended by itself, by {process.ended!r}" if process is not None else ""
                raise ConfigurationError(f"node {node} does not run{why}")
        return tuple(nodes)

    def kill(self, *nodes: int) -> None:
        for node in self._all_running(nodes):
            self._world.kill(node)

    def lose_power(self, *nodes: int) -> None:
        for node in self._all_running(nodes):
            self._world.lose_power(node)

    async def start(self, *nodes: int) -> None:
        for node in self._known(nodes):
            if self._running(node) is not None:
                raise ConfigurationError(f"node {node} runs already")
        processes: list[NodeProcess | None] = []
        for node in nodes:
            machine = self._world.machines[node]
            if machine.process is not None:
                self._world.kill(node)  # what is left of one that ended by itself
            self._world.start(node)
            processes.append(machine.process)
        await self._world.until(
            lambda: all(process is None or process.ready or process.over for process in processes),
            _START_PATIENCE_S,
            f"started nodes serve ({', '.join(map(str, nodes))}), which takes a majority of the controllers",
        )
        for process in processes:
            if process is not None and process.over:
                raise ConfigurationError(f"{process.name} has ended by itself, by {process.ended!r}")

    def pause(self, *nodes: int) -> None:
        for node in self._all_running(nodes):
            self._world.pause(node)

    def resume(self, *nodes: int) -> None:
        for node in self._all_running(nodes):
            self._world.resume(node)

    # networks and disks

    def partition(self, *nodes: int, from_clients: bool = True) -> None:
        inside = self._known(nodes)
        self._world.say(f"cut off from the others{' and from clients' * from_clients}: {_listed(inside)}")
        outside = [machine.name for node, machine in self._world.machines.items() if node not in inside]
        if from_clients:
            outside.append(self._process.machine)
        for node in inside:
            self._cut_off[node] = None
            name = self._world.machines[node].name
            for other in outside:
                self._world.links.cut(name, other)
                self._world.links.cut(other, name)

    def fill_disk(self, *nodes: int) -> None:
        for node in self._known(nodes):
            self._world.say(f"node {node}'s disk is full")
            self._world.machines[node].disk.faults.full = True

    def fail_disk(self, *nodes: int) -> None:
        for node in self._known(nodes):
            self._world.say(f"every fsync on node {node}'s disk fails from now on")
            self._world.machines[node].disk.faults.sync_fails = True

    def slow_disk(self, *nodes: int, factor: float = 100.0) -> None:
        if factor <= 0:
            raise ConfigurationError(f"a disk cannot be slower by {factor:g}: give a factor above 0")
        for node in self._known(nodes):
            self._world.say(f"node {node}'s disk is slower by {factor:g}")
            self._world.machines[node].disk.faults.slowness = factor

    def heal(self) -> None:
        self._world.say("networks and disks are healed")
        self._cut_off.clear()
        self._world.links.mend_all()
        for node, machine in self._world.machines.items():
            machine.disk.faults.mend()
            process = self._running(node)
            if process is not None and process.loop.paused:
                self._world.resume(node)


def _listed(nodes: Sequence[int]) -> str:
    return ", ".join(f"node {node}" for node in nodes)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keeps the garbage collector from running finalizers at whim, so that runs are alike."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
