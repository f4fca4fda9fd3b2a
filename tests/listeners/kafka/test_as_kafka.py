"""Small things that clients see, as a real Kafka answers them: found by tests/differential, held here without it."""

from __future__ import annotations

import pytest

from dohle.kafka.declaration import NO_UUID
from dohle.kafka.messages.cluster import (
    DescribeClusterRequest,
    DescribeClusterResponse,
    MetadataRequest,
    MetadataResponse,
)
from dohle.kafka.messages.configs import (
    AlterConfigsRequest,
    AlterConfigsResponse,
    DescribeConfigsRequest,
    DescribeConfigsResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from dohle.kafka.messages.fetch import FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse
from dohle.kafka.messages.groups import FindCoordinatorRequest, FindCoordinatorResponse
from dohle.kafka.messages.produce import (
    InitProducerIdRequest,
    InitProducerIdResponse,
    ProduceRequest,
    ProduceResponse,
)
from dohle.kafka.messages.topics import DeleteRecordsRequest, DeleteRecordsResponse
from dohle.listeners.kafka.apis import Caller
from dohle.model.errors import (
    CoordinatorNotAvailable,
    InvalidRequest,
    InvalidTopic,
    UnknownTopicOrPartition,
    UnsupportedVersion,
)
from dohle.model.ids import PartitionKey, TopicId
from dohle.model.records import Record, encode_batch
from dohle.runtime.network import Address
from tests.broker.brokers import until
from tests.broker.virtual_time import in_virtual_time
from tests.listeners.kafka.served_broker import ServedBroker

T = TopicId(b"t" * 16)
TOPIC = 2


async def with_topic(**overrides: str) -> ServedBroker:
    served = await ServedBroker.started()
    served.cluster.controller.topic(
        T, [[2]], overrides={key.replace("_", "."): value for key, value in overrides.items()}
    )
    await until(lambda: served.node.broker.image.topic_named("t") is not None)
    return served


async def with_records(count: int) -> ServedBroker:
    served = await with_topic()
    await served.cluster.led(PartitionKey(T, 0))
    for _ in range(count):
        batch = memoryview(encode_batch([Record(None, b"v", (), 1)]))
        partition = ProduceRequest.Topic.Partition(index=0, records=batch)
        request = ProduceRequest(
            acks=-1,
            timeout_ms=1000,
            topic_data=[ProduceRequest.Topic(name="t", topic_id=T, partition_data=[partition])],
        )
        begin = served.apis[0].begin
        assert begin is not None
        rest = await begin(request, Caller("test", 13, Address("client", 1), Address("here", 9092)))
        assert rest is not None
        answer = await rest
        assert isinstance(answer, ProduceResponse)
        assert answer.responses[0].partition_responses[0].error_code == 0
    return served


# Metadata and the cluster


def named(*names: str | None, topic_id: bytes = NO_UUID) -> MetadataRequest:
    return MetadataRequest(topics=[MetadataRequest.Topic(name=name, topic_id=topic_id) for name in names])


@in_virtual_time
async def test_a_topic_that_is_named_twice_is_told_once() -> None:
    served = await with_topic()
    assert [one.name for one in (await served.ask(named("t", "t"), MetadataResponse)).topics] == ["t"]


@in_virtual_time
@pytest.mark.parametrize("creates", [True, False])
async def test_a_topic_without_a_name_cannot_be(creates: bool) -> None:
    served = await with_topic()
    request = named("")
    request.allow_auto_topic_creation = creates
    [told] = (await served.ask(request, MetadataResponse)).topics
    assert told.error_code == InvalidTopic.code


@in_virtual_time
@pytest.mark.parametrize("version", [10, 11])
async def test_versions_that_tell_ids_and_cannot_be_asked_by_them_say_so(version: int) -> None:
    served = await with_topic()
    answer = await served.ask(named(None, topic_id=T), MetadataResponse, version)
    assert [(one.error_code, one.topic_id) for one in answer.topics] == [(InvalidRequest.code, T)]
    assert answer.brokers == []


@in_virtual_time
async def test_who_asks_for_other_endpoints_is_not_told_which_cluster_this_is() -> None:
    served = await with_topic()
    request = DescribeClusterRequest(include_cluster_authorized_operations=False, endpoint_type=3)
    assert (await served.ask(request, DescribeClusterResponse)).cluster_id == ""


# coordinators and producers


@in_virtual_time
@pytest.mark.parametrize(
    ("kind", "key", "version", "error"),
    [
        (1, "t", 6, CoordinatorNotAvailable),
        (2, "g:AAAAAAAAAAAAAAAAAAAAAA:0", 6, CoordinatorNotAvailable),
        (2, "g", 6, InvalidRequest),
        (2, "g:AAAAAAAAAAAAAAAAAAAAAA:0", 5, InvalidRequest),
        (3, "g", 6, InvalidRequest),
        (-1, "g", 1, InvalidRequest),
    ],
)
async def test_coordinators_of_kinds_that_there_are_not(kind: int, key: str, version: int, error: type) -> None:
    served = await with_topic()
    request = FindCoordinatorRequest(key=key, key_type=kind, coordinator_keys=[key])
    answer = await served.ask(request, FindCoordinatorResponse, version)
    told = answer.coordinators[0].error_code if version >= 4 else answer.error_code
    assert told == error.code  # type: ignore[attr-defined]


@in_virtual_time
@pytest.mark.parametrize(
    ("transactional_id", "producer_id", "epoch", "code"),
    [(None, 7, -1, 42), (None, -1, 7, 42), ("", -1, -1, 42), ("t", -1, -1, 15)],
)
async def test_producers_that_contradict_themselves(
    transactional_id: str | None, producer_id: int, epoch: int, code: int
) -> None:
    served = await with_topic()
    request = InitProducerIdRequest(
        transactional_id=transactional_id, transaction_timeout_ms=1, producer_id=producer_id, producer_epoch=epoch
    )
    answer = await served.ask(request, InitProducerIdResponse)
    assert (answer.error_code, answer.producer_id, answer.producer_epoch) == (code, -1, -1)


# configurations


@in_virtual_time
@pytest.mark.parametrize(("name", "code"), [("no/such", 17), ("..", 17), ("", 42), ("none", 3)])
async def test_configurations_of_topics_that_cannot_be(name: str, code: int) -> None:
    served = await with_topic()
    single = IncrementalAlterConfigsRequest.Resource(resource_type=TOPIC, resource_name=name, configs=[])
    request = IncrementalAlterConfigsRequest(resources=[single], validate_only=False)
    assert (await served.ask(request, IncrementalAlterConfigsResponse)).responses[0].error_code == code
    whole = AlterConfigsRequest.Resource(resource_type=TOPIC, resource_name=name, configs=[])
    replacing = AlterConfigsRequest(resources=[whole], validate_only=False)
    assert (await served.ask(replacing, AlterConfigsResponse)).responses[0].error_code == code


@in_virtual_time
async def test_values_are_shown_as_kafka_shows_them() -> None:
    served = await with_topic(cleanup_policy="compact, delete", preallocate="TRUE")
    resource = DescribeConfigsRequest.Resource(
        resource_type=TOPIC, resource_name="t", configuration_keys=["cleanup.policy", "preallocate"]
    )
    [result] = (await served.ask(DescribeConfigsRequest(resources=[resource]), DescribeConfigsResponse)).results
    assert [config.value for config in result.configs] == ["compact,delete", "true"]
    assert result.error_message == ""


# records


def listing(*timestamps: int) -> ListOffsetsRequest:
    partitions = [
        ListOffsetsRequest.Topic.Partition(partition_index=0, timestamp=timestamp) for timestamp in timestamps
    ]
    return ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsRequest.Topic(name="t", partitions=partitions)])


