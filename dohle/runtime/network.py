"""Network: calls and streams between processes, in terms of services and messages.

A service is a plain object with one coroutine method a rpc, named in snake case: unary `async def m(request, context)
-> response`; streamed `async def m(stream, context) -> None`, where `stream` receives requests and sends responses and
the rpc ends when the method returns. gRPC (`dohle.rpc`) and the simulator drive the same objects.

Errors: a far side's DohleError arrives as the same error. A connection that breaks or cannot be made raises
NetworkException, a time-out RequestTimedOut; after both, the request may have taken effect.

Inside a stream messages are neither lost, doubled nor reordered; when it breaks, any prefix of what was sent may have
arrived. Several tasks may send on one stream. A cancelled `receive` loses nothing, a cancelled `send` breaks it all.
On the serving side None says that the caller has finished, a caller that vanished raises NetworkException. A unary
handler goes on when its caller leaves; a stream's handler that neither sends nor receives is cancelled some seconds
after. A handler's bug fails its own rpc with UnknownServerError and nothing else.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

Sent = TypeVar("Sent", contravariant=True)
Received = TypeVar("Received", covariant=True)
Request = TypeVar("Request")
Response = TypeVar("Response")


class Address(NamedTuple):
    """Where a process listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Lane(enum.Enum):
    """Connections that never queue behind each other: each lane to an address is a connection of its own."""

    CONTROL = "control"
    REPLICATION = "replication"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Response]):
    """One rpc of a service. `path` is `/package.Service/Method`; `streamed` means both ways."""

    path: str
    request: type[Request]
    response: type[Response]
    streamed: bool


@dataclass(frozen=True, slots=True)
class Service:
    """What a server offers: `name` is the service's full name, `implementation` has a coroutine method for each rpc."""

    name: str
    methods: tuple[Method[Any, Any], ...]
    implementation: object


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Who asks, and through which door."""

    principal: str
    listener: str
    client_id: str
    address: str
    """host:port, an address of version 6 in brackets; of another form where the network has no such addresses."""


def host_of(address: str) -> str:
    """Returns the host of a RequestContext's address."""
    host, colon, _port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]") if colon else address


class Stream(Protocol[Sent, Received]):
    """One end of a streamed rpc."""

    async def send(self, message: Sent) -> None:
        """Returns when the transport has taken `message`; waits while the far side's window is full."""
        ...

    async def receive(self) -> Received | None:
        """Returns the next message; None once the far side has finished without an error. One receiver at a time."""
        ...

    def close(self) -> None:
        """Abandons the stream; the far side's `receive` raises or returns None. May be called more than once."""
        ...


class Dial(enum.Enum):
    """What trying to connect shows."""

    ACCEPTED = "accepted"
    REFUSED = "refused"  # the machine is there and says that no process listens
    SILENT = "silent"  # no answer in time, which proves nothing


class Server(Protocol):
    """A running server."""

    @property
    def address(self) -> Address: ...

    async def stop(self, grace_s: float) -> None:
        """Takes no new rpcs, gives running ones `grace_s` seconds, then breaks them."""
        ...


class Network(Protocol):
    """One node's or client's network."""

    async def call(
        self, address: Address, method: Method[Request, Response], request: Request, *, lane: Lane, timeout_s: float
    ) -> Response: ...

    def stream(self, address: Address, method: Method[Request, Response], *, lane: Lane) -> Stream[Request, Response]:
        """Opens a streamed rpc; that the far side cannot be reached shows at the first `receive` or `send`."""
        ...

    async def dial(self, address: Address, *, timeout_s: float) -> Dial:
        """Tries a connection of its own and drops it: tells a process that is gone from one that is silent."""
        ...

    async def serve(self, address: Address, services: Sequence[Service], *, listener: str) -> Server:
        """Starts to listen. Raises ConfigurationError if the port is in use."""
        ...

    async def close(self) -> None:
        """Breaks every connection made by `call` and `stream`."""
        ...
