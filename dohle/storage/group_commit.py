"""Group commit: one sync at a time for all logs of a folder, so that many appends share one fsync.

While a round is under way the next one gathers. A round captures what each log has to sync, calls `Disk.sync` once, and
hands each log its part back. Nothing wakes up where nothing was appended, and nothing is timed a log.

A sync that failed is never tried again: after one error the kernel may report success for pages that it dropped. The
folder has failed for the life of the process; whoever waits is told, and so is the owner, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from dohle.model.errors import DohleError, StorageFailure
from dohle.runtime.disk import Disk, File
from dohle.runtime.tasks import Tasks, cancel

log = logging.getLogger(__name__)

OnFailure = Callable[[StorageFailure], None]


class Flush(NamedTuple):
    """What one log wants synced: everything below `end`, as of `generation`."""

    end: int
    generation: int
    files: Sequence[File]
    folders: Sequence[str]


class Flushed(Protocol):
    """A log, as the group commit sees it."""

    def begin_flush(self) -> Flush | None: ...
    def finish_flush(self, flush: Flush) -> None: ...
    def fail_flushes(self, failure: StorageFailure) -> None: ...


class GroupCommit:
    """The rounds of one folder. Stops with `close`, after the round under way."""

    def __init__(self, disk: Disk, tasks: Tasks, *, name: str, on_failure: OnFailure) -> None:
        self.failure: StorageFailure | None = None
        self._disk = disk
        self._tasks = tasks
        self._name = name
        self._on_failure = on_failure
        self._requested: dict[Flushed, None] = {}
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self._task = tasks.spawn(self._run(), f"group-commit {name}")

    def request(self, flushed: Flushed) -> None:
        """Has the next round take what `flushed` has to sync. Costs next to nothing, and may be repeated."""
        self._requested[flushed] = None
        self._wake.set()

    async def settled(self) -> None:
        """Waits until the round that is under way, if any, is over."""
        await self._settled.wait()

    async def close(self) -> None:
        await self.settled()
        await cancel(self._task)

    async def _run(self) -> None:
        while self.failure is None:
            await self._wake.wait()
            self._wake.clear()
            await self._round()

    async def _round(self) -> None:
        logs, self._requested = self._requested, {}
        flushes = [(one, flush) for one in logs if (flush := one.begin_flush()) is not None]
        if not flushes:
            return
        files = [file for _, flush in flushes for file in flush.files]
        folders = [folder for _, flush in flushes for folder in flush.folders]
        self._settled.clear()
        try:
            with self.syncing():
                await self._disk.sync(files, folders)
        except StorageFailure as failure:
            for one in (*logs, *self._requested):
                one.fail_flushes(failure)
        else:
            for one, flush in flushes:
                one.finish_flush(flush)
        finally:
            self._settled.set()

    def run_to_end(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Future[None]:
        """Starts `work`, which half done would leave files torn: it goes on when whoever waits for it is cancelled.

        The future has its end, or the DohleError that it raised; it is cancelled if the whole task group is.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            try:
                await work()
            except DohleError as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self._tasks.spawn(run(), name).add_done_callback(lambda _: done.cancel())
        return done

    def check(self) -> None:
        """Raises StorageFailure if the folder has failed."""
        if self.failure is not None:
            raise StorageFailure(self.failure.message)

    @contextlib.contextmanager
    def syncing(self) -> Iterator[None]:
        """Around what makes something durable: any OSError fails the folder and is raised as StorageFailure."""
        self.check()
        try:
            yield
        except OSError as error:
            raise self._fail(error) from error

    @contextlib.contextmanager
    def using(self) -> Iterator[None]:
        """Around reads and appends: turns OSError into what `refused` says."""
        self.check()
        try:
            yield
        except OSError as error:
            raise self.refused(error) from error

    def refused(self, error: OSError) -> StorageFailure:
        """Returns what to raise for a read or append that met `error`: only a device that is gone fails the folder."""
        if error.errno in _GONE:
            return self._fail(error)
        return StorageFailure(f"{self._name}: {error}{_ADVICE.get(error.errno or 0, '')}")

    def _fail(self, error: OSError) -> StorageFailure:
        failure = StorageFailure(
            f"{self._name} has failed ({error}): nothing on it is served until the node starts again, on a sound disk"
        )
        if self.failure is None:
            self.failure = failure
            log.critical("%s", failure)
            self._on_failure(failure)
        return failure


_GONE = (errno.EIO, errno.ENODEV, errno.ENXIO, errno.EROFS, errno.ESTALE, errno.ENOENT)
"""What a device, or the mount of one, answers once it is gone."""

_ADVICE = {
    errno.ENOSPC: "; nothing was written: free space, or delete topics",
    errno.EDQUOT: "; nothing was written: free space, or delete topics",
    errno.EMFILE: "; raise the limit of open files (ulimit -n)",
}
