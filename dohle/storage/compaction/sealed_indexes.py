"""Sealed indexes: both indexes and the seal of a segment that is written batch by batch, away from its files."""

from __future__ import annotations

from dataclasses import dataclass

from crc32c import crc32c

from dohle.model.batch import NO_TIMESTAMP
from dohle.storage.seals import Seal, encode_seals
from dohle.storage.segment_index import OffsetIndex, TimeIndex


@dataclass(frozen=True, slots=True)
class SealedIndexes:
    """The content of `.index`, `.timeindex` and `.seals`."""

    offsets: bytes
    times: bytes
    seals: bytes


class IndexBuilder:
    """Takes the batches of a segment in their order, by the same rules as a segment that grows."""

    def __init__(self, base_offset: int, interval_bytes: int) -> None:
        self._base_offset = base_offset
        self._interval_bytes = interval_bytes
        self._index, self._times = OffsetIndex(), TimeIndex()
        self._newest = (NO_TIMESTAMP, 0)
        self._indexed = NO_TIMESTAMP
        self._since_entry = 0
        self._size = self._first = self._heads = 0
        self._last = 0

    def note(self, head: bytes, last_offset: int, max_timestamp: int, position: int, size_bytes: int) -> None:
        """Takes a batch, by its head, what its header says, where it begins and how large it is."""
        last = self._last = last_offset - self._base_offset
        self._heads = crc32c(head, self._heads)
        if not position:
            self._first = self._heads
        self._size = position + size_bytes
        if max_timestamp > self._newest[0]:
            self._newest = (max_timestamp, last)
        if self._since_entry > self._interval_bytes:
            self._index.add(last, position)
            self._index_time()
            self._since_entry = 0
        self._since_entry += size_bytes

    def _index_time(self) -> None:
        if self._newest[0] > self._indexed:
            self._times.add(*self._newest)
            self._indexed = self._newest[0]

    def seal(self) -> SealedIndexes:
        self._index_time()
        entries = len(self._index), len(self._times)
        end_offset = self._base_offset + self._last + 1
        seal = Seal(end_offset, self._size, self._first, self._heads, *entries, self._newest)
        return SealedIndexes(
            self._index.unwritten(), self._times.unwritten(), encode_seals([seal] if self._size else [])
        )
