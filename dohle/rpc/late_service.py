"""A service that is registered with a server before what implements it is there.

Until then each of its rpcs fails as if nobody listened, so that whoever calls goes on to another node.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from dohle.model.errors import NetworkException
from dohle.rpc.methods import handler_name, methods_of, service
from dohle.runtime.network import RequestContext, Service


class LateService:
    """`service` is to be served; `begin` says by whom. `why` is what a caller is told before."""

    def __init__(self, descriptor: ServiceDescriptor, why: str) -> None:
        self._implementation: object | None = None
        self._why = why
        for method in methods_of(descriptor).values():
            name = handler_name(method)
            setattr(self, name, self._handler(name))
        self.service: Service = service(descriptor, self)

    def begin(self, implementation: object) -> None:
        """From now on `implementation` answers."""
        self._implementation = implementation

    def _handler(self, name: str) -> Callable[[Any, RequestContext], Coroutine[Any, Any, Any]]:
        async def rpc(request: Any, context: RequestContext) -> Any:
            if self._implementation is None:
                raise NetworkException(self._why)
            return await getattr(self._implementation, name)(request, context)

        return rpc
