"""Channel: one lane to one address. It connects at first use, and anew when it is used after its connection broke.

While it cannot connect, calls fail at once instead of waiting for it: those that come before the pause after an attempt
is over hear why the last one failed.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from random import Random
from typing import Final

from dohle.rpc.client_call import ClientCall
from dohle.rpc.http2.client_connection import ClientConnection
from dohle.runtime.network import Address
from dohle.runtime.tasks import Tasks

_ATTEMPT_S: Final = 1.0
"""One address may take so long to connect: a machine that is switched off holds nobody up for longer."""
_GREETING_S: Final = 1.5
"""And so long to say that it speaks HTTP/2, which a process that has just started may do late."""
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 0.4
"""A node that is back is found again in half a second: up to a fifth is added."""
_GROWTH: Final = 1.6


class Channel:
    """To `address`. `tasks` has the attempts to connect; `scratch` is what all connections of the loop read to."""

    def __init__(self, address: Address, tasks: Tasks, scratch: memoryview, random: Random) -> None:
        self._address = address
        self._tasks = tasks
        self._scratch = scratch
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._connections: dict[ClientConnection, None] = {}  # the last one, and those that only end their calls
        self._connection: ClientConnection | None = None
        self._calls: list[ClientCall] = []  # that wait for the attempt under way
        self._connects = False
        self._pause_s = _FIRST_PAUSE_S
        self._not_before = 0.0
        self._why = ""

    def start(self, call: ClientCall) -> None:
        """Begins the call, now or when there is a connection; ends it if there can be none."""
        if self._connection is not None and self._connection.takes_calls:
            self._connection.start(call)
            return
        if not self._connects and self._loop.time() < self._not_before:
            call.ended(self._why, None)
            return
        self._calls.append(call)
        if not self._connects:
            self._connects = True
            self._tasks.spawn(self._connect(), f"connect {self._address}")

    async def _connect(self) -> None:
        why = "the network is closed here"
        try:
            self._connection = await self._connected()
            self._pause_s = _FIRST_PAUSE_S
        except OSError as error:
            why = f"failed to connect to all addresses; last error: {error.strerror or error}"
            self._not_before = self._loop.time() + self._pause_s * (1 + self._random.random() / 5)
            self._pause_s = min(self._pause_s * _GROWTH, _LONGEST_PAUSE_S)
            self._why = why
        finally:
            self._connects = False
            calls, self._calls = self._calls, []
            for call in calls:
                if self._connection is not None and self._connection.takes_calls:
                    self._connection.start(call)
                else:
                    call.ended(why, None)

    async def _connected(self) -> ClientConnection:
        """Raises OSError."""
        failure = OSError(f"{self._address.host} has no address")
        for host in await self._hosts():
            try:
                return await self._connected_to(host)
            except TimeoutError:
                failure = OSError(f"no answer from {host} in time")
            except OSError as error:
                failure = error
        raise failure

    async def _hosts(self) -> Sequence[str]:
        host = self._address.host
        try:
            ipaddress.ip_address(host)
        except ValueError:
            async with asyncio.timeout(_ATTEMPT_S):
                found = await self._loop.getaddrinfo(host, self._address.port)
            return list(dict.fromkeys(str(entry[4][0]) for entry in found))
        return [host]

    async def _connected_to(self, host: str) -> ClientConnection:
        def made() -> ClientConnection:
            connection = ClientConnection(self._scratch)
            connections.append(connection)
            return connection

        connections: list[ClientConnection] = []
        try:
            async with asyncio.timeout(_ATTEMPT_S):
                _, connection = await self._loop.create_connection(made, host, self._address.port)
            self._connections = {one: None for one in self._connections if one.is_open}
            self._connections[connection] = None
            async with asyncio.timeout(_GREETING_S):
                await connection.ready
        except BaseException:
            for connection in connections:
                connection.abort("it took too long to connect")
            raise
        return connection

    async def close(self) -> None:
        """Breaks the connection and all calls."""
        for connection in list(self._connections):
            connection.close("the network is closed there")
        for call in self._calls:
            call.ended("the network is closed here", None)
        for connection in list(self._connections):
            await connection.lost.wait()
