"""DescribeTopicPartitions: topics page by page, with the replicas that may lead without being in sync (KIP-966)."""

from __future__ import annotations

from typing import Final

from dohle.broker.broker import Broker
from dohle.kafka.declaration import NO_UUID
from dohle.kafka.messages.cluster import DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse
from dohle.listeners.kafka.acls import TOPIC_OPERATIONS
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.topics_known import TopicsKnown, wire_code
from dohle.model.errors import DohleError, InvalidRequest
from dohle.model.ids import NO_NODE, NodeId, PartitionKey
from dohle.model.image import ClusterImage, PartitionImage
from dohle.model.internal_topics import is_internal
from dohle.model.topic_config import check_topic_name

MOST_PARTITIONS: Final = 2000
"""Of one page, whatever the client asks for; Kafka's max.request.partition.size.limit."""
_UNKNOWN: Final = -(1 << 31)

_Topic = DescribeTopicPartitionsResponse.Topic
_Cursor = DescribeTopicPartitionsResponse.Cursor


class TopicPages:
    """Topics as this broker's metadata has them."""

    def __init__(self, broker: Broker, known: TopicsKnown) -> None:
        self._broker = broker
        self._known = known

    async def describe(
        self, request: DescribeTopicPartitionsRequest, caller: Caller
    ) -> DescribeTopicPartitionsResponse:
        image = self._broker.image
        try:
            names = _names(request, image)
        except InvalidRequest as error:
            refused = [_refused(topic.name, error) for topic in request.topics]
            return DescribeTopicPartitionsResponse(topics=refused)
        first = 0 if request.cursor is None else request.cursor.partition_index
        page = _Page(image, up=frozenset(node.node_id for node in self._known.nodes(caller)))
        room = max(1, min(request.response_partition_limit, MOST_PARTITIONS))
        for name in names:
            if room == 0:
                page.ends_before(name, 0)
                break
            begin = first if request.cursor is not None and name == request.cursor.topic_name else 0
            try:
                topic = self._known.topic(name, NO_UUID, by_id=False)
            except DohleError as error:
                page.response.topics.append(_refused(name, _why_unknown(name, error), TOPIC_OPERATIONS))
                continue
            end = min(len(topic.partitions), begin + room)
            page.add(name, range(begin, end))
            room -= max(0, end - begin)
            if end < len(topic.partitions):
                page.ends_before(name, end)
                break
        return page.response


class _Page:
    def __init__(self, image: ClusterImage, up: frozenset[NodeId]) -> None:
        self.response = DescribeTopicPartitionsResponse(topics=[])
        self._image = image
        self._up = up

    def add(self, name: str, numbers: range) -> None:
        topic = self._image.topic_named(name)
        assert topic is not None
        partitions = [
            self._partition(PartitionKey(topic.topic_id, number), topic.partitions[number]) for number in numbers
        ]
        self.response.topics.append(
            _Topic(
                error_code=0,
                name=name,
                topic_id=topic.topic_id,
                is_internal=is_internal(name),
                partitions=partitions,
                topic_authorized_operations=TOPIC_OPERATIONS,
            )
        )

    def _partition(self, key: PartitionKey, partition: PartitionImage) -> _Topic.Partition:
        last = partition.last_known_leader
        return _Topic.Partition(
            error_code=0,
            partition_index=key.partition,
            leader_id=partition.leader if partition.leader in self._up else NO_NODE,
            leader_epoch=partition.leader_epoch,
            replica_nodes=list(partition.assigned_replicas),
            isr_nodes=list(partition.in_sync_replicas),
            eligible_leader_replicas=list(partition.eligible_replicas),
            last_known_elr=[] if last == NO_NODE else [last],
            offline_replicas=[
                node
                for node in partition.assigned_replicas
                if node not in self._up or self._image.is_offline(node, key)
            ],
        )

    def ends_before(self, name: str, partition: int) -> None:
        self.response.next_cursor = _Cursor(topic_name=name, partition_index=partition)


def _names(request: DescribeTopicPartitionsRequest, image: ClusterImage) -> list[str]:
    """Returns the topics from the cursor on, by name: those asked for, or all. Raises InvalidRequest."""
    cursor = request.cursor
    asked = {topic.name for topic in request.topics} or image.topic_ids.keys()
    begin = "" if cursor is None else cursor.topic_name
    if cursor is not None and cursor.partition_index < 0:
        raise InvalidRequest(f"the cursor names partition {cursor.partition_index}: partitions begin with 0")
    if cursor is not None and request.topics and begin not in asked:
        raise InvalidRequest(f"the cursor names topic {begin}, which is not one of those that are asked for")
    return sorted(name for name in asked if name >= begin)


def _why_unknown(name: str, error: DohleError) -> DohleError:
    try:
        check_topic_name(name)
    except DohleError as illegal:
        return illegal
    return error


def _refused(name: str, error: DohleError, operations: int = _UNKNOWN) -> _Topic:
    """What may be done with a topic does not hang on whether it is there."""
    return _Topic(
        error_code=wire_code(error),
        name=name,
        topic_id=NO_UUID,
        is_internal=is_internal(name),
        partitions=[],
        topic_authorized_operations=operations,
    )
