"""Unary rpcs: answers, errors, time-outs, and what a server does about its port."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from dohle.model.errors import (
    ConfigurationError,
    DohleError,
    NetworkException,
    NotController,
    RequestTimedOut,
    UnknownServerError,
    UnsupportedVersion,
    error_types,
)
from dohle.rpc.grpc_network import GrpcNetwork
from dohle.rpc.methods import handler_name, methods_of, service
from dohle.rpc.v1 import admin_pb2, broker_pb2
from dohle.runtime.network import Address, Lane, RequestContext, Server

BROKER = broker_pb2.DESCRIPTOR.services_by_name["Broker"]
METADATA = methods_of(BROKER)["Metadata"]
REQUEST = broker_pb2.MetadataRequest()


async def ask(network: GrpcNetwork, server: Server, timeout_s: float = 10) -> Any:
    return await network.call(server.address, METADATA, REQUEST, lane=Lane.CLIENT, timeout_s=timeout_s)


async def test_the_handler_learns_who_asks_and_its_answer_arrives(network: Any, server: Server, handlers: Any) -> None:
    asked: list[RequestContext] = []

    async def answer(context: RequestContext) -> broker_pb2.MetadataResponse:
        asked.append(context)
        return broker_pb2.MetadataResponse(cluster_id="here")

    handlers.on_metadata = answer
    assert (await ask(network, server)).cluster_id == "here"
    (context,) = asked
    assert (context.principal, context.listener, context.client_id) == ("User:ANONYMOUS", "GRPC", "a test")
    assert context.address.startswith("127.0.0.1:")


@pytest.mark.parametrize("kind", error_types(), ids=lambda kind: kind.__name__)
async def test_an_error_arrives_as_the_same_error(
    kind: type[DohleError], network: Any, server: Server, handlers: Any
) -> None:
    async def answer(context: RequestContext) -> broker_pb2.MetadataResponse:
        raise kind("naïve – 100 % \n two lines")

    handlers.on_metadata = answer
    with pytest.raises(DohleError) as caught:
        await ask(network, server)
    assert type(caught.value) is kind
    assert caught.value.message == "naïve – 100 % \n two lines"


async def test_a_message_too_long_for_metadata_is_cut(network: Any, server: Server, handlers: Any) -> None:
    async def answer(context: RequestContext) -> broker_pb2.MetadataResponse:
        raise NotController("ü" * 100_000)

    handlers.on_metadata = answer
    with pytest.raises(NotController) as caught:
        await ask(network, server)
    assert caught.value.message == "ü" * 1000


async def test_a_bug_in_a_handler_is_reported_and_the_server_goes_on(
    network: Any, server: Server, handlers: Any
) -> None:
    async def answer(context: RequestContext) -> broker_pb2.MetadataResponse:
        raise KeyError("a bug")

    good, handlers.on_metadata = handlers.on_metadata, answer
    with pytest.raises(UnknownServerError):
        await ask(network, server)
    assert [repr(bug) for bug in handlers.bugs] == ["KeyError('a bug')"]
    handlers.on_metadata = good
    assert await ask(network, server) == broker_pb2.MetadataResponse()


async def test_no_answer_in_time_is_a_time_out_and_the_handler_runs_to_its_end(
    network: Any, server: Server, handlers: Any
) -> None:
    go_on, ended = asyncio.Event(), asyncio.Event()

    async def answer(context: RequestContext) -> broker_pb2.MetadataResponse:
        await go_on.wait()
        ended.set()
        return broker_pb2.MetadataResponse()

    handlers.on_metadata = answer
    with pytest.raises(RequestTimedOut):
        await ask(network, server, timeout_s=0.05)
    go_on.set()
    await asyncio.wait_for(ended.wait(), 5)
    assert handlers.bugs == []


async def test_nobody_there_fails_at_once(network: GrpcNetwork, server: Server) -> None:
    await server.stop(0)
    async with asyncio.timeout(2):
        with pytest.raises(NetworkException, match=str(server.address)):
            await ask(network, server)


async def test_a_service_that_is_not_served_is_an_unsupported_version(network: GrpcNetwork, server: Server) -> None:
    describe = methods_of(admin_pb2.DESCRIPTOR.services_by_name["Admin"])["DescribeCluster"]
    with pytest.raises(UnsupportedVersion):
        await network.call(server.address, describe, admin_pb2.DescribeClusterRequest(), lane=Lane.CLIENT, timeout_s=5)


async def test_closing_the_network_breaks_calls_under_way_and_those_to_come(
    network: GrpcNetwork, server: Server, handlers: Any
) -> None:
    begun = asyncio.Event()

    async def answer(context: RequestContext) -> broker_pb2.MetadataResponse:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    handlers.on_metadata = answer
    mine = GrpcNetwork(client_id="mine")
    call = asyncio.create_task(ask(mine, server))
    await begun.wait()
    await mine.close()
    with pytest.raises(NetworkException):
        await call
    with pytest.raises(NetworkException):
        await ask(mine, server)


async def test_a_cancelled_call_stays_cancelled(network: GrpcNetwork, server: Server, handlers: Any) -> None:
    begun = asyncio.Event()

    async def answer(context: RequestContext) -> broker_pb2.MetadataResponse:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    handlers.on_metadata = answer
    call = asyncio.create_task(ask(network, server))
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_port_in_use_names_the_port_and_says_what_to_do(network: GrpcNetwork, server: Server) -> None:
    with pytest.raises(ConfigurationError, match=rf"{server.address}.*stop the process"):
        await network.serve(server.address, [], listener="GRPC")


async def test_a_host_name_with_one_of_its_addresses_taken_is_refused(network: GrpcNetwork, server: Server) -> None:
    with pytest.raises(ConfigurationError, match="cannot listen on localhost"):
        await network.serve(Address("localhost", server.address.port), [], listener="GRPC")


async def test_a_request_under_way_ends_within_the_grace(network: GrpcNetwork, server: Server, handlers: Any) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def answer(context: RequestContext) -> broker_pb2.MetadataResponse:
        begun.set()
        await go_on.wait()
        return broker_pb2.MetadataResponse(cluster_id="done")

    handlers.on_metadata = answer
    call = asyncio.create_task(ask(network, server))
    await begun.wait()
    stop = asyncio.create_task(server.stop(5))
    go_on.set()
    assert (await call).cluster_id == "done"
    await asyncio.wait_for(stop, 5)


async def test_health_and_reflection_know_the_services(network: GrpcNetwork, server: Server) -> None:
    async with grpc.aio.insecure_channel(str(server.address)) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        for name in ("", "dohle.v1.Broker"):
            health = await check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            assert health.status == health_pb2.HealthCheckResponse.SERVING
        reflect = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )()
        await reflect.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        listed = await reflect.read()
        assert "dohle.v1.Broker" in [each.name for each in listed.list_services_response.service]
        reflect.cancel()


def test_a_handler_is_named_after_its_method_in_snake_case() -> None:
    names = {name: handler_name(method) for name, method in methods_of(BROKER).items()}
    assert names == {
        "Produce": "produce",
        "Fetch": "fetch",
        "ListOffsets": "list_offsets",
        "DeleteRecords": "delete_records",
        "InitProducerId": "init_producer_id",
        "Metadata": "metadata",
        "DescribePositions": "describe_positions",
    }


def test_a_service_that_lacks_a_method_is_not_made() -> None:
    with pytest.raises(AssertionError, match="async def produce"):
        service(BROKER, object())
