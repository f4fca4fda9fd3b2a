"""Leaders: who led each partition and who was in sync, and who was the controller, over time, from samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

NOBODY = -1
_INTERNAL = "__"


@dataclass(slots=True)
class Stretch:
    """The same was true from `begin_s` to `end_s`. `in_sync` is empty for a controller."""

    begin_s: float
    end_s: float
    leader: int
    epoch: int
    in_sync: tuple[int, ...]


@dataclass
class Leaders:
    """By partition, its stretches in their order; between two, nobody could be asked. `silent`: why, and when."""

    partitions: dict[str, list[Stretch]] = field(default_factory=dict)
    controller: list[Stretch] = field(default_factory=list)
    silent: list[tuple[float, str]] = field(default_factory=list)
    samples: int = 0
    last_s: float = 0.0

    @property
    def nodes(self) -> list[int]:
        """Whoever led or was in sync."""
        every = (stretch for row in (self.controller, *self.partitions.values()) for stretch in row)
        return sorted({node for stretch in every for node in (stretch.leader, *stretch.in_sync)} - {NOBODY})

    @property
    def living(self) -> frozenset[str] | None:
        """The partitions of the last sample; None without any."""
        if not self.samples:
            return None
        return frozenset(name for name, row in self.partitions.items() if row and row[-1].end_s >= self.last_s)

    def restless(self, most: int) -> list[str]:
        """Returns the partitions that changed most, at most so many, by their names; but none of internal topics."""
        of_users = [name for name in self.partitions if not name.startswith(_INTERNAL)]
        ranked = sorted(of_users, key=lambda name: (-len(self.partitions[name]), name))
        return sorted(ranked[:most], key=_in_order)


def leaders_of(samples: Iterable[Mapping[str, Any]]) -> Leaders:
    """What a sample says holds until the next. Raises KeyError for one that lacks something."""
    found = Leaders()
    rows: dict[str, Stretch] = {}
    controller: Stretch | None = None
    for sample in samples:
        now_s = float(sample["time"])
        for row in (*rows.values(), *([controller] if controller else [])):
            row.end_s = now_s
        if "silent" in sample:
            found.silent.append((now_s, sample["silent"]))
            rows, controller = {}, None
            continue
        found.samples += 1
        found.last_s = now_s
        controller = _went_on(controller, Stretch(now_s, now_s, sample["controller"], 0, ()), found.controller)
        told: dict[str, Stretch] = {}
        for name, (leader, epoch, in_sync) in sample["partitions"].items():
            now = Stretch(now_s, now_s, leader, epoch, tuple(sorted(in_sync)))
            told[name] = _went_on(rows.get(name), now, found.partitions.setdefault(name, []))
        rows = told
    return found


def _went_on(before: Stretch | None, now: Stretch, row: list[Stretch]) -> Stretch:
    """Returns the stretch that `now` belongs to: the one before, or itself, which is then a new one of the row."""
    if before is not None and (before.leader, before.epoch, before.in_sync) == (now.leader, now.epoch, now.in_sync):
        return before
    row.append(now)
    return now


def _in_order(partition: str) -> tuple[str, int]:
    topic, _, number = partition.rpartition("-")
    return (topic, int(number)) if number.isdecimal() else (partition, -1)
