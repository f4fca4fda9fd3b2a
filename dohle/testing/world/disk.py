"""SimDisk: a machine's file system in memory, which loses, tears, fills up, fails and slows down.

What a process wrote survives its death. A loss of power leaves what was synced, and of the rest what chance leaves: of
a file's unsynced bytes each 512-byte sector by itself (one that did not reach the device is zeros, or the file ends
before it), of a folder's unsynced changes the first few, or any: not every file system keeps their order. A rename
within a folder is one change.

A sync makes durable what was there when it began. One that fails leaves the page cache as it is and takes its bytes for
written: as on Linux no later sync writes them, and who reads past the page cache finds zeros.

Traps strike in the middle of what a process does to its disk. Work of a dead process changes nothing any more: whoever
kills it has frozen the loop that it would go on in, and what it still does before it waits for something, the disk does
not do.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from random import Random

from dohle.runtime.disk import Buffer, File, Room
from dohle.storage.compaction.swap_files import CLEANED_SUFFIX, SWAP_SUFFIX
from dohle.storage.moved_logs import FUTURE_SUFFIX, MOVED_SUFFIX
from dohle.storage.segment import RETIRED_SUFFIX
from dohle.testing.world.entries import Content, Entry, Folder, names_of
from dohle.testing.world.seams import SimClock
from dohle.testing.world.trace import Trace

_HANGS_S = 0.1  # between two looks whether a disk that hangs goes on
_SYNC_S = 0.0008
_CAPACITY_BYTES = 1 << 40
_VOTE_FILE = "quorum-state"
_SNAPSHOT_SUFFIX = ".checkpoint"


class Moment(Enum):
    """Moments in a disk's life at which a death is worth more than at others."""

    SYNC_BEGUN = "in a sync"
    SYNC_DONE = "right after a sync"
    ROLL = "at a roll"
    TRUNCATION = "at a truncation"
    RENAME = "at a rename"
    MOVE = "at a move"
    VOTE = "at a vote"
    SNAPSHOT = "at a snapshot"
    SWAP = "at a compaction's swap"
    LINK = "while files are shared"


@dataclass(slots=True)
class DiskFaults:
    """What is wrong with a disk at the moment."""

    slowness: float = 1.0
    least_sync_s: float = 0.0
    forgetful: bool = False
    """A loss of power takes all that was not synced, instead of what chance takes."""
    reads_hang: bool = False
    """No read ends while it does, one that the page cache could answer neither."""
    syncs_hang: bool = False
    full: bool = False
    sync_fails: bool = False
    write_fails: bool = False
    failed: dict[str, None] = field(default_factory=dict)
    """The folders, by their first names, whose device fails every write and sync, while others work."""
    slow_logs: dict[str, float] = field(default_factory=dict)
    """How much longer a sync of the files in this folder takes, while others are as quick as ever."""
    full_folders: dict[str, None] = field(default_factory=dict)
    """The folders, by their first names, whose device has no room left."""
    given_up_bytes: int = 1 << 14
    """What a reserve leaves that is given up while the device is full; somebody else takes the rest."""
    low_folders: dict[str, int] = field(default_factory=dict)
    """How much room is left on the devices that have little, by the folders' first names."""
    traps: list[tuple[Moment, Callable[[], None]]] = field(default_factory=list)
    """Each strikes once, the next time that its moment comes."""

    def mend(self) -> None:
        self.slowness = 1.0
        self.least_sync_s = 0.0
        self.reads_hang = self.syncs_hang = False
        self.full = self.sync_fails = self.write_fails = False
        self.failed.clear()
        self.full_folders.clear()
        self.low_folders.clear()
        self.slow_logs.clear()


class SimFile:
    """An open file."""

    def __init__(self, disk: SimDisk, path: str, content: Content) -> None:
        self.path = path
        self.content = content
        self._disk = disk
        self._closed = False

    def size(self) -> int:
        return len(self.content.cached)

    def append(self, buffers: Sequence[Buffer]) -> None:
        assert not self._closed, f"{self.path} is closed"
        if self._disk.abandoned:
            return
        data = b"".join(buffers)
        self._disk.check_alone(self.path, self.content)
        self._disk.fail_if_its_device_does(self.path)
        faults = self._disk.faults
        lacks_room = self._disk.lacks_room(self.path) and not self._disk.has_given_up(self.path, len(data))
        if lacks_room or faults.write_fails:
            self._disk.failures += faults.full or faults.write_fails
            if lacks_room:
                raise OSError(errno.ENOSPC, "No space left on device", self.path)
            raise OSError(errno.EIO, "Input/output error", self.path)
        self._disk.trace.note(self.path, data)
        self.content.cached += data

    async def read_at(self, position: int, size: int) -> bytes:
        assert not self._closed, f"{self.path} is closed"
        content = self.content
        await self._disk.wait_for_read()
        return bytes(content.cached[position : position + size])

    def truncate(self, size: int) -> None:
        assert not self._closed, f"{self.path} is closed"
        if self._disk.abandoned:
            return
        assert size <= self.size(), f"{self.path} cannot be cut to more than it has"
        self._disk.check_alone(self.path, self.content)
        self._disk.trace.note(f"cut {self.path} {size}")
        cuts_batches = size < self.size() and self.path.endswith(".log")
        self.content.cut(size)
        if cuts_batches:
            self._disk.reached(Moment.TRUNCATION)

    async def drop_cache(self) -> None:
        await self._disk.sync([self])
        self.content.drop_cache()

    def close(self) -> None:
        self._closed = True


