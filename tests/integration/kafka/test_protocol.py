"""Nodes spoken to in Kafka's protocol, byte for byte: each version of each API, the error codes, the rules of Fetch."""

from __future__ import annotations

import itertools
import re
import struct
import time
import urllib.request
from collections.abc import Iterator

import pytest
from crc32c import crc32c

from dohle.kafka.messages import api
from dohle.kafka.messages.cluster import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    DescribeClusterRequest,
    DescribeClusterResponse,
    MetadataRequest,
    MetadataResponse,
)
from dohle.kafka.messages.configs import (
    DescribeConfigsRequest,
    DescribeConfigsResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from dohle.kafka.messages.fetch import (
    FetchResponse,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
)
from dohle.kafka.messages.groups import FindCoordinatorRequest, FindCoordinatorResponse
from dohle.kafka.messages.produce import InitProducerIdRequest, InitProducerIdResponse, ProduceResponse
from dohle.kafka.messages.topics import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
)
from dohle.model.batch import CRC_END, HEADER, HEADER_BYTES, read_header, split_batches
from dohle.model.records import Record, decode_records, encode_batch
from tests.integration.clusters import Cluster, until
from tests.integration.kafka.raw import RawKafka, data_of, fetch_request, leader_of, produce_request, versions_of
from tests.integration.raw import a_batch

_numbers = itertools.count(1)
NO_ID = bytes(16)


@pytest.fixture
def topic(trio: Cluster) -> Iterator[str]:
    name = f"protocol-{next(_numbers)}"
    trio.done("topic", "create", name)
    yield name
    trio.done("topic", "delete", name, "--yes")


@pytest.fixture
def leader(trio: Cluster, topic: str) -> Iterator[RawKafka]:
    with leader_of(trio, topic) as connection:
        yield connection


@pytest.fixture
def any_node(trio: Cluster) -> Iterator[RawKafka]:
    with RawKafka(trio.kafka_port(1)) as connection:
        yield connection


def changed(batch: bytes, **fields: int) -> bytes:
    """Returns the batch with other fields in its header, under a right checksum."""
    header = read_header(batch)._replace(**fields)
    packed = bytearray(HEADER.pack(*header) + batch[HEADER_BYTES:])
    packed[17:21] = struct.pack(">I", crc32c(bytes(packed[CRC_END:])))
    return bytes(packed)


# versions


def test_api_versions_tell_what_is_served_in_every_version(any_node: RawKafka) -> None:
    for version in versions_of(18):
        request = ApiVersionsRequest(client_software_name="raw", client_software_version="1")
        answer = any_node.ask(request, version, ApiVersionsResponse)
        assert answer.error_code == 0
        told = {one.api_key: (one.min_version, one.max_version) for one in answer.api_keys}
        assert list(told) == [
            *(0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 29, 30, 31, 32, 33, 34, 35, 37),
            *(42, 43, 44, 45, 46, 47, 55, 57, 60, 61, 64, 68, 69, 74, 75, 80, 81),
        ]
        for key, (least, most) in told.items():
            versions = api(key)[0].API.versions
            assert most == versions[-1]
            assert least == (0 if key == 0 else versions[0])


