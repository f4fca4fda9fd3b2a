"""Clean stop: the file that says that a folder's logs were synced and checkpointed when its process ended.

It carries the broker epoch that the node had, as Kafka's does (KIP-966). It is taken away, durably, before anything is
loaded, so that a crash at any later moment is seen as one.
"""

from __future__ import annotations

import json

from dohle.runtime.disk import Disk
from dohle.storage.checkpoints import write_files

FILE_NAME = ".clean-shutdown"
NO_EPOCH = -1


async def take_mark(disk: Disk, folder: str) -> int | None:
    """Removes the mark. Returns the broker epoch that it carries, None if the last stop was not clean."""
    path = f"{folder}/{FILE_NAME}"
    if not disk.exists(path):
        return None
    content = await disk.read_all(path)
    disk.delete(path)
    await disk.sync([], [folder])
    try:
        return int(json.loads(content)["brokerEpoch"])
    except (ValueError, KeyError, TypeError):
        return None  # unreadable: nothing is lost by checking the logs


async def leave_mark(disk: Disk, folder: str, broker_epoch: int) -> None:
    """Says that the stop is clean; everything is durable already."""
    text = json.dumps({"version": 0, "brokerEpoch": broker_epoch})
    await write_files(disk, {f"{folder}/{FILE_NAME}": text}, [folder])
