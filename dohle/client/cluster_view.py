"""ClusterView: what a client knows of nodes, topics and leaders; an immutable value, merged from brokers' answers.

Brokers learn of changes at different moments, so an answer may be older than what is known. For a topic of the same
id, a partition's entry with a lower leader epoch never replaces a higher one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from dohle.model.errors import DohleError, error_for
from dohle.model.ids import NO_NODE
from dohle.rpc.v1 import broker_pb2
from dohle.runtime.network import Address


@dataclass(frozen=True, slots=True)
class PartitionView:
    """One partition; `leader` is -1 while it has none."""

    partition: int
    leader: int
    leader_epoch: int


@dataclass(frozen=True, slots=True)
class TopicView:
    """One topic; `partitions` by number."""

    name: str
    topic_id: bytes
    partitions: tuple[PartitionView, ...]


@dataclass(frozen=True, slots=True)
class ClusterView:
    """Nodes by id, topics by name; `failures` holds why the brokers know nothing of a topic that was asked for."""

    nodes: Mapping[int, Address] = field(default_factory=lambda: MappingProxyType({}))
    topics: Mapping[str, TopicView] = field(default_factory=lambda: MappingProxyType({}))
    failures: Mapping[str, DohleError] = field(default_factory=lambda: MappingProxyType({}))

    def merged(self, answer: broker_pb2.MetadataResponse) -> ClusterView:
        """Returns this view with `answer` taken in."""
        topics = dict(self.topics)
        failures = dict(self.failures)
        for answered in answer.topics:
            if answered.failure.code:
                failures[answered.name] = error_for(answered.failure.code, answered.failure.message)
            else:
                failures.pop(answered.name, None)
                topics[answered.name] = _merged_topic(topics.get(answered.name), answered)
        nodes = {node.node_id: Address(node.host, node.port) for node in answer.nodes}
        return ClusterView(MappingProxyType(nodes), MappingProxyType(topics), MappingProxyType(failures))


def _merged_topic(known: TopicView | None, answered: broker_pb2.TopicMetadata) -> TopicView:
    fresh = {
        entry.partition: PartitionView(entry.partition, entry.leader, entry.leader_epoch)
        for entry in answered.partitions
    }
    if known is not None and known.topic_id == answered.topic_id:
        for view in known.partitions:
            if view.partition not in fresh or fresh[view.partition].leader_epoch < view.leader_epoch:
                fresh[view.partition] = view
    # numbers have no holes, so what an answer leaves out is merely not known yet
    partitions = tuple(
        fresh.get(number, PartitionView(number, NO_NODE, -1)) for number in range(max(fresh, default=-1) + 1)
    )
    return TopicView(answered.name, answered.topic_id, partitions)
