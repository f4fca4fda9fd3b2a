"""ClientCall: the calling end of one rpc, on a connection that may yet have to be made."""

from __future__ import annotations

from typing import Final

from dohle.model.errors import DohleError, NetworkException
from dohle.rpc.failures import error_of
from dohle.rpc.http2.frames import Code, StreamFault
from dohle.rpc.http2.header_blocks import Headers
from dohle.rpc.http2.messages import BadMessage, Payload
from dohle.rpc.http2.stream import Http2Stream, StreamClosed
from dohle.rpc.status import End, Status, end_in

_OF_HTTP: Final = {
    b"400": Status.INTERNAL,
    b"401": Status.UNAUTHENTICATED,
    b"403": Status.PERMISSION_DENIED,
    b"404": Status.UNIMPLEMENTED,
    b"429": Status.UNAVAILABLE,
    b"502": Status.UNAVAILABLE,
    b"503": Status.UNAVAILABLE,
    b"504": Status.UNAVAILABLE,
}
"""What an answer that is not gRPC's means, as gRPC's document on it says; all others are UNKNOWN."""


class ClientCall(Http2Stream):
    """`headers` are those of the request. What came before the end of the rpc can be received after it."""

    def __init__(self, headers: Headers, peer: str, most_message_bytes: int) -> None:
        super().__init__(most_message_bytes)
        self.request_headers = headers
        self._peer = peer
        self._headers_came = False
        self._end: End | None = None
        self._is_closed = False

    # what the connection says

    def headers_came(self, headers: Headers, *, is_last: bool) -> None:
        status = dict(headers[:1]).get(b":status")
        if not self._headers_came and status != b"200":
            if status is None or not status.startswith(b"1") or is_last:  # else the answer's own headers follow
                of_http = _OF_HTTP.get(status or b"", Status.UNKNOWN)
                self._give_up(End(of_http, f"an answer of HTTP {(status or b'?').decode(errors='replace')}"))
        elif is_last:
            end = end_in(headers) or End(Status.UNKNOWN, "the answer ends without a status")
            if not self._reader.is_between_messages:
                end = End(Status.INTERNAL, "the answer ends within a message")
            self._end = self._end or end
        elif self._headers_came:
            raise StreamFault(self.stream_id, Code.PROTOCOL_ERROR, "HEADERS within an answer")
        else:
            self._headers_came = True

    def far_side_has_ended(self) -> None:
        self._end = self._end or End(Status.INTERNAL, "the answer ends without trailers")
        super().far_side_has_ended()
        self.reset(Code.NO_ERROR)  # nobody reads what this side would still send

    def ended(self, why: str, code: int | None) -> None:
        """The stream broke, or could not begin."""
        self._end = self._end or End(Status.UNAVAILABLE, why)
        self.leave()

    def bad_message(self, bad: BadMessage) -> None:
        self._give_up(End(Status.RESOURCE_EXHAUSTED if bad.is_too_large else Status.INTERNAL, bad.why))

    def _give_up(self, end: End) -> None:
        """This side ends it."""
        self._end = self._end or end
        self.reset(Code.CANCEL)

    # what the caller does

    async def send(self, payload: bytes, *, is_last: bool = False) -> None:
        """Raises what the rpc ended with."""
        try:
            await self.send_message(payload, is_last=is_last)
        except StreamClosed:
            raise self._failure() from None

    async def receive(self) -> Payload | None:
        """Returns the next message, or None at a good end; raises what it ended with otherwise."""
        while True:
            if self.messages:
                return self.take()
            if self._is_closed or (self._end is not None and self._end.status is not Status.OK):
                raise self._failure()
            if self._end is not None:
                return None
            await self.wait_for_news()

    def _failure(self) -> DohleError:
        if self._is_closed or self._end is None:
            return NetworkException(f"the stream with {self._peer} was closed")
        return error_of(self._end, self._peer)

    def expire(self) -> None:
        """The time for it is over."""
        self._give_up(End(Status.DEADLINE_EXCEEDED))

    def close(self) -> None:
        """Abandons it. May be called more than once."""
        if not self._is_closed:
            self._is_closed = True
            self.reset(Code.CANCEL)
            self.discard()
