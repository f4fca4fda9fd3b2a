"""Clusters to be rebalanced: drawn at random, and described in a word."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from dohle.client.balance import BrokerRoom, PlacedPartition
from dohle.model.ids import TopicPartition

MB = 10**6
GB = 10**9


def brokers_in(*racks: str, free_bytes: int = 1 << 50) -> list[BrokerRoom]:
    return [BrokerRoom(number, rack, free_bytes) for number, rack in enumerate(racks, 1)]


def placed(*replicas: tuple[int, ...], size_bytes: int = GB) -> list[PlacedPartition]:
    return [PlacedPartition(TopicPartition("t", n), nodes, size_bytes, MB, MB) for n, nodes in enumerate(replicas)]


def drawn_cluster(
    seed: int, *, most_brokers: int = 5, most_partitions: int = 12
) -> tuple[list[BrokerRoom], list[PlacedPartition]]:
    """Sizes and rates differ by orders of magnitude, and in half of the clusters some brokers are new and empty."""
    chance = Random(seed)
    count = chance.randint(3, most_brokers)
    racks = chance.choice((("",), ("a", "b"), ("a", "b", "c")))
    brokers = brokers_in(*[racks[number % len(racks)] for number in range(count)])
    used = [broker.node_id for broker in brokers[: chance.choice((count, count, count - 1, max(1, count - 2)))]]
    partitions = []
    for number in range(chance.randint(3, most_partitions)):
        replicas = tuple(chance.sample(used, chance.randint(1, min(3, len(used)))))
        size, *rates = (chance.choice((0, 1, 1)) * chance.lognormvariate(0, 1) for _ in range(3))
        partition = PlacedPartition(TopicPartition("t", number), replicas, int(size * GB), *[r * MB for r in rates])
        partitions.append(replace(partition, free=chance.random() < 0.9))
    return brokers, partitions
