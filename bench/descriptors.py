"""Many segments and few descriptors: one real node that may have 1,024 files open, and 20,000 segments.

    python -m bench.descriptors [SEGMENTS]

100 partitions get records until there are so many segments, of one or two batches each. Said are the milliseconds of
reads at random offsets, each by a seek to a record that has to be the right one, of appends meanwhile, how many
descriptors the node had at most, and how long it took to start after kill -9 of it. It fails where a record is another.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import uvloop

from bench import measures
from bench.steady import p99
from dohle.cli.output import print_table
from dohle.client.admin import Admin
from dohle.client.consumer import Consumer
from dohle.client.producer import Producer
from dohle.cluster.local import LocalCluster
from dohle.model.ids import TopicPartition

LIMIT = 1024
SEGMENTS = 20_000
PARTITIONS = 100
TOPIC = "many"
READS = 1000
_EACH = 25  # reads of a partition before the next
_APPENDS_S = 0.02  # from one to the next, while there are reads
# an index of one entry is full after two batches, and a full index begins a segment
_CONFIGS = {"segment.index.bytes": "8", "index.interval.bytes": "0"}


@dataclass
class Found:
    """What was measured; milliseconds, ascending."""

    segments: int = 0
    descriptors: int = 0
    reads_ms: list[float] = field(default_factory=list)
    appends_ms: list[float] = field(default_factory=list)
    start_s: float = 0.0


def value_of(partition: int, number: int) -> bytes:
    return b"%d,%d," % (partition, number) + bytes(200)


def process_id(made: LocalCluster) -> int:
    process = made.state.nodes[0].process
    assert process is not None
    return process.pid


def segments_of(made: LocalCluster) -> int:
    folder = made.state.data_dir(made.state.nodes[0])
    return sum(
        name.endswith(".log")
        for partition in range(PARTITIONS)
        for name in os.listdir(os.path.join(folder, f"{TOPIC}-{partition}"))
    )


async def fill(made: LocalCluster, segments: int) -> int:
    """Writes a record to each partition, over and over, each a batch of its own; returns how many each has."""
    async with Admin(made.state.bootstrap) as admin:
        await admin.create_topic(TOPIC, partitions=PARTITIONS, replication_factor=1, configs=_CONFIGS)
    number = 0
    async with Producer(made.state.bootstrap, linger_ms=0) as producer:
        while number == 0 or number % 10 or segments_of(made) < segments:
            for partition in range(PARTITIONS):
                await producer.send(TOPIC, value_of(partition, number), partition=partition)
            await producer.flush()
            number += 1
    return number


async def read(made: LocalCluster, written: int, found: Found) -> None:
    """Reads at random offsets, from one partition after the other."""
    choice = random.Random(7)
    for _ in range(READS // _EACH):
        name = TopicPartition(TOPIC, choice.randrange(PARTITIONS))
        async with Consumer(made.state.bootstrap, prefetch_bytes=1 << 20, partition_max_bytes=1 << 16) as consumer:
            await consumer.assign(name)
            await anext(consumer)
            for _ in range(_EACH):
                offset = choice.randrange(written)
                began = time.perf_counter()
                consumer.seek(name, offset)
                record = await anext(consumer)
                found.reads_ms.append((time.perf_counter() - began) * 1000)
                assert (record.offset, record.value) == (offset, value_of(name.partition, offset)), (
                    f"{name} at {offset}"
                )
        found.descriptors = max(found.descriptors, len(os.listdir(f"/proc/{process_id(made)}/fd")))


async def append(made: LocalCluster, written: int, found: Found) -> None:
    """Appends to one partition after the other, until it is cancelled."""
    number = 0
    async with Producer(made.state.bootstrap, linger_ms=0) as producer:
        while True:
            partition, at = number % PARTITIONS, written + number // PARTITIONS
            began = time.perf_counter()
            delivery = await producer.send_and_wait(TOPIC, value_of(partition, at), partition=partition)
            found.appends_ms.append((time.perf_counter() - began) * 1000)
            assert delivery.offset == at, f"{TOPIC}-{partition}: {delivery.offset}, not {at}"
            number += 1
            await asyncio.sleep(_APPENDS_S)


async def measure(made: LocalCluster, segments: int) -> Found:
    found = Found()
    written = await fill(made, segments)
    appending = asyncio.create_task(append(made, written, found))
    await read(made, written, found)
    appending.cancel()
    await asyncio.gather(appending, return_exceptions=True)
    if not appending.cancelled():
        appending.result()
    found.segments = segments_of(made)
    made.kill(made.state.nodes[0].node_id)
    began = time.perf_counter()
    await asyncio.to_thread(made.start)
    found.start_s = time.perf_counter() - began
    await read(made, written, Found())  # all is there after a kill as well
    return found


def main(arguments: Sequence[str]) -> int:
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))  # the node inherits it, and cannot raise it
    with measures.cluster(nodes=1) as made:
        found = uvloop.run(measure(made, int(arguments[0]) if arguments else SEGMENTS))
    reads, appends = sorted(found.reads_ms), sorted(found.appends_ms)
    print_table(
        ("SEGMENTS", "DESCRIPTORS", "READ P50", "READ P99, MS", "APPEND P50", "APPEND P99, MS", "START AFTER KILL, S"),
        [
            (
                f"{found.segments:,}",
                f"{found.descriptors} of {LIMIT}",
                f"{reads[len(reads) // 2]:.1f}",
                f"{p99(reads):.1f}",
                f"{appends[len(appends) // 2]:.1f}",
                f"{p99(appends):.1f}",
                f"{found.start_s:.1f}",
            )
        ],
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
