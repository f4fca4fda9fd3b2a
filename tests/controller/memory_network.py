"""A network in memory: the Network Protocol between nodes of a process, whose connections and processes end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from dohle.model.errors import ConfigurationError, DohleError, NetworkException, RequestTimedOut
from dohle.rpc.methods import handler_name
from dohle.runtime.network import Address, Dial, Lane, Method, RequestContext, Server, Service
from dohle.runtime.tasks import Tasks

_WINDOW = 64


class Pipe:
    """One direction of a stream."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[Any] = asyncio.Queue(_WINDOW)
        self._end = asyncio.Event()
        self._failure: DohleError | None = None

    def finish(self, failure: DohleError | None) -> None:
        if not self._end.is_set():
            self._failure = failure
            self._end.set()
            if not self._messages.full():
                self._messages.put_nowait(None)

    async def put(self, message: Any) -> None:
        if self._end.is_set():
            raise self._failure or NetworkException("the stream has ended")
        await self._messages.put(message)

    async def get(self) -> Any:
        if self._end.is_set() and (self._failure is not None or self._messages.empty()):
            if self._failure is not None:
                raise self._failure
            return None
        message = await self._messages.get()
        return message if message is not None else await self.get()


class End:
    """One end of a stream."""

    def __init__(self, outgoing: Pipe, incoming: Pipe) -> None:
        self._outgoing = outgoing
        self._incoming = incoming

    async def send(self, message: Any) -> None:
        await self._outgoing.put(message)

    async def receive(self) -> Any:
        return await self._incoming.get()

    def close(self) -> None:
        broken = NetworkException("the stream was closed")
        self._outgoing.finish(broken)
        self._incoming.finish(broken)


class World:
    """All that listens, and what cannot be reached."""

    def __init__(self) -> None:
        self.servers: dict[Address, MemoryServer] = {}
        self.silent: set[str] = set()  # names of nodes that nobody can reach, and that reach nobody
        self.streams: list[tuple[str, Address, End]] = []
        self.failures: list[BaseException] = []
        self.tasks = Tasks("world", self.failures.append)

    def network(self, name: str) -> MemoryNetwork:
        return MemoryNetwork(self, name)

    def break_streams(self, name: str) -> None:
        """Resets every connection of the node, which can connect again at once."""
        addresses = [address for address, server in self.servers.items() if server.owner == name]
        for owner, address, end in self.streams:
            if owner == name or address in addresses:
                end.close()
        self.streams = [s for s in self.streams if s[0] != name and s[1] not in addresses]

    def kill(self, name: str) -> None:
        """What the others see when the process dies: its ports refuse, its connections break."""
        self.break_streams(name)
        self.servers = {address: server for address, server in self.servers.items() if server.owner != name}


class MemoryServer:
    def __init__(self, world: World, owner: str, address: Address, services: Sequence[Service]) -> None:
        self.owner = owner
        self._world = world
        self._address = address
        self.handlers = {
            method.path: getattr(service.implementation, handler_name(method))
            for service in services
            for method in service.methods
        }

    @property
    def address(self) -> Address:
        return self._address

    async def stop(self, grace_s: float) -> None:
        self._world.servers.pop(self._address, None)


class MemoryNetwork:
    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name

    def _server(self, address: Address) -> MemoryServer | None:
        server = self._world.servers.get(address)
        hidden = self._name in self._world.silent or (server is not None and server.owner in self._world.silent)
        return None if hidden else server

    async def call(
        self, address: Address, method: Method[Any, Any], request: Any, *, lane: Lane, timeout_s: float
    ) -> Any:
        server = self._server(address)
        if server is None:
            if address not in self._world.servers:
                raise NetworkException("connection refused")
            await asyncio.sleep(timeout_s)
            raise RequestTimedOut
        return await server.handlers[method.path](
            request, RequestContext("User:ANONYMOUS", "GRPC", self._name, "memory")
        )

    def stream(self, address: Address, method: Method[Any, Any], *, lane: Lane) -> Any:
        there, back = Pipe(), Pipe()
        end = End(there, back)
        server = self._server(address)
        if server is None:
            end.close()
            return end
        self._world.streams.append((self._name, address, end))
        handler = server.handlers[method.path]
        self._world.tasks.spawn(self._serve(handler, there, back), method.path)
        return end

    async def _serve(self, handler: Any, there: Pipe, back: Pipe) -> None:
        failure: DohleError | None = None
        try:
            await handler(End(back, there), RequestContext("User:ANONYMOUS", "GRPC", self._name, "memory"))
        except DohleError as error:
            failure = error
        back.finish(failure)
        there.finish(failure or NetworkException("the stream has ended"))

    async def dial(self, address: Address, *, timeout_s: float) -> Dial:
        if address not in self._world.servers:
            return Dial.REFUSED
        if self._server(address) is None:
            await asyncio.sleep(timeout_s)
            return Dial.SILENT
        return Dial.ACCEPTED

    async def serve(self, address: Address, services: Sequence[Service], *, listener: str) -> Server:
        if address in self._world.servers:
            raise ConfigurationError("the port is in use")
        server = MemoryServer(self._world, self._name, address, services)
        self._world.servers[address] = server
        return server

    async def close(self) -> None:
        self._world.break_streams(self._name)
