"""Who coordinates a group, as Kafka's clients ask, and the topic in which coordinators keep what they know."""

from __future__ import annotations

import pytest

from dohle.kafka.declaration import NO_UUID
from dohle.kafka.messages.cluster import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    MetadataRequest,
    MetadataResponse,
)
from dohle.kafka.messages.groups import FindCoordinatorRequest, FindCoordinatorResponse
from dohle.kafka.messages.topics import DeleteTopicsRequest, DeleteTopicsResponse
from dohle.model.errors import CoordinatorNotAvailable, PolicyViolation
from dohle.model.ids import TopicId
from dohle.model.internal_topics import OFFSETS_TOPIC
from tests.broker.brokers import until
from tests.broker.virtual_time import in_virtual_time
from tests.listeners.kafka.served_broker import ServedBroker


@in_virtual_time
@pytest.mark.parametrize("version", FindCoordinatorRequest.API.versions)
async def test_groups_have_coordinators_which_all_brokers_name_alike(version: int) -> None:
    served = await ServedBroker.started()
    others = [ServedBroker(served.cluster, node) for node in served.cluster.nodes.values()]
    request = FindCoordinatorRequest(key="g", coordinator_keys=["g", "h", ""])
    answers = [await one.ask(request, FindCoordinatorResponse, version) for one in others]
    for answer in answers:
        found = answer.coordinators if version >= 4 else [answer]
        topic = served.cluster.controller.image.topic_named(OFFSETS_TOPIC)
        assert topic is not None
        leaders = [topic.partitions[served.node.broker.groups.partition_of(key)].leader for key in ("g", "h", "")]
        assert [one.error_code for one in found] == [0] * len(found)
        assert [one.node_id for one in found] == leaders[: len(found)]
        assert [(one.host, one.port) for one in found] == [(f"broker-{one.node_id}", 9092) for one in found]


@in_virtual_time
async def test_of_several_groups_one_whose_partition_has_no_leader_fails_alone() -> None:
    served = await ServedBroker.started()
    controller, groups = served.cluster.controller, served.node.broker.groups
    controller.topic(TopicId(b"o" * 16), [[1], [3]], name=OFFSETS_TOPIC, overrides={"cleanup.policy": "compact"})
    controller.held.add(1)
    controller.fence(1)
    await until(lambda: served.node.broker.image.next_offset == controller.image.next_offset)
    keys = [f"g{number}" for number in range(6)]
    answer = await served.ask(FindCoordinatorRequest(coordinator_keys=keys), FindCoordinatorResponse)
    expected = [(0, 3) if groups.partition_of(key) == 1 else (CoordinatorNotAvailable.code, -1) for key in keys]
    assert len(set(expected)) == 2
    assert [(one.error_code, one.node_id) for one in answer.coordinators] == expected


@in_virtual_time
async def test_the_topic_is_told_to_be_internal_and_is_made_for_whoever_asks_for_it() -> None:
    served = await ServedBroker.started()
    asked = MetadataRequest(topics=[MetadataRequest.Topic(name=OFFSETS_TOPIC)])
    [told] = (await served.ask(asked, MetadataResponse)).topics
    assert (told.error_code, told.is_internal, len(told.partitions)) == (0, True, 50)
    pages = DescribeTopicPartitionsRequest(topics=[DescribeTopicPartitionsRequest.Topic(name=OFFSETS_TOPIC)])
    [told_again] = (await served.ask(pages, DescribeTopicPartitionsResponse)).topics
    assert told_again.is_internal
    made = served.cluster.controller.image.topic_named(OFFSETS_TOPIC)
    assert made is not None
    assert made.config.is_compacted


@in_virtual_time
async def test_nobody_deletes_it() -> None:
    served = await ServedBroker.started()
    await served.node.broker.groups.make_topic()
    named = DeleteTopicsRequest.Topic(name=OFFSETS_TOPIC, topic_id=NO_UUID)
    request = DeleteTopicsRequest(topics=[named], timeout_ms=1000)
    [answer] = (await served.ask(request, DeleteTopicsResponse)).responses
    assert answer.error_code == PolicyViolation.code
