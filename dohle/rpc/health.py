"""gRPC's own services: health (grpc.health.v1) and reflection (grpc.reflection.v1alpha), over whatever is served."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import Default
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from dohle.rpc.status import End, Refused, Status
from dohle.runtime.network import Method, RequestContext, Service

HEALTH: Final = "grpc.health.v1.Health"
REFLECTION: Final = "grpc.reflection.v1alpha.ServerReflection"

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN: Final = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class HealthService:
    """All `services` are well, and the server (whose name is empty), until it stops."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = frozenset(("", *services))
        self._stops = asyncio.Event()

    def stop(self) -> None:
        self._stops.set()

    def _status(self, service: str) -> int:
        if service not in self._services:
            return int(_UNKNOWN)
        return int(_NOT_SERVING if self._stops.is_set() else _SERVING)

    async def check(self, request: Any, context: RequestContext) -> Any:
        status = self._status(request.service)
        if status == _UNKNOWN:
            raise Refused(End(Status.NOT_FOUND, f"there is no service {request.service} here"))
        return health_pb2.HealthCheckResponse(status=status)

    async def watch(self, stream: Any, context: RequestContext) -> None:
        request = await stream.receive()
        if request is None:
            raise Refused(End(Status.UNIMPLEMENTED, "a request of no message"))
        await stream.send(health_pb2.HealthCheckResponse(status=self._status(request.service)))
        if not self._stops.is_set():
            await self._stops.wait()
            await stream.send(health_pb2.HealthCheckResponse(status=self._status(request.service)))

    def service(self) -> Service:
        kinds = health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
        methods = Method(f"/{HEALTH}/Check", *kinds, streamed=False), Method(f"/{HEALTH}/Watch", *kinds, streamed=True)
        return Service(HEALTH, methods, self)


class ReflectionService:
    """Says what `services` there are, and the .proto files that describe them."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = sorted(services)

    async def server_reflection_info(self, stream: Any, context: RequestContext) -> None:
        while (request := await stream.receive()) is not None:
            answer = reflection_pb2.ServerReflectionResponse(valid_host=request.host, original_request=request)
            self._answer(request, answer)
            await stream.send(answer)

    def _answer(self, request: Any, answer: Any) -> None:
        kind = request.WhichOneof("message_request")
        try:
            match kind:
                case "list_services":
                    names = [reflection_pb2.ServiceResponse(name=name) for name in self._services]
                    answer.list_services_response.service.extend(names)
                case "file_by_filename":
                    _add_files(answer, Default().FindFileByName(request.file_by_filename))
                case "file_containing_symbol":
                    _add_files(answer, Default().FindFileContainingSymbol(request.file_containing_symbol))
                case _:  # extensions, which are of proto2
                    raise KeyError(kind)
        except KeyError:
            answer.error_response.error_code = int(Status.NOT_FOUND)
            answer.error_response.error_message = "there is nothing of that name here"

    def service(self) -> Service:
        method = Method(
            f"/{REFLECTION}/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest,
            reflection_pb2.ServerReflectionResponse,
            streamed=True,
        )
        return Service(REFLECTION, (method,), self)


def _add_files(answer: Any, file: FileDescriptor) -> None:
    """Adds the file and all that it needs, each once."""
    found = {file.name: file}
    waiting = [file]
    while waiting:
        for needed in waiting.pop().dependencies:
            if needed.name not in found:
                found[needed.name] = needed
                waiting.append(needed)
    answer.file_descriptor_response.file_descriptor_proto.extend(one.serialized_pb for one in found.values())
