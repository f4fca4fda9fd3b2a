"""Workers: CPU work that would hold the event loop up.

Native code that drops the GIL (compression, checksums of large ranges) runs in a thread. The function must
work on immutable state that it is handed, for the loop goes on meanwhile. Pure Python would take the GIL from the loop:
it has a process of its own, niced, which holds what it works on (`aside`).
"""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
import struct
import subprocess
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

    def __init__(
        self, process: subprocess.Popen[bytes], answers: asyncio.StreamReader, work: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._answers = answers
        self._work = work

    @classmethod
    async def start(cls, make: Callable[[], object]) -> AsideProcess:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.to_thread(_begin, theirs)
                self = cls(process, *await asyncio.open_unix_connection(sock=ours))
            except BaseException as error:
                ours.close()  # which ends the process, if there is one
                if isinstance(error, OSError):
                    raise LostWorker(f"no process could be started: {error}") from error
                raise
        try:
            await self.run(make)
        except BaseException:
            await self.close()
            raise
        return self

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        frame = pickle.dumps((work, arguments))
        try:
            if self._work.is_closing():  # to some event loops it is a mistake to write then
                raise ConnectionResetError("its end of the connection is closed")
            self._work.writelines((FRAME.pack(len(frame)), frame))
            await self._work.drain()
            (size,) = FRAME.unpack(await self._answers.readexactly(FRAME.size))
            result: T = pickle.loads(await self._answers.readexactly(size))  # noqa: S301 - from our own child
        except (OSError, asyncio.IncompleteReadError) as error:
            raise LostWorker(f"the process of {work.__qualname__} has ended: {error}") from error
        return result

    async def close(self) -> None:
        self._work.close()
        self._process.kill()
        await asyncio.to_thread(self._process.wait)


def _begin(theirs: socket.socket) -> subprocess.Popen[bytes]:
    """Starts the process. Not by the event loop: uvloop forks, and a copy of gRPC's threads at work may crash before it
    is another program; what `subprocess` does from a thread runs nothing of this process in the new one."""
    return subprocess.Popen(
        (sys.executable, "-P", "-m", "dohle.runtime.aside_process"),
        stdin=theirs.fileno(),
        stdout=theirs.fileno(),
        env={**os.environ, "PYTHONPATH": _import_paths()},
        start_new_session=True,  # an interrupt of the terminal is the node's to see to
    )


def _import_paths() -> str:
    """Returns what this process imports from; the working folder, and what happens to lie there, is left out."""
    return os.pathsep.join(os.path.abspath(path or ".") for path in sys.path)


FRAME = struct.Struct(">Q")
"""Before each pickle that goes to such a process or comes from it: its length."""
