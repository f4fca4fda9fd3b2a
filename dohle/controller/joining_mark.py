"""JoiningMark: how a folder that was formatted for a controller that joins is told from one that has lost its log.

The mark lies in such a folder and says that the log may be empty, for it comes from the leader. It is taken away before
anybody is told that the first of it is durable: from then on an empty log is a lost one.
"""

from __future__ import annotations

import posixpath

from dohle.runtime.disk import Disk

JOINING_FILE = "joining"


class JoiningMark:
    """The mark of one metadata folder, if it bears one."""

    def __init__(self, disk: Disk, folder: str) -> None:
        self._disk = disk
        self._folder = folder
        self._path = posixpath.join(folder, JOINING_FILE)
        self.is_there = disk.exists(self._path)

    async def log_is_durable(self, end_offset: int) -> None:
        """Takes the mark away, durably, if the log reaches past its beginning."""
        if self.is_there and end_offset > 0:
            self._disk.delete(self._path)
            await self._disk.sync([], [self._folder])
            self.is_there = False
