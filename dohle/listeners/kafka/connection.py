"""One client's connection: frames come in, are answered side by side, and leave in the order they came.

Keeps: no request is begun while `MOST_IN_FLIGHT` wait for their answers, or while the client does not take what it was
answered; then nothing is read either, and the client's own sending stops. A request counts in the node's budget from
its length on until its answer has left. A large answer is made only when all before it have left.

What is malformed, or of an API or version that is not served, closes the connection, as with Kafka.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, cast

from dohle.kafka.declaration import Buffer, Response
from dohle.kafka.framing import RequestStart, decode_request, encode_response, request_start
from dohle.listeners.kafka.apis import Caller, ServedApi
from dohle.listeners.kafka.frames import FrameReader
from dohle.listeners.kafka.versions import API_VERSIONS, unsupported_api_versions
from dohle.model.errors import DohleError, MalformedMessage
from dohle.runtime.network import Address
from dohle.runtime.tasks import Tasks

if TYPE_CHECKING:
    from dohle.listeners.kafka.listener import KafkaListener

MOST_IN_FLIGHT: Final = 32
_LEAST_COUNTED_BYTES: Final = 1 << 10
"""What a request counts as at the least: what answers it takes memory as well."""
_WRITE_BUFFER_BYTES: Final = 1 << 20
PATIENCE_S: Final = 30.0
LEAST_BYTES_PER_S: Final = 16 << 10
"""A client that sends a frame, or takes an answer, has `PATIENCE_S` and the time that this rate needs."""


class _Waiting:
    """The place of one answer in the order of the requests."""

    __slots__ = ("buffers", "counted_bytes", "is_first", "is_ready")

    def __init__(self, counted_bytes: int) -> None:
        self.counted_bytes = counted_bytes
        self.buffers: list[Buffer] = []  # stays empty where no answer is expected
        self.is_ready = False
        self.is_first: asyncio.Event | None = None  # of a large answer that waits for its turn


class KafkaConnection(asyncio.BufferedProtocol):
    """A connection of `listener`, which owns it, by the port that is called `name`."""

    def __init__(self, listener: KafkaListener, scratch: memoryview, most_frame_bytes: int, name: str) -> None:
        self._listener = listener
        self._name = name
        self._reader = FrameReader(scratch, most_frame_bytes)
        self._tasks = Tasks("kafka connection", self._failed)
        self._frames: deque[tuple[memoryview, int]] = deque()  # whole ones that are not begun yet
        self._waiting: deque[_Waiting] = deque()
        self._counted_bytes = 0  # in the node's budget
        self._begun_bytes = 0  # of the frame that is coming; they count once the budget has room
        self._begins = False
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._reads = True
        self._waits_for_budget = False
        self._unsent_bytes = 0
        self._deadline: float | None = None  # for the frame that is coming
        self._taken_by: float | None = None  # when the client must have taken what was written
        self._active_at = 0.0
        self._is_open = False
        self.peer = self.reached = Address("", 0)

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes, but do all that these do
        self._transport = cast("asyncio.Transport", transport)
        self.peer = _address(transport.get_extra_info("peername"))
        self.reached = _address(transport.get_extra_info("sockname"))
        self._active_at = self._listener.now()
        if not self._listener.admits(self):
            self._transport.abort()
            return
        self._is_open = True
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._listener.requests.give_back(self._counted_bytes)
        self._listener.answers.give_back(self._unsent_bytes)
        self._frames.clear()
        self._waiting.clear()
        self._listener.left(self, self._tasks)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        self._active_at = self._listener.now()
        try:
            frames = self._reader.received(nbytes)
        except MalformedMessage as error:
            self.close(error.message)
            return
        for frame in frames:
            counted = max(len(frame), _LEAST_COUNTED_BYTES)
            if self._begun_bytes:  # it is the one that was announced
                counted, self._begun_bytes, self._deadline = self._begun_bytes, 0, None
            else:
                self._count(counted)
            self._frames.append((frame, counted))
        if self._reader.expected_bytes and not self._begun_bytes:
            self._frame_begins(self._reader.expected_bytes)
        self._go_on()

    def pause_writing(self) -> None:
        self._can_write.clear()
        unsent = self._transport.get_write_buffer_size()
        self._unsent_bytes = unsent
        self._listener.answers.take_now(unsent)
        self._taken_by = self._active_at + PATIENCE_S + unsent / LEAST_BYTES_PER_S

    def resume_writing(self) -> None:
        self._listener.answers.give_back(self._unsent_bytes)
        self._unsent_bytes, self._taken_by = 0, None
        self._can_write.set()
        self._go_on()

    # back-pressure

    def _count(self, size_bytes: int) -> None:
        """Counts a whole frame. One that came with the last read over the budget is the last that is read for now."""
        self._counted_bytes += size_bytes
        self._listener.requests.take_now(size_bytes)
        if not self._listener.requests.free_bytes and not self._waits_for_budget:
            self._waits_for_budget = True
            self._tasks.spawn(self._take(0), "budget")

    def _give_back(self, size_bytes: int) -> None:
        self._counted_bytes -= size_bytes
        self._listener.requests.give_back(size_bytes)

    def _frame_begins(self, size_bytes: int) -> None:
        """A frame counts as a whole before the rest of it is read, so that whatever has begun can also end."""
        self._begun_bytes = max(size_bytes, _LEAST_COUNTED_BYTES)
        if not self._waits_for_budget and self._listener.requests.take_if_fits(self._begun_bytes):
            self._counted_bytes += self._begun_bytes
            self._frame_may_come()
        else:
            self._waits_for_budget = True
            self._tasks.spawn(self._take(self._begun_bytes), "budget")

    async def _take(self, size_bytes: int) -> None:
        await self._listener.requests.take(size_bytes)
        if not self._is_open:
            self._listener.requests.give_back(size_bytes)
            return
        self._counted_bytes += size_bytes
        if size_bytes == self._begun_bytes:  # 0 where no frame has begun
            self._waits_for_budget = False
            self._frame_may_come()
            self._go_on()

    def _frame_may_come(self) -> None:
        if self._begun_bytes:
            self._deadline = self._listener.now() + PATIENCE_S + self._begun_bytes / LEAST_BYTES_PER_S

    def _go_on(self) -> None:
        """Begins what may begin, and reads where there is room for more."""
        if not self._is_open or self._transport.is_closing():
            return
        if self._frames and not self._begins and self._may_begin():
            self._begins = True
            self._tasks.spawn(self._begin_frames(), "requests")
        reads = not self._waits_for_budget and self._can_write.is_set() and len(self._frames) < MOST_IN_FLIGHT
        if reads != self._reads:
            self._reads = reads
            if reads:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _may_begin(self) -> bool:
        return len(self._waiting) < MOST_IN_FLIGHT and self._can_write.is_set()

    # requests

    async def _begin_frames(self) -> None:
        try:
            while self._frames and self._may_begin() and self._is_open:
                frame, counted = self._frames.popleft()
                await self._begin(frame, counted)
        except DohleError as error:
            self.close(error.message)
        finally:
            self._begins = False
            self._go_on()

    async def _begin(self, frame: memoryview, counted: int) -> None:
        start = request_start(frame)
        waiting = _Waiting(counted)
        api = self._listener.apis.get(start.api_key)
        if api is None or start.api_version not in api.request.API.versions:
            self._waiting.append(waiting)
            self._refuse_version(api, start, waiting)
            return
        client_id, request = decode_request(api.request, start.api_version, frame)
        self._waiting.append(waiting)
        self._listener.count(api)
        caller = Caller(client_id, start.api_version, self.peer, self.reached, self._name)
        if api.begin is None:
            assert api.answer is not None, f"nobody answers {api.request.API.name}"
            rest: Coroutine[Any, Any, Response | None] | None = api.answer(request, caller)
        else:
            rest = await api.begin(request, caller)
        if rest is None:
            self._answered(waiting, [])
        elif not self._is_open:
            rest.close()
        elif api.is_change:
            await self._finish(rest, waiting, start, is_large=api.is_large)
        else:
            self._tasks.spawn(self._finish(rest, waiting, start, is_large=api.is_large), api.request.API.name)

    async def _finish(
        self, rest: Coroutine[Any, Any, Response | None], waiting: _Waiting, start: RequestStart, *, is_large: bool
    ) -> None:
        try:
            if is_large:
                await self._turn_of(waiting)
            response = await rest
        except DohleError as error:
            self.close(error.message)
            return
        finally:
            rest.close()  # where its turn never came
        self._answered(
            waiting, [] if response is None else encode_response(response, start.api_version, start.correlation_id)
        )

    def _refuse_version(self, api: ServedApi | None, start: RequestStart, waiting: _Waiting) -> None:
        if start.api_key != API_VERSIONS:
            name = f"API key {start.api_key}" if api is None else api.request.API.name
            raise MalformedMessage(f"{name} version {start.api_version} is not served")
        answer = unsupported_api_versions(self._listener.apis)
        self._answered(waiting, encode_response(answer, 0, start.correlation_id))

    # answers

    async def _turn_of(self, waiting: _Waiting) -> None:
        if not self._waiting or self._waiting[0] is not waiting:
            waiting.is_first = asyncio.Event()
            await waiting.is_first.wait()
        await self._can_write.wait()

    def _answered(self, waiting: _Waiting, buffers: list[Buffer]) -> None:
        waiting.buffers, waiting.is_ready = buffers, True
        while self._waiting and self._waiting[0].is_ready:
            first = self._waiting.popleft()
            if first.buffers and not self._transport.is_closing():
                self._transport.writelines(first.buffers)
            self._give_back(first.counted_bytes)
        if self._waiting and self._waiting[0].is_first is not None:
            self._waiting[0].is_first.set()
        self._active_at = self._listener.now()
        self._go_on()

    # the end

    @property
    def is_idle(self) -> bool:
        """Whether nothing is asked that has not been answered."""
        return not self._frames and not self._waiting

    def look_at_the_time(self, now: float, most_idle_s: float) -> None:
        """Closes the connection if its client is too slow, or silent for too long."""
        if self._deadline is not None and now > self._deadline:
            self.close(
                f"{self._reader.filled_bytes} of {self._reader.expected_bytes} bytes of a request came in"
                f" {PATIENCE_S:.0f} s and more: too slow to wait for"
            )
        elif self._taken_by is not None and now > self._taken_by:
            self.close("it does not take its answers")
        elif self.is_idle and now - self._active_at > most_idle_s:
            self._transport.abort()

    def close(self, why: str) -> None:
        """Drops the connection for what its client did, and says so in the log."""
        if self._is_open and not self._transport.is_closing():
            self._listener.complain(self.peer, why)
            self._transport.abort()

    def drop(self) -> None:
        """Drops it because the node goes."""
        if self._is_open:
            self._transport.abort()

    def _failed(self, failure: BaseException) -> None:
        """A bug of ours costs this connection and nothing else; the task group has logged it."""
        self.close(f"what it asked for failed here: {failure!r}")


def _address(socket_name: Any) -> Address:
    host, port = socket_name[:2] if socket_name else ("", 0)
    return Address(host.removeprefix("::ffff:"), port)
