"""Http2Connection: one connection, of either side: settings, windows, pings, and an end that says why.

Keeps: whatever the far side does that HTTP/2 forbids ends the stream or the connection, with the code of the RFC, and
never more than the connection. What costs the far side nothing is bounded: frames that carry nothing, streams that are
reset as soon as they begin, header blocks in pieces, answers that it does not read, messages that nobody takes.

A far side that says nothing is asked by a ping, and given up when it does not answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from dohle.rpc.http2 import frames
from dohle.rpc.http2.allowance import Allowance
from dohle.rpc.http2.frame_reader import FRAME_BYTES, FrameReader
from dohle.rpc.http2.frames import (
    ACK,
    DEFAULT_FRAME_BYTES,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    LARGEST_WINDOW,
    PRIORITISED,
    Code,
    ConnectionFault,
    Kind,
    Setting,
    StreamFault,
)
from dohle.rpc.http2.header_blocks import LARGEST_LIST_BYTES, HeaderDecoder, Headers
from dohle.rpc.http2.stream import WINDOW_BYTES, Http2Stream

if TYPE_CHECKING:
    from collections.abc import Sequence

LOOK_EVERY_S: Final = 1.0
PING_IDLE_AFTER_S: Final = 60.0
"""While no stream is open nobody waits for anything; but the connection is not kept for ever."""
_SECOND_LOOK_S: Final = 0.05
_LAST_WORDS_S: Final = 0.5
"""What was written when a connection is closed has so long to leave."""
_CONNECTION_WINDOW: Final = 16 << 20
_UNTAKEN_BYTES: Final = 64 << 20
"""The connection's window is given back as data comes, until this much of messages waits for those who take them."""
_HELD_BLOCK_BYTES: Final = 64 << 10
_WRITE_BUFFER_BYTES: Final = 1 << 20
_UNREAD_BYTES: Final = 8 << 20
"""Answers to pings and settings that the far side does not read."""
_IDLE_FRAMES: Final = (10_000, 1_000.0)
_RECENT: Final = 1000
_PING: Final = b"dohle\0\0\0"


