"""A broker's place in the cluster, as it asks for it, keeps it and gives it up: whole brokers in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dohle.broker.controller_client import ControllerClient
from dohle.model.errors import BrokerNotAvailable, DohleError, DuplicateBrokerRegistration, NetworkException
from dohle.model.ids import NodeId
from tests.broker.brokers import Cluster, until
from tests.broker.one_controller import ADDRESS
from tests.broker.virtual_time import in_virtual_time


def taken_for(cluster: Cluster, seconds: float, objection: type[DohleError] = DuplicateBrokerRegistration) -> None:
    """Another process keeps every node's place for so long."""
    controller, until_s = cluster.controller, asyncio.get_running_loop().time() + seconds
    register = controller.register_broker

    async def register_broker(request: Any, context: object) -> Any:
        if asyncio.get_running_loop().time() < until_s:
            raise objection("another process is registered as this node")
        return await register(request, context)

    controller.register_broker = register_broker  # type: ignore[method-assign]


@in_virtual_time
async def test_a_broker_waits_until_the_session_of_its_last_start_is_over() -> None:
    cluster = await Cluster.started(1)
    await cluster.nodes[1].kill()
    taken_for(cluster, 3.0)
    await cluster.nodes[1].start()
    await until(lambda: not cluster.nodes[1].broker.membership.fenced)


@in_virtual_time
async def test_a_broker_waits_for_as_long_as_its_last_start_may_live_and_is_silent() -> None:
    cluster = await Cluster.started(1)
    await cluster.nodes[1].kill()
    taken_for(cluster, 60.0, BrokerNotAvailable)  # a controller that has just taken office counts the session anew
    await cluster.nodes[1].start()
    await until(lambda: not cluster.nodes[1].broker.membership.fenced)


@in_virtual_time
async def test_a_place_that_stays_taken_ends_the_start() -> None:
    cluster = await Cluster.started(1)
    await cluster.nodes[1].kill()
    taken_for(cluster, 1000.0)
    began = asyncio.get_running_loop().time()
    with pytest.raises(DuplicateBrokerRegistration, match="another process"):
        await cluster.nodes[1].start()
    assert 3.0 <= asyncio.get_running_loop().time() - began < 6.0


@in_virtual_time
async def test_a_controlled_shutdown_leaves_the_broker_fenced() -> None:
    cluster = await Cluster.started()
    await cluster.nodes[2].stop()
    broker = cluster.controller.image.brokers[NodeId(2)]
    assert broker.fenced
    assert broker.shutting_down


@in_virtual_time
async def test_a_settled_broker_beats_six_times_a_session_and_one_that_is_fenced_more_often() -> None:
    cluster = await Cluster.started(1)
    await until(lambda: not cluster.nodes[1].broker.membership.fenced)
    beats = count_beats(cluster)
    await asyncio.sleep(30)
    assert 58 <= len(beats) <= 62
    cluster.controller.held.add(1)
    cluster.controller.fence(1)
    await until(lambda: cluster.nodes[1].broker.membership.fenced)
    beats.clear()
    await asyncio.sleep(30)
    assert 145 <= len(beats) <= 155


@in_virtual_time
async def test_beats_that_are_not_answered_for_two_seconds_end_the_stream() -> None:
    cluster = await Cluster.started(1)
    await until(lambda: not cluster.nodes[1].broker.membership.fenced)
    streams: list[Any] = []

    async def heartbeat_unanswered(stream: Any, _context: object) -> None:
        streams.append(stream)
        while await stream.receive() is not None:
            pass

    cluster.controller.heartbeat = heartbeat_unanswered  # type: ignore[method-assign]
    cluster.world.break_streams("controller")
    await asyncio.sleep(10)
    assert 4 <= len(streams) <= 6


@in_virtual_time
async def test_a_voter_that_does_not_listen_is_dialled_and_not_called() -> None:
    cluster = await Cluster.started(1)
    network = cluster.world.network("asking")
    calls: list[object] = []
    call = network.call

    async def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        return await call(*arguments, **options)

    network.call = counted  # type: ignore[method-assign]
    broker = cluster.nodes[1].broker
    client = ControllerClient({NodeId(1): ADDRESS}, network, broker._surroundings.clock, broker._surroundings.random)
    cluster.world.kill("controller")
    with pytest.raises(NetworkException, match="does not listen"):
        await client.reach(NodeId(1))
    asking = asyncio.ensure_future(client.call("RegisterBroker", await broker._registration()))
    await asyncio.sleep(5)
    assert calls == []
    await cluster.world.network("controller").serve(ADDRESS, [cluster.controller.service()], listener="GRPC")
    await asking
    assert len(calls) == 1


def count_beats(cluster: Cluster) -> list[object]:
    beats: list[object] = []

    async def counted(stream: Any, _context: object) -> None:
        node_id = NodeId(-1)
        while (request := await stream.receive()) is not None:
            beats.append(request)
            if request.HasField("hello"):
                node_id = NodeId(request.hello.node_id)
            await stream.send(cluster.controller.beat(node_id, request))

    cluster.controller.heartbeat = counted  # type: ignore[method-assign]
    cluster.world.break_streams("controller")
    return beats
