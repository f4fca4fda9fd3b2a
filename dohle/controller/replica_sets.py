"""Which brokers have a partition's replicas, and which of them a reassignment adds or removes (KIP-455)."""

from __future__ import annotations

from dataclasses import dataclass

from dohle.model.ids import NodeId
from dohle.model.image import PartitionImage


@dataclass(frozen=True, slots=True)
class ReplicaSets:
    """`assigned` are all that hold the partition now, the targets first, in their order."""

    assigned: tuple[NodeId, ...]
    adding: tuple[NodeId, ...] = ()
    removing: tuple[NodeId, ...] = ()

    @property
    def moves(self) -> bool:
        return bool(self.adding or self.removing)

    @property
    def targets(self) -> tuple[NodeId, ...]:
        return tuple([node for node in self.assigned if node not in self.removing])


def replica_sets(partition: PartitionImage) -> ReplicaSets:
    """Returns the partition's replicas as they are."""
    return ReplicaSets(partition.assigned_replicas, partition.adding_replicas, partition.removing_replicas)


def moving_to(partition: PartitionImage, targets: tuple[NodeId, ...]) -> ReplicaSets:
    """Returns the sets with which a reassignment begins; of one that runs, what it adds elsewhere is given up."""
    present = taken_back(partition).assigned
    removing = tuple([node for node in present if node not in targets])
    return ReplicaSets((*targets, *removing), tuple([node for node in targets if node not in present]), removing)


def taken_back(partition: PartitionImage) -> ReplicaSets:
    """Returns the sets without what a reassignment has added: those who stay keep the order that it gave them."""
    adding = partition.adding_replicas
    return ReplicaSets(tuple([node for node in partition.assigned_replicas if node not in adding]))
