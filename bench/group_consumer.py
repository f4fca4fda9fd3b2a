"""A consumer of a group: how soon a new one has its first record, and how soon it commits again without a coordinator.

    python -m bench.group_consumer [ROUNDS]

Three nodes, and a topic of six partitions with a record in each. The first record: a new group each round, with one
member; from `subscribe` to the record, after one round that makes the topic of the offsets. Beside it the same without
a group, from `assign` on. The kill: from the SIGKILL of the coordinator to the next commit that is acknowledged.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Sequence

import uvloop

from bench import measures
from dohle import Admin, Consumer, Producer
from dohle.broker.groups.coordinator import partition_in
from dohle.cli.output import print_table
from dohle.cluster.local import LocalCluster
from dohle.model.internal_topics import OFFSETS_TOPIC

TOPIC, PARTITIONS = "group-consumer", 6


async def first_record_s(made: LocalCluster, group: str | None) -> float:
    async with Consumer(made.state.bootstrap, group=group) as consumer:
        began = time.perf_counter()
        if group is None:
            await consumer.assign(TOPIC)
        else:
            await consumer.subscribe(TOPIC)
        await anext(consumer)
        return time.perf_counter() - began


async def commits_again_s(made: LocalCluster, group: str) -> float:
    async with Admin(made.state.bootstrap) as admin:
        offsets = await admin.describe_topic(OFFSETS_TOPIC)
    coordinator = offsets.partitions[partition_in(len(offsets.partitions), group)].leader
    async with Consumer(made.state.bootstrap, group=group, auto_commit=False) as consumer:
        await consumer.subscribe(TOPIC)
        await anext(consumer)
        partition = consumer.assignment()[0]
        await consumer.commit({partition: 0})
        node = made.state.node(coordinator)
        killing = asyncio.get_running_loop().run_in_executor(None, made.kill, node.node_id)
        killed_at = time.perf_counter()
        await killing
        await consumer.commit({partition: 1})
        took_s = time.perf_counter() - killed_at
    await asyncio.to_thread(made.start, [coordinator])
    await measures.whole(made)
    return took_s


async def measure(made: LocalCluster, rounds: int) -> dict[str, list[float]]:
    await measures.make_topic(made, TOPIC, PARTITIONS)
    async with Producer(made.state.bootstrap) as producer:
        for number in range(PARTITIONS):
            await producer.send_and_wait(TOPIC, b"record", partition=number)
    await first_record_s(made, "the first of all")
    figures: dict[str, list[float]] = {"first record": [], "the same without a group": [], "commits after a kill": []}
    for number in range(rounds):
        figures["first record"].append(await first_record_s(made, f"group {number}"))
        figures["the same without a group"].append(await first_record_s(made, None))
    for number in range(rounds):
        figures["commits after a kill"].append(await commits_again_s(made, f"killed {number}"))
    return figures


def main(arguments: Sequence[str]) -> int:
    rounds = int(arguments[0]) if arguments else 10
    with measures.cluster() as made:
        figures = uvloop.run(measure(made, rounds))
    print_table(
        ("WHAT", "MEDIAN, MS", "LEAST, MS", "MOST, MS"),
        [
            (name, f"{statistics.median(took) * 1000:.0f}", f"{min(took) * 1000:.0f}", f"{max(took) * 1000:.0f}")
            for name, took in figures.items()
        ],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
