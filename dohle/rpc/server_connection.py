"""ServerConnection: the serving side of a connection: streams begin, and become calls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, cast

from dohle.rpc.http2.connection import Http2Connection
from dohle.rpc.http2.frames import (
    PREFACE,
    Code,
    ConnectionFault,
    Setting,
    StreamFault,
    goaway,
)
from dohle.rpc.http2.header_blocks import Headers, encode
from dohle.rpc.http2.request_headers import Malformed, Request, request_in
from dohle.rpc.refused_call import RefusedCall
from dohle.rpc.server_call import Served, ServerCall
from dohle.rpc.status import End, Status
from dohle.runtime.network import RequestContext
from dohle.runtime.tasks import Tasks

CLIENT_ID_KEY: Final = b"dohle-client-id"
ANONYMOUS: Final = "User:ANONYMOUS"
"""Kafka's name for whoever did not say who they are."""
MOST_STREAMS: Final = 1000
"""What one connection may have under way, handlers whose callers are gone included."""
PREFACE_S: Final = 10.0


class Serving(Protocol):
    """The server that the connection came to."""

    listener: str
    most_message_bytes: int
    tasks: Tasks

    @property
    def served(self) -> Mapping[str, Served]:
        """What is served, by its path."""

    def came(self, connection: ServerConnection) -> bool:
        """Returns whether the connection may stay."""

    def went(self, connection: ServerConnection, why: str) -> None: ...


class ServerConnection(Http2Connection):
    """A connection to `server`."""

    is_client = False
    # Nobody waits for a caller that is gone, and one whose event loop is busy for some seconds is not.
    ping_after_s = 10.0
    answer_within_s = 20.0

    def __init__(self, server: Serving, scratch: memoryview) -> None:
        super().__init__(scratch, PREFACE)
        self._server = server
        self._running = 0
        self._silence: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.peer = _name(transport.get_extra_info("peername"))
        super().connection_made(transport)
        if not self._server.came(self):
            self.abort("the server stops")
            return
        self._silence = self._loop.call_later(PREFACE_S, self._was_silent)

    def _settings(self) -> Sequence[tuple[int, int]]:
        return (*super()._settings(), (Setting.MAX_CONCURRENT_STREAMS, MOST_STREAMS))

    def settings_came(self) -> None:
        if self._silence is not None:
            self._silence.cancel()

    def _was_silent(self) -> None:
        self.abort(f"no HTTP/2 within {PREFACE_S:g} s")

    def _is_idle(self, stream_id: int) -> bool:
        return stream_id > self._last_stream_id or stream_id % 2 == 0

    def _stream_began(self, stream_id: int, headers: Headers, *, is_last: bool) -> None:
        if stream_id in self._recent:
            return  # it was reset here, and the far side did not know that
        if stream_id % 2 == 0 or stream_id <= self._last_stream_id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"a stream {stream_id} after {self._last_stream_id}")
        if self.is_going:
            self.reset_stream(stream_id, Code.REFUSED_STREAM)
            return
        self._last_stream_id = stream_id
        if self._running >= MOST_STREAMS or len(self.streams) >= MOST_STREAMS:
            raise StreamFault(stream_id, Code.REFUSED_STREAM, f"more than {MOST_STREAMS} streams")
        try:
            request = request_in(headers)
        except Malformed as malformed:
            raise StreamFault(stream_id, Code.PROTOCOL_ERROR, str(malformed)) from None
        self._begin(stream_id, request, is_last=is_last)

    def _begin(self, stream_id: int, request: Request, *, is_last: bool) -> None:
        if (answer := _answer_of_http(request)) is not None:
            refused = RefusedCall(answer)
            refused.expected_bytes = request.content_length
            refused.begin(self, stream_id)
            if is_last:
                refused.far_side_has_ended()
            return
        served = self._server.served.get(request.path)
        if served is None:
            self._does_not_serve(stream_id, request, is_last=is_last)
            return
        client_id = request.others.get(CLIENT_ID_KEY, b"").decode("ascii", errors="replace")
        context = RequestContext(ANONYMOUS, self._server.listener, client_id, self.peer)
        call = ServerCall(served, context, self._server.most_message_bytes)
        call.expected_bytes = request.content_length
        call.begin(self, stream_id)
        self._running += 1
        task = self._server.tasks.spawn(call.run(), request.path)
        task.add_done_callback(self._ran)
        call.runs_in(task, request.timeout_s)
        if is_last:
            call.far_side_has_ended()

    def _ran(self, _: object) -> None:
        self._running -= 1

    def _does_not_serve(self, stream_id: int, request: Request, *, is_last: bool) -> None:
        end = End(Status.UNIMPLEMENTED, f"there is no {request.path} here")
        answer: Headers = ((b":status", b"200"), (b"content-type", b"application/grpc"), *end.headers())
        self.write(self.headers(stream_id, encode(answer), end_stream=True))
        if not is_last:
            self.reset_stream(stream_id, Code.NO_ERROR)
        self._remember(stream_id, far_side_ended=is_last)

    def go(self) -> None:
        """Takes no more streams; ends once those that are open have."""
        self.is_going = True
        self.write(goaway(self._last_stream_id, Code.NO_ERROR, "the server stops"))
        if not self.streams:
            self.close("the server stops")

    def left(self, stream: Any) -> None:
        super().left(stream)
        if self.is_going and not self.streams and self.is_open:
            self.close("the server stops")

    def far_side_goes(self, last_stream_id: int, why: str) -> None:
        """It begins no more streams; those that are open go on."""
        if not self.streams:
            self.close(why)

    def is_over(self, why: str) -> None:
        if self._silence is not None:
            self._silence.cancel()
        self._server.went(self, why)


def _answer_of_http(request: Request) -> Headers | None:
    """Returns what a request is answered that is not gRPC's; None if it is."""
    if request.method != b"POST":
        return ((b":status", b"405"), (b"allow", b"POST"))
    if not request.content_type.startswith(b"application/grpc"):
        return ((b":status", b"415"),)
    return None


def _name(socket_name: Any) -> str:
    host, port = cast("tuple[str, int]", tuple(socket_name[:2])) if socket_name else ("", 0)
    host = host.removeprefix("::ffff:")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
