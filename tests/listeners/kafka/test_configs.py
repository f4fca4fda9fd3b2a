"""Configurations of topics, brokers and loggers, as Kafka's administrators see and change them."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from dohle.cluster.config import NodeConfig
from dohle.cluster.kafka_configs import kafka_configs
from dohle.kafka.messages.configs import (
    AlterConfigsRequest,
    AlterConfigsResponse,
    DescribeConfigsRequest,
    DescribeConfigsResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)
from dohle.listeners.kafka.broker_configs import TOPIC_DEFAULTS
from dohle.model.errors import (
    InvalidConfig,
    InvalidRequest,
    InvalidTopic,
    UnknownTopicOrPartition,
    UnsupportedVersion,
)
from dohle.model.ids import TopicId
from dohle.model.topic_config import TOPIC_KEYS
from tests.broker.brokers import until
from tests.broker.virtual_time import in_virtual_time
from tests.listeners.kafka.served_broker import ServedBroker

TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = range(4)
A_LOGGER = "dohle.tests.listeners"


@pytest.fixture(autouse=True)
def a_logger() -> Iterator[logging.Logger]:
    """A logger of this test, and the levels of all as they were."""
    root, mine = logging.getLogger(), logging.getLogger(A_LOGGER)
    before = root.level
    yield mine
    mine.setLevel(logging.NOTSET)
    root.setLevel(before)


async def with_topic(**overrides: str) -> ServedBroker:
    served = await ServedBroker.started()
    controller = served.cluster.controller
    named = {name.replace("_", "."): value for name, value in overrides.items()}
    controller.topic(TopicId(b"t" * 16), [[1, 2, 3]], overrides=named)
    await until(lambda: served.node.broker.image.topic_named("t") is not None)
    return served


def overrides(served: ServedBroker) -> dict[str, str]:
    return dict(served.cluster.controller.image.topics[TopicId(b"t" * 16)].overrides)


def describing(*named: tuple[int, str], keys: list[str] | None = None, **asked: bool) -> DescribeConfigsRequest:
    resources = [
        DescribeConfigsRequest.Resource(resource_type=kind, resource_name=name, configuration_keys=keys)
        for kind, name in named
    ]
    return DescribeConfigsRequest(resources=resources, **asked)


async def described(served: ServedBroker, *named: tuple[int, str]) -> list[int]:
    return [one.error_code for one in (await served.ask(describing(*named), DescribeConfigsResponse)).results]


@in_virtual_time
@pytest.mark.parametrize("version", DescribeConfigsRequest.API.versions)
async def test_a_topic_says_what_it_has_and_where_that_comes_from(version: int) -> None:
    served = await with_topic(retention_ms="5")
    documented = {"include_documentation": True} if version >= 3 else {}
    request = describing((TOPIC, "t"), include_synonyms=True, **documented)
    [result] = (await served.ask(request, DescribeConfigsResponse, version)).results
    configs = {config.name: config for config in result.configs}
    assert list(configs) == list(TOPIC_KEYS)
    own, plain, by_size = configs["retention.ms"], configs["segment.ms"], configs["segment.bytes"]
    assert (own.value, own.config_source, own.read_only) == ("5", 1, False)
    assert [(one.name, one.value, one.source) for one in own.synonyms] == [
        ("retention.ms", "5", 1),
    ]
    assert (plain.value, plain.config_source) == ("604800000", 5)
    assert plain.synonyms == [], "with Kafka this default comes from hours"
    assert [(one.name, one.source) for one in by_size.synonyms] == [("log.segment.bytes", 5)]
    if version >= 3:
        assert own.config_type == 5
        assert own.documentation == TOPIC_KEYS["retention.ms"].doc


@in_virtual_time
async def test_a_broker_says_what_it_has_and_that_it_is_read_only() -> None:
    served = await with_topic()
    [result] = (await served.ask(describing((BROKER, "2"), include_synonyms=True), DescribeConfigsResponse)).results
    configs = {config.name: config for config in result.configs}
    assert list(configs) == sorted(configs)
    assert set(TOPIC_DEFAULTS.values()) < set(configs)
    assert all(config.read_only for config in result.configs)
    partitions, rack = configs["num.partitions"], configs["broker.rack"]
    assert (partitions.value, partitions.config_source) == ("4", 4)
    assert [(one.value, one.source) for one in partitions.synonyms] == [("4", 4), ("1", 5)]
    assert (configs["node.id"].config_source, rack.value, rack.synonyms) == (5, None, [])
    assert configs["min.insync.replicas"].value == "1"
    keys = ["node.id", "nothing.like.it"]
    [result] = (await served.ask(describing((BROKER, "2"), keys=keys), DescribeConfigsResponse)).results
    assert [(config.name, config.documentation) for config in result.configs] == [("node.id", None)]
    [result] = (await served.ask(describing((BROKER, "2"), keys=[]), DescribeConfigsResponse)).results
    assert len(result.configs) == len(configs), "no names are all names"


@in_virtual_time
async def test_each_resource_fails_by_itself() -> None:
    served = await with_topic()
    assert await described(
        served,
        (TOPIC, "t"),
        (TOPIC, "none"),
        (TOPIC, "no name!"),
        (BROKER, ""),
        (BROKER, "1"),
        (BROKER, "x"),
        (LOGGER, "2"),
        (LOGGER, ""),
        (METRICS, "m"),
        (METRICS, ""),
        (GROUP, "g"),
        (GROUP, ""),
    ) == [
        0,
        UnknownTopicOrPartition.code,
        InvalidTopic.code,
        0,
        InvalidRequest.code,
        InvalidRequest.code,
        0,
        InvalidRequest.code,
        0,
        InvalidRequest.code,
        0,
        InvalidRequest.code,
    ]
    assert await described(served) == []


@in_virtual_time
async def test_a_type_that_there_is_not_fails_the_whole_request() -> None:
    served = await with_topic()
    assert await described(served, (TOPIC, "t"), (3, "x")) == [InvalidRequest.code] * 2


def changing(
    *named: tuple[int, str, list[tuple[str, int, str | None]]], validate_only: bool = False
) -> IncrementalAlterConfigsRequest:
    kind = IncrementalAlterConfigsRequest.Resource
    resources = [
        kind(
            resource_type=type_,
            resource_name=name,
            configs=[kind.Config(name=key, config_operation=how, value=value) for key, how, value in configs],
        )
        for type_, name, configs in named
    ]
    return IncrementalAlterConfigsRequest(resources=resources, validate_only=validate_only)


async def changed(
    served: ServedBroker, request: IncrementalAlterConfigsRequest, version: int | None = None
) -> list[int]:
    return [one.error_code for one in (await served.ask(request, IncrementalAlterConfigsResponse, version)).responses]


@in_virtual_time
@pytest.mark.parametrize("version", IncrementalAlterConfigsRequest.API.versions)
async def test_single_keys_are_set_deleted_and_lists_get_more_and_less(version: int) -> None:
    served = await with_topic(retention_ms="5")
    wanted: list[tuple[str, int, str | None]] = [
        ("retention.ms", DELETE, None),
        ("segment.ms", SET, "7"),
        ("cleanup.policy", APPEND, "compact"),
        ("nothing.like.it", DELETE, None),
    ]
    assert await changed(served, changing((TOPIC, "t", wanted), validate_only=True), version) == [0]
    assert overrides(served) == {"retention.ms": "5"}
    assert await changed(served, changing((TOPIC, "t", wanted)), version) == [0]
    assert overrides(served) == {"segment.ms": "7", "cleanup.policy": "delete,compact"}
    assert await changed(served, changing((TOPIC, "t", [("cleanup.policy", SUBTRACT, "delete")])), version) == [0]
    assert overrides(served)["cleanup.policy"] == "compact"


@in_virtual_time
@pytest.mark.parametrize(
    ("configs", "error"),
    [
        ([("retention.ms", SET, None)], InvalidRequest),
        ([("retention.ms", SET, "1"), ("retention.ms", SET, "2")], InvalidRequest),
        ([("retention.ms", 9, "1")], InvalidRequest),
        ([("retention.ms", SET, "soon")], InvalidConfig),
        ([("retention.ms", APPEND, "1")], InvalidConfig),
        ([("nothing.like.it", SET, "1")], InvalidConfig),
    ],
)
async def test_keys_that_cannot_be_changed_like_this_are_refused(
    configs: list[tuple[str, int, str | None]], error: type
) -> None:
    served = await with_topic(retention_ms="5")
    assert await changed(served, changing((TOPIC, "t", configs))) == [error.code]
    assert overrides(served) == {"retention.ms": "5"}


@in_virtual_time
async def test_resources_that_are_named_twice_or_are_none_are_refused_beside_others() -> None:
    served = await with_topic()
    one: list[tuple[str, int, str | None]] = [("retention.ms", SET, "1")]
    request = changing((TOPIC, "t", one), (TOPIC, "u", one), (TOPIC, "u", one), (7, "t", one), (TOPIC, "none", one))
    refused = InvalidRequest.code
    assert await changed(served, request) == [0, refused, refused, refused, UnknownTopicOrPartition.code]
    assert overrides(served) == {"retention.ms": "1"}
    assert await changed(served, changing()) == []


@in_virtual_time
async def test_what_a_broker_has_is_changed_by_its_configuration_alone() -> None:
    served = await with_topic()
    one: list[tuple[str, int, str | None]] = [("num.partitions", SET, "3")]
    request = changing((BROKER, "2", one), (BROKER, "", one), (BROKER, "1", one), (METRICS, "m", []))
    response = await served.ask(request, IncrementalAlterConfigsResponse)
    assert [answer.error_code for answer in response.responses] == [InvalidRequest.code] * 4
    assert "Cannot update these configs dynamically: num.partitions" in str(response.responses[0].error_message)
    assert await changed(served, changing((BROKER, "2", [("num.partitions", DELETE, None)]), (BROKER, "", []))) == [
        0,
        0,
    ]
    whole = AlterConfigsRequest.Resource(
        resource_type=BROKER,
        resource_name="2",
        configs=[AlterConfigsRequest.Resource.Config(name="num.partitions", value="3")],
    )
    answered = await served.ask(AlterConfigsRequest(resources=[whole], validate_only=True), AlterConfigsResponse)
    assert answered.responses[0].error_code == InvalidRequest.code
    assert served.operated == []


@in_virtual_time
@pytest.mark.parametrize("version", AlterConfigsRequest.API.versions)
async def test_a_whole_configuration_is_replaced(version: int) -> None:
    served = await with_topic(retention_ms="5", segment_ms="7")
    kind = AlterConfigsRequest.Resource

    def whole(type_: int, name: str, *configs: tuple[str, str | None]) -> AlterConfigsRequest.Resource:
        return kind(
            resource_type=type_,
            resource_name=name,
            configs=[kind.Config(name=key, value=value) for key, value in configs],
        )

    async def altered(*resources: AlterConfigsRequest.Resource, validate_only: bool = False) -> list[int]:
        request = AlterConfigsRequest(resources=list(resources), validate_only=validate_only)
        return [one.error_code for one in (await served.ask(request, AlterConfigsResponse, version)).responses]

    refused = InvalidRequest.code
    assert await altered(whole(TOPIC, "t", ("retention.ms", "6")), validate_only=True) == [0]
    assert overrides(served) == {"retention.ms": "5", "segment.ms": "7"}
    assert await altered(whole(TOPIC, "t", ("retention.ms", "6")), whole(TOPIC, "none")) == [0, 3]
    assert overrides(served) == {"retention.ms": "6"}
    assert await altered(whole(TOPIC, "t", ("retention.ms", None))) == [refused]
    assert await altered(whole(TOPIC, "t", ("a", "1"), ("a", "2"))) == [refused]
    assert await altered(whole(TOPIC, "t"), whole(TOPIC, "t"), whole(LOGGER, "2")) == [refused] * 3
    assert await altered(whole(TOPIC, "t", ("retention.ms", "soon"))) == [InvalidConfig.code]
    assert await altered(whole(TOPIC, "t")) == [0]
    assert overrides(served) == {}


@in_virtual_time
async def test_levels_of_loggers_are_told_and_changed() -> None:
    served = await with_topic()

    async def level() -> str | None:
        request = describing((LOGGER, "2"), keys=[A_LOGGER])
        [result] = (await served.ask(request, DescribeConfigsResponse)).results
        [config] = result.configs
        assert (config.config_source, config.read_only) == (6, False)
        return config.value

    async def change(*configs: tuple[str, int, str | None], validate_only: bool = False) -> int:
        [code] = await changed(served, changing((LOGGER, "2", list(configs)), validate_only=validate_only))
        return code

    assert await change(("root", SET, "ERROR")) == 0
    assert await level() == "ERROR"
    assert await change((A_LOGGER, SET, "DEBUG"), validate_only=True) == 0
    assert await level() == "ERROR"
    for name in ("TRACE", "DEBUG", "INFO", "WARN", "FATAL"):
        assert await change((A_LOGGER, SET, name)) == 0
        assert await level() == name
    assert logging.getLogger(A_LOGGER).level == logging.CRITICAL
    assert await change((A_LOGGER, SET, "INFO"), ("no.such.logger", SET, "INFO")) == InvalidConfig.code
    assert await level() == "FATAL", "all of them or none"
    assert await change((A_LOGGER, SET, "loud")) == InvalidConfig.code
    assert await change((A_LOGGER, APPEND, "INFO")) == InvalidRequest.code
    assert await change(("root", DELETE, None)) == InvalidRequest.code
    assert await change((A_LOGGER, DELETE, None)) == 0
    assert await level() == "ERROR"
    assert await changed(served, changing((LOGGER, "1", []), (LOGGER, "x", []))) == [InvalidRequest.code] * 2


@in_virtual_time
async def test_whatever_can_have_a_configuration_is_listed() -> None:
    served = await with_topic()

    async def listed(types: list[int], version: int = 1) -> list[tuple[int, str]]:
        request = ListConfigResourcesRequest(resource_types=types)
        response = await served.ask(request, ListConfigResourcesResponse, version)
        assert response.error_code == 0
        return [(one.resource_type, one.resource_name) for one in response.config_resources]

    brokers = [(BROKER, name) for name in "123"]
    assert await listed([]) == [(TOPIC, "t"), *brokers, *((LOGGER, name) for name in "123")]
    assert await listed([BROKER, BROKER]) == brokers
    assert await listed([METRICS, GROUP]) == []
    assert await listed([], version=0) == []
    response = await served.ask(ListConfigResourcesRequest(resource_types=[3]), ListConfigResourcesResponse)
    assert response.error_code == UnsupportedVersion.code


def test_a_nodes_settings_bear_kafkas_names() -> None:
    config = NodeConfig(node_id=4, rack="a", default_partitions=6, max_connections_per_ip=0, log_dirs=("/x", "/y"))
    told = {one.name: one for one in kafka_configs(config)}
    assert told["broker.id"].value == told["node.id"].value == "4"
    assert (told["broker.rack"].value, told["broker.rack"].default) == ("a", None)
    assert (told["num.partitions"].value, told["num.partitions"].source) == ("6", 4)
    assert (told["max.connections.per.ip"].value, told["max.connections.per.ip"].source) == ("2147483647", 5)
    assert told["log.dirs"].value == "/x,/y"
    assert told["process.roles"].value == "controller,broker"
    assert told["listeners"].value == "KAFKA://127.0.0.1:9092"
    assert told["leader.imbalance.check.interval.seconds"].value == "300"
    assert told["auto.leader.rebalance.enable"].value == "true"
    assert told["controller.quorum.voters"].value == "4@127.0.0.1:7092"
    assert all(one.doc for one in told.values())
    assert not set(told) & set(TOPIC_DEFAULTS.values())
