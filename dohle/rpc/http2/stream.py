"""Http2Stream: one stream of a connection, as gRPC uses it: headers, messages, headers again.

Back-pressure: a receiver's window is given back when no whole message waits for it, so that what it holds is a window
and a message at the most, and a message larger than the window arrives all the same.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from dohle.rpc.http2.frames import END_STREAM, Code, Kind, StreamFault, head, message_head, window_update
from dohle.rpc.http2.header_blocks import Headers
from dohle.rpc.http2.messages import PREFIX_BYTES, BadMessage, MessageReader, Payload
from dohle.runtime.tasks import turn

if TYPE_CHECKING:
    from dohle.rpc.http2.connection import Http2Connection

WINDOW_BYTES: Final = 4 << 20
SENT_FRAME_BYTES: Final = 2 << 20
_JOINED_BYTES: Final = 16 << 10
"""A message that is smaller is copied behind its head, which costs less than a second buffer."""

_SENT_IN_A_ROW: Final = 16
"""Whoever sends on and on lets others run now and then; waiting for the far side's window alone would be seconds."""


class StreamClosed(Exception):
    """Nothing can be sent on it any more."""


class Http2Stream:
    """What both ends have in common. Whoever takes part in an rpc overrides `headers_came` and `ended`."""

    def __init__(self, most_message_bytes: int) -> None:
        self.stream_id = 0  # until it has begun
        self.connection: Http2Connection | None = None
        self.messages: deque[Payload] = deque()
        self.far_side_ended = False
        self.this_side_ended = False
        self.is_over = False  # broken or reset, or both sides have ended
        self.send_window = 0
        self.receive_window = WINDOW_BYTES
        self.expected_bytes: int | None = None  # of data, where that was announced
        self._received_bytes = 0
        self._held_bytes = 0  # of the window, that were not given back
        self._reader = MessageReader(most_message_bytes)
        self._receiver: asyncio.Future[None] | None = None
        self._sender: asyncio.Future[None] | None = None
        self._sending = asyncio.Lock()
        self._sent = 0
        self._is_discarded = False

    def begin(self, connection: Http2Connection, stream_id: int) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.send_window = connection.initial_send_window
        connection.streams[stream_id] = self
        self.wake_sender()

    # what the connection says

    def headers_came(self, headers: Headers, *, is_last: bool) -> None:
        """The first headers, or trailers; of a malformed block StreamFault."""
        raise NotImplementedError

    def ended(self, why: str, code: int | None) -> None:
        """The stream broke: by the far side's reset, which has a code, or with the connection."""
        raise NotImplementedError

    def bad_message(self, bad: BadMessage) -> None:
        """What came cannot be a message."""
        raise NotImplementedError

    def data_came(self, part: memoryview) -> None:
        if self._is_discarded:
            return
        try:
            messages = self._reader.received(part)
        except BadMessage as bad:
            self.bad_message(bad)
            return
        for message in messages:
            self._message_came(message)

    def room(self, most_bytes: int) -> memoryview:
        return memoryview(b"") if self._is_discarded else self._reader.room(most_bytes)

    def room_filled(self, count: int) -> None:
        if self._is_discarded:
            return
        message = self._reader.filled(count)
        if message is not None:
            self._message_came(message)

    def _message_came(self, message: Payload) -> None:
        assert self.connection is not None, "messages come on a stream that has begun"
        self.messages.append(message)
        self.connection.untaken(len(message))
        self.wake_receiver()

    def frame_ended(self, size: int, *, is_last: bool) -> None:
        """A DATA frame of `size` bytes, which the window counts, is through."""
        self._received_bytes += size
        if is_last:
            self.far_side_has_ended()
            return
        self._held_bytes += size
        self._give_back()

    def far_side_has_ended(self) -> None:
        if self.expected_bytes is not None and self.expected_bytes != self._received_bytes:
            raise StreamFault(self.stream_id, Code.PROTOCOL_ERROR, "another content-length than was announced")
        self.far_side_ended = True
        self.wake_receiver()
        self._close_if_over()

    def _give_back(self) -> None:
        if self.messages or self._held_bytes < WINDOW_BYTES // 2 or self.far_side_ended or self.is_over:
            return
        assert self.connection is not None, "what is held came by a connection"
        self.receive_window += self._held_bytes
        self.connection.write(window_update(self.stream_id, self._held_bytes))
        self._held_bytes = 0

    def window_grew(self, increment: int) -> None:
        self.send_window += increment
        if self.send_window > 0x7FFF_FFFF:
            raise StreamFault(self.stream_id, Code.FLOW_CONTROL_ERROR, "a window larger than 2^31 - 1")
        self.wake_sender()

    # receiving

    def wake_receiver(self) -> None:
        if self._receiver is not None and not self._receiver.done():
            self._receiver.set_result(None)

    async def wait_for_news(self) -> None:
        """Returns when a message, headers or an end has come; may be cancelled. One at a time waits."""
        assert self._receiver is None or self._receiver.done(), "one receiver at a time"
        self._receiver = asyncio.get_running_loop().create_future()
        try:
            await self._receiver
        finally:
            self._receiver = None

    def take(self) -> Payload:
        """Returns the first message that waits."""
        message = self.messages.popleft()
        if not self.is_over:  # else it does not count any more
            assert self.connection is not None, "what waits came by a connection"
            self.connection.untaken(-len(message))
            self._give_back()
        return message

    def discard(self) -> None:
        """Drops what came and what will come."""
        self._is_discarded = True
        if self.connection is not None and not self.is_over:
            self.connection.untaken(-sum(map(len, self.messages)))
        self.messages.clear()
        self.wake_receiver()

    # sending

    def wake_sender(self) -> None:
        if self._sender is not None and not self._sender.done():
            self._sender.set_result(None)

    async def send_message(self, payload: bytes, before: bytes = b"", *, is_last: bool = False) -> None:
        """Returns when the transport has taken it, with `before` in front of it. Raises StreamClosed.

        `is_last` ends this side with it.

        Where this is cancelled part of the message may be gone: the stream cannot be used any more.
        """
        flags = END_STREAM if is_last else 0
        if self._sending.locked() or not self._send_at_once(payload, before, flags):
            async with self._sending:
                if not self._send_at_once(payload, before, flags):
                    await self._send_in_parts(payload, before, flags)
        self._sent += 1
        await turn(self._sent, every=_SENT_IN_A_ROW)
        if is_last:
            self.end_this_side()

    def _send_at_once(self, payload: bytes, before: bytes, flags: int) -> bool:
        connection = self.connection
        if connection is None:
            return False
        if self.this_side_ended or self.is_over:
            raise StreamClosed
        size = PREFIX_BYTES + len(payload)
        if not connection.is_writable or size > min(
            self.send_window, connection.send_window, connection.most_frame_bytes, SENT_FRAME_BYTES
        ):
            return False
        self.send_window -= size
        connection.send_window -= size
        start = before + message_head(self.stream_id, flags, size, len(payload))
        if len(payload) <= _JOINED_BYTES:
            connection.write(start + payload)
        else:
            connection.write_all([start, payload])
        return True

    async def _send_in_parts(self, payload: bytes, before: bytes, flags: int) -> None:
        view = memoryview(payload)
        at = -PREFIX_BYTES  # the prefix goes with the first part
        while at < len(payload):
            most = await self._room_to_send(PREFIX_BYTES if at < 0 else 1)
            connection = self.connection
            assert connection is not None, "there is room on a stream that has begun"
            size = min(most, len(payload) - at)
            part_flags = flags if at + size == len(payload) else 0
            self.send_window -= size
            connection.send_window -= size
            if at < 0:
                start = before + message_head(self.stream_id, part_flags, size, len(payload))
                connection.write_all([start, view[: at + size]])
            else:
                connection.write_all([head(size, Kind.DATA, part_flags, self.stream_id), view[at : at + size]])
            at += size

    async def _room_to_send(self, least: int) -> int:
        """Returns how many bytes, `least` or more, may be sent in the next frame."""
        while True:
            if self.this_side_ended or self.is_over:
                raise StreamClosed
            connection = self.connection
            if connection is not None and connection.is_writable:
                room = min(self.send_window, connection.send_window, connection.most_frame_bytes, SENT_FRAME_BYTES)
                if room >= least:
                    return room
                if connection.send_window < least:
                    connection.waiting[self] = None
            elif connection is not None:
                connection.waiting[self] = None
            self._sender = asyncio.get_running_loop().create_future()
            try:
                await self._sender
            finally:
                self._sender = None

    # ends

    def end_this_side(self) -> None:
        """END_STREAM was sent."""
        self.this_side_ended = True
        self.wake_sender()
        self._close_if_over()

    def _close_if_over(self) -> None:
        if self.this_side_ended and self.far_side_ended:
            self.leave()

    def reset(self, code: Code) -> None:
        """Tells the far side that this one has no more interest."""
        if self.is_over:
            return
        if self.connection is not None:
            self.connection.reset_stream(self.stream_id, code)
        self.leave()

    def leave(self) -> None:
        """The stream counts no more; what came can still be taken."""
        if self.is_over:
            return
        self.is_over = True
        self.wake_sender()
        self.wake_receiver()
        if self.connection is not None:
            self.connection.untaken(-sum(map(len, self.messages)))
            self.connection.left(self)
