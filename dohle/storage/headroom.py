"""Headroom: how much room the disk of one directory has, and what becomes of that when there is little.

Below `min_free_bytes` producers are refused, until there is a quarter more. All else goes on, and lives on what is
left: replicas are filled, metadata, checkpoints and votes are written. The last of it is a reserve, a file that holds
room for when the disk has none at all, since somebody else may fill it, too: it is given up then, and what has to be
written before anything can be deleted finds room. Once there is enough again, there is a reserve again.

`look` is called at the start and then once a second: nothing is asked of the disk where producers write.
"""

from __future__ import annotations

import logging

from dohle.runtime.disk import Disk
from dohle.storage.room import DiskFull, NoRoom, needing_room

RESERVE_FILE = ".reserve"
RESERVE_BYTES = 4 << 20
"""Checkpoints of ten thousand logs, once each."""

LEAST_FREE_BYTES = 64 << 20
"""What is left free where nothing else is said: of new replicas, of moves between directories, and of producers."""

_NONE_LEFT_BYTES = 1 << 20  # below this the reserve is given up

log = logging.getLogger(__name__)


class Headroom:
    """Of one directory, which is this process's."""

    def __init__(self, disk: Disk, path: str, min_free_bytes: int) -> None:
        self.path = path
        self.min_free_bytes = min_free_bytes
        self.free_bytes = 0  # when it was looked at last
        self.is_low = False
        """Producers are refused."""
        self._disk = disk
        self._reserve = f"{path}/{RESERVE_FILE}"

    async def look(self) -> None:
        """Measures what is free, and does what follows. Raises OSError where the disk does not answer."""
        free = await self._disk.find_free_bytes(self.path)
        if self._disk.exists(self._reserve):
            if free < _NONE_LEFT_BYTES:
                self._disk.delete(self._reserve)
                log.error(
                    "the disk of %s is full: its reserve of %s is given up, for what must be written before anything"
                    " can be deleted; free space",
                    self.path,
                    _size_text(RESERVE_BYTES),
                )
                free = await self._disk.find_free_bytes(self.path)
        elif free >= 2 * RESERVE_BYTES:
            free -= await self._take_reserve()
        self.free_bytes = free
        self._judge()

    async def _take_reserve(self) -> int:
        try:
            with needing_room():
                await self._disk.reserve(self._reserve, RESERVE_BYTES)
        except NoRoom:
            return 0  # somebody else was faster
        return RESERVE_BYTES

    @property
    def enough_bytes(self) -> int:
        """With so much free producers are no longer refused."""
        return self.min_free_bytes + self.min_free_bytes // 4

    def _judge(self) -> None:
        if not self.is_low and self.free_bytes < self.min_free_bytes:
            self.is_low = True
            log.error("producers are refused, while replicas are still filled: %s", self.words())
        elif self.is_low and self.free_bytes >= self.enough_bytes:
            self.is_low = False
            log.warning("producers may write to %s again: %s are free", self.path, _size_text(self.free_bytes))

    def words(self) -> str:
        """Returns how little there is, and what to do."""
        return (
            f"{self.path} has {_size_text(self.free_bytes)} free, and storage_min_free_bytes is"
            f" {_size_text(self.min_free_bytes)}; producers go on with {_size_text(self.enough_bytes)}: delete topics,"
            " shorten their retention, move replicas away, or free space"
        )

    def check(self) -> None:
        """Raises DiskFull where producers are to write nothing."""
        if self.is_low:
            raise DiskFull(f"producers are refused: {self.words()}")


def _size_text(size_bytes: int) -> str:
    return f"{size_bytes >> 20} MiB" if size_bytes >= 10 << 20 else f"{size_bytes >> 10} KiB"
