"""Clients: what a history says of them in figures, in one pass: nothing of an operation is kept once it is over."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from dohle.testing.chaos.report.buckets import FINE_S, Bucket
from dohle.testing.chaos.report.happenings import Happening, Happenings
from dohle.testing.chaos.report.recovery import Recoveries, Recovery


@dataclass(slots=True)
class _Open:
    invoked_s: float
    writes_to: tuple[str, ...]


@dataclass
class Clients:
    """`operations` counts invocations. `written`, `written_under_faults`: records whose write was acknowledged, and
    those of them while a fault was active. `still_open`: operations that never completed."""

    operations: int = 0
    written: int = 0
    written_under_faults: int = 0
    read: int = 0
    still_open: int = 0
    first_s: float = inf
    last_s: float = 0.0
    processes: int = 0
    fine: dict[int, Bucket] = field(default_factory=dict)
    recoveries: list[Recovery] = field(default_factory=list)


def clients_of(
    events: Iterable[Mapping[str, Any]], happenings: Happenings, living: Collection[str] | None = None
) -> Clients:
    """Reads a history's lines. `living` as `Recoveries.of_each` has it. Raises KeyError for an event that lacks
    something."""
    found = Clients()
    covered = _Covered(happenings.faults)
    recoveries = Recoveries(happenings.faults)
    under_way: dict[int, _Open] = {}
    processes: set[str] = set()
    for event in events:
        time_s: float = event["time"]
        found.first_s = min(found.first_s, time_s)
        found.last_s = max(found.last_s, time_s)
        if event["type"] == "invoke":
            found.operations += 1
            processes.add(event["process"])
            logs = tuple(micro[1] for micro in event["value"] if micro[0] == "send")
            under_way[event["operation"]] = _Open(time_s, logs)
            for log in logs:
                recoveries.asked(log, time_s)
            continue
        operation = under_way.pop(event["operation"])
        bucket = found.fine.setdefault(int(time_s / FINE_S), Bucket())
        outcome, writes = event["type"], len(operation.writes_to)
        if outcome == "ok":
            found.written += writes
            bucket.written += writes
            bucket.read += (read := _records_read(event.get("value", ())))
            found.read += read
            if writes:
                bucket.take_latency(time_s - operation.invoked_s)
                found.written_under_faults += writes * covered.at(time_s)
            for log in operation.writes_to:
                recoveries.acknowledged(log, operation.invoked_s, time_s)
        elif outcome == "info":
            bucket.unknown += writes
        else:
            bucket.failed += writes
    found.still_open = len(under_way)
    found.processes = len(processes)
    found.recoveries = recoveries.of_each(living)
    return found


def _records_read(micro: Iterable[list[Any]]) -> int:
    return sum(len(records) for part in micro if part[0] == "poll" for records in part[1].values())


class _Covered:
    """Whether any fault is active, for questions that come in the order of time, more or less."""

    def __init__(self, faults: Iterable[Happening]) -> None:
        self._stretches: list[tuple[float, float]] = []
        for fault in sorted(faults, key=lambda fault: fault.began_s):
            begin_s, end_s = self._stretches[-1] if self._stretches else (-inf, -inf)
            if fault.began_s <= end_s:
                self._stretches[-1] = begin_s, max(end_s, fault.healed_s)
            else:
                self._stretches.append((fault.began_s, fault.healed_s))
        self._place = 0

    def at(self, time_s: float) -> bool:
        stretches = self._stretches
        while self._place < len(stretches) and stretches[self._place][1] <= time_s:
            self._place += 1
        while self._place > 0 and stretches[self._place - 1][1] > time_s:
            self._place -= 1
        return self._place < len(stretches) and stretches[self._place][0] <= time_s
