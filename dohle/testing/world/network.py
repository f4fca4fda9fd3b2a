"""SimNetwork: the Network of a simulated process.

A lane to an address is one connection, made at first use. A dead process's machine refuses, and one that is told to; a
machine that is off or cut off is silent. Services are driven as the gRPC server drives them: a handler goes on when its
caller has left; a stream's that neither sends nor receives is cancelled after some seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from dohle.model.errors import (
    ConfigurationError,
    DohleError,
    NetworkException,
    RequestTimedOut,
    UnknownServerError,
    UnsupportedVersion,
)
from dohle.rpc.methods import handler_name
from dohle.runtime.network import Address, Dial, Lane, Method, RequestContext, Server, Service, Stream
from dohle.runtime.tasks import OnFailure, Tasks
from dohle.testing.world.connection import Connection, Party
from dohle.testing.world.links import Links
from dohle.testing.world.rpc_ends import RpcEnd, joined
from dohle.testing.world.scheduler import Scheduler
from dohle.testing.world.seams import SimClock

_CONNECT_S = 1.0
"""How long an attempt to connect may take."""
_KNOCK_AGAIN_S = 0.2
"""After which, and then twice as long, the kernel tries again to connect."""
_LINGER_S = 5.0
_PRINCIPAL = "User:ANONYMOUS"


class Fabric:
    """All that listens, and all connections of one world."""

    def __init__(self, scheduler: Scheduler, links: Links) -> None:
        self.scheduler = scheduler
        self.links = links
        self.servers: dict[Address, SimServer] = {}
        self.connections: list[Connection] = []
        links.on_change.append(self.world_changed)

    def world_changed(self) -> None:
        self.connections = [connection for connection in self.connections if not connection.over]
        for connection in self.connections:
            connection.world_changed()

    def died(self, party: Party) -> None:
        """The process is gone: its ports are free, and whoever still sends to it is told, if its machine can."""
        self.servers = {address: server for address, server in self.servers.items() if server.party is not party}
        self.world_changed()

    def of(self, party: Party) -> list[Connection]:
        return [one for one in self.connections if any(side.party is party for side in one.sides)]


class SimServer:
    """One listening port."""

    def __init__(
        self,
        fabric: Fabric,
        party: Party,
        address: Address,
        services: Sequence[Service],
        listener: str,
        on_failure: OnFailure,
    ) -> None:
        self.party = party
        self._fabric = fabric
        self._address = address
        self._listener = listener
        self._tasks = Tasks(f"server {listener}", on_failure)
        self._running: dict[int, RpcEnd] = {}
        self._idle = asyncio.Event()
        self._handlers: dict[str, Callable[..., Awaitable[Any]]] = {
            method.path: getattr(service.implementation, handler_name(method))
            for service in services
            for method in service.methods
        }

    @property
    def address(self) -> Address:
        return self._address

    async def stop(self, grace_s: float) -> None:
        if self._fabric.servers.get(self._address) is self:
            del self._fabric.servers[self._address]
        if self._running:
            self._idle.clear()
            try:
                async with asyncio.timeout(grace_s):
                    await self._idle.wait()
            except TimeoutError:
                for end in list(self._running.values()):
                    end.finish(NetworkException("the server stops"))
        await self._tasks.close()

    def accept(self, method: Method[Any, Any], end: RpcEnd, number: int, client: str) -> None:
        """Serves one rpc; runs in this server's process."""
        handle = self._handlers.get(method.path)
        if handle is None:
            end.finish(UnsupportedVersion(f"{self._address} does not serve {method.path}"))
            return
        if self._fabric.servers.get(self._address) is not self:
            end.finish(NetworkException("the server stops"))
            return
        context = RequestContext(_PRINCIPAL, self._listener, client, "simulated")
        self._running[number] = end
        task = self._tasks.spawn(self._serve(handle, method, end, number, context), method.path)
        if method.streamed:

            def linger() -> None:
                self.party.loop.call_later(_LINGER_S, task.cancel)

            end.on_cancelled = linger

    async def _serve(
        self,
        handle: Callable[..., Awaitable[Any]],
        method: Method[Any, Any],
        end: RpcEnd,
        number: int,
        context: RequestContext,
    ) -> None:
        failure: DohleError | None = UnknownServerError("the server failed at this request; its log says why")
        try:
            if method.streamed:
                await handle(end, context)
            else:
                answer = await handle(await end.receive(), context)
                if not end.finished:
                    end.transmit(answer.SerializeToString())
            failure = None
        except DohleError as error:
            failure = error
        finally:
            self._running.pop(number, None)
            if not self._running:
                self._idle.set()
            end.finish(failure)


