"""Transactions in a log that is compacted: what was aborted goes, what is open stays, and markers go last (KIP-534).

What a transaction wrote counts once its marker says so. A marker of which no batch is left any more may go, as a
tombstone does, once its delete horizon has passed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dohle.model.batch import BatchHeader
from dohle.model.record_keys import KeyedRecord

_ABORT = 0


@dataclass(slots=True)
class OpenTransaction:
    """Of one producer: where it began, and the last offset of each key that it wrote, by digest."""

    first_offset: int
    offsets: dict[bytes, int] = field(default_factory=dict)


class Transactions:
    """Those of the part of a log that is read for its keys, and then of all that is read to be rewritten."""

    __slots__ = ("_aborted", "_open", "_with_data")

    def __init__(self) -> None:
        self._open: dict[int, OpenTransaction] = {}  # by producer, as all here
        self._aborted: dict[int, list[tuple[int, int]]] = {}  # first offset, the marker's
        self._with_data: dict[int, None] = {}

    # reading keys

    def write(self, header: BatchHeader, offsets: dict[bytes, int]) -> None:
        transaction = self._open.setdefault(header.producer_id, OpenTransaction(header.base_offset))
        transaction.offsets.update(offsets)

    def end(self, header: BatchHeader, marker: KeyedRecord) -> dict[bytes, int]:
        """Returns what the transaction has written that a marker ends; nothing where it aborts it."""
        ended = self._open.pop(header.producer_id, None)
        if ended is None:
            return {}
        if marker.key is not None and int.from_bytes(marker.key[2:4], "big") == _ABORT:
            ranges = self._aborted.setdefault(header.producer_id, [])
            ranges.append((ended.first_offset, header.base_offset))
            return {}
        return ended.offsets

    def first_open(self, end: int) -> int:
        """Returns where the first transaction began that is open below `end`, or that."""
        return min([end, *(one.first_offset for one in self._open.values())])

    # rewriting

    def is_aborted(self, header: BatchHeader) -> bool:
        ranges = self._aborted.get(header.producer_id, ())
        return any(first <= header.base_offset < marker for first, marker in ranges)

    def pass_data(self, header: BatchHeader) -> None:
        self._with_data[header.producer_id] = None

    def is_empty_at(self, marker: BatchHeader) -> bool:
        """Whether nothing of the transaction that this one ends is left; called once for each marker, in order."""
        return self._with_data.pop(marker.producer_id, _ABSENT) is _ABSENT


_ABSENT: object = object()
