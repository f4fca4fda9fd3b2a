"""The demo's story: load, kill, restart, catch up, read back; and what was measured meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dohle.cli.demo_clients import PARTITIONS, TOPIC, Acknowledgements, DemoClient
from dohle.cli.flights import Flight, FlightCheck
from dohle.cli.output import progress
from dohle.cli.replica_files import differing
from dohle.client.admin import Admin
from dohle.cluster.local import LocalCluster
from dohle.model.errors import DohleError

_CONFIGS = {"min.insync.replicas": "2"}
_RESTART_AFTER_S = 1.5
_CATCH_UP_PATIENCE_S = 60.0
_READ_PATIENCE_S = 120.0
_POLL_S = 0.05

Say = Callable[[str], object]


@dataclass(slots=True)
class DemoReport:
    """What happened. `complaints` says what is wrong; it is empty if nothing is."""

    flights: int
    acknowledged: int = 0
    load_seconds: float = 0.0
    value_bytes: int = 0
    killed_node: int = -1
    longest_gaps_s: dict[int, float] = field(default_factory=dict)
    catch_up_s: float = 0.0
    memory_bytes: dict[int, int] = field(default_factory=dict)
    watermarks: dict[int, int] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)


async def run_demo(cluster: LocalCluster, flights: Sequence[Flight], say: Say, client: DemoClient) -> DemoReport:
    """Runs the story on a cluster that is up, and leaves it up."""
    report = DemoReport(len(flights))
    async with Admin(cluster.state.bootstrap, client_id="dohle-demo") as admin:
        await admin.create_topic(TOPIC, partitions=PARTITIONS, replication_factor=3, configs=_CONFIGS)
        acknowledgements = Acknowledgements(len(flights) // 2)
        accident = asyncio.create_task(_kill_and_restart(cluster, admin, acknowledgements, report, say))
        try:
            await _load(client, flights, acknowledgements, report)
            await accident
        finally:
            accident.cancel()
        say(
            f"loaded in {report.load_seconds:.2f} s: {report.acknowledged / report.load_seconds:,.0f} flights/s,"
            f" {report.value_bytes / 1e6 / report.load_seconds:.1f} MB/s"
        )
    await _read_back(client, flights, report)
    for node in cluster.state.nodes:
        report.memory_bytes[node.node_id] = node.process.resident_bytes() if node.process else 0
    return report


async def _load(
    client: DemoClient, flights: Sequence[Flight], acknowledgements: Acknowledgements, report: DemoReport
) -> None:
    with progress("loading", len(flights)) as show:
        report.load_seconds = await client.load(flights, acknowledgements, show)
    acknowledgements.half_done.set()  # whoever waits for it is not to wait for ever
    report.acknowledged = acknowledgements.count
    report.value_bytes = sum(len(flight.value) for flight in flights)
    report.longest_gaps_s = dict(sorted(acknowledgements.longest_gaps_s.items()))
    failures = acknowledgements.failures
    if acknowledgements.count < len(flights):
        why = f", the first because: {failures[0]}" if failures else ""
        report.complaints.append(f"{len(flights) - acknowledgements.count} flights were not acknowledged{why}")


async def _kill_and_restart(
    cluster: LocalCluster, admin: Admin, acknowledgements: Acknowledgements, report: DemoReport, say: Say
) -> None:
    await acknowledgements.half_done.wait()
    topic = await admin.describe_topic(TOPIC)
    busiest = max(topic.partitions, key=lambda partition: acknowledgements.by_partition.get(partition.partition, 0))
    victim = busiest.leader
    led = [partition.partition for partition in topic.partitions if partition.leader == victim]
    await asyncio.to_thread(cluster.kill, victim)
    report.killed_node = victim
    say(f"killed node {victim} (leader of {TOPIC} {led}) after {acknowledgements.count:,} acknowledgements")
    await asyncio.sleep(_RESTART_AFTER_S)
    began = time.monotonic()
    await asyncio.to_thread(cluster.start, [victim])
    say(f"node {victim} is back after {time.monotonic() - began:.1f} s")
    while not await _is_whole(admin):
        if time.monotonic() - began > _CATCH_UP_PATIENCE_S:
            report.complaints.append(f"node {victim} has not caught up within {_CATCH_UP_PATIENCE_S:.0f} s")
            break
        await asyncio.sleep(_POLL_S)
    report.catch_up_s = time.monotonic() - began


async def _is_whole(admin: Admin) -> bool:
    try:
        description = await admin.describe_cluster()
    except DohleError:  # the node that was asked is the one that is gone
        return False
    return not description.unhealthy and not any(node.fenced for node in description.nodes)


async def _read_back(client: DemoClient, flights: Sequence[Flight], report: DemoReport) -> None:
    check = FlightCheck(flights)
    report.watermarks = await client.ends()
    total = sum(report.watermarks.values())
    count = 0
    try:
        async with asyncio.timeout(_READ_PATIENCE_S):
            with progress("reading back", total) as show:
                async for records in client.read():
                    for key, value in records:
                        check.add(key, value)
                    count += len(records)
                    show(count)
                    if count >= total:
                        break
    except TimeoutError:
        report.complaints.append(f"only {count} of {total} records were read within {_READ_PATIENCE_S:.0f} s")
    report.complaints += check.complaints()


def compare_replicas(cluster: LocalCluster, report: DemoReport) -> None:
    """Adds a complaint for every replica that differs below the watermark. The nodes have stopped."""
    for partition, watermark in report.watermarks.items():
        folders = [f"{cluster.state.data_dir(node)}/{TOPIC}-{partition}" for node in cluster.state.nodes]
        report.complaints += differing(folders, watermark)
