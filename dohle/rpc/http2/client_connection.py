"""ClientConnection: the calling side of a connection: it begins the streams."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from dohle.rpc.http2.connection import Http2Connection
from dohle.rpc.http2.frames import LARGEST_STREAM, PREFACE, Code, ConnectionFault, Setting
from dohle.rpc.http2.header_blocks import Headers, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dohle.rpc.client_call import ClientCall


class ClientConnection(Http2Connection):
    """Use it once `ready` is done; it fails if the far side does not speak HTTP/2."""

    is_client = True
    # A machine that is gone without a word is noticed after 2.5 s, before its session's 3 s are over. A stop of half a
    # second, which must break nothing, is far from that.
    ping_after_s = 1.0
    answer_within_s = 1.5

    def __init__(self, scratch: memoryview) -> None:
        super().__init__(scratch)
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self._next_id = 1
        self._calls: deque[ClientCall] = deque()  # more than the far side wants at once

    def _greeting(self) -> bytes:
        return PREFACE + super()._greeting()

    def _settings(self) -> Sequence[tuple[int, int]]:
        return (*super()._settings(), (Setting.ENABLE_PUSH, 0))

    def settings_came(self) -> None:
        if not self.ready.done():
            self.ready.set_result(None)

    @property
    def takes_calls(self) -> bool:
        return self.is_open and not self.is_going and self._next_id < LARGEST_STREAM

    def start(self, call: ClientCall) -> None:
        """Begins the call, now or when the far side has answered others."""
        if call.is_over:
            return
        if len(self.streams) >= self.most_streams:
            self._calls.append(call)
            return
        stream_id, self._next_id = self._next_id, self._next_id + 2
        self.write(self.headers(stream_id, encode(call.request_headers)))
        call.begin(self, stream_id)

    def left(self, stream: object) -> None:
        super().left(stream)  # type: ignore[arg-type]
        while self._calls and self.is_open and len(self.streams) < self.most_streams:
            self.start(self._calls.popleft())
        if self.is_going and not self.streams and self.is_open:
            self.close("all calls have ended")

    def far_side_goes(self, last_stream_id: int, why: str) -> None:
        for call in self._drop_calls():
            call.ended(why, None)
        for stream_id, stream in list(self.streams.items()):
            if stream_id > last_stream_id:
                stream.ended(why, None)
        if not self.streams:
            self.close(why)

    def _drop_calls(self) -> list[ClientCall]:
        calls = list(self._calls)
        self._calls.clear()
        return calls

    def is_over(self, why: str) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(why))
            self.ready.exception()  # it may be that nobody waits for it any more
        for call in self._drop_calls():
            call.ended(why, None)

    def _is_idle(self, stream_id: int) -> bool:
        return stream_id >= self._next_id or stream_id % 2 == 0

    def _stream_began(self, stream_id: int, headers: Headers, *, is_last: bool) -> None:
        if self._is_idle(stream_id):
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"HEADERS of stream {stream_id}, which was not begun here")
        self._count_idle_frame()  # it is over here, and the far side did not know that