@pytest.mark.parametrize("version", versions_of(3))
def test_metadata(trio: Cluster, leader: RawKafka, topic: str, version: int) -> None:
    answer = leader.ask(MetadataRequest(topics=[MetadataRequest.Topic(name=topic)]), version, MetadataResponse)
    assert [(one.node_id, one.host, one.port) for one in answer.brokers] == [
        (node, "127.0.0.1", trio.kafka_port(node)) for node in trio.node_ids
    ]
    if version >= 1:
        assert answer.controller_id in trio.node_ids
    [told] = answer.topics
    [partition] = told.partitions
    known = trio.partition(topic)
    assert (told.error_code, told.name) == (0, topic)
    assert (partition.error_code, partition.leader_id) == (0, known.leader)
    assert partition.replica_nodes == list(known.assigned_replicas)
    everything = leader.ask(MetadataRequest(topics=None if version else []), version, MetadataResponse)
    assert topic in [one.name for one in everything.topics]
    if version:
        assert leader.ask(MetadataRequest(topics=[]), version, MetadataResponse).topics == []
    if version >= 12:
        by_id = MetadataRequest(topics=[MetadataRequest.Topic(topic_id=told.topic_id, name=None)])
        assert leader.ask(by_id, version, MetadataResponse).topics[0].name == topic
        by_id = MetadataRequest(topics=[MetadataRequest.Topic(topic_id=b"n" * 16, name=None)])
        assert leader.ask(by_id, version, MetadataResponse).topics[0].error_code == 100


def test_metadata_makes_topics_only_where_that_is_asked_for(trio: Cluster, any_node: RawKafka) -> None:
    name = f"missing-{next(_numbers)}"
    request = MetadataRequest(topics=[MetadataRequest.Topic(name=name)], allow_auto_topic_creation=False)
    assert any_node.ask_newest(request, MetadataResponse).topics[0].error_code == 3
    illegal = MetadataRequest(topics=[MetadataRequest.Topic(name="no/such")])
    assert any_node.ask_newest(illegal, MetadataResponse).topics[0].error_code == 17
    assert name not in trio.done("topic", "list")
    request.allow_auto_topic_creation = True
    [made] = any_node.ask_newest(request, MetadataResponse).topics
    assert (made.error_code, len(made.partitions)) == (0, 1)
    trio.done("topic", "delete", name, "--yes")


def test_produce_and_fetch_in_every_version(leader: RawKafka, topic: str) -> None:
    for offset, version in enumerate(versions_of(0)):
        answer = leader.produce(topic, a_batch(b"by %d" % version), version=version)
        assert (answer.error_code, answer.base_offset) == (0, offset)
    for version in versions_of(1):
        partition = leader.fetch(topic, 2, version=version)
        assert (partition.error_code, partition.high_watermark) == (0, len(versions_of(0)))
        values = [record.value for _, _, record in _records(data_of(partition))]
        assert values == [b"by %d" % of for of in versions_of(0)[2:]]


def _records(data: bytes) -> Iterator[tuple[int, int, Record]]:
    for position, header in split_batches(data):
        for record in decode_records(data[position : position + header.size_bytes]):
            yield position, header.base_offset, record


@pytest.mark.parametrize("version", versions_of(22))
def test_init_producer_id(any_node: RawKafka, version: int) -> None:
    request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000)
    first, second = (any_node.ask(request, version, InitProducerIdResponse) for _ in range(2))
    assert (first.error_code, first.producer_epoch) == (0, 0)
    assert first.producer_id != second.producer_id
    request.transactional_id = "t"
    refused = any_node.ask(request, version, InitProducerIdResponse)
    assert (refused.error_code, refused.producer_id, refused.producer_epoch) == (15, -1, -1)


@pytest.mark.parametrize("version", versions_of(10))
def test_find_coordinator(any_node: RawKafka, version: int) -> None:
    request = FindCoordinatorRequest(key="g", coordinator_keys=["g", "h"])
    answer = any_node.ask(request, version, FindCoordinatorResponse)
    found = [answer] if version < 4 else answer.coordinators
    assert [one.error_code for one in found] == [0] * len(found)
    known = any_node.ask(MetadataRequest(topics=[]), 12, MetadataResponse)
    ports = {broker.node_id: broker.port for broker in known.brokers}
    assert [one.port for one in found] == [ports[one.node_id] for one in found]


