"""What a broker passes on to the active controller; a change is answered once its own metadata has it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from dohle.controller.topics import alter_configs
from dohle.listeners.admin_service import AdminService
from dohle.listeners.changes import kind_of_change
from dohle.model.errors import (
    BrokerIdNotRegistered,
    BrokerNotAvailable,
    ElectionNotNeeded,
    InvalidPartitions,
    NoReassignmentInProgress,
    OperationNotAttempted,
)
from dohle.model.ids import NodeId, PartitionKey, TopicId
from dohle.model.metadata import ReplicasChange
from dohle.rpc.methods import handler_name, methods_of
from dohle.rpc.v1 import admin_pb2, controller_pb2
from dohle.runtime.network import RequestContext
from tests.broker.brokers import Cluster, until
from tests.broker.virtual_time import in_virtual_time
from tests.controller.decided_cluster import DecidedCluster

CONTEXT = cast("RequestContext", None)  # nothing here looks at it


async def asked(cluster: Cluster) -> asyncio.Task[Any]:
    """Has a topic made through a broker that does not hear of it yet; returns what will be the answer."""
    node = cluster.nodes[1]
    cluster.controller.hold_back = True

    async def make_topic(_method: str, _request: object, **_how: object) -> Any:
        cluster.controller.topic(TopicId(b"n" * 16), [[1, 2, 3]], name="new")
        return admin_pb2.CreateTopicsResponse(metadata_offset=cluster.controller.image.next_offset)

    node.broker.ask_controller = make_topic  # type: ignore[method-assign]
    service = AdminService(node.broker, node.disk)
    answer = asyncio.ensure_future(service.create_topics(admin_pb2.CreateTopicsRequest(), CONTEXT))
    await asyncio.sleep(0.5)
    assert not answer.done()
    assert node.broker.image.topic_named("new") is None
    return answer


@in_virtual_time
async def test_what_the_active_controller_answers_is_passed_on_as_it_came() -> None:
    cluster = await Cluster.started()
    node = cluster.nodes[1]
    passed_on: list[str] = []
    admin = methods_of(admin_pb2.DESCRIPTOR.services_by_name["Admin"])
    controller = methods_of(controller_pb2.DESCRIPTOR.services_by_name["Controller"])

    async def answer(method: str, request: object, *, timeout_s: float, **_how: object) -> Any:
        assert isinstance(request, controller[method].request)
        assert timeout_s == pytest.approx(30.0)
        passed_on.append(method)
        return controller[method].response()

    node.broker.ask_controller = answer  # type: ignore[method-assign]
    service = AdminService(node.broker, node.disk)
    shared = [method for method in controller if method in admin]
    for name in shared:
        answered = await getattr(service, handler_name(admin[name]))(admin[name].request(), CONTEXT)
        assert isinstance(answered, admin[name].response)
    assert list(dict.fromkeys(passed_on)) == shared
    twice = {method for method in passed_on if passed_on.count(method) > 1}
    assert twice == {"DeleteTopics", "CreatePartitions"}  # for which the broker catches up first


@in_virtual_time
async def test_who_has_changed_something_is_answered_when_it_can_be_read_there() -> None:
    cluster = await Cluster.started()
    answer = await asked(cluster)
    cluster.controller.hold_back = False
    cluster.controller._wake()
    await answer
    assert cluster.nodes[1].broker.image.topic_named("new") is not None


@in_virtual_time
async def test_nobody_waits_for_long_for_a_broker_that_hears_nothing() -> None:
    cluster = await Cluster.started()
    answer = await asked(cluster)
    async with asyncio.timeout(0.6):
        await answer


async def changed(method: str, request: Any, *, lost: int = 1) -> tuple[Cluster, Any]:
    """Has a change asked for through broker 2, where the answers to the first attempts that make it are lost."""
    cluster = await Cluster.started()
    controller = cluster.controller
    controller.topic(TopicId(b"n" * 16), [[1, 2, 3], [1, 2, 3]], name="old")
    rpcs = methods_of(admin_pb2.DESCRIPTOR.services_by_name["Admin"])
    node = cluster.nodes[2]
    lose_later = method in {"DeleteTopics", "CreatePartitions"}  # what catches up is answered

    real = node.broker.ask_controller

    async def ask(asked: str, request: Any, *, timeout_s: float, **how: Any) -> Any:
        if not lose_later or "on_lost" in how:
            controller.lost_answers[asked] = lost
        return await real(asked, request, timeout_s=timeout_s, **how)

    node.broker.ask_controller = ask  # type: ignore[method-assign]
    service = AdminService(node.broker, node.disk)
    return cluster, await getattr(service, handler_name(rpcs[method]))(request, CONTEXT)


@in_virtual_time
async def test_a_topic_that_a_lost_attempt_has_deleted_is_deleted() -> None:
    request = admin_pb2.DeleteTopicsRequest(topics=["old", "never"])
    cluster, answer = await changed("DeleteTopics", request, lost=2)
    assert [(one.name, one.failure.code) for one in answer.topics] == [("old", 0), ("never", 3)]
    assert answer.topics[0].topic_id == b"n" * 16
    assert cluster.controller.image.topic_named("old") is None


@in_virtual_time
async def test_a_topic_that_came_since_under_the_name_is_not_deleted_by_another_attempt() -> None:
    cluster = await Cluster.started()
    controller, node = cluster.controller, cluster.nodes[2]
    controller.topic(TopicId(b"n" * 16), [[1, 2, 3]], name="old")
    real = node.broker.ask_controller

    async def ask(asked: str, request: Any, *, timeout_s: float, **how: Any) -> Any:
        if "on_lost" in how:  # the first attempt is taken, its answer is lost, and somebody makes a new topic
            controller._operated(asked, request)
            controller.topic(TopicId(b"m" * 16), [[1, 2, 3]], name="old")
            how["on_lost"]()
        return await real(asked, request, timeout_s=timeout_s, **how)

    node.broker.ask_controller = ask  # type: ignore[method-assign]
    service = AdminService(node.broker, node.disk)
    answer = await service.delete_topics(admin_pb2.DeleteTopicsRequest(topics=["old"]), CONTEXT)
    assert answer.topics[0].failure.code == 0
    assert answer.topics[0].topic_id == b"n" * 16
    assert controller.image.topic_ids["old"] == b"m" * 16


@in_virtual_time
async def test_a_broker_that_has_not_heard_of_a_topic_has_it_deleted_all_the_same() -> None:
    cluster = await Cluster.started()
    node = cluster.nodes[1]
    cluster.controller.hold_back = True
    cluster.controller.topic(TopicId(b"n" * 16), [[1, 2, 3]], name="new")
    assert node.broker.image.topic_named("new") is None
    service = AdminService(node.broker, node.disk)
    answering = asyncio.ensure_future(service.delete_topics(admin_pb2.DeleteTopicsRequest(topics=["new"]), CONTEXT))
    await asyncio.sleep(0.5)
    cluster.controller.hold_back = False
    cluster.controller._wake()
    assert (await answering).topics[0].failure.code == 0
    assert cluster.controller.image.topic_named("new") is None


@in_virtual_time
async def test_a_broker_that_cannot_catch_up_says_so_and_deletes_nothing() -> None:
    cluster = await Cluster.started()
    node = cluster.nodes[1]
    cluster.controller.hold_back = True
    cluster.controller.topic(TopicId(b"n" * 16), [[1, 2, 3]], name="new")
    service = AdminService(node.broker, node.disk)
    with pytest.raises(BrokerNotAvailable):
        await service.delete_topics(admin_pb2.DeleteTopicsRequest(topics=["new"]), CONTEXT)
    assert cluster.controller.image.topic_named("new") is not None


@in_virtual_time
@pytest.mark.parametrize("assignments", [[], [(2, [2, 3, 1])]])
async def test_partitions_that_a_lost_attempt_has_added_are_added(assignments: list[tuple[int, list[int]]]) -> None:
    wanted = admin_pb2.NewPartitions(
        topic="old",
        total_count=3,
        assignments=[admin_pb2.ReplicaAssignment(partition=number, replicas=nodes) for number, nodes in assignments],
    )
    cluster, answer = await changed("CreatePartitions", admin_pb2.CreatePartitionsRequest(topics=[wanted]))
    assert [(one.topic, one.failure.code) for one in answer.topics] == [("old", 0)]
    assert len(cluster.controller.image.topics[TopicId(b"n" * 16)].partitions) == 3


@in_virtual_time
async def test_partitions_that_were_there_before_are_not_added_by_another_attempt() -> None:
    wanted = admin_pb2.NewPartitions(topic="old", total_count=2)
    _, answer = await changed("CreatePartitions", admin_pb2.CreatePartitionsRequest(topics=[wanted]))
    assert answer.topics[0].failure.code == InvalidPartitions.code


@in_virtual_time
async def test_a_leader_whom_a_lost_attempt_has_elected_is_elected() -> None:
    cluster = await Cluster.started()
    controller, node = cluster.controller, cluster.nodes[2]
    controller.topic(TopicId(b"n" * 16), [[1, 2, 3], [2, 1, 3]], name="old")
    controller.fence(1)
    await until(lambda: not controller.image.brokers[NodeId(1)].fenced)
    key = PartitionKey(TopicId(b"n" * 16), 0)
    await until(
        lambda: len(cluster.isr(key)) == 3 and node.broker.image.partition(key) == controller.image.partition(key)
    )
    assert controller.leader(key) != 1
    controller.lost_answers["ElectLeaders"] = 1
    request = admin_pb2.ElectLeadersRequest(partitions=[admin_pb2.ElectionOf(topic="old", partitions=[0, 1])])
    answer = await AdminService(node.broker, node.disk).elect_leaders(request, CONTEXT)
    assert [(one.partition, one.failure.code) for one in answer.partitions] == [(0, 0), (1, ElectionNotNeeded.code)]
    assert answer.partitions[0].leader == controller.leader(key) == 1


@pytest.mark.parametrize("allowed", [True, False])
def test_a_leader_that_came_back_was_not_elected_uncleanly_where_that_is_not_allowed(allowed: bool) -> None:
    cluster = DecidedCluster(brokers=2)
    cluster.topic("old", [1], unclean_leader_election_enable="false")
    cluster.fence(1)
    if allowed:
        entry = admin_pb2.ConfigEntry(name="unclean.leader.election.enable", value="true")
        wanted = admin_pb2.AlterConfigsRequest(topics=[admin_pb2.AlterTopicConfigs(topic="old", set=[entry])])
        cluster.take(alter_configs(cluster.image, wanted))
    request = admin_pb2.ElectLeadersRequest(election_type=admin_pb2.ELECTION_TYPE_UNCLEAN)
    change = kind_of_change("ElectLeaders")(request, cluster.image)
    cluster.beat(1)
    answer = admin_pb2.ElectLeadersResponse()
    answer.partitions.add(topic="old", partition=0).failure.code = ElectionNotNeeded.code
    change.recognise(answer, cluster.image)
    assert bool(answer.partitions[0].failure.code) is not allowed


@in_virtual_time
async def test_a_broker_whom_a_lost_attempt_has_forgotten_is_forgotten() -> None:
    cluster = await Cluster.started()
    controller, node = cluster.controller, cluster.nodes[2]
    await cluster.nodes[3].stop()
    controller.fence(3)
    service = AdminService(node.broker, node.disk)
    controller.lost_answers["UnregisterBroker"] = 1
    await service.unregister_broker(admin_pb2.UnregisterBrokerRequest(node_id=3), CONTEXT)
    assert NodeId(3) not in controller.image.brokers
    with pytest.raises(BrokerIdNotRegistered):
        await service.unregister_broker(admin_pb2.UnregisterBrokerRequest(node_id=3), CONTEXT)


def part(number: int, replicas: list[int], *, cancel: bool = False, epoch: int = -1) -> admin_pb2.WantedReassignment:
    return admin_pb2.WantedReassignment(
        topic="old", partition=number, replicas=replicas, cancel=cancel, partition_epoch=epoch
    )


async def moved(*parts: admin_pb2.WantedReassignment, **options: bool) -> list[int]:
    """Has replicas of partitions 0 to 2 of [1, 2] moved, of which 0 is on its way to 3 and stays so, by a first attempt
    whose answer is lost; returns the codes of the second one's."""
    cluster = await Cluster.started()
    controller, node = cluster.controller, cluster.nodes[2]
    await cluster.nodes[3].stop()
    controller.topic(TopicId(b"n" * 16), [[1, 2], [1, 2], [1, 2]], name="old")
    key = PartitionKey(TopicId(b"n" * 16), 0)
    partition = controller.image.partition(key)
    assert partition is not None
    nodes = tuple(map(NodeId, (3, 1)))
    on_its_way = ReplicasChange(
        key.topic_id, 0, (*nodes, NodeId(2)), nodes[:1], (NodeId(2),), NodeId(1), 0, 1, partition.in_sync_replicas, ()
    )
    controller.commit(on_its_way)
    await until(lambda: node.broker.image.next_offset == controller.image.next_offset)
    controller.lost_answers["AlterPartitionReassignments"] = 1
    request = admin_pb2.AlterPartitionReassignmentsRequest(partitions=parts, **options)
    answer = await AdminService(node.broker, node.disk).alter_partition_reassignments(request, CONTEXT)
    assert [method for method, _ in controller.operated] == ["AlterPartitionReassignments"] * 2
    return [one.failure.code for one in answer.partitions]


@in_virtual_time
async def test_what_a_lost_attempt_has_taken_back_is_taken_back() -> None:
    assert await moved(part(0, [], cancel=True)) == [0]


@in_virtual_time
async def test_a_plan_that_a_lost_attempt_has_begun_is_begun_as_a_whole() -> None:
    assert await moved(part(1, [2, 1], epoch=0), part(2, [1], epoch=0), part(0, [], cancel=True, epoch=1)) == [0, 0, 0]


@in_virtual_time
async def test_a_plan_that_is_refused_is_refused_each_time() -> None:
    refused = [NoReassignmentInProgress.code, OperationNotAttempted.code]
    assert await moved(part(1, [], cancel=True), part(2, [2, 1])) == refused
    assert await moved(part(1, [], cancel=True), part(0, [], cancel=True), each_by_itself=True) == [refused[0], 0]
