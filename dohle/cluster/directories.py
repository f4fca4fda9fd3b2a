"""A node's directories at its start: locked, known to be its own, and told from one another by their ids."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dohle.cluster.config import NodeConfig
from dohle.model.errors import DataFolderError
from dohle.model.ids import id_text
from dohle.runtime.disk import Disk
from dohle.storage.data_folder import DataFolder, UnusableFolder, unusable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Directories:
    """A node's folders, all of one cluster and one node."""

    metadata: DataFolder
    logs: tuple[DataFolder, ...]
    offline: Mapping[str, str]  # those of logs that cannot be used, and why

    def close(self) -> None:
        """Gives them free."""
        for folder in dict.fromkeys((self.metadata, *self.logs)):
            folder.close()


async def open_directories(disk: Disk, config: NodeConfig) -> Directories:
    """Opens the directories of `config`, as far as they can be used. Raises DataFolderError, and then holds none.

    A node goes on without some of its logs, but not without all, and a controller not without its metadata.
    """
    opened: dict[str, DataFolder] = {}
    offline: dict[str, str] = {}
    cluster_id = config.cluster_id or None
    try:
        for path in config.directories:
            is_needed = config.is_controller and path == config.metadata_directory
            last = path == config.directories[-1] and not opened
            if not (is_needed or last) and (reason := unusable(disk, path)) is not None:
                offline[path] = reason
                continue
            try:
                opened[path] = await DataFolder.open(
                    disk,
                    path,
                    cluster_id=cluster_id,
                    node_id=config.node_id,
                    min_free_bytes=config.storage_min_free_bytes if path in config.log_directories else 0,
                )
            except UnusableFolder as error:
                if is_needed or last:
                    raise
                offline[path] = error.message
        _check_apart(list(opened.values()))
    except DataFolderError:
        _close(opened)
        raise
    logs = tuple([opened[path] for path in config.log_directories if path in opened])
    if config.is_broker and not logs:
        _close(opened)
        raise DataFolderError(next(iter(offline.values())))
    for reason in offline.values():
        log.error("a log directory is offline, and with it all replicas that lie there: %s", reason)
    return Directories(opened.get(config.metadata_directory) or next(iter(opened.values())), logs, offline)


def _close(opened: Mapping[str, DataFolder]) -> None:
    for folder in opened.values():
        folder.close()


def _check_apart(folders: Sequence[DataFolder]) -> None:
    for number, folder in enumerate(folders):
        for other in folders[:number]:
            if folder.cluster_id != other.cluster_id:
                raise DataFolderError(
                    f"{other.path} belongs to cluster {other.cluster_id}, and {folder.path} to {folder.cluster_id}:"
                    " a node's directories are of one cluster; correct log_dirs"
                )
            if folder.directory_id == other.directory_id:
                raise DataFolderError(
                    f"{folder.path} and {other.path} have the same directory id, {id_text(folder.directory_id)}: one is"
                    " a copy of the other, or both are one disk; take one out of log_dirs"
                )
