"""A node's directories at its start: what it goes on without, and what ends it."""

from __future__ import annotations

import errno

import pytest

from dohle.cluster.config import NodeConfig
from dohle.cluster.directories import open_directories
from dohle.model.errors import DataFolderError
from dohle.storage.data_folder import format_folder
from tests.storage.fault_disk import FaultDisk

PATHS = ("one", "two", "three")


async def formatted(*paths: str) -> FaultDisk:
    disk = FaultDisk()
    for number, path in enumerate(paths):
        await format_folder(disk, path, cluster_id="c", node_id=1, directory_id=bytes([number]) * 16)
    return disk


def config() -> NodeConfig:
    return NodeConfig(node_id=1, data_dir="one", log_dirs=PATHS)


@pytest.mark.parametrize("operation", ["list", "read", "free_bytes"])
async def test_a_directory_whose_disk_fails_is_done_without(operation: str) -> None:
    disk = await formatted(*PATHS)
    disk.fault = lambda what, path: (
        OSError(errno.EIO, "broken") if what == operation and path.startswith("two") else None
    )
    found = await open_directories(disk, config())
    assert [folder.path for folder in found.logs] == ["one", "three"]
    assert "two cannot be used" in found.offline["two"]
    assert sorted(disk.locked) == ["one/.lock", "three/.lock"]
    found.close()
    assert not disk.locked


async def test_the_directory_of_the_metadata_is_not_done_without() -> None:
    disk = await formatted(*PATHS)
    disk.fault = lambda what, path: OSError(errno.EIO, "broken") if what == "read" and path.startswith("one") else None
    with pytest.raises(DataFolderError, match="one cannot be used"):
        await open_directories(disk, config())
    assert not disk.locked


async def test_another_nodes_directory_among_them_is_a_mistake_and_no_broken_disk() -> None:
    disk = await formatted("one", "two")
    await format_folder(disk, "three", cluster_id="c", node_id=2, directory_id=bytes([7]) * 16)
    with pytest.raises(DataFolderError, match="three belongs to node 2"):
        await open_directories(disk, config())
    assert not disk.locked
