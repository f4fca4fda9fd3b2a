"""Many partitions: what they cost to make, to write and to keep, on three real nodes.

    python -m bench.partitions [COUNT ...]

For each count (6, 300 and 3,000 by default) a new cluster gets one topic. Said are the time from asking for it until
each of its partitions has taken a write with acks=all; the throughput of batches of the same number and size,
whichever partitions they go to; and what the busiest node then spends idle. All counts run in one go, since their
ratio says more than each figure.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence

import uvloop

from bench import measures
from dohle.cli.measure import payloads
from dohle.cli.output import print_table
from dohle.client.producer import Producer
from dohle.cluster.local import LocalCluster

COUNTS = (6, 300, 3000)
TOPIC = "many"
BATCHES = 3000
RECORDS_A_BATCH = 20
RECORD_BYTES = 1000
IDLE_S = 20.0


async def make_s(made: LocalCluster, partitions: int) -> float:
    """Seconds from the request for a topic until every partition has acknowledged a record."""
    began = time.perf_counter()
    await measures.make_topic(made, TOPIC, partitions)
    async with Producer(made.state.bootstrap) as producer:
        receipts = [await producer.send(TOPIC, b"first", partition=number) for number in range(partitions)]
        await asyncio.gather(*receipts)
    return time.perf_counter() - began


async def write_mb_s(made: LocalCluster, partitions: int) -> float:
    """MB a second of BATCHES batches, one partition after the other, as fast as they are acknowledged."""
    values = payloads(RECORD_BYTES)
    async with Producer(made.state.bootstrap, linger_ms=50, batch_bytes=RECORDS_A_BATCH * RECORD_BYTES) as producer:
        await producer.partitions(TOPIC)
        began = time.perf_counter()
        for batch in range(BATCHES):
            for number in range(RECORDS_A_BATCH):
                await producer.send(TOPIC, values[number], partition=batch % partitions)
        await producer.flush()
        return BATCHES * RECORDS_A_BATCH * RECORD_BYTES / 1e6 / (time.perf_counter() - began)


def measure(partitions: int) -> tuple[str, ...]:
    with measures.cluster() as made:
        made_s = uvloop.run(make_s(made, partitions))
        rates = [uvloop.run(write_mb_s(made, partitions)) for _ in range(3)]
        rss_mb, cpu = measures.idle_node(made, IDLE_S)
    return (f"{partitions:,}", f"{made_s:.2f}", f"{sorted(rates)[1]:.1f}", f"{cpu:.1f}", f"{rss_mb:.0f}")


def main(arguments: Sequence[str]) -> int:
    rows = [measure(int(count)) for count in arguments or COUNTS]
    print_table(("PARTITIONS", "MADE AND WRITTEN, S", "BATCHES OF 20 KB, MB/S", "IDLE CPU, %", "RSS, MB"), rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
