"""Workers: CPU work that would hold the event loop up.

Native code that drops the GIL (compression, checksums of large ranges) runs in a thread. The function must
work on immutable state that it is handed, for the loop goes on meanwhile. Pure Python would take the GIL from the loop:
it has a process of its own, niced, which holds what it works on (`aside`).
"""

from __future__ import annotations

import asyncio
import os
import pickle
import struct
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")


class Workers(Protocol):
    """Where CPU work goes."""

    async def run(self, work: Callable[[], T]) -> T:
        """Returns what `work` returns, or raises what it raises."""
        ...

    async def aside(self, make: Callable[[], object]) -> Aside:
        """Returns what `make` makes, where it can be worked on for long. Raises LostWorker."""
        ...

    def close(self) -> None:
        """Waits for running work and takes no more."""
        ...


class LostWorker(Exception):
    """The process in which work was done has ended, or could not be started."""


class Aside(Protocol):
    """A value that lies elsewhere. It, the work on it, and what that takes and returns can be pickled."""

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Returns what `work` returns of the value and `arguments`. Raises LostWorker; then all is lost."""
        ...

    async def close(self) -> None:
        """Forgets the value."""
        ...


class ThreadWorkers:
    """A few threads."""

    def __init__(self, threads: int = 2) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="dohle-worker")

    async def run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def aside(self, make: Callable[[], object]) -> AsideProcess:
        return await AsideProcess.start(make)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


class AsideProcess:
    """A child process, which ends with this one. See `aside_process` for what it does."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, make: Callable[[], object]) -> AsideProcess:
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "dohle.runtime.aside_process"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": _import_paths()},
                start_new_session=True,  # an interrupt of the terminal is the node's to see to
            )
        except OSError as error:
            raise LostWorker(f"no process could be started: {error}") from error
        self = cls(process)
        try:
            await self.run(make)
        except BaseException:
            await self.close()
            raise
        return self

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        frame = pickle.dumps((work, arguments))
        try:
            stdin.writelines((FRAME.pack(len(frame)), frame))
            await stdin.drain()
            (size,) = FRAME.unpack(await stdout.readexactly(FRAME.size))
            result: T = pickle.loads(await stdout.readexactly(size))  # noqa: S301 - from our own child
        except (OSError, asyncio.IncompleteReadError) as error:
            raise LostWorker(f"the process of {work.__qualname__} has ended: {error}") from error
        return result

    async def close(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


def _import_paths() -> str:
    """Returns what this process imports from; the working folder, and what happens to lie there, is left out."""
    return os.pathsep.join(os.path.abspath(path or ".") for path in sys.path)


FRAME = struct.Struct(">Q")
"""Before each pickle that goes to such a process or comes from it: its length."""
