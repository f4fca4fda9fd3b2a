"""Buckets: what clients did, by time: writes by outcome, records read, and how long acknowledged writes took."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import exp2, floor, log2

FINE_S = 0.25
"""The width of a bucket as it is filled. Few enough for a page there are only after `coarse`."""
_STEPS = (1, 2, 4, 8, 20, 40, 80, 120, 240, 480, 1200, 2400, 4800, 14400)
_PER_OCTAVE = 8  # a latency is told with an error of 9 percent at most
_LEAST_S = 0.000_1


@dataclass(slots=True)
class Bucket:
    """What completed in a stretch of time."""

    written: int = 0
    unknown: int = 0
    failed: int = 0
    read: int = 0
    latencies: Counter[int] = field(default_factory=Counter)

    def take_latency(self, seconds: float) -> None:
        self.latencies[floor(log2(max(seconds, _LEAST_S)) * _PER_OCTAVE)] += 1

    def latency_s(self, share: float) -> float | None:
        """Returns what this share of acknowledged writes took at most; None if there were none."""
        if not (total := self.latencies.total()):
            return None
        left = max(1.0, share * total)
        for step in sorted(self.latencies):
            left -= self.latencies[step]
            if left <= 0:
                break
        return exp2((step + 0.5) / _PER_OCTAVE)

    def add(self, other: Bucket) -> None:
        self.written += other.written
        self.unknown += other.unknown
        self.failed += other.failed
        self.read += other.read
        self.latencies += other.latencies


@dataclass(frozen=True)
class Series:
    """Buckets of `width_s`, the first at 0."""

    width_s: float
    buckets: tuple[Bucket, ...]

    def total(self) -> Bucket:
        total = Bucket()
        for bucket in self.buckets:
            total.add(bucket)
        return total


def coarse(fine: dict[int, Bucket], until_s: float, most: int) -> Series:
    """Joins buckets of FINE_S, by their numbers, so that at most `most` of them reach to `until_s`."""
    count = floor(until_s / FINE_S) + 1
    step = next((step for step in _STEPS if count <= step * most), -(-count // most))
    joined = [Bucket() for _ in range(-(-count // step))]
    for number, bucket in fine.items():
        if number < count:
            joined[max(0, number) // step].add(bucket)
    return Series(step * FINE_S, tuple(joined))
