"""Room: a disk that is full refuses, and so does a process that may open no more files; no disk has failed then.

What it refuses has changed nothing: whoever wanted it takes back what else belongs to it, and may try again. A sync is
another matter, for a page that found no room then is lost: what a sync raises is never taken for a refusal.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from dohle.model.errors import StorageFailure
from dohle.runtime.open_files import EXHAUSTED

_NONE_LEFT = (errno.ENOSPC, errno.EDQUOT, *EXHAUSTED)


class NoRoom(OSError):
    """Nothing was written, for the disk is full, or no descriptor is left: what was there still is, and is right."""


class DiskFull(StorageFailure):
    """The same, for who is told of it: the folder works on, and has room again once somebody has made some."""


@contextlib.contextmanager
def needing_room() -> Iterator[None]:
    """Around what makes files and appends, and syncs nothing: raises NoRoom for want of room, or of descriptors."""
    try:
        yield
    except OSError as error:
        if error.errno in _NONE_LEFT:
            raise NoRoom(error.errno, error.strerror, error.filename) from error
        raise
