"""Metadata and DescribeCluster: brokers, topics, who leads what; and topics that are made by being asked for."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Final

from dohle.broker.broker import Broker
from dohle.kafka.declaration import NO_UUID
from dohle.kafka.messages.cluster import (
    DescribeClusterRequest,
    DescribeClusterResponse,
    MetadataRequest,
    MetadataResponse,
)
from dohle.listeners.kafka.acls import CLUSTER_OPERATIONS, TOPIC_OPERATIONS
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.topics_known import KafkaNode, TopicsKnown, wire_code
from dohle.listeners.passing_on import passed_on
from dohle.model.errors import (
    DohleError,
    InvalidRequest,
    LeaderNotAvailable,
    ListenerNotFound,
    MismatchedEndpointType,
    TopicAlreadyExists,
    UnknownTopicOrPartition,
    UnsupportedEndpointType,
    error_for,
)
from dohle.model.ids import NO_NODE, NodeId, TopicId
from dohle.model.image import ClusterImage, PartitionImage, TopicImage
from dohle.model.internal_topics import OFFSETS_TOPIC, is_internal
from dohle.model.topic_config import check_topic_name
from dohle.rpc.v1 import admin_pb2

log = logging.getLogger(__name__)

_FIRST_BY_ID: Final = 12
_FIRST_WITH_NONE: Final = 1
_FIRST_WITH_LISTENER_ERROR: Final = 6
_CREATION_MS: Final = 5000
_CLUSTER_DEFAULT: Final = -1
_BROKERS: Final = 1
_CONTROLLERS: Final = 2
_NOT_ASKED: Final = -(1 << 31)

_Topic = MetadataResponse.Topic


class Cluster:
    """What clients ask of the cluster; `creates_topics`: also of topics that do not exist yet."""

    def __init__(self, broker: Broker, known: TopicsKnown, *, creates_topics: bool) -> None:
        self._broker = broker
        self._known = known
        self._creates_topics = creates_topics

    async def metadata(self, request: MetadataRequest, caller: Caller) -> MetadataResponse:
        if caller.api_version < _FIRST_BY_ID and _asks_by_id(request):
            return _not_by_id(request)
        nodes = self._known.nodes(caller)
        reached = _Reached(self._broker.image, frozenset(node.node_id for node in nodes), caller.api_version)
        return MetadataResponse(
            brokers=[
                MetadataResponse.Broker(node_id=node.node_id, host=node.host, port=node.port, rack=node.rack)
                for node in nodes
            ],
            cluster_id=self._broker.image.cluster_id,
            controller_id=self._known.controller(nodes),
            topics=[one async for one in self._topics(request, caller, reached)],
            cluster_authorized_operations=(
                CLUSTER_OPERATIONS if request.include_cluster_authorized_operations else _NOT_ASKED
            ),
        )

    async def _topics(self, request: MetadataRequest, caller: Caller, reached: _Reached) -> AsyncIterator[_Topic]:
        asked = request.topics
        if asked is None or (caller.api_version < _FIRST_WITH_NONE and not asked):
            for topic in self._broker.image.topics_in_order():
                yield _described(topic, reached, request)
            return
        missing = [
            one.name for one in asked if one.name is not None and self._broker.image.topic_named(one.name) is None
        ]
        failures = await self._create(missing, allowed=request.allow_auto_topic_creation)
        once = {(one.name, one.topic_id): one for one in asked}  # a topic that is named twice is told once
        for one in once.values():
            by_id = one.topic_id != NO_UUID
            try:
                found = self._known.topic(one.name or "", one.topic_id, by_id=by_id)
            except DohleError as error:
                told = failures.get(one.name or "", error)
                name = None if by_id else one.name
                yield _Topic(
                    error_code=wire_code(told),
                    name=name,
                    topic_id=one.topic_id,
                    is_internal=is_internal(name or ""),
                    partitions=[],
                )
            else:
                yield _described(found, reached, request)

    async def _create(self, names: Iterable[str], *, allowed: bool) -> dict[str, DohleError]:
        """Makes those topics, if that is to be, and returns why some were not made."""
        failures: dict[str, DohleError] = {}
        wanted: list[str] = []
        for name in dict.fromkeys(names):
            try:
                check_topic_name(name)
            except DohleError as error:
                failures[name] = error
            else:
                wanted.append(name)
        if not (wanted and allowed and self._creates_topics):
            return failures
        if OFFSETS_TOPIC in wanted:  # with what it is made with, whoever asks for it
            wanted.remove(OFFSETS_TOPIC)
            try:
                await self._broker.groups.make_topic()
            except DohleError as error:
                failures[OFFSETS_TOPIC] = UnknownTopicOrPartition(error.message)
        if not wanted:
            return failures
        request = admin_pb2.CreateTopicsRequest(
            topics=[
                admin_pb2.NewTopic(name=name, partitions=_CLUSTER_DEFAULT, replication_factor=_CLUSTER_DEFAULT)
                for name in wanted
            ],
            timeout_ms=_CREATION_MS,
        )
        try:
            answer = await passed_on(self._broker, "CreateTopics", request, timeout_ms=_CREATION_MS)
        except DohleError as error:
            log.warning("topics %s that a Kafka client asked for were not made: %s", ", ".join(wanted), error.message)
            return failures | dict.fromkeys(wanted, UnknownTopicOrPartition(error.message))
        for made in answer.topics:
            if not made.failure.code:
                log.info("topic %s was made, since a Kafka client asked for it", made.name)
            elif made.failure.code != TopicAlreadyExists.code:
                log.warning("topic %s that a Kafka client asked for was not made: %s", made.name, made.failure.message)
                failures[made.name] = error_for(made.failure.code, made.failure.message)
        return failures

    async def describe_cluster(self, request: DescribeClusterRequest, caller: Caller) -> DescribeClusterResponse:
        error = _wrong_endpoint(request.endpoint_type)
        if error is not None:
            return DescribeClusterResponse(
                error_code=error.code, error_message=error.message, cluster_id="", brokers=[]
            )
        nodes = self._known.nodes(caller)
        brokers = [_broker(node) for node in nodes]
        if request.include_fenced_brokers:
            brokers += [_broker(node, fenced=True) for node in self._known.fenced_nodes(caller)]
        return DescribeClusterResponse(
            error_code=0,
            cluster_id=self._broker.image.cluster_id or "",
            controller_id=self._known.controller(nodes),
            brokers=brokers,
            cluster_authorized_operations=(
                CLUSTER_OPERATIONS if request.include_cluster_authorized_operations else _NOT_ASKED
            ),
        )


def _wrong_endpoint(endpoint_type: int) -> DohleError | None:
    if endpoint_type == _BROKERS:
        return None
    if endpoint_type == _CONTROLLERS:
        return MismatchedEndpointType(
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
        )
    return UnsupportedEndpointType(f"Unsupported endpoint type {endpoint_type}")


def _asks_by_id(request: MetadataRequest) -> bool:
    return any(one.name is None or one.topic_id != NO_UUID for one in request.topics or ())


def _not_by_id(request: MetadataRequest) -> MetadataResponse:
    """Returns what Kafka answers in the versions that tell ids and cannot be asked by them: the error, and no more."""
    return MetadataResponse(
        brokers=[],
        topics=[
            _Topic(error_code=InvalidRequest.code, name=one.name or "", topic_id=one.topic_id, partitions=[])
            for one in request.topics or ()
        ],
    )


def _broker(node: KafkaNode, *, fenced: bool = False) -> DescribeClusterResponse.Broker:
    return DescribeClusterResponse.Broker(
        broker_id=node.node_id, host=node.host, port=node.port, rack=node.rack, is_fenced=fenced
    )


@dataclass(frozen=True, slots=True)
class _Reached:
    """Which brokers the caller finds on its listener."""

    image: ClusterImage
    nodes: frozenset[NodeId]
    api_version: int

    def leads(self, leader: NodeId) -> int:
        """Returns 0, or the code that says why the caller cannot turn to this leader."""
        if leader in self.nodes:
            return 0
        broker = self.image.brokers.get(leader)
        is_elsewhere = broker is not None and not broker.fenced and self.api_version >= _FIRST_WITH_LISTENER_ERROR
        return ListenerNotFound.code if is_elsewhere else LeaderNotAvailable.code


def _described(topic: TopicImage, reached: _Reached, request: MetadataRequest) -> _Topic:
    return _Topic(
        error_code=0,
        name=topic.name,
        topic_id=TopicId(topic.topic_id),
        is_internal=is_internal(topic.name),
        partitions=[_partition(number, partition, reached) for number, partition in enumerate(topic.partitions)],
        topic_authorized_operations=(TOPIC_OPERATIONS if request.include_topic_authorized_operations else _NOT_ASKED),
    )


def _partition(number: int, partition: PartitionImage, reached: _Reached) -> _Topic.Partition:
    error_code = reached.leads(partition.leader)
    return _Topic.Partition(
        error_code=error_code,
        partition_index=number,
        leader_id=NO_NODE if error_code else partition.leader,
        leader_epoch=partition.leader_epoch,
        replica_nodes=list(partition.assigned_replicas),
        isr_nodes=list(partition.in_sync_replicas),
        offline_replicas=[node for node in partition.assigned_replicas if node not in reached.nodes],
    )
