"""FrameReader: cuts what is read from a connection into frames.

What is read goes into a buffer that all connections of a loop share, since what is cut off there is kept apart before
anybody else reads. Data frames are not gathered: what is there of one is passed on, and the rest of a long one is read
straight to where its message is put together.
"""

from __future__ import annotations

from typing import Final, Protocol

from dohle.rpc.http2.frames import (
    DEFAULT_FRAME_BYTES,
    HEAD_BYTES,
    PADDED,
    Code,
    ConnectionFault,
    Kind,
)

SCRATCH_BYTES: Final = 128 << 10
FRAME_BYTES: Final = 2 << 20
"""The longest data frame that is taken; of other kinds `DEFAULT_FRAME_BYTES`, which is what a header block may need."""
_DIRECT_BYTES: Final = 16 << 10
"""Less of a frame than this is read with what follows it."""


class Frames(Protocol):
    """Who takes the frames. Each method may raise ConnectionFault."""

    def frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """A whole frame of any kind but DATA."""

    def data_begins(self, flags: int, stream_id: int, size: int) -> None:
        """A DATA frame of `size` bytes, padding included; its parts follow, then `data_ends`."""

    def data(self, part: memoryview) -> None: ...

    def data_ends(self) -> None: ...

    def room(self, most_bytes: int) -> memoryview:
        """Returns where at most so many bytes of the frame are to be read to; nothing if that is anywhere."""

    def filled(self, count: int) -> None: ...


class FrameReader:
    """One connection's. `scratch` holds what was read last, until the next `buffer` of any connection."""

    def __init__(self, frames: Frames, scratch: memoryview, preface: bytes = b"") -> None:
        self._frames = frames
        self._preface = preface  # what is to come before the first frame
        self._scratch = scratch
        self._cut = b""  # the beginning of a frame
        self._data_left = 0  # of the DATA frame that has begun, without its padding
        self._padding_left = 0
        self._in_data = False
        self._is_direct = False

    def buffer(self) -> memoryview:
        """Returns where the next bytes are to be read to."""
        self._is_direct = False  # where nothing came of the last one
        if self._data_left >= _DIRECT_BYTES:
            room = self._frames.room(self._data_left)
            if len(room) >= _DIRECT_BYTES:
                self._is_direct = True
                return room
        return self._scratch

    def received(self, count: int) -> None:
        """`count` bytes are in the last `buffer`. Raises ConnectionFault; there is no going on after that."""
        if self._is_direct:
            self._is_direct = False
            self._data_left -= count
            self._frames.filled(count)
            if not self._data_left and not self._padding_left:
                self._in_data = False
                self._frames.data_ends()
            return
        data = self._scratch[:count]
        if self._cut:
            data = memoryview(self._cut + data)
            self._cut = b""
        at, end = self._behind_preface(data) if self._preface else 0, len(data)
        while at < end:
            at = self._rest_of_data(data, at) if self._in_data else self._next(data, at)

    def _behind_preface(self, data: memoryview) -> int:
        came = bytes(data[: len(self._preface)])
        if not self._preface.startswith(came):
            raise ConnectionFault(
                Code.PROTOCOL_ERROR, f"this port speaks HTTP/2, as gRPC has it, and what came is {came!r}"
            )
        self._preface = self._preface[len(came) :]
        return len(came)

    def _rest_of_data(self, data: memoryview, at: int) -> int:
        if self._data_left:
            part = data[at : at + self._data_left]
            self._data_left -= len(part)
            at += len(part)
            self._frames.data(part)
        skipped = min(self._padding_left, len(data) - at)
        self._padding_left -= skipped
        if not self._data_left and not self._padding_left:
            self._in_data = False
            self._frames.data_ends()
        return at + skipped

    def _next(self, data: memoryview, at: int) -> int:
        """Takes the frame at `at`, or the part of it that is there; returns where the next one is."""
        if len(data) - at < HEAD_BYTES:
            self._cut = bytes(data[at:])
            return len(data)
        size = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
        kind, flags = data[at + 3], data[at + 4]
        stream_id = int.from_bytes(data[at + 5 : at + 9], "big") & 0x7FFF_FFFF
        payload = at + HEAD_BYTES
        if kind == Kind.DATA:
            return self._data_frame(data, payload, flags, stream_id, size, at)
        if size > DEFAULT_FRAME_BYTES:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame of type {kind} of {size} bytes")
        if len(data) < payload + size:
            self._cut = bytes(data[at:])
            return len(data)
        self._frames.frame(kind, flags, stream_id, bytes(data[payload : payload + size]))
        return payload + size

    def _data_frame(self, data: memoryview, payload: int, flags: int, stream_id: int, size: int, at: int) -> int:
        if size > FRAME_BYTES:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame of {size} bytes of data")
        padding = 0
        if flags & PADDED:
            if len(data) == payload and size:  # the length of the padding comes after the head
                self._cut = bytes(data[at:])
                return len(data)
            if not size or data[payload] >= size:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "more padding than there is in the frame")
            padding = data[payload]
            payload += 1
        self._frames.data_begins(flags, stream_id, size)
        self._data_left = size - padding - (1 if flags & PADDED else 0)
        self._padding_left = padding
        self._in_data = bool(self._data_left or padding)
        if not self._in_data:
            self._frames.data_ends()
        return payload
