"""Inbox: the receiving half of a stream, one message ahead of its receiver.

Reading ahead lets the next message travel while this one is worked on, makes the end of the stream known while nobody
receives, and lets a waiting receiver be cancelled without losing a message, which gRPC's own `read` does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from dohle.model.errors import DohleError, NetworkException

Message = TypeVar("Message")


class Inbox(Generic[Message]):
    """At most one message that was read and not yet received."""

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self._message: Message | None = None
        self._ended = False
        self.discarded = False
        self._failure: DohleError | None = None
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()
        self._taken.set()

    async def fill(self, read: Callable[[], Awaitable[Message | None]]) -> None:
        """Reads until the stream ends, which `read` tells by None or by a DohleError."""
        try:
            while not self._ended:
                await self._taken.wait()
                message = await read()
                if message is None:
                    self.end(None)
                    return
                if self._ended:
                    return
                self._message = message
                self._taken.clear()
                self._changed.set()
        except DohleError as failure:
            self.end(failure)
        finally:
            self.end(NetworkException(f"the stream with {self._peer} was closed"))

    def end(self, failure: DohleError | None) -> None:
        """Ends the stream, after the message that was read; the first end counts."""
        if not self._ended:
            self._ended = True
            self._failure = failure
            self._changed.set()

    def discard(self) -> None:
        """Ends the stream at this side's will: what was read is dropped."""
        self.end(NetworkException(f"the stream with {self._peer} was closed"))
        self.discarded = True
        self._message = None
        self._taken.set()

    async def receive(self) -> Message | None:
        """Returns the next message, or None at the end. Raises what ended the stream."""
        while True:
            message = self._message
            if message is not None:
                self._message = None
                self._changed.clear()
                if self._ended:
                    self._changed.set()
                self._taken.set()
                return message
            if self._ended:
                if self._failure is not None:
                    raise self._failure
                return None
            await self._changed.wait()
