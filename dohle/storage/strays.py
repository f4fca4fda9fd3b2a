"""Strays: replicas that were set aside in a folder, and are deleted once nobody can still miss them.

A replica that is damaged, or not this node's any more, may be the only copy of something: its folder is renamed
`<topic>-<partition>.<topic id>@<ms since 1970>-stray`, never served, and kept for as long as the node's configuration
says, which is a day at the least. One without a time, that a person renamed so, is counted from when it is first seen.
"""

from __future__ import annotations

import logging
import re

from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk
from dohle.storage.segment import LOG_SUFFIX

STRAY_SUFFIX = "-stray"
DAY_MS = 86_400_000
RETENTION_MS = 7 * DAY_MS

_SET_ASIDE = re.compile(r".*@([0-9]+)-stray", re.DOTALL)

log = logging.getLogger(__name__)


class Strays:
    """Those of one folder: `sizes` are the bytes of their segments, by the names of their folders."""

    def __init__(self, disk: Disk, clock: Clock, path: str, retention_ms: int) -> None:
        assert retention_ms >= DAY_MS
        self.sizes: dict[str, int] = {}
        self._disk = disk
        self._clock = clock
        self._path = path
        self._retention_ms = retention_ms

    def name_for(self, name: str) -> str:
        """Returns what the folder of a log is to be called that is set aside now."""
        ms = self._clock.wall_ms()
        while self._disk.exists(f"{self._path}/{name}@{ms}{STRAY_SUFFIX}"):
            ms += 1
        return f"{name}@{ms}{STRAY_SUFFIX}"

    def find(self) -> None:
        """Looks which there are. Raises OSError."""
        for name in [name for name in self._disk.list(self._path) if name.endswith(STRAY_SUFFIX)]:
            if not _SET_ASIDE.fullmatch(name):
                timed = self.name_for(name.removesuffix(STRAY_SUFFIX))
                self._disk.rename(f"{self._path}/{name}", f"{self._path}/{timed}")
                name = timed
            self.sizes[name] = self._size_bytes(f"{self._path}/{name}")

    def _size_bytes(self, folder: str) -> int:
        logs = [name for name in self._disk.list(folder) if name.endswith(LOG_SUFFIX)]
        return sum(self._disk.size(f"{folder}/{name}") for name in logs)

    def delete_old(self) -> None:
        """Deletes those that have been kept for long enough. Raises OSError."""
        now_ms = self._clock.wall_ms()
        for name in list(self.sizes):
            found = _SET_ASIDE.fullmatch(name)
            assert found is not None, f"{name} has no time"
            if now_ms - int(found[1]) >= self._retention_ms:
                days = (now_ms - int(found[1])) // DAY_MS
                log.warning("%s/%s was set aside %d days ago: it is deleted", self._path, name, days)
                if self._disk.exists(f"{self._path}/{name}"):  # else somebody has taken it away
                    self._disk.delete(f"{self._path}/{name}")
                del self.sizes[name]
