"""KafkaListener: the ports that speak Kafka's protocol, and the connections that they have.

Keeps: at most so many connections, in all and from one address; a budget for the bytes of requests, and one for
answers that clients have not taken; connections that are silent for too long are closed. All of that counts over all
ports. A port is taken before the node registers, so that one in use is said in time, and listens only once there is a
broker to answer.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from dohle.broker.broker import Broker
from dohle.listeners.byte_budget import ByteBudget
from dohle.listeners.kafka.addresses import SOLE_LISTENER
from dohle.listeners.kafka.apis import Apis, ServedApi
from dohle.listeners.kafka.clients import Clients
from dohle.listeners.kafka.connection import KafkaConnection
from dohle.listeners.kafka.frames import SCRATCH_BYTES
from dohle.listeners.kafka.served import ServedSettings, served_apis
from dohle.model.errors import ConfigurationError
from dohle.runtime.clock import Clock
from dohle.runtime.network import Address
from dohle.runtime.tasks import OnFailure, Tasks

log = logging.getLogger(__name__)

_ANSWER_BYTES: Final = 256 << 20
_BACKLOG: Final = 1024
_LOOK_S: Final = 1.0
_COMPLAINT_S: Final = 1.0
_STOP_S: Final = 0.2
_STOP_STEPS: Final = 20
_ALL_HOSTS: Final = {"": ("::", "0.0.0.0"), "::": ("::", "0.0.0.0")}  # noqa: S104 - what these two mean
"""A socket on :: is of IPv6 alone here, so that no client's address is an IPv4 one in disguise."""
_TCP: Final = 6
_NOT_HERE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""Of an address of a name that this machine has not, as ::1 of localhost where there is no IPv6."""


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """What an operator sets."""

    max_connections: int = 10_000
    max_connections_per_ip: int = 0  # no bound but the one above
    connections_max_idle_ms: int = 600_000
    socket_request_max_bytes: int = 100 << 20
    queued_max_request_bytes: int = 256 << 20
    served: ServedSettings = field(default_factory=ServedSettings)


class KafkaListener:
    """`on_failure` is told of bugs of its own, after which the node cannot go on."""

    def __init__(self, settings: KafkaSettings, clock: Clock, on_failure: OnFailure) -> None:
        self.requests = ByteBudget(settings.queued_max_request_bytes)
        self.answers = ByteBudget(_ANSWER_BYTES)
        self.apis: Apis = {}
        self.clients = Clients(settings.served.fetch_session_slots, clock.now, Random())  # noqa: S311 - no secrets
        self.asked: Counter[str] = Counter()  # requests by the name of their API
        self.connections: dict[KafkaConnection, None] = {}
        self.turned_away = 0  # connections over a limit, and those closed for what came
        self._settings = settings
        self._clock = clock
        self._tasks = Tasks("kafka listener", on_failure)
        self._from: Counter[str] = Counter()  # connections by address
        self._servers: list[asyncio.Server] = []
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))
        self._complained_at = float("-inf")
        self._unsaid = 0

    async def bind(self, address: Address, listener: str = SOLE_LISTENER) -> list[Address]:
        """Takes a port of that name, without listening yet; returns where.

        A name may stand for several addresses, of which this machine must have one. Raises ConfigurationError if it has
        none, or the port is in use.
        """
        bound: list[Address] = []
        failure: OSError | None = None
        for host in await _hosts(address):
            try:
                server = await self._server_on(host, address.port, listener)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise _refused(address, listener, error) from error
                failure = error
            else:
                self._servers.append(server)
                bound += [Address(*socket.getsockname()[:2]) for socket in server.sockets]
        if not bound:
            assert failure is not None, "a name stands for some address"
            raise _refused(address, listener, failure) from failure
        return bound

    async def _server_on(self, host: str, port: int, listener: str) -> asyncio.Server:
        def connection() -> KafkaConnection:
            return KafkaConnection(self, self._scratch, self._settings.socket_request_max_bytes, listener)

        loop = asyncio.get_running_loop()
        return await loop.create_server(connection, host, port, reuse_port=False, backlog=_BACKLOG, start_serving=False)

    async def open(self, broker: Broker) -> None:
        """Begins to answer out of `broker`."""
        await self.serve(served_apis(broker, self.answers, self.clients, self._settings.served))

    async def serve(self, apis: Apis) -> None:
        """Begins to answer what is in `apis`."""
        assert self._servers, "bound first"
        self.apis = apis
        for server in self._servers:
            await server.start_serving()
        self._tasks.spawn(self._look_at_the_time(), "time")

    async def close(self) -> None:
        """Takes no more connections, lets what is asked be answered for a moment, and drops the rest."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for _ in range(_STOP_STEPS):
            if all(connection.is_idle for connection in self.connections):
                break
            await self._clock.sleep(_STOP_S / _STOP_STEPS)
        for connection in list(self.connections):
            connection.drop()
        while self.connections:
            await self._clock.sleep(0)
        await self._tasks.close()

    async def _look_at_the_time(self) -> None:
        most_idle_s = self._settings.connections_max_idle_ms / 1000
        while True:
            await self._clock.sleep(_LOOK_S)
            now = self.now()
            for connection in list(self.connections):
                connection.look_at_the_time(now, most_idle_s)

    # for connections

    def now(self) -> float:
        return self._clock.now()

    def admits(self, connection: KafkaConnection) -> bool:
        """Whether there may be one more from there; if so, it is one."""
        if not self._servers:
            return False  # it came while the ports were being closed
        host, settings = connection.peer.host, self._settings
        if len(self.connections) >= settings.max_connections:
            self.complain(connection.peer, f"there are {settings.max_connections} connections (max_connections)")
            return False
        if 0 < settings.max_connections_per_ip <= self._from[host]:
            self.complain(
                connection.peer,
                f"there are {settings.max_connections_per_ip} connections from there (max_connections_per_ip)",
            )
            return False
        self._from[host] += 1
        self.connections[connection] = None
        return True

    def left(self, connection: KafkaConnection, tasks: Tasks) -> None:
        """The connection is gone; what it still does ends."""
        del self.connections[connection]
        self._from[connection.peer.host] -= 1
        if not self._from[connection.peer.host]:
            del self._from[connection.peer.host]
        if len(tasks):
            self._tasks.spawn(tasks.close(), "end of a connection")

    def count(self, api: ServedApi) -> None:
        self.asked[api.request.API.name] += 1

    def complain(self, peer: Address, why: str) -> None:
        """Says in the log why a client was turned away, once a second at most."""
        self.turned_away += 1
        now = self.now()
        if now - self._complained_at < _COMPLAINT_S:
            self._unsaid += 1
            return
        more = f" ({self._unsaid} others were turned away since the last such line)" if self._unsaid else ""
        log.warning("Kafka connection from %s closed: %s%s", peer, why, more)
        self._complained_at, self._unsaid = now, 0


