"""Sealed segments: the ones of a log that do not grow any more: compactions write some anew, forks share them."""

from __future__ import annotations

from collections.abc import Sequence

from dohle.storage.log_reader import LogReader
from dohle.storage.producer_snapshots import ProducerSnapshots
from dohle.storage.retention import RetiredSegments
from dohle.storage.segment import Segment
from dohle.storage.segments import Segments


class SealedSegments:
    """Of one log. `replaced_below`: a compaction took, or takes, what records below that offset have replaced."""

    __slots__ = ("_retired", "_segments", "_snapshots", "replaced_below")

    def __init__(self, segments: Segments, snapshots: ProducerSnapshots, retired: RetiredSegments) -> None:
        self._segments = segments
        self._snapshots = snapshots
        self._retired = retired
        self.replaced_below = 0

    @property
    def all(self) -> Sequence[Segment]:
        return self._segments.all[:-1]

    @property
    def end(self) -> int:
        """The offset behind all of them."""
        return self._segments.active.base_offset

    def holder(self, offset: int) -> Segment | None:
        """Returns the one that holds `offset`; None where that is the one that grows."""
        segment = self._segments.floor(offset)
        return None if segment is self._segments.active else segment

    async def border(self, offset: int) -> tuple[Segment, int, int]:
        """Returns segment, position and base offset of the batch that holds `offset`, or of the next one.

        Where there is none: the last segment's end, with `offset` itself. Raises DamagedFile.
        """
        return await LogReader(self._segments).border(offset)

    def between(self, offset: int, segment: Segment) -> list[Segment]:
        """Returns those before `segment`, from the one on that holds `offset`."""
        first = self._segments.floor(offset).base_offset
        return [one for one in self._segments.all if first <= one.base_offset < segment.base_offset]

    def snapshots_up_to(self, offset: int) -> list[str]:
        """Returns the paths of the producer snapshots at or below `offset`."""
        return self._snapshots.up_to(offset)

    def end_of(self, segment: Segment) -> int:
        """Returns the offset behind it."""
        following = self._segments.after(segment)
        assert following is not None, "the active segment is not sealed"
        return following.base_offset

    def are_settled(self, group: Sequence[Segment]) -> bool:
        """Whether these are still here, and no sync has to do with them."""
        return self._segments.are_settled(group)

    def rename(self, group: Sequence[Segment]) -> None:
        """Gives their files the names of retired ones, by which they are read until they are replaced."""
        assert self._segments.are_settled(group)
        self._snapshots.delete_within(group[0].base_offset, self.end_of(group[-1]))
        for segment in group:
            segment.retire()

    def replace(self, group: Sequence[Segment], compacted: Segment, until: float) -> None:
        """`compacted` takes the place of those, which follow one another, and whose files stay up to that time."""
        self._segments.replace(group, compacted)
        self._retired.add(group, until)
