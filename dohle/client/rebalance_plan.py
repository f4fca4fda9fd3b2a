"""A plan to rebalance a cluster: what brokers say that they carry, what moves where, and the way back.

Partitions that had better be left alone are: those of excluded topics, those on their way elsewhere, those that lack an
in-sync replica, and those with a replica on a broker that is down or stopping, which a move would wait for without end,
or that is being drained, which moves them.
They count as what they are, and the plan says how many there were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from dohle.client.admin import Admin
from dohle.client.balance import BrokerRoom, Carried, PlacedPartition, carried_by
from dohle.client.partition_changes import Reassignment
from dohle.client.rebalance import RebalanceTerms, rebalanced
from dohle.client.values import NodeDescription, PartitionDescription, ReplicaDescription
from dohle.model.errors import BrokerNotAvailable
from dohle.model.ids import TopicPartition

EXCLUDED = "of excluded topics"
MOVING = "on their way already"
SHORT = "without all replicas in sync"
DOWN = "on brokers that are down, stopping or being drained"


@dataclass(frozen=True, slots=True)
class PlannedMove:
    """What becomes of one partition; bound to its partition epoch of when the plan was made."""

    name: TopicPartition
    before: tuple[int, ...]
    after: tuple[int, ...]
    copied_bytes: int
    partition_epoch: int

    @property
    def wanted(self) -> Reassignment:
        return Reassignment(self.name.topic, self.name.partition, self.after, self.partition_epoch)

    @property
    def undone(self) -> Reassignment:
        return Reassignment(self.name.topic, self.name.partition, self.before)

    @property
    def changes_leader(self) -> bool:
        return self.before[0] != self.after[0]


@dataclass(frozen=True, slots=True)
class RebalancePlan:
    """What every broker that takes part carries before and after, and the moves, by name. `left` counts by reason."""

    brokers: tuple[BrokerRoom, ...]
    before: Mapping[int, Carried]
    after: Mapping[int, Carried]
    moves: tuple[PlannedMove, ...]
    left: Mapping[str, int]

    @property
    def copied_bytes(self) -> int:
        return sum(move.copied_bytes for move in self.moves)


async def plan_rebalance(
    admin: Admin, terms: RebalanceTerms, is_excluded: Callable[[str], bool] = lambda _: False
) -> RebalancePlan:
    """Asks the cluster for all that a plan takes. Raises BrokerNotAvailable if a broker does not say what it holds."""
    ongoing = {one.name for one in (await admin.list_partition_reassignments()).reassignments}
    nodes = [node for node in (await admin.describe_cluster()).nodes if node.takes_replicas]
    topics = await admin.list_topics()
    brokers, sizes = await _held(admin, nodes)
    usable = {broker.node_id for broker in brokers}
    epochs: dict[TopicPartition, int] = {}
    placed: list[PlacedPartition] = []
    left: Counter[str] = Counter()
    for topic in topics:
        for partition in topic.partitions:
            name = TopicPartition(topic.name, partition.partition)
            why = EXCLUDED if is_excluded(topic.name) else MOVING if name in ongoing else _why_left(partition, usable)
            if why:
                left[why] += 1
            epochs[name] = partition.partition_epoch
            placed.append(_placed(name, partition, sizes.get(name, ()), free=not why))
    after = rebalanced(brokers, placed, terms)
    moves = [
        PlannedMove(
            old.name,
            old.replicas,
            new.replicas,
            len(set(new.replicas) - set(old.replicas)) * old.size_bytes,
            epochs[old.name],
        )
        for old, new in zip(placed, after, strict=True)
        if old.replicas != new.replicas
    ]
    return RebalancePlan(
        tuple(brokers),
        carried_by(brokers, placed),
        carried_by(brokers, after),
        tuple(sorted(moves, key=lambda move: move.name)),
        dict(sorted(left.items())),
    )


def _why_left(partition: PartitionDescription, usable: set[int]) -> str:
    if not usable.issuperset(partition.assigned_replicas):
        return DOWN
    whole = partition.leader >= 0 and set(partition.in_sync_replicas) == set(partition.assigned_replicas)
    return "" if whole else SHORT


async def _held(
    admin: Admin, nodes: Sequence[NodeDescription]
) -> tuple[list[BrokerRoom], dict[TopicPartition, list[ReplicaDescription]]]:
    """Returns how much room each broker has, and what is known of each partition's replicas."""
    brokers: list[BrokerRoom] = []
    replicas: dict[TopicPartition, list[ReplicaDescription]] = {}
    for node in nodes:
        folders = await admin.describe_log_dirs(node.node_id)
        sound = [folder for folder in folders if folder.failure is None]
        if not sound:
            raise BrokerNotAvailable(f"broker {node.node_id} has no log directory that works: mend that first")
        brokers.append(BrokerRoom(node.node_id, node.rack, sum(folder.free_bytes for folder in sound)))
        for folder in folders:
            for one in folder.replicas:
                replicas.setdefault(TopicPartition(one.topic, one.partition), []).append(one)
    return brokers, replicas


def _placed(
    name: TopicPartition, partition: PartitionDescription, replicas: Sequence[ReplicaDescription], *, free: bool
) -> PlacedPartition:
    return PlacedPartition(
        name,
        partition.assigned_replicas,
        max((one.size_bytes for one in replicas), default=0),
        sum(one.bytes_in_per_s for one in replicas),
        sum(one.bytes_out_per_s for one in replicas),
        free,
    )


def bound_anew(moves: Sequence[PlannedMove], now: Mapping[TopicPartition, PartitionDescription]) -> list[PlannedMove]:
    """Returns the moves of partitions that still have the replicas that were shown, bound to their present epochs.

    An epoch passes with every change of an in-sync set or a leader, which is no reason not to go on.
    """
    return [
        replace(move, partition_epoch=now[move.name].partition_epoch)
        for move in moves
        if move.name in now and now[move.name].assigned_replicas == move.before
    ]
