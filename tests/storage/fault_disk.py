"""A disk in memory that forgets, tears and fails, for the tests of storage.

`crash` returns the disk as a machine finds it after power was lost: of what was not synced, each 512-byte sector of new
bytes, each cut of a file and each change of a folder's entries has either reached the device or not, as `random` has
it. New bytes that did not reach it are zeros, or the file ends before them. What was synced is all there.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence
from random import Random

from dohle.runtime.disk import Buffer, File, Room

SECTOR_BYTES = 512


class Content:
    """A file's bytes: as the page cache has them, and as the device does."""

    def __init__(self) -> None:
        self.cached = bytearray()
        self.durable = bytearray()

    def sync(self) -> None:
        self.durable = bytearray(self.cached)

    def after_crash(self, random: Random) -> bytearray:
        size = random.randint(min(len(self.durable), len(self.cached)), max(len(self.durable), len(self.cached)))
        if random.random() < 0.3:
            size = random.choice([len(self.durable), len(self.cached)])
        result = bytearray(size)
        for start in range(0, size, SECTOR_BYTES):
            end = min(start + SECTOR_BYTES, size)
            new, old = self.cached[start:end], self.durable[start:end]
            kept = new if random.random() < 0.6 or new == old else old
            result[start : start + len(kept)] = kept
        return result


class MemoryFile:
    def __init__(self, disk: FaultDisk, path: str, content: Content) -> None:
        self.path = path
        self.content = content
        self._disk = disk
        self.open = True

    def size(self) -> int:
        return len(self.content.cached)

    def append(self, buffers: Sequence[Buffer]) -> None:
        assert self.open, f"{self.path} is closed"
        data = b"".join(bytes(buffer) for buffer in buffers)
        self._disk.check("append", self.path)
        self._disk.check_alone(self.path, self.content)
        if self._disk.used() + len(data) > self._disk.capacity:
            raise OSError(errno.ENOSPC, "No space left on device", self.path)
        self.content.cached += data

    async def read_at(self, position: int, size: int) -> bytes:
        assert self.open, f"{self.path} is closed"
        self._disk.check("read", self.path)
        await self._disk.pause()
        return bytes(self.content.cached[position : position + size])

    def truncate(self, size: int) -> None:
        assert self.open, f"{self.path} is closed"
        self._disk.check("truncate", self.path)
        self._disk.check_alone(self.path, self.content)
        del self.content.cached[size:]

    async def drop_cache(self) -> None:
        await self._disk.sync([self])

    def close(self) -> None:
        assert self.open, f"{self.path} is closed twice"
        self.open = False


class MemoryLock:
    def __init__(self, disk: FaultDisk, path: str) -> None:
        self._disk = disk
        self._path = path

    def release(self) -> None:
        self._disk.locked.remove(self._path)


