"""Data folder: whose it is, and that nobody else is using it.

`meta.properties` (Kafka's keys: version, cluster.id, node.id, directory.id) is written once, when the folder is
formatted, and checked at every start: a node never takes another's data for its own, and never formats by itself. A
lock on `.lock` is held while the process lives.
"""

from __future__ import annotations

from dataclasses import dataclass

from dohle.model.errors import DataFolderError
from dohle.model.ids import ClusterId, DirectoryId, NodeId, id_text, parse_id
from dohle.runtime.disk import Disk, FolderLock
from dohle.storage.checkpoints import write_files
from dohle.storage.headroom import LEAST_FREE_BYTES, Headroom

META_FILE = "meta.properties"
LOCK_FILE = ".lock"
FORMAT_VERSION = 1


class UnusableFolder(DataFolderError):
    """The folder's disk does not work: a node with other folders goes on without it."""


@dataclass(frozen=True, slots=True)
class FolderIdentity:
    """What `meta.properties` says."""

    cluster_id: ClusterId
    node_id: NodeId
    directory_id: DirectoryId

    def encode(self) -> str:
        return (
            f"version={FORMAT_VERSION}\ncluster.id={self.cluster_id}\nnode.id={self.node_id}\n"
            f"directory.id={id_text(self.directory_id)}\n"
        )

    @classmethod
    def decode(cls, path: str, text: str) -> FolderIdentity:
        """Raises DataFolderError, naming `path`."""
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        values = dict(line.split("=", 1) for line in lines if "=" in line)
        try:
            version = int(values["version"])
            if version > FORMAT_VERSION:
                raise DataFolderError(
                    f"{path} has format version {version}, and this Dohle knows {FORMAT_VERSION}: the folder was used "
                    "by a newer Dohle; start that one"
                )
            directory_id = DirectoryId(parse_id(values["directory.id"]))
            return cls(ClusterId(values["cluster.id"]), NodeId(int(values["node.id"])), directory_id)
        except (KeyError, ValueError) as error:
            raise DataFolderError(
                f"{path} is damaged ({error}): restore it from a backup; it holds version, cluster.id, node.id and "
                "directory.id, which other nodes and the cluster's metadata know as well"
            ) from error


async def format_folder(disk: Disk, path: str, *, cluster_id: str, node_id: int, directory_id: bytes) -> None:
    """Makes `path` the data folder of a node; durable on return. Raises DataFolderError if it is one already."""
    if disk.exists(f"{path}/{META_FILE}"):
        raise DataFolderError(f"{path} is formatted already: delete the folder first if its data may go")
    identity = FolderIdentity(ClusterId(cluster_id), NodeId(node_id), DirectoryId(directory_id))
    try:
        disk.make_folder(path)
        await write_files(disk, {f"{path}/{META_FILE}": identity.encode()}, [path, parent(path)])
    except OSError as error:
        raise DataFolderError(f"{path} cannot be formatted: {error}") from error


async def read_identity(disk: Disk, path: str) -> FolderIdentity | None:
    """Returns whose folder `path` is, None if it is not formatted.

    Raises DataFolderError, UnusableFolder if the disk does not work.
    """
    meta_path = f"{path}/{META_FILE}"
    if not disk.exists(meta_path):
        return None
    try:
        return FolderIdentity.decode(meta_path, (await disk.read_all(meta_path)).decode("utf-8", "replace"))
    except OSError as error:
        raise UnusableFolder(f"{path} cannot be used: {error}") from error


def unusable(disk: Disk, path: str) -> str | None:
    """Returns why the folder cannot be used now, None if it can: not there, not mounted, or its disk fails."""
    try:
        if not is_there(disk, path):
            return (
                f"{path} is not formatted: its disk may not be mounted; if it is new or was replaced, run `dohle format"
                " --ignore-formatted`"
            )
        disk.list(path)
    except OSError as error:
        return f"{path} cannot be used: {error}"
    return None


def is_there(disk: Disk, path: str) -> bool:
    """Whether the folder, which was formatted once, is where it was: its disk may not be mounted any more."""
    return disk.exists(f"{path}/{META_FILE}")


class DataFolder:
    """A node's data folder, locked and known to be its own."""

    def __init__(self, path: str, identity: FolderIdentity, lock: FolderLock, headroom: Headroom) -> None:
        self.path = path
        self.headroom = headroom
        self.cluster_id = identity.cluster_id
        self.node_id = identity.node_id
        self.directory_id = identity.directory_id
        self._lock = lock

    @classmethod
    async def open(
        cls,
        disk: Disk,
        path: str,
        *,
        cluster_id: str | None,
        node_id: int,
        min_free_bytes: int = LEAST_FREE_BYTES,
    ) -> DataFolder:
        """Raises DataFolderError, saying what to do, unless the folder is free and this node's.

        It is an UnusableFolder where the disk is at fault.
        A node whose configuration names no cluster passes None and learns it from the folder.
        """
        meta_path = f"{path}/{META_FILE}"
        if not disk.exists(meta_path):
            raise DataFolderError(
                f"{path} is not formatted: correct the path, or run `dohle format` if this node is new, with --join if"
                " it lost its data; a controller gets a new vote then (`dohle cluster voters remove`, then `add`)"
            )
        try:
            lock = disk.lock(f"{path}/{LOCK_FILE}")
        except BlockingIOError as error:
            raise DataFolderError(f"{path} is in use by another process: stop that node first") from error
        except OSError as error:
            raise UnusableFolder(f"{path} cannot be used: {error}") from error
        try:
            identity = await read_identity(disk, path)
            assert identity is not None, f"{meta_path} was there"
            check_identity(path, identity, cluster_id, node_id)
            headroom = Headroom(disk, path, min_free_bytes)
            await headroom.look()
        except (DataFolderError, OSError) as error:
            lock.release()
            if isinstance(error, OSError):
                raise UnusableFolder(f"{path} cannot be used: {error}") from error
            raise
        return cls(path, identity, lock, headroom)

    def close(self) -> None:
        """Gives the folder free."""
        self._lock.release()


def check_identity(path: str, identity: FolderIdentity, cluster_id: str | None, node_id: int) -> None:
    """Raises DataFolderError if the folder is another cluster's or another node's."""
    if cluster_id is not None and identity.cluster_id != cluster_id:
        raise DataFolderError(
            f"{path} belongs to cluster {identity.cluster_id}, and this node is configured for {cluster_id}: correct "
            "the path or the cluster id"
        )
    if identity.node_id != node_id:
        raise DataFolderError(
            f"{path} belongs to node {identity.node_id}, and this is node {node_id}: correct the path or the node id"
        )


def parent(path: str) -> str:
    """Returns the folder that `path` lies in."""
    return path.rstrip("/").rpartition("/")[0] or ("/" if path.startswith("/") else ".")