class Http2Connection(asyncio.BufferedProtocol):
    """What both sides have in common. `scratch` is shared by all connections of the loop."""

    is_client: bool
    ping_after_s: float
    """So much silence is asked about while a stream is open,"""
    answer_within_s: float
    """and that is the time to answer."""

    def __init__(self, scratch: memoryview, preface: bytes = b"") -> None:
        self.streams: dict[int, Http2Stream] = {}
        self.waiting: dict[Http2Stream, None] = {}  # for the connection's window, or its transport
        self.initial_send_window = DEFAULT_WINDOW
        self.send_window = DEFAULT_WINDOW
        self.most_frame_bytes = DEFAULT_FRAME_BYTES
        self.most_streams = LARGEST_WINDOW
        self.is_writable = False
        self.is_open = False
        self.is_going = False  # one side has said GOAWAY
        self.peer = ""
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._reader = FrameReader(self, scratch, preface)
        self._decoder = HeaderDecoder()
        self._block: bytearray | None = None  # of headers that continue
        self._block_of = (0, 0)  # its stream and flags
        self._receive_window = _CONNECTION_WINDOW
        self._held_bytes = 0
        self._untaken_bytes = 0
        self._data_stream: Http2Stream | None = None  # whose frame has begun
        self._data_size = 0
        self._data_is_last = False
        self._last_stream_id = 0  # the last one that the far side began
        self._recent: dict[int, bool] = {}  # streams that are over: whether the far side had ended them
        self._idle_frames = Allowance(*_IDLE_FRAMES)
        self._heard_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._pinged_at: float | None = None
        self._settings_came = False
        self._why = ""
        self.lost = asyncio.Event()  # its socket is closed

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes, but do all that these do
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self.is_open = self.is_writable = True
        self._heard_at = self._loop.time()
        self.write(self._greeting())
        self._timer = self._loop.call_later(LOOK_EVERY_S, self._look_at_the_time)

    def _greeting(self) -> bytes:
        return frames.settings(self._settings()) + frames.window_update(0, _CONNECTION_WINDOW - DEFAULT_WINDOW)

    def _settings(self) -> Sequence[tuple[int, int]]:
        return (
            (Setting.INITIAL_WINDOW_SIZE, WINDOW_BYTES),
            (Setting.MAX_FRAME_SIZE, FRAME_BYTES),
            (Setting.MAX_HEADER_LIST_SIZE, LARGEST_LIST_BYTES),
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self._over(self._why or (f"Connection reset: {exc}" if exc else "Socket closed"))
        self.lost.set()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        self._heard_at = self._loop.time()
        try:
            self._reader.received(nbytes)
        except ConnectionFault as fault:
            self.fail(fault)

    def pause_writing(self) -> None:
        self.is_writable = False

    def resume_writing(self) -> None:
        self.is_writable = True
        self._wake_senders()

    def _wake_senders(self) -> None:
        waiting, self.waiting = self.waiting, {}
        for stream in waiting:
            stream.wake_sender()

    # writing

    def write(self, data: bytes) -> None:
        if self.is_open:
            self._transport.write(data)

    def write_all(self, buffers: list[Any]) -> None:
        if self.is_open:
            self._transport.writelines(buffers)

    def headers(self, stream_id: int, block: bytes, *, end_stream: bool = False) -> bytes:
        return frames.headers(stream_id, block, end_stream=end_stream, frame_bytes=self.most_frame_bytes)

    def reset_stream(self, stream_id: int, code: int) -> None:
        self.write(frames.rst_stream(stream_id, code))

    # what came

    def frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if not self.is_open:
            return
        if not self._settings_came and (kind != Kind.SETTINGS or flags & ACK):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if self._block is not None and (kind != Kind.CONTINUATION or stream_id != self._block_of[0]):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a header block is interrupted")
        try:
            match kind:
                case Kind.HEADERS:
                    self._headers_frame(flags, stream_id, payload)
                case Kind.CONTINUATION:
                    self._continuation(flags, payload)
                case Kind.WINDOW_UPDATE:
                    self._window_update(stream_id, payload)
                case Kind.RST_STREAM:
                    self._rst_stream(stream_id, payload)
                case Kind.SETTINGS:
                    self._settings_frame(flags, stream_id, payload)
                case Kind.PING:
                    self._ping(flags, stream_id, payload)
                case Kind.GOAWAY:
                    self._goaway(stream_id, payload)
                case Kind.PRIORITY:
                    self._priority(stream_id, payload)
                case Kind.PUSH_PROMISE:
                    raise ConnectionFault(Code.PROTOCOL_ERROR, "PUSH_PROMISE, which was switched off")
                case _:
                    self._count_idle_frame()
        except StreamFault as fault:
            self._fail_stream(fault)

    def _count_idle_frame(self) -> None:
        if not self._idle_frames.take(self._heard_at):
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too many frames that carry nothing")

    def _fail_stream(self, fault: StreamFault) -> None:
        self._count_idle_frame()
        self.reset_stream(fault.stream_id, fault.code)
        stream = self.streams.get(fault.stream_id)
        if stream is not None:
            stream.ended(f"{fault.code.name}: {fault.why}", None)
            stream.leave()

    # headers

    def _headers_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "HEADERS of stream 0")
        block = frames.without_padding(payload, flags)
        depends_on = None
        if flags & PRIORITISED:
            if len(block) < 5:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "HEADERS without room for its priority")
            depends_on = int.from_bytes(block[:4], "big") & LARGEST_WINDOW
            block = block[5:]
        self._check_headers(stream_id)
        if flags & END_HEADERS:
            self._whole_block(stream_id, flags, block, depends_on)
        else:
            self._block, self._block_of = bytearray(block), (stream_id, flags)

    def _check_headers(self, stream_id: int) -> None:
        """Raises ConnectionFault where no headers may come on that stream."""
        if self._recent.get(stream_id):
            raise ConnectionFault(Code.STREAM_CLOSED, f"HEADERS of stream {stream_id}, which has ended")

    def _continuation(self, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "CONTINUATION of no header block")
        if not payload:
            self._count_idle_frame()
        self._block += payload
        if len(self._block) > _HELD_BLOCK_BYTES:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"a header block of more than {_HELD_BLOCK_BYTES} bytes")
        if flags & END_HEADERS:
            stream_id, first_flags = self._block_of
            block, self._block = bytes(self._block), None
            self._whole_block(stream_id, first_flags, block, None)

    def _whole_block(self, stream_id: int, flags: int, block: bytes, depends_on: int | None) -> None:
        headers = self._decoder.decode(block)
        is_last = bool(flags & END_STREAM)
        if depends_on == stream_id:
            raise StreamFault(stream_id, Code.PROTOCOL_ERROR, "a stream that depends on itself")
        stream = self.streams.get(stream_id)
        if stream is None:
            self._stream_began(stream_id, headers, is_last=is_last)
            return
        if stream.far_side_ended:
            raise StreamFault(stream_id, Code.STREAM_CLOSED, "HEADERS behind the end of the stream")
        stream.headers_came(headers, is_last=is_last)
        if is_last:
            stream.far_side_has_ended()

    def _stream_began(self, stream_id: int, headers: Headers, *, is_last: bool) -> None:
        """Headers of a stream that is not open."""
        raise NotImplementedError

    # data

    def data_begins(self, flags: int, stream_id: int, size: int) -> None:
        self._data_stream = None
        if not self.is_open:
            return
        if not self._settings_came or self._block is not None:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "DATA where it may not be")
        if not stream_id or self._is_idle(stream_id):
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"DATA of stream {stream_id}, which has not begun")
        self._receive_window -= size
        if self._receive_window < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more data than the connection's window")
        self._data_size, self._data_is_last = size, bool(flags & END_STREAM)
        if not size and not self._data_is_last:
            self._count_idle_frame()
        stream = self._data_stream = self.streams.get(stream_id)
        if stream is None:
            if self._recent.get(stream_id):
                self._fail_stream(StreamFault(stream_id, Code.STREAM_CLOSED, "DATA behind the end of the stream"))
            return
        stream.receive_window -= size
        if stream.far_side_ended:
            self._fail_data(StreamFault(stream_id, Code.STREAM_CLOSED, "DATA behind the end of the stream"))
        elif stream.receive_window < 0:
            self._fail_data(StreamFault(stream_id, Code.FLOW_CONTROL_ERROR, "more data than the stream's window"))

    def _fail_data(self, fault: StreamFault) -> None:
        self._fail_stream(fault)
        self._data_stream = None

    def data(self, part: memoryview) -> None:
        if self._data_stream is not None:
            self._data_stream.data_came(part)

    def room(self, most_bytes: int) -> memoryview:
        return memoryview(b"") if self._data_stream is None else self._data_stream.room(most_bytes)

    def filled(self, count: int) -> None:
        if self._data_stream is not None:
            self._data_stream.room_filled(count)

    def data_ends(self) -> None:
        stream, self._data_stream = self._data_stream, None
        if stream is not None and not stream.is_over:
            try:
                stream.frame_ended(self._data_size, is_last=self._data_is_last)
            except StreamFault as fault:
                self._fail_stream(fault)
        self._held_bytes += self._data_size
        self._give_back()

    def untaken(self, size_bytes: int) -> None:
        """So many bytes more, or fewer, wait in messages."""
        self._untaken_bytes += size_bytes
        if size_bytes < 0:
            self._give_back()

    def _give_back(self) -> None:
        if self._held_bytes < _CONNECTION_WINDOW // 2 or self._untaken_bytes > _UNTAKEN_BYTES:
            return
        self._receive_window += self._held_bytes
        self.write(frames.window_update(0, self._held_bytes))
        self._held_bytes = 0

    # the other kinds

    def _settings_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"SETTINGS of stream {stream_id}")
        if flags & ACK:
            if payload:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS that holds something")
            return
        self._count_idle_frame()
        for name, value in frames.settings_in(payload):
            self._set(name, value)
        self._acknowledge(frames.SETTINGS_ACK)
        if not self._settings_came:
            self._settings_came = True
            self.settings_came()

    def settings_came(self) -> None:
        """The far side's first settings are there: it speaks HTTP/2."""

    def _set(self, name: int, value: int) -> None:
        match name:
            case Setting.INITIAL_WINDOW_SIZE:
                if value > LARGEST_WINDOW:
                    raise ConnectionFault(Code.FLOW_CONTROL_ERROR, f"an initial window of {value} bytes")
                grown, self.initial_send_window = value - self.initial_send_window, value
                for stream in list(self.streams.values()):
                    if stream.send_window + grown > LARGEST_WINDOW:
                        raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "settings that make a window too large")
                    stream.window_grew(grown)
            case Setting.MAX_FRAME_SIZE:
                if not DEFAULT_FRAME_BYTES <= value < 1 << 24:
                    raise ConnectionFault(Code.PROTOCOL_ERROR, f"frames of at most {value} bytes")
                self.most_frame_bytes = value
            case Setting.MAX_CONCURRENT_STREAMS:
                self.most_streams = value
            case Setting.ENABLE_PUSH:
                if value > 1 or (value and self.is_client):
                    raise ConnectionFault(Code.PROTOCOL_ERROR, f"ENABLE_PUSH of {value}")

    def _acknowledge(self, answer: bytes) -> None:
        if not self.is_writable and self._transport.get_write_buffer_size() > _UNREAD_BYTES:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "the far side asks and does not read the answers")
        self.write(answer)

    def _ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"PING of stream {stream_id}")
        if len(payload) != 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"PING of {len(payload)} bytes")
        if not flags & ACK:
            self._count_idle_frame()
            self._acknowledge(frames.ping(payload, ack=True))

    def _priority(self, stream_id: int, payload: bytes) -> None:
        self._count_idle_frame()
        if not stream_id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PRIORITY of stream 0")
        if len(payload) != 5:
            raise StreamFault(stream_id, Code.FRAME_SIZE_ERROR, f"PRIORITY of {len(payload)} bytes")
        if int.from_bytes(payload[:4], "big") & LARGEST_WINDOW == stream_id:
            raise StreamFault(stream_id, Code.PROTOCOL_ERROR, "a stream that depends on itself")

    def _window_update(self, stream_id: int, payload: bytes) -> None:
        increment = frames.increment_in(payload)
        if not stream_id:
            if not increment:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
            self.send_window += increment
            if self.send_window > LARGEST_WINDOW:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a window larger than 2^31 - 1")
            self._wake_senders()
            return
        if self._is_idle(stream_id):
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"WINDOW_UPDATE of stream {stream_id}, which has not begun")
        if not increment:
            raise StreamFault(stream_id, Code.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
        stream = self.streams.get(stream_id)
        if stream is None:
            self._count_idle_frame()
        else:
            stream.window_grew(increment)

    def _rst_stream(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"RST_STREAM of {len(payload)} bytes")
        if not stream_id or self._is_idle(stream_id):
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"RST_STREAM of stream {stream_id}, which has not begun")
        self._count_idle_frame()
        stream = self.streams.get(stream_id)
        if stream is not None:
            code = int.from_bytes(payload, "big")
            stream.far_side_ended = True
            stream.ended(f"the stream was reset ({frames.code_name(code)})", code)
            stream.leave()

    def _goaway(self, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"GOAWAY of stream {stream_id}")
        last, code, said = frames.goaway_in(payload)
        why = f"the far side is going ({frames.code_name(code)}{': ' if said else ''}{said})"
        self.is_going = True
        self.far_side_goes(last, why)

    def far_side_goes(self, last_stream_id: int, why: str) -> None:
        """It takes no streams that were begun after that one."""

    def _is_idle(self, stream_id: int) -> bool:
        """Whether that stream has not begun."""
        raise NotImplementedError

    # time

    def _look_at_the_time(self) -> None:
        now = self._loop.time()
        patience = self.ping_after_s if self.streams else PING_IDLE_AFTER_S
        if self._pinged_at is not None and self._heard_at < self._pinged_at:
            # A process that was stopped itself reads what came meanwhile before it judges.
            self._timer = self._loop.call_later(_SECOND_LOOK_S, self._judge_silence)
            return
        self._pinged_at = None
        if now - self._heard_at >= patience:
            self._pinged_at = now
            self.write(frames.ping(_PING))
            self._timer = self._loop.call_later(self.answer_within_s, self._look_at_the_time)
        else:
            due = self._heard_at if now - self._heard_at < LOOK_EVERY_S else now
            self._timer = self._loop.call_at(due + LOOK_EVERY_S, self._look_at_the_time)

    def _judge_silence(self) -> None:
        assert self._pinged_at is not None, "judged after a ping"
        if self._heard_at < self._pinged_at:
            self.abort("ping timeout")
        else:
            self._look_at_the_time()

    # the end

    def left(self, stream: Http2Stream) -> None:
        """`stream` is over."""
        if self.streams.pop(stream.stream_id, None) is None:
            return
        self.waiting.pop(stream, None)
        self._remember(stream.stream_id, far_side_ended=stream.far_side_ended)

    def _remember(self, stream_id: int, *, far_side_ended: bool) -> None:
        self._recent[stream_id] = far_side_ended
        if len(self._recent) > _RECENT:
            del self._recent[next(iter(self._recent))]

    def fail(self, fault: ConnectionFault) -> None:
        """Ends the connection for what the far side did, and tells it."""
        self.write(frames.goaway(self._last_stream_id, fault.code, fault.why))
        self._why = f"{fault.code.name}: {fault.why}"
        self._end()

    def abort(self, why: str) -> None:
        """Ends the connection without another word."""
        self._why = why
        if self.is_open:
            self._transport.abort()
        self._over(why)

    def close(self, why: str) -> None:
        """Ends the connection: what was written leaves, no stream stays open."""
        self.write(frames.goaway(self._last_stream_id, Code.NO_ERROR, why))
        self._why = why
        self._end()

    def _end(self) -> None:
        if self.is_open:
            self._transport.close()
            if self._transport.get_write_buffer_size():
                self._loop.call_later(_LAST_WORDS_S, self._transport.abort)
        self._over(self._why)

    def _over(self, why: str) -> None:
        if not self.is_open:
            return
        self.is_open = self.is_writable = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for stream in list(self.streams.values()):
            stream.ended(why, None)
            stream.leave()
        self.is_over(why)

    def is_over(self, why: str) -> None:
        """The connection has ended."""
