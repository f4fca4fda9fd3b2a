"""Draining: where the replicas of one broker go, so that it can be switched off.

Each goes to the active broker that is not drained itself and has no replica of its partition, in a rack that has fewest
of them, and holds the fewest replicas; it takes the place of the one that goes, so that preferred leaders are spread as
they were. What cannot be is refused before anything moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from dohle.client.partition_changes import OngoingReassignment, Reassignment
from dohle.client.values import NodeDescription, TopicDescription
from dohle.model.errors import BrokerIdNotRegistered, InvalidReplicaAssignment, UnknownTopicOrPartition

if TYPE_CHECKING:
    from dohle.client.admin import Admin


async def moves_away(admin: Admin, node_id: int, *, without: Sequence[OngoingReassignment] = ()) -> list[Reassignment]:
    """Asks the cluster what `node_id` holds now, and returns where it goes. Raises as `plan_drain`.

    `without` are moves that the plan takes for taken back.
    """
    cluster = await admin.describe_cluster()
    topics = [_taken_back(topic, without) for topic in await admin.list_topics()]
    min_insync = {}
    for topic in topics:
        if any(node_id in one.assigned_replicas for one in topic.partitions):
            with suppress(UnknownTopicOrPartition):  # it has been deleted since
                entries = {entry.name: entry.value for entry in await admin.describe_configs(topic.name)}
                min_insync[topic.name] = int(entries["min.insync.replicas"])
    return plan_drain(node_id, cluster.nodes, [topic for topic in topics if topic.name in min_insync], min_insync)


def plan_drain(
    node_id: int, nodes: Sequence[NodeDescription], topics: Sequence[TopicDescription], min_insync: Mapping[str, int]
) -> list[Reassignment]:
    """Returns the moves that leave `node_id` without replicas; `min_insync` says min.insync.replicas by topic.

    Raises BrokerIdNotRegistered, and InvalidReplicaAssignment where brokers or racks would be too few.
    """
    racks = {node.node_id: node.rack or f"node {node.node_id}" for node in nodes}
    if node_id not in racks:
        raise BrokerIdNotRegistered(f"there is no broker {node_id}: there are {sorted(racks)}")
    load = {node.node_id: node.replicas for node in nodes if node.node_id != node_id and node.takes_replicas}
    moves: list[Reassignment] = []
    for topic in topics:
        for partition in topic.partitions:
            present = partition.assigned_replicas
            if node_id not in present:
                continue
            name = f"{topic.name}-{partition.partition}"
            staying = [node for node in present if node != node_id]
            candidates = [node for node in sorted(load) if node not in present]
            if not candidates:
                raise InvalidReplicaAssignment(_too_few(name, node_id, len(present), sorted(load)))
            used = [racks[node] for node in staying]
            chosen = min(candidates, key=lambda node: (used.count(racks[node]), load[node], node))
            spread = len({*used, racks[chosen]})
            needed = min(min_insync.get(topic.name, 1), len({racks[node] for node in present}))
            if spread < needed:
                raise InvalidReplicaAssignment(
                    f"broker {node_id} is the last one of its rack, {racks[node_id]}, that can have {name}: without it"
                    f" the replicas would be in {spread} racks, and min.insync.replicas is {min_insync[topic.name]}."
                    f" Start another broker in that rack first"
                )
            load[chosen] += 1
            replicas = tuple([chosen if node == node_id else node for node in present])
            moves.append(Reassignment(topic.name, partition.partition, replicas, partition.partition_epoch))
    return moves


def _taken_back(topic: TopicDescription, moves: Sequence[OngoingReassignment]) -> TopicDescription:
    adding = {one.partition: one.adding_replicas for one in moves if one.topic == topic.name}
    partitions = [
        replace(
            one,
            assigned_replicas=tuple(
                [node for node in one.assigned_replicas if node not in adding.get(one.partition, ())]
            ),
        )
        for one in topic.partitions
    ]
    return replace(topic, partitions=tuple(partitions)) if adding else topic


def _too_few(name: str, node_id: int, replication_factor: int, others: Sequence[int]) -> str:
    return (
        f"{name} has {replication_factor} replicas, and without broker {node_id} only {len(others)} brokers are"
        f" available, {list(others)}: start another one first, or give {name} fewer replicas"
    )
