"""A follower that is far behind: does it hold up the acknowledgements of others?

    python -m bench.neighbours [MEGABYTES] [ROUNDS]

1,000 records a second go to six partitions of one topic with acks=all, all the time. Then, in each round: 15 s of that
alone; a node that is not the active controller is killed, and so many megabytes (500 by default) go to another topic;
15 s alone again, without the node; the node starts, and catches up. Said is the p99 of the steady records' latency in
each phase, the median of the rounds (three by default), and its ratio to the first.

Whoever catches up shares the cores with all that is measured, so that a machine of few cores says more of its cores.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import uvloop

from bench import measures
from bench.steady import SteadyLoad, p99
from dohle.cli.measure import measure_produce
from dohle.cli.output import print_table
from dohle.client.admin import Admin
from dohle.client.producer import Producer
from dohle.cluster.local import LocalCluster

STEADY, BULK = "steady", "bulk"
ALONE_S = 15.0
WARM_S = 3.0
_RECORD_BYTES = 1000


@dataclass(frozen=True)
class Round:
    """p99 latencies in seconds, and how long the node took to catch up."""

    alone_s: float
    away_s: float
    behind_s: float
    caught_up_in_s: float


async def write_bulk(made: LocalCluster, megabytes: int) -> None:
    async with Producer(made.state.bootstrap, linger_ms=5, batch_bytes=1_000_000) as producer:
        await measure_produce(producer, BULK, megabytes * 1_000_000 // _RECORD_BYTES, _RECORD_BYTES, lambda _: None)


async def follower(made: LocalCluster) -> int:
    """Returns a node that is not the active controller."""
    async with Admin(made.state.bootstrap) as admin:
        active = (await admin.describe_quorum()).leader_id
    return next(node.node_id for node in made.state.nodes if node.node_id != active)


async def settled(load: SteadyLoad, seconds: float) -> float:
    """Returns the p99 of the next seconds."""
    load.mark()
    await asyncio.sleep(seconds)
    return p99(load.latencies_s)


async def fall_behind(made: LocalCluster, load: SteadyLoad, megabytes: int) -> Round:
    alone_s = await settled(load, ALONE_S)
    node_id = await follower(made)
    await asyncio.to_thread(made.kill, node_id)
    await write_bulk(made, megabytes)
    await asyncio.sleep(3.0)
    away_s = await settled(load, ALONE_S)
    await asyncio.to_thread(made.start, [node_id])
    began = time.perf_counter()
    load.mark()
    await measures.whole(made, patience_s=300.0)
    caught_up_in_s = time.perf_counter() - began
    return Round(alone_s, away_s, p99(load.latencies_s), caught_up_in_s)


async def run(made: LocalCluster, megabytes: int, rounds: int) -> tuple[list[Round], int, int]:
    """Returns the rounds, the count of steady records, and how many of them were lost or doubled."""
    await measures.make_topic(made, STEADY)
    await measures.make_topic(made, BULK)
    found = []
    async with SteadyLoad(made.state.bootstrap, STEADY) as load:
        await asyncio.sleep(WARM_S)
        for number in range(rounds):
            print(f"  round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            found.append(await fall_behind(made, load, megabytes))
    return found, load.records, await load.lost_or_doubled()


def main(arguments: Sequence[str]) -> int:
    megabytes = int(arguments[0]) if arguments else 500
    rounds = int(arguments[1]) if len(arguments) > 1 else 3
    with measures.cluster() as made:
        found, records, wrong = uvloop.run(run(made, megabytes, rounds))
    alone = statistics.median(one.alone_s for one in found)
    away = statistics.median(one.away_s for one in found)
    behind = statistics.median(one.behind_s for one in found)
    took = statistics.median(one.caught_up_in_s for one in found)
    print_table(
        ("PHASE", "P99, MS", "RATIO TO ALL IN SYNC"),
        [
            ("all in sync", f"{alone * 1000:.1f}", "1"),
            ("a node is away", f"{away * 1000:.1f}", f"{away / alone:.2f}"),
            (f"it catches up {megabytes} MB, in {took:.1f} s", f"{behind * 1000:.1f}", f"{behind / alone:.2f}"),
        ],
    )
    print(f"\n{records:,} steady records, {wrong} lost or doubled")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
