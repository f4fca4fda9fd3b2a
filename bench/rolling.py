"""A rolling restart: the gaps in acknowledgements while each node of three is stopped cleanly and started again.

    python -m bench.rolling [ROUNDS]

1,000 records a second go to six partitions with acks=all meanwhile. A gap is a time without an acknowledgement in a
partition; said are those above 20 ms, of all rounds (three by default): how many, their p99, and the longest.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence

import uvloop

from bench import measures
from dohle.cli.output import print_table
from dohle.client.pending_batch import Receipt
from dohle.client.producer import Producer
from dohle.cluster.local import LocalCluster

TOPIC = "rolling"
RECORDS_PER_S = 1000
GAP_S = 0.02


class Gaps:
    """The times between one acknowledgement and the next, by partition."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last: dict[int, float] = {}

    def note(self, partition: int, receipt: Receipt) -> None:
        receipt.result()  # raises what failed
        now = time.perf_counter()
        gap = now - self._last.get(partition, now)
        self._last[partition] = now
        if gap > GAP_S:
            self.seconds.append(gap)


async def write_until(over: asyncio.Event, producer: Producer, gaps: Gaps) -> int:
    partitions = await producer.partitions(TOPIC)
    began, number = time.perf_counter(), 0
    while not over.is_set():
        while number / RECORDS_PER_S <= time.perf_counter() - began:
            partition = number % partitions
            receipt = await producer.send(TOPIC, b"x" * 100, partition=partition)
            receipt.add_done_callback(lambda receipt, partition=partition: gaps.note(partition, receipt))
            number += 1
        await asyncio.sleep(0.001)
    await producer.flush()
    return number


async def roll(made: LocalCluster, rounds: int) -> tuple[int, list[float]]:
    """Returns how many records were acknowledged, and the gaps in seconds."""
    await measures.make_topic(made, TOPIC)
    over, gaps = asyncio.Event(), Gaps()
    async with Producer(made.state.bootstrap) as producer:
        writing = asyncio.create_task(write_until(over, producer, gaps))
        await asyncio.sleep(2.0)
        for _ in range(rounds):
            for node in made.state.nodes:
                await asyncio.to_thread(made.stop, [node.node_id])
                await asyncio.to_thread(made.start, [node.node_id])
                await measures.whole(made)
        over.set()
        return await writing, sorted(gaps.seconds)


def main(arguments: Sequence[str]) -> int:
    rounds = int(arguments[0]) if arguments else 3
    with measures.cluster() as made:
        records, gaps = uvloop.run(roll(made, rounds))
    p99 = gaps[int(0.99 * (len(gaps) - 1))] if gaps else 0.0
    longest = gaps[-1] if gaps else 0.0
    row = (f"{records:,}", str(rounds * measures.NODES), str(len(gaps)), f"{p99 * 1000:.0f}", f"{longest * 1000:.0f}")
    print_table(("RECORDS", "RESTARTS", "GAPS OVER 20 MS", "P99, MS", "LONGEST, MS"), [row])
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
