"""Streamed rpcs: order, ends, cancelled receivers, back-pressure."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import pytest

from dohle.model.errors import FencedLeaderEpoch, MessageTooLarge, NetworkException, UnknownServerError
from dohle.rpc import server_call
from dohle.rpc.grpc_network import GrpcNetwork
from dohle.rpc.methods import methods_of
from dohle.rpc.options import DEFAULT_MAX_MESSAGE_BYTES, LARGEST_ANSWER_BYTES
from dohle.rpc.v1 import broker_pb2
from dohle.runtime.network import Lane, Server

FETCH = methods_of(broker_pb2.DESCRIPTOR.services_by_name["Broker"])["Fetch"]


def request(correlation: int) -> broker_pb2.FetchRequest:
    return broker_pb2.FetchRequest(correlation=correlation)


def response(correlation: int, payload: bytes = b"") -> broker_pb2.FetchResponse:
    answer = broker_pb2.FetchResponse(correlation=correlation)
    if payload:
        answer.partitions.add().batches = payload
    return answer


def open_fetch(network: GrpcNetwork, server: Server) -> Any:
    return network.stream(server.address, FETCH, lane=Lane.CLIENT)


async def test_messages_arrive_in_order_both_ways(network: GrpcNetwork, server: Server) -> None:
    stream = open_fetch(network, server)

    async def send() -> None:
        for number in range(200):
            await stream.send(request(number))

    sending = asyncio.create_task(send())
    assert [(await stream.receive()).correlation for _ in range(200)] == list(range(200))
    await sending
    stream.close()


async def test_several_tasks_may_send_on_one_stream(network: GrpcNetwork, server: Server, handlers: Any) -> None:
    async def fetch(stream: Any, context: Any) -> None:
        got = [(await stream.receive()).correlation for _ in range(60)]
        await asyncio.gather(*(stream.send(response(number)) for number in got))

    handlers.on_fetch = fetch
    stream = open_fetch(network, server)
    await asyncio.gather(*(stream.send(request(number)) for number in range(60)))
    assert sorted([(await stream.receive()).correlation for _ in range(60)]) == list(range(60))
    assert await stream.receive() is None


async def test_a_sender_notices_that_the_far_side_ended_the_stream(
    network: GrpcNetwork, server: Server, handlers: Any
) -> None:
    async def fetch(stream: Any, context: Any) -> None:
        raise FencedLeaderEpoch("epoch 3 is over")

    handlers.on_fetch = fetch
    stream = open_fetch(network, server)

    async def send_on() -> None:
        while True:
            await stream.send(request(1))

    async with asyncio.timeout(5):
        with pytest.raises((FencedLeaderEpoch, NetworkException)):
            await send_on()


async def test_the_stream_ends_when_the_handler_returns(network: GrpcNetwork, server: Server, handlers: Any) -> None:
    async def fetch(stream: Any, context: Any) -> None:
        await stream.send(response(1))
        await stream.send(response(2))

    handlers.on_fetch = fetch
    stream = open_fetch(network, server)
    assert [(await stream.receive()).correlation for _ in range(2)] == [1, 2]
    assert await stream.receive() is None
    assert await stream.receive() is None
    with pytest.raises(NetworkException):
        await stream.send(request(1))


async def test_an_error_arrives_after_what_was_sent_before_it(
    network: GrpcNetwork, server: Server, handlers: Any
) -> None:
    async def fetch(stream: Any, context: Any) -> None:
        await stream.send(response(1))
        raise FencedLeaderEpoch("epoch 3 is over")

    handlers.on_fetch = fetch
    stream = open_fetch(network, server)
    assert (await stream.receive()).correlation == 1
    for attempt in (stream.receive, stream.receive, lambda: stream.send(request(1))):
        with pytest.raises(FencedLeaderEpoch, match="epoch 3 is over"):
            await attempt()


async def test_a_bug_in_a_handler_ends_its_stream_alone(network: GrpcNetwork, server: Server, handlers: Any) -> None:
    other = open_fetch(network, server)
    await other.send(request(1))
    await other.receive()

    async def fetch(stream: Any, context: Any) -> None:
        raise ZeroDivisionError

    handlers.on_fetch = fetch
    with pytest.raises(UnknownServerError):
        await open_fetch(network, server).receive()
    assert [type(bug) for bug in handlers.bugs] == [ZeroDivisionError]
    await other.send(request(2))
    assert (await other.receive()).correlation == 2
    other.close()


async def test_a_cancelled_receive_loses_no_message(network: GrpcNetwork, server: Server, handlers: Any) -> None:
    served: list[int] = []

    async def fetch(stream: Any, context: Any) -> None:
        while True:
            try:
                async with asyncio.timeout(0.001):
                    message = await stream.receive()
            except TimeoutError:
                continue
            served.append(message.correlation)
            await stream.send(response(message.correlation))

    handlers.on_fetch = fetch
    stream = open_fetch(network, server)
    got: list[int] = []
    for number in range(50):
        await stream.send(request(number))
        while len(got) <= number:
            try:
                async with asyncio.timeout(0.0005):
                    got.append((await stream.receive()).correlation)
            except TimeoutError:
                continue
    assert got == served == list(range(50))
    stream.close()


async def test_a_closed_stream_breaks_on_both_sides(network: GrpcNetwork, server: Server, handlers: Any) -> None:
    ends: asyncio.Queue[BaseException | None] = asyncio.Queue()

    async def fetch(stream: Any, context: Any) -> None:
        try:
            while await stream.receive() is not None:
                await stream.send(response(1))
            await ends.put(None)
        except NetworkException as failure:
            await ends.put(failure)
            with pytest.raises(NetworkException):
                await stream.send(response(2))
            await ends.put(failure)

    handlers.on_fetch = fetch
    stream = open_fetch(network, server)
    await stream.send(request(1))
    await stream.receive()
    waiting = asyncio.create_task(stream.receive())
    await asyncio.sleep(0)
    stream.close()
    stream.close()
    for attempt in (lambda: waiting, stream.receive, lambda: stream.send(request(2))):
        with pytest.raises(NetworkException):
            await attempt()
    async with asyncio.timeout(5):
        assert isinstance(await ends.get(), NetworkException)
        assert isinstance(await ends.get(), NetworkException)
    assert handlers.bugs == []


async def test_a_stream_closed_with_a_message_unread_leaves_no_task(
    network: GrpcNetwork, server: Server, handlers: Any
) -> None:
    async def fetch(stream: Any, context: Any) -> None:
        for number in range(5):
            await stream.send(response(number))
        await stream.receive()

    handlers.on_fetch = fetch
    stream = open_fetch(network, server)
    await stream.receive()
    stream.close()
    async with asyncio.timeout(5):
        while len(network._tasks):
            await asyncio.sleep(0.001)
    with pytest.raises(NetworkException):
        await stream.receive()


async def test_a_caller_that_says_that_it_is_done_is_no_broken_caller(
    network: GrpcNetwork, server: Server, handlers: Any
) -> None:
    async def fetch(stream: Any, context: Any) -> None:
        assert (await stream.receive()).correlation == 1
        assert await stream.receive() is None
        await stream.send(response(9))

    handlers.on_fetch = fetch
    async with grpc.aio.insecure_channel(str(server.address)) as channel:
        call = channel.stream_stream(
            FETCH.path, FETCH.request.SerializeToString, response_deserializer=FETCH.response.FromString
        )()
        await call.write(request(1))
        await call.done_writing()
        assert (await call.read()).correlation == 9
        assert await call.read() is grpc.aio.EOF


async def test_a_handler_that_does_not_notice_that_its_caller_left_is_cancelled(
    network: GrpcNetwork, server: Server, handlers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_call, "LINGER_S", 0.05)
    ended = asyncio.Event()

    async def fetch(stream: Any, context: Any) -> None:
        await stream.send(response(1))
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    handlers.on_fetch = fetch
    stream = open_fetch(network, server)
    await stream.receive()
    stream.close()
    await asyncio.wait_for(ended.wait(), 5)
    assert handlers.bugs == []


async def test_stopping_the_server_breaks_streams_after_the_grace(network: GrpcNetwork, server: Server) -> None:
    stream = open_fetch(network, server)
    await stream.send(request(1))
    await stream.receive()
    waiting = asyncio.create_task(stream.receive())
    async with asyncio.timeout(5):
        await server.stop(0.05)
        with pytest.raises(NetworkException):
            await waiting


async def test_closing_the_network_breaks_streams(server: Server) -> None:
    network = GrpcNetwork(client_id="mine")
    stream = open_fetch(network, server)
    await stream.send(request(1))
    await stream.receive()
    waiting = asyncio.create_task(stream.receive())
    await asyncio.sleep(0)
    await network.close()
    for attempt in (lambda: waiting, stream.receive, lambda: stream.send(request(2))):
        with pytest.raises(NetworkException):
            await attempt()


async def test_a_stream_to_nobody_fails_at_send_and_receive(network: GrpcNetwork, server: Server) -> None:
    await server.stop(0)
    stream = open_fetch(network, server)
    async with asyncio.timeout(3):
        with pytest.raises(NetworkException):
            await stream.receive()
        with pytest.raises(NetworkException):
            await open_fetch(network, server).send(request(1))


async def test_a_receiver_that_does_not_receive_stops_the_sender(
    network: GrpcNetwork, server: Server, handlers: Any
) -> None:
    sent = 0

    async def fetch(stream: Any, context: Any) -> None:
        nonlocal sent
        while True:
            await stream.send(response(1, bytes(1 << 20)))
            sent += 1

    handlers.on_fetch = fetch
    stream = open_fetch(network, server)
    await stream.receive()
    before = -1
    while before != sent:  # until nothing moves for a while
        before = sent
        await asyncio.sleep(0.2)
    assert sent < 64  # MiB: what fits into the windows of both ends, which gRPC widens as it measures the way
    stream.close()


async def test_the_largest_answer_with_a_largest_batch_on_top_passes_and_a_larger_one_is_named(
    network: GrpcNetwork, server: Server, handlers: Any
) -> None:
    sizes = [LARGEST_ANSWER_BYTES + DEFAULT_MAX_MESSAGE_BYTES, LARGEST_ANSWER_BYTES + DEFAULT_MAX_MESSAGE_BYTES * 2]

    async def fetch(stream: Any, context: Any) -> None:
        for size in sizes:
            await stream.send(response(1, bytes(size)))

    handlers.on_fetch = fetch
    stream = open_fetch(network, server)
    assert (await stream.receive()).ByteSize() > sizes[0]
    with pytest.raises(MessageTooLarge):
        await stream.receive()
