"""ServerCall: the serving end of one rpc, and how its handler is driven.

A handler runs in a task of its own and is not cancelled because its caller went away: a unary one runs to its end, a
streamed one finds that `receive` and `send` raise NetworkException. One that does neither and is still there `LINGER_S`
seconds later is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import DecodeError

from dohle.model.errors import DohleError, MessageTooLarge, NetworkException, UnknownServerError
from dohle.rpc.failures import end_of
from dohle.rpc.http2.frames import Code, StreamFault
from dohle.rpc.http2.header_blocks import Headers, encode
from dohle.rpc.http2.messages import BadMessage
from dohle.rpc.http2.stream import Http2Stream, StreamClosed
from dohle.rpc.status import End, Refused, Status
from dohle.runtime.network import Method, RequestContext

LINGER_S = 5.0
_HEADERS: Final[Headers] = (
    (b":status", b"200"),
    (b"content-type", b"application/grpc"),
    (b"grpc-accept-encoding", b"identity"),
)
_FAILED_HERE: Final = end_of(UnknownServerError("the server failed at this request; its log says why"))


@dataclass(frozen=True, slots=True)
class Served:
    """One method, and the coroutine method that serves it."""

    method: Method[Any, Any]
    handle: Callable[[Any, RequestContext], Awaitable[Any]]


class ServerCall(Http2Stream):
    """It is the stream that a streamed handler is given."""

    def __init__(self, served: Served, context: RequestContext, most_message_bytes: int) -> None:
        super().__init__(most_message_bytes)
        self._served = served
        self._context = context
        self._most_bytes = most_message_bytes
        self._says_headers = True
        self._is_closed = False
        self._is_broken = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def runs_in(self, task: asyncio.Task[None], timeout_s: float | None) -> None:
        """`task` is the one that runs `run`; its caller waits so long for the end."""
        self._task = task
        if timeout_s is not None and not task.done():
            self._timer = asyncio.get_running_loop().call_later(timeout_s, self._expire)

    async def run(self) -> None:
        end = _FAILED_HERE  # unless the handler returns, or says how it failed
        try:
            await self._handle()
            end = End(Status.OK)
        except DohleError as failure:
            end = end_of(failure)
        except Refused as refused:
            end = refused.end
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self.finish(end)

    async def _handle(self) -> None:
        served = self._served
        if served.method.streamed:
            await served.handle(self, self._context)
            return
        request = await self.receive()
        if request is None:
            raise Refused(End(Status.UNIMPLEMENTED, "a request of no message"))
        answer = await served.handle(request, self._context)
        if not self.is_over:
            await self.send(answer)

    # what the connection says

    def headers_came(self, headers: Headers, *, is_last: bool) -> None:
        if not is_last or any(name.startswith(b":") for name, _ in headers):
            raise StreamFault(self.stream_id, Code.PROTOCOL_ERROR, "HEADERS within a request")

    def far_side_has_ended(self) -> None:
        if not self._reader.is_between_messages:
            raise StreamFault(self.stream_id, Code.PROTOCOL_ERROR, "a request that ends within a message")
        super().far_side_has_ended()

    def ended(self, why: str, code: int | None) -> None:
        self._break_off()

    def bad_message(self, bad: BadMessage) -> None:
        self._refuse(End(Status.RESOURCE_EXHAUSTED if bad.is_too_large else Status.UNIMPLEMENTED, bad.why))

    def _expire(self) -> None:
        self._refuse(End(Status.DEADLINE_EXCEEDED, "the caller's time for it is over"))

    def _refuse(self, end: End) -> None:
        self._break_off()
        self.finish(end)

    def _break_off(self) -> None:
        """Tells the handler that the far side is gone."""
        if self._is_broken:
            return
        self._is_broken = True
        self.discard()
        if self._served.method.streamed and self._task is not None and not self._task.done():
            asyncio.get_running_loop().call_later(LINGER_S, self._task.cancel)

    # what the handler does

    async def receive(self) -> Any:
        while not self.messages:
            if self._is_broken or self._is_closed:
                raise self._gone()
            if self.far_side_ended:
                return None
            await self.wait_for_news()
        try:
            return self._served.method.request.FromString(self.take())
        except DecodeError as error:
            kind = self._served.method.request.DESCRIPTOR.full_name
            self._refuse(End(Status.INTERNAL, f"what came is no {kind}: {error}"))
            raise self._gone() from None

    async def send(self, message: Any) -> None:
        payload: bytes = message.SerializeToString()
        if len(payload) > self._most_bytes:
            raise MessageTooLarge(
                f"a message of {len(payload)} bytes exceeds the limit of gRPC messages, {self._most_bytes}"
            )
        if self._is_broken or self._is_closed:
            raise self._gone()
        if self._says_headers:
            self._say_headers()
        try:
            await self.send_message(payload)
        except StreamClosed:
            raise self._gone() from None

    def close(self) -> None:
        """Receives and sends nothing more; the far side hears of it when the handler returns."""
        self._is_closed = True
        self.discard()

    def _gone(self) -> NetworkException:
        return NetworkException(f"the stream with {self._context.address} broke")

    # ends

    def _say_headers(self) -> None:
        assert self.connection is not None, "a call comes by a connection"
        self._says_headers = False
        self.connection.write(self.connection.headers(self.stream_id, encode(_HEADERS)))

    def finish(self, end: End) -> None:
        """Tells the far side, if it is still there, how the rpc ended."""
        if self.is_over or self.this_side_ended:
            return
        assert self.connection is not None, "a call comes by a connection"
        trailers = (*_HEADERS, *end.headers()) if self._says_headers else end.headers()
        self._says_headers = False
        self.connection.write(self.connection.headers(self.stream_id, encode(trailers), end_stream=True))
        self.end_this_side()
        self.reset(Code.NO_ERROR)  # where the far side has more to send, nobody reads it
