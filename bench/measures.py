"""The measures: each starts its own cluster of three real nodes, or uses the one it is handed, with clients in this
process on the same cores."""

from __future__ import annotations

import asyncio
import contextlib
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from dohle.cli.measure import Throughput, measure_consume, measure_latency, measure_produce
from dohle.client.admin import Admin
from dohle.client.consumer import Consumer
from dohle.client.producer import Producer
from dohle.cluster.local import LocalCluster, free_base_port
from dohle.model.errors import DohleError
from dohle.model.ids import DirectoryId, TopicId, id_text, new_id
from dohle.model.topic_config import TopicConfig
from dohle.runtime.clock import LoopClock
from dohle.runtime.files import RealDisk
from dohle.runtime.tasks import Tasks
from dohle.storage.data_folder import DataFolder, format_folder
from dohle.storage.log_folder import LogFolder, NewLog

NODES = 3
CONFIGS = {"min.insync.replicas": "2"}
TOPIC_ID = TopicId(bytes(16))


@contextlib.contextmanager
def cluster(nodes: int = NODES) -> Iterator[LocalCluster]:
    """A new cluster of three nodes, or so many, that are up, gone again afterwards."""
    with tempfile.TemporaryDirectory(prefix="dohle-bench-") as folder:
        made = LocalCluster.create(
            folder, nodes, base_port=free_base_port(nodes), new_cluster_id=id_text(new_id(random.SystemRandom()))
        )
        try:
            made.start()
            yield made
        finally:
            for node in made.state.nodes:
                if node.runs():
                    made.kill(node.node_id)


async def make_topic(made: LocalCluster, topic: str, partitions: int = 6) -> None:
    async with Admin(made.state.bootstrap) as admin:
        await admin.create_topic(topic, partitions=partitions, replication_factor=NODES, configs=CONFIGS)


