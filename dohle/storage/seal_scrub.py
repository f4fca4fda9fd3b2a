"""Seal scrub: holds what is read of a log from its beginning on against the seals of its segments.

A read looks at a segment's first batch and its size alone. That all of its batches are those that were written is only
known once all have been read: which is what a scrub does.
"""

from __future__ import annotations

from dohle.model.batch import split_batches
from dohle.storage.log import Log
from dohle.storage.seals import SealCheck
from dohle.storage.segment import DamagedFile, Segment


class SealScrub:
    """Of one log. A segment that is cut, or another takes the place of, meanwhile is left out."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self._segment: Segment | None = None
        self._check = SealCheck((), "")
        self._version = log.version
        self._position = 0

    async def begin(self, offset: int) -> None:
        """The next read begins there."""
        segment = self.log.sealed.holder(offset)
        if segment is not self._segment:
            self._segment = None
            if segment is not None and segment.base_offset == offset:
                self._version = self.log.version
                check = await self.log.checked(segment.seal_check(), self._version)
                if check is not None:
                    self._segment, self._check, self._position = segment, check, 0

    async def take(self, offset: int, batches: bytes) -> int:
        """Takes what was read at `offset`; returns where it ends. Raises DamagedReplica, with the damage noted."""
        segment, end = self._segment, offset
        is_it = segment is not None and self.log.sealed.holder(offset) is segment
        for at, header in split_batches(batches):
            end = header.next_offset
            if is_it and segment is not None:
                fault = self._check.fault(header)
                if fault is None and end == self.log.sealed.end_of(segment):
                    fault = self._check.fault_at_end()
                if fault is not None:
                    await self._is_damaged(segment, self._position + at, fault)
        self._position += len(batches)
        return end

    async def _is_damaged(self, segment: Segment, position: int, fault: str) -> None:
        offsets = segment.base_offset, self.log.sealed.end_of(segment)

        async def found() -> None:
            raise DamagedFile(segment.log_path, position, fault, offsets)

        self._segment = None
        await self.log.checked(found(), self._version)
