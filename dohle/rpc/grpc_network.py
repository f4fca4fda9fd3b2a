"""GrpcNetwork: the Network of a real machine.

Each lane to an address is one channel, and one connection; it is made at first use and makes itself anew when it
broke. While it cannot be made, calls fail at once instead of waiting for it.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio

from dohle.model.errors import DohleError, NetworkException
from dohle.rpc.failures import error_from, error_of
from dohle.rpc.grpc_server import CLIENT_ID_KEY, GrpcServer
from dohle.rpc.inbox import Inbox
from dohle.rpc.late_news import overlook_late_news
from dohle.rpc.options import channel_options
from dohle.runtime.network import Address, Dial, Lane, Method, Server, Service, Stream
from dohle.runtime.tasks import OnFailure, Tasks

Request = TypeVar("Request")
Response = TypeVar("Response")

DEFAULT_MAX_MESSAGE_BYTES = 8 << 20


def _logged(_: BaseException) -> None:
    """The task group has logged it; it ended one rpc and nothing else."""


class GrpcNetwork:
    """Calls and streams over grpc.aio.

    `client_id` names this process to the others. `on_failure` hears of exceptions that no handler should let through;
    the rpc in question fails with UnknownServerError, and the server goes on.
    """

    def __init__(
        self,
        *,
        client_id: str,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        on_failure: OnFailure = _logged,
    ) -> None:
        self._max_message_bytes = max_message_bytes
        self._on_failure = on_failure
        self._metadata = ((CLIENT_ID_KEY, _printable(client_id)),)
        self._channels: dict[tuple[Address, Lane], grpc.aio.Channel] = {}
        self._callables: dict[tuple[Address, Lane, str], Any] = {}
        self._servers: list[GrpcServer] = []
        self._tasks = Tasks("network", on_failure)
        self._closed = False

    async def call(
        self, address: Address, method: Method[Request, Response], request: Request, *, lane: Lane, timeout_s: float
    ) -> Response:
        invoke = self._callable(address, lane, method)
        try:
            response: Response = await invoke(request, timeout=timeout_s, metadata=self._metadata)
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure, str(address)) from None
        except asyncio.CancelledError:
            if _being_cancelled():
                raise
            raise NetworkException(f"the connection to {address} was closed here") from None
        return response

    def stream(self, address: Address, method: Method[Request, Response], *, lane: Lane) -> Stream[Request, Response]:
        invoke = self._callable(address, lane, method)
        stream: ClientStream[Request, Response] = ClientStream(invoke(metadata=self._metadata), str(address))
        self._tasks.spawn(stream.fill(), f"{method.path} {address}")
        return stream

    def _callable(self, address: Address, lane: Lane, method: Method[Any, Any]) -> Any:
        if self._closed:
            raise NetworkException("the network is closed here")
        key = (address, lane, method.path)
        found = self._callables.get(key)
        if found is None:
            channel = self._channel(address, lane)
            make = channel.stream_stream if method.streamed else channel.unary_unary
            found = make(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
            self._callables[key] = found
        return found

    def _channel(self, address: Address, lane: Lane) -> grpc.aio.Channel:
        channel = self._channels.get((address, lane))
        if channel is None:
            overlook_late_news(asyncio.get_running_loop())
            channel = grpc.aio.insecure_channel(_target(address), channel_options(self._max_message_bytes))
            self._channels[address, lane] = channel
        return channel

    async def dial(self, address: Address, *, timeout_s: float) -> Dial:
        try:
            async with asyncio.timeout(timeout_s):
                found = await asyncio.get_running_loop().getaddrinfo(address.host, address.port)
                # one by one: asyncio merges the failures of a name's several addresses into one without a reason
                for host in dict.fromkeys(str(entry[4][0]) for entry in found):
                    if await _accepts(host, address.port):
                        return Dial.ACCEPTED
        except OSError:  # time-outs, unreachable hosts and unknown names among them
            return Dial.SILENT
        return Dial.REFUSED

    async def serve(self, address: Address, services: Sequence[Service], *, listener: str) -> Server:
        server = GrpcServer(services, listener, self._max_message_bytes, self._on_failure)
        await server.start(address)
        self._servers.append(server)  # one that nobody holds closes its port when it is collected
        return server

    async def close(self) -> None:
        self._closed = True
        await self._tasks.close()
        channels = list(self._channels.values())
        self._channels.clear()
        self._callables.clear()
        await asyncio.gather(*(channel.close() for channel in channels))


class ClientStream(Generic[Request, Response]):
    """The calling end of a streamed rpc.

    A cancelled `send` breaks it; a cancelled `receive` does not. Where a message is being sent while the far side ends
    the stream with an error, grpc.aio forgets that error, and NetworkException is raised in its place.
    """

    def __init__(self, call: Any, peer: str) -> None:
        self._call = call
        self._peer = peer
        self._inbox: Inbox[Response] = Inbox(peer)
        self._sending = asyncio.Lock()

    async def fill(self) -> None:
        await self._inbox.fill(self._read)

    async def _read(self) -> Response | None:
        try:
            message: Response = await self._call.read()
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure, self._peer) from None
        except asyncio.CancelledError:
            if _being_cancelled():
                raise
            raise NetworkException(f"the stream with {self._peer} was closed") from None
        return None if message is grpc.aio.EOF else message

    async def send(self, message: Request) -> None:
        async with self._sending:  # gRPC takes one message at a time
            try:
                await self._call.write(message)
            except grpc.aio.AioRpcError as failure:
                raise error_of(failure, self._peer) from None
            except asyncio.CancelledError:
                if _being_cancelled():
                    self.close()
                    raise
                raise NetworkException(f"the stream with {self._peer} was closed") from None
            except (grpc.aio.BaseError, asyncio.InvalidStateError):  # it has ended, and the status says why
                raise await self._end() from None

    async def _end(self) -> DohleError:
        if self._inbox.discarded:
            return NetworkException(f"the stream with {self._peer} was closed")
        call = self._call
        return error_from(await call.code(), await call.details() or "", await call.trailing_metadata(), self._peer)

    async def receive(self) -> Response | None:
        return await self._inbox.receive()

    def close(self) -> None:
        self._inbox.discard()
        self._call.cancel()


async def _accepts(host: str, port: int) -> bool:
    """Returns whether a connection is accepted rather than refused; raises OSError if neither."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return False
    writer.transport.abort()
    return True


def _printable(text: str) -> str:
    """Returns `text` with a `?` for what metadata cannot hold."""
    return "".join(sign if " " <= sign <= "~" else "?" for sign in text)


def _being_cancelled() -> bool:
    """Tells a cancellation of this task from gRPC's way of saying that the rpc was cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _target(address: Address) -> str:
    """Returns gRPC's name for `address`; a number does not go through the resolver."""
    try:
        version = ipaddress.ip_address(address.host).version
    except ValueError:
        return f"dns:///{address}"
    return f"ipv{version}:{address}"
