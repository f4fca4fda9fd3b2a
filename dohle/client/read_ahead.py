"""ReadAhead: batches that were read and that nobody has taken yet, and failures that a reader must hear of."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from dohle.client.assigned_partition import AssignedPartition
from dohle.client.fetched_batch import FetchedBatch


class Ahead(NamedTuple):
    """One batch, whose it is, and which node it came from."""

    partition: AssignedPartition
    batch: FetchedBatch
    node: int


class ReadAhead:
    """In the order of arrival. What each node's batches take is known, so that the node can be asked for no more."""

    def __init__(self) -> None:
        self._batches: deque[Ahead] = deque()
        self._failures: deque[tuple[Exception, list[AssignedPartition]]] = deque()  # with those it keeps from reading
        self._bytes_from: dict[int, int] = {}
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._batches)

    def bytes_from(self, node: int) -> int:
        return self._bytes_from.get(node, 0)

    def put(self, partition: AssignedPartition, batch: FetchedBatch, node: int) -> None:
        self._batches.append(Ahead(partition, batch, node))
        self._bytes_from[node] = self.bytes_from(node) + batch.size_bytes
        self._arrived.set()

    def fail(self, failure: Exception, partitions: Sequence[AssignedPartition] = ()) -> None:
        """Has the reader be told, once it has read what came before, unless it sought elsewhere in all `partitions`."""
        self._failures.append((failure, [*partitions]))
        self._arrived.set()

    def sought(self, partition: AssignedPartition) -> None:
        """Drops what is there of `partition`, failures that are of no other included."""
        self.forget(partition)
        kept: deque[tuple[Exception, list[AssignedPartition]]] = deque()
        for failure, partitions in self._failures:
            left = [other for other in partitions if other is not partition]
            if left or not partitions:
                kept.append((failure, left))
        self._failures = kept

    async def wait(self) -> None:
        """Returns when there is a batch. Raises a failure that is due."""
        while not self._batches:
            if self._failures:
                raise self._failures.popleft()[0]
            self._arrived.clear()
            await self._arrived.wait()

    def pop(self) -> Ahead:
        taken = self._batches.popleft()
        self._bytes_from[taken.node] -= taken.batch.size_bytes
        return taken

    def forget(self, partition: AssignedPartition) -> None:
        """Drops the batches of `partition`."""
        kept: deque[Ahead] = deque()
        for ahead in self._batches:
            if ahead.partition is partition:
                self._bytes_from[ahead.node] -= ahead.batch.size_bytes
            else:
                kept.append(ahead)
        self._batches = kept
