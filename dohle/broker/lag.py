"""How far and how long a replica is behind (rule 9, amendment 7).

The lag of a replica is the age of the oldest append that it has not durably acknowledged. The leader keeps bounded
samples of its appends, shared by all replicas of the partition: appends within one grain of time are one sample,
bearing the time of the first. How many bytes lie between two recent offsets is told by marks of their own, since under
load a grain of time is many megabytes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

_MOST_SAMPLES = 256
_MOST_MARKS = 256
MARK_BYTES = 64 << 10
"""How far marks lie apart; they reach back 16 MiB."""


@dataclass(slots=True)
class _Sample:
    time: float
    end_offset: int


class _Mark(NamedTuple):
    end_offset: int
    total_bytes: int


class AppendHistory:
    """When the log's recent offsets were appended, and how many bytes lie between them.

    `grain_s` is by how much a lag may be told too long.
    """

    def __init__(self, started: float, log_end_offset: int, grain_s: float) -> None:
        # what a leader finds in its log counts from the start of its leadership
        self._samples = deque([_Sample(started, log_end_offset)])
        self._grain_s = grain_s
        self._newest = _Mark(log_end_offset, 0)
        self._marks = deque([self._newest], _MOST_MARKS)

    def note(self, now: float, end_offset: int, size_bytes: int) -> None:
        """Notes an append of `size_bytes` that moved the log end to `end_offset`."""
        self._newest = _Mark(end_offset, self._newest.total_bytes + size_bytes)
        if self._newest.total_bytes - self._marks[-1].total_bytes >= MARK_BYTES:
            self._marks.append(self._newest)
        last = self._samples[-1]
        if now - last.time < self._grain_s and len(self._samples) > 1:
            last.end_offset = end_offset
            return
        self._samples.append(_Sample(now, end_offset))
        if len(self._samples) > _MOST_SAMPLES:
            oldest = self._samples.popleft()
            self._samples[0].time = oldest.time

    def forget(self, least_end: int) -> None:
        """Drops the times of what every replica has; the newest sample stays, and later appends begin another."""
        while len(self._samples) > 1 and self._samples[0].end_offset <= least_end:
            self._samples.popleft()

    def lag_s(self, durable_end: int, now: float) -> float:
        """Returns how long the replica that ends at `durable_end` has been behind; 0 if it has everything."""
        for sample in self._samples:
            if sample.end_offset > durable_end:
                return now - sample.time
        return 0.0

    def bytes_between(self, durable_end: int, offset: int) -> int | None:
        """Returns an upper bound of the bytes from a replica's end up to `offset`; None where the marks do not tell."""
        if durable_end >= offset:
            return 0
        if durable_end < self._marks[0].end_offset:
            return None
        before = self._marks[0].total_bytes
        for mark in self._marks:
            if mark.end_offset >= offset:
                return mark.total_bytes - before
            if mark.end_offset <= durable_end:
                before = mark.total_bytes
        return self._newest.total_bytes - before
