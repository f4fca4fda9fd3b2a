"""Disk: files and folders, with durability spelled out.

What may wait for the device is a coroutine (`read_at`, `read_all`, `sync`, `drop_cache`); what only touches the page
cache or a folder's entries is a plain call, so that an append is atomic among the loop's tasks. Nothing is durable
before `sync` has returned for the file *and*, where a name is new or changed, for its folder.

Errors are OSError as the system raises them: ENOSPC after an append means that nothing of it was kept; EIO means that
the device failed. Paths are strings with `/`, absolute or relative to the process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

Buffer = bytes | bytearray | memoryview


class Room(NamedTuple):
    """How large a disk is, and how much can still be written to it."""

    total_bytes: int
    free_bytes: int


class File(Protocol):
    """An open file that grows at its end."""

    @property
    def path(self) -> str: ...

    def size(self) -> int:
        """Returns the length in bytes, unsynced appends included."""
        ...

    def append(self, buffers: Sequence[Buffer]) -> None:
        """Adds all `buffers` at the end, or, when OSError is raised, none of them."""
        ...

    async def read_at(self, position: int, size: int) -> bytes:
        """Returns up to `size` bytes from `position` on; fewer only where the file ends."""
        ...

    def truncate(self, size: int) -> None:
        """Cuts the file to `size` bytes; durable only after a sync."""
        ...

    async def drop_cache(self) -> None:
        """Syncs, then makes later reads come from the device where the system can (a recovery's duty)."""
        ...

    def close(self) -> None:
        """Lets go of the file; syncs nothing. Reads under way finish."""
        ...


class FolderLock(Protocol):
    """Held until released or until the process ends, however it ends."""

    def release(self) -> None: ...


class Disk(Protocol):
    """The file systems that one node sees."""

    def open(self, path: str, *, create: bool = False) -> File:
        """Opens a file to read and append. Raises FileNotFoundError, unless `create`."""
        ...

    def exists(self, path: str) -> bool: ...

    def size(self, path: str) -> int:
        """Returns a file's length in bytes, without opening it.

        Raises FileNotFoundError, and PermissionError where `open` would.
        """
        ...

    def list(self, folder: str) -> list[str]:
        """Returns the names in `folder`, sorted. Raises FileNotFoundError."""
        ...

    def make_folder(self, path: str) -> None:
        """Makes `path` and its parents where they are missing."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Moves a file or folder, replacing a file at `new`; atomic, durable once the folder is synced."""
        ...

    async def rename_all(self, renames: Sequence[tuple[str, str]]) -> None:
        """As `rename` of each, old to new, in this order, which may take long.

        None is under way any more when this ends, cancelled or not.
        """
        ...

    def link(self, path: str, new: str) -> None:
        """Gives a file a second name `new`, where nothing is; durable once that folder is synced.

        Raises OSError where the file system cannot (EXDEV, EPERM, EMLINK, EOPNOTSUPP).
        """
        ...

    def is_shared(self, path: str) -> bool:
        """Whether a file has other names besides: whoever writes to it changes what lies under those as well."""
        ...

    def delete(self, path: str) -> None:
        """Deletes a file, or a folder with all that is in it. Raises FileNotFoundError."""
        ...

    async def read_all(self, path: str) -> bytes:
        """Returns a small file's content. Raises FileNotFoundError."""
        ...

    async def sync(
        self, files: Sequence[File], folders: Sequence[str] = (), synced: Callable[[File], None] | None = None
    ) -> None:
        """Returns when the files' bytes and the folders' entries are on the device. Raises OSError if one is not.

        `synced` may hear of files that are there while others still are not.
        """
        ...

    def lock(self, path: str) -> FolderLock:
        """Takes an exclusive lock on the file `path`, made if missing. Raises BlockingIOError if a process has it."""
        ...

    def free_bytes(self, path: str) -> int:
        """Returns how much can still be written where `path` lies."""
        ...

    async def find_free_bytes(self, path: str) -> int:
        """The same, for who asks over and over: a disk that is slow to answer holds up nobody else."""
        ...

    async def find_room(self, path: str) -> Room:
        """The same again, with the size of the disk. Raises OSError where it does not answer."""
        ...

    async def reserve(self, path: str, size: int) -> None:
        """Makes a file that keeps `size` bytes of room from everybody else until it is deleted; durable on return.

        Where it raises OSError no such file is left.
        """
        ...