class SimLock:
    """Held until released, or until the process dies."""

    def __init__(self, disk: SimDisk, path: str) -> None:
        self._disk = disk
        self._path = path

    def release(self) -> None:
        self._disk.locked.pop(self._path, None)


class SimDisk:
    """One machine's disk, which outlives the processes that use it."""

    def __init__(self, clock: SimClock, chance: Random, trace: Trace) -> None:
        self.faults = DiskFaults()
        self.trace = trace
        self.locked: dict[str, None] = {}
        self.failures = 0  # errors that processes have met here
        self.abandoned = False  # its process is dead: whatever it still asks for does not happen
        self._clock = clock
        self._random = chance
        self._root = Folder()
        self._unmounted: dict[str, Entry] = {}
        self._reserves: dict[str, None] = {}  # by their paths; a device has no size here, and they none either
        self._given_up: dict[str, int] = {}  # what those leave, by the folder

    # what happens to the machine

    def process_starts(self) -> None:
        self.abandoned = False

    def process_died(self) -> None:
        self.abandoned = True
        self.locked.clear()

    def lose_power(self) -> None:
        self._root.lose_power(None if self.faults.forgetful else self._random)

    def reached(self, moment: Moment) -> None:
        """Springs the traps that wait for `moment`."""
        if self.faults.traps and any(awaited is moment for awaited, _ in self.faults.traps):
            sprung = [strike for awaited, strike in self.faults.traps if awaited is moment]
            self.faults.traps = [trap for trap in self.faults.traps if trap[0] is not moment]
            for strike in sprung:
                strike()

    def wipe(self) -> None:
        """All devices are replaced by empty ones, which are sound."""
        self.faults.mend()
        self._root = Folder()
        self._unmounted.clear()
        self._reserves.clear()

    def unmount(self, name: str) -> None:
        """What lies in this folder is out of reach, until it is mounted again."""
        self._unmounted[name] = self._root.entries[name]
        self._root.forget(name)

    def mount(self, name: str) -> None:
        """Brings back what was unmounted, if nothing has taken its place."""
        entry = self._unmounted.pop(name, None)
        if entry is not None and name not in self._root.entries:
            self._root.bring_back(name, entry)

    @property
    def unmounted(self) -> list[str]:
        return sorted(self._unmounted)

    def fail_if_its_device_does(self, path: str) -> None:
        if self.faults.failed and (_names(path) or [path])[0] in self.faults.failed:
            raise OSError(errno.EIO, "Input/output error", path)

    def spoil(self, path: str, position: int, bits: int) -> None:
        """Turns bits of a file over behind everybody's back."""
        content = self._find(path)
        assert isinstance(content, Content), f"{path} is no file"
        content.spoil(position, bits)

    def lose(self, path: str) -> None:
        """The file is gone, durably."""
        folder, name = self._parent(path)
        folder.forget(name)

    def folder(self, path: str) -> Folder | None:
        """Returns the folder that has this name now: the same object for as long as it is that one."""
        entry = self._find(path)
        return entry if isinstance(entry, Folder) else None

    def sure_bytes(self, path: str) -> int:
        """Returns how many of a file's bytes have been synced, at least."""
        content = self._find(path)
        assert isinstance(content, Content), f"{path} is no file"
        return min(content.shared, len(content.durable), len(content.cached))

    def peek(self, path: str) -> bytes:
        """Returns what a file holds, without a process that reads it."""
        content = self._find(path)
        assert isinstance(content, Content), f"{path} is no file"
        return bytes(content.cached)

    # Disk

    def open(self, path: str, *, create: bool = False) -> SimFile:
        folder, name = self._parent(path)
        entry = folder.entries.get(name)
        if entry is None:
            if not create:
                raise FileNotFoundError(errno.ENOENT, "No such file", path)
            entry = Content()
            if not self.abandoned:
                folder.change({name: entry})
                if name.endswith(".log") and not path.rpartition("/")[0].endswith(("-new", FUTURE_SUFFIX)):
                    self.reached(Moment.ROLL)
        if isinstance(entry, Folder):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
        return SimFile(self, path, entry)

    def exists(self, path: str) -> bool:
        return self._find(path) is not None or path in self._reserves

    def size(self, path: str) -> int:
        entry = self._find(path)
        if not isinstance(entry, Content):
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        return len(entry.cached)

    def list(self, folder: str) -> list[str]:
        return sorted(self._folder(folder).entries)

    def make_folder(self, path: str) -> None:
        if self.abandoned:
            return
        folder = self._root
        for name in _names(path):
            entry = folder.entries.get(name)
            if entry is None:
                entry = Folder()
                folder.change({name: entry})
            if not isinstance(entry, Folder):
                raise FileExistsError(errno.EEXIST, "A file is in the way", path)
            folder = entry

    def rename(self, old: str, new: str) -> None:
        if self.abandoned:
            return
        (old_folder, old_name), (new_folder, new_name) = self._parent(old), self._parent(new)
        entry = old_folder.entries.get(old_name)
        if entry is None:
            raise FileNotFoundError(errno.ENOENT, "No such file", old)
        assert old_folder is new_folder, "renames stay within a folder, where they are atomic"
        self.trace.note(f"rename {old} {new}")
        old_folder.change({old_name: None, new_name: entry})
        self.reached(Moment.RENAME)
        if old.endswith(MOVED_SUFFIX) or new.endswith((MOVED_SUFFIX, "-delete")):
            self.reached(Moment.MOVE)
        if new.endswith(_SNAPSHOT_SUFFIX):
            self.reached(Moment.SNAPSHOT)
        if old.endswith((CLEANED_SUFFIX, SWAP_SUFFIX)) or new.endswith(RETIRED_SUFFIX):
            self.reached(Moment.SWAP)

    async def rename_all(self, renames: Sequence[tuple[str, str]]) -> None:
        for old, new in renames:
            self.rename(old, new)

    def link(self, path: str, new: str) -> None:
        if self.abandoned:
            return
        (old_folder, old_name), (new_folder, new_name) = self._parent(path), self._parent(new)
        entry = old_folder.entries.get(old_name)
        if not isinstance(entry, Content):
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        if new_name in new_folder.entries:
            raise FileExistsError(errno.EEXIST, "A file is in the way", new)
        self.fail_if_its_device_does(new)
        if self.lacks_room(new):
            raise OSError(errno.ENOSPC, "No space left on device", new)
        self.trace.note(f"link {path} {new}")
        entry.was_linked = True
        new_folder.change({new_name: entry})
        self.reached(Moment.LINK)

    def is_shared(self, path: str) -> bool:
        content = self._find(path)
        if not isinstance(content, Content):
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        return content.was_linked and names_of(content, self._root) > 1

    def check_alone(self, path: str, content: Content) -> None:
        """Nobody may change a file that has other names."""
        shared = content.was_linked and names_of(content, self._root) > 1
        assert not shared, f"{path} has other names, under which nobody expects it to change, and is written to"

    def delete(self, path: str) -> None:
        if self.abandoned:
            return
        folder, name = self._parent(path)
        if path in self._reserves:
            del self._reserves[path]
            self._given_up[_names(path)[0]] = self.faults.given_up_bytes
            return
        if name not in folder.entries:
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        self.trace.note(f"delete {path}")
        folder.change({name: None})

    async def read_all(self, path: str) -> bytes:
        entry = self._find(path)
        if not isinstance(entry, Content):
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        await self.wait_for_read()
        return bytes(entry.cached)

    async def wait_for_read(self) -> None:
        """Most reads find the page cache; the others wait for the device."""
        if self.abandoned:
            await self._freeze()
        while self.faults.reads_hang:
            await self._clock.sleep(_HANGS_S)
        if self._random.random() < 0.1:
            await self._clock.sleep(self._random.expovariate(1 / (_SYNC_S / 4 * self.faults.slowness)))

    async def _freeze(self) -> None:
        await self._clock.sleep(1.0)  # of a loop that is dead: it never ends

    async def sync(
        self, files: Sequence[File], folders: Sequence[str] = (), synced: Callable[[File], None] | None = None
    ) -> None:
        if self.abandoned:
            await self._freeze()
        contents = [_content(file) for file in files]
        sizes = [len(content.cached) for content in contents]
        begun = [content.begin_sync() for content in contents]
        begun += [self._folder(folder).begin_sync() for folder in folders]
        if self.faults.traps:
            self.reached(Moment.SYNC_BEGUN)
            if any(_VOTE_FILE in file.path for file in files):
                self.reached(Moment.VOTE)
            if any(f"{_SNAPSHOT_SUFFIX}." in file.path for file in files):
                self.reached(Moment.SNAPSHOT)
        chance_s = self._random.expovariate(1 / (_SYNC_S * self.faults.slowness))
        await self._clock.sleep(self.faults.least_sync_s + chance_s)
        while self.faults.syncs_hang:
            await self._clock.sleep(_HANGS_S)
        if self.faults.sync_fails or (self.faults.failed and self._any_failed(files, folders)):
            self.failures += self.faults.sync_fails
            for content, size in zip(contents, sizes, strict=True):
                content.give_up(size)
            raise OSError(errno.EIO, "Input/output error", files[0].path if files else folders[0])
        slow_s = max((self._slow_s(file) for file in files), default=0.0) if self.faults.slow_logs else 0.0
        if slow_s:
            begun = [*self._sync_the_quick(files, begun, synced)]
            await self._clock.sleep(slow_s)
        for finish in begun:  # files first: a name that survives must not lead to bytes that did not
            finish()
        self.trace.note("synced")
        self.reached(Moment.SYNC_DONE)
        if self.abandoned:  # the trap was for this moment
            await self._freeze()

    def _any_failed(self, files: Sequence[File], folders: Sequence[str]) -> bool:
        paths = (*[file.path for file in files], *folders)
        return any((_names(path) or [path])[0] in self.faults.failed for path in paths)

    def _slow_s(self, file: File) -> float:
        return self.faults.slow_logs.get(file.path.rpartition("/")[0], 0.0)

    def _sync_the_quick(
        self, files: Sequence[File], begun: Sequence[Callable[[], None]], synced: Callable[[File], None] | None
    ) -> Sequence[Callable[[], None]]:
        """Ends the syncs of files in no slow folder, and returns those that go on."""
        slow: Sequence[Callable[[], None]] = ()
        for file, finish in zip(files, begun, strict=False):
            if self._slow_s(file):
                slow = (*slow, finish)
                continue
            finish()
            if synced is not None:
                synced(file)
        return (*slow, *begun[len(files) :])

    def lock(self, path: str) -> SimLock:
        self.open(path, create=True).close()
        if path in self.locked:
            raise BlockingIOError(errno.EAGAIN, "Locked", path)
        self.locked[path] = None
        return SimLock(self, path)

    def free_bytes(self, path: str) -> int:
        if self.lacks_room(path):
            return self._given_up.get(_names(path)[0], 0)
        return self.faults.low_folders.get(_names(path)[0], _CAPACITY_BYTES)

    async def find_free_bytes(self, path: str) -> int:
        return self.free_bytes(path)

    async def find_room(self, path: str) -> Room:
        return Room(_CAPACITY_BYTES, self.free_bytes(path))

    async def reserve(self, path: str, size: int) -> None:
        if self.abandoned:
            return
        if self.lacks_room(path):
            raise OSError(errno.ENOSPC, "No space left on device", path)
        self._reserves[path] = None
        self._given_up.pop(_names(path)[0], None)

    def lacks_room(self, path: str) -> bool:
        """Whether the device of `path` is full."""
        faults = self.faults
        return faults.full or (bool(faults.full_folders) and _names(path)[0] in faults.full_folders)

    def has_given_up(self, path: str, size: int) -> bool:
        """Takes `size` bytes of what a reserve has left on a device that is full, if they are there."""
        left = self._given_up.get(_names(path)[0], 0)
        if left >= size:
            self._given_up[_names(path)[0]] = left - size
        return left >= size

    def _find(self, path: str) -> Entry | None:
        entry: Entry | None = self._root
        for name in _names(path):
            if not isinstance(entry, Folder):
                return None
            entry = entry.entries.get(name)
        return entry

    def _folder(self, path: str) -> Folder:
        entry = self._find(path)
        if not isinstance(entry, Folder):
            raise FileNotFoundError(errno.ENOENT, "No such folder", path)
        return entry

    def _parent(self, path: str) -> tuple[Folder, str]:
        *folders, name = _names(path)
        return self._folder("/".join(folders)), name


@lru_cache(maxsize=4096)
def _names(path: str) -> tuple[str, ...]:
    return tuple(name for name in path.split("/") if name not in ("", "."))


def _content(file: File) -> Content:
    assert isinstance(file, SimFile), f"{file.path} was not opened by this disk"
    return file.content
