"""Topics made, grown and deleted, ACLs, and the cluster, as Kafka's administrators ask for them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dohle.kafka.declaration import NO_UUID
from dohle.kafka.messages.acls import (
    CreateAclsRequest,
    CreateAclsResponse,
    DeleteAclsRequest,
    DeleteAclsResponse,
    DescribeAclsRequest,
    DescribeAclsResponse,
)
from dohle.kafka.messages.cluster import (
    DescribeClusterRequest,
    DescribeClusterResponse,
    MetadataRequest,
    MetadataResponse,
)
from dohle.kafka.messages.topics import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
)
from dohle.model.errors import (
    InvalidPartitions,
    InvalidReplicaAssignment,
    InvalidReplicationFactor,
    InvalidRequest,
    InvalidTopic,
    MismatchedEndpointType,
    NotController,
    RequestTimedOut,
    SecurityDisabled,
    TopicAlreadyExists,
    UnknownTopicId,
    UnknownTopicOrPartition,
    UnsupportedEndpointType,
)
from dohle.model.ids import TopicId
from tests.broker.brokers import until
from tests.broker.virtual_time import in_virtual_time
from tests.listeners.kafka.served_broker import ServedBroker

T, U = TopicId(b"t" * 16), TopicId(b"u" * 16)
NONE = b"n" * 16


async def with_topics() -> ServedBroker:
    served = await ServedBroker.started()
    served.cluster.controller.topic(T, [[1, 2]])
    served.cluster.controller.topic(U, [[2, 3]], name="u")
    await until(lambda: served.node.broker.image.topic_named("u") is not None)
    return served


def new(
    name: str, partitions: int = 1, replication_factor: int = 1, assignments: dict[int, list[int]] | None = None
) -> CreateTopicsRequest.Topic:
    kind = CreateTopicsRequest.Topic
    return kind(
        name=name,
        num_partitions=partitions,
        replication_factor=replication_factor,
        assignments=[
            kind.Assignment(partition_index=number, broker_ids=nodes) for number, nodes in (assignments or {}).items()
        ],
        configs=[],
    )


async def created(served: ServedBroker, *topics: CreateTopicsRequest.Topic, **fields: object) -> dict[str, int]:
    response = await served.ask(CreateTopicsRequest(topics=list(topics), **fields), CreateTopicsResponse)
    return {one.name: one.error_code for one in response.topics}


@in_virtual_time
async def test_each_topic_is_made_or_refused_by_itself() -> None:
    served = await with_topics()
    assert await created(
        served,
        new("good"),
        new("twice"),
        new("twice"),
        new("t"),
        new("no name!"),
        new(""),
        new("__cluster_metadata"),
        new("none", partitions=0),
        new("many", replication_factor=9),
        new("by-hand", -1, -1, {0: [2, 1], 1: [3, 2]}),
        new("both", 2, -1, {0: [2, 1], 1: [3, 2]}),
        new("gap", -1, -1, {0: [2, 1], 2: [3, 2]}),
        new("stranger", -1, -1, {0: [9]}),
    ) == {
        "good": 0,
        "twice": InvalidRequest.code,
        "t": TopicAlreadyExists.code,
        "no name!": InvalidTopic.code,
        "": InvalidTopic.code,
        "__cluster_metadata": InvalidRequest.code,
        "none": InvalidPartitions.code,
        "many": InvalidReplicationFactor.code,
        "by-hand": 0,
        "both": InvalidRequest.code,
        "gap": InvalidReplicaAssignment.code,
        "stranger": InvalidReplicaAssignment.code,
    }
    made = served.cluster.controller.image.topic_named("by-hand")
    assert made is not None
    assert [one.assigned_replicas for one in made.partitions] == [(2, 1), (3, 2)]


@in_virtual_time
@pytest.mark.parametrize("timeout_ms", [0, -1])
async def test_without_time_nothing_is_done(timeout_ms: int) -> None:
    served = await with_topics()
    assert await created(served, new("good"), timeout_ms=timeout_ms) == {"good": RequestTimedOut.code}
    assert await deleted(served, ("t", NO_UUID), timeout_ms=timeout_ms) == [("t", RequestTimedOut.code)]
    assert await grown(served, ("t", 2, None), timeout_ms=timeout_ms) == {"t": RequestTimedOut.code}
    assert served.operated == []


@in_virtual_time
async def test_empty_requests_and_those_that_only_look_change_nothing() -> None:
    served = await with_topics()
    before = served.cluster.controller.image.topic_ids
    assert await created(served) == {}
    assert await deleted(served) == []
    assert await grown(served) == {}
    assert served.operated == []
    assert await created(served, new("good"), new("t"), validate_only=True) == {"good": 0, "t": TopicAlreadyExists.code}
    assert await grown(served, ("t", 2, None), ("u", 1, None), validate_only=True) == {
        "t": 0,
        "u": InvalidPartitions.code,
    }
    assert served.cluster.controller.image.topic_ids == before


async def deleted(
    served: ServedBroker, *named: tuple[str | None, bytes], timeout_ms: int = 1000
) -> list[tuple[str | None, int]]:
    topics = [DeleteTopicsRequest.Topic(name=name, topic_id=topic_id) for name, topic_id in named]
    request = DeleteTopicsRequest(topics=topics, timeout_ms=timeout_ms)
    response = await served.ask(request, DeleteTopicsResponse)
    return [(one.name, one.error_code) for one in response.responses]


@in_virtual_time
@pytest.mark.parametrize("version", range(1, 6))
async def test_topics_are_deleted_by_their_names(version: int) -> None:
    served = await with_topics()
    request = DeleteTopicsRequest(topic_names=["t", "none", "no name!", "u", "u"], timeout_ms=1000)
    response = await served.ask(request, DeleteTopicsResponse, version)
    unknown = UnknownTopicOrPartition.code
    assert [(one.name, one.error_code) for one in response.responses] == [
        ("t", 0),
        ("none", unknown),
        ("no name!", unknown),
        ("u", InvalidRequest.code),
    ]
    assert sorted(served.cluster.controller.image.topic_ids) == ["u"]


@in_virtual_time
async def test_topics_are_deleted_by_their_ids() -> None:
    served = await with_topics()
    assert await deleted(
        served, (None, T), (None, NONE), (None, NO_UUID), ("t", T), ("none", NO_UUID), (None, U), (None, U)
    ) == [
        ("t", 0),
        (None, UnknownTopicId.code),
        (None, InvalidRequest.code),
        ("t", InvalidRequest.code),
        ("none", UnknownTopicOrPartition.code),
        (None, InvalidRequest.code),
    ]
    assert sorted(served.cluster.controller.image.topic_ids) == ["u"]


@in_virtual_time
async def test_a_topic_that_is_named_by_both_its_name_and_its_id_stays() -> None:
    served = await with_topics()
    assert await deleted(served, (None, T), ("t", NO_UUID)) == [("t", InvalidRequest.code)]
    assert "t" in served.cluster.controller.image.topic_ids


@in_virtual_time
async def test_an_id_stands_for_no_topic_that_came_since_under_the_name() -> None:
    served = await with_topics()
    controller = served.cluster.controller
    controller.hold_back = True  # this broker hears of it too late
    controller.remove(T)
    controller.topic(TopicId(NONE), [[1]])

    async def hear() -> None:
        await until(lambda: bool(served.operated))
        controller.hold_back = False
        controller._wake()

    hearing = asyncio.ensure_future(hear())
    assert await deleted(served, (None, T)) == [(None, UnknownTopicId.code)]
    await hearing
    assert controller.image.topic_ids["t"] == NONE


async def grown(
    served: ServedBroker, *wanted: tuple[str, int, list[list[int]] | None], **fields: object
) -> dict[str, int]:
    kind = CreatePartitionsRequest.Topic
    topics = [
        kind(
            name=name,
            count=count,
            assignments=None if placed is None else [kind.Assignment(broker_ids=nodes) for nodes in placed],
        )
        for name, count, placed in wanted
    ]
    request = CreatePartitionsRequest(topics=topics, **{"timeout_ms": 1000, "validate_only": False, **fields})
    response = await served.ask(request, CreatePartitionsResponse)
    return {one.name: one.error_code for one in response.results}


@in_virtual_time
async def test_topics_grow_also_by_hand() -> None:
    served = await with_topics()
    wrong = InvalidReplicaAssignment.code
    assert await grown(served, ("t", 2, []), ("none", 2, None), ("u", 9, None), ("u", 9, None)) == {
        "t": wrong,
        "none": UnknownTopicOrPartition.code,
        "u": InvalidRequest.code,
    }
    for count, placed, code in (
        (1, [[1, 2]], InvalidPartitions.code),
        (0, None, InvalidPartitions.code),
        (-1, None, InvalidPartitions.code),
        (3, [[1, 2]], wrong),
        (2, [[1]], wrong),
        (2, [[1, 9]], wrong),
        (2, [[1, 1]], wrong),
        (3, [[3, 1], [2, 3]], 0),
        (4, None, 0),
    ):
        assert await grown(served, ("t", count, placed)) == {"t": code}
    partitions = served.cluster.controller.image.topics[T].partitions
    assert [one.assigned_replicas for one in partitions[:3]] == [(1, 2), (3, 1), (2, 3)]
    assert len(partitions) == 4


@in_virtual_time
@pytest.mark.parametrize("version", CreatePartitionsRequest.API.versions)
async def test_topics_grow_in_every_version(version: int) -> None:
    served = await with_topics()
    topics = [CreatePartitionsRequest.Topic(name="t", count=2, assignments=None)]
    request = CreatePartitionsRequest(topics=topics, timeout_ms=1000, validate_only=False)
    response = await served.ask(request, CreatePartitionsResponse, version)
    assert [(one.name, one.error_code) for one in response.results] == [("t", 0)]


@in_virtual_time
@pytest.mark.parametrize("version", DescribeAclsRequest.API.versions)
async def test_without_an_authorizer_there_are_no_rules(version: int) -> None:
    served = await ServedBroker.started()
    some = {"principal_filter": None, "host_filter": None, "operation": 1, "permission_type": 1}
    described = await served.ask(
        DescribeAclsRequest(resource_type_filter=1, resource_name_filter=None, **some), DescribeAclsResponse, version
    )
    assert (described.error_code, described.resources) == (SecurityDisabled.code, [])
    rule = CreateAclsRequest.Creation(
        resource_type=2, resource_name="t", principal="User:a", host="*", operation=3, permission_type=3
    )
    made = await served.ask(CreateAclsRequest(creations=[rule, rule]), CreateAclsResponse, version)
    assert [one.error_code for one in made.results] == [SecurityDisabled.code] * 2
    which = DeleteAclsRequest.Filter(resource_type_filter=1, resource_name_filter=None, **some)
    gone = await served.ask(DeleteAclsRequest(filters=[which]), DeleteAclsResponse, version)
    assert [(one.error_code, one.matching_acls) for one in gone.filter_results] == [(SecurityDisabled.code, [])]
    assert (await served.ask(CreateAclsRequest(creations=[]), CreateAclsResponse, version)).results == []


@in_virtual_time
async def test_controllers_are_not_told_of_at_a_brokers_port() -> None:
    served = await ServedBroker.started()
    for endpoint_type, error in ((2, MismatchedEndpointType), (7, UnsupportedEndpointType)):
        request = DescribeClusterRequest(include_cluster_authorized_operations=True, endpoint_type=endpoint_type)
        response = await served.ask(request, DescribeClusterResponse)
        assert response.error_code == error.code
        assert response.error_message


@in_virtual_time
async def test_everybody_may_do_everything_and_is_told_so_if_asked() -> None:
    served = await with_topics()
    for wants, cluster, topic in ((True, 8096, 3576), (False, -(1 << 31), -(1 << 31))):
        request = DescribeClusterRequest(include_cluster_authorized_operations=wants)
        assert (await served.ask(request, DescribeClusterResponse)).cluster_authorized_operations == cluster
        metadata = await served.ask(
            MetadataRequest(
                topics=None, include_cluster_authorized_operations=wants, include_topic_authorized_operations=wants
            ),
            MetadataResponse,
            10,
        )
        assert metadata.cluster_authorized_operations == cluster
        assert {one.topic_authorized_operations for one in metadata.topics} == {topic}


@in_virtual_time
@pytest.mark.parametrize("version", DescribeClusterRequest.API.versions)
async def test_brokers_that_are_fenced_are_told_of_if_asked(version: int) -> None:
    served = await ServedBroker.started()
    controller = served.cluster.controller
    controller.held.add(3)
    controller.fence(3)
    await until(lambda: served.node.broker.image.next_offset == controller.image.next_offset)

    async def brokers(**asked: bool) -> list[tuple[int, bool]]:
        request = DescribeClusterRequest(include_cluster_authorized_operations=False, **asked)
        response = await served.ask(request, DescribeClusterResponse, version)
        assert response.controller_id in (1, 2)
        return [(one.broker_id, one.is_fenced) for one in response.brokers]

    assert await brokers() == [(1, False), (2, False)]
    if version >= 2:
        assert await brokers(include_fenced_brokers=True) == [(1, False), (2, False), (3, True)]


@in_virtual_time
async def test_without_a_controller_a_request_ends_with_its_time() -> None:
    served = await with_topics()

    async def nobody(_method: str, _request: object) -> object:
        raise NotController("no active controller is known here")

    served.cluster.controller.operate = nobody  # type: ignore[method-assign]
    loop = asyncio.get_running_loop()
    for asked in (
        created(served, new("good"), timeout_ms=1500),
        deleted(served, ("t", NO_UUID), timeout_ms=1500),
        grown(served, ("t", 2, None), timeout_ms=1500),
    ):
        before = loop.time()
        answered: Any = await asked
        assert dict(answered) in ({"good": RequestTimedOut.code}, {"t": RequestTimedOut.code})
        assert 1.5 <= loop.time() - before < 2.0
