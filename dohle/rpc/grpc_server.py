"""GrpcServer: serves services, and beside them gRPC's health and reflection.

An exception that no handler should let through goes to `on_failure`; its caller gets UnknownServerError.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Sequence
from typing import Final

from dohle.model.errors import ConfigurationError
from dohle.rpc.health import HEALTH, REFLECTION, HealthService, ReflectionService
from dohle.rpc.methods import handler_name
from dohle.rpc.server_call import Served
from dohle.rpc.server_connection import ServerConnection
from dohle.runtime.network import Address, Service
from dohle.runtime.tasks import OnFailure, Tasks

log = logging.getLogger(__name__)

_BACKLOG: Final = 1024
_EVERYWHERE: Final = ("", "::", "0.0.0.0")  # noqa: S104 - what they mean
_NOT_HERE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""Of an address of a name that this machine has not, as ::1 of localhost where there is no IPv6."""


class GrpcServer:
    """One listening port."""

    def __init__(
        self,
        services: Sequence[Service],
        listener: str,
        most_message_bytes: int,
        scratch: memoryview,
        on_failure: OnFailure,
    ) -> None:
        self.listener = listener
        self.most_message_bytes = most_message_bytes
        self.tasks = Tasks(f"server {listener}", on_failure)
        names = [service.name for service in services]
        self._health = HealthService(names)
        reflection = ReflectionService([*names, HEALTH, REFLECTION])
        self.served = {
            method.path: Served(method, getattr(service.implementation, handler_name(method)))
            for service in (*services, self._health.service(), reflection.service())
            for method in service.methods
        }
        self._scratch = scratch
        self._servers: list[asyncio.Server] = []
        self._connections: dict[ServerConnection, None] = {}
        self._none_left = asyncio.Event()
        self._address: Address | None = None

    @property
    def address(self) -> Address:
        assert self._address is not None, "the server was not started"
        return self._address

    async def start(self, address: Address) -> None:
        """Listens. Raises ConfigurationError if the port cannot be had; port 0 picks a free one."""
        port = address.port
        failure: OSError | None = None
        try:
            for host in await _hosts(address):
                try:
                    port = await self._listen(host, port)
                except OSError as error:
                    if error.errno not in _NOT_HERE:
                        raise
                    failure = error
            if not self._servers:
                raise failure or OSError(f"{address.host} has no address")
        except OSError as error:
            await self._close_ports()
            raise ConfigurationError(
                f"cannot listen on {address}: {error.strerror or error}; stop the process that uses the port, or give "
                "this node another one (grpc_port, host)"
            ) from error
        self._address = Address(address.host, port)

    async def _listen(self, host: str, port: int) -> int:
        """Returns the port."""
        server = await asyncio.get_running_loop().create_server(
            lambda: ServerConnection(self, self._scratch), host, port, reuse_port=False, backlog=_BACKLOG
        )
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _close_ports(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def stop(self, grace_s: float) -> None:
        self._health.stop()
        await self._close_ports()
        for connection in list(self._connections):
            connection.go()
        try:
            async with asyncio.timeout(grace_s):
                while self._connections:
                    self._none_left.clear()
                    await self._none_left.wait()
        except TimeoutError:
            for connection in list(self._connections):
                connection.close("the server has stopped")
        await self.tasks.close()

    # for connections

    def came(self, connection: ServerConnection) -> bool:
        if not self._servers:
            return False  # it came while the port was being closed
        self._connections[connection] = None
        return True

    def went(self, connection: ServerConnection, why: str) -> None:
        log.debug("connection of %s: %s", connection.peer, why)
        self._connections.pop(connection, None)
        if not self._connections:
            self._none_left.set()


async def _hosts(address: Address) -> Sequence[str]:
    """Returns the addresses to listen on; raises OSError if the host has none."""
    if address.host in _EVERYWHERE:
        return ("0.0.0.0", "::")  # noqa: S104 - what was asked for
    found = await asyncio.get_running_loop().getaddrinfo(address.host, address.port)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
