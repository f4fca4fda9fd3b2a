"""ElectionCounts: how often leaders have changed, for metrics; counted as changes are committed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dohle.model.ids import NO_NODE, NodeId, PartitionKey
from dohle.model.image import ClusterImage, PartitionImage
from dohle.model.metadata import MetadataRecord, PartitionChange, RegisterBroker, ReplicasChange


@dataclass(slots=True)
class ElectionCounts:
    """Counts that only grow, since this process has begun to count."""

    elections: int = 0
    unclean: int = 0  # of them: leaders that may lack acknowledged records
    eligible: int = 0  # of them: eligible leader replicas
    lost: int = 0  # partitions that nobody could lead any more
    reassignments: int = 0  # that have ended, or were taken back

    def count(self, before: ClusterImage, records: Collection[MetadataRecord]) -> None:
        """Takes the records of one change, made on the image `before`."""
        registered = [record.node_id for record in records if isinstance(record, RegisterBroker)]
        for record in records:
            match record:
                case PartitionChange() | ReplicasChange():
                    partition = before.partition(PartitionKey(record.topic_id, record.partition))
                    if partition is not None:  # else it is made in the same change
                        self._count(partition, record, registered)
                case _:
                    pass

    def _count(
        self, partition: PartitionImage, record: PartitionChange | ReplicasChange, registered: Collection[NodeId]
    ) -> None:
        runs = isinstance(record, ReplicasChange) and bool(record.adding_replicas or record.removing_replicas)
        ends = isinstance(record, ReplicasChange) and partition.is_reassigning and not runs
        self.reassignments += ends
        if record.leader != partition.leader:
            self.elections += record.leader != NO_NODE
            self.lost += record.leader == NO_NODE
            self.eligible += record.leader in partition.eligible_replicas
            self.unclean += not ends and is_unclean(partition, record, registered)


def is_unclean(
    before: PartitionImage, record: PartitionChange | ReplicasChange, registered: Collection[NodeId]
) -> bool:
    """Whether the new leader may lack acknowledged records: it was neither in sync nor eligible, or in doubt while
    members without a doubt, that did not register just then, were missing."""
    if record.leader in (NO_NODE, *before.eligible_replicas):
        return False
    if record.leader not in before.in_sync_replicas:
        return record.in_sync_replicas == (record.leader,)
    left_out = [
        node
        for node in before.in_sync_replicas
        if node not in (*record.in_sync_replicas, *registered) and before.doubt_about(node) is None
    ]
    return before.doubt_about(record.leader) is not None and bool(left_out)
