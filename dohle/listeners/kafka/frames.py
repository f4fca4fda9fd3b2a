"""Bytes of a connection, cut into frames: four bytes of length, then so many bytes.

What is read goes into a buffer that all connections of a loop share, for whatever is whole there is copied out before
anybody else reads; an idle connection owns no buffer. A frame that is larger than that gets memory of its own, into
which the rest of it is read. That memory grows with what has come, not with what was announced: a length is a claim.
"""

from __future__ import annotations

from typing import Final

from dohle.model.errors import MalformedMessage

SCRATCH_BYTES: Final = 128 << 10
_SIZE_BYTES: Final = 4
_FIRST_BYTES: Final = 64 << 10
_PROXY: Final = (b"PROX", b"\r\n\r\n")
_PRINTABLE: Final = range(0x20, 0x7F)
"""Four of these would be a frame of half a gigabyte at the least."""
_HTTP: Final = (b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"DELE", b"PATC", b"CONN")


class FrameReader:
    """One connection's. `scratch` holds what was read last, until the next `buffer` of any connection."""

    def __init__(self, scratch: memoryview, most_bytes: int) -> None:
        self._scratch = scratch
        self._most_bytes = most_bytes
        self._cut = b""  # of a length
        self._frame: bytearray | None = None
        self._size = 0
        self._filled = 0
        self._is_first = True

    @property
    def expected_bytes(self) -> int:
        """How large the frame is that has begun to come; 0 if none has."""
        return 0 if self._frame is None else self._size

    @property
    def filled_bytes(self) -> int:
        """How much of it is there."""
        return 0 if self._frame is None else self._filled

    def buffer(self) -> memoryview:
        """Returns where the next bytes are to be read to."""
        if self._frame is None:
            return self._scratch
        if self._filled == len(self._frame):
            self._frame += bytes(min(self._size, 2 * len(self._frame)) - len(self._frame))
        return memoryview(self._frame)[self._filled :]

    def received(self, count: int) -> list[memoryview]:
        """Returns the frames that are whole now that `count` bytes were read, without their lengths.

        Raises MalformedMessage where a length is negative or over the limit; there is no going on after that.
        """
        if self._frame is None:
            return self._in_scratch(count)
        self._filled += count
        if self._filled < self._size:
            return []
        frame, self._frame = self._frame, None
        return [memoryview(frame)]

    def _in_scratch(self, count: int) -> list[memoryview]:
        data = self._scratch[:count]
        if self._cut:
            data = memoryview(self._cut + data)
            self._cut = b""
        frames: list[memoryview] = []
        start, end = 0, len(data)
        while end - start >= _SIZE_BYTES:
            behind = start + _SIZE_BYTES
            size = self._checked(bytes(data[start:behind]))
            start = behind + size
            if start > end:
                self._begin(size, data[behind:])
                return frames
            frames.append(memoryview(bytes(data[behind:start])))
        self._cut = bytes(data[start:])
        return frames

    def _checked(self, head: bytes) -> int:
        size = int.from_bytes(head, "big", signed=True)
        foreign = looks_like(head) if self._is_first else None
        self._is_first = False
        if foreign is not None:
            raise MalformedMessage(f"this port speaks Kafka's protocol, and what came looks like {foreign}")
        if not 0 <= size <= self._most_bytes:
            raise MalformedMessage(
                f"a request of {size} bytes: at most {self._most_bytes} are taken (socket_request_max_bytes)"
            )
        return size

    def _begin(self, size: int, part: memoryview) -> None:
        self._size, self._filled = size, len(part)
        self._frame = bytearray(min(size, max(_FIRST_BYTES, 2 * len(part))))
        self._frame[: len(part)] = part


def looks_like(head: bytes) -> str | None:
    """Returns what protocol other than Kafka's a connection begins with, by its first four bytes; None: none known."""
    if head in _HTTP:
        return "HTTP"
    if head == b"PRI ":
        return "HTTP/2, as gRPC has it"
    if head[:2] == b"\x16\x03":
        return "TLS, which is not served yet"
    if head in _PROXY:
        return "a load balancer's PROXY protocol, which is not served: switch it off there"
    return f"text: {head!r}" if all(byte in _PRINTABLE for byte in head) else None