async def produce(made: LocalCluster, topic: str, size: int, records: int) -> Throughput:
    """acks=all, fsync before the acknowledgement, linger 5 ms."""
    await make_topic(made, topic)
    async with Producer(made.state.bootstrap, linger_ms=5, batch_bytes=1_000_000) as producer:
        await measure_produce(producer, topic, records // 10, size, lambda _: None)  # warms up
        return await measure_produce(producer, topic, records, size, lambda _: None)


async def consume(made: LocalCluster, topic: str) -> Throughput:
    async with Consumer(made.state.bootstrap) as consumer:
        return await measure_consume(consumer, topic, None, lambda _: None)


async def latency_p99_ms(made: LocalCluster, topic: str, rate: int, seconds: float) -> float:
    """1 KB records at a fixed rate, no linger, each timed from when it was due."""
    await make_topic(made, topic)
    async with Producer(made.state.bootstrap) as producer:
        await measure_latency(producer, topic, rate, 2.0, 1000, lambda _: None)  # warms up
        return (await measure_latency(producer, topic, rate, seconds, 1000, lambda _: None)).p99_ms


def start_to_first_ack_s() -> float:
    """From the start of three formatted nodes to the first acknowledged write at replication factor 3."""
    with tempfile.TemporaryDirectory(prefix="dohle-bench-") as folder:
        made = LocalCluster.create(
            folder, NODES, base_port=free_base_port(NODES), new_cluster_id=id_text(new_id(random.SystemRandom()))
        )
        started = time.perf_counter()
        try:
            made.start()
            asyncio.run(_first_write(made))
            return time.perf_counter() - started
        finally:
            for node in made.state.nodes:
                if node.runs():
                    made.kill(node.node_id)


async def _first_write(made: LocalCluster) -> None:
    await make_topic(made, "first", partitions=1)
    async with Producer(made.state.bootstrap) as producer:
        await producer.send_and_wait("first", b"record")


async def failover_gap_s(made: LocalCluster, topic: str) -> float:
    """The longest time without an acknowledgement in any partition when a leader, which is the active controller as
    well, is killed with -9 under 1,000 records a second."""
    await make_topic(made, topic)
    async with Admin(made.state.bootstrap) as admin, Producer(made.state.bootstrap) as producer:
        partitions = await producer.partitions(topic)
        victim = (await admin.describe_cluster()).controller_id
        last: dict[int, float] = {}
        longest = 0.0
        began = time.perf_counter()
        number = 0
        killed = False
        while (elapsed := time.perf_counter() - began) < 8.0:
            if not killed and elapsed > 3.0:
                killed = True
                await asyncio.to_thread(made.kill, victim)
            while number / 1000 <= elapsed:
                partition = number % partitions
                receipt = await producer.send(topic, b"x" * 100, partition=partition)

                def acknowledged(_receipt: object, partition: int = partition) -> None:
                    nonlocal longest
                    now = time.perf_counter()
                    longest = max(longest, now - last.get(partition, now))
                    last[partition] = now

                receipt.add_done_callback(acknowledged)
                number += 1
            await asyncio.sleep(0.001)
        await producer.flush()
    await asyncio.to_thread(made.start)
    await whole(made)
    return longest


async def whole(made: LocalCluster, patience_s: float = 60.0) -> None:
    """Returns once every replica is in sync."""
    async with Admin(made.state.bootstrap) as admin:
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            with contextlib.suppress(DohleError):
                if not (await admin.describe_cluster()).unhealthy:
                    return
            await asyncio.sleep(0.05)
    raise TimeoutError(f"the cluster was not whole after {patience_s} s")


def idle_node(made: LocalCluster, seconds: float) -> tuple[float, float]:
    """Returns the largest RSS in MB, and the largest CPU share in percent, of the three nodes while nobody asks."""
    pids = [node.process.pid for node in made.state.nodes if node.process is not None]
    before = [cpu_s(pid) for pid in pids]
    time.sleep(seconds)
    after = [cpu_s(pid) for pid in pids]
    shares = [100 * (late - early) / seconds for early, late in zip(before, after, strict=True)]
    return max(rss_mb(pid) for pid in pids), max(shares)


def cpu_s(pid: int) -> float:
    """Returns the CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def rss_mb(pid: int) -> float:
    """Returns the resident memory of a process, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1e3
    raise AssertionError(f"process {pid} has no VmRSS")


async def open_partitions_s(count: int) -> float:
    """Opening a log directory of `count` partitions after a clean stop; the median of three."""
    with tempfile.TemporaryDirectory(prefix="dohle-bench-") as folder:
        disk = RealDisk()
        logs = await format_and_open(disk, folder)
        await logs[0].create_logs([NewLog("t", number, TOPIC_ID, TopicConfig()) for number in range(count)])
        await close(*logs)
        taken: list[float] = []
        for _ in range(3):
            started = time.perf_counter()
            logs = await open_logs(disk, folder)
            taken.append(time.perf_counter() - started)
            await close(*logs)
        disk.close()
        return statistics.median(taken)


async def format_and_open(disk: RealDisk, folder: str) -> tuple[LogFolder, DataFolder, Tasks]:
    """Makes a directory of logs without a node."""
    await format_folder(disk, folder, cluster_id="bench", node_id=1, directory_id=DirectoryId(bytes(16)))
    return await open_logs(disk, folder)


async def open_logs(disk: RealDisk, folder: str) -> tuple[LogFolder, DataFolder, Tasks]:
    def fail(failure: BaseException) -> None:
        raise failure

    tasks = Tasks("bench", fail)
    data = await DataFolder.open(disk, folder, cluster_id="bench", node_id=1)
    return await LogFolder.open(disk, LoopClock(), data, tasks, on_failure=fail), data, tasks


async def close(logs: LogFolder, data: DataFolder, tasks: Tasks) -> None:
    await logs.close(clean=True, broker_epoch=1)
    await tasks.close()
    data.close()


async def breathe() -> None:
    """Lets the event loop run whatever is ready."""
    await asyncio.sleep(0)
