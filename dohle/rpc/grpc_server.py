"""GrpcServer: serves services, and beside them gRPC's health and reflection.

A handler runs in a task of its own and is not cancelled because its caller went away: a unary one runs to its end, a
streamed one finds that `receive` and `send` raise NetworkException, within milliseconds of the caller's death. One that
does neither and is still there `LINGER_S` seconds later is cancelled.

An exception that no handler should let through goes to `on_failure`; its caller gets UnknownServerError.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection

from dohle.model.errors import ConfigurationError, DohleError, NetworkException, UnknownServerError
from dohle.rpc.failures import status_of
from dohle.rpc.inbox import Inbox
from dohle.rpc.methods import handler_name
from dohle.rpc.options import server_options
from dohle.runtime.network import Address, Method, RequestContext, Service
from dohle.runtime.tasks import OnFailure, Tasks

CLIENT_ID_KEY = "dohle-client-id"
ANONYMOUS = "User:ANONYMOUS"
"""Kafka's name for whoever did not say who they are."""
LINGER_S = 5.0
_LAST_WORD_S = 0.05

Sent = TypeVar("Sent")
Received = TypeVar("Received")


class GrpcServer:
    """One listening port."""

    def __init__(
        self, services: Sequence[Service], listener: str, max_message_bytes: int, on_failure: OnFailure
    ) -> None:
        self._listener = listener
        self._tasks = Tasks(f"server {listener}", on_failure)
        self._server = grpc.aio.server(options=server_options(max_message_bytes))
        self._address: Address | None = None
        for service in services:
            handlers = {method.path.rpartition("/")[2]: self._rpc(service, method) for method in service.methods}
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.name, handlers),))
        self._health = health.aio.HealthServicer()
        add_HealthServicer_to_server(self._health, self._server)
        self._names = [service.name for service in services]
        reflection.enable_server_reflection([*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server)

    @property
    def address(self) -> Address:
        assert self._address is not None, "the server was not started"
        return self._address

    async def start(self, address: Address) -> None:
        """Listens. Raises ConfigurationError if the port cannot be had; port 0 picks a free one."""
        await _check_port(address)
        try:
            port = self._server.add_insecure_port(str(address))
        except RuntimeError as error:
            raise ConfigurationError(f"cannot listen on {address}: {error}") from error
        await self._server.start()
        for name in self._names:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self._address = Address(address.host, port)

    async def stop(self, grace_s: float) -> None:
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)
        await self._tasks.close()

    def _rpc(self, service: Service, method: Method[Any, Any]) -> grpc.RpcMethodHandler:
        handle = getattr(service.implementation, handler_name(method))
        rpc = _Rpc(method.path, handle, self._listener, self._tasks)
        make = grpc.stream_stream_rpc_method_handler if method.streamed else grpc.unary_unary_rpc_method_handler
        return make(
            rpc.streamed if method.streamed else rpc.unary,
            request_deserializer=method.request.FromString,
            response_serializer=method.response.SerializeToString,
        )


