"""Kinds: the workloads that there are, by name: what each does, and the topics that it wants."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from dohle.model.errors import ConfigurationError
from dohle.testing.chaos.job import Client
from dohle.testing.chaos.workload import Topic, Workload
from dohle.testing.chaos.workloads.grouping import ask_along, be_members
from dohle.testing.chaos.workloads.offsets import ask, commit, read_own_writes
from dohle.testing.chaos.workloads.reading import read_along, read_everything
from dohle.testing.chaos.workloads.registers import overwrite, scan_along
from dohle.testing.chaos.workloads.topics import remake
from dohle.testing.chaos.workloads.work import Work
from dohle.testing.chaos.workloads.writing import write

SDK_COMMAND = (sys.executable, "-m", "dohle.testing.chaos.workloads")


async def _append(work: Work) -> None:
    """Few long-lived producers append values, and who reads along assigns itself the logs."""
    await _all_of(*_writers(work, 2), read_along(work, "r0", restless=False), read_along(work, "r1", restless=True))


async def _group(work: Work) -> None:
    """Values are appended, and a group shares them; all workers' members are in one group."""
    await _all_of(*_writers(work, 1), be_members(work, "m0"), be_members(work, "m1"), ask_along(work, "asks"))


async def _idempotent(work: Work) -> None:
    """Bursts keep many batches of a partition in flight, so that what is repeated may come doubled or out of order."""
    await _all_of(*_writers(work, 2, largest_burst=200), read_along(work, "r0", restless=False))


async def _unique(work: Work) -> None:
    """Producers come and go, each a process of its own, with few values each."""
    await _all_of(*_writers(work, 3, most_of_a_life=200), read_along(work, "r0", restless=True))


async def _registers(work: Work) -> None:
    """Keys of a compacted topic are overwritten and deleted, and all of it is read again and again."""
    rate = work.job.rate_per_s / 2
    await _all_of(overwrite(work, "w0", rate), overwrite(work, "w1", rate), scan_along(work, "r0"))


async def _offsets(work: Work) -> None:
    """Clients read on from where they wrote; others commit for a group without members, and ask."""
    rate, group = work.job.rate_per_s / 4, f"offsets-{work.job.name}"
    await _all_of(
        read_own_writes(work, "own0", rate),
        read_own_writes(work, "own1", rate),
        commit(work, 0, group, rate / 2),
        commit(work, 1, group, rate / 2),
        ask(work, "asks", group, rate),
    )


async def _topics(work: Work) -> None:
    """Topics are made, filled, read and deleted, again and again under the same names."""
    await _all_of(remake(work, "t0"), remake(work, "t1"))


def _writers(work: Work, count: int, **how: int) -> list[Coroutine[Any, Any, None]]:
    return [write(work, f"w{number}", work.job.rate_per_s / count, **how) for number in range(count)]


async def _all_of(*clients: Coroutine[Any, Any, None]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(client)


RUNS: dict[str, Callable[[Work], Awaitable[None]]] = {
    "append": _append,
    "group": _group,
    "idempotent": _idempotent,
    "unique": _unique,
    "registers": _registers,
    "offsets": _offsets,
    "topics": _topics,
    "final-read": read_everything,
}
"""What a worker does, by its job's workload."""


def run_of(name: str) -> Callable[[Work], Awaitable[None]]:
    """Raises ConfigurationError, which lists those that there are."""
    if name not in RUNS:
        raise ConfigurationError(f"there is no workload {name!r}; there are: {', '.join(sorted(RUNS))}")
    return RUNS[name]


_SAFE = {"min.insync.replicas": "2"}
_COMPACTED = {
    **_SAFE,
    "cleanup.policy": "compact",
    "segment.ms": "2000",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "60000",  # longer than a scan takes, which else would miss what deleted what it has seen
}
_TOPICS = {
    "append": Topic(6, _SAFE),
    "group": Topic(6, _SAFE),
    "idempotent": Topic(2, _SAFE),
    "unique": Topic(12, _SAFE),
    "registers": Topic(3, _COMPACTED),
    "offsets": Topic(4, _SAFE),
}


def workloads_of(client: Client, command: tuple[str, ...]) -> tuple[Workload, ...]:
    """Returns those that a worker program does, but for the final read. Topics of one name are shared with others."""
    return tuple(Workload(name, client, command, {name: topic}) for name, topic in _TOPICS.items())


def final_read_of(client: Client, command: tuple[str, ...]) -> Workload:
    """Returns the workload that reads everything and then ends; its topics are those of the others."""
    compacted = ",".join(name for name, topic in _TOPICS.items() if topic.configs is _COMPACTED)
    return Workload("final-read", client, command, {}, workers=1, options={"compacted": compacted}, final=False)


SDK_WORKLOADS = (*workloads_of("sdk", SDK_COMMAND), Workload("topics", "sdk", SDK_COMMAND, {}, final=False))
SDK_FINAL_READ = final_read_of("sdk", SDK_COMMAND)
