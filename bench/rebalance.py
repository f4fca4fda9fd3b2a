"""A plan to rebalance a large cluster: how much CPU time it takes, and what it is worth.

    python -m bench.rebalance [PARTITIONS [BROKERS]]

1,000 partitions with three replicas on 20 brokers in four racks by default, sizes and rates drawn log-normally: even in
numbers on all brokers; with three of them new; and with eight of them new.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence

from dohle.cli.output import print_table
from dohle.client.balance import BrokerRoom, PlacedPartition, score
from dohle.client.rebalance import RebalanceTerms, rebalanced
from dohle.model.ids import TopicPartition

GB = 10**9
REPLICAS = 3


def cluster(partitions: int, brokers: int, new: int) -> tuple[list[BrokerRoom], list[PlacedPartition]]:
    chance = random.Random(1)
    used = brokers - new
    rooms = [BrokerRoom(number + 1, f"rack {number % 4}", 1 << 50) for number in range(brokers)]
    placed = [
        PlacedPartition(
            TopicPartition("t", number),
            tuple((number + step) % used + 1 for step in range(REPLICAS)),
            int(chance.lognormvariate(0, 1) * GB),
            chance.lognormvariate(0, 1) * 1e5,
            chance.lognormvariate(0, 1) * 1e5,
        )
        for number in range(partitions)
    ]
    return rooms, placed


def measure(partitions: int, brokers: int, new: int) -> tuple[str, ...]:
    rooms, before = cluster(partitions, brokers, new)
    began = time.process_time()
    after = rebalanced(rooms, before, RebalanceTerms())
    spent_s = time.process_time() - began
    added = [len(set(to.replicas) - set(of.replicas)) for of, to in zip(before, after, strict=True)]
    copied = sum(count * one.size_bytes for count, one in zip(added, before, strict=True))
    whole = sum(one.size_bytes * REPLICAS for one in before)
    scores = [f"{score(rooms, before, one):.2f}" for one in (before, after)]
    return (str(new), *scores, str(sum(added)), f"{100 * copied / whole:.1f}", f"{spent_s:.2f}")


def main(arguments: Sequence[str]) -> int:
    partitions, brokers = (*map(int, arguments), *(1000, 20)[len(arguments) :])
    rows = [measure(partitions, brokers, new) for new in (0, brokers // 6, brokers * 2 // 5)]
    print_table(("NEW BROKERS", "SCORE", "AFTERWARDS", "REPLICAS MOVED", "OF BYTES, %", "CPU, S"), rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
