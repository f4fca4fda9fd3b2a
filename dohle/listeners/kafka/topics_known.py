"""Topics and brokers as Kafka's clients name them, by what this broker knows of the metadata."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from dohle.broker.broker import Broker
from dohle.listeners.kafka.addresses import is_tellable, told_address
from dohle.listeners.kafka.apis import Caller
from dohle.model.errors import DohleError, UnknownTopicId, UnknownTopicOrPartition, error_for
from dohle.model.ids import NO_NODE, NodeId, PartitionKey, TopicId
from dohle.model.image import BrokerImage, PartitionImage, TopicImage
from dohle.rpc.v1 import common_pb2
from dohle.runtime.network import Address

_LEAST_CODE: Final = -1


@dataclass(frozen=True, slots=True)
class KafkaNode:
    """A broker and where the caller reaches it."""

    node_id: NodeId
    host: str
    port: int
    rack: str | None


class TopicsKnown:
    """`told_as_reached`: the listeners on which this node's address is the one at which the caller has reached it."""

    def __init__(self, broker: Broker, *, told_as_reached: Collection[str]) -> None:
        self._broker = broker
        self._told_as_reached = told_as_reached

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
        """Returns the brokers that serve the caller's listener now, by their number."""
        return self._nodes(caller, fenced=False)

    def fenced_nodes(self, caller: Caller) -> list[KafkaNode]:
        """Returns those that are registered with it and do not serve now, by their number."""
        return self._nodes(caller, fenced=True)

    def _nodes(self, caller: Caller, *, fenced: bool) -> list[KafkaNode]:
        found: list[KafkaNode] = []
        for broker in self._broker.image.brokers_in_order():
            address = self._address(broker, caller) if broker.fenced == fenced else None
            if address is not None:
                found.append(KafkaNode(broker.node_id, address.host, address.port, broker.rack or None))
        return found

    def _address(self, broker: BrokerImage, caller: Caller) -> Address | None:
        own_id = self._broker.node_id
        told_as_reached = caller.listener in self._told_as_reached and is_tellable(caller.reached.host)
        if broker.node_id == own_id and told_as_reached:
            return caller.reached
        return told_address(broker, caller.listener, caller.reached, self._broker.image.brokers.get(own_id))

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


def failed(outcome: DohleError | common_pb2.Failure) -> tuple[int, str | None]:
    """Returns the code and the message that a client is told; (0, None) for a failure that is none."""
    if isinstance(outcome, DohleError):
        return wire_code(outcome), outcome.message
    return (wire_code(error_for(outcome.code)), outcome.message) if outcome.code else (0, None)


def by_name(error: DohleError, *, by_id: bool) -> DohleError:
    """Returns what to tell a client that may know topics by name alone."""
    if isinstance(error, UnknownTopicId) and not by_id:
        return UnknownTopicOrPartition(error.message)
    return error
