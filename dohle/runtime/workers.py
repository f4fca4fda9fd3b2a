"""Workers: CPU work that would hold the event loop up.

For native code that drops the GIL (compression, checksums of large ranges): it runs in a thread. The function must
work on immutable state that it is handed, for the loop goes on meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")


class Workers(Protocol):
    """Where CPU work goes."""

    async def run(self, work: Callable[[], T]) -> T:
        """Returns what `work` returns, or raises what it raises."""
        ...

    def close(self) -> None:
        """Waits for running work and takes no more."""
        ...


class ThreadWorkers:
    """A few threads."""

    def __init__(self, threads: int = 2) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="dohle-worker")

    async def run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
