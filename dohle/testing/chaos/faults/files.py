"""Faults of files: what a crash, a bad disk or a mistaken operator leaves behind, made while the node is down.

The node is killed first, and started again when the fault is healed. What is taken away is only ever a copy: a
partition whose folder is on no other node is left alone.
"""

from __future__ import annotations

import mmap
import shutil
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from dohle.model.batch import HEADER, HEADER_BYTES, LENGTH_END, SECTOR_BYTES, BatchHeader, read_header
from dohle.model.errors import CorruptMessage
from dohle.storage.partition_metadata import PARTITION_FILE
from dohle.testing.chaos.fault import Arguments, Effect
from dohle.testing.chaos.faults.nodes import NodeFault, killed, up_again
from dohle.testing.chaos.world import World, others

REBUILT = (".index", ".timeindex", ".seals", ".snapshot", "leader-epoch-checkpoint")
"""What a node builds again from the segments."""
_NOT_SERVED = ("-new", "-delete", "-stray")
_TORN_BYTES = 8192
_MOST_FOLDERS = 3


class FileFault(NodeFault):
    """Edits the data folder of one node, which was killed and is down until it is healed."""

    needs = frozenset({"processes", "files"})
    takes_nodes = True

    def __init__(self, world: World, arguments: Arguments) -> None:
        super().__init__(world, arguments)
        self.count = 0

    @classmethod
    def draw(cls, chance: Random, nodes: tuple[int, ...]) -> Arguments:
        return {**super().draw(chance, nodes), "seed": chance.randrange(1 << 32)}

    async def begin(self) -> None:
        await up_again(self.world, self.node)  # stopped by somebody else it may have ended in order
        await killed(self.world, self.node)
        self.count = self.edit(self.chance)  # without an await: nobody starts the node meanwhile

    @abstractmethod
    def edit(self, chance: Random) -> int:
        """Does it; returns how often."""

    async def heal(self) -> None:
        await up_again(self.world, self.node)

    def folders(self) -> list[Path]:
        """Returns the node's folders of partitions that others have too."""
        elsewhere = [self.world.data_folder(node) for node in others(self.world.nodes, self.node)]
        return [
            path
            for path in partition_folders(self.world.data_folder(self.node))
            if any((folder / path.name / PARTITION_FILE).exists() for folder in elsewhere)
        ]

    def some_folders(self, chance: Random, strike: Callable[[Path], int]) -> int:
        """Strikes a few of them; returns how many. Where `strike` returns 0, there were no records."""
        found, wanted = self.folders(), chance.randint(1, _MOST_FOLDERS)
        chance.shuffle(found)
        struck = 0
        for folder in found:
            struck += strike(folder)
            if struck == wanted:
                break
        return struck


class TornTail(FileFault):
    """Behind the last whole batch of some logs there is one that was being written as the machine went down: its end,
    or a sector of it, never reached the disk."""

    name = "torn-tail"

    def edit(self, chance: Random) -> int:
        return self.some_folders(chance, lambda folder: tear(segments(folder)[-1], chance))

    async def effect(self) -> Effect:
        return Effect(self.count, "logs with a torn tail")


class BitRot(FileFault):
    """A byte of a record that the node had synced is another one now."""

    name = "bit-rot"
    destroys = True

    def edit(self, chance: Random) -> int:
        return self.some_folders(chance, lambda folder: rot(chance.choice(segments(folder)), chance))

    async def effect(self) -> Effect:
        return Effect(self.count, "bytes of records changed on disk")


class LostIndex(FileFault):
    """Files are gone that hold nothing which could not be built again."""

    name = "lost-index"

    def edit(self, chance: Random) -> int:
        suffixes = tuple(chance.sample(REBUILT, chance.randint(1, len(REBUILT))))
        found = [path for folder in self.folders() for path in folder.iterdir() if path.name.endswith(suffixes)]
        for path in found:
            path.unlink()
        return len(found)

    async def effect(self) -> Effect:
        return Effect(self.count, "files of indexes lost")


class LostFolder(FileFault):
    """Partitions' folders are gone, with all that the node had of them."""

    name = "lost-folder"
    destroys = True

    def edit(self, chance: Random) -> int:
        def lose(folder: Path) -> int:
            shutil.rmtree(folder)
            return 1

        return self.some_folders(chance, lose)

    async def effect(self) -> Effect:
        return Effect(self.count, "partitions' folders lost")


def partition_folders(data_folder: Path) -> list[Path]:
    """Returns the folders of partitions below a node's that are in service, by name."""
    found = sorted(path.parent for path in data_folder.glob(f"*/{PARTITION_FILE}"))
    return [folder for folder in found if not folder.name.endswith(_NOT_SERVED)]


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.log"))


def tear(segment: Path, chance: Random) -> int:
    """Appends what a crash leaves of a batch; returns 0 where there is none behind which it could be, else 1."""
    batches = whole_batches(segment)
    if not batches or batches[-1].end != segment.stat().st_size:  # the kill has torn it already
        return 0
    last = batches[-1].header
    header = last._replace(base_offset=last.next_offset, batch_length=_TORN_BYTES - LENGTH_END)
    batch = HEADER.pack(*header) + chance.randbytes(_TORN_BYTES - HEADER_BYTES)
    written = chance.randrange(1, _TORN_BYTES)
    if chance.random() < 0.5:
        batch = batch[:written]
    else:  # the file had got its new size already, and not all of its sectors
        sector_at = batches[-1].end % SECTOR_BYTES
        written = min(written, _TORN_BYTES - 2 * SECTOR_BYTES)
        written += -(sector_at + written) % SECTOR_BYTES
        batch = batch[:written] + bytes(_TORN_BYTES - written)
    with segment.open("ab") as file:
        file.write(batch)
    return 1


def rot(segment: Path, chance: Random) -> int:
    """Changes a byte of a record; returns 0 where there is none, else 1."""
    batches = [batch for batch in whole_batches(segment) if batch.begin + HEADER_BYTES < batch.end]
    if not batches:
        return 0
    batch = chance.choice(batches)
    with segment.open("r+b") as file:
        position = chance.randrange(batch.begin + HEADER_BYTES, batch.end)
        file.seek(position)
        [was] = file.read(1)
        file.seek(position)
        file.write(bytes([chance.choice([byte for byte in range(1, 256) if byte != was])]))  # no zero: that looks torn
    return 1


@dataclass(frozen=True, slots=True)
class PlacedBatch:
    """A batch's header, and where its bytes begin and end in their file."""

    header: BatchHeader
    begin: int
    end: int


def whole_batches(segment: Path) -> list[PlacedBatch]:
    """Returns the batches of a segment in their order, up to one that is cut or none. CRCs are not checked."""
    found: list[PlacedBatch] = []
    size = segment.stat().st_size
    if not size:  # nothing can be mapped
        return found
    with (
        segment.open("rb") as file,
        mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as content,
    ):
        position = 0
        while position < size:
            try:
                header = read_header(content, position)
            except CorruptMessage:
                break
            end = position + header.size_bytes
            if end > size:
                break
            found.append(PlacedBatch(header, position, end))
            position = end
    return found
