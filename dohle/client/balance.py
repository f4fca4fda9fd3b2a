"""Balance: what brokers carry, how far that is from even, what a better one may cost. Values and sums, no I/O.

The score of a placement, beside the one that it begins from; the smaller, the better. Everything is counted in
*shares*: 1 is what a broker would carry if all carried the same.

- **Imbalance**: for each of leaders, replicas, bytes and load, the sum over all brokers of how far they lie outside of
  the tolerated band around the average. A number of leaders or replicas that is the average rounded up or down lies in
  the band, and so does what is nearer than `LEAST_BYTES` or `LEAST_LOAD` to it.
- **Cost**: `COST_OF_BYTES` for a share of bytes copied, `COST_OF_REPLICAS` for a share of replicas that move,
  `COST_OF_LEADERS` for a share of preferred leaders that change.
- **Crowding**: `COST_OF_CROWDING` for each two replicas of a partition in one rack. More than any balance can be worth;
  no step of a plan adds to it.

Costs are far below what they buy: a byte is moved if that takes at least a tenth of it from the imbalance. They obey
the triangle inequality, since what changes from A to C changes from A to B or from B to C: so the best placement that
can be had from A is also the best that can be had from there, and a plan that was run is followed by an empty one.

*Load* is bytes a second: what producers write, at every replica; and at the leader also what consumers read, and what
it sends to the others. Brokers without a rack count as a rack each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dohle.model.ids import TopicPartition

COST_OF_BYTES = 0.1
COST_OF_REPLICAS = 0.05
COST_OF_LEADERS = 0.02
COST_OF_CROWDING = 1000.0
LEAST_BYTES = 1 << 20
LEAST_LOAD = 1 << 10
DEFAULT_TOLERANCE = 0.1


@dataclass(frozen=True, slots=True)
class BrokerRoom:
    """A broker that replicas may be placed on, and how many bytes may come to it."""

    node_id: int
    rack: str
    free_bytes: int


@dataclass(frozen=True, slots=True)
class PlacedPartition:
    """A partition where it is. `free` says whether a plan may move it: if not, it only weighs."""

    name: TopicPartition
    replicas: tuple[int, ...]  # the preferred leader first
    size_bytes: int
    bytes_in_per_s: float
    bytes_out_per_s: float
    free: bool = True

    @property
    def follower_load(self) -> float:
        return self.bytes_in_per_s

    @property
    def leader_load(self) -> float:
        return self.bytes_in_per_s * len(self.replicas) + self.bytes_out_per_s


class Carried(NamedTuple):
    """What one broker carries, or one share of it."""

    leaders: float
    replicas: float
    size_bytes: float
    load: float


class Band(NamedTuple):
    """Between `low` and `high` is balanced; distances from it are counted in units of 1 / `per_unit`."""

    low: float
    high: float
    per_unit: float


@dataclass(frozen=True, slots=True)
class Scale:
    """What even would be: a band for each thing that is carried."""

    leaders: Band
    replicas: Band
    size_bytes: Band
    load: Band

    @classmethod
    def of(cls, carried: Sequence[Carried], tolerance: float) -> Scale:
        """Returns the scale for what these brokers carry together, however it is placed among them."""
        count = max(1, len(carried))
        leaders, replicas, size_bytes, load = (sum(column) / count for column in zip(*carried, strict=True))
        return cls(
            _band_of_counts(leaders, tolerance),
            _band_of_counts(replicas, tolerance),
            _band(size_bytes, max(tolerance * size_bytes, LEAST_BYTES)),
            _band(load, max(tolerance * load, LEAST_LOAD)),
        )

    @property
    def bands(self) -> tuple[Band, Band, Band, Band]:
        return self.leaders, self.replicas, self.size_bytes, self.load

    def imbalance(self, carried: Carried) -> float:
        """Returns how far a broker lies outside of the bands, in shares."""
        return sum(
            max(amount - band.high, band.low - amount, 0.0) * band.per_unit
            for amount, band in zip(carried, self.bands, strict=True)
        )

    def cost(self, *, size_bytes: float = 0, replicas: float = 0, leaders: float = 0) -> float:
        """Returns what it costs to copy so many bytes, of so many replicas, and to change so many leaders."""
        return (
            COST_OF_BYTES * size_bytes * self.size_bytes.per_unit
            + COST_OF_REPLICAS * replicas * self.replicas.per_unit
            + COST_OF_LEADERS * leaders * self.leaders.per_unit
        )


def _band(mean: float, width: float) -> Band:
    return Band(mean - width, mean + width, 1 / mean if mean > 0 else 0.0)


def _band_of_counts(mean: float, tolerance: float) -> Band:
    low, high, per_unit = _band(mean, tolerance * mean)
    return Band(min(low, float(int(mean))), max(high, float(-int(-mean // 1))), per_unit)


def carried_by(brokers: Sequence[BrokerRoom], partitions: Sequence[PlacedPartition]) -> dict[int, Carried]:
    """Returns what each of these brokers carries; replicas elsewhere do not count."""
    sums = {broker.node_id: [0.0] * 4 for broker in brokers}
    for partition in partitions:
        for place, node in enumerate(partition.replicas):
            if node in sums:
                leads = place == 0
                share = (leads, 1, partition.size_bytes, partition.leader_load if leads else partition.follower_load)
                sums[node] = [have + more for have, more in zip(sums[node], share, strict=True)]
    return {node: Carried(*amounts) for node, amounts in sums.items()}


def crowding(racks: Sequence[str]) -> int:
    """Returns how many pairs of these racks are one."""
    return sum(count * (count - 1) // 2 for count in Counter(racks).values())


def score(
    brokers: Sequence[BrokerRoom],
    before: Sequence[PlacedPartition],
    after: Sequence[PlacedPartition],
    tolerance: float = DEFAULT_TOLERANCE,
) -> float:
    """Returns the score of the placement `after`, as a way on from `before`: the definition, summed up from nothing."""
    carried = carried_by(brokers, after)
    scale = Scale.of(list(carried_by(brokers, before).values()), tolerance)
    racks = {broker.node_id: broker.rack or f"node {broker.node_id}" for broker in brokers}
    total = sum(scale.imbalance(one) for one in carried.values())
    for old, new in zip(before, after, strict=True):
        added = len(set(new.replicas) - set(old.replicas))
        leaders = float(old.replicas[0] != new.replicas[0])
        total += scale.cost(size_bytes=added * new.size_bytes, replicas=added, leaders=leaders)
        total += COST_OF_CROWDING * crowding([racks.get(node, f"node {node}") for node in new.replicas])
    return total
