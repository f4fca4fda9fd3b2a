"""What an API is to a connection: who answers which request, in which versions, and in what order.

An API that is `ordered` has two stages. The first is awaited before the next request of the connection begins, and
returns what the second one awaits: a producer's batches are appended in the order of their arrival, also behind one
that waits for replicas. Behind a change of topics or configurations everything waits until it is made. All others are
answered side by side. Answers leave in the order of the requests in any case.

A DohleError that an API raises closes the connection, which is how Kafka says what an answer has no field for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from dohle.kafka.declaration import Request, Response
from dohle.listeners.kafka.addresses import SOLE_LISTENER
from dohle.runtime.network import Address


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: `client_id` as in the request, `reached` is where this connection reached the node, on `listener`."""

    client_id: str | None
    api_version: int
    address: Address
    reached: Address
    listener: str = SOLE_LISTENER


Answer: TypeAlias = Callable[[Any, Caller], Coroutine[Any, Any, Response | None]]
"""None: the client expects no answer."""
Begin: TypeAlias = Callable[[Any, Caller], Awaitable[Coroutine[Any, Any, Response] | None]]


@dataclass(frozen=True, slots=True)
class ServedApi:
    """One API. Either `answer` or `begin` is there; `advertised_from`: the least version that clients are told."""

    request: type[Request]
    answer: Answer | None = None
    begin: Begin | None = None
    is_large: bool = False
    """Its answers are: one is made only when all earlier ones of the connection have left."""
    is_change: bool = False
    """What follows it on the connection sees what it has changed: it is begun only once this one is answered."""
    advertised_from: int | None = None

    @property
    def first_version(self) -> int:
        """What ApiVersions says, which may be less than what is served."""
        return self.request.API.versions[0] if self.advertised_from is None else self.advertised_from

    @property
    def last_version(self) -> int:
        return self.request.API.versions[-1]


Apis: TypeAlias = Mapping[int, ServedApi]
"""By API key, ascending."""
