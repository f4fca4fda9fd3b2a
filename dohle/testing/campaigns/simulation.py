"""A simulation: one plan's cluster, clients and faults; first a storm, then just enough is healed, then judgement."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field

from dohle.cluster.config import NodeConfig
from dohle.model.metadata import NEWEST_METADATA_VERSION
from dohle.testing.campaigns.plan import STORM_S, Plan
from dohle.testing.clients.overwriter import Compacted
from dohle.testing.clients.workload import Workload
from dohle.testing.faults.storm import Storm
from dohle.testing.history.history import check
from dohle.testing.history.history_lines import write_lines
from dohle.testing.history.operations import Operation, Outcome, Send
from dohle.testing.invariants.group_watch import watched_groups
from dohle.testing.invariants.invariants import Invariants
from dohle.testing.invariants.pushes import watched_pushes
from dohle.testing.invariants.rare import Rare
from dohle.testing.invariants.recovery import what_is_missing
from dohle.testing.world.scheduler import SimulationStuck
from dohle.testing.world.world import World

_LOOK_EVERY_S = 1.0
_RETENTION_CHECK_MS = NodeConfig().log_retention_check_interval_ms
_OFTEN_MS = 1_500
"""So often logs are looked at whose topics do not retain all."""
_RECOVERY_S = 60.0
"""Within so much of virtual time after the storm everything must be in order again."""
ENOUGH_RECORDS = 500
"""A whole run has so many acknowledged ones, or it shows too little."""
_ENOUGH_S = 60.0
_WRITES_S = 30.0
"""Within so much more every writer must have written."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What became of a plan. A run that did not get to an end has violations alone."""

    seed: int
    plan: Plan
    violations: tuple[str, ...]
    trace_hash: str = ""
    simulated_s: float = 0.0
    events: int = 0
    acknowledged: int = 0
    sent: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    rare: dict[str, int] = field(default_factory=dict)
    timeline: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    """What the clients of a run that failed did and saw, as lines (`history_lines`)."""


_SCRUB_BYTES_PER_S = 50_000


