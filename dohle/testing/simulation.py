"""A simulation: one seed's cluster, clients and faults; first a storm, then calm, then judgement."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass

from dohle.testing.history import check
from dohle.testing.invariants import Invariants
from dohle.testing.scheduler import SimulationStuck
from dohle.testing.storm import Storm
from dohle.testing.workload import Mix, Workload
from dohle.testing.world import World

STORM_S = 60.0
LOOK_EVERY_S = 0.05
RECOVERY_S = 60.0
"""Within so much of virtual time after the storm everything must be in order again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a seed."""

    seed: int
    violations: tuple[str, ...]
    trace_hash: str
    simulated_s: float
    events: int
    acknowledged: int
    sent: int
    faults: dict[str, int]
    timeline: tuple[str, ...]


class Simulation:
    """One run."""

    def __init__(self, seed: int, *, storm_s: float = STORM_S) -> None:
        self.world = World(seed)
        self._seed = seed
        self._storm_s = storm_s
        self._invariants = Invariants(self.world)
        self._mix = Mix.drawn(self.world.random("mix"))
        self._workload = Workload(self.world, self._mix)
        self._storm = Storm(self.world, self.world.random("storm"))

    def run(self) -> Outcome:
        """Runs it to its end or its first violation. The garbage collector rests: it would run finalizers at whim."""
        collecting = gc.isenabled()
        gc.disable()
        violations: list[str] = []
        try:
            self.world.run(self._script())
        except (AssertionError, SimulationStuck) as failure:
            violations.append(str(failure))
        finally:
            self.world.end()
            if collecting:
                gc.enable()
        violations += self._invariants.violations + self.world.bugs
        if not violations:
            violations += [str(anomaly) for anomaly in check(self._workload.history)]
        return Outcome(
            seed=self._seed,
            violations=tuple(violations),
            trace_hash=self.world.scheduler.trace.digest(),
            simulated_s=self.world.scheduler.now,
            events=self.world.scheduler.events,
            acknowledged=self._workload.history.acknowledged,
            sent=len(self._workload.history.sends),
            faults=dict(sorted(self._storm.faults.items())),
            timeline=tuple(self.world.timeline),
        )

    async def _script(self) -> None:
        world, workload = self.world, self._workload
        world.say(f"seed {self._seed}: {self._mix}")
        await world.format()
        for node_id in world.machines:
            world.start(node_id)
        world.director.spawn(self._look(), "look")
        await world.all_ready()
        workload.start()
        self._storm.begin()
        await self._while_sound(world.scheduler.now + self._storm_s)
        await self._storm.calm()
        await self._until(lambda: workload.made, "the topic is made")
        await self._until(self._invariants.healthy, "every replica is in sync again")
        await workload.stop()
        world.say("the writers have ended")
        await world.clock.sleep(1.0)  # a moved watermark reaches the followers
        await workload.read_all()
        await self._invariants.replicas_agree()

    async def _look(self) -> None:
        while True:
            self._invariants.look()
            await self.world.clock.sleep(LOOK_EVERY_S)

    async def _while_sound(self, until: float) -> None:
        while self.world.scheduler.now < until:
            self._stop_if_violated()
            await self.world.clock.sleep(0.2)

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        def over() -> bool:
            self._stop_if_violated()
            return condition()

        await self.world.until(over, RECOVERY_S, what)

    def _stop_if_violated(self) -> None:
        assert not self._invariants.violations, "an invariant fell"


def simulate(seed: int, *, storm_s: float = STORM_S) -> Outcome:
    """Runs `seed` and says what became of it."""
    return Simulation(seed, storm_s=storm_s).run()
