"""Open files: any number of them, with a bounded number of descriptors.

When the bound is reached, a file that was not used of late gives its descriptor up, and gets another one when it is
used again. It must be the same file then: whoever renames or deletes one closes it first.

Of pages that it could not write the kernel tells those who had the file open. So a file with bytes that no sync has
taken keeps its descriptor, unless its next sync is a syncfs, which is told of every file (`was_dirty`).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import resource
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dohle.runtime.disk import Buffer
from dohle.runtime.turnstile import Turnstile

EXHAUSTED = (errno.EMFILE, errno.ENFILE)
"""No descriptor is left, to the process or to the machine: which says nothing about a disk."""

_MOST_BUFFERS = 1024  # IOV_MAX on Linux and macOS
_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)
_MOST_LOOKS = 64  # at files, for one that may be closed: bounds what an open costs
_GIVEN_BACK = 32  # descriptors at once, where the process has none left
_UNLIMITED = 1 << 20
_AWAY = -1
_BULK_BYTES = 1 << 17  # reads from that size on take turns

T = TypeVar("T")
log = logging.getLogger(__name__)


class OpenFile:
    """A file, by its descriptor, which outlives `close` until the last thread is done with it."""

    def __init__(
        self, path: str, flags: int, pool: ThreadPoolExecutor, descriptors: Descriptors, bulk_reads: Turnstile
    ) -> None:
        self.path = path
        self.is_used = True  # since somebody last looked for a file that could be closed
        self.is_dirty = False  # something was written since the last sync began
        self.was_dirty = False  # when it gave its descriptor up: only a syncfs is told if that was not written
        self._flags = flags
        self._pool = pool
        self._descriptors = descriptors
        self._bulk_reads = bulk_reads
        self._users = 1
        self._closed = False
        self.descriptor = descriptors.call(os.open, path, flags, 0o644)
        status = os.fstat(self.descriptor)
        self.device, self._inode, self._size = status.st_dev, status.st_ino, status.st_size
        descriptors.admit(self)

    def size(self) -> int:
        return self._size

    def append(self, buffers: Sequence[Buffer]) -> None:
        assert not self._closed, f"{self.path} is closed"  # its number may be another file's by now
        if self.descriptor == _AWAY:
            self._reopen()
        self.is_dirty = True
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
        self.is_used = True
        if size < _BULK_BYTES:
            if self.descriptor == _AWAY:
                self._reopen()
            cached = read_cached(self.path, self.descriptor, position, size)
            return cached if cached is not None else await self._in_thread(read_from, position, size)
        self.hold()
        try:
            await self._bulk_reads.passed()
            cached = read_cached(self.path, self.descriptor, position, size)
            if cached is not None:
                return cached
            data = await self._in_thread(read_from, position, size)
            await self._bulk_reads.passed()  # what becomes of it takes its time as well
            return data
        finally:
            self.release()

    def truncate(self, size: int) -> None:
        assert not self._closed, f"{self.path} is closed"
        if self.descriptor == _AWAY:
            self._reopen()
        self.is_dirty = True
        os.ftruncate(self.descriptor, size)
        self._size = size

    async def drop_cache(self) -> None:
        assert not self._closed, f"{self.path} is closed"
        await self._in_thread(_drop_cache)

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        """Runs `work` on the descriptor, which stays open meanwhile, even if the waiting task is cancelled.

        The file is open, or held.
        """
        if self.descriptor == _AWAY:
            self._reopen()
        self._users += 1
        job = asyncio.get_running_loop().run_in_executor(self._pool, work, self.descriptor, *arguments)
        job.add_done_callback(lambda _: self.release())
        try:
            return await asyncio.shield(job)
        except OSError as error:
            error.filename = self.path
            raise

    def sync_begins(self) -> None:
        """What was written so far is seen to, by its descriptor or for the whole file system."""
        self.is_dirty = self.was_dirty = False
        self.is_used = True

    # The descriptor

    def hold(self) -> None:
        """Keeps the descriptor open until `release`, whoever closes the file meanwhile."""
        assert not self._closed, f"{self.path} is closed"
        if self.descriptor == _AWAY:
            self._reopen()
        self._users += 1

    def release(self) -> None:
        self._users -= 1
        if not self._users and self.descriptor != _AWAY:
            os.close(self.descriptor)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._descriptors.forget(self)
            self.release()

    @property
    def is_unseen(self) -> bool:
        """Whether only a syncfs is sure to be told of what of it could not be written."""
        return self.was_dirty or self.descriptor == _AWAY

    @property
    def is_idle(self) -> bool:
        """No thread is at work with the descriptor."""
        return self._users == 1

    def give_up(self) -> None:
        """Lets go of the descriptor until the file is used again."""
        assert self.is_idle
        self.was_dirty = self.was_dirty or self.is_dirty
        os.close(self.descriptor)
        self.descriptor = _AWAY

    def _reopen(self) -> None:
        descriptor = self._descriptors.call(os.open, self.path, self._flags & ~os.O_CREAT)
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != (self.device, self._inode):
            os.close(descriptor)
            raise OSError(errno.ESTALE, "another file has taken its place", self.path)
        self.descriptor = descriptor
        self.is_used = True
        self._descriptors.admit(self)


class Descriptors:
    """The files that have a descriptor, in a ring: those that were used since it last came by are passed over once."""

    def __init__(self, most: int | None = None, *, dirty_may_go: bool) -> None:
        """`most` is, unless given, half of what the process may have: the others are for connections."""
        self._most = most if most is not None else _soft_limit() // 2
        self._dirty_may_go = dirty_may_go
        self._ring: OrderedDict[OpenFile, None] = OrderedDict()
        self._told = False

    def admit(self, file: OpenFile) -> None:
        """Takes note that `file` has a descriptor; others give theirs up if there are too many."""
        if len(self._ring) >= self._most:
            self._tell()
            self._give_back(len(self._ring) - self._most + 1, _MOST_LOOKS)
        self._ring[file] = None

    def forget(self, file: OpenFile) -> None:
        self._ring.pop(file, None)

    def call(self, work: Callable[..., T], *arguments: object) -> T:
        """Runs what takes a descriptor for a while; if none is left, some files give theirs up first."""
        try:
            return work(*arguments)
        except OSError as error:
            if error.errno not in EXHAUSTED or not self.give_back_some():
                raise
        return work(*arguments)

    def give_back_some(self) -> int:
        """Returns how many files gave up their descriptors, where the process has no other left."""
        return self._give_back(_GIVEN_BACK, 2 * len(self._ring))

    def _give_back(self, count: int, looks: int) -> int:
        given, dirty = 0, deque[OpenFile]()
        for _ in range(min(looks, 2 * len(self._ring))):
            if not self._ring:  # all have given theirs up
                break
            file, _ = self._ring.popitem(last=False)
            if file.is_idle and not file.is_dirty and not file.is_used:
                file.give_up()
                given += 1
                if given == count:
                    return given
                continue
            if file.is_idle and file.is_dirty and not file.is_used and self._dirty_may_go:
                dirty.append(file)  # for want of better ones
            file.is_used = False
            self._ring[file] = None
        while dirty and given < count:
            file = dirty.popleft()
            if file.descriptor != _AWAY:
                del self._ring[file]
                file.give_up()
                given += 1
        return given

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            log.warning(
                "%d files are open, and more are in use: those not used for longest are closed, and opened again when "
                "they are needed; a higher limit of open files (ulimit -n) saves that",
                self._most,
            )


def _soft_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else _UNLIMITED


def sync_all(left: deque[OpenFile], done: deque[OpenFile]) -> None:
    """Takes one after the other from what is left, also after one has failed, and then raises the first failure.

    For a thread. Each file is held.
    """
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


def read_cached(path: str, descriptor: int, position: int, size: int) -> bytes | None:
    """Returns None where not all of it lies in the page cache."""
    if _NOWAIT is None:
        return None
    buffer = bytearray(size)
    try:
        count = os.preadv(descriptor, [buffer], position, _NOWAIT)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP):
            return None
        error.filename = path  # the system knows the descriptor alone
        raise
    return bytes(buffer) if count == size else None


def read_from(descriptor: int, position: int, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = os.pread(descriptor, size, position)
        if not part:
            break
        parts.append(part)
        position += len(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _sync(descriptor: int) -> None:
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(descriptor)


def _drop_cache(descriptor: int) -> None:
    _sync(descriptor)
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_NOCACHE, 1)
    else:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
