"""Shared files: those of a log that have other names as well, in the folders of its forks or of what it is a fork of.

Such a file is never written to, nor cut, where it lies: whoever has it under another name would change with it. Who has
to change one takes a copy first, which is a file of its own, and gives that the name. To delete or to rename a name
changes no other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from dohle.runtime.disk import Disk, File

COPY_SUFFIX = ".copied"
"""Behind the name of a copy that is not whole, or was not given its name: a start deletes it."""

_CHUNK_BYTES = 1 << 20
_UNSYNCED_BYTES = 16 << 20
"""How far a copy runs ahead of what is durable of it, so that it holds up no other sync for long."""


class Shortened(Exception):
    """What was to be copied is not all there."""


async def copy_start(
    disk: Disk, source: Callable[[], File], target: str, size: int, sync: Callable[[Sequence[File]], Awaitable[None]]
) -> None:
    """Makes the file `target` of the first `size` bytes of another, durably but for its name.

    `source` returns the open file, again for each piece; `sync` makes files durable. Raises Shortened, OSError.
    """
    copy = disk.open(target, create=True)
    try:
        copy.truncate(0)  # left over
        synced = 0
        while (position := copy.size()) < size:
            chunk = await source().read_at(position, min(_CHUNK_BYTES, size - position))
            if not chunk:
                raise Shortened(f"{target}: the file that it is copied from ends at {position}")
            copy.append([chunk])
            if copy.size() - synced >= _UNSYNCED_BYTES:
                await sync([copy])
                synced = copy.size()
        await sync([copy])
    finally:
        copy.close()


async def own(disk: Disk, path: str, size: int, let_go: Callable[[], None]) -> None:
    """Makes `path` a file of its own with its first `size` bytes, where it is shared; durable on return.

    Nobody changes it meanwhile; `let_go` closes what has it open, before it becomes another file. Raises OSError.
    """
    if not disk.is_shared(path):
        return
    shared = disk.open(path)
    try:
        await copy_start(disk, lambda: shared, path + COPY_SUFFIX, size, disk.sync)
    finally:
        shared.close()
    let_go()
    disk.rename(path + COPY_SUFFIX, path)
    await disk.sync([], [path.rpartition("/")[0]])