def test_the_life_of_a_topic_in_every_version(trio: Cluster, any_node: RawKafka) -> None:
    for version in versions_of(19):
        name = f"life-{next(_numbers)}"
        wanted = CreateTopicsRequest.Topic(
            name=name,
            num_partitions=1,
            replication_factor=3,
            assignments=[],
            configs=[CreateTopicsRequest.Topic.Config(name="retention.ms", value="1000000")],
        )
        request = CreateTopicsRequest(topics=[wanted], timeout_ms=10_000, validate_only=True)
        assert any_node.ask(request, version, CreateTopicsResponse).topics[0].error_code == 0
        assert any_node.topic(name).error_code == 3
        request.validate_only = False
        [made] = any_node.ask(request, version, CreateTopicsResponse).topics
        assert made.error_code == 0
        if version >= 5:
            assert (made.num_partitions, made.replication_factor) == (1, 3)
            retention = next(config for config in made.configs or [] if config.name == "retention.ms")
            assert (retention.value, retention.config_source) == ("1000000", 1)
        assert any_node.ask(request, version, CreateTopicsResponse).topics[0].error_code == 36
        more = CreatePartitionsRequest(
            topics=[CreatePartitionsRequest.Topic(name=name, count=3, assignments=None)],
            timeout_ms=10_000,
            validate_only=False,
        )
        grown = any_node.ask(more, (version - 2) % 4, CreatePartitionsResponse)
        assert grown.results[0].error_code == 0
        assert len(any_node.topic(name).partitions) == 3
        assert any_node.ask(more, 3, CreatePartitionsResponse).results[0].error_code == 37
        _check_configs(any_node, name, version)
        _delete(any_node, name, version)
        assert name not in trio.done("topic", "list")


def _check_configs(node: RawKafka, name: str, version: int) -> None:
    change = IncrementalAlterConfigsRequest(
        resources=[
            IncrementalAlterConfigsRequest.Resource(
                resource_type=2,
                resource_name=name,
                configs=[
                    IncrementalAlterConfigsRequest.Resource.Config(name=key, config_operation=how, value=value)
                    for key, how, value in (
                        ("retention.ms", 1, None),
                        ("max.message.bytes", 0, "2000000"),
                        ("cleanup.policy", 2, "compact"),
                    )
                ],
            )
        ],
        validate_only=False,
    )
    assert node.ask(change, version % 2, IncrementalAlterConfigsResponse).responses[0].error_code == 0
    request = DescribeConfigsRequest(
        resources=[
            DescribeConfigsRequest.Resource(resource_type=2, resource_name=name, configuration_keys=None),
            DescribeConfigsRequest.Resource(resource_type=2, resource_name="no-such", configuration_keys=None),
            DescribeConfigsRequest.Resource(resource_type=4, resource_name="1", configuration_keys=None),
        ],
        include_synonyms=True,
        include_documentation=True,
    )
    answer = node.ask(request, max(1, min(version - 1, 4)), DescribeConfigsResponse)
    assert [one.error_code for one in answer.results] == [0, 3, 0]
    assert ("node.id", "1") in [(one.name, one.value) for one in answer.results[2].configs]
    told = {one.name: (one.value, one.config_source) for one in answer.results[0].configs}
    assert told["retention.ms"] == ("604800000", 5)
    assert told["max.message.bytes"] == ("2000000", 1)
    assert told["cleanup.policy"] == ("delete,compact", 1)
    change.resources[0].configs = [
        IncrementalAlterConfigsRequest.Resource.Config(name="cleanup.policy", config_operation=3, value="compact"),
    ]
    assert node.ask(change, 1, IncrementalAlterConfigsResponse).responses[0].error_code == 0
    for key, how, value in (("no.such", 0, "1"), ("retention.ms", 0, "x"), ("retention.ms", 2, "1")):
        change.resources[0].configs = [
            IncrementalAlterConfigsRequest.Resource.Config(name=key, config_operation=how, value=value),
        ]
        assert node.ask(change, 1, IncrementalAlterConfigsResponse).responses[0].error_code == 40


