"""`python -m bench.soak [MINUTES]`: full-speed load; nobody may be fenced and nobody elected meanwhile.

Topics are made and deleted as the load goes on, 1 KB and 100 B records in turn, so that the disk does not fill.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench import measures
from dohle.cli.measure import payloads
from dohle.client.admin import Admin
from dohle.client.producer import Producer, Receipt
from dohle.cluster.local import LocalCluster
from dohle.model.errors import BufferFull

TOPIC_S = 20.0
SIZES = (1000, 100)


@dataclass
class Load:
    """What was acknowledged, and the longest time between two acknowledgements of one partition."""

    records: int = 0
    value_bytes: int = 0
    longest_gap_s: float = 0.0
    failures: int = 0


async def soak(made: LocalCluster, minutes: float) -> tuple[Load, list[str]]:
    """Returns the load, and what must not have happened."""
    load = Load()
    async with Admin(made.state.bootstrap) as admin:
        before = await _incarnations(admin)
        end = time.perf_counter() + 60 * minutes
        number = 0
        while time.perf_counter() < end:
            topic, size = f"soak-{number}", SIZES[number % len(SIZES)]
            await measures.make_topic(made, topic)
            started = time.perf_counter()
            await _fill(made, topic, size, min(end, started + TOPIC_S), load)
            print(f"  {topic}: {size} B, {load.records:,} records so far", file=sys.stderr, flush=True)
            await admin.delete_topic(topic)
            number += 1
        after = await _incarnations(admin)
    happened = [f"{what}: {before[what]} became {after[what]}" for what in before if before[what] != after[what]]
    return load, happened + _fencings(made)


def _fencings(made: LocalCluster) -> list[str]:
    lines = [line for node in made.state.nodes for line in Path(made.state.log_path(node)).read_text().splitlines()]
    return [line for line in lines if " is fenced" in line or " was fenced" in line]


async def _incarnations(admin: Admin) -> dict[str, int]:
    described = await admin.describe_cluster()
    return {"controller": described.controller_id, **{f"epoch of {n.node_id}": n.broker_epoch for n in described.nodes}}


async def _fill(made: LocalCluster, topic: str, size: int, until: float, load: Load) -> None:
    last: dict[int, float] = {}

    def delivered(receipt: Receipt) -> None:
        if receipt.exception() is not None:
            load.failures += 1
            return
        now, partition = time.perf_counter(), receipt.result().partition
        load.longest_gap_s = max(load.longest_gap_s, now - last.get(partition, now))
        last[partition] = now
        load.records += 1
        load.value_bytes += size

    values = payloads(size)
    async with Producer(made.state.bootstrap, linger_ms=5, batch_bytes=1_000_000) as producer:
        partitions = await producer.partitions(topic)
        number = 0
        while time.perf_counter() < until:
            for _ in range(200):
                number += 1
                value, partition = values[number % len(values)], number // 100 % partitions
                try:
                    receipt = producer.send_nowait(topic, value, partition=partition)
                except BufferFull:
                    receipt = await producer.send(topic, value, partition=partition)
                receipt.add_done_callback(delivered)
            await measures.breathe()
        await producer.flush()


def main() -> int:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with measures.cluster() as made:
        load, happened = uvloop.run(soak(made, minutes))
    print(
        f"{minutes:g} minutes: {load.records:,} records, {load.value_bytes / 1e6 / 60 / minutes:.1f} MB/s,"
        f" longest gap of a partition {load.longest_gap_s:.2f} s, {load.failures} failures"
    )
    for what in happened:
        print(f"WRONG: {what}")
    return 1 if happened or load.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
