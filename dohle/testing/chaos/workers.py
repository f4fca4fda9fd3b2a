"""Workers: the programs that put load on a cluster (job.py says what they keep), started, watched and ended."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
from collections.abc import Sequence

from dohle.testing.chaos.job import Job
from dohle.testing.chaos.run_folder import RunFolder
from dohle.testing.chaos.watchman import Watchman
from dohle.testing.chaos.workload import Workload
from dohle.testing.chaos.world import World

OPERATIONS_EACH = 1_000_000_000
_END_PATIENCE_S = 90.0  # longer than a delivery may take
_POLL_S = 0.05


class Workers:
    """All workers of a run. Each gets a share of its workload's rate, and operations' numbers of its own."""

    def __init__(self, world: World, folder: RunFolder, seed: int) -> None:
        self._world = world
        self._folder = folder
        self._seed = seed
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._begun = 0
        self._watchman = Watchman()
        (folder.path / "workers").mkdir(exist_ok=True)

    def start(self, workload: Workload) -> None:
        for number in range(workload.workers):
            self._spawn(workload, f"{workload.name}-{workload.client}-{number}")

    def ended(self) -> list[str]:
        """Returns the names of those that have ended."""
        return [name for name, child in self._children.items() if child.poll() is not None]

    async def stop(self) -> list[str]:
        """Asks all to end, and waits; returns what went wrong, a sentence for each that failed."""
        for child in self._children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        return await self.wait(_END_PATIENCE_S)

    async def wait(self, patience_s: float) -> list[str]:
        """Waits until all have ended by themselves; returns what went wrong. Who has not ended by then is killed."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_s
        while loop.time() < deadline and len(self.ended()) < len(self._children):
            await asyncio.sleep(_POLL_S)
        late = [name for name in self._children if name not in self.ended()]
        self.kill()
        failures = [f"worker {name} had not ended after {patience_s:.0f} s: {self._log(name)}" for name in late]
        failures += [
            f"worker {name} ended with {child.returncode}: {self._log(name)}"
            for name, child in self._children.items()
            if child.returncode and name not in late
        ]
        self._children.clear()
        return failures

    def end(self) -> None:
        """Leaves nobody behind."""
        self.kill()
        self._watchman.dismiss()

    def kill(self) -> None:
        for child in self._children.values():
            if child.poll() is None:
                child.kill()
            child.wait()

    def _log(self, name: str) -> str:
        return f"see {self._folder.worker_log(name)}"

    def _spawn(self, workload: Workload, name: str) -> None:
        job = Job(
            name=name,
            workload=workload.name,
            client=workload.client,
            bootstrap=self._world.bootstrap("dohle" if workload.client == "sdk" else "kafka"),
            topics={topic: plan.partitions for topic, plan in workload.topics.items()},
            history=str(self._folder.history),
            origin_s=self._folder.origin_s,
            first_operation=self._begun * OPERATIONS_EACH,
            seed=random.Random(f"{self._seed} {name}").getrandbits(31),
            rate_per_s=workload.rate_per_s / workload.workers,
            options=dict(workload.options),
        )
        self._begun += 1
        command: Sequence[str] = (*workload.command, job.to_json())
        with self._folder.worker_log(name).open("ab") as log:
            self._children[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # a terminal's Ctrl-C is for the harness to deal with
            )
        self._watchman.watch(self._children[name].pid)
