"""Group commit: one sync at a time for all logs of a folder, so that many appends share one fsync.

While a round is under way the next one gathers. A round captures what each log has to sync, calls `Disk.sync` once, and
hands each log its part back. Nothing wakes up where nothing was appended, and nothing is timed a log. But nobody waits
for another for long: who keeps a round from ending is synced alone while it is slow, and who is being filled apart.

A sync that failed is never tried again: after one error the kernel may report success for pages that it dropped. The
folder has failed for the life of the process; whoever waits is told, and so is the owner, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol

from dohle.model.errors import DohleError, StorageFailure
from dohle.model.stragglers import STRAGGLES_S, Stragglers
from dohle.runtime.disk import Disk, File
from dohle.runtime.tasks import Tasks, cancel
from dohle.storage.room import DiskFull, NoRoom

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

    name: str

    def begin_flush(self) -> Flush | None: ...
    def finish_flush(self, flush: Flush) -> None: ...
    def fail_flushes(self, failure: StorageFailure) -> None: ...


BULK_S = 0.5
"""For how long a log is synced apart that is being filled."""


class _Lane:
    """What the next round takes."""

    def __init__(self) -> None:
        self.requested: dict[Flushed, None] = {}
        self.wake = asyncio.Event()


class _Round:
    """A sync that is under way."""

    def __init__(self, flushes: dict[Flushed, Flush], lane: _Lane) -> None:
        self.flushes = flushes  # that are not known to be durable
        self.lane = lane
        self.began = asyncio.get_running_loop().time()
        self.synced: dict[File, None] = {}  # before the others were
        self.has_stragglers = False  # and whoever else is in its lane goes on
        self.timer: asyncio.TimerHandle | None = None

    def take_synced(self) -> list[tuple[Flushed, Flush]]:
        """Returns those that need not wait for the round's end."""
        done = [
            (one, flush)
            for one, flush in self.flushes.items()
            if not flush.folders and all(file in self.synced for file in flush.files)
        ]
        for one, _ in done:
            del self.flushes[one]
        return done


