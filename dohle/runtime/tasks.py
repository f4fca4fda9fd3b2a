"""Tasks: supervised groups, so that no task is without an owner and no failure goes unseen.

A group keeps its tasks in the order of their creation, cancels and awaits them in that order, and hands the first
unexpected failure to its owner. `asyncio.TaskGroup` keeps a set, whose order differs from run to run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from dohle.model.errors import UnsupportedVersion

log = logging.getLogger(__name__)

OnFailure = Callable[[BaseException], None]


class Tasks:
    """The tasks of one owner.

    `on_failure` is called once for each task that ends by an exception other than its cancellation: such an exception
    is a bug or a lost disk, never a peer's fault, and the owner is expected to stop the node.
    """

    def __init__(self, name: str, on_failure: OnFailure) -> None:
        self._name = name
        self._on_failure = on_failure
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Starts `work` under this group. A group that was closed starts nothing more, and says so."""
        if self._closed:
            work.close()
            raise RuntimeError(f"task group {self._name} is closed, so {name} cannot start")
        task = asyncio.get_running_loop().create_task(work, name=f"{self._name}/{name}")
        self._tasks[task] = None
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if task.cancelled():
            return
        failure = task.exception()
        if failure is not None:
            old_software = isinstance(failure, UnsupportedVersion)  # no bug, and where it met it says nothing
            log.critical("task %s failed: %r", task.get_name(), failure, exc_info=None if old_software else failure)
            self._on_failure(failure)

    async def close(self) -> None:
        """Cancels every task and waits until each has ended. One that calls this itself is left to end."""
        self._closed = True
        current = asyncio.current_task()
        while True:
            pending = [task for task in self._tasks if task is not current and not task.done()]
            if not pending:
                return
            for task in pending:
                task.cancel()
            for task in pending:
                await _ended(task)


async def turn(number: int, *, every: int) -> None:
    """Lets the loop do what waits at each `every`th `number` of a long piece of work."""
    if number % every == every - 1:
        await asyncio.sleep(0)


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancels `task` and waits until it has ended, whatever it ends with."""
    task.cancel()
    await _ended(task)


async def _ended(task: asyncio.Task[Any]) -> None:
    done = asyncio.Event()
    task.add_done_callback(lambda _: done.set())
    await done.wait()