def _delete(node: RawKafka, name: str, version: int) -> None:
    version = min(version - 1, 6)
    topic_id = node.topic(name).topic_id
    by_name = DeleteTopicsRequest(
        topics=[DeleteTopicsRequest.Topic(name=name, topic_id=NO_ID)], topic_names=[name], timeout_ms=10_000
    )
    by_id = DeleteTopicsRequest(topics=[DeleteTopicsRequest.Topic(name=None, topic_id=topic_id)], timeout_ms=10_000)
    [deleted] = node.ask(by_id if version >= 6 else by_name, version, DeleteTopicsResponse).responses
    assert (deleted.name, deleted.error_code) == (name, 0)
    [again] = node.ask(by_id if version >= 6 else by_name, version, DeleteTopicsResponse).responses
    assert again.error_code == (100 if version >= 6 else 3)


def test_a_refused_batch_names_its_bad_records_from_version_8_on(trio: Cluster) -> None:
    name = f"protocol-{next(_numbers)}"
    trio.done("topic", "create", name, "--config", "cleanup.policy=compact")
    now_ms = int(time.time() * 1000)
    batch = encode_batch([Record(key, b"value", (), now_ms) for key in (b"a", None, b"b", None)])
    with leader_of(trio, name) as leader:
        for version in (7, 8, 13):
            answer = leader.produce(name, batch, version=version)
            assert (answer.error_code, answer.base_offset) == (87, -1)
            assert [record.batch_index for record in answer.record_errors] == ([1, 3] if version >= 8 else [])
            assert all("key" in (record.batch_index_error_message or "") for record in answer.record_errors)
        late = encode_batch([Record(b"a", b"", (), now_ms), Record(b"b", b"", (), now_ms + 7_200_000)])
        answer = leader.produce(name, late)
        assert (answer.error_code, [record.batch_index for record in answer.record_errors]) == (32, [1])
    trio.done("topic", "delete", name, "--yes")


def test_topics_that_cannot_be_made(any_node: RawKafka, topic: str) -> None:
    def refused(name: str, partitions: int = 1, replicas: int = 3, **configs: str) -> int:
        wanted = CreateTopicsRequest.Topic(
            name=name,
            num_partitions=partitions,
            replication_factor=replicas,
            assignments=[],
            configs=[
                CreateTopicsRequest.Topic.Config(name=key.replace("_", "."), value=value)
                for key, value in configs.items()
            ],
        )
        answer = any_node.ask_newest(CreateTopicsRequest(topics=[wanted], timeout_ms=5000), CreateTopicsResponse)
        assert answer.topics[0].error_message
        return answer.topics[0].error_code

    assert refused("a/b") == 17
    assert refused("..") == 17
    assert refused(topic) == 36
    assert refused("p", partitions=0) == 37
    assert refused("p", replicas=4) == 38
    assert refused("p", retention_ms="soon") == 40
    assert refused("p", no_such="1") == 40


@pytest.mark.parametrize("version", versions_of(60))
def test_describe_cluster(trio: Cluster, any_node: RawKafka, version: int) -> None:
    request = DescribeClusterRequest(include_cluster_authorized_operations=False)
    answer = any_node.ask(request, version, DescribeClusterResponse)
    assert answer.cluster_id == trio.local.state.cluster_id
    assert [one.port for one in answer.brokers] == [trio.kafka_port(node) for node in trio.node_ids]
    assert answer.controller_id in trio.node_ids
    if version:
        request.endpoint_type = 2
        assert any_node.ask(request, version, DescribeClusterResponse).error_code == 114


# producing


