"""Our ends against grpcio's, both ways: any gRPC client gets through, and nodes of an earlier version too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest

from dohle.model.errors import (
    FencedLeaderEpoch,
    MessageTooLarge,
    NetworkException,
    RequestTimedOut,
    UnsupportedVersion,
)
from dohle.rpc.grpc_network import GrpcNetwork
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import broker_pb2
from dohle.runtime.network import Address, Lane, Server

BROKER = broker_pb2.DESCRIPTOR.services_by_name["Broker"]
METHODS = methods_of(BROKER)
FETCH, METADATA = METHODS["Fetch"], METHODS["Metadata"]
LIMIT = 8 << 20
SIZES = (0, 1, 16_000, 16_384, 65_535, 65_536, 300_000, (2 << 20) + 7, 5 << 20)


def answer_of(number: int, size: int = 0) -> Any:
    answer = broker_pb2.FetchResponse(correlation=number)
    answer.partitions.add().batches = bytes(size)
    return answer


class OfGrpcio:
    """A Broker as grpcio serves it."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.got: list[int] = []
        self.asked_by: list[str] = []

    async def fetch(self, requests: Any, context: Any) -> None:
        try:
            while (request := await context.read()) is not grpc.aio.EOF:
                self.got.append(request.correlation)
                if request.max_wait_ms:
                    await asyncio.Event().wait()
                await context.write(answer_of(request.correlation, request.max_bytes))
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def metadata(self, request: Any, context: Any) -> Any:
        self.asked_by += [value for key, value in context.invocation_metadata() if key == "dohle-client-id"]
        match list(request.topics):
            case ["sleep"]:
                await asyncio.Event().wait()
            case ["fenced"]:
                await context.abort(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    "epoch 3 – vorbei",
                    (("dohle-error-code", str(FencedLeaderEpoch.code)),),
                )
            case ["unavailable"]:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "50 % down")
        return broker_pb2.MetadataResponse(cluster_id="".join(request.topics))


