"""Work: what a workload is given to do its job with, and how fast it may."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from dohle.model.ids import TopicPartition
from dohle.testing.chaos.history_file import HistoryFile, Process
from dohle.testing.chaos.job import Job
from dohle.testing.chaos.workloads.log_client import LogClient

_TURN_S = 0.01
_MOST_BEHIND_S = 0.5


class Pace:
    """Lets so many things a second begin, in little bursts; what was not begun while all stood still is not made up."""

    def __init__(self, per_s: float) -> None:
        self._each_s = 1 / per_s
        self._due = 0.0

    async def turn(self) -> None:
        now = asyncio.get_running_loop().time()
        self._due = max(self._due + self._each_s, now - _MOST_BEHIND_S)
        ahead_s = self._due - now
        await asyncio.sleep(ahead_s if ahead_s > _TURN_S else 0)


@dataclass
class Work:
    """One job, while it is done. `over`: nothing more is to be begun."""

    job: Job
    client: LogClient
    history: HistoryFile
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(cls, job: Job, client: LogClient) -> Work:
        return cls(job, client, HistoryFile(Path(job.history), job.origin_s, job.first_operation))

    @property
    def partitions(self) -> list[TopicPartition]:
        return [TopicPartition(name, one) for name, count in sorted(self.job.topics.items()) for one in range(count)]

    def process(self, name: str) -> Process:
        return Process(self.history, f"{self.job.name}.{name}")

    def chance(self, name: str) -> Random:
        """Returns dice of the process `name`, which fall alike wherever the job's seed is the same."""
        return Random(f"{self.job.seed} {name}")

    def option(self, name: str, default: int) -> int:
        return int(self.job.options.get(name, default))

    async def rest(self, seconds: float) -> None:
        """Returns when that is over, or the work is."""
        try:
            async with asyncio.timeout(seconds):
                await self.over.wait()
        except TimeoutError:
            pass
