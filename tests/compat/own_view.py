"""The cluster as Dohle's own client sees it, and as it lies on the disks: what clients of Kafka's are held against."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dohle.client.group_values import GroupDescription
from dohle.client.values import TopicDescription
from dohle.model.batch import split_batches
from dohle.model.codecs import Codec
from dohle.model.errors import DohleError, UnknownTopicOrPartition
from dohle.model.ids import TopicPartition
from dohle.sync import Admin, Consumer, Producer
from tests.integration.clusters import Cluster


class OwnView:
    """A cluster that runs, with connections to it that are kept."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._admin = Admin(cluster.bootstrap)
        self._numbers = itertools.count(1)

    def close(self) -> None:
        self._admin.close()

    def new_name(self) -> str:
        return f"compat-{next(self._numbers)}"

    @contextmanager
    def topic(self, name: str = "", partitions: int = 1) -> Iterator[str]:
        """Makes a topic with three replicas, and deletes it afterwards."""
        name = name or self.new_name()
        self._admin.create_topic(name, partitions=partitions, replication_factor=3)
        yield name
        self._admin.delete_topic(name)

    def describe(self, topic: str) -> TopicDescription | None:
        """Returns what there is of it, None if there is none."""
        try:
            return self._admin.describe_topic(topic)
        except UnknownTopicOrPartition:
            return None

    def configs(self, topic: str) -> dict[str, str]:
        return {entry.name: entry.value for entry in self._admin.describe_configs(topic)}

    def leader(self, topic: str) -> int:
        """Returns the node that leads partition 0."""
        return self._admin.describe_topic(topic).partitions[0].leader

    def delete(self, topic: str) -> None:
        self._admin.delete_topic(topic)

    def values(self, topic: str) -> list[bytes | None]:
        """Returns all that can be read of partition 0."""
        found: list[bytes | None] = []
        partition = TopicPartition(topic, 0)
        with Consumer(self.cluster.bootstrap) as consumer:
            consumer.assign(partition)
            end = consumer.end_offsets(partition)[partition]
            while consumer.position(partition) < end:
                found.append(next(consumer).value)
        return found

    def write(self, topic: str, records: Sequence[tuple[int, bytes]]) -> None:
        """Writes values, each to its partition; returns once all are acknowledged."""
        with Producer(self.cluster.bootstrap) as producer:
            for sent in [producer.send(topic, value, partition=partition) for partition, value in records]:
                sent.result()

    def coordinator(self, group: str) -> int:
        """Returns the node that coordinates the group."""
        return self._group(group).coordinator

    def committed(self, group: str, topic: str) -> dict[int, int | None]:
        """Returns the group's committed offsets by partition, of those partitions that it has or has had."""
        found = self._group(group).partitions
        return {one.name.partition: one.committed_offset for one in found if one.name.topic == topic}

    def _group(self, group: str) -> GroupDescription:
        found = self._admin.describe_groups([group])[group]
        if isinstance(found, DohleError):
            raise found
        return found

    def codecs(self, topic: str) -> set[Codec]:
        """Returns the codecs of the batches as they lie on the disk of partition 0's leader."""
        [segment] = (self.cluster.data(self.leader(topic)) / f"{topic}-0").glob("*.log")
        return {Codec(header.codec) for _, header in split_batches(segment.read_bytes())}
