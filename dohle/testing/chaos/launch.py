"""Launch: a run as somebody asks for it: names checked before anything is made, a folder, a Ctrl-C that leaves nothing.

`dohle selftest --chaos` and tests/jepsen-lite share it; they differ in worlds, faults and clients.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from random import Random, SystemRandom

import uvloop

from dohle.model.errors import ConfigurationError
from dohle.testing.chaos.fault import Fault, Kinds
from dohle.testing.chaos.report.page import write_report
from dohle.testing.chaos.run_folder import RunFolder
from dohle.testing.chaos.runner import Run, Runner, Say
from dohle.testing.chaos.schedule import Schedule, draw
from dohle.testing.chaos.verdict import Verdict
from dohle.testing.chaos.workload import Workload, Workloads
from dohle.testing.chaos.world import World

NODES = (3, 5)


@dataclass(frozen=True)
class Wish:
    """What is asked for. `faults`: names; None: all that can be had, of which the seed takes some; none: no fault.
    `workloads`: names; none: as many as `Harness.at_once`, which the seed takes. `schedule`: a file, in place of what
    the seed would draw. `again`: the command that runs it again, but for the seed."""

    folder: Path
    again: str
    minutes: float = 3.0
    seed: int | None = None
    faults: tuple[str, ...] | None = None
    workloads: tuple[str, ...] = ()
    schedule: Path | None = None
    nodes: int = 3


@dataclass(frozen=True)
class Harness:
    """What a machine has to offer. `world` makes one in a folder, for so many nodes and a seed. `at_once`: so many
    workloads, of each client at least one. `system` and `version`: what is broken and judged."""

    name: str
    world: Callable[[Path, int, int], World]
    kinds: Kinds
    workloads: Workloads
    final: Workload
    at_once: int = 3
    system: str = "dohle"
    version: str = field(default_factory=lambda: version("dohle"))


@dataclass(frozen=True)
class Launched:
    """`world` has not begun; nothing was made yet but its folder."""

    world: World
    run: Run
    folder: Path
    kinds: Kinds


def prepare(wish: Wish, harness: Harness) -> Launched:
    """Raises ConfigurationError for names that are not known or not to be had here, and for a bad schedule."""
    if wish.nodes not in NODES:
        raise ConfigurationError(f"{wish.nodes} nodes: a run takes {' or '.join(map(str, NODES))}")
    seed = SystemRandom().randrange(1_000_000) if wish.seed is None else wish.seed
    folder = wish.folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{seed}"
    world = harness.world(folder, wish.nodes, seed)
    workloads = harness.workloads.named(wish.workloads)
    if not wish.workloads:
        workloads = _some(Random(f"{seed} of workloads"), workloads, harness.at_once)
    schedule = _schedule(wish, seed, world, harness.kinds)
    folder.mkdir(parents=True)
    about = {
        "system": harness.system,
        "version": harness.version,
        "world": harness.name,
        "faults": sorted({step.fault for step in schedule.steps}),
        "again": f"{wish.again} --seed {seed}",
    }
    return Launched(world, Run(schedule, workloads, harness.final, about), folder, harness.kinds)


def _some(chance: Random, workloads: Sequence[Workload], count: int) -> tuple[Workload, ...]:
    """Returns so many, but of each client one at least."""
    shuffled = chance.sample(workloads, len(workloads))
    of_each = list({one.client: one for one in shuffled}.values())
    rest = [one for one in shuffled if one not in of_each]
    return (*of_each, *rest[: max(0, count - len(of_each))])


def _schedule(wish: Wish, seed: int, world: World, kinds: Kinds) -> Schedule:
    if wish.schedule is not None:
        schedule = Schedule.load(wish.schedule, kinds, world.nodes)
        _possible(kinds, world, [step.fault for step in schedule.steps])
        return schedule
    seconds = wish.minutes * 60
    if wish.faults is not None and not wish.faults:
        return Schedule(seed, world.nodes, seconds, ())
    chosen = _possible(kinds, world, wish.faults or list(kinds.possible(world)))
    return draw(seed, world.nodes, chosen, seconds, swarm=wish.faults is None)


def _possible(kinds: Kinds, world: World, names: Sequence[str]) -> dict[str, type[Fault]]:
    impossible = kinds.impossible(world)
    for name in names:
        kinds.named(name)
        if name in impossible:
            raise ConfigurationError(f"{name} cannot be made here: {impossible[name]}")
    return {name: kinds.named(name) for name in names}


def launch(launched: Launched, say: Say) -> Verdict:
    """Carries it out; the folder has everything then. Raises KeyboardInterrupt if it is interrupted, by SIGTERM, too:
    by then all is healed and ended."""
    folder = RunFolder(launched.folder, time.monotonic())
    runner = Runner(launched.world, launched.kinds, launched.run, folder, say)
    try:
        verdict = uvloop.run(_interruptible(runner.run(), say))
    finally:
        if folder.run.exists() and not folder.report.exists():  # of a run that came to no end, too
            write_report(folder.path)
        say(f"what happened lies in {launched.folder}")
    if verdict.outcome == "sound":  # nobody wants to look at these any more
        shutil.rmtree(launched.folder / "data", ignore_errors=True)
    return verdict


async def _interruptible(work: Coroutine[None, None, Verdict], say: Say) -> Verdict:
    task = asyncio.ensure_future(work)

    def interrupt() -> None:
        if task.cancel():
            say("interrupted: faults are healed and processes ended first")

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        return await task
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def told(verdict: Verdict, folder: Path) -> Iterator[str]:
    """Yields what a run has come to, for a terminal; the last line says it in a word."""
    for found in verdict.anomalies:
        yield f"{found.name}: {found.what}"
        yield from (f"    #{one.number} {one.process} {one.what}: {one.outcome}" for one in found.proof)
    yield from verdict.failures
    yield from verdict.void
    yield f"report: {RunFolder(folder, 0.0).report}"
    match verdict.outcome:
        case "sound":
            yield "GOOD: no anomaly, and every fault had an effect"
        case "anomalies":
            yield f"WRONG: {len(verdict.anomalies)} anomalies, or more of the same; everything of the run is kept"
        case "failed":
            yield "FAILED: the run could not be carried out as it should, and proves nothing"
        case "void":
            yield "VOID: no anomaly, but something had no effect, so the run proves nothing"


def choices(harness: Harness, world: World) -> Iterator[str]:
    """Yields the faults and workloads that there are, and why some cannot be had here."""
    yield f"faults:    {' '.join(sorted(harness.kinds.possible(world)))}"
    yield f"workloads: {' '.join(harness.workloads.full_names)}"
    for name, why in sorted(harness.kinds.impossible(world).items()):
        yield f"{name} cannot be made here: {why}"
