"""The quorum at size: three real nodes with many partitions of three replicas in the metadata.

    python -m bench.size [PARTITIONS [ROUNDS]]

10,000 partitions and three rounds by default. Said are how long the partitions take to make; and of each round for how
long nothing in the metadata could be changed after kill -9 of the active controller, which leads a third of them, until
when others led all of those, the CPU time that the two others spent on it, and how the start of that node went on
(`dohle_start_seconds`). The load of the machine stands beside it, for all of these are mostly CPU time.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass

import uvloop

from bench import measures
from bench.operations import MetadataChanges, Site
from dohle.cli.output import print_table
from dohle.client.admin import Admin
from dohle.cluster.local import LocalCluster

PARTITIONS = 10_000
PARTITIONS_A_TOPIC = 1000
ROUNDS = 3
_PATIENCE_S = 300.0
_SETTLED_S = 6.0  # from the kill to where its costs are told
_QUIET_CPU_S = 0.35  # that three idle nodes of so many partitions use in a second
_START_SECONDS = re.compile(r'^dohle_start_seconds\{step="(\w+)"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class Round:
    """What one kill and one start cost; seconds."""

    metadata_gap_s: float
    led_again_s: float
    survivors_cpu_s: float
    start_steps: dict[str, float]
    start_cpu_s: float


async def make(admin: Admin, partitions: int) -> float:
    """Seconds from the first request until every replica is in sync."""
    began = time.perf_counter()
    for first in range(0, partitions, PARTITIONS_A_TOPIC):
        count = min(PARTITIONS_A_TOPIC, partitions - first)
        await admin.create_topic(
            f"many-{first}", partitions=count, replication_factor=measures.NODES, configs=measures.CONFIGS
        )
    await until_whole(admin)
    return time.perf_counter() - began


async def until_whole(admin: Admin) -> None:
    """Returns once every replica is in sync; asks seldom, for what lacks one is a long answer."""
    deadline = time.monotonic() + _PATIENCE_S
    while (await admin.describe_cluster()).unhealthy:
        assert time.monotonic() < deadline, f"not every replica is in sync after {_PATIENCE_S:.0f} s"
        await asyncio.sleep(0.5)


async def until_led(admin: Admin, node_id: int) -> None:
    """Returns once a node leads nothing."""
    deadline = time.monotonic() + _PATIENCE_S
    while any(node.node_id == node_id and node.leaders for node in (await admin.describe_cluster()).nodes):
        assert time.monotonic() < deadline, f"node {node_id} still leads after {_PATIENCE_S:.0f} s"
        await asyncio.sleep(0.25)  # the answer names every partition that lacks a replica


async def until_quiet(made: LocalCluster) -> None:
    """Returns once the nodes have done what they had to do, so that its costs are not counted among a death's."""
    pids = [node.process.pid for node in made.state.nodes if node.process is not None]
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        before = sum(map(measures.cpu_s, pids))
        await asyncio.sleep(1.0)
        if sum(map(measures.cpu_s, pids)) - before < _QUIET_CPU_S:
            return
        assert time.monotonic() < deadline, f"the nodes are not quiet after {_PATIENCE_S:.0f} s"


async def one_round(made: LocalCluster, admin: Admin) -> Round:
    await admin.elect_leaders()
    await until_quiet(made)
    node_id = await Site(made, admin).active()
    others = [node.process.pid for node in made.state.nodes if node.node_id != node_id and node.process is not None]
    async with MetadataChanges(made.state.bootstrap, "many-0") as changes:
        await asyncio.sleep(2.0)
        changes.longest_s, before = 0.0, sum(measures.cpu_s(pid) for pid in others)
        began = time.perf_counter()
        await asyncio.to_thread(made.kill, node_id)
        await until_led(admin, node_id)
        led_again_s = time.perf_counter() - began
        await asyncio.sleep(max(0.0, _SETTLED_S - led_again_s))
        spent = sum(measures.cpu_s(pid) for pid in others) - before
    await asyncio.to_thread(made.start, [node_id])
    node = made.state.node(node_id)
    assert node.process is not None
    start_cpu_s = measures.cpu_s(node.process.pid)
    steps = await asyncio.to_thread(start_steps, node.http_port)
    await until_whole(admin)
    return Round(changes.longest_s, led_again_s, spent, steps, start_cpu_s)


def start_steps(http_port: int) -> dict[str, float]:
    """How far the start of a node had come when, as its metrics say."""
    with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/metrics") as page:
        return {step: float(seconds) for step, seconds in _START_SECONDS.findall(page.read().decode())}


async def run(made: LocalCluster, partitions: int, rounds: int) -> tuple[float, list[Round]]:
    async with Admin(made.state.bootstrap, request_timeout_ms=120_000) as admin:
        made_s = await make(admin, partitions)
        return made_s, [await one_round(made, admin) for _ in range(rounds)]


def main(arguments: Sequence[str]) -> int:
    partitions = int(arguments[0]) if arguments else PARTITIONS
    rounds = int(arguments[1]) if len(arguments) > 1 else ROUNDS
    with measures.cluster() as made:
        made_s, done = uvloop.run(run(made, partitions, rounds))
    print(f"{partitions:,} partitions were made, and all in sync, after {made_s:.1f} s")
    steps = list(done[0].start_steps)
    print_table(
        (
            "NO METADATA CHANGE, S",
            "OTHERS LEAD, S",
            "CPU OF BOTH, S",
            *(f"START: {step.upper()}, S" for step in steps),
            "ITS CPU, S",
        ),
        [
            (
                f"{one.metadata_gap_s:.2f}",
                f"{one.led_again_s:.2f}",
                f"{one.survivors_cpu_s:.2f}",
                *(f"{one.start_steps[step]:.2f}" for step in steps),
                f"{one.start_cpu_s:.2f}",
            )
            for one in done
        ],
    )
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
