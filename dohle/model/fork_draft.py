"""Forks that are being made, while a batch of metadata records changes them.

What a replica has said of itself holds for its broker's registration and log directories as they were then: a new
registration, or a directory that fails, takes it back, and the broker is to say it again.
"""

from __future__ import annotations

from dataclasses import replace

from rpds import HashTrieMap

from dohle.model.ids import NodeId, TopicId
from dohle.model.image import ForkImage
from dohle.model.metadata import UNSET, ForkedPartition, ForkedReplica, ForkTopic
from dohle.model.topic_draft import Contradiction, demand


class ForksDraft:
    """`forks` are those that are being made, as of the records so far."""

    def __init__(self, forks: HashTrieMap[TopicId, ForkImage]) -> None:
        self.forks = forks

    def begin(self, record: ForkTopic, offset: int) -> None:
        demand(record.topic_id not in self.forks, "the topic id is in use")
        self.check_name(record.topic_id, record.name)
        demand(all(one.end == UNSET and not one.confirmed for one in record.partitions), "some of it is made already")
        fork = ForkImage(record.topic_id, record.name, record.source_id, record.timestamp_ms, record.partitions, offset)
        self.forks = self.forks.insert(record.topic_id, fork)

    def check_name(self, topic_id: TopicId, name: str) -> None:
        """Raises Contradiction where a fork of this name, but of another id, is being made."""
        for other in self.forks:
            if other != topic_id and self.forks[other].name == name:
                raise Contradiction(f"topic {name} is being forked")

    def since(self, topic_id: TopicId, offset: int) -> int:
        """Returns since when a partition's replicas are there that is added at `offset`: since its fork began."""
        fork = self.forks.get(topic_id)
        return offset if fork is None else fork.since

    def note(self, record: ForkedReplica) -> None:
        fork = self.forks.get(record.topic_id)
        if fork is None or not 0 <= record.partition < len(fork.partitions):
            raise Contradiction("there is no such fork")
        before = fork.partitions[record.partition]
        demand(record.node_id in before.assigned_replicas, f"node {record.node_id} is none of its replicas")
        after = _without(before, record.node_id)
        if record.end == UNSET:
            demand(before.end != UNSET, "it is not cut yet")
            after = after._replace(unable=(*after.unable, record.node_id))
        else:
            if before.end == UNSET:
                after = after._replace(end=record.end, checked_from=record.checked_from, checksum=record.checksum)
            demand((after.end, after.checksum) == (record.end, record.checksum), "it is cut elsewhere")
            after = after._replace(confirmed=(*after.confirmed, record.node_id))
        self._put(fork, record.partition, after)

    def end(self, topic_id: TopicId) -> None:
        demand(topic_id in self.forks, "there is no such fork")
        self.forks = self.forks.remove(topic_id)

    def forget(self, node_id: NodeId) -> None:
        """What this node has said holds no more."""
        for topic_id in sorted(self.forks):
            for number, partition in enumerate(self.forks[topic_id].partitions):
                if node_id in (*partition.confirmed, *partition.unable):
                    self._put(self.forks[topic_id], number, _without(partition, node_id))

    def _put(self, fork: ForkImage, number: int, partition: ForkedPartition) -> None:
        partitions = (*fork.partitions[:number], partition, *fork.partitions[number + 1 :])
        self.forks = self.forks.insert(fork.topic_id, replace(fork, partitions=partitions))


def _without(partition: ForkedPartition, node_id: NodeId) -> ForkedPartition:
    return partition._replace(
        confirmed=tuple([node for node in partition.confirmed if node != node_id]),
        unable=tuple([node for node in partition.unable if node != node_id]),
    )
