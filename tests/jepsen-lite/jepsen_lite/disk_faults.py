"""Faults of disks: power that is cut, of one node or of all at one moment, and no room.

Each node has a file system of its own, in an image.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol, cast

from dohle.testing.chaos.fault import Arguments, Effect
from dohle.testing.chaos.faults.nodes import NodeFault, complaints, ended, log_end, running, up_again
from dohle.testing.chaos.world import World
from tests.machine.disks import Disk

_FILLER = "filler"
_CANARY = "never-synced"
_CANARY_BYTES = 1 << 20
_LARGE_BYTES = 1 << 26


class HasDisks(Protocol):
    """What a world with the means "disks" has besides."""

    @property
    def disks(self) -> Mapping[int, Disk]: ...


def disk_of(world: World, node: int) -> Disk:
    assert "disks" in world.means
    return cast("HasDisks", world).disks[node]


class PowerCut(NodeFault):
    """A node's machine loses its power: its process, its page cache, what its disk had not been told to keep."""

    name = "power-cut"
    needs = frozenset({"processes", "disks"})
    takes_nodes = True

    def __init__(self, world: World, arguments: Arguments) -> None:
        super().__init__(world, arguments)
        self._lost: list[Lost] = []

    async def begin(self) -> None:
        """All at one moment, and in one go: nobody starts a node again while its disk is away."""
        disks = {node: disk_of(self.world, node) for node in self.nodes}
        written = {node: cut(disk) for node, disk in disks.items()}
        self.world.kill(*running(self.world, *self.nodes))
        self._lost = [comes_back(disks[node], written[node]) for node in self.nodes]
        await ended(self.world, *self.nodes)

    async def heal(self) -> None:
        for node in self.nodes:  # where it was interrupted
            if not disk_of(self.world, node).folder.is_mount():
                disk_of(self.world, node).mount()
        await up_again(self.world, *self.nodes)

    async def effect(self) -> Effect:
        of_files = sum(lost.of_files for lost in self._lost)
        of_canaries = sum(lost.of_canary for lost in self._lost)
        return Effect(of_files + of_canaries, f"unsynced bytes lost, {of_files} of them of the nodes' own files")


class PowerCutAll(PowerCut):
    """All machines lose their power at one moment."""

    name = "power-cut-all"

    @classmethod
    def draw(cls, chance: Random, nodes: tuple[int, ...]) -> Arguments:
        return {"nodes": list(nodes)}


class DiskFull(NodeFault):
    """Somebody else fills a node's disk to the last byte."""

    name = "disk-full"
    needs = frozenset({"disks"})

    def __init__(self, world: World, arguments: Arguments) -> None:
        super().__init__(world, arguments)
        self._filled = 0
        self._log_end = log_end(world, self.node)

    async def begin(self) -> None:
        self._filled = fill(disk_of(self.world, self.node))

    async def heal(self) -> None:
        (disk_of(self.world, self.node).folder / _FILLER).unlink(missing_ok=True)
        await up_again(self.world, self.node)

    async def effect(self) -> Effect:
        said = complaints(self.world, self.node, self._log_end, "producers are refused", "is full")
        return Effect(self._filled, f"bytes of a disk taken, all that were left; the node complained {said} times")


@dataclass(frozen=True, slots=True)
class Lost:
    """Bytes that had been written and never reached a disk: of files there, and of one that was never to be synced."""

    of_files: int
    of_canary: int


def cut(disk: Disk) -> dict[Path, int]:
    """Cuts its power, just after something was written there; returns the sizes of files as their users knew them."""
    (disk.folder / _CANARY).write_bytes(bytes(_CANARY_BYTES))
    disk.cut()
    return _sizes(disk)


def comes_back(disk: Disk, written: Mapping[Path, int]) -> Lost:
    """Has it mounted anew, without what was in the page cache, once nobody uses it; `written` is from `cut`."""
    disk.unmount()
    disk.mount()
    left = _sizes(disk)
    lost = {path: max(0, size - left.get(path, 0)) for path, size in written.items()}
    canary = disk.folder / _CANARY
    canary.unlink(missing_ok=True)
    return Lost(sum(bytes_ for path, bytes_ in lost.items() if path != canary), lost.get(canary, 0))


def fill(disk: Disk) -> int:
    """Takes all room that is left; returns how many bytes that was."""
    with (disk.folder / _FILLER).open("ab") as filler:
        before = end = os.fstat(filler.fileno()).st_size
        size = _LARGE_BYTES
        while size:
            try:
                os.posix_fallocate(filler.fileno(), end, size)
                end += size
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size //= 4
    return end - before


def _sizes(disk: Disk) -> dict[Path, int]:
    return {path: path.stat().st_size for path in disk.folder.rglob("*") if path.is_file()}
