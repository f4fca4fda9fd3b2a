"""Peers that are killed, stopped, restarted, or silent, as other processes see them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import Any

import pytest

from dohle.model.errors import NetworkException
from dohle.model.ids import IncarnationId
from dohle.rpc.grpc_network import GrpcNetwork
from dohle.rpc.methods import methods_of
from dohle.rpc.probe import Verdict, probe
from dohle.rpc.v1 import broker_pb2
from dohle.runtime.clock import LoopClock
from dohle.runtime.network import Address, Dial, Lane, Server

BROKER = methods_of(broker_pb2.DESCRIPTOR.services_by_name["Broker"])
FETCH, METADATA = BROKER["Fetch"], BROKER["Metadata"]
PEER = IncarnationId(b"peer" * 4)

pytestmark = pytest.mark.processes


async def serving(start_peer: Any, port: int = 0) -> tuple[Any, Address]:
    peer = await start_peer("serve", port)
    return peer, Address("127.0.0.1", int(await peer.line()))


async def fetching(network: GrpcNetwork, address: Address) -> Any:
    stream = network.stream(address, FETCH, lane=Lane.CLIENT)
    await stream.send(broker_pb2.FetchRequest(correlation=1))
    await stream.receive()
    return stream


async def test_a_killed_server_is_noticed_by_its_sockets_and_found_again_when_it_is_back(
    network: GrpcNetwork, start_peer: Any
) -> None:
    peer, address = await serving(start_peer)
    stream = await fetching(network, address)
    waiting = asyncio.create_task(stream.receive())
    await peer.kill()
    with pytest.raises(NetworkException, match=r"Socket closed|Connection reset"):  # and not by its silence
        await waiting
    assert await network.dial(address, timeout_s=1) is Dial.REFUSED
    assert await network.dial(Address("localhost", address.port), timeout_s=1) is Dial.REFUSED
    assert await probe(network, LoopClock(), address, PEER) is Verdict.GONE

    await serving(start_peer, address.port)
    async with asyncio.timeout(10):
        while True:
            try:
                await network.call(address, METADATA, broker_pb2.MetadataRequest(), lane=Lane.CLIENT, timeout_s=1)
                break
            except NetworkException:
                await asyncio.sleep(0.01)
    (await fetching(network, address)).close()


async def test_a_killed_caller_is_noticed(network: GrpcNetwork, server: Server, handlers: Any, start_peer: Any) -> None:
    left = asyncio.Event()

    async def fetch(stream: Any, context: Any) -> None:
        try:
            while await stream.receive() is not None:
                await stream.send(broker_pb2.FetchResponse())
        except NetworkException:
            left.set()

    handlers.on_fetch = fetch
    peer = await start_peer("follow", server.address.port)
    assert await peer.line() == "following"
    await peer.kill()
    async with asyncio.timeout(10):
        await left.wait()


async def test_a_stop_of_half_a_second_breaks_nothing_and_longer_silence_ends_a_stream(
    network: GrpcNetwork, start_peer: Any
) -> None:
    peer, address = await serving(start_peer)
    stream = await fetching(network, address)
    await asyncio.sleep(1.2)  # so that pings pass, which a server that counts them would answer with a disconnect
    peer.send_signal(signal.SIGSTOP)
    await asyncio.sleep(0.5)
    peer.send_signal(signal.SIGCONT)
    await stream.send(broker_pb2.FetchRequest(correlation=2))
    assert (await stream.receive()).correlation == 2

    peer.send_signal(signal.SIGSTOP)
    async with asyncio.timeout(30):
        with pytest.raises(NetworkException, match="ping timeout"):
            await stream.receive()
    peer.send_signal(signal.SIGCONT)


async def test_a_probe_tells_the_same_process_from_another_and_from_a_silent_one(
    network: GrpcNetwork, start_peer: Any
) -> None:
    peer, address = await serving(start_peer)
    assert await probe(network, LoopClock(), address, PEER) is Verdict.ALIVE
    assert await probe(network, LoopClock(), address, IncarnationId(b"else" * 4)) is Verdict.REPLACED
    peer.send_signal(signal.SIGSTOP)
    assert await probe(network, LoopClock(), address, PEER) is Verdict.SILENT


async def test_a_probe_of_something_that_is_no_node_proves_nothing(network: GrpcNetwork, server: Server) -> None:
    assert await probe(network, LoopClock(), server.address, PEER) is Verdict.SILENT


async def test_dialling_a_port_that_accepts_nobody_is_silence(network: GrpcNetwork) -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        address = Address("127.0.0.1", full.getsockname()[1])
        assert await network.dial(address, timeout_s=0.2) is Dial.SILENT


async def test_every_lane_is_a_connection_of_its_own(network: GrpcNetwork, server: Server, handlers: Any) -> None:
    callers: list[str] = []

    async def metadata(context: Any) -> broker_pb2.MetadataResponse:
        callers.append(context.address)
        return broker_pb2.MetadataResponse()

    handlers.on_metadata = metadata
    for lane in (*Lane, *Lane):
        await network.call(server.address, METADATA, broker_pb2.MetadataRequest(), lane=lane, timeout_s=5)
    assert len(set(callers)) == len(Lane)
    assert callers[: len(Lane)] == callers[len(Lane) :]


async def test_a_proxy_in_the_environment_is_not_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "http_proxy", "http://127.0.0.1:1")
    network = GrpcNetwork(client_id="direct")
    named = Address("localhost", server.address.port)
    await network.call(named, METADATA, broker_pb2.MetadataRequest(), lane=Lane.CLIENT, timeout_s=5)
    await network.close()