@pytest.fixture
async def theirs() -> AsyncIterator[tuple[Address, OfGrpcio, grpc.aio.Server]]:
    broker = OfGrpcio()
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", LIMIT), ("grpc.max_send_message_length", -1)])
    handlers = {
        "Fetch": grpc.stream_stream_rpc_method_handler(
            broker.fetch, FETCH.request.FromString, FETCH.response.SerializeToString
        ),
        "Metadata": grpc.unary_unary_rpc_method_handler(
            broker.metadata, METADATA.request.FromString, METADATA.response.SerializeToString
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(BROKER.full_name, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield Address("127.0.0.1", port), broker, server
    await server.stop(0)


async def ask(network: GrpcNetwork, address: Address, *topics: str, timeout_s: float = 10) -> Any:
    request = broker_pb2.MetadataRequest(topics=topics)
    return await network.call(address, METADATA, request, lane=Lane.CLIENT, timeout_s=timeout_s)


async def test_our_client_calls_their_server(network: GrpcNetwork, theirs: Any) -> None:
    address, broker, _ = theirs
    for size in SIZES:
        assert len((await ask(network, address, "x" * size)).cluster_id) == size
    assert set(broker.asked_by) == {"a test"}
    with pytest.raises(FencedLeaderEpoch, match="epoch 3 – vorbei"):
        await ask(network, address, "fenced")
    with pytest.raises(NetworkException, match="UNAVAILABLE: 50 % down"):
        await ask(network, address, "unavailable")
    with pytest.raises(RequestTimedOut):
        await ask(network, address, "sleep", timeout_s=0.05)
    with pytest.raises(UnsupportedVersion):
        await network.call(
            address, METHODS["ListOffsets"], broker_pb2.ListOffsetsRequest(), lane=Lane.CLIENT, timeout_s=5
        )
    with pytest.raises(MessageTooLarge):
        await ask(network, address, "x" * (LIMIT + 1))
    assert (await ask(network, address, "still there")).cluster_id == "still there"


async def test_our_client_streams_with_their_server(network: GrpcNetwork, theirs: Any) -> None:
    address, broker, _ = theirs
    stream = network.stream(address, FETCH, lane=Lane.CLIENT)

    async def send() -> None:
        for number, size in enumerate(SIZES * 20):
            await stream.send(broker_pb2.FetchRequest(correlation=number, max_bytes=size))

    sending = asyncio.create_task(send())
    for number, size in enumerate(SIZES * 20):
        message = await stream.receive()
        assert (message.correlation, len(message.partitions[0].batches)) == (number, size)
    await sending
    await stream.send(broker_pb2.FetchRequest(correlation=1, max_wait_ms=1))
    while broker.got[-1] != 1:
        await asyncio.sleep(0.001)
    stream.close()
    await asyncio.wait_for(broker.cancelled.wait(), 5)


async def test_our_client_notices_that_their_server_stops(network: GrpcNetwork, theirs: Any) -> None:
    address, _, server = theirs
    stream = network.stream(address, FETCH, lane=Lane.CLIENT)
    await stream.send(broker_pb2.FetchRequest(correlation=1))
    await stream.receive()
    waiting = asyncio.create_task(stream.receive())
    await asyncio.sleep(0)
    await server.stop(0.05)
    with pytest.raises(NetworkException):
        await waiting
    with pytest.raises(NetworkException):
        await ask(network, address)


@pytest.fixture
async def channel(server: Server) -> AsyncIterator[grpc.aio.Channel]:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(str(server.address), options) as channel:
        yield channel


def unary(channel: grpc.aio.Channel) -> Any:
    return channel.unary_unary(METADATA.path, METADATA.request.SerializeToString, METADATA.response.FromString)


def streamed(channel: grpc.aio.Channel) -> Any:
    return channel.stream_stream(FETCH.path, FETCH.request.SerializeToString, FETCH.response.FromString)()


async def test_their_client_calls_our_server(channel: Any, handlers: Any) -> None:
    for size in SIZES:

        async def answer(_: Any, size: int = size) -> Any:
            return broker_pb2.MetadataResponse(cluster_id="x" * size)

        handlers.on_metadata = answer
        assert len((await unary(channel)(broker_pb2.MetadataRequest(topics=["y" * size]))).cluster_id) == size

    async def refuse(_: Any) -> Any:
        raise FencedLeaderEpoch("epoch 3 – vorbei, 100 %")

    handlers.on_metadata = refuse
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await unary(channel)(broker_pb2.MetadataRequest())
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == "epoch 3 – vorbei, 100 %"
    assert ("dohle-error-code", str(FencedLeaderEpoch.code)) in list(caught.value.trailing_metadata())


async def test_their_clients_deadline_is_kept_here(channel: Any, handlers: Any) -> None:
    left = asyncio.Event()

    async def fetch(stream: Any, context: Any) -> None:
        with pytest.raises(NetworkException):
            await stream.receive()
        left.set()

    handlers.on_fetch = fetch
    await channel.channel_ready()
    call = channel.stream_stream(FETCH.path, FETCH.request.SerializeToString, FETCH.response.FromString)(timeout=0.05)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(left.wait(), 5)


async def test_their_client_streams_with_our_server(channel: Any, handlers: Any) -> None:
    async def fetch(stream: Any, context: Any) -> None:
        while (request := await stream.receive()) is not None:
            await stream.send(answer_of(request.correlation, request.max_bytes))

    handlers.on_fetch = fetch
    call = streamed(channel)

    async def send() -> None:
        for number, size in enumerate(SIZES * 20):
            await call.write(broker_pb2.FetchRequest(correlation=number, max_bytes=size))
        await call.done_writing()

    sending = asyncio.create_task(send())
    for number, size in enumerate(SIZES * 20):
        message = await call.read()
        assert (message.correlation, len(message.partitions[0].batches)) == (number, size)
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK
    await sending


async def test_their_client_hears_of_methods_and_services_that_are_not_served(channel: Any) -> None:
    for path in ("/dohle.v1.Broker/Nothing", "/nothing.Nothing/Nothing"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(path)(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert path in caught.value.details()


async def test_their_client_that_sends_what_is_no_message_is_told_so(channel: Any, handlers: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(METADATA.path)(b"\xff\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "MetadataRequest" in caught.value.details()
    assert handlers.bugs == []


async def test_their_client_that_compresses_is_told_that_this_is_not_taken(channel: Any) -> None:
    call = channel.unary_unary(METADATA.path, METADATA.request.SerializeToString)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(broker_pb2.MetadataRequest(topics=["x" * 10_000]), compression=grpc.Compression.Gzip)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_call_of_theirs_under_way_ends_within_the_grace(channel: Any, server: Server, handlers: Any) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def answer(_: Any) -> Any:
        begun.set()
        await go_on.wait()
        return broker_pb2.MetadataResponse(cluster_id="done")

    handlers.on_metadata = answer
    call = asyncio.ensure_future(unary(channel)(broker_pb2.MetadataRequest()))
    await begun.wait()
    stop = asyncio.create_task(server.stop(5))
    await asyncio.sleep(0)
    go_on.set()
    assert (await call).cluster_id == "done"
    await asyncio.wait_for(stop, 5)
