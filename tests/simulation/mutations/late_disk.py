"""LateDisk: has a node hear late of what its disk has done: that a sync has ended, or what a read has found."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dohle.runtime.disk import File
from dohle.testing.world.disk import SimDisk

_LOOK_S = 0.001


class LateDisk:
    """Stands before a disk. Syncs of files whose paths contain one of `withheld` are done, and are not told of."""

    def __init__(self, disk: SimDisk) -> None:
        self.withheld: list[str] = []
        self.reads_wait = False
        self._clock = disk._clock
        self._sync, self._wait_for_read = disk.sync, disk.wait_for_read
        disk.sync, disk.wait_for_read = self.sync, self.wait_for_read  # type: ignore[method-assign]

    async def sync(
        self, files: Sequence[File], folders: Sequence[str] = (), synced: Callable[[File], None] | None = None
    ) -> None:
        await self._sync(files, folders, synced if not self.withheld else None)
        while any(part in file.path for part in self.withheld for file in files):
            await self._clock.sleep(_LOOK_S)

    async def wait_for_read(self) -> None:
        await self._wait_for_read()
        while self.reads_wait:
            await self._clock.sleep(_LOOK_S)
