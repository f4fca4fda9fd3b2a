"""TopicRoute: which partition of a topic a record goes to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from dohle.client.partition_queue import PartitionQueue
from dohle.client.pending_batch import PendingBatch
from dohle.model.errors import UnknownTopicOrPartition
from dohle.model.ids import NO_NODE

_MOST_REMEMBERED_KEYS: Final = 10_000
_BATCHES_IN_A_ROW: Final = 16


class TopicRoute:
    """A topic's partitions, the keys' places among them, and the one that keyless records go to at the moment.

    Keyless records stay with a partition until a batch is full, or after 16 smaller ones: few large batches instead of
    many small, and over time the same for each. Partitions without a leader are passed over.
    """

    __slots__ = ("_batches", "_partitioner", "by_key", "name", "queues", "sticky")

    def __init__(
        self, name: str, queues: tuple[PartitionQueue, ...], partitioner: Callable[[bytes, int], int], first: int
    ) -> None:
        self.name = name
        self.queues = queues
        self.by_key: dict[bytes, PartitionQueue] = {}
        self.sticky = queues[first]
        self._batches = 0
        self._partitioner = partitioner

    def numbered(self, partition: int) -> PartitionQueue:
        if 0 <= partition < len(self.queues):
            return self.queues[partition]
        raise UnknownTopicOrPartition(
            f"topic {self.name!r} has partitions 0 to {len(self.queues) - 1}, and the record names {partition}"
        )

    def keyed(self, key: bytes) -> PartitionQueue:
        """Returns the partition of `key`, to be found in `by_key` the next time."""
        if len(self.by_key) >= _MOST_REMEMBERED_KEYS:
            self.by_key.clear()
        queue = self.numbered(self._partitioner(key, len(self.queues)))
        self.by_key[key] = queue
        return queue

    def next_sticky(self, filled: PendingBatch | None) -> PartitionQueue:
        """Returns where a new batch of keyless records goes; `filled` is the one that takes no more, if any."""
        self._batches += 1
        if filled is None and self._batches < _BATCHES_IN_A_ROW:
            return self.sticky
        self._batches = 0
        start = self.sticky.partition + 1
        following = [self.queues[(start + step) % len(self.queues)] for step in range(len(self.queues))]
        self.sticky = next((queue for queue in following if queue.leader != NO_NODE), following[0])
        return self.sticky
