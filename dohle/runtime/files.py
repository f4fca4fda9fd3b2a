"""Files: the Disk of a real machine.

Reads try the page cache on the loop first (Linux, RWF_NOWAIT) and go to a thread only where they would wait for the
device. Syncs run in threads: a few files by parallel fdatasync; many at once by one syncfs a file system where the
kernel reports write errors through it (Linux >= 5.8); F_FULLFSYNC on macOS, whose fsync stops at the drive's cache.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import fcntl
import os
import platform
import re
import shutil
import sys
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dohle.runtime.disk import File, Room
from dohle.runtime.open_files import EXHAUSTED, Descriptors, OpenFile, read_cached, read_from, sync_all
from dohle.runtime.turnstile import Turnstile

_PARALLEL = 2  # threads a sync uses, so that many small files take few hand-overs to threads and back
_SYNC_THREADS = 12  # apart from those that read: no sync waits for reads that a device is slow to answer
_MANY_FILES = 64  # from here on one syncfs is cheaper than a sync each, also with a neighbour's dirty pages in it
_SMALL_BYTES = 1 << 16  # of a whole file: the loop copies it from the page cache, and nothing larger
_EXHAUSTED_S = 30.0  # for how long a sync waits for a descriptor: its lack is no failure of the disk
_LOOKS_AGAIN_S = 0.1

T = TypeVar("T")


class FileLock:
    """An flock, which the kernel drops with the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        os.close(self._descriptor)