def test_what_is_wrong_with_a_batch_is_said_by_its_code(leader: RawKafka, topic: str) -> None:
    good = a_batch()
    future_ms = int(time.time() * 1000) + 2 * 3_600_000
    for batch, code in (
        (None, 87),
        (b"", 87),
        (good[:40], 87),
        (good + good, 87),
        (good[:16] + b"\1" + good[17:], 87),
        (good[:16] + b"\3" + good[17:], 2),
        (good[:-1] + bytes([good[-1] ^ 1]), 2),
        (changed(good, record_count=2), 87),
        (changed(good, attributes=0x20), 87),
        (changed(good, attributes=0x10), 53),
        (changed(good, producer_id=1, producer_epoch=0, base_sequence=-2), 87),
        (changed(good, base_timestamp=future_ms, max_timestamp=future_ms), 32),
        (changed(good, attributes=7), 76),
    ):
        answer = leader.produce(topic, batch)
        assert (answer.error_code, answer.base_offset) == (code, -1), (batch, answer)
        assert answer.error_message
    zstd = changed(good, attributes=4)
    assert leader.produce(topic, zstd, version=6).error_code == 76
    assert leader.produce(topic, good, acks=2).error_code == 21
    too_large = encode_batch([Record(None, bytes(1 << 21), (), 0)])
    assert leader.produce(topic, too_large).error_code == 10
    assert leader.produce(topic, good).base_offset == 0, "nothing of all that was written"


def test_unknown_topics_and_brokers_that_do_not_lead(trio: Cluster, leader: RawKafka, topic: str) -> None:
    assert leader.produce("no-such", a_batch(), version=12).error_code == 3
    assert leader.produce("", a_batch(), topic_id=b"n" * 16).error_code == 100
    request = produce_request(topic, leader.topic(topic).topic_id, a_batch())
    request.topic_data[0].partition_data[0].index = 7
    response = leader.ask_newest(request, ProduceResponse)
    assert response.responses[0].partition_responses[0].error_code == 3
    known = trio.partition(topic)
    other = next(node for node in trio.node_ids if node != known.leader)
    with RawKafka(trio.kafka_port(other)) as follower:
        request.topic_data[0].partition_data[0].index = 0
        response = follower.ask_newest(request, ProduceResponse)
        answer = response.responses[0].partition_responses[0]
        assert answer.error_code == 6
        assert answer.current_leader is not None
        assert (answer.current_leader.leader_id, answer.current_leader.leader_epoch) == (
            known.leader,
            known.leader_epoch,
        )
        assert [one.port for one in response.node_endpoints] == [trio.kafka_port(node) for node in trio.node_ids]


def test_sequences_of_an_idempotent_producer(leader: RawKafka, topic: str) -> None:
    producer = leader.ask_newest(
        InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=0), InitProducerIdResponse
    ).producer_id
    batches = [a_batch(producer_id=producer, sequence=number, producer_epoch=0) for number in range(3)]
    assert leader.produce(topic, batches[0]).base_offset == 0
    assert leader.produce(topic, batches[1]).base_offset == 1
    assert leader.produce(topic, batches[0]).base_offset == 0, "a repetition is answered as the first time"
    assert leader.produce(topic, a_batch(producer_id=producer, sequence=7, producer_epoch=0)).error_code == 45
    assert leader.produce(topic, batches[2]).base_offset == 2


def test_acks_0_gets_no_answer_and_an_error_closes_the_connection(trio: Cluster, leader: RawKafka, topic: str) -> None:
    topic_id = leader.topic(topic).topic_id
    leader.send(produce_request(topic, topic_id, a_batch(b"unanswered"), acks=0), 13)
    assert leader.produce(topic, a_batch(b"answered")).base_offset == 1
    leader.send(produce_request(topic, topic_id, b"rubbish", acks=0), 13)
    assert leader.is_closed()
    with leader_of(trio, topic) as other:
        assert len(list(_records(data_of(other.fetch(topic, 0))))) == 2


