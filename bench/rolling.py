"""A rolling restart: the gaps in acknowledgements while each node of three is stopped cleanly and started again.

    python -m bench.rolling [ROUNDS [PARTITIONS]]

1,000 records a second go to six partitions, or as many as are said, with acks=all meanwhile. A gap is a time for which
a partition owed an acknowledgement and gave none; said are those above 20 ms, of all rounds (three by default): how
many, their p99, and the longest.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import uvloop

from bench import measures
from bench.steady import SteadyLoad, p99
from dohle.cli.output import print_table
from dohle.cluster.local import LocalCluster

TOPIC = "rolling"


async def roll(made: LocalCluster, rounds: int, partitions: int) -> tuple[int, list[float], int]:
    """Returns how many records were acknowledged, the gaps in seconds, and how many records were lost or doubled."""
    await measures.make_topic(made, TOPIC, partitions)
    await measures.whole(made)
    async with SteadyLoad(made.state.bootstrap, TOPIC) as load:
        await asyncio.sleep(2.0)
        for _ in range(rounds):
            for node in made.state.nodes:
                await asyncio.to_thread(made.stop, [node.node_id])
                await asyncio.to_thread(made.start, [node.node_id])
                await measures.whole(made)
    return load.records, load.gaps_s, await load.lost_or_doubled()


def main(arguments: Sequence[str]) -> int:
    rounds = int(arguments[0]) if arguments else 3
    partitions = int(arguments[1]) if len(arguments) > 1 else 6
    with measures.cluster() as made:
        records, gaps, wrong = uvloop.run(roll(made, rounds, partitions))
    longest = gaps[-1] if gaps else 0.0
    print_table(
        ("PARTITIONS", "RECORDS", "LOST OR DOUBLED", "RESTARTS", "GAPS OVER 20 MS", "P99, MS", "LONGEST, MS"),
        [
            (
                f"{partitions:,}",
                f"{records:,}",
                str(wrong),
                str(rounds * measures.NODES),
                str(len(gaps)),
                f"{p99(gaps) * 1000:.0f}",
                f"{longest * 1000:.0f}",
            )
        ],
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