class _Rpc:
    """How one method is driven."""

    def __init__(self, path: str, handle: Callable[..., Awaitable[Any]], listener: str, tasks: Tasks) -> None:
        self._path = path
        self._handle = handle
        self._listener = listener
        self._tasks = tasks

    async def unary(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        outcome = _Outcome()
        handling = self._tasks.spawn(outcome.keep(self._handle(request, self._who(context))), self._path)
        await _end_of(handling)
        await self._tell_failure(outcome, context)
        return outcome.value

    async def streamed(self, _: object, context: grpc.aio.ServicerContext) -> None:
        who = self._who(context)
        stream: ServerStream[Any, Any] = ServerStream(context, who.address)
        outcome = _Outcome()
        reading = self._tasks.spawn(stream.fill(), f"{self._path} read")
        handling = self._tasks.spawn(outcome.keep(self._handle(stream, who)), self._path)
        try:
            await _end_of(handling)
        except asyncio.CancelledError:  # gRPC's way of saying that the rpc is over
            stream.break_off()
            asyncio.get_running_loop().call_later(LINGER_S, handling.cancel)
            raise
        finally:
            reading.cancel()
        await self._tell_failure(outcome, context)

    async def _tell_failure(self, outcome: _Outcome, context: grpc.aio.ServicerContext) -> None:
        if outcome.failure is not None:
            status, details, trailers = status_of(outcome.failure)
            await context.abort(status, details, trailers)

    def _who(self, context: grpc.aio.ServicerContext) -> RequestContext:
        client_id = ""
        for key, value in context.invocation_metadata() or ():
            if key == CLIENT_ID_KEY:
                client_id = value
        peer = urllib.parse.unquote(context.peer()).partition(":")[2]  # ipv4:127.0.0.1:5, ipv6:%5B::1%5D:5
        return RequestContext(principal=ANONYMOUS, listener=self._listener, client_id=client_id, address=peer)


class _Outcome:
    """What a handler returned or raised. Until it did either, and when it had a bug, an unknown failure."""

    def __init__(self) -> None:
        self.value: Any = None
        self.failure: DohleError | None = UnknownServerError("the server failed at this request; its log says why")

    async def keep(self, handling: Awaitable[Any]) -> None:
        try:
            self.value = await handling
            self.failure = None
        except DohleError as failure:
            self.failure = failure


class ServerStream(Generic[Sent, Received]):
    """The serving end of a streamed rpc."""

    def __init__(self, context: grpc.aio.ServicerContext, peer: str) -> None:
        self._context = context
        self._peer = peer
        self._inbox: Inbox[Received] = Inbox(peer)
        self._broken = asyncio.Event()
        self._sending = asyncio.Lock()

    async def fill(self) -> None:
        await self._inbox.fill(self._read)

    async def _read(self) -> Received | None:
        try:
            message: Received = await self._context.read()
        except grpc.aio.BaseError as failure:
            raise self._gone() from failure
        except asyncio.CancelledError:
            if _being_cancelled():
                raise
            raise self._gone() from None
        if message is not grpc.aio.EOF:
            return message
        # gRPC says the same when the caller is gone, a moment before it says that
        try:
            async with asyncio.timeout(_LAST_WORD_S):
                await self._broken.wait()
        except TimeoutError:
            return None
        raise self._gone()

    async def send(self, message: Sent) -> None:
        async with self._sending:  # gRPC takes one message at a time
            if self._broken.is_set():
                raise self._gone()
            try:
                await self._context.write(message)
            except grpc.aio.BaseError as failure:
                raise self._gone() from failure
            except asyncio.CancelledError:
                if _being_cancelled():
                    raise
                raise self._gone() from None

    async def receive(self) -> Received | None:
        return await self._inbox.receive()

    def close(self) -> None:
        """Receives and sends nothing more; the far side hears of it when the handler returns."""
        self._broken.set()
        self._inbox.discard()

    def break_off(self) -> None:
        """Tells the handler that the far side is gone."""
        self._broken.set()
        self._inbox.end(self._gone())

    def _gone(self) -> NetworkException:
        return NetworkException(f"the stream with {self._peer} broke")


async def _end_of(task: asyncio.Task[None]) -> None:
    """Returns when `task` has ended, however; a cancelled wait leaves it running."""
    ended = asyncio.Event()
    task.add_done_callback(lambda _: ended.set())
    await ended.wait()


def _being_cancelled() -> bool:
    """Tells a cancellation of this task from gRPC's way of saying that the rpc was cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _check_port(address: Address) -> None:
    """Raises ConfigurationError, with the reason, if the port cannot be had.

    gRPC does not say why it cannot bind, and is content when one of a name's several addresses is free.
    """
    if not address.port:
        return
    try:
        probe = await asyncio.get_running_loop().create_server(asyncio.Protocol, address.host, address.port)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {address}: {error.strerror or error}; stop the process that uses the port, or give "
            "this node another one (grpc_port, host)"
        ) from error
    probe.close()
    await probe.wait_closed()
