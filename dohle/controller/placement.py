"""Where a new partition's replicas go: spread over brokers and racks, leaders in equal shares.

Brokers stand in a circle in which racks take turns. Partition by partition the leader moves on by one, so every broker
leads equally often; the followers come after it, those of the least used rack first, from a place that shifts with
every round, so that one broker's followers are spread over all the others. Where the circle starts is drawn at random,
or topics of few partitions would all meet on the same brokers.

Brokers without a rack count as a rack each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from dohle.model.ids import NodeId, RandomBytes
from dohle.model.image import BrokerImage


class Random(RandomBytes, Protocol):
    """What placing and naming new topics draws from; `random.Random` has it."""

    def randrange(self, stop: int, /) -> int: ...


def place(
    brokers: Sequence[BrokerImage],
    *,
    partitions: int,
    replication_factor: int,
    random: Random,
    beside: Sequence[BrokerImage] = (),
) -> list[tuple[NodeId, ...]]:
    """Returns each partition's replicas, the preferred leader first.

    `brokers` are those that may be used; those of `beside` have a replica of each partition already.
    """
    assert 1 <= replication_factor <= len(brokers)
    taken = Counter(_rack(broker) for broker in beside)
    circle = _circle(brokers)
    start = random.randrange(len(circle))
    shift = random.randrange(len(circle))
    return [
        _replicas(circle, (start + number) % len(circle), shift + number // len(circle), replication_factor, taken)
        for number in range(partitions)
    ]


def _circle(brokers: Sequence[BrokerImage]) -> list[tuple[NodeId, str]]:
    """Returns (broker, rack), the racks taking turns."""
    of_rack: dict[str, list[NodeId]] = {}
    for broker in sorted(brokers, key=lambda broker: broker.node_id):
        of_rack.setdefault(_rack(broker), []).append(broker.node_id)
    turns = [(turn, rack, node) for rack, nodes in of_rack.items() for turn, node in enumerate(nodes)]
    return [(node, rack) for _, rack, node in sorted(turns)]


def _rack(broker: BrokerImage) -> str:
    return f"rack {broker.rack}" if broker.rack else f"node {broker.node_id}"


def _replicas(
    circle: list[tuple[NodeId, str]], first: int, shift: int, replication_factor: int, taken: Counter[str]
) -> tuple[NodeId, ...]:
    others = len(circle) - 1
    waiting = [circle[first], *(circle[(first + 1 + (shift + step) % others) % len(circle)] for step in range(others))]
    chosen: list[NodeId] = []
    used = taken.copy()
    for _ in range(replication_factor):
        index = min(range(len(waiting)), key=lambda index: used[waiting[index][1]])
        node, rack = waiting.pop(index)
        chosen.append(node)
        used[rack] += 1
    return tuple(chosen)
