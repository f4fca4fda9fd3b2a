"""Frames of HTTP/2 (RFC 9113, chapters 4 and 6): their types, how they are written, and what is wrong with them."""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Iterator
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES: Final = 9
DEFAULT_WINDOW: Final = 65_535
DEFAULT_FRAME_BYTES: Final = 16_384
LARGEST_WINDOW: Final = (1 << 31) - 1
LARGEST_STREAM: Final = (1 << 31) - 1

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITISED: Final = 0x20


class Kind(enum.IntEnum):
    """Types of frames; all others are ignored (chapter 5.5)."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Code(enum.IntEnum):
    """Why a stream or a connection ends (chapter 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


def code_name(code: int) -> str:
    """Returns the name of an error code, its number where it has none."""
    return Code(code).name if 0 <= code <= max(Code) else str(code)


class Setting(enum.IntEnum):
    """Parameters of a connection (chapter 6.5.2); all others are ignored."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ConnectionFault(Exception):
    """What the far side did ends the connection."""

    def __init__(self, code: Code, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why


class StreamFault(Exception):
    """What the far side did ends one stream."""

    def __init__(self, stream_id: int, code: Code, why: str) -> None:
        super().__init__(why)
        self.stream_id = stream_id
        self.code = code
        self.why = why


_HEAD = struct.Struct(">HBBBI")
_DATA_HEAD = struct.Struct(">HBBBIBI")
_WORD = struct.Struct(">I")
_SETTING = struct.Struct(">HI")
_GOAWAY = struct.Struct(">II")


def head(size: int, kind: int, flags: int, stream_id: int) -> bytes:
    """Returns the nine bytes before a payload of `size` bytes."""
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream_id)


def message_head(stream_id: int, flags: int, frame_size: int, message_size: int) -> bytes:
    """Returns what stands before a message whose first part fills a DATA frame: the frame's nine bytes, gRPC's five."""
    return _DATA_HEAD.pack(frame_size >> 8, frame_size & 0xFF, Kind.DATA, flags, stream_id, 0, message_size)


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    payload = b"".join(_SETTING.pack(name, value) for name, value in values)
    return head(len(payload), Kind.SETTINGS, 0, 0) + payload


SETTINGS_ACK: Final = head(0, Kind.SETTINGS, ACK, 0)


def settings_in(payload: bytes) -> Iterator[tuple[int, int]]:
    if len(payload) % _SETTING.size:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes")
    return _SETTING.iter_unpack(payload)


def ping(payload: bytes, *, ack: bool = False) -> bytes:
    return head(8, Kind.PING, ACK if ack else 0, 0) + payload


def window_update(stream_id: int, increment: int) -> bytes:
    return head(4, Kind.WINDOW_UPDATE, 0, stream_id) + _WORD.pack(increment)


def increment_in(payload: bytes) -> int:
    if len(payload) != _WORD.size:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"WINDOW_UPDATE of {len(payload)} bytes")
    return int.from_bytes(payload, "big") & LARGEST_WINDOW


def rst_stream(stream_id: int, code: int) -> bytes:
    return head(4, Kind.RST_STREAM, 0, stream_id) + _WORD.pack(code)


def goaway(last_stream_id: int, code: int, why: str = "") -> bytes:
    said = why.encode()[:200]
    return head(8 + len(said), Kind.GOAWAY, 0, 0) + _GOAWAY.pack(last_stream_id, code) + said


def goaway_in(payload: bytes) -> tuple[int, int, str]:
    """Returns the last stream that was taken, the code, and what was said beside it."""
    if len(payload) < _GOAWAY.size:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"GOAWAY of {len(payload)} bytes")
    last, code = _GOAWAY.unpack_from(payload)
    return last & LARGEST_STREAM, code, payload[_GOAWAY.size :].decode(errors="replace")


def headers(stream_id: int, block: bytes, *, end_stream: bool, frame_bytes: int) -> bytes:
    """Returns HEADERS, and CONTINUATION where the far side's frames are too small for the block."""
    flags = END_STREAM if end_stream else 0
    if len(block) <= frame_bytes:
        return head(len(block), Kind.HEADERS, flags | END_HEADERS, stream_id) + block
    parts = [block[at : at + frame_bytes] for at in range(0, len(block), frame_bytes)]
    out = [head(len(parts[0]), Kind.HEADERS, flags, stream_id), parts[0]]
    for number, part in enumerate(parts[1:], 2):
        last = END_HEADERS if number == len(parts) else 0
        out += [head(len(part), Kind.CONTINUATION, last, stream_id), part]
    return b"".join(out)


def without_padding(payload: bytes, flags: int) -> bytes:
    """Returns the part of a padded frame's payload that counts; chapter 6.1."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(Code.PROTOCOL_ERROR, "more padding than there is in the frame")
    return payload[1 : len(payload) - payload[0]]
