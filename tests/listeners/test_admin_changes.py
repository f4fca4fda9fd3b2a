"""What a broker passes on to the active controller; a change is answered once its own metadata has it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from dohle.listeners.admin_service import AdminService
from dohle.model.ids import TopicId
from dohle.rpc.methods import handler_name, methods_of
from dohle.rpc.v1 import admin_pb2, controller_pb2
from dohle.runtime.network import RequestContext
from tests.broker.brokers import Cluster
from tests.broker.virtual_time import in_virtual_time

CONTEXT = cast("RequestContext", None)  # nothing here looks at it


async def asked(cluster: Cluster) -> asyncio.Task[Any]:
    """Has a topic made through a broker that does not hear of it yet; returns what will be the answer."""
    node = cluster.nodes[1]
    cluster.controller.hold_back = True

    async def make_topic(_method: str, _request: object, *, timeout_s: float) -> Any:
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

    async def answer(method: str, request: object, *, timeout_s: float) -> Any:
        assert isinstance(request, controller[method].request)
        assert timeout_s == 30.0
        passed_on.append(method)
        return controller[method].response()

    node.broker.ask_controller = answer  # type: ignore[method-assign]
    service = AdminService(node.broker, node.disk)
    shared = [method for method in controller if method in admin]
    for name in shared:
        answered = await getattr(service, handler_name(admin[name]))(admin[name].request(), CONTEXT)
        assert isinstance(answered, admin[name].response)
    assert passed_on == shared


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
