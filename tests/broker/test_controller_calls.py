"""What a broker asks of controllers that fail, lag or are gone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dohle.broker.controller_client import ControllerClient
from dohle.controller.decision import failure_of
from dohle.model.errors import DohleError, NetworkException, NotController, StorageFailure, UnknownServerError
from dohle.model.ids import NodeId, PartitionKey
from dohle.rpc.v1 import admin_pb2, controller_pb2
from dohle.runtime.network import Address
from tests.broker import one_controller
from tests.broker.brokers import KEY, Cluster, until
from tests.broker.logs import TOPIC_ID
from tests.broker.one_controller import ADDRESS, OneController
from tests.broker.virtual_time import in_virtual_time


def answer_first(controller: OneController, *outcomes: DohleError | None) -> list[Any]:
    """Has AlterPartitions fail with these first: as a whole, or, for NotController, partition by partition."""
    decide, asked = controller.alter_partitions, list[Any]()
    waiting = list(outcomes)

    async def alter_partitions(request: Any, context: object) -> Any:
        asked.append(request)
        error = waiting.pop(0) if waiting else None
        if isinstance(error, NotController):
            return controller_pb2.AlterPartitionsResponse(
                partitions=[
                    controller_pb2.AlteredPartition(
                        topic_id=one.topic_id, partition=one.partition, failure=failure_of(error)
                    )
                    for one in request.partitions
                ]
            )
        if error is not None:
            raise error
        return await decide(request, context)

    controller.alter_partitions = alter_partitions  # type: ignore[method-assign, assignment]
    return asked


@in_virtual_time
async def test_the_same_change_is_asked_for_until_a_controller_knows() -> None:
    cluster = await Cluster.started()
    asked = answer_first(
        cluster.controller, NetworkException(), NotController("behind"), UnknownServerError(), StorageFailure()
    )
    cluster.controller.topic(TOPIC_ID, [[1, 2, 3]], isr=[1, 2])
    await until(lambda: cluster.isr() == (1, 2, 3))
    assert len(asked) >= 5
    assert len({request.SerializeToString() for request in asked[:5]}) == 1
    assert not cluster.failures


@in_virtual_time
async def test_a_controller_in_trouble_takes_no_broker_with_it() -> None:
    cluster = await Cluster.started()
    controller = cluster.controller
    follow, beat = controller.follow_metadata, controller.heartbeat
    failing = True

    async def follow_metadata(stream: Any, context: object) -> None:
        if failing:
            raise StorageFailure("the controller's disk")
        await follow(stream, context)

    async def heartbeat(stream: Any, context: object) -> None:
        if failing:
            raise UnknownServerError("a bug of the controller's")
        await beat(stream, context)

    controller.follow_metadata = follow_metadata  # type: ignore[method-assign, assignment]
    controller.heartbeat = heartbeat  # type: ignore[method-assign, assignment]
    cluster.world.kill("controller")
    await cluster.world.network("controller").serve(ADDRESS, [controller.service()], listener="GRPC")
    await asyncio.sleep(3.0)
    failing = False
    controller.topic(TOPIC_ID, [[1, 2, 3]])
    await cluster.led()
    assert not cluster.failures


@in_virtual_time
async def test_a_broker_whose_place_was_taken_ends() -> None:
    cluster = await Cluster.started(1)
    request = await cluster.nodes[1].broker._registration()
    request.hello.incarnation_id = b"another process."
    await cluster.controller.register_broker(request, None)
    await until(lambda: bool(cluster.failures))
    with pytest.raises(DohleError, match="another process with the same node id"):
        raise cluster.failures[0]


@in_virtual_time
async def test_changes_of_many_partitions_travel_together() -> None:
    cluster = await Cluster.started()
    asked = answer_first(cluster.controller)
    cluster.controller.topic(TOPIC_ID, [[1, 2, 3]] * 40, isr=[1])
    keys = [PartitionKey(TOPIC_ID, number) for number in range(40)]
    await until(lambda: all(cluster.isr(key) == (1, 2, 3) for key in keys))
    assert len(asked) < 40
    assert cluster.controller.leader(KEY) == 1


def test_a_broker_learns_of_voters_by_the_metadata_and_keeps_those_of_its_configuration() -> None:
    first, second, moved = Address("a", 1), Address("b", 1), Address("a", 2)
    client = ControllerClient({NodeId(1): first}, None, None, None)  # type: ignore[arg-type]
    assert not client.learn(2)
    client.know({NodeId(2): second})
    assert client.voters == {1: first, 2: second}
    assert client.learn(2)
    client.know({NodeId(1): moved})
    assert client.voters == {1: moved}
    assert client.believed == (1, moved)


def test_a_broker_is_told_of_a_controller_that_its_configuration_does_not_name() -> None:
    first, second = Address("a", 1), Address("b", 1)
    client = ControllerClient({NodeId(1): first}, None, None, None)  # type: ignore[arg-type]
    assert not client.learn(-1)
    assert client.learn(2, second)
    assert client.believed == (2, second)
    client.move_on(NodeId(2))
    assert client.believed == (1, first)


@in_virtual_time
async def test_each_attempt_to_make_topics_has_ids_of_its_own_and_names_the_former_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[list[bytes]] = []

    async def create_topics(_service: object, request: Any, _context: object) -> Any:
        tried.append(list(request.topics[0].topic_ids))
        if len(tried) < 3:
            raise NetworkException
        return admin_pb2.CreateTopicsResponse()

    monkeypatch.setattr(one_controller._Asked, "create_topics", create_topics)
    cluster = await Cluster.started()
    request = admin_pb2.CreateTopicsRequest(topics=[admin_pb2.NewTopic(name="t")])
    await cluster.nodes[1].broker.ask_controller("CreateTopics", request, timeout_s=10.0)
    assert [len(ids) for ids in tried] == [1, 2, 3]
    assert tried[2][:2] == tried[1]
    assert len(set(tried[2])) == 3
