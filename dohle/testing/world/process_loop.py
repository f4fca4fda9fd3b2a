"""ProcessLoop: the event loop of one simulated process, which is a real asyncio loop to all that runs on it.

A killed process is frozen: its callbacks are dropped, and its tasks are kept for ever. Cancelling or collecting them
would run their `finally` blocks, and a process that is killed runs nothing more.
"""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import math
from asyncio.events import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar, TypeVarTuple, Unpack

from dohle.testing.world.scheduler import Scheduler

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_GRAVEYARD: list[object] = []
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_GRAVEYARD))  # outlives even the interpreter's own end


_FEW_TASKS = 32


class SerialTask(asyncio.Task[T]):
    """A task whose hash is a number of the run rather than an address, so that sets of tasks keep one order."""

    def __init__(self, work: Coroutine[Any, Any, T], serial: int, **options: Any) -> None:
        self._serial = serial
        super().__init__(work, **options)

    def __hash__(self) -> int:
        return self._serial


class Call(partial[object]):
    """A callback to come, and a `TimerHandle` to who asked for it: whoever calls this runs it, in its context.

    C makes it and calls it by itself: there is one an event, and asyncio's own take many times as long.
    """

    _cancelled = False
    _when = 0.0

    def cancel(self) -> None:
        """It stays where it is until it is due, and what it holds goes."""
        self.__setstate__((bool, (), {}, {"_cancelled": True, "_when": self._when}))  # type: ignore[attr-defined]

    def cancelled(self) -> bool:
        return self._cancelled

    def when(self) -> float:
        return self._when


class ProcessLoop(AbstractEventLoop):
    """One process's turn-taker. `time_offset` is where its monotonic clock began: no two machines agree.

    What a real loop has and this one leaves out (sockets, threads, signals) raises NotImplementedError, as it should:
    code that reaches for it goes past the seams.
    """

    def __init__(self, scheduler: Scheduler, name: str, time_offset: float = 0.0) -> None:
        self.name = name
        self.number = len(scheduler.loops)
        self.tasks: dict[asyncio.Task[Any], None] = {}  # all that have not ended, and some that have
        self._tidy_at = _FEW_TASKS
        self.alive = True
        self._scheduler = scheduler
        self._time_offset = time_offset
        self._ready: deque[Call] = deque()
        self._runnable = scheduler.runnable
        self._paused = False
        self._queued = False
        self.create_future = partial(asyncio.Future, loop=self)  # type: ignore[method-assign]  # no frame of its own
        scheduler.loops.append(self)

    # what the scheduler asks

    def turn(self) -> int:
        """Runs what is ready now, and not what becomes ready meanwhile; returns how much that was."""
        self._queued = False
        ready = self._ready
        count = len(ready)
        take = ready.popleft
        for index in range(count):
            if not self.alive or self._paused:
                return index
            call = take()
            try:
                call()
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as failure:  # noqa: BLE001 - as every loop does
                self._callback_failed(call, failure)
        if ready:
            self._wake()
        return count

    def _due(self, call: Call) -> None:
        if self.alive and not call._cancelled:
            self._ready.append(call)
            if not self._queued:
                self._wake()

    def _wake(self) -> None:
        if self._ready and not self._queued and not self._paused and self.alive:
            self._queued = True
            self._runnable.append(self)

    # what happens to the process

    def pause(self) -> None:
        """Stops it as SIGSTOP does: whatever falls due meanwhile falls due at once when it goes on."""
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._wake()

    @property
    def paused(self) -> bool:
        return self._paused

    def kill(self) -> None:
        """Ends it between two callbacks, or in the middle of one if that is what calls this."""
        self.alive = False
        _GRAVEYARD.append(self._ready)  # coroutines that have not begun may be among what it holds
        self._ready = deque()
        for task in self.tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        _GRAVEYARD.extend(self.tasks)

    # what asyncio asks

    def time(self) -> float:
        return self._scheduler.now + self._time_offset

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        call = Call((copy_context() if context is None else context).run, callback, *args)
        if self.alive:
            self._ready.append(call)
            if not self._queued and not self._paused:
                self._queued = True
                self._runnable.append(self)
        return call  # type: ignore[return-value]  # all of a handle that anybody uses

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        call = Call((copy_context() if context is None else context).run, callback, *args)
        call._when = when
        if self.alive:
            self._scheduler.at(self.world_time(when), self._due, call)
        return call  # type: ignore[return-value]  # likewise

    def world_time(self, when: float) -> float:
        """Returns the scheduler's time at which this loop's own will be `when`."""
        offset = self._time_offset
        due = when - offset
        while due + offset < when:  # rounded: a timer must never find that it is not due yet
            due = math.nextafter(due, math.inf)
        return due

    def sleep(self, seconds: float) -> asyncio.Future[None]:
        """Returns what is done by then; `asyncio.sleep` would wake its task by one event more."""
        done: asyncio.Future[None] = self.create_future()
        if self.alive:
            self._scheduler.at(self.world_time(self.time() + seconds), self._end_sleep, done)
        return done

    def _end_sleep(self, done: asyncio.Future[None]) -> None:
        if self.alive and not done.done():
            done.set_result(None)

    def set_later(self, event: asyncio.Event, seconds: float) -> asyncio.TimerHandle:
        """Has `event` be set by then; `call_later` would do that by one event more."""
        when = self.time() + seconds
        call = Call(event.set)
        call._when = when
        if self.alive:
            self._scheduler.at(self.world_time(when), self._set, call)
        return call  # type: ignore[return-value]  # likewise

    def _set(self, call: Call) -> None:
        if self.alive and not call._cancelled:
            call()

    def create_task(
        self, coro: Any, *, name: str | None = None, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        serial = self._scheduler.serial()
        task: SerialTask[Any] = SerialTask(coro, serial, loop=self, name=name or f"task {serial}", context=context)
        if self.alive:
            if len(self.tasks) >= self._tidy_at:
                self._tidy()
            self.tasks[task] = None
        else:  # the process was killed in the middle of the callback that asks for this
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            _GRAVEYARD.append(task)
        return task

    def _tidy(self) -> None:
        """Forgets tasks that have ended; now and then, since a callback of each would be an event more."""
        self.tasks = {task: None for task in self.tasks if not task.done()}
        self._tidy_at = 2 * len(self.tasks) + _FEW_TASKS

    get_debug = staticmethod(bool)  # false, and no Python frame: every future that is made asks for it

    def is_running(self) -> bool:
        return self.alive

    def is_closed(self) -> bool:
        return not self.alive

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A failure that nobody asked for is no bug of the process."""

    def _callback_failed(self, call: Call, failure: BaseException) -> None:
        """A callback that raises is a bug of the process."""
        if self.alive:
            callback = call.args[0] if call.args else call.func
            self._scheduler.callback_failures.append(f"{self.name}: exception in callback {callback!r}: {failure!r}")
            self._scheduler.stop()
