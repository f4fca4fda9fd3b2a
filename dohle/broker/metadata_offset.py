"""Up to which metadata offset this broker's folders are durable (amendment 3).

One number in a file of its own, replaced atomically. It is written after the folders that an image asks for are durable
and before any of them is led or followed, so a replica that is assigned below it and is not found has been lost.
"""

from __future__ import annotations

from dohle.model.errors import CorruptLog, StorageFailure
from dohle.runtime.disk import Disk
from dohle.storage.checkpoints import write_files

FILE = "durable-metadata-offset"


class DurableMetadataOffset:
    """The number, in the data folder `folder`."""

    def __init__(self, disk: Disk, folder: str) -> None:
        self._disk = disk
        self._folder = folder

    async def read(self) -> int:
        """Returns the offset (exclusive); 0 for a folder that has never held a replica. Raises CorruptLog."""
        path = f"{self._folder}/{FILE}"
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
        path = f"{self._folder}/{FILE}"
        try:
            await write_files(self._disk, {path: f"{offset}\n"}, [self._folder])
        except OSError as error:
            raise StorageFailure(f"{path} cannot be written ({error}): mend the disk, then start this node") from error
