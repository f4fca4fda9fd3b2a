"""Kafka's log directories: which partitions lie in them, and what the checkpoints say of each."""

from __future__ import annotations

from dataclasses import dataclass, field

from dohle.model.errors import DataFolderError
from dohle.runtime.disk import Disk
from dohle.storage.checkpoints import HIGH_WATERMARKS, LOG_STARTS, LogKey, decode_offsets
from dohle.storage.kafka_log import KafkaLog
from dohle.storage.log_folder import parse_folder_name
from dohle.storage.segment import LOG_SUFFIX, named_offsets

INTERNAL_PREFIX = "__"
"""Of the topics that Kafka keeps for itself: consumers' offsets, transactions, its metadata."""


@dataclass(slots=True)
class KafkaDirs:
    """What was found: logs in order, and folders that are none, or not for everybody."""

    logs: list[KafkaLog] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)


async def find_kafka_logs(disk: Disk, paths: list[str]) -> KafkaDirs:
    """Looks into log directories, or at single partitions' folders. Raises DataFolderError, OSError."""
    found = KafkaDirs()
    places: dict[LogKey, str] = {}
    for path in paths:
        names = disk.list(path)
        if named_offsets(names, LOG_SUFFIX):
            directory, _, name = path.rpartition("/")
            folders, directory = [name], directory or "."
        else:
            folders, directory = [name for name in names if _is_folder(disk, f"{path}/{name}")], path
        starts, watermarks = [await _offsets(disk, f"{directory}/{file}") for file in (LOG_STARTS, HIGH_WATERMARKS)]
        for name in folders:
            key = parse_folder_name(name)
            if key is None or key[0].startswith(INTERNAL_PREFIX):
                found.passed_over.append(f"{directory}/{name}")
                continue
            if key in places:
                raise DataFolderError(f"{name} lies in {places[key]} and in {directory}: say which of the two counts")
            places[key] = directory
            log = KafkaLog(disk, f"{directory}/{name}", key, starts.get(key), watermarks.get(key))
            found.logs.append(log)
    found.logs.sort(key=lambda log: log.key)
    return found


def _is_folder(disk: Disk, path: str) -> bool:
    try:
        disk.list(path)
    except NotADirectoryError:
        return False
    return True


async def _offsets(disk: Disk, path: str) -> dict[LogKey, int]:
    if not disk.exists(path):
        return {}
    return dict(decode_offsets(path, (await disk.read_all(path)).decode("utf-8", "replace")))
