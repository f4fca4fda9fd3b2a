"""The demo's story: load, kill, restart, catch up, read back; and what was measured meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dohle.cli.demo_history import DemoHistory
from dohle.cli.flights import Flight, FlightCheck
from dohle.cli.output import progress
from dohle.cli.replica_files import differing
from dohle.client.admin import Admin
from dohle.client.consumer import Consumer
from dohle.client.producer import Producer, Receipt
from dohle.cluster.local import LocalCluster
from dohle.model.errors import BufferFull, DohleError

TOPIC = "flights"
PARTITIONS = 6
_CONFIGS = {"min.insync.replicas": "2"}
_RESTART_AFTER_S = 1.5
_CATCH_UP_PATIENCE_S = 60.0
_READ_PATIENCE_S = 120.0
_POLL_S = 0.05
_YIELD_EVERY = 200

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


class Acknowledgements:
    """Counts acknowledgements, and the longest time between two of them, by partition."""

    def __init__(self, half: int) -> None:
        self.count = 0
        self.failures: list[BaseException] = []
        self.longest_gaps_s: dict[int, float] = {}
        self.by_partition: dict[int, int] = {}
        self.half_done = asyncio.Event()
        self._half = half
        self._last: dict[int, float] = {}

    def note(self, receipt: Receipt) -> None:
        failure = receipt.exception()
        if failure is not None:
            self.failures.append(failure)
            return
        now = time.monotonic()
        partition = receipt.result().partition
        gap = now - self._last.get(partition, now)
        self._last[partition] = now
        if gap >= self.longest_gaps_s.get(partition, 0.0):
            self.longest_gaps_s[partition] = gap
        self.by_partition[partition] = self.by_partition.get(partition, 0) + 1
        self.count += 1
        if self.count >= self._half:
            self.half_done.set()


async def run_demo(
    cluster: LocalCluster, flights: Sequence[Flight], say: Say, notes: DemoHistory | None = None
) -> DemoReport:
    """Runs the story on a cluster that is up, and leaves it up. With `notes`, all that the clients did is noted."""
    report = DemoReport(len(flights))
    bootstrap = cluster.state.bootstrap
    async with Admin(bootstrap, client_id="dohle-demo") as admin:
        await admin.create_topic(TOPIC, partitions=PARTITIONS, replication_factor=3, configs=_CONFIGS)
        acknowledgements = Acknowledgements(len(flights) // 2)
        accident = asyncio.create_task(_kill_and_restart(cluster, admin, acknowledgements, report, say))
        try:
            await _load(bootstrap, flights, acknowledgements, report, notes)
            await accident
        finally:
            accident.cancel()
        say(
            f"loaded in {report.load_seconds:.2f} s: {report.acknowledged / report.load_seconds:,.0f} flights/s,"
            f" {report.value_bytes / 1e6 / report.load_seconds:.1f} MB/s"
        )
    await _read_back(bootstrap, flights, report, notes)
    for node in cluster.state.nodes:
        report.memory_bytes[node.node_id] = node.process.resident_bytes() if node.process else 0
    return report


async def _load(
    bootstrap: str,
    flights: Sequence[Flight],
    acknowledgements: Acknowledgements,
    report: DemoReport,
    notes: DemoHistory | None,
) -> None:
    with progress("loading", len(flights)) as show:
        async with Producer(bootstrap, acks="all", linger_ms=5, client_id="dohle-demo") as producer:
            await producer.partitions(TOPIC)
            began = time.monotonic()
            for number, flight in enumerate(flights):
                operation = notes.sends(flight) if notes is not None else None
                try:
                    receipt = producer.send_nowait(TOPIC, flight.value, key=flight.carrier)
                except BufferFull:
                    receipt = await producer.send(TOPIC, flight.value, key=flight.carrier)
                receipt.add_done_callback(acknowledgements.note)
                if notes is not None and operation is not None:
                    notes.follow(operation, receipt)
                if number % _YIELD_EVERY == 0:
                    await asyncio.sleep(0)
                    show(acknowledgements.count)
            await producer.flush()
            report.load_seconds = time.monotonic() - began
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


async def _read_back(bootstrap: str, flights: Sequence[Flight], report: DemoReport, notes: DemoHistory | None) -> None:
    check = FlightCheck(flights)
    async with Consumer(bootstrap, client_id="dohle-demo") as consumer:
        await consumer.assign(TOPIC)
        ends = await consumer.end_offsets(*consumer.assignment())
        report.watermarks = {partition.partition: end for partition, end in sorted(ends.items())}
        total = sum(ends.values())
        if notes is not None:
            notes.reads_all()
        count = 0
        try:
            async with asyncio.timeout(_READ_PATIENCE_S):
                with progress("reading back", total) as show:
                    async for batch in consumer.batches():
                        for record in batch.records():
                            check.add(record.key, record.value)
                            count += 1
                        if notes is not None:
                            notes.polled(batch)
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
