"""Read-only disk: looks at files that a running node may have, and cannot change them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence

from dohle.runtime.disk import File
from dohle.runtime.files import FileLock, RealDisk
from dohle.runtime.open_files import OpenFile


class ReadOnlyDisk(RealDisk):
    """The machine's file systems; whatever would change something raises OSError (EROFS)."""

    _access = os.R_OK

    def open(self, path: str, *, create: bool = False) -> OpenFile:
        if create:
            raise _refusal(path)
        return OpenFile(path, os.O_RDONLY | os.O_CLOEXEC, self._pool, self._descriptors, self._bulk_reads)

    def make_folder(self, path: str) -> None:
        raise _refusal(path)

    def rename(self, old: str, new: str) -> None:
        raise _refusal(old)

    async def rename_all(self, renames: Sequence[tuple[str, str]]) -> None:
        raise _refusal(renames[0][0])

    def link(self, path: str, new: str) -> None:
        raise _refusal(new)

    def delete(self, path: str) -> None:
        raise _refusal(path)

    async def sync(
        self, files: Sequence[File], folders: Sequence[str] = (), synced: Callable[[File], None] | None = None
    ) -> None:
        raise _refusal(next(iter(folders), "files"))

    async def reserve(self, path: str, size: int) -> None:
        raise _refusal(path)

    def lock(self, path: str) -> FileLock:
        raise _refusal(path)


def _refusal(path: str) -> OSError:
    return OSError(errno.EROFS, "it was opened to be read only", path)