async def _hosts(address: Address) -> Sequence[str]:
    """Returns the addresses that a host's name stands for here."""
    if address.host in _ALL_HOSTS:
        return _ALL_HOSTS[address.host]
    try:
        found = await _resolved(address.host, address.port)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {address} for Kafka's clients: {address.host} is no name or address that is known here"
            f" ({error.strerror})"
        ) from error
    return list(dict.fromkeys(str(one[4][0]) for one in found))


async def _resolved(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    return await asyncio.get_running_loop().getaddrinfo(host, port, proto=_TCP)


def _refused(address: Address, listener: str, error: OSError) -> ConfigurationError:
    of_sole = listener == SOLE_LISTENER
    if error.errno != errno.EADDRINUSE:
        what = "host and kafka_port" if of_sole else f"the address of {listener} in kafka_listeners"
        return ConfigurationError(f"cannot listen on {address} for Kafka's clients: {error.strerror}; set {what}")
    where = f"port {address.port} is in use on {address.host}"
    if of_sole:
        return ConfigurationError(
            f"kafka_{where}: stop what listens there, or give this node a port of its own for Kafka's clients:"
            " kafka_port in its configuration file, DOHLE_KAFKA_PORT or --kafka-port"
        )
    return ConfigurationError(
        f"{where}: stop what listens there, or give listener {listener} another one in kafka_listeners"
    )
