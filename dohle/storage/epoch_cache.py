"""Epoch cache: where each leader epoch begins in a log, with or without data.

Entries are strictly monotone in epoch and in start offset. Rules 1 and 2 of replication (Kafka's KIP-101, KIP-279) rest
on it: it answers where an epoch ends, and so where two logs part. It holds values only; the log's folder keeps its
file, `leader-epoch-checkpoint`, in Kafka's layout: a version, a count, and a line `epoch start_offset` an entry.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from dohle.model.errors import CorruptLog

FILE_NAME = "leader-epoch-checkpoint"
UNDEFINED = (-1, -1)


class EpochStart(NamedTuple):
    """An epoch and the offset of its first record."""

    epoch: int
    start_offset: int


class EpochCache:
    """The epochs of one log, ascending. `version` counts the changes since it was read."""

    __slots__ = ("_entries", "version")

    def __init__(self, entries: Iterable[EpochStart] = ()) -> None:
        self._entries: list[EpochStart] = list(entries)
        self.version = 0
        assert all(a.epoch < b.epoch and a.start_offset < b.start_offset for a, b in _pairs(self._entries))

    @property
    def entries(self) -> tuple[EpochStart, ...]:
        return tuple(self._entries)

    @property
    def latest(self) -> int:
        """The newest epoch, or -1."""
        return self._entries[-1].epoch if self._entries else -1

    def note(self, epoch: int, start_offset: int) -> None:
        """Notes that `epoch` begins at `start_offset`. Entries that this contradicts go: the newcomer is the truth."""
        entries = self._entries
        if entries and entries[-1].epoch == epoch:
            return
        while entries and (entries[-1].epoch >= epoch or entries[-1].start_offset >= start_offset):
            entries.pop()
        entries.append(EpochStart(epoch, start_offset))
        self.version += 1

    def truncate_to(self, end_offset: int) -> None:
        """Forgets the epochs that begin at `end_offset` or above."""
        while self._entries and self._entries[-1].start_offset >= end_offset:
            self._entries.pop()
            self.version += 1

    def begin_at(self, log_start_offset: int) -> None:
        """Forgets what lies before `log_start_offset`; the epoch that holds it then begins there."""
        first = bisect_right(self._entries, log_start_offset, key=_start) - 1
        if first >= 0 and (first > 0 or self._entries[0].start_offset < log_start_offset):
            self._entries[: first + 1] = [EpochStart(self._entries[first].epoch, log_start_offset)]
            self.version += 1

    def clear(self) -> None:
        self._entries.clear()
        self.version += 1

    def epoch_at(self, offset: int) -> int:
        """Returns the epoch that the record at `offset` was written in, or -1 if it lies before all entries."""
        found = bisect_right(self._entries, offset, key=_start) - 1
        return self._entries[found].epoch if found >= 0 else -1

    def end_offset(self, epoch: int, log_end_offset: int) -> tuple[int, int]:
        """Returns (the largest epoch known that is <= `epoch`, the offset where it ends); UNDEFINED by rule 2.

        A caller that asks for an epoch below all that is known gets its own epoch with the first one's start.
        """
        if not self._entries or epoch < 0 or epoch > self._entries[-1].epoch:
            return UNDEFINED
        if epoch == self._entries[-1].epoch:
            return epoch, log_end_offset
        above = bisect_right(self._entries, epoch, key=_epoch)
        floor = self._entries[above - 1].epoch if above else epoch
        return floor, self._entries[above].start_offset

    def encode(self) -> str:
        lines = "".join(f"{entry.epoch} {entry.start_offset}\n" for entry in self._entries)
        return f"0\n{len(self._entries)}\n{lines}"

    @classmethod
    def decode(cls, text: str) -> EpochCache:
        """Raises CorruptLog where `text` is no such checkpoint."""
        lines = text.splitlines()
        try:
            version, count = int(lines[0]), int(lines[1])
            entries = [EpochStart(*map(int, line.split(" "))) for line in lines[2:]]
        except (ValueError, IndexError, TypeError) as error:
            raise CorruptLog(f"{FILE_NAME} is unreadable: {error}") from error
        monotone = all(a.epoch < b.epoch and a.start_offset < b.start_offset for a, b in _pairs(entries))
        if version != 0 or count != len(entries) or not monotone:
            raise CorruptLog(f"{FILE_NAME} contradicts itself: version {version}, {count} entries announced")
        return cls(entries)


def _pairs(entries: list[EpochStart]) -> Iterable[tuple[EpochStart, EpochStart]]:
    return pairwise(entries)


def _epoch(entry: EpochStart) -> int:
    return entry.epoch


def _start(entry: EpochStart) -> int:
    return entry.start_offset