def test_pipelined_batches_are_appended_in_the_order_they_came(leader: RawKafka, topic: str) -> None:
    topic_id = leader.topic(topic).topic_id
    for number in range(100):
        leader.send(produce_request(topic, topic_id, a_batch(b"%d" % number)), 13)
    for number in range(100):
        answer = leader.receive(ProduceResponse, 13).responses[0].partition_responses[0]
        assert (answer.error_code, answer.base_offset) == (0, number)
    values = [record.value for _, _, record in _records(data_of(leader.fetch(topic, 0)))]
    assert values == [b"%d" % number for number in range(100)]


def test_a_batch_as_large_as_the_topic_takes_it(leader: RawKafka, topic: str) -> None:
    batch = encode_batch([Record(None, bytes(1_000_000), (), int(time.time() * 1000))])
    for offset in range(5):
        assert leader.produce(topic, batch).base_offset == offset
    partition = leader.fetch(topic, 0, max_bytes=1000, partition_max_bytes=1000)
    assert [header.base_offset for _, header in split_batches(data_of(partition))] == [0], "the first goes through"
    partition = leader.fetch(topic, 0, max_bytes=10 << 20, partition_max_bytes=2_500_000)
    assert [header.base_offset for _, header in split_batches(data_of(partition))] == [0, 1]


# reading


def test_a_fetch_that_begins_inside_a_batch_gets_all_of_it(leader: RawKafka, topic: str) -> None:
    records = [Record(None, b"%d" % number, (), int(time.time() * 1000)) for number in range(10)]
    leader.produce(topic, encode_batch(records))
    partition = leader.fetch(topic, 7)
    assert [record.value for _, _, record in _records(data_of(partition))] == [b"%d" % number for number in range(10)]


def test_a_fetch_waits_for_what_comes(trio: Cluster, leader: RawKafka, topic: str) -> None:
    began = time.monotonic()
    empty = leader.fetch(topic, 0, max_wait_ms=300)
    assert (empty.error_code, data_of(empty)) == (0, b"")
    assert time.monotonic() - began >= 0.3
    topic_id = leader.topic(topic).topic_id
    leader.send(fetch_request(topic, topic_id, 0, max_wait_ms=20_000), 18)
    with leader_of(trio, topic) as producer:
        producer.produce(topic, a_batch(b"news"))
    partition = leader.receive(FetchResponse, 18).responses[0].partitions[0]
    assert [record.value for _, _, record in _records(data_of(partition))] == [b"news"]


def test_what_a_fetch_is_refused(trio: Cluster, leader: RawKafka, topic: str) -> None:
    for offset in (1, -1):
        assert leader.fetch(topic, offset, max_wait_ms=20_000).error_code == 1
    assert leader.fetch("no-such", 0, version=12, max_wait_ms=20_000).error_code == 3
    answer = leader.fetched(topic, 0, session_id=7, session_epoch=3)
    assert (answer.error_code, answer.responses) == (70, [])
    assert leader.fetch(topic, 0, leader_epoch=99, max_wait_ms=20_000).error_code == 75
    other = next(node for node in trio.node_ids if node != trio.partition(topic).leader)
    with RawKafka(trio.kafka_port(other)) as follower:
        answer = follower.fetched(topic, 0, max_wait_ms=20_000)
        partition = answer.responses[0].partitions[0]
        assert partition.error_code == 6
        assert partition.current_leader is not None
        assert partition.current_leader.leader_id == trio.partition(topic).leader
        assert len(answer.node_endpoints) == 3


def test_aborted_transactions_are_none_and_listed_as_such(leader: RawKafka, topic: str) -> None:
    leader.produce(topic, a_batch())
    assert leader.fetch(topic, 0).aborted_transactions is None
    committed = leader.fetch(topic, 0, isolation_level=1)
    assert (committed.aborted_transactions, committed.last_stable_offset) == ([], 1)


