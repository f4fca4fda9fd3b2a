"""ElectionCounts: how often leaders have changed, for metrics; counted as changes are committed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dohle.model.ids import NO_NODE, PartitionKey
from dohle.model.image import ClusterImage
from dohle.model.metadata import MetadataRecord, PartitionChange, ReplicasChange


@dataclass(slots=True)
class ElectionCounts:
    """Counts that only grow, since this process has begun to count."""

    elections: int = 0
    unclean: int = 0  # of them: leaders that were not in sync, and lead alone
    lost: int = 0  # partitions that nobody could lead any more
    reassignments: int = 0  # that have ended, or were taken back

    def count(self, before: ClusterImage, records: Iterable[MetadataRecord]) -> None:
        """Takes the records of one change, made on the image `before`."""
        for record in records:
            match record:
                case PartitionChange() | ReplicasChange():
                    self._count(before, record)
                case _:
                    pass

    def _count(self, before: ClusterImage, record: PartitionChange | ReplicasChange) -> None:
        partition = before.partition(PartitionKey(record.topic_id, record.partition))
        if partition is None:
            return  # made in the same change
        if record.leader != partition.leader:
            self.elections += record.leader != NO_NODE
            self.lost += record.leader == NO_NODE
            if record.leader not in (NO_NODE, *partition.in_sync_replicas):
                self.unclean += record.in_sync_replicas == (record.leader,)
        if isinstance(record, ReplicasChange):
            runs = bool(record.adding_replicas or record.removing_replicas)
            self.reassignments += partition.is_reassigning and not runs
