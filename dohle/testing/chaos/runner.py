"""Runner: one run from its begin to its verdict.

Phases: the world begins, topics are made, workers start; faults happen by the schedule; all is healed, the cluster gets
whole, workers end; fresh consumers read everything from its beginning; the history is judged. Keeps: whatever happens,
also when it is cancelled, every fault that began is healed, every process ended, and the world taken away but for its
folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from dohle.model.errors import DohleError, InvalidRequest
from dohle.testing.chaos.fault import Effect, Kinds
from dohle.testing.chaos.report.page import write_report
from dohle.testing.chaos.run_folder import Lines, RunFolder
from dohle.testing.chaos.schedule import Schedule
from dohle.testing.chaos.storm import Storm
from dohle.testing.chaos.verdict import Verdict
from dohle.testing.chaos.view import ClusterState, ClusterView
from dohle.testing.chaos.workers import Workers
from dohle.testing.chaos.workload import Topic, Workload
from dohle.testing.chaos.world import World
from dohle.testing.history.checker import judge
from dohle.testing.history.history import History
from dohle.testing.history.history_lines import read_lines

WHOLE_PATIENCE_S = 120.0
_FINAL_PATIENCE_S = 300.0
_SAMPLE_S = 0.25
_POLL_S = 0.1

Say = Callable[[str], object]


@dataclass(frozen=True)
class Run:
    """What is to be done. `final`: who reads everything in the end; its topics are those of the workloads.
    `about`: what run.json has besides (run_folder.py)."""

    schedule: Schedule
    workloads: tuple[Workload, ...]
    final: Workload
    about: Mapping[str, Any] = field(default_factory=dict)


class Runner:
    """Carries out one run in a world. `folder` is new; `say` gets a line for whoever looks on."""

    def __init__(self, world: World, kinds: Kinds, run: Run, folder: RunFolder, say: Say) -> None:
        self._world = world
        self._kinds = kinds
        self._run = run
        self._folder = folder
        self._say = say
        self._failures: list[str] = []
        self._void: list[str] = []

    async def run(self) -> Verdict:
        """Returns the verdict, which the folder has, too. Raises DohleError where the world cannot begin."""
        about = {
            "seed": self._run.schedule.seed,
            "nodes": self._world.nodes,
            "cannot": self._kinds.impossible(self._world),
            "workloads": [f"{one.name} by {one.client}" for one in self._run.workloads],
            "begun_at": datetime.now(UTC).isoformat(),
            **self._run.about,
        }
        self._write(about)
        self._run.schedule.save(self._folder.schedule)
        events = Lines(self._folder.events)
        workers = Workers(self._world, self._folder, self._run.schedule.seed)
        try:
            self._phase(events, "begin")
            for name in sorted({step.fault for step in self._run.schedule.steps}):
                self._kinds.named(name).prepare(self._world)
            await self._world.begin()
            async with self._world.view() as view:
                await self._work(view, workers, events)
        finally:
            workers.end()
            await self._world.end()
            self._folder.history.touch()
            events.close()
        verdict = self._judge()
        self._write({**about, "ended_s": self._folder.now_s(), "verdict": verdict.to_json()})
        write_report(self._folder.path)
        return verdict

    async def _work(self, view: ClusterView, workers: Workers, events: Lines) -> None:
        topics = {name: topic for workload in self._run.workloads for name, topic in workload.topics.items()}
        for name, topic in topics.items():
            await view.create_topic(name, topic)
        if not await self._whole(view):
            raise DohleError(f"the cluster does not serve its topics {WHOLE_PATIENCE_S:.0f} s after its begin")
        async with self._sampled():
            self._phase(events, "faults")
            for workload in self._run.workloads:
                workers.start(workload)
            await self._storm(view, workers, events)
            self._phase(events, "calm")
            await self._world.heal()
            if not await self._whole(view):
                self._failures.append(f"not all replicas are in sync {WHOLE_PATIENCE_S:.0f} s after all was healed")
            self._failures += await workers.stop()
            self._phase(events, "final reads")
            read = {name: topic for one in self._run.workloads if one.final for name, topic in one.topics.items()}
            await self._read_finally(workers, read)

    async def _storm(self, view: ClusterView, workers: Workers, events: Lines) -> None:
        schedule = self._run.schedule
        storm = Storm(self._world, self._kinds, schedule, self._folder, events, lambda: self._whole(view), self._say)
        began_s = self._folder.now_s()
        try:
            await storm.blow(began_s)
            await asyncio.sleep(began_s + schedule.seconds - self._folder.now_s())
        finally:
            self._failures += storm.failures
        self._void += list(_without_effect(schedule, storm.effects))
        self._failures += [f"worker {name} ended before it was asked to" for name in workers.ended()]

    async def _read_finally(self, workers: Workers, topics: Mapping[str, Topic]) -> None:
        workers.start(replace(self._run.final, topics=topics))
        self._failures += await workers.wait(_FINAL_PATIENCE_S)

    async def _whole(self, view: ClusterView) -> bool:
        """Returns once all nodes serve and all replicas are in sync; False if that takes too long."""
        try:
            async with asyncio.timeout(WHOLE_PATIENCE_S):
                while not self._is_whole(await view.state()):
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            return False
        return True

    def _is_whole(self, state: ClusterState | None) -> bool:
        return state is not None and state.whole and set(state.serving) >= set(self._world.nodes)

    @contextlib.asynccontextmanager
    async def _sampled(self) -> AsyncIterator[None]:
        """The cluster's state is written down meanwhile."""
        sampler = asyncio.create_task(self._sample())
        try:
            yield
        finally:
            sampler.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sampler

    async def _sample(self) -> None:
        lines = Lines(self._folder.state)
        try:
            async with self._world.view() as view:
                while True:
                    at_s = round(self._folder.now_s(), 6)
                    state = await view.state()
                    lines.write({"time": at_s, **_sample(state)})
                    await asyncio.sleep(_SAMPLE_S)
        finally:
            lines.close()

    def _phase(self, events: Lines, phase: str) -> None:
        self._say(phase)
        events.write({"time": round(self._folder.now_s(), 6), "what": "phase", "phase": phase})

    def _judge(self) -> Verdict:
        self._say("the checker reads the history")
        try:
            with self._folder.history.open(encoding="utf-8") as lines:
                history = read_lines(lines)
            anomalies = judge(history.operations).anomalies
        except InvalidRequest as error:
            return Verdict.of((), (*self._failures, f"the history cannot be judged: {error.message}"), self._void)
        self._say(_history_text(history))
        if not history.acknowledged:
            self._void.append("nothing was acknowledged")
        return Verdict.of(anomalies, self._failures, self._void)

    def _write(self, about: Mapping[str, Any]) -> None:
        self._folder.run.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _without_effect(schedule: Schedule, effects: Mapping[int, Effect]) -> Iterator[str]:
    """Yields the kinds of fault that happened, none of them with an effect, each in a sentence."""
    of_kinds: dict[str, list[Effect]] = {}
    for number, effect in sorted(effects.items()):
        of_kinds.setdefault(schedule.steps[number].fault, []).append(effect)
    for name, found in of_kinds.items():
        if not any(effect.count for effect in found):
            yield f"{name} never had an effect: no {found[0].what}"


def _sample(state: ClusterState | None) -> dict[str, Any]:
    if state is None:
        return {"silent": "no node answered in time"}
    return {
        "controller": state.controller,
        "partitions": {name: [one.leader, one.epoch, one.in_sync] for name, one in state.partitions.items()},
    }


def _history_text(history: History) -> str:
    return f"{len(history.operations):,} operations, {history.acknowledged:,} records acknowledged"