def test_a_reader_in_a_followers_rack_is_sent_there(make_cluster: object) -> None:
    cluster: Cluster = make_cluster(racks=("a", "b", "c"))  # type: ignore[operator]
    cluster.up()
    cluster.done("topic", "create", "racks")
    known = cluster.partition("racks")
    follower = next(node for node in cluster.node_ids if node != known.leader)
    rack = cluster.local.state.node(follower).rack
    with leader_of(cluster, "racks") as leader, RawKafka(cluster.kafka_port(follower)) as near:
        leader.produce("racks", a_batch(b"near"))
        until(lambda: leader.fetch("racks", 0, rack_id=rack).preferred_read_replica == follower, "sent to the follower")
        sent = leader.fetch("racks", 0, rack_id=rack)
        assert data_of(sent) == b""
        until(lambda: data_of(near.fetch("racks", 0, rack_id=rack)), "the follower answers")
        assert [record.value for _, _, record in _records(data_of(near.fetch("racks", 0, rack_id=rack)))] == [b"near"]
        assert near.fetch("racks", 0).error_code == 6, "without a rack only the leader answers"


@pytest.mark.parametrize("version", versions_of(23))
def test_where_a_leader_epoch_ends(leader: RawKafka, topic: str, version: int) -> None:
    leader.produce(topic, a_batch())
    epoch = leader.topic(topic).partitions[0].leader_epoch
    partitions = [
        OffsetForLeaderEpochRequest.Topic.Partition(partition=0, leader_epoch=of, current_leader_epoch=current)
        for of, current in ((epoch, -1), (epoch + 1, -1), (epoch, epoch + 1))
    ]
    request = OffsetForLeaderEpochRequest(
        topics=[OffsetForLeaderEpochRequest.Topic(topic=topic, partitions=partitions)]
    )
    answers = leader.ask(request, version, OffsetForLeaderEpochResponse).topics[0].partitions
    told = [(one.error_code, one.leader_epoch, one.end_offset) for one in answers]
    assert told == [(0, epoch, 1), (0, -1, -1), (75, -1, -1)]


@pytest.mark.parametrize("version", versions_of(21))
def test_delete_records(leader: RawKafka, topic: str, version: int) -> None:
    for _ in range(4):
        leader.produce(topic, a_batch())
    for offset, code, low in ((2, 0, 2), (9, 1, -1), (-1, 0, 4)):
        asked = DeleteRecordsRequest.Topic.Partition(partition_index=0, offset=offset)
        request = DeleteRecordsRequest(
            topics=[DeleteRecordsRequest.Topic(name=topic, partitions=[asked])], timeout_ms=10_000
        )
        [answer] = leader.ask(request, version, DeleteRecordsResponse).topics[0].partitions
        assert (answer.error_code, answer.low_watermark) == (code, low)
    assert leader.fetch(topic, 0).error_code == 1


# the port


def test_another_protocol_on_the_port_is_closed_and_named_in_the_log(trio: Cluster) -> None:
    with RawKafka(trio.kafka_port(2)) as http:
        http.send_bytes(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert http.is_closed()
    until(lambda: "looks like HTTP" in trio.log(2), "the log says so")


def test_a_node_that_stops_hands_over_and_closes_its_connections(trio: Cluster, topic: str) -> None:
    known = trio.partition(topic)
    with leader_of(trio, topic) as connection:
        connection.produce(topic, a_batch())
        trio.down(known.leader)
        assert connection.is_closed()
    with leader_of(trio, topic) as connection:
        assert connection.produce(topic, a_batch()).base_offset == 1


def test_what_clients_ask_is_counted(trio: Cluster, topic: str) -> None:
    node = trio.local.state.nodes[0]
    with RawKafka(node.kafka_port) as connection:
        connection.topic(topic)
        with urllib.request.urlopen(f"http://127.0.0.1:{node.http_port}/metrics", timeout=10) as page:
            told = page.read().decode()
    assert 'dohle_kafka_requests_total{api="Metadata"}' in told
    assert re.search(r"^dohle_kafka_connections [1-9]", told, re.MULTILINE)
    assert "dohle_kafka_turned_away_total" in told
