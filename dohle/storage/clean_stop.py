"""Clean stop: the file that says that a folder's logs were synced and checkpointed when its process ended.

It carries the broker epoch that the node had, as Kafka's does (KIP-966). It is taken away, durably, before anything is
loaded, so that a crash at any later moment is seen as one.
"""

from __future__ import annotations

import json
import logging

from dohle.runtime.disk import Disk
from dohle.storage.checkpoints import write_files

FILE_NAME = ".clean-shutdown"
NO_EPOCH = -1

log = logging.getLogger(__name__)


async def take_mark(disk: Disk, folder: str) -> int | None:
    """Removes the mark. Returns the broker epoch that it carries, None if the last stop was not clean."""
    path = f"{folder}/{FILE_NAME}"
    if not disk.exists(path):
        return None
    content = await disk.read_all(path)
    disk.delete(path)
    await disk.sync([], [folder])
    try:
        return decode_mark(content)
    except ValueError as error:
        log.warning("%s is damaged (%s): the logs are checked as after a crash", path, error)
        return None  # nothing is lost by it


def decode_mark(content: bytes) -> int:
    """Returns the broker epoch in a mark. Raises ValueError where it is none, or of a format that is not known."""
    mark = json.loads(content)
    match mark:
        case {"version": 0, "brokerEpoch": int(epoch)}:
            return epoch
        case _:
            raise ValueError(f"no mark of version 0: {content[:100]!r}")


async def leave_mark(disk: Disk, folder: str, broker_epoch: int) -> None:
    """Says that the stop is clean; everything is durable already."""
    text = json.dumps({"version": 0, "brokerEpoch": broker_epoch})
    await write_files(disk, {f"{folder}/{FILE_NAME}": text}, [folder])
