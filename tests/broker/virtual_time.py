"""An event loop whose clock jumps to the next timer when nothing is ready: seconds of waiting cost nothing.

With networks in memory a run is the same every time: no socket is part of it, and what a disk would do in threads is
done on the loop.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from dohle.runtime.clock import LoopClock

P = ParamSpec("P")
T = TypeVar("T")


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everything waits, and no timer is set"
        self.now += timeout
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def run_in_executor(self, executor: Any, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """Does at the next turn what a thread would do, so that files of a real disk may be part of a run."""
        job: asyncio.Future[T] = self.create_future()
        self.call_soon(self._run, job, function, *arguments)
        return job

    @staticmethod
    def _run(job: asyncio.Future[T], function: Callable[..., T], *arguments: Any) -> None:
        try:
            result = function(*arguments)
        except OSError as error:
            if not job.cancelled():
                job.set_exception(error)
        else:
            if not job.cancelled():
                job.set_result(result)


class VirtualClock(LoopClock):
    """The loop's time is the wall's as well."""

    def wall_ms(self) -> int:
        return int(self.now() * 1000)


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Makes a test of a coroutine. A callback that fails, fails the test."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        loop = VirtualTimeLoop()
        failures: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: failures.append(context))
        try:
            loop.run_until_complete(test(*args, **kwargs))
        finally:
            _cancel_all(loop)
            loop.close()
        assert not failures, failures

    return run


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    async def ended(tasks: list[asyncio.Task[Any]]) -> None:
        await asyncio.gather(*tasks, return_exceptions=True)

    tasks = list(asyncio.all_tasks(loop))
    for task in tasks:
        task.cancel()
    loop.run_until_complete(ended(tasks))
