"""KafkaListener: a port that speaks Kafka's protocol, and the connections that it has.

Keeps: at most so many connections, in all and from one address; a budget for the bytes of requests, and one for
answers that clients have not taken; connections that are silent for too long are closed. The port is taken before the
node registers, so that one in use is said in time, and listens only once there is a broker to answer.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from dohle.broker.broker import Broker
from dohle.listeners.byte_budget import ByteBudget
from dohle.listeners.kafka.apis import Apis, ServedApi
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
        self.asked: Counter[str] = Counter()  # requests by the name of their API
        self.connections: dict[KafkaConnection, None] = {}
        self.turned_away = 0  # connections over a limit, and those closed for what came
        self._settings = settings
        self._clock = clock
        self._tasks = Tasks("kafka listener", on_failure)
        self._from: Counter[str] = Counter()  # connections by address
        self._server: asyncio.Server | None = None
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))
        self._complained_at = float("-inf")
        self._unsaid = 0

    async def bind(self, address: Address) -> Address:
        """Takes the port, without listening yet; returns where. Raises ConfigurationError if it is in use."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: KafkaConnection(self, self._scratch, self._settings.socket_request_max_bytes),
                address.host,
                address.port,
                reuse_port=False,
                backlog=_BACKLOG,
                start_serving=False,
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ConfigurationError(
                    f"kafka_port {address.port} is in use on {address.host}: stop what listens there, or set kafka_port"
                ) from error
            raise ConfigurationError(
                f"cannot listen on {address} for Kafka's clients: {error.strerror}; set host and kafka_port"
            ) from error
        host, port = self._server.sockets[0].getsockname()[:2]
        return Address(host, port)

    async def open(self, broker: Broker) -> None:
        """Begins to answer out of `broker`."""
        await self.serve(served_apis(broker, self.answers, self._settings.served))

    async def serve(self, apis: Apis) -> None:
        """Begins to answer what is in `apis`."""
        assert self._server is not None, "bound first"
        self.apis = apis
        await self._server.start_serving()
        self._tasks.spawn(self._look_at_the_time(), "time")

    async def close(self) -> None:
        """Takes no more connections, lets what is asked be answered for a moment, and drops the rest."""
        if self._server is not None:
            self._server.close()
            self._server = None
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
        if self._server is None:
            return False  # it came while the port was being closed
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
