"""Partition metadata: `partition.metadata` (Kafka's: version, topic id) says whose replica a folder holds."""

from __future__ import annotations

from functools import lru_cache

from dohle.model.errors import DataFolderError
from dohle.model.ids import TopicId, id_text, parse_id
from dohle.runtime.disk import Disk

PARTITION_FILE = "partition.metadata"


def encode_topic_id(topic_id: bytes) -> bytes:
    """Returns the file's content."""
    return f"version: 0\ntopic_id: {id_text(topic_id)}\n".encode()


@lru_cache(maxsize=64)
def _decode(content: bytes) -> TopicId:  # the same for all partitions of a topic, which are opened one after the other
    values = dict(line.split(": ", 1) for line in content.decode("ascii", "replace").splitlines())
    if values["version"] != "0":
        raise ValueError(f"version {values['version']} is unknown")
    return TopicId(parse_id(values["topic_id"]))


async def read_topic_id(disk: Disk, folder: str) -> TopicId:
    """Returns the topic's id. Raises DataFolderError where the file is missing or damaged, OSError."""
    path = f"{folder}/{PARTITION_FILE}"
    try:
        return _decode(await disk.read_all(path))
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise DataFolderError(
            f"{path} is missing or damaged ({error}): restore it, or rename its folder so that it ends in -stray; "
            "the replica is then copied from the others"
        ) from error
