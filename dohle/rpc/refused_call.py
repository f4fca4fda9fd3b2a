"""RefusedCall: a request that is HTTP/2 and not gRPC. It is answered when it is whole, as HTTP has it."""

from __future__ import annotations

from dohle.rpc.http2.frames import Code, StreamFault
from dohle.rpc.http2.header_blocks import Headers, encode
from dohle.rpc.http2.messages import BadMessage
from dohle.rpc.http2.stream import Http2Stream


class RefusedCall(Http2Stream):
    """`answer` are the headers that say why."""

    def __init__(self, answer: Headers) -> None:
        super().__init__(most_message_bytes=0)
        self._answer = answer
        self.discard()

    def headers_came(self, headers: Headers, *, is_last: bool) -> None:
        if not is_last or any(name.startswith(b":") for name, _ in headers):
            raise StreamFault(self.stream_id, Code.PROTOCOL_ERROR, "HEADERS within a request")

    def far_side_has_ended(self) -> None:
        super().far_side_has_ended()
        assert self.connection is not None, "a request comes by a connection"
        self.connection.write(self.connection.headers(self.stream_id, encode(self._answer), end_stream=True))
        self.end_this_side()

    def ended(self, why: str, code: int | None) -> None:
        """Nobody waits for the answer."""

    def bad_message(self, bad: BadMessage) -> None:
        raise AssertionError("what comes is not read")
