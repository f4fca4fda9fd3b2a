"""Cold reads through a cluster: what a consumer of old data does to the latency of fresh writes.

    python -m bench.cold_reads_cluster [MEGABYTES [ROUNDS]]

Three real nodes; 1,000 records a second go to one topic with acks=all, each timed from when it was due. Another topic
holds 600 MB, by default, and a process of its own reads it from its beginning over and over, 50 MB a second. First
nobody reads, then what is read lies in the page cache, then the nodes' files of that topic are dropped from it every
tenth of a second (posix_fadvise), in turn. Said are the p99, its ratio to that of the writes alone in the same round,
and how fast was read; medians, with the least and the largest ratio. Nodes, writer and reader share the machine's
cores: the reader's process, which elsewhere has a machine of its own, is niced, and what the device adds is the
difference between the last two rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import uvloop

from bench import measures
from bench.cold_reads import show
from bench.steady import SteadyLoad, p99
from dohle.cli.measure import measure_produce
from dohle.client.consumer import Consumer
from dohle.client.producer import Producer
from dohle.cluster.local import LocalCluster

FRESH, OLD = "fresh", "old"
MEGABYTES, ROUNDS = 600, 3
PHASE_S, SETTLES_S, EVERY_S = 10.0, 2.0, 0.1
READ_BYTES_A_S = 50e6
_RECORD_BYTES = 1000


async def read_on(bootstrap: str, seconds: float) -> None:
    """The reader's process: prints how many MB a second came."""
    began, read = time.perf_counter(), 0
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
    print(read / 1e6 / (time.perf_counter() - began))


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


async def beside_reader(made: LocalCluster, load: SteadyLoad) -> tuple[float, float]:
    """Returns the p99 in seconds, and the MB/s of the reader."""
    command = ["nice", "-n", "19", sys.executable, "-m", "bench.cold_reads_cluster", "--reader", made.state.bootstrap]
    reading = asyncio.to_thread(subprocess.check_output, [*command, str(SETTLES_S + PHASE_S)], text=True)
    task = asyncio.create_task(reading)
    await asyncio.sleep(SETTLES_S)
    load.mark()
    said = await task
    return p99(load.latencies_s), float(said)


async def alone(load: SteadyLoad) -> float:
    await asyncio.sleep(SETTLES_S)
    load.mark()
    await asyncio.sleep(PHASE_S)
    return p99(load.latencies_s)


async def measure(made: LocalCluster, megabytes: int, rounds: int) -> None:
    await measures.make_topic(made, FRESH)
    await measures.make_topic(made, OLD)
    async with Producer(made.state.bootstrap, linger_ms=5, batch_bytes=1_000_000) as producer:
        await measure_produce(producer, OLD, megabytes * 1_000_000 // _RECORD_BYTES, _RECORD_BYTES, lambda _: None)
    found: dict[str, list[tuple[float, float, float]]] = {"nobody": [], "from the page cache": [], "cold": []}
    async with SteadyLoad(made.state.bootstrap, FRESH) as load:
        for number in range(rounds):
            print(f"  round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            base_s = await alone(load)
            found["nobody"].append((base_s * 1000, 1.0, 0.0))
            warm_s, rate = await beside_reader(made, load)
            found["from the page cache"].append((warm_s * 1000, warm_s / base_s, rate))
            async with dropping(made):
                cold_s, rate = await beside_reader(made, load)
            found["cold"].append((cold_s * 1000, cold_s / base_s, rate))
    show(found)


def main(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["--reader"]:
        uvloop.run(read_on(arguments[1], float(arguments[2])))
        return 0
    wanted = [int(one) for one in arguments]
    megabytes, rounds = (*wanted, *(MEGABYTES, ROUNDS)[len(wanted) :])
    with measures.cluster() as made:
        uvloop.run(measure(made, megabytes, rounds))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
