"""Up to which metadata offset this broker's folders are durable (amendment 3).

One number in a file of its own in each log directory, replaced atomically. It is written after the folders that an
image asks for are durable and before any of them is led or followed, so a replica that is assigned below it and is not
found has been lost.
"""

from __future__ import annotations

from dohle.model.errors import CorruptLog
from dohle.runtime.disk import Disk
from dohle.storage.log_dirs import LogDirs

FILE = "durable-metadata-offset"


class DurableMetadataOffset:
    """The number, in each of the log directories `dirs`."""

    def __init__(self, disk: Disk, dirs: LogDirs) -> None:
        self._disk = disk
        self._dirs = dirs

    async def read(self) -> int:
        """Returns the highest offset (exclusive); 0 where no folder has ever held a replica. Raises CorruptLog."""
        return max([await self._read(folder.path) for folder in self._dirs.folders])

    async def _read(self, folder: str) -> int:
        path = f"{folder}/{FILE}"
        try:
            text = (await self._disk.read_all(path)).decode()
            return int(text)
        except FileNotFoundError:
            return 0
        except ValueError as error:
            raise CorruptLog(
                f"{path} does not hold a number: set this node's data folder aside and let it fill from its peers"
            ) from error

    async def write(self, offset: int) -> None:
        """Returns once `offset` is durable. Raises StorageFailure."""
        for folder in self._dirs.folders:
            await folder.put(FILE, f"{offset}\n")
