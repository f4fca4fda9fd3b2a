"""Messages: gRPC's frames within a stream's data, five bytes (compressed or not, length) before each.

A part that fills a frame is received where it stays: a message that came in one frame of the connection is not copied.
Memory grows with what has come: the length that is announced is a claim, and what is kept for it is one frame's.
"""

from __future__ import annotations

from typing import Final

from dohle.rpc.http2.frames import Code

PREFIX_BYTES: Final = 5

Payload = bytes | bytearray


class BadMessage(Exception):
    """What came is no message that is taken here. `is_too_large`: but would be by its form."""

    code = Code.CANCEL

    def __init__(self, why: str, *, is_too_large: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.is_too_large = is_too_large


class MessageReader:
    """One stream's: puts together messages of at most `most_bytes`."""

    __slots__ = ("_filled", "_left", "_most_bytes", "_part", "_parts", "_prefix")

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._prefix = b""
        self._parts: list[Payload] = []
        self._left = 0  # of the message that has begun
        self._part: bytearray | None = None  # that is being filled from the socket
        self._filled = 0

    @property
    def is_between_messages(self) -> bool:
        return not self._left and not self._prefix

    def received(self, data: memoryview) -> list[Payload]:
        """Returns the messages that are whole now that `data` came. Raises BadMessage."""
        messages: list[Payload] = []
        at, end = 0, len(data)
        while at < end:
            if self._part is not None:  # the last of it was not worth a read of its own
                rest = data[at : at + len(self._part) - self._filled]
                memoryview(self._part)[self._filled : self._filled + len(rest)] = rest
                at += len(rest)
                if (message := self.filled(len(rest))) is not None:
                    messages.append(message)
                continue
            if not self._left:
                missing = PREFIX_BYTES - len(self._prefix)
                self._prefix += bytes(data[at : at + missing])
                at += missing
                if len(self._prefix) < PREFIX_BYTES:
                    break
                self._left = self._size_in(self._prefix)
                if not self._left:
                    messages.append(b"")
                    self._prefix = b""
                continue
            part = bytes(data[at : at + self._left])
            at += len(part)
            if (message := self._with(part)) is not None:
                messages.append(message)
        return messages

    def room(self, most_bytes: int) -> memoryview:
        """Returns where at most `most_bytes` of the message that has begun are to be received to; nothing between two.

        The same until `filled` says that it is full.
        """
        if self._part is None:
            size = min(most_bytes, self._left)
            if not size:
                return memoryview(b"")
            self._part, self._filled = bytearray(size), 0
        return memoryview(self._part)[self._filled :]

    def filled(self, count: int) -> Payload | None:
        """`count` bytes were received to `room`; returns the message if it is whole now."""
        assert self._part is not None, "nothing was asked for"
        self._filled += count
        if self._filled < len(self._part):
            return None
        part, self._part = self._part, None
        return self._with(part)

    def _with(self, part: Payload) -> Payload | None:
        self._left -= len(part)
        if self._left:
            self._parts.append(part)
            return None
        self._prefix = b""
        if not self._parts:
            return part
        whole = b"".join((*self._parts, part))
        self._parts.clear()
        return whole

    def _size_in(self, prefix: bytes) -> int:
        size = int.from_bytes(prefix[1:], "big")
        if prefix[0]:
            raise BadMessage("compressed messages are not taken")
        if size > self._most_bytes:
            raise BadMessage(f"a message of {size} bytes: at most {self._most_bytes} are taken", is_too_large=True)
        return size
