"""Files: the Disk of a real machine.

Reads try the page cache on the loop first (Linux, RWF_NOWAIT) and go to a thread only where they would wait for the
device. Syncs run in threads: a few files by parallel fdatasync; many at once by one syncfs a file system where the
kernel reports write errors through it (Linux >= 5.8); F_FULLFSYNC on macOS, whose fsync stops at the drive's cache.
"""

from __future__ import annotations

import asyncio
import contextlib
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

from dohle.runtime.disk import Buffer, File

_MOST_BUFFERS = 1024  # IOV_MAX on Linux and macOS
_PARALLEL = 2  # threads a sync uses, so that many small files take few hand-overs to threads and back
_SYNC_THREADS = 12  # apart from those that read: no sync waits for reads that a device is slow to answer
_MANY_FILES = 64  # from here on one syncfs is cheaper than a sync each, also with a neighbour's dirty pages in it
_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)

T = TypeVar("T")


class OpenFile:
    """A file, by its descriptor, which outlives `close` until the last thread is done with it."""

    def __init__(self, path: str, descriptor: int, pool: ThreadPoolExecutor) -> None:
        self.path = path
        self.descriptor = descriptor
        status = os.fstat(descriptor)
        self.device = status.st_dev
        self._size = status.st_size
        self._pool = pool
        self._users = 1
        self._closed = False

    def size(self) -> int:
        return self._size

    def append(self, buffers: Sequence[Buffer]) -> None:
        assert not self._closed, f"{self.path} is closed"  # its number may be another file's by now
        total = sum(len(buffer) for buffer in buffers)
        written = 0
        try:
            if len(buffers) <= _MOST_BUFFERS:
                written = os.pwritev(self.descriptor, buffers, self._size)
            if written < total:  # so a full disk begins; a write of over 2 GiB comes back short as well
                rest = memoryview(b"".join(buffers))[written:]
                while rest:
                    rest = rest[os.pwrite(self.descriptor, rest, self._size + total - len(rest)) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self.descriptor, self._size)
            error.filename = self.path
            raise
        self._size += total

    async def read_at(self, position: int, size: int) -> bytes:
        assert not self._closed, f"{self.path} is closed"
        size = min(size, self._size - position)
        if size <= 0:
            return b""
        cached = self._read_cached(position, size)
        return cached if cached is not None else await self.in_thread(_read, self.descriptor, position, size)

    def _read_cached(self, position: int, size: int) -> bytes | None:
        if _NOWAIT is None:
            return None
        buffer = bytearray(size)
        try:
            count = os.preadv(self.descriptor, [buffer], position, _NOWAIT)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP):
                return None
            error.filename = self.path  # the system knows the descriptor alone
            raise
        return bytes(buffer) if count == size else None

    def truncate(self, size: int) -> None:
        assert not self._closed, f"{self.path} is closed"
        os.ftruncate(self.descriptor, size)
        self._size = size

    async def drop_cache(self) -> None:
        await self.in_thread(_drop_cache, self.descriptor)

    def hold(self) -> None:
        """Keeps the descriptor open until `release`, whoever closes the file meanwhile."""
        assert not self._closed, f"{self.path} is closed"
        self._users += 1

    async def in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        """Runs `work` on the descriptor, which stays open meanwhile, even if the waiting task is cancelled."""
        assert not self._closed, f"{self.path} is closed"
        job = asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
        self.hold()
        job.add_done_callback(lambda _: self.release())
        try:
            return await asyncio.shield(job)
        except OSError as error:
            error.filename = self.path
            raise

    def release(self) -> None:
        self._users -= 1
        if not self._users:
            os.close(self.descriptor)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.release()


class FileLock:
    """An flock, which the kernel drops with the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        os.close(self._descriptor)


class RealDisk:
    """The machine's file systems."""

    def __init__(self, threads: int = 6) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="dohle-disk")
        self._sync_pool = ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="dohle-sync")
        self._syncfs = _find_syncfs()
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
        file = OpenFile(path, os.open(path, flags, 0o644), self._pool)
        if self._syncfs is not None and file.device not in self._file_systems:
            self._hold_file_system(os.path.dirname(path) or ".")
        return file

    def _hold_file_system(self, folder: str) -> int:
        device = os.stat(folder).st_dev
        if device not in self._file_systems:
            self._file_systems[device] = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        return device

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def list(self, folder: str) -> list[str]:
        return sorted(os.listdir(folder))

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

    def delete(self, path: str) -> None:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)

    async def read_all(self, path: str) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._pool, _read_file, path)

    async def sync(
        self, files: Sequence[File], folders: Sequence[str] = (), synced: Callable[[File], None] | None = None
    ) -> None:
        loop = asyncio.get_running_loop()
        if len(files) + len(folders) >= _MANY_FILES and self._syncfs is not None:
            # of these file systems alone: what fails on another disk is no failure here
            devices = {_opened(file).device for file in files} | {self._hold_file_system(one) for one in folders}
            descriptors = [self._file_systems[device] for device in sorted(devices)]
            await _all([loop.run_in_executor(self._sync_pool, self._syncfs, descriptor) for descriptor in descriptors])
            return
        # files first: a name that survives a crash must not lead to bytes that did not
        held = [_opened(file) for file in files]
        left, done = deque(held), deque[OpenFile]()
        await _all([self._sync_together(held, left, done, synced) for _ in range(min(_PARALLEL, len(held)))])
        await _all([loop.run_in_executor(self._sync_pool, _sync_folder, folder) for folder in folders])

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
        job = asyncio.get_running_loop().run_in_executor(self._sync_pool, _sync_all, left, done)

        def ended(_: object) -> None:  # not before the thread is done, even if the waiting task is cancelled
            for file in files:
                file.release()
            while done and synced is not None:
                synced(done.popleft())

        job.add_done_callback(ended)
        return asyncio.shield(job)

    def lock(self, path: str) -> FileLock:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return FileLock(descriptor)

    def free_bytes(self, path: str) -> int:
        return shutil.disk_usage(path).free


def _opened(file: File) -> OpenFile:
    assert isinstance(file, OpenFile), f"{file.path} was not opened by this disk"
    return file


async def _all(jobs: Sequence[asyncio.Future[None]]) -> None:
    """Waits for every job, then raises the first failure: nothing is left running behind an error."""
    for outcome in await asyncio.gather(*jobs, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def _read(descriptor: int, position: int, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = os.pread(descriptor, size, position)
        if not part:
            break
        parts.append(part)
        position += len(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _rename_all(renames: Sequence[tuple[str, str]]) -> None:
    for old, new in renames:
        os.rename(old, new)


def _read_file(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _sync(descriptor: int) -> None:
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(descriptor)


def _sync_all(left: deque[OpenFile], done: deque[OpenFile]) -> None:
    """Takes one after the other from what is left, also after one has failed, and then raises the first failure."""
    failures: list[OSError] = []
    while left:
        try:
            file = left.popleft()
        except IndexError:  # another thread took the last one
            break
        try:
            _sync(file.descriptor)
        except OSError as error:
            error.filename = file.path
            failures.append(error)
        else:
            done.append(file)
    if failures:
        raise failures[0]


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if sys.platform == "darwin":
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _drop_cache(descriptor: int) -> None:
    _sync(descriptor)
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_NOCACHE, 1)
    else:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


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
