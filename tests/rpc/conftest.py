"""A server with handlers that each test sets, and networks that are closed at its end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from dohle.rpc.grpc_network import GrpcNetwork
from dohle.rpc.methods import methods_of, service
from dohle.rpc.v1 import broker_pb2
from dohle.runtime.network import Address, RequestContext, Server, Stream

BROKER = broker_pb2.DESCRIPTOR.services_by_name["Broker"]
METHODS = methods_of(BROKER)

FetchStream = Stream[broker_pb2.FetchResponse, broker_pb2.FetchRequest]


class ScriptedBroker:
    """A Broker whose `metadata` (unary) and `fetch` (streamed) are what the test says."""

    def __init__(self) -> None:
        self.on_metadata: Callable[[RequestContext], Awaitable[broker_pb2.MetadataResponse]] = _empty
        self.on_fetch: Callable[[FetchStream, RequestContext], Awaitable[None]] = _echo
        self.bugs: list[BaseException] = []

    async def metadata(self, request: Any, context: RequestContext) -> broker_pb2.MetadataResponse:
        return await self.on_metadata(context)

    async def fetch(self, stream: FetchStream, context: RequestContext) -> None:
        await self.on_fetch(stream, context)

    async def produce(self, stream: Any, context: RequestContext) -> None:
        raise AssertionError

    async def list_offsets(self, request: Any, context: RequestContext) -> Any:
        raise AssertionError

    async def delete_records(self, request: Any, context: RequestContext) -> Any:
        raise AssertionError

    async def init_producer_id(self, request: Any, context: RequestContext) -> Any:
        raise AssertionError

    async def describe_positions(self, request: Any, context: RequestContext) -> Any:
        raise AssertionError


async def _empty(context: RequestContext) -> broker_pb2.MetadataResponse:
    return broker_pb2.MetadataResponse()


async def _echo(stream: FetchStream, context: RequestContext) -> None:
    while (request := await stream.receive()) is not None:
        await stream.send(broker_pb2.FetchResponse(correlation=request.correlation))


@pytest.fixture
def handlers() -> ScriptedBroker:
    return ScriptedBroker()


@pytest.fixture
async def network(handlers: ScriptedBroker) -> AsyncIterator[GrpcNetwork]:
    network = GrpcNetwork(client_id="a test", on_failure=handlers.bugs.append)
    yield network
    await network.close()


@pytest.fixture
async def server(network: GrpcNetwork, handlers: ScriptedBroker) -> AsyncIterator[Server]:
    server = await network.serve(Address("127.0.0.1", 0), [service(BROKER, handlers)], listener="GRPC")
    yield server
    await server.stop(0)


class Peer:
    """Another process: tests/rpc/peer.py."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.send_signal = process.send_signal

    async def line(self) -> str:
        assert self._process.stdout is not None
        async with asyncio.timeout(20):
            return (await self._process.stdout.readline()).decode().strip()

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()


StartPeer = Callable[..., Awaitable[Peer]]


@pytest.fixture
async def start_peer() -> AsyncIterator[StartPeer]:
    peers: list[Peer] = []

    async def start(role: str, port: int = 0) -> Peer:
        script = Path(__file__).with_name("peer.py")
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), role, str(port), stdout=asyncio.subprocess.PIPE
        )
        peers.append(Peer(process))
        return peers[-1]

    yield start
    for peer in peers:
        await peer.kill()
