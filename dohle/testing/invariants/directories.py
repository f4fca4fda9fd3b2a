"""What must hold of brokers with several disks: a replica whose directory is gone is out of play, and not made anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dohle.cluster.node import Node
from dohle.model.ids import NodeId, PartitionKey, id_text
from dohle.model.image import ClusterImage, PartitionImage
from dohle.storage.checkpoints import LogKey
from dohle.storage.log_folder import LogFolder
from dohle.storage.partition_metadata import PARTITION_FILE
from dohle.testing.world.entries import Content, Folder
from dohle.testing.world.world import Machine


def offline_in_play(image: ClusterImage, key: PartitionKey, partition: PartitionImage) -> Iterator[str]:
    """Says whose replica leads or counts as in sync though its directory has failed; the last member stays, doubted."""
    for node_id in partition.in_sync_replicas:
        doubt = partition.doubt_about(node_id)
        if image.is_offline(node_id, key) and (doubt is None or not doubt.lost):
            yield f"node {node_id} is in the in-sync set, and its replica in a directory that has failed"


def live_twice(folders: Sequence[LogFolder]) -> Iterator[str]:
    """Says which partition has two live logs in one process.

    One of a former topic of that name may stay where it cannot be set aside, since its directory has failed.
    """
    seen: dict[tuple[LogKey, bytes | None], str] = {}
    for folder in folders:
        for key, log in folder.logs.items():
            former = seen.setdefault((key, log.topic_id), folder.path)
            if former != folder.path:
                yield f"{log.name} has two live logs, in {former} and {folder.path}"


class Twins:
    """Looks for replicas that a machine has twice: in a directory that was away, and made anew in another.

    One that was taken from the broker meanwhile and assigned to it anew is another replica.
    """

    def __init__(self) -> None:
        self._since: dict[tuple[NodeId, str, PartitionKey], int] = {}  # when what lies there was assigned

    def found(self, node: Node, machine: Machine, image: ClusterImage) -> Iterator[str]:
        """Says what the machine of `node`, whose replicas have changed, has twice."""
        paths = machine.config.log_directories
        if len(paths) == 1:
            return
        node_id = NodeId(node.config.node_id)
        for key, partition in image.replicas_of(node_id):
            name = f"{image.topics[key.topic_id].name}-{key.partition}"
            assigned_at = partition.assigned_at[partition.assigned_replicas.index(node_id)]
            there: list[str] = []
            for path in paths:
                folder = _folder_of(machine, path, name, key)
                if folder is None:
                    self._since.pop((node_id, path, key), None)
                elif self._since.setdefault((node_id, path, key), assigned_at) == assigned_at and _has_batches(folder):
                    there.append(path)
            if len(there) > 1:
                yield f"{machine.name} has {name} in {' and '.join(there)}"


def _folder_of(machine: Machine, path: str, name: str, key: PartitionKey) -> Folder | None:
    """Returns where this replica lies in the directory, mounted or not; an empty one as well."""
    directory = machine.disk._root.entries.get(path) or machine.disk._unmounted.get(path)
    folder = directory.entries.get(name) if isinstance(directory, Folder) else None
    if not isinstance(folder, Folder):
        return None
    about = folder.entries.get(PARTITION_FILE)
    is_it = isinstance(about, Content) and id_text(key.topic_id).encode() in about.cached
    return folder if is_it else None


def _has_batches(folder: Folder) -> bool:
    return any(
        isinstance(content, Content) and bool(content.cached)
        for file, content in sorted(folder.entries.items())
        if file.endswith(".log")
    )