class SimNetwork:
    """One process's network. `on_failure` hears of a handler's bug."""

    def __init__(self, fabric: Fabric, party: Party, clock: SimClock, on_failure: OnFailure) -> None:
        self._fabric = fabric
        self._party = party
        self._clock = clock
        self._on_failure = on_failure
        self._lanes: dict[tuple[Address, Lane], Connection] = {}
        self._connecting: dict[tuple[Address, Lane], list[asyncio.Future[Connection]]] = {}  # who waits for it
        self._tasks = Tasks("network", on_failure)
        self._closed = False

    async def call(
        self, address: Address, method: Method[Any, Any], request: Any, *, lane: Lane, timeout_s: float
    ) -> Any:
        try:
            async with asyncio.timeout(timeout_s):
                end = self._open(await self._connection(address, lane), address, method)
                try:
                    await end.send(request)
                    answer = await end.receive()
                finally:
                    end.close()
        except TimeoutError:
            raise RequestTimedOut(f"{address} did not answer in time; the request may have taken effect") from None
        if answer is None:
            raise NetworkException(f"{address} has ended the call without an answer")
        return answer

    def stream(self, address: Address, method: Method[Any, Any], *, lane: Lane) -> Stream[Any, Any]:
        if self._closed:
            raise NetworkException("the network is closed here")
        connection = self._usable(address, lane)
        if connection is not None:
            return self._open(connection, address, method)
        return _LaterStream(
            self._tasks, lambda: self._connection(address, lane), lambda c: self._open(c, address, method)
        )

    async def dial(self, address: Address, *, timeout_s: float) -> Dial:
        try:
            return Dial.ACCEPTED if await self._reach(address, timeout_s) is not None else Dial.REFUSED
        except TimeoutError:
            return Dial.SILENT

    async def serve(self, address: Address, services: Sequence[Service], *, listener: str) -> Server:
        if address in self._fabric.servers:
            raise ConfigurationError(f"cannot listen on {address}: the port is in use")
        server = SimServer(self._fabric, self._party, address, services, listener, self._on_failure)
        self._fabric.servers[address] = server
        return server

    async def close(self) -> None:
        self._closed = True
        for connection in self._lanes.values():
            connection.break_off(0)
        self._lanes.clear()
        await self._tasks.close()

    # connections

    def _usable(self, address: Address, lane: Lane) -> Connection | None:
        connection = self._lanes.get((address, lane))
        return None if connection is None or connection.sides[0].broken else connection

    async def _connection(self, address: Address, lane: Lane) -> Connection:
        """Returns the lane's connection, made anew if need be. Raises NetworkException."""
        if self._closed:
            raise NetworkException("the network is closed here")
        connection = self._usable(address, lane)
        if connection is not None:
            return connection
        waiting: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        if (address, lane) in self._connecting:
            self._connecting[address, lane].append(waiting)
        else:
            self._connecting[address, lane] = [waiting]
            self._tasks.spawn(self._connect(address, lane), f"connect {address}")
        return await waiting

    async def _connect(self, address: Address, lane: Lane) -> None:
        found: Connection | NetworkException = NetworkException("the network is closed here")
        try:
            server = await self._reach(address, _CONNECT_S)
            if server is None:
                raise NetworkException(f"{address} refused the connection")
            found = Connection(self._fabric.scheduler, self._fabric.links, self._party, server.party)
            self._fabric.connections.append(found)
            found.world_changed()
            self._lanes[address, lane] = found
        except TimeoutError:
            found = NetworkException(f"{address} cannot be reached")
        except NetworkException as refused:
            found = refused
        finally:
            for waiting in self._connecting.pop((address, lane)):
                if waiting.done():
                    continue  # whoever asked has gone
                if isinstance(found, Connection):
                    waiting.set_result(found)
                else:
                    waiting.set_exception(found)

    async def _reach(self, address: Address, timeout_s: float) -> SimServer | None:
        """Who listens there, or None if that is refused. Raises TimeoutError if there is no way there and back."""
        links, here, there = self._fabric.links, self._party.machine, address.host
        left_s, pause_s = timeout_s, _KNOCK_AGAIN_S
        while True:
            answer_s = min(links.delay_s(here, there) + links.delay_s(there, here), left_s)
            await self._clock.sleep(answer_s)
            left_s -= answer_s
            if left_s > 0 and links.both_ways(here, there):
                return None if links.refuses(here, there) else self._fabric.servers.get(address)
            pause_s = min(pause_s, left_s)
            await self._clock.sleep(pause_s)
            left_s -= pause_s
            if left_s <= 0:
                raise TimeoutError
            pause_s *= 2

    def _open(self, connection: Connection, address: Address, method: Method[Any, Any]) -> RpcEnd:
        scheduler = self._fabric.scheduler
        number = scheduler.serial()
        caller, server_end = joined(connection, number, method.request, method.response, scheduler.trace)
        client = self._party.name

        def accept() -> None:
            if server_end.finished:
                return  # its caller has left already
            server = self._fabric.servers.get(address)
            if server is None or server.party is not connection.sides[1].party:
                server_end.finish(NetworkException("the server stops"))
            else:
                server.accept(method, server_end, number, client)

        loop = connection.sides[1].party.loop
        connection.transmit(1, lambda: loop.call_soon(accept))
        return caller


class _LaterStream:
    """A stream whose connection is being made: what cannot be reached shows at the first `receive` or `send`."""

    def __init__(
        self,
        tasks: Tasks,
        connect: Callable[[], Awaitable[Connection]],
        open_end: Callable[[Connection], RpcEnd],
    ) -> None:
        self._end: RpcEnd | None = None
        self._failure: DohleError | None = None
        self._closed = False
        self._settled = asyncio.Event()
        tasks.spawn(self._make(connect, open_end), "stream")

    async def _make(
        self, connect: Callable[[], Awaitable[Connection]], open_end: Callable[[Connection], RpcEnd]
    ) -> None:
        try:
            connection = await connect()
            if not self._closed:
                self._end = open_end(connection)
        except NetworkException as failure:
            self._failure = failure
        finally:
            self._settled.set()

    async def _ready(self) -> RpcEnd:
        await self._settled.wait()
        if self._end is None:
            raise self._failure or NetworkException("the stream was closed")
        return self._end

    async def send(self, message: Any) -> None:
        await (await self._ready()).send(message)

    async def receive(self) -> Any | None:
        return await (await self._ready()).receive()

    def close(self) -> None:
        self._closed = True
        self._settled.set()
        if self._end is not None:
            self._end.close()
