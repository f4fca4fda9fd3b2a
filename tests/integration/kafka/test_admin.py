"""Kafka's own administrators, confluent-kafka's and kafka-python's, against three nodes that run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import ElectionType, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AclOperation,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)
from kafka import TopicPartition as PythonPartition
from kafka.admin import (
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ConfigResourceType,
    KafkaAdminClient,
    ResourcePatternFilter,
)
from kafka.admin import ConfigResource as PythonResource
from kafka.admin import ResourceType as PythonResourceType
from kafka.errors import KafkaError as PythonError
from kafka.errors import SecurityDisabledError

from dohle.kafka.declaration import NO_UUID
from dohle.kafka.messages.topics import (
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
)
from dohle.model.metadata import NEWEST_METADATA_VERSION
from tests.integration.clusters import Cluster, until
from tests.integration.kafka.raw import RawKafka

_numbers = itertools.count(1)
PATIENCE_S = 30.0
ANY_RESOURCE = (PythonResourceType.ANY, None, ACLResourcePatternType.ANY)


@pytest.fixture
def topic(trio: Cluster) -> Iterator[str]:
    name = f"admin-{next(_numbers)}"
    trio.done("topic", "create", name)
    yield name
    if name in trio.done("topic", "list"):
        trio.done("topic", "delete", name, "--yes")


@pytest.fixture
def librdkafka(trio: Cluster) -> AdminClient:
    return AdminClient({"bootstrap.servers": trio.kafka_bootstrap})


@pytest.fixture
def python(trio: Cluster) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=trio.kafka_bootstrap)
    yield client
    client.close()


def only(futures: dict[Any, Any]) -> Any:
    [future] = futures.values()
    return future.result(PATIENCE_S)


def refused(futures: dict[Any, Any]) -> int:
    with pytest.raises(KafkaException) as raised:
        only(futures)
    return int(raised.value.args[0].code())


# librdkafka


def test_librdkafka_places_partitions_by_hand(trio: Cluster, librdkafka: AdminClient) -> None:
    name = f"placed-{next(_numbers)}"
    wanted = NewTopic(name, num_partitions=2, replica_assignment=[[3, 1], [2, 3]])
    only(librdkafka.create_topics([wanted]))
    assert trio.partition(name, 1).assigned_replicas == (2, 3)
    more = NewPartitions(name, 4, replica_assignment=[[1, 2], [3, 2]])
    only(librdkafka.create_partitions([more], validate_only=True))
    only(librdkafka.create_partitions([more]))
    assert trio.partition(name, 3).assigned_replicas == (3, 2)
    assert refused(librdkafka.create_partitions([NewPartitions(name, 5, replica_assignment=[[1, 9]])])) == 39
    assert refused(librdkafka.create_partitions([NewPartitions(name, 4)])) == 37
    only(librdkafka.delete_topics([name]))


def test_librdkafka_changes_configurations(librdkafka: AdminClient, topic: str) -> None:
    def told() -> Any:
        return only(librdkafka.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))

    whole = ConfigResource(ResourceType.TOPIC, topic, set_config={"retention.ms": "5000", "segment.ms": "7000"})
    only(librdkafka.alter_configs([whole]))
    assert (told()["retention.ms"].value, told()["segment.ms"].value) == ("5000", "7000")
    whole = ConfigResource(ResourceType.TOPIC, topic, set_config={"retention.ms": "6000"})
    only(librdkafka.alter_configs([whole]))
    assert (told()["retention.ms"].value, told()["segment.ms"].is_default) == ("6000", True)
    assert list(told()["max.message.bytes"].synonyms) == ["message.max.bytes"]
    entries = [
        ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.APPEND),
        ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE),
    ]
    one = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    only(librdkafka.incremental_alter_configs([one]))
    assert told()["cleanup.policy"].value == "delete,compact"
    assert told()["retention.ms"].is_default


def test_librdkafka_reads_what_a_broker_has_and_cannot_change_it(librdkafka: AdminClient) -> None:
    for node in ("1", "2"):  # each is asked of the broker itself
        broker = only(librdkafka.describe_configs([ConfigResource(ResourceType.BROKER, node)]))
        assert broker["node.id"].value == node
        assert broker["log.retention.ms"].value == "604800000"
        assert all(entry.is_read_only for entry in broker.values())
    entry = ConfigEntry("num.partitions", "3", incremental_operation=AlterConfigOpType.SET)
    one = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])
    assert refused(librdkafka.incremental_alter_configs([one])) == 42
    assert refused(librdkafka.alter_configs([ConfigResource(ResourceType.BROKER, "1", {"num.partitions": "3"})])) == 42


def test_librdkafka_elects_leaders(trio: Cluster, librdkafka: AdminClient, topic: str) -> None:
    preferred = trio.partition(topic).assigned_replicas[0]
    trio.done("cluster", "reassign", f"{topic}:0={_turned(trio, topic)}")
    until(lambda: trio.partition(topic).assigned_replicas[0] != preferred, "another order")
    results = librdkafka.elect_leaders(ElectionType.PREFERRED, [TopicPartition(topic, 0)]).result(PATIENCE_S)
    assert results[TopicPartition(topic, 0)] is None
    assert trio.partition(topic).leader == trio.partition(topic).assigned_replicas[0]
    again = librdkafka.elect_leaders(ElectionType.PREFERRED, [TopicPartition(topic, 0)]).result(PATIENCE_S)
    assert again[TopicPartition(topic, 0)].code() == 84
    assert librdkafka.elect_leaders(ElectionType.PREFERRED, None).result(PATIENCE_S) == {}


def _turned(trio: Cluster, topic: str) -> str:
    first, *others = trio.partition(topic).assigned_replicas
    return ",".join(map(str, [*others, first]))


def test_librdkafka_describes_the_cluster_and_what_everybody_may_do(
    trio: Cluster, librdkafka: AdminClient, topic: str
) -> None:
    cluster = librdkafka.describe_cluster(include_authorized_operations=True).result(PATIENCE_S)
    assert sorted(node.id for node in cluster.nodes) == list(trio.node_ids)
    assert AclOperation.ALTER_CONFIGS in cluster.authorized_operations
    described = only(librdkafka.describe_topics(TopicCollection([topic]), include_authorized_operations=True))
    assert AclOperation.WRITE in described.authorized_operations


# kafka-python


def test_kafka_python_moves_replicas_and_takes_moves_back(trio: Cluster, python: KafkaAdminClient, topic: str) -> None:
    partition, unknown = PythonPartition(topic, 0), PythonPartition(topic, 7)
    wanted = trio.partition(topic).assigned_replicas[::-1]
    answered = python.alter_partition_reassignments({partition: list(wanted), unknown: [1]})
    assert answered[partition] is None
    assert answered[unknown].errno == 3
    until(lambda: trio.partition(topic).assigned_replicas == wanted, "the replicas in their new order")
    until(lambda: python.list_partition_reassignments() == {}, "the end of the reassignments")
    assert python.alter_partition_reassignments({partition: None})[partition].errno == 85


def test_kafka_python_elects_leaders(trio: Cluster, python: KafkaAdminClient, topic: str) -> None:
    python.alter_partition_reassignments({PythonPartition(topic, 0): list(map(int, _turned(trio, topic).split(",")))})
    python.elect_leaders(0, {topic: [0]})
    assert trio.partition(topic).leader == trio.partition(topic).assigned_replicas[0]


def test_kafka_python_describes_the_quorum_and_the_features(trio: Cluster, python: KafkaAdminClient) -> None:
    quorum = python.describe_metadata_quorum()
    [partition] = quorum["topics"][0]["partitions"]
    assert partition["leader_id"] in trio.node_ids
    assert [voter["replica_id"] for voter in partition["current_voters"]] == list(trio.node_ids)
    assert all(voter["log_end_offset"] > 0 for voter in partition["current_voters"])
    features = python.describe_features()
    assert features["metadata.version"]["finalized"] == (NEWEST_METADATA_VERSION,) * 2
    assert features["metadata.version"]["finalized_epoch"] > 0
    same = {"metadata.version": NEWEST_METADATA_VERSION}
    assert python.update_features(same, validate_only=True) == {"metadata.version": "OK"}
    with pytest.raises(PythonError):
        python.update_features({"metadata.version": NEWEST_METADATA_VERSION + 1}, validate_only=True)


def test_kafka_python_changes_configurations_and_levels_of_loggers(
    trio: Cluster, python: KafkaAdminClient, topic: str
) -> None:
    resources = python.list_config_resources()
    assert topic in resources["topic"]
    assert sorted(resources["broker"]) == sorted(map(str, trio.node_ids))
    python.alter_configs([PythonResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "5000"})])
    told = python.describe_configs([PythonResource(ConfigResourceType.TOPIC, topic)])
    assert {name: one["value"] for name, one in told["topic"][topic].items()} == {"retention.ms": "5000"}
    logger = "dohle.listeners.kafka.loggers"
    python.alter_configs([PythonResource(ConfigResourceType.BROKER_LOGGER, "2", {logger: "DEBUG"})])
    levels = python.describe_configs(
        [PythonResource(ConfigResourceType.BROKER_LOGGER, "2", {logger: None})], config_filter="all"
    )
    assert levels["broker_logger"]["2"][logger]["value"] == "DEBUG"
    until(lambda: f"log level of {logger} to DEBUG" in trio.log(2), "the change in the node's log")


def test_kafka_python_makes_topics_grow_by_hand(trio: Cluster, python: KafkaAdminClient, topic: str) -> None:
    python.create_partitions({topic: {"count": 2, "assignments": [[2, 3, 1]]}})
    assert trio.partition(topic, 1).assigned_replicas == (2, 3, 1)
    with pytest.raises(PythonError):
        python.create_partitions({topic: {"count": 3, "assignments": [[2, 3]]}})


def test_kafka_python_finds_no_rules(python: KafkaAdminClient) -> None:
    everything = ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, ResourcePatternFilter(*ANY_RESOURCE))
    with pytest.raises(SecurityDisabledError, match="No Authorizer is configured"):
        python.describe_acls(everything)


# controllers come and go


def test_what_was_done_when_the_controller_died_is_answered_as_done(fresh_trio: Cluster) -> None:
    """The active controller is killed while another broker passes deletions on to it: each is answered as done."""
    trio = fresh_trio
    for round_ in range(3):
        leader = int(trio.describe().controller_id)
        through = next(node for node in trio.node_ids if node != leader)
        names = [f"r{round_}-{number}" for number in range(10)]
        with RawKafka(trio.kafka_port(through)) as node:
            topics = [
                CreateTopicsRequest.Topic(name=name, num_partitions=1, replication_factor=2, assignments=[], configs=[])
                for name in names
            ]
            made = node.ask_newest(CreateTopicsRequest(topics=topics), CreateTopicsResponse)
            assert {one.error_code for one in made.topics} == {0}
            version = DeleteTopicsRequest.API.versions[-1]
            for name in names:
                by_name = DeleteTopicsRequest.Topic(name=name, topic_id=NO_UUID)
                node.send(DeleteTopicsRequest(topics=[by_name], timeout_ms=20_000), version)
            trio.kill(leader)
            answers = [node.receive(DeleteTopicsResponse, version).responses[0] for _ in names]
        assert [(one.name, one.error_code) for one in answers] == [(name, 0) for name in names]
        left = trio.done("topic", "list")
        assert not [name for name in names if name in left]
        trio.up(leader)
        trio.until_healthy()
