"""Seals: what a segment was like up to borders between its batches, so that it can be told later whether it still is.

`<base offset>.seals` has 44 bytes for each, ascending: int64 the border's offset, int32 its position, uint32 the
CRC-32C of the first batch's head, uint32 that of all heads up to the border, int32 each how many entries `.index` and
`.timeindex` had, int64 and int32 the newest timestamp and its relative offset, and uint32 the CRC-32C of these 40
bytes. A head is the first 21 bytes of a batch, which hold what its own CRC does not cover, and that CRC. So nothing
else passes for the segment: not another partition's with the same offsets, nor one that lacks a write that the disk
has lost.

One is added when the segment is sealed, at a clean stop, and every few MiB before: from the last of them that was
durable a start after a kill goes on, with the indexes as they were there. It is durable once the log is up to its
border, for the same sync takes both; a start believes none above the recovery point, and removes those, durably.
Segments without the file (Kafka's, or an older version's) are taken as they are, and get none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from crc32c import crc32c

from dohle.model.batch import LENGTH_END, BatchHeader
from dohle.runtime.disk import Disk, File

SEALS_SUFFIX = ".seals"
SEAL_BYTES = 44

_SEAL = struct.Struct(">qiIIiiqi")
_CRC = struct.Struct(">I")
_HEAD = struct.Struct(">qiibI")
_pack_head = _HEAD.pack
HEAD_BYTES = _HEAD.size


class Seal(NamedTuple):
    """A border, and what lies before it."""

    end_offset: int
    size: int  # in bytes
    first: int  # checksum of the first batch's head
    heads: int  # of all of them
    indexed: int  # entries of the offset index
    timed: int  # of the time index
    newest: tuple[int, int]  # timestamp and relative offset, as the last entry of the time index


def head_of(header: BatchHeader) -> bytes:
    """Returns the head of the batch that has this header."""
    return _pack_head(*header[:5])


class Heads:
    """The checksum of the heads of a segment's batches, which come one after the other from the first on."""

    __slots__ = ("checksum", "first", "last", "size")

    def __init__(self) -> None:
        self.size = 0
        self.first = self.checksum = 0
        self.last: BatchHeader | None = None  # that was noted

    def note(self, header: BatchHeader) -> None:
        self.checksum = crc32c(_pack_head(*header[:5]), self.checksum)
        if not self.size:
            self.first = self.checksum
        self.size += header[1] + LENGTH_END
        self.last = header

    def go_on_from(self, seal: Seal) -> None:
        self.size, self.first, self.checksum = seal.size, seal.first, seal.heads


class SealCheck:
    """Holds a segment's batches, as they come by from the first on, against its seals, which lie in the file `name`."""

    __slots__ = ("_ahead", "_heads", "_name")

    def __init__(self, seals: Sequence[Seal], name: str) -> None:
        self._name = name
        self._ahead = list(seals)[::-1]
        self._heads = Heads()

    def fault(self, header: BatchHeader) -> str | None:
        """Takes the next batch; returns what is wrong with the segment up to there, None if nothing is."""
        self._heads.note(header)
        while self._ahead and self._ahead[-1].size <= self._heads.size:
            seal = self._ahead.pop()
            if seal.size != self._heads.size or seal.heads != self._heads.checksum:
                return f"its batches up to byte {self._heads.size} are not those that {self._name} tells of"
        return None

    def fault_at_end(self) -> str | None:
        """The same once all have come by."""
        if self._ahead:
            return f"it ends at byte {self._heads.size}, and had {self._ahead[0].size}, says {self._name}"
        return None


class Seals:
    """Those of one segment that grows, and of which every batch is known; `stored` of them are in the file."""

    ENTRY_BYTES = SEAL_BYTES
    __slots__ = ("_heads", "_taken", "stored")

    def __init__(self) -> None:
        self._heads: Heads | None = Heads()
        self._taken: list[Seal] = []
        self.stored = 0

    def __len__(self) -> int:
        return len(self._taken)

    @property
    def size(self) -> int:
        """Where the last one lies; 0 without any."""
        return self._taken[-1].size if self._taken else 0

    @property
    def all(self) -> Sequence[Seal]:
        return self._taken

    @property
    def is_known(self) -> bool:
        """Whether the batches are; else none is added."""
        return self._heads is not None

    def note(self, header: BatchHeader) -> None:
        if self._heads is not None:
            self._heads.note(header)

    def add(self, indexed: int, timed: int, newest: tuple[int, int]) -> None:
        """Adds one behind the last batch, unless there is one, or the batches are not known."""
        heads = self._heads
        if heads is not None and heads.last is not None and heads.size > self.size:
            self._taken.append(
                Seal(heads.last.next_offset, heads.size, heads.first, heads.checksum, indexed, timed, newest)
            )

    @classmethod
    def going_on(cls, kept: Sequence[Seal], stored: int, *, is_known: bool) -> Seals:
        """Returns those of a segment that had `kept`, of which the file has so many; what lies behind the last of them
        is to be noted. Unless it `is_known` what lies before, there will be none."""
        seals = cls()
        seals._taken, seals.stored = list(kept), stored
        if not is_known:
            seals._heads = None
        elif kept and seals._heads is not None:
            seals._heads.go_on_from(kept[-1])
        return seals

    def unwritten(self) -> bytes:
        """Returns what the file lacks after its `stored` ones."""
        return encode_seals(self._taken[self.stored :])


def encode_seals(seals: Iterable[Seal]) -> bytes:
    bodies = [_SEAL.pack(*seal[:6], *seal.newest) for seal in seals]
    return b"".join([body + _CRC.pack(crc32c(body)) for body in bodies])


def decode_seals(data: bytes) -> list[Seal]:
    """Returns those from the first on that are whole and ascend: what a crash or rot has left of others counts not."""
    found: list[Seal] = []
    for at in range(0, len(data) - SEAL_BYTES + 1, SEAL_BYTES):
        body = data[at : at + _SEAL.size]
        if crc32c(body) != _CRC.unpack_from(data, at + _SEAL.size)[0]:
            break
        end_offset, size, first, heads, indexed, timed, timestamp, relative = _SEAL.unpack(body)
        if found and (size <= found[-1].size or end_offset <= found[-1].end_offset):
            break
        found.append(Seal(end_offset, size, first, heads, indexed, timed, (timestamp, relative)))
    return found


async def read_seals(disk: Disk, path: str) -> list[Seal]:
    """Returns those of the file that can be believed; none where it is missing. Raises OSError."""
    try:
        return decode_seals(await disk.read_all(path))
    except FileNotFoundError:
        return []


def cut_seals(disk: Disk, path: str, kept: int) -> tuple[int, list[File]]:
    """Leaves so many in the file, or none where it is another log's as well. Returns how many are left.

    And the file, open, to be synced with its folder, if it is another now.
    """
    if not disk.exists(path) or disk.size(path) == kept * SEAL_BYTES:
        return kept, []
    if disk.is_shared(path):
        disk.delete(path)
        kept = 0
    file = disk.open(path, create=True)
    file.truncate(kept * SEAL_BYTES)
    return kept, [file]