class RealDisk:
    """The machine's file systems."""

    _access = os.R_OK | os.W_OK  # what `open` needs

    def __init__(self, threads: int = 6, *, most_descriptors: int | None = None) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="dohle-disk")
        self._sync_pool = ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="dohle-sync")
        self._syncfs = _find_syncfs()
        self._descriptors = Descriptors(most_descriptors, dirty_may_go=self._syncfs is not None)
        self._bulk_reads = Turnstile()
        # syncfs reports the write errors since its descriptor was opened, so one is held from before the first append
        self._file_systems: dict[int, int] = {}

    def close(self) -> None:
        self._pool.shutdown(wait=True)
        self._sync_pool.shutdown(wait=True)
        for descriptor in self._file_systems.values():
            os.close(descriptor)
        self._file_systems.clear()

    def open(self, path: str, *, create: bool = False) -> OpenFile:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        file = OpenFile(path, flags, self._pool, self._descriptors, self._bulk_reads)
        if self._syncfs is not None and file.device not in self._file_systems:
            self._hold_file_system(os.path.dirname(path) or ".")
        return file

    def _hold_file_system(self, folder: str) -> int:
        device = os.stat(folder).st_dev
        if device not in self._file_systems:
            self._file_systems[device] = self._descriptors.call(os.open, folder, os.O_RDONLY | os.O_CLOEXEC)
        return device

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def size(self, path: str) -> int:
        size = os.stat(path).st_size
        if not os.access(path, self._access):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return size

    def list(self, folder: str) -> list[str]:
        return sorted(self._descriptors.call(os.listdir, folder))

    def make_folder(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new)

    async def rename_all(self, renames: Sequence[tuple[str, str]]) -> None:
        # ext4 begins to write the file out when it replaces another, and waits for the journal: milliseconds each
        job = asyncio.get_running_loop().run_in_executor(self._pool, _rename_all, renames)
        try:
            await asyncio.shield(job)
        except asyncio.CancelledError:
            await asyncio.wait([job])  # who writes the same files again must not meet this one
            raise

    def link(self, path: str, new: str) -> None:
        os.link(path, new)

    def is_shared(self, path: str) -> bool:
        return os.stat(path).st_nlink > 1

    def delete(self, path: str) -> None:
        if os.path.isdir(path) and not os.path.islink(path):
            self._descriptors.call(shutil.rmtree, path)
        else:
            os.unlink(path)

    async def read_all(self, path: str) -> bytes:
        descriptor = self._descriptors.call(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            cached = read_cached(path, descriptor, 0, size) if size <= _SMALL_BYTES else None
        except OSError:
            os.close(descriptor)
            raise
        if cached is not None:  # a start reads several files of each log: a thread would take longer than they do
            os.close(descriptor)
            return cached
        job = asyncio.get_running_loop().run_in_executor(self._pool, _read_file, path, descriptor)
        return await asyncio.shield(job)  # which closes it

    async def sync(
        self, files: Sequence[File], folders: Sequence[str] = (), synced: Callable[[File], None] | None = None
    ) -> None:
        loop = asyncio.get_running_loop()
        held = [_opened(file) for file in files]
        is_told_of_all = len(files) + len(folders) >= _MANY_FILES or any(file.is_unseen for file in held)
        for file in held:
            file.sync_begins()
        if is_told_of_all and self._syncfs is not None:
            # of these file systems alone: what fails on another disk is no failure here
            devices = {file.device for file in held} | {self._hold_file_system(one) for one in folders}
            descriptors = [self._file_systems[device] for device in sorted(devices)]
            await _all([loop.run_in_executor(self._sync_pool, self._syncfs, descriptor) for descriptor in descriptors])
            return
        # files first: a name that survives a crash must not lead to bytes that did not
        left, done = deque(held), deque[OpenFile]()
        await _all([self._sync_together(held, left, done, synced) for _ in range(min(_PARALLEL, len(held)))])
        await _all([asyncio.ensure_future(self._sync_folder(folder)) for folder in folders])

    async def _sync_folder(self, folder: str) -> None:
        """Waits a while where no descriptor is left, which is found before anything is synced."""
        loop = asyncio.get_running_loop()
        gives_up = loop.time() + _EXHAUSTED_S
        while True:
            try:
                return await loop.run_in_executor(self._sync_pool, _sync_folder, folder)
            except OSError as error:
                if error.errno not in EXHAUSTED or loop.time() > gives_up:
                    raise
            if not self._descriptors.give_back_some():
                await asyncio.sleep(_LOOKS_AGAIN_S)

    def _sync_together(
        self,
        files: Sequence[OpenFile],
        left: deque[OpenFile],
        done: deque[OpenFile],
        synced: Callable[[File], None] | None,
    ) -> asyncio.Future[None]:
        """One of the threads that share what is `left` of `files`: one slow file keeps only one of them."""
        for file in files:
            file.hold()
        job = asyncio.get_running_loop().run_in_executor(self._sync_pool, sync_all, left, done)

        def ended(_: object) -> None:  # not before the thread is done, even if the waiting task is cancelled
            for file in files:
                file.release()
            while done and synced is not None:
                synced(done.popleft())

        job.add_done_callback(ended)
        return asyncio.shield(job)

    def lock(self, path: str) -> FileLock:
        descriptor = self._descriptors.call(os.open, path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return FileLock(descriptor)

    def free_bytes(self, path: str) -> int:
        return shutil.disk_usage(path).free

    async def find_free_bytes(self, path: str) -> int:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.free_bytes, path)

    async def find_room(self, path: str) -> Room:
        usage = await asyncio.get_running_loop().run_in_executor(self._pool, shutil.disk_usage, path)
        return Room(usage.total, usage.free)

    async def reserve(self, path: str, size: int) -> None:
        descriptor = self._descriptors.call(os.open, path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        job = asyncio.get_running_loop().run_in_executor(self._pool, _reserve, path, descriptor, size)
        await asyncio.shield(job)  # which closes it


def _opened(file: File) -> OpenFile:
    assert isinstance(file, OpenFile), f"{file.path} was not opened by this disk"
    return file


async def _all(jobs: Sequence[asyncio.Future[None]]) -> None:
    """Waits for every job, then raises the first failure: nothing is left running behind an error."""
    for outcome in await asyncio.gather(*jobs, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def _rename_all(renames: Sequence[tuple[str, str]]) -> None:
    for old, new in renames:
        os.rename(old, new)


def _read_file(path: str, descriptor: int) -> bytes:
    try:
        return read_from(descriptor, 0, os.fstat(descriptor).st_size)
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)


def _reserve(path: str, descriptor: int, size: int) -> None:
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
        else:
            os.pwrite(descriptor, bytes(size), 0)
        os.fsync(descriptor)
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if sys.platform == "darwin":
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _find_syncfs() -> Callable[[int], None] | None:
    """Returns the system's syncfs, or None where it is missing or would keep write errors to itself."""
    if sys.platform != "linux":
        return None
    version = tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])
    if version < (5, 8):
        return None
    syncfs = ctypes.CDLL(None, use_errno=True).syncfs

    def call(descriptor: int) -> None:
        if syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), "syncfs")

    return call