class GroupCommit:
    """The rounds of one folder. Stops with `close`, after those under way.

    There are lanes, each with a round at a time: one for all, one for those who have much to sync, and one for each log
    that is slow: another that was taken for slow as well, when the disk was busy, is not to wait for it.
    """

    def __init__(self, disk: Disk, tasks: Tasks, *, name: str, on_failure: OnFailure) -> None:
        self.failure: StorageFailure | None = None
        self._disk = disk
        self._tasks = tasks
        self._name = name
        self._on_failure = on_failure
        self._prompt = _Lane()
        self._patient = _Lane()
        self._alone: dict[Flushed, _Lane] = {}  # of slow ones, while they have anything to sync
        self._under_way: dict[Flushed, None] = {}
        self._ended = asyncio.Event()  # a sync of somebody; a new one each time
        self._stragglers = Stragglers[Flushed]()
        self._bulk_until: dict[Flushed, float] = {}
        self._closed = False
        self._task = tasks.spawn(self._run(self._prompt), f"group-commit {name}")
        self._patient_task = tasks.spawn(self._run(self._patient), f"patient group-commit {name}")

    def request(self, flushed: Flushed) -> None:
        """Has the next round take what `flushed` has to sync. Costs next to nothing, and may be repeated."""
        if self._closed:
            return
        if flushed in self._alone:
            self._alone[flushed].requested[flushed] = None
        elif self._stragglers and self._stragglers.is_apart(flushed, asyncio.get_running_loop().time()):
            lane = self._alone[flushed] = _Lane()
            lane.requested[flushed] = None
            self._tasks.spawn(self._sync_alone(flushed, lane), f"slow group-commit {self._name}")
        else:
            lane = self._patient if self._is_filled(flushed) else self._prompt
            lane.requested[flushed] = None
            lane.wake.set()

    def expect_much(self, flushed: Flushed) -> None:
        """It is being filled: nobody else is to wait for what it has to sync."""
        self._bulk_until[flushed] = asyncio.get_running_loop().time() + BULK_S

    def _is_filled(self, flushed: Flushed) -> bool:
        if flushed in self._bulk_until:
            if asyncio.get_running_loop().time() < self._bulk_until[flushed]:
                return True
            del self._bulk_until[flushed]
        return False

    async def settled(self, flushed: Flushed) -> None:
        """Waits until no sync of `flushed` is under way."""
        while flushed in self._under_way:
            await self._ended.wait()

    async def close(self) -> None:
        while self._under_way or self._alone:
            await self._ended.wait()
        self._closed = True
        await cancel(self._task)
        await cancel(self._patient_task)

    async def _run(self, lane: _Lane) -> None:
        while self.failure is None:
            await lane.wake.wait()
            lane.wake.clear()
            if await self._round(lane):
                return

    async def _sync_alone(self, flushed: Flushed, lane: _Lane) -> None:
        loop = asyncio.get_running_loop()
        while lane.requested and self.failure is None and self._stragglers.is_apart(flushed, loop.time()):
            await self.settled(flushed)  # the round that the others have left, at first
            await self._round(lane)
        del self._alone[flushed]
        if lane.requested and self.failure is None:
            self.request(flushed)  # among the others again
        self._tell_of_end()

    async def _round(self, lane: _Lane) -> bool:
        """Returns whether another task has taken the lane over."""
        logs, lane.requested = lane.requested, {}
        flushes: dict[Flushed, Flush] = {}
        for one in logs:
            if one in self._under_way:
                lane.requested[one] = None  # for the round after the one that has it
            elif (flush := one.begin_flush()) is not None:
                flushes[one] = flush
        if not flushes:
            return False
        self._under_way.update(dict.fromkeys(flushes))
        files = [file for flush in flushes.values() for file in flush.files]
        folders = [folder for flush in flushes.values() for folder in flush.folders]
        run = _Round(flushes, lane)
        if lane is self._prompt:
            self._look_later(run)
        try:
            with self.syncing():
                await self._disk.sync(files, folders, lambda file: self._synced(run, file))
            self.check()  # another sync may have failed meanwhile
        except StorageFailure as failure:
            lanes = (self._prompt, self._patient, *self._alone.values())
            for one in (*run.flushes, *chain.from_iterable(lane.requested for lane in lanes)):
                one.fail_flushes(failure)
            self._forget(run.flushes)
        else:
            self._finish(run, list(run.flushes.items()))
        finally:
            if run.timer is not None:
                run.timer.cancel()
        return run.has_stragglers

    def _finish(self, run: _Round, flushes: Sequence[tuple[Flushed, Flush]]) -> None:
        now = asyncio.get_running_loop().time()
        for one, flush in flushes:
            one.finish_flush(flush)
            if run.lane is not self._patient and self._stragglers.done(one, run.began, now):
                log.info("%s is slow to sync in %s: it is synced alone", one.name, self._name)
        if flushes:
            self._forget([one for one, _ in flushes])

    def _forget(self, logs: Iterable[Flushed]) -> None:
        for one in logs:
            del self._under_way[one]
        self._tell_of_end()
        for lane in (self._prompt, self._patient):
            if lane.requested:
                lane.wake.set()

    def _tell_of_end(self) -> None:
        ended, self._ended = self._ended, asyncio.Event()
        ended.set()

    # those who keep others waiting

    def _look_later(self, run: _Round) -> None:
        run.timer = asyncio.get_running_loop().call_later(STRAGGLES_S, self._look, run)

    def _synced(self, run: _Round, file: File) -> None:
        run.synced[file] = None
        if (run.has_stragglers or run.lane is not self._prompt) and self.failure is None:
            self._finish(run, run.take_synced())

    def _look(self, run: _Round) -> None:
        """Goes on without what is left of a round, unless that is much: then it is the disk that is slow."""
        if self.failure is not None:
            return
        self._finish(run, run.take_synced())
        if not run.flushes:
            return
        if not self._stragglers.let_go(run.flushes, asyncio.get_running_loop().time()):
            self._look_later(run)
            return
        run.has_stragglers = True
        self._task = self._tasks.spawn(self._run(self._prompt), f"group-commit {self._name}")

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
    def replacing(self) -> Iterator[None]:
        """As `syncing`, around what has changed nothing, or takes back what it has, where there was NoRoom.

        That fails nothing, and is raised as DiskFull.
        """
        self.check()
        try:
            yield
        except NoRoom as error:
            raise self.refused(error) from error
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
        said = f"{self._name}: {error}{_ADVICE.get(error.errno or 0, '')}"
        return DiskFull(said) if isinstance(error, NoRoom) or error.errno in _FULL else StorageFailure(said)

    def _fail(self, error: OSError) -> StorageFailure:
        start = "with room on its disk: free space" if error.errno in _FULL else "on a sound disk"
        failure = StorageFailure(
            f"{self._name} has failed ({error}): nothing on it is served until the node starts again, {start}"
        )
        if self.failure is None:
            self.failure = failure
            log.critical("%s", failure)
            self._on_failure(failure)
        return failure


_GONE = (errno.EIO, errno.ENODEV, errno.ENXIO, errno.EROFS, errno.ESTALE, errno.ENOENT)
"""What a device, or the mount of one, answers once it is gone."""

_FULL = (errno.ENOSPC, errno.EDQUOT)

_ADVICE = {
    **dict.fromkeys(_FULL, "; nothing was written: free space, or delete topics"),
    errno.EMFILE: "; raise the limit of open files (ulimit -n)",
}
