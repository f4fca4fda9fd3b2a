"""Segments: the files of one log in their order, without gaps between them.

Knows which have bytes that no sync has taken yet, and which are in a sync under way: those stay open. Of the sealed
ones that were read, the last two stay open too; all others hold no descriptor and no index in memory.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from dohle.storage.segment import Segment, segment_name

_SEALED_KEPT_OPEN = 2


class Segments:
    """At least one segment, ascending by base offset; the last is the active one."""

    __slots__ = ("_bases", "_list", "_recent", "in_flight", "unsynced")

    def __init__(self, segments: Sequence[Segment]) -> None:
        assert segments
        self._list = list(segments)
        self._bases = [segment.base_offset for segment in segments]
        self._recent: dict[Segment, None] = {}
        self.unsynced: dict[Segment, None] = {}
        self.in_flight: dict[Segment, None] = {}

    @property
    def active(self) -> Segment:
        return self._list[-1]

    @property
    def all(self) -> Sequence[Segment]:
        return self._list

    @property
    def bases(self) -> Sequence[int]:
        return self._bases

    @property
    def size_bytes(self) -> int:
        return sum(segment.size for segment in self._list)

    def size_below(self, offset: int, end: int) -> int:
        """Returns the bytes of the segments all of which lies below `offset`; the last one ends at `end`."""
        return sum(s.size for s, beyond in zip(self._list, [*self._bases[1:], end], strict=True) if beyond <= offset)

    def floor(self, offset: int) -> Segment:
        """Returns the segment that holds `offset`, the first if it lies before all."""
        return self._list[max(bisect_right(self._bases, offset) - 1, 0)]

    def after(self, segment: Segment) -> Segment | None:
        following = bisect_right(self._bases, segment.base_offset)
        return self._list[following] if following < len(self._list) else None

    def add(self, segment: Segment) -> None:
        """Makes `segment` the active one; the one before is sealed, its indexes written."""
        assert segment.base_offset > self._bases[-1]
        self.touch(self.active)
        self._list.append(segment)
        self._bases.append(segment.base_offset)

    def touch(self, segment: Segment) -> None:
        """Notes that `segment` is in use, and lets go of the sealed one that was not used for longest."""
        self._recent.pop(segment, None)
        self._recent[segment] = None
        for oldest in list(self._recent)[:-_SEALED_KEPT_OPEN]:
            if oldest is self.active or oldest in self.unsynced or oldest in self.in_flight:
                continue
            del self._recent[oldest]
            oldest.let_go()

    def drop_last(self) -> Segment:
        """Takes the active segment away and returns it; the one before is active again."""
        segment = self._list.pop()
        self._bases.pop()
        for group in (self._recent, self.unsynced, self.in_flight):
            group.pop(segment, None)
        return segment

    def take_below(self, offset: int) -> list[Segment]:
        """Takes the first segments away, as far as all that they hold lies below `offset` and no sync has to do with
        them, and returns them."""
        taken: list[Segment] = []
        while len(self._list) > 1 and self._bases[1] <= offset:
            first = self._list[0]
            if first in self.unsynced or first in self.in_flight:
                break
            del self._list[0], self._bases[0]
            self._recent.pop(first, None)
            taken.append(first)
        return taken

    def are_settled(self, group: Sequence[Segment]) -> bool:
        """Whether these are still here, and sealed, and no sync has to do with them."""
        return all(one in self._list[:-1] and one not in self.unsynced and one not in self.in_flight for one in group)

    def replace(self, group: Sequence[Segment], segment: Segment) -> None:
        """`segment` takes the place of those, which follow one another, are sealed, and are settled."""
        first = self._list.index(group[0])
        assert self._list[first : first + len(group)] == list(group)
        for one in group:
            self._recent.pop(one, None)
        self._list[first : first + len(group)] = [segment]
        self._bases[first : first + len(group)] = [segment.base_offset]

    def replace_all(self, segment: Segment) -> None:
        """Begins anew with `segment` alone; the others' files are gone."""
        self._list, self._bases = [segment], [segment.base_offset]
        for group in (self._recent, self.unsynced, self.in_flight):
            group.clear()

    def lie_in(self, folder: str) -> None:
        """The files lie elsewhere from now on; nothing of them is unsynced."""
        for segment in self._list:
            segment.close()
            segment.path = f"{folder}/{segment_name(segment.base_offset)}"

    def close(self) -> None:
        for segment in self._list:
            segment.close()