class FaultDisk:
    """Files by path; folders are sets of names whose changes are durable once the folder is synced."""

    def __init__(self) -> None:
        self.files: dict[str, Content] = {}
        self.durable_files: dict[str, Content] = {}
        self.folders: set[str] = {"."}
        self.locked: set[str] = set()
        self.capacity = 1 << 40
        self.reserves: dict[str, int] = {}
        self.fault: Callable[[str, str], OSError | None] = lambda _operation, _path: None
        self.syncs = 0
        self.before_sync: Callable[[], None] | None = None

    def check(self, operation: str, path: str) -> None:
        error = self.fault(operation, path)
        if error is not None:
            raise error

    def used(self) -> int:
        return sum(len(content.cached) for content in self.files.values()) + sum(self.reserves.values())

    async def pause(self) -> None:
        await asyncio.sleep(0)

    def open(self, path: str, *, create: bool = False) -> MemoryFile:
        self.check("open", path)
        if path not in self.files:
            if not create or _folder(path) not in self.folders:
                raise FileNotFoundError(errno.ENOENT, "No such file", path)
            self.files[path] = Content()
        return MemoryFile(self, path, self.files[path])

    def exists(self, path: str) -> bool:
        return path in self.files or path in self.folders or path in self.reserves

    def size(self, path: str) -> int:
        self.check("size", path)
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        return len(self.files[path].cached)

    def list(self, folder: str) -> list[str]:
        self.check("list", folder)
        if folder not in self.folders:
            raise FileNotFoundError(errno.ENOENT, "No such folder", folder)
        names = [path for path in (*self.files, *self.folders) if path != folder and _folder(path) == folder]
        return sorted(path.rpartition("/")[2] for path in names)

    def make_folder(self, path: str) -> None:
        self.check("make_folder", path)
        while path not in self.folders:
            self.folders.add(path)
            path = _folder(path)

    def rename(self, old: str, new: str) -> None:
        self.check("rename", old)
        if old in self.files:
            self.files[new] = self.files.pop(old)
            return
        if old not in self.folders:
            raise FileNotFoundError(errno.ENOENT, "No such file", old)
        for files in (self.files, self.durable_files):  # a folder's own entries move with it
            for path in [path for path in files if path.startswith(old + "/")]:
                files[new + path[len(old) :]] = files.pop(path)
        self.folders = {new + path[len(old) :] if _within(path, old) else path for path in self.folders}

    async def rename_all(self, renames: Sequence[tuple[str, str]]) -> None:
        for old, new in renames:
            self.rename(old, new)

    def link(self, path: str, new: str) -> None:
        self.check("link", new)
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        assert new not in self.files, f"{new} is there already"
        self.files[new] = self.files[path]

    def is_shared(self, path: str) -> bool:
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        return self._names_of(self.files[path]) > 1

    def check_alone(self, path: str, content: Content) -> None:
        """Nobody may change a file that has other names."""
        assert self._names_of(content) <= 1, f"{path} has other names, and is written to"

    def _names_of(self, content: Content) -> int:
        return sum(one is content for one in self.files.values())

    def delete(self, path: str) -> None:
        self.check("delete", path)
        if self.reserves.pop(path, 0):
            return
        if path in self.files:
            del self.files[path]
            return
        if path not in self.folders:
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        self.files = {one: content for one, content in self.files.items() if not _within(one, path)}
        self.durable_files = {one: content for one, content in self.durable_files.items() if not _within(one, path)}
        self.folders = {one for one in self.folders if not _within(one, path)}

    async def read_all(self, path: str) -> bytes:
        self.check("read", path)
        await self.pause()
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        return bytes(self.files[path].cached)

    async def sync(
        self, files: Sequence[File], folders: Sequence[str] = (), synced: Callable[[File], None] | None = None
    ) -> None:
        if self.before_sync is not None:
            self.before_sync()
        await self.pause()
        for file in files:
            assert isinstance(file, MemoryFile)
            assert file.open, f"{file.path} is closed"
            self.check("sync", file.path)
            file.content.sync()
        for folder in folders:
            self.check("sync", folder)
            if folder not in self.folders:
                raise FileNotFoundError(errno.ENOENT, "No such folder", folder)
            self._sync_folder(folder)
        self.syncs += 1

    def _sync_folder(self, folder: str) -> None:
        for path in [path for path in self.durable_files if _folder(path) == folder and path not in self.files]:
            del self.durable_files[path]
        self.durable_files.update({path: one for path, one in self.files.items() if _folder(path) == folder})

    def lock(self, path: str) -> MemoryLock:
        if path in self.locked:
            raise BlockingIOError(errno.EAGAIN, "locked", path)
        self.locked.add(path)
        return MemoryLock(self, path)

    def free_bytes(self, path: str) -> int:
        self.check("free_bytes", path)
        if path not in self.folders:
            raise FileNotFoundError(errno.ENOENT, "No such folder", path)
        return self.capacity - self.used()

    async def find_free_bytes(self, path: str) -> int:
        return self.free_bytes(path)

    async def find_room(self, path: str) -> Room:
        return Room(self.capacity, self.free_bytes(path))

    async def reserve(self, path: str, size: int) -> None:
        self.check("reserve", path)
        if self.used() + size > self.capacity:
            raise OSError(errno.ENOSPC, "No space left on device", path)
        self.reserves[path] = size

    def crash(self, random: Random) -> FaultDisk:
        """Returns the disk after a loss of power. Folders, once made, stay; a rename has come about or not."""
        after = FaultDisk()
        after.reserves = dict(self.reserves)
        after.folders = set(self.folders)
        found: dict[Content, Content] = {}  # one that has several names is the same under all of them
        chosen: dict[str, Content | None] = {}
        for path in sorted({*self.files, *self.durable_files}):
            cached, durable = self.files.get(path), self.durable_files.get(path)
            chosen[path] = cached if cached is durable else random.choice([cached, durable])
        present = list(self.files.values())
        for path, durable in sorted(self.durable_files.items()):
            if chosen[path] is None and durable not in chosen.values() and durable in present:
                chosen[path] = durable  # under another name, of which nothing has remained
        for path, content in chosen.items():
            if content is not None:
                if content not in found:
                    kept = found[content] = Content()
                    kept.cached = content.after_crash(random)
                    kept.sync()
                after.files[path] = after.durable_files[path] = found[content]
        return after


def _folder(path: str) -> str:
    return path.rpartition("/")[0] or "."


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


class FailingDirectory:
    """The disk of one directory fails at its `first` operation from now on, and at all that follow if it stays so."""

    def __init__(self, disk: FaultDisk, path: str, first: int, *, stays: bool) -> None:
        self.struck = False
        self._path = path
        self._left = first
        self._stays = stays
        disk.fault = self._fault

    def _fault(self, operation: str, path: str) -> OSError | None:
        if path != self._path and not path.startswith(f"{self._path}/"):
            return None
        self._left -= 1
        if self._left > 0 or (self.struck and not self._stays):
            return None
        self.struck = True
        return OSError(errno.EIO, f"at {operation}", path)
