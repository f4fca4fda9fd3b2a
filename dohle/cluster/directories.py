"""A node's directories at its start: locked, known to be its own, and told from one another by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dohle.cluster.config import NodeConfig
from dohle.model.errors import DataFolderError
from dohle.model.ids import id_text
from dohle.runtime.disk import Disk
from dohle.storage.data_folder import DataFolder


@dataclass(frozen=True, slots=True)
class Directories:
    """A node's folders, all of one cluster and one node."""

    metadata: DataFolder
    logs: tuple[DataFolder, ...]

    def close(self) -> None:
        """Gives them free."""
        for folder in dict.fromkeys((self.metadata, *self.logs)):
            folder.close()


async def open_directories(disk: Disk, config: NodeConfig) -> Directories:
    """Opens all directories of `config`. Raises DataFolderError, and then holds none."""
    opened: dict[str, DataFolder] = {}
    cluster_id = config.cluster_id or None
    try:
        for path in config.directories:
            opened[path] = await DataFolder.open(disk, path, cluster_id=cluster_id, node_id=config.node_id)
        _check_apart(list(opened.values()))
    except DataFolderError:
        for folder in opened.values():
            folder.close()
        raise
    return Directories(opened[config.metadata_directory], tuple([opened[path] for path in config.log_directories]))


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
