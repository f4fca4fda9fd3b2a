"""The two ends of an rpc over a simulated connection.

Messages cross as bytes, so that no two processes share an object. A sender waits while the far side has not yet
received what fills its window; the far side says so for every half of a window, as HTTP/2 does, and not for every
message, which would double a run's events.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from dohle.model.errors import DohleError, NetworkException
from dohle.testing.world.connection import Connection
from dohle.testing.world.links import MESSAGE_BYTES
from dohle.testing.world.trace import Trace

WINDOW_BYTES = 256 << 10


class RpcEnd:
    """One end; `send`, `receive` and `close` are the Stream of `dohle.runtime.network`."""

    def __init__(self, connection: Connection, side: int, number: int, receives: type[Any], trace: Trace) -> None:
        self.far: RpcEnd | None = None
        self.finished = False  # the rpc is over as far as this side knows; what was received may still be read
        self.on_cancelled: Callable[[], None] | None = None
        self._connection = connection
        self._side = side
        self._number = number
        self._receives = receives
        self._trace = trace
        self._inbox: deque[bytes] = deque()
        self._failure: DohleError | None = None
        self._discarded = False
        self._receiver: asyncio.Future[None] | None = None  # waits for a message, or the end
        self._room = asyncio.Event()
        self._unreceived_bytes = 0  # of what this end sent
        self._untold_bytes = 0  # received here, and the far end does not know
        mine = connection.sides[side]
        self._loop = mine.party.loop
        self._peer = connection.sides[1 - side].party.name
        mine.on_break[number] = self._connection_broke

    async def send(self, message: Any) -> None:
        data: bytes = message.SerializeToString()
        while self._unreceived_bytes > WINDOW_BYTES and not self.finished:
            self._room.clear()
            try:
                await self._room.wait()
            except asyncio.CancelledError:
                self.close()
                raise
        if self.finished:
            raise self._failure or NetworkException(f"{self._peer} has ended the stream")
        self.transmit(data)

    def transmit(self, data: bytes) -> None:
        """Sends what is already bytes, whatever the window."""
        size_bytes = len(data)
        self._unreceived_bytes += size_bytes
        self._connection.transmit(1 - self._side, self._far().arrived, (data,), MESSAGE_BYTES + size_bytes)

    async def receive(self) -> Any | None:
        while True:
            if self._inbox:
                return self._receives.FromString(self._next())
            if self.finished:
                if self._failure is not None:
                    raise self._failure
                return None
            self._receiver = self._loop.create_future()
            await self._receiver

    def _next(self) -> bytes:
        data = self._inbox.popleft()
        self._untold_bytes += len(data)
        if self._untold_bytes > WINDOW_BYTES // 2:
            told, self._untold_bytes = self._untold_bytes, 0
            self._connection.transmit(1 - self._side, self._far().received, (told,))
        return data

    def close(self) -> None:
        """Abandons the rpc: nothing that is here is received any more, and the far side finds it broken."""
        if self._discarded:
            return
        self._discarded = True
        self._inbox.clear()
        if not self.finished:
            self._connection.transmit(1 - self._side, self._far().abandoned)
        closed = NetworkException(f"the stream with {self._peer} was closed")
        self.end(closed)
        self._failure = closed

    def finish(self, failure: DohleError | None) -> None:
        """The handler has ended: says so to the far side, after all that was sent."""
        self._connection.transmit(1 - self._side, self._far().end, (failure,))
        self.end(None)

    # what arrives

    def arrived(self, data: bytes) -> None:
        if not self.finished:
            self._trace.note(self._peer, data)
            self._inbox.append(data)
            self._wake_receiver()

    def received(self, size: int) -> None:
        self._unreceived_bytes -= size
        self._room.set()

    def abandoned(self) -> None:
        """The far side closed it."""
        self._gone(NetworkException(f"{self._peer} has left the stream"))

    def end(self, failure: DohleError | None) -> None:
        """Ends this end; the first reason counts, and what was received before can still be read."""
        if self.finished:
            return
        self.finished = True
        self._failure = failure
        self._connection.sides[self._side].on_break.pop(self._number, None)
        self._wake_receiver()
        self._room.set()

    def _wake_receiver(self) -> None:
        if self._receiver is not None and not self._receiver.done():
            self._receiver.set_result(None)

    def _connection_broke(self) -> None:
        self._gone(NetworkException(f"the connection to {self._peer} broke"))

    def _gone(self, failure: DohleError) -> None:
        if not self.finished:
            self.end(failure)
            if self.on_cancelled is not None:
                self.on_cancelled()

    def _far(self) -> RpcEnd:
        assert self.far is not None, "the ends of an rpc are joined before anything is sent"
        return self.far


def joined(
    connection: Connection, number: int, request: type[Any], response: type[Any], trace: Trace
) -> tuple[RpcEnd, RpcEnd]:
    """Returns the caller's end and the server's."""
    caller = RpcEnd(connection, 0, number, response, trace)
    server = RpcEnd(connection, 1, number, request, trace)
    caller.far, server.far = server, caller
    return caller, server
