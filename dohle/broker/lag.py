"""How far and how long a replica is behind (rule 9, amendment 7).

The lag of a replica is the age of the oldest append that it has not durably acknowledged. The leader keeps bounded
samples of its appends, shared by all replicas of the partition: appends within one grain are one sample, bearing the
time of the first.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_MOST_SAMPLES = 256


@dataclass(slots=True)
class _Sample:
    time: float
    end_offset: int
    total_bytes: int


class AppendHistory:
    """When the log's recent offsets were appended, and how many bytes lie between them.

    `grain_s` is by how much a lag may be told too long.
    """

    def __init__(self, started: float, log_end_offset: int, grain_s: float) -> None:
        # what a leader finds in its log counts from the start of its leadership
        self._samples = deque([_Sample(started, log_end_offset, 0)])
        self._grain_s = grain_s

    def note(self, now: float, end_offset: int, size_bytes: int) -> None:
        """Notes an append of `size_bytes` that moved the log end to `end_offset`."""
        last = self._samples[-1]
        total_bytes = last.total_bytes + size_bytes
        if now - last.time < self._grain_s and len(self._samples) > 1:
            last.end_offset = end_offset
            last.total_bytes = total_bytes
            return
        self._samples.append(_Sample(now, end_offset, total_bytes))
        if len(self._samples) > _MOST_SAMPLES:
            oldest = self._samples.popleft()
            self._samples[0].time = oldest.time

    def forget(self, least_end: int) -> None:
        """Drops what every replica has; the last such sample stays, as the point that later ones are counted from."""
        while len(self._samples) > 1 and self._samples[1].end_offset <= least_end:
            self._samples.popleft()

    def lag_s(self, durable_end: int, now: float) -> float:
        """Returns how long the replica that ends at `durable_end` has been behind; 0 if it has everything."""
        for sample in self._samples:
            if sample.end_offset > durable_end:
                return now - sample.time
        return 0.0

    def bytes_between(self, durable_end: int, offset: int) -> int | None:
        """Returns an upper bound of the bytes from a replica's end up to `offset`; None if the samples do not tell."""
        if durable_end >= offset:
            return 0
        if durable_end < self._samples[0].end_offset:
            return None
        before = self._samples[0].total_bytes
        for sample in self._samples:
            if sample.end_offset <= durable_end:
                before = sample.total_bytes
            if sample.end_offset >= offset:
                return sample.total_bytes - before
        return None
