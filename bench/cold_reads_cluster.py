"""Cold reads through a cluster: what a consumer of old data does to the latency of fresh writes.

    python -m bench.cold_reads_cluster [MEGABYTES [ROUNDS]]

Three real nodes; 1,000 records a second go to one topic with acks=all, each timed from when it was due. Another topic
holds 600 MB, by default, and a process of its own reads it from its beginning over and over, 50 MB a second. First
nobody reads, then what is read lies in the page cache, then the nodes' files of that topic are dropped from it every
tenth of a second (posix_fadvise), in turn. Last come processes that have nothing to do with the cluster and take as
much CPU time as the reader took, and as the nodes took for it. Said are the p99, its ratio to that of the writes alone
in the same round, how fast was read, and the CPU time of all nodes and of the reader a second; medians, with the least
and the largest ratio. Nodes, writer and reader share the machine's cores: the reader's process, which elsewhere has a
machine of its own, is niced. What the last row has is the share of the cores, and what a row of readers has beyond it
is what reading does to the nodes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench import measures
from bench.steady import SteadyLoad, p99
from dohle.cli.measure import measure_produce
from dohle.cli.output import print_table
from dohle.client.consumer import Consumer
from dohle.client.producer import Producer
from dohle.cluster.local import LocalCluster

FRESH, OLD = "fresh", "old"
MEGABYTES, ROUNDS = 600, 3
PHASE_S, SETTLES_S, EVERY_S = 10.0, 2.0, 0.1
READ_BYTES_A_S = 50e6
BURNT_S = 0.001
NICED = ["nice", "-n", "19"]
_RECORD_BYTES = 1000


async def read_on(bootstrap: str, seconds: float) -> None:
    """The reader's process: prints how many MB a second came, and what share of a core it took."""
    began, cpu, read = time.perf_counter(), time.process_time(), 0
    async with Consumer(bootstrap) as consumer:
        await consumer.assign(OLD)
        ends = await consumer.end_offsets(*consumer.assignment())
        async for batch in consumer.batches():
            read += batch.size_bytes
            if all([await consumer.position(one) >= end for one, end in ends.items()]):
                await consumer.seek_to_beginning(*ends)
            ahead_s = read / READ_BYTES_A_S - (time.perf_counter() - began)
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)
            if time.perf_counter() - began > seconds:
                break
    seconds = time.perf_counter() - began
    print(read / 1e6 / seconds, (time.process_time() - cpu) / seconds)


@contextlib.asynccontextmanager
async def dropping(made: LocalCluster) -> AsyncIterator[None]:
    """What the nodes have of the old topic is not in the page cache for long."""

    def drop() -> None:
        folders = [Path(made.state.data_dir(node)) for node in made.state.nodes]
        for path in [path for folder in folders for path in folder.glob(f"{OLD}-*/*.log")]:
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)

    async def go_on() -> None:
        while True:
            await asyncio.to_thread(drop)
            await asyncio.sleep(EVERY_S)

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()


@dataclass(frozen=True, slots=True)
class Phase:
    """One row of a round: p99 of the writes, the reader's MB/s, CPU seconds a second of all nodes and beside them."""

    p99_s: float
    read_mb_s: float
    nodes_cpu: float
    beside_cpu: float


@contextlib.contextmanager
def burning(nodes_cpu: float, reader_cpu: float) -> Iterator[None]:
    """Processes take CPU time in the place of three nodes and of a niced reader: a millisecond at a time."""
    command = [sys.executable, "-m", "bench.cold_reads_cluster", "--burner"]
    shares = [([], nodes_cpu / measures.NODES)] * measures.NODES + [(NICED, reader_cpu)]
    burners = [subprocess.Popen([*niced, *command, str(share)]) for niced, share in shares]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def burn_on(share: float) -> None:
    """A burner's process."""
    began = time.perf_counter()
    while True:
        until = time.process_time() + BURNT_S
        while time.process_time() < until:
            pass
        ahead_s = time.process_time() / share - (time.perf_counter() - began)
        time.sleep(max(ahead_s, 0.0))


async def phase(made: LocalCluster, load: SteadyLoad, *, reads: bool = False) -> Phase:
    pids = [node.process.pid for node in made.state.nodes if node.process is not None]
    reader = [*NICED, sys.executable, "-m", "bench.cold_reads_cluster", "--reader", made.state.bootstrap]
    task: asyncio.Task[str] | None = None
    if reads:
        work = asyncio.to_thread(subprocess.check_output, [*reader, str(SETTLES_S + PHASE_S)], text=True)
        task = asyncio.create_task(work)
    await asyncio.sleep(SETTLES_S)
    load.mark()
    began, before = time.perf_counter(), sum(map(measures.cpu_s, pids))
    await asyncio.sleep(PHASE_S - 1)
    nodes_cpu = (sum(map(measures.cpu_s, pids)) - before) / (time.perf_counter() - began)
    found = p99(load.latencies_s)
    rate, cpu = map(float, (await task).split()) if task is not None else (0.0, 0.0)
    return Phase(found, rate, nodes_cpu, cpu)


async def measure(made: LocalCluster, megabytes: int, rounds: int) -> None:
    await measures.make_topic(made, FRESH)
    await measures.make_topic(made, OLD)
    async with Producer(made.state.bootstrap, linger_ms=5, batch_bytes=1_000_000) as producer:
        await measure_produce(producer, OLD, megabytes * 1_000_000 // _RECORD_BYTES, _RECORD_BYTES, lambda _: None)
    found: dict[str, list[tuple[Phase, float]]] = {}

    def note(name: str, one: Phase, base: Phase) -> Phase:
        found.setdefault(name, []).append((one, one.p99_s / base.p99_s))
        return one

    async with SteadyLoad(made.state.bootstrap, FRESH) as load:
        for number in range(rounds):
            print(f"  round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            base = await phase(made, load)
            note("nobody", base, base)
            warm = note("from the page cache", await phase(made, load, reads=True), base)
            async with dropping(made):
                note("cold", await phase(made, load, reads=True), base)
            with burning(max(warm.nodes_cpu - base.nodes_cpu, 0.001), warm.beside_cpu):
                note("as much CPU elsewhere", await phase(made, load), base)
    show_phases(found)


def show_phases(found: Mapping[str, Sequence[tuple[Phase, float]]]) -> None:
    rows = []
    for name, readings in found.items():
        phases, ratios = [one for one, _ in readings], [ratio for _, ratio in readings]
        figures = [
            statistics.median(one.p99_s * 1000 for one in phases),
            statistics.median(ratios),
            min(ratios),
            max(ratios),
            statistics.median(one.read_mb_s for one in phases),
            statistics.median(one.nodes_cpu for one in phases),
            statistics.median(one.beside_cpu for one in phases),
        ]
        rows.append((name, *(f"{one:.2f}" for one in figures)))
    print_table(("READERS", "P99, MS", "RATIO", "LEAST", "LARGEST", "READ, MB/S", "CPU OF NODES", "OF READER"), rows)


def main(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["--reader"]:
        uvloop.run(read_on(arguments[1], float(arguments[2])))
        return 0
    if arguments[:1] == ["--burner"]:
        burn_on(float(arguments[1]))
    wanted = [int(one) for one in arguments]
    megabytes, rounds = (*wanted, *(MEGABYTES, ROUNDS)[len(wanted) :])
    with measures.cluster() as made:
        uvloop.run(measure(made, megabytes, rounds))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
