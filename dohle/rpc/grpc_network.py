"""GrpcNetwork: the Network of a real machine.

Each lane to an address is one channel, and one connection; it is made at first use and makes itself anew when it
broke. While it cannot be made, calls fail at once instead of waiting for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any, Generic, TypeVar

from google.protobuf.message import DecodeError, Message

from dohle.model.errors import MessageTooLarge, NetworkException
from dohle.rpc.channel import Channel
from dohle.rpc.client_call import ClientCall
from dohle.rpc.grpc_server import GrpcServer
from dohle.rpc.http2.frame_reader import SCRATCH_BYTES
from dohle.rpc.http2.header_blocks import Headers
from dohle.rpc.options import DEFAULT_MAX_MESSAGE_BYTES, message_limit
from dohle.rpc.server_connection import CLIENT_ID_KEY
from dohle.runtime.network import Address, Dial, Lane, Method, Server, Service, Stream
from dohle.runtime.tasks import OnFailure, Tasks

Request = TypeVar("Request")
Response = TypeVar("Response")


def _logged(_: BaseException) -> None:
    """The task group has logged it; it ended one rpc and nothing else."""


class GrpcNetwork:
    """Calls and streams.

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
        self._most_bytes = message_limit(max_message_bytes)
        self._on_failure = on_failure
        self._client_id = _printable(client_id).encode()
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))
        self._random = Random()  # noqa: S311 - no secrets
        self._channels: dict[tuple[Address, Lane], Channel] = {}
        self._servers: list[GrpcServer] = []
        self._tasks = Tasks("network", on_failure)
        self._closed = False

    async def call(
        self, address: Address, method: Method[Request, Response], request: Request, *, lane: Lane, timeout_s: float
    ) -> Response:
        payload = _written(request, self._most_bytes)
        call = self._start(address, method, lane, timeout_s)
        timer = asyncio.get_running_loop().call_later(timeout_s, call.expire)
        try:
            await call.send(payload, is_last=True)
            answer = await call.receive()
            if answer is None:
                raise NetworkException(f"{address} ended the request without an answer")
            await call.receive()  # the trailers: an answer counts with its status
        finally:
            timer.cancel()
            call.close()
        response: Response = _read(method.response, answer, address)
        return response

    def stream(self, address: Address, method: Method[Request, Response], *, lane: Lane) -> Stream[Request, Response]:
        call = self._start(address, method, lane, None)
        return ClientStream(call, method.response, address, self._most_bytes)

    def _start(self, address: Address, method: Method[Any, Any], lane: Lane, timeout_s: float | None) -> ClientCall:
        if self._closed:
            raise NetworkException("the network is closed here")
        channel = self._channels.get((address, lane))
        if channel is None:
            channel = self._channels[address, lane] = Channel(address, self._tasks, self._scratch, self._random)
        call = ClientCall(_headers(address, method.path, self._client_id, timeout_s), str(address), self._most_bytes)
        channel.start(call)
        return call

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
        server = GrpcServer(services, listener, self._most_bytes, self._scratch, self._on_failure)
        await server.start(address)
        self._servers.append(server)  # one that nobody holds closes its port when it is collected
        return server

    async def close(self) -> None:
        self._closed = True
        await self._tasks.close()
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()


class ClientStream(Generic[Request, Response]):
    """The calling end of a streamed rpc. A cancelled `send` breaks it; a cancelled `receive` does not."""

    def __init__(self, call: ClientCall, response: type[Response], peer: Address, most_bytes: int) -> None:
        self._call = call
        self._response = response
        self._peer = peer
        self._most_bytes = most_bytes

    async def send(self, message: Request) -> None:
        payload = _written(message, self._most_bytes)
        try:
            await self._call.send(payload)
        except asyncio.CancelledError:
            self.close()
            raise

    async def receive(self) -> Response | None:
        payload = await self._call.receive()
        if payload is None:
            return None
        try:
            message: Response = _read(self._response, payload, self._peer)
        except NetworkException:
            self.close()
            raise
        return message

    def close(self) -> None:
        self._call.close()


def _headers(address: Address, path: str, client_id: bytes, timeout_s: float | None) -> Headers:
    timeout = () if timeout_s is None else ((b"grpc-timeout", f"{max(1, round(timeout_s * 1000)):d}m".encode()),)
    return (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path.encode()),
        (b":authority", str(address).encode()),
        *timeout,
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"user-agent", b"dohle"),
        (CLIENT_ID_KEY, client_id),
    )


def _written(message: Any, most_bytes: int) -> bytes:
    payload: bytes = message.SerializeToString()
    if len(payload) > most_bytes:
        raise MessageTooLarge(f"a message of {len(payload)} bytes exceeds the limit of gRPC messages, {most_bytes}")
    return payload


def _read(kind: type[Any], payload: bytes | bytearray, peer: Address) -> Any:
    try:
        message: Message = kind.FromString(payload)
    except DecodeError as error:
        raise NetworkException(f"{peer} sent what is no {kind.DESCRIPTOR.full_name}: {error}") from error
    return message


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
