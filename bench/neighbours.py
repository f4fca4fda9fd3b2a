"""One slow log, or a follower that is far behind: does it hold up the acknowledgements of others?

    python -m bench.neighbours [MEGABYTES] [ROUNDS]

1,000 records a second go to six partitions of one topic with acks=all, all the time. Each round has five phases: 10 s
of that alone; 10 s in which a follower takes 300 ms for each fsync of one partition's log; alone again; a node that is
not the active controller is killed, so many megabytes (300 by default) go to another topic, the node starts and catches
up; alone again. Said is the p99 of the records' latency in each, those of the slow log left out, and its ratio
to the mean of the two phases around it: the median of the rounds (three by default), the least and the largest.
The yardstick says what appending so much at that rate costs the fsyncs of a process that shares nothing but the disk.

Nodes and client share the machine's cores, and catching up is work: the fewer cores, the more is said of them alone.
The fsyncs are slowed by a library that is preloaded into the nodes, made by the system's C compiler (`slow_sync.c`).
What the rules promise apart from cores, tests/simulation/mutations/neighbour_scenarios.py measures in virtual time.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench import measures, yardsticks
from bench.steady import SteadyLoad, p99
from dohle.cli.measure import measure_produce
from dohle.cli.output import print_table
from dohle.client.admin import Admin
from dohle.client.producer import Producer
from dohle.cluster.local import LocalCluster

STEADY, BULK = "steady", "bulk"
PHASE_S = 10.0
SLOW_MS = 300
SLOW_PARTITION = 0
_SETTLES_S = 2.0
_RECORD_BYTES = 1000


@dataclass(frozen=True)
class Round:
    """p99 latencies in seconds, and how long the node took to catch up."""

    first_s: float
    slow_s: float
    between_s: float
    behind_s: float
    last_s: float
    caught_up_in_s: float

    @property
    def slow_ratio(self) -> float:
        return self.slow_s / statistics.mean((self.first_s, self.between_s))

    @property
    def behind_ratio(self) -> float:
        return self.behind_s / statistics.mean((self.between_s, self.last_s))


class SlowSyncs:
    """Where nodes that start from now on look which syncs are slow."""

    def __init__(self, folder: str) -> None:
        self._control = Path(folder, "slow")
        self.end()
        library = f"{folder}/slow_sync.so"
        source = str(Path(__file__).with_name("slow_sync.c"))
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
        os.environ.update(LD_PRELOAD=library, SLOW_SYNC=str(self._control))

    def begin(self, part_of_path: str) -> None:
        self._control.write_text(f"{SLOW_MS} {part_of_path}\n")

    def end(self) -> None:
        self._control.write_text("")


async def write_bulk(made: LocalCluster, megabytes: int) -> None:
    async with Producer(made.state.bootstrap, linger_ms=5) as producer:
        await measure_produce(producer, BULK, megabytes * 1_000_000 // _RECORD_BYTES, _RECORD_BYTES, lambda _: None)


async def others_than_leader(made: LocalCluster) -> int:
    """Returns a node that follows the slow partition."""
    async with Admin(made.state.bootstrap) as admin:
        partition = (await admin.describe_topic(STEADY)).partitions[SLOW_PARTITION]
    return next(node for node in partition.assigned_replicas if node != partition.leader)


async def inactive(made: LocalCluster) -> int:
    """Returns a node that is not the active controller."""
    async with Admin(made.state.bootstrap) as admin:
        active = (await admin.describe_quorum()).leader_id
    return next(node.node_id for node in made.state.nodes if node.node_id != active)


async def p99_of(load: SteadyLoad) -> float:
    """Returns that of the next seconds, once what was before is over."""
    await asyncio.sleep(_SETTLES_S)
    load.mark()
    await asyncio.sleep(PHASE_S)
    return p99(load.latencies_without(SLOW_PARTITION))


async def one_round(made: LocalCluster, load: SteadyLoad, slow: SlowSyncs, megabytes: int) -> Round:
    first_s = await p99_of(load)
    node = made.state.node(await others_than_leader(made))
    slow.begin(f"{made.state.data_dir(node)}/{STEADY}-{SLOW_PARTITION}/")
    load.mark()  # its first moments count
    await asyncio.sleep(PHASE_S)
    slow_s = p99(load.latencies_without(SLOW_PARTITION))
    slow.end()
    between_s = await p99_of(load)
    behind = await inactive(made)
    await asyncio.to_thread(made.kill, behind)
    await write_bulk(made, megabytes)
    await asyncio.to_thread(made.start, [behind])
    load.mark()
    began = time.perf_counter()
    await measures.whole(made, patience_s=300.0)
    caught_up_in_s = time.perf_counter() - began
    behind_s = p99(load.latencies_without(SLOW_PARTITION))
    return Round(first_s, slow_s, between_s, behind_s, await p99_of(load), caught_up_in_s)


async def run(made: LocalCluster, slow: SlowSyncs, megabytes: int, rounds: int) -> tuple[list[Round], int, int]:
    """Returns the rounds, the count of steady records, and how many of them were lost or doubled."""
    await measures.make_topic(made, STEADY)
    await measures.make_topic(made, BULK)
    found = []
    async with SteadyLoad(made.state.bootstrap, STEADY) as load:
        for number in range(rounds):
            print(f"  round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            found.append(await one_round(made, load, slow, megabytes))
    return found, load.records, await load.lost_or_doubled()


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main(arguments: Sequence[str]) -> int:
    megabytes = int(arguments[0]) if arguments else 300
    rounds = int(arguments[1]) if len(arguments) > 1 else 3
    with tempfile.TemporaryDirectory(prefix="dohle-slow-") as folder:
        slow = SlowSyncs(folder)
        with measures.cluster() as made:
            found, records, wrong = uvloop.run(run(made, slow, megabytes, rounds))
    alone = statistics.median(p99_s for one in found for p99_s in (one.first_s, one.between_s, one.last_s))
    took = statistics.median(one.caught_up_in_s for one in found)
    rows = [
        ("alone", alone, "1"),
        (f"a log's fsyncs take {SLOW_MS} ms", statistics.median(one.slow_s for one in found), "slow_ratio"),
        (
            f"{megabytes} MB caught up, in {took:.1f} s",
            statistics.median(one.behind_s for one in found),
            "behind_ratio",
        ),
    ]
    print_table(
        ("PHASE", "P99 OF THE OTHERS, MS", "RATIO TO BEFORE AND AFTER"),
        [
            (what, f"{p99_s * 1000:.1f}", ratio if ratio == "1" else spread([getattr(one, ratio) for one in found]))
            for what, p99_s, ratio in rows
        ],
    )
    print(f"\n{records:,} steady records, {wrong} lost or doubled")
    with tempfile.TemporaryDirectory(prefix="dohle-yardstick-") as folder:
        before_s, beside_s = yardsticks.sync_beside_bulk(Path(folder), megabytes, took)
    print(
        f"yardstick: {before_s * 1000:.1f} ms is the p99 of a plain append and fsync here, {beside_s * 1000:.1f} beside"
        f" a process that appends {megabytes} MB in {took:.1f} s: {beside_s / before_s:.2f} times as long"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
