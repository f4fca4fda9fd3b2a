"""Topics and brokers as Kafka's clients name them, by what this broker knows of the metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dohle.broker.broker import Broker
from dohle.listeners.kafka.apis import Caller
from dohle.model.errors import DohleError, UnknownTopicId, UnknownTopicOrPartition
from dohle.model.ids import NO_NODE, NodeId, PartitionKey, TopicId
from dohle.model.image import PartitionImage, TopicImage
from dohle.model.metadata import Endpoint

LISTENER: Final = "KAFKA"
"""The name of the endpoint that a broker registers for this door."""
_LEAST_CODE: Final = -1


@dataclass(frozen=True, slots=True)
class KafkaNode:
    """A live broker and where the caller reaches it."""

    node_id: NodeId
    host: str
    port: int
    rack: str | None


class TopicsKnown:
    """`tells_reached_address`: this node's own address is the one at which the caller has reached it."""

    def __init__(self, broker: Broker, *, tells_reached_address: bool) -> None:
        self._broker = broker
        self._tells_reached_address = tells_reached_address

    def topic(self, name: str, topic_id: bytes, *, by_id: bool) -> TopicImage:
        """Raises UnknownTopicId or UnknownTopicOrPartition, by how the topic is named."""
        image = self._broker.image
        found = image.topics.get(TopicId(topic_id)) if by_id else image.topic_named(name)
        if found is not None:
            return found
        if by_id:
            raise UnknownTopicId("there is no topic with this id; it may have been deleted and made again")
        raise UnknownTopicOrPartition(f"there is no topic {name}")

    def key(self, topic: TopicImage, partition: int) -> PartitionKey:
        """Raises UnknownTopicOrPartition where the topic has fewer partitions."""
        if not 0 <= partition < len(topic.partitions):
            raise UnknownTopicOrPartition(
                f"topic {topic.name} has no partition {partition}: it has {len(topic.partitions)}"
            )
        return PartitionKey(topic.topic_id, partition)

    def partition(self, key: PartitionKey) -> PartitionImage | None:
        return self._broker.image.partition(key)

    def nodes(self, caller: Caller) -> list[KafkaNode]:
        """Returns the brokers that serve Kafka's clients now, by their number."""
        found: list[KafkaNode] = []
        for broker in self._broker.image.brokers_in_order():
            endpoint = broker.endpoint(LISTENER)
            if not broker.fenced and endpoint is not None:
                host, port = self._address(broker.node_id, endpoint, caller)
                found.append(KafkaNode(broker.node_id, host, port, broker.rack or None))
        return found

    def _address(self, node_id: NodeId, endpoint: Endpoint, caller: Caller) -> tuple[str, int]:
        if node_id == self._broker.node_id and self._tells_reached_address:
            return caller.reached
        return endpoint.host, endpoint.port

    def controller(self, nodes: list[KafkaNode]) -> NodeId:
        """Returns who is told to be the controller: a broker that is up, for any of them passes on what it is asked."""
        up = [node.node_id for node in nodes]
        for wanted in (self._broker.metadata.controller_id, self._broker.node_id):
            if wanted in up:
                return NodeId(wanted)
        return up[0] if up else NO_NODE


def wire_code(error: DohleError) -> int:
    """Returns the error's code in Kafka's protocol: -1 for those that only Dohle has."""
    return max(error.code, _LEAST_CODE)


def by_name(error: DohleError, *, by_id: bool) -> DohleError:
    """Returns what to tell a client that may know topics by name alone."""
    if isinstance(error, UnknownTopicId) and not by_id:
        return UnknownTopicOrPartition(error.message)
    return error
