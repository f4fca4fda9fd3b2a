"""Methods and services, read out of the protobuf descriptors.

gRPC's generator would write a stub and a servicer class for each service, bound to gRPC; the descriptors say all that
is needed, and the simulator drives the same methods without gRPC.
"""

from __future__ import annotations

import inspect
import re
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from dohle.runtime.network import Method, Service


def methods_of(descriptor: ServiceDescriptor) -> MappingProxyType[str, Method[Any, Any]]:
    """Returns the service's methods by the names that the .proto file gives them."""
    return MappingProxyType({method.name: _method(method) for method in descriptor.methods})


def _method(descriptor: MethodDescriptor) -> Method[Any, Any]:
    streamed = descriptor.client_streaming
    assert streamed == descriptor.server_streaming, f"{descriptor.full_name} must be streamed both ways or not at all"
    service = descriptor.containing_service
    return Method(
        path=f"/{service.full_name}/{descriptor.name}",
        request=GetMessageClass(descriptor.input_type),
        response=GetMessageClass(descriptor.output_type),
        streamed=streamed,
    )


def service(descriptor: ServiceDescriptor, implementation: object) -> Service:
    """Returns the service as `implementation` gives it, which must have a coroutine method for each rpc."""
    methods = tuple(methods_of(descriptor).values())
    for method in methods:
        handler = getattr(implementation, handler_name(method), None)
        assert inspect.iscoroutinefunction(handler), (
            f"{type(implementation).__name__} needs `async def {handler_name(method)}` to serve {method.path}"
        )
    return Service(name=descriptor.full_name, methods=methods, implementation=implementation)


def handler_name(method: Method[Any, Any]) -> str:
    """Returns the name of the coroutine method that serves `method`: its last part in snake case."""
    return _in_snake_case(method.path.rpartition("/")[2])


@lru_cache(maxsize=256)
def _in_snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
