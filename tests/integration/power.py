"""Clusters whose nodes each have a disk of their own (`tests/machine/disks.py`), and what a power cut does to those."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.integration.clusters import Cluster, until
from tests.machine.commands import run
from tests.machine.disks import Disk


class PowerCuts:
    """A cluster whose nodes each have a disk of their own."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.disks = {node_id: Disk(cluster.data(node_id)) for node_id in cluster.node_ids}

    def place(self) -> None:
        """Puts the nodes' formatted directories onto their disks, durably."""
        for disk in self.disks.values():
            aside = disk.folder.with_name(f"{disk.folder.name}-formatted")
            disk.folder.rename(aside)
            disk.folder.mkdir()
            disk.make()
            disk.mount()
            shutil.copytree(aside, disk.folder, dirs_exist_ok=True)
            run("sync", "--file-system", str(disk.folder))

    def cut(self, *node_ids: int) -> int:
        """Cuts the power of these nodes at one moment, and mounts their disks again; returns how many bytes of segments
        had been written there and are gone."""
        for node_id in node_ids:
            self.disks[node_id].cut()
        written = {node_id: sizes_of(self.cluster.data(node_id)) for node_id in node_ids}
        for node_id in node_ids:
            process = self.cluster.local.state.node(node_id).process
            assert process is not None
            process.signal(signal.SIGKILL)  # unless its disk's failure was the end of it already
        until(lambda: not any(self.cluster.running(node_id) for node_id in node_ids), "the processes have ended")
        for node_id in node_ids:
            self.disks[node_id].unmount()
            self.disks[node_id].mount()
        return sum(_lost(written[node_id], sizes_of(self.cluster.data(node_id))) for node_id in node_ids)

    def end(self) -> None:
        self.cluster.end()
        for disk in self.disks.values():
            disk.end()


def sizes_of(folder: Path) -> dict[Path, int]:
    """Returns the sizes of all segments below `folder`."""
    return {path: path.stat().st_size for path in folder.rglob("*.log")}


def _lost(before: dict[Path, int], after: dict[Path, int]) -> int:
    return sum(max(0, size - after.get(path, 0)) for path, size in before.items())


@contextlib.contextmanager
def power_cuts(cluster: Cluster) -> Iterator[PowerCuts]:
    """The cluster's nodes have disks of their own meanwhile; they do not run yet."""
    cuts = PowerCuts(cluster)
    try:
        cuts.place()
        yield cuts
    finally:
        cuts.end()