@in_virtual_time
async def test_a_partition_that_is_named_twice_has_no_offset() -> None:
    served = await with_records(1)
    [answer] = (await served.ask(listing(-1, -2), ListOffsetsResponse)).topics[0].partitions
    assert (answer.error_code, answer.offset) == (InvalidRequest.code, -1)


@in_virtual_time
@pytest.mark.parametrize("timestamp", [-7, -(1 << 63)])
async def test_special_times_that_there_are_not(timestamp: int) -> None:
    served = await with_records(1)
    [answer] = (await served.ask(listing(timestamp), ListOffsetsResponse)).topics[0].partitions
    assert answer.error_code == UnsupportedVersion.code


def fetching(topic_id: bytes, **asked: int) -> FetchRequest:
    partition = FetchRequest.Topic.Partition(partition=0, fetch_offset=0, partition_max_bytes=1 << 20)
    topics = [FetchRequest.Topic(topic_id=topic_id, partitions=[partition])]
    return FetchRequest(max_wait_ms=0, min_bytes=0, topics=topics, **asked)  # type: ignore[arg-type]


@in_virtual_time
@pytest.mark.parametrize("max_bytes", [0, 1])
async def test_one_batch_comes_however_few_bytes_are_asked_for(max_bytes: int) -> None:
    served = await with_records(2)
    [answer] = (await served.ask(fetching(T, max_bytes=max_bytes), FetchResponse)).responses[0].partitions
    assert len(b"".join(bytes(piece) for piece in answer.records or [])) == len(
        encode_batch([Record(None, b"v", (), 1)])
    )


@in_virtual_time
async def test_of_a_topic_that_is_not_there_no_transactions_are_told() -> None:
    served = await with_records(1)
    [answer] = (await served.ask(fetching(b"n" * 16), FetchResponse)).responses[0].partitions
    assert answer.error_code != 0
    assert answer.aborted_transactions == []


@in_virtual_time
@pytest.mark.parametrize("timeout_ms", [0, -1])
async def test_records_are_deleted_without_any_time_for_replicas(timeout_ms: int) -> None:
    served = await with_records(2)
    for offset, code, low in ((1, 0, 1), (0, 0, 1)):
        partition = DeleteRecordsRequest.Topic.Partition(partition_index=0, offset=offset)
        topic = DeleteRecordsRequest.Topic(name="t", partitions=[partition])
        request = DeleteRecordsRequest(topics=[topic], timeout_ms=timeout_ms)
        [answer] = (await served.ask(request, DeleteRecordsResponse)).topics[0].partitions
        assert (answer.error_code, answer.low_watermark) == (code, low)
    unknown = DeleteRecordsRequest.Topic(name="none", partitions=[partition])
    request = DeleteRecordsRequest(topics=[unknown], timeout_ms=timeout_ms)
    [answer] = (await served.ask(request, DeleteRecordsResponse)).topics[0].partitions
    assert answer.error_code == UnknownTopicOrPartition.code