class Simulation:
    """One run."""

    def __init__(self, plan: Plan) -> None:
        self.world = World(
            plan.seed,
            plan.topology,
            snapshot_bytes=plan.snapshot_bytes,
            log_retention_check_interval_ms=_RETENTION_CHECK_MS if plan.mix.retains_all else _OFTEN_MS,
            **_cleaner_settings(plan.mix.compacted),
            **({} if plan.mix.grouped is None else plan.mix.grouped.settings),
            formatted_at=plan.formatted_at or NEWEST_METADATA_VERSION,
            replica_fill_bytes_per_s=plan.fill_bytes_per_s,
            log_scrub_interval_ms=plan.scrub_interval_ms,
            log_scrub_bytes_per_s=_SCRUB_BYTES_PER_S,
        )
        self._plan = plan
        self._workload = Workload(self.world, plan.mix)
        self._invariants = Invariants(self.world, self._workload.deletions)
        self.world.scheduler.on_turn = self._invariants.after_turn
        self._storm = Storm(self.world, plan)

    def run(self) -> RunOutcome:
        """Runs it to its end or its first violation. The garbage collector rests: it would run finalizers at whim."""
        collecting = gc.isenabled()
        gc.disable()
        violations: list[str] = []
        rare = Rare()
        try:
            violated = self._invariants.violated
            with rare, watched_pushes(violated), watched_groups(violated), self._invariants.touched:
                self.world.run(self._script())
        except (AssertionError, SimulationStuck) as failure:
            if not self._invariants.violations:
                violations.append(str(failure) or repr(failure))
        finally:
            self.world.end()
            gc.freeze()  # nothing of a world is ever let go: no collection needs to look through it
            if collecting:
                gc.enable()
        violations += self._invariants.violations + self.world.bugs
        if not violations:
            starts = self._invariants.log_starts()
            violations += [str(anomaly) for anomaly in check(self._workload.history, starts)]
        return RunOutcome(
            seed=self._plan.seed,
            plan=self._plan,
            violations=tuple(violations),
            trace_hash=self.world.scheduler.trace.digest(),
            simulated_s=self.world.scheduler.now,
            events=self.world.scheduler.events,
            acknowledged=self._workload.history.acknowledged,
            sent=len(self._workload.history.sends),
            faults=dict(sorted(self._storm.faults.items())),
            rare=rare.counts,
            timeline=tuple(self.world.timeline),
            history=tuple(write_lines(self._workload.history)) if violations else (),
        )

    async def _script(self) -> None:
        world, workload = self.world, self._workload
        world.say(f"seed {self._plan.seed}: {self._plan.topology}; {self._plan.mix}")
        await world.format()
        for node_id in world.machines:
            world.start(node_id)
        world.director.spawn(self._look(), "look")
        await world.all_ready()
        workload.start()
        self._storm.begin()
        await self._for(self._plan.storm_s)
        await self._storm.heal(world.random("heal"))
        await self._recover()
        await workload.stop()
        world.say("the writers have ended")
        await workload.group_reads_all(self._invariants.log_starts)
        await self._for(1.0)  # a moved watermark reaches the followers
        await workload.read_all()
        await workload.judge_last_values(self._invariants.log_starts)
        self._invariants.look()
        await self._invariants.replicas_agree()

    async def _recover(self) -> None:
        """Returns once the cluster is in order, and takes writes."""
        workload, reasons = self._workload, [""]

        def in_order() -> bool:
            self._stop_if_violated()
            reasons[0] = "the topic is not made" if not workload.made else ""
            reasons[0] = reasons[0] or what_is_missing(self.world, self._invariants.newest)
            return not reasons[0]

        try:
            await self.world.until(in_order, _RECOVERY_S, "everything is in order")
        except AssertionError as failure:
            raise AssertionError(f"{failure}: {reasons[0]}") from None
        self.world.say("everything is in order")
        operations = workload.history.operations
        begun, writers = len(operations), _writers(operations)

        def all_wrote() -> bool:
            return _writers([one for one in operations[begun:] if one.outcome is Outcome.OK]) >= writers

        await self.world.until(all_wrote, _WRITES_S, "every writer's new writes are acknowledged")
        if self._plan.storm_s >= STORM_S:  # one that was hard may have let few through
            await self.world.until(
                lambda: workload.history.acknowledged >= ENOUGH_RECORDS,
                _ENOUGH_S,
                f"{ENOUGH_RECORDS} records are acknowledged",
            )

    async def _look(self) -> None:
        while True:
            self._invariants.look()
            await self.world.clock.sleep(_LOOK_EVERY_S)

    async def _for(self, seconds: float) -> None:
        """Lets time pass, until an invariant falls."""
        until = self.world.scheduler.now + seconds
        while self.world.scheduler.now < until:
            self._stop_if_violated()
            await self.world.clock.sleep(0.2)

    def _stop_if_violated(self) -> None:
        assert not self._invariants.violations, "an invariant fell"


def _cleaner_settings(compacted: Compacted | None) -> dict[str, int]:
    if compacted is None:
        return {}
    return {
        "log_cleaner_backoff_ms": compacted.backoff_ms,
        "log_cleaner_dedupe_buffer_size": compacted.memory_bytes,
    }


def _writers(operations: Sequence[Operation]) -> set[str]:
    return {one.process for one in operations if any(isinstance(micro, Send) for micro in one.micro)}


def run_plan(plan: Plan) -> RunOutcome:
    """Runs `plan` and says what became of it."""
    return Simulation(plan).run()


def simulate(seed: int, *, storm_s: float = STORM_S) -> RunOutcome:
    """Runs what `seed` draws and says what became of it."""
    return run_plan(Plan.drawn(seed, storm_s))
