"""Recovery: how long a fault kept clients from writing, as their history tells.

For each fault two times: how long the partition that fared worst went without an acknowledged write, of the gaps that
overlap the fault (`standstill_s`), from when it was first written to until it last was; and how long after the healing
it took until each partition had acknowledged a write that was asked for after it (`recovered_s`): from then on writes
worked everywhere again. Partitions that nobody wrote to afterwards are left out. Acknowledgements are taken in the
order of the history; memory is linear to faults times partitions.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from math import inf
from statistics import median

from dohle.testing.chaos.report.happenings import Happening


@dataclass(frozen=True)
class Recovery:
    """None: there was no acknowledged write to tell it by. `never`: partitions that were written to after the healing,
    none of whose writes was acknowledged."""

    fault: Happening
    standstill_s: float | None
    recovered_s: float | None
    never: tuple[str, ...] = ()


@dataclass
class _Log:
    last_s: float
    """When a write was last acknowledged; when one was first asked for, as long as none was."""
    last_invoked_s: float
    due: int = 0  # faults, in the order of their healing, whose recovery is known or cannot be asked for
    recovered: dict[int, float] = field(default_factory=dict)


class Recoveries:
    """Filled with what clients wrote; then asked by `of_each`."""

    def __init__(self, faults: Sequence[Happening]) -> None:
        self._faults = faults
        self._by_healing = sorted(range(len(faults)), key=lambda number: faults[number].healed_s)
        self._healed = [faults[number].healed_s for number in self._by_healing]
        self._changes = sorted({time_s for fault in faults for time_s in (fault.began_s, fault.healed_s)})
        self._active = [
            [number for number, fault in enumerate(faults) if fault.began_s <= since_s < fault.healed_s]
            for since_s in (-inf, *self._changes)
        ]
        """Between two changes, the same faults are active."""
        self._standstill: dict[int, float] = {}
        self._logs: dict[str, _Log] = {}

    def asked(self, log: str, invoked_s: float) -> None:
        """A write was invoked."""
        known = self._logs.setdefault(log, _Log(invoked_s, invoked_s))
        known.last_invoked_s = max(known.last_invoked_s, invoked_s)

    def acknowledged(self, log: str, invoked_s: float, completed_s: float) -> None:
        """A write was acknowledged, and `asked` about before."""
        known = self._logs[log]
        while known.due < len(self._healed) and self._healed[known.due] <= invoked_s:
            fault = self._by_healing[known.due]
            known.recovered[fault] = completed_s - self._healed[known.due]
            known.due += 1
        if completed_s > known.last_s:
            self._gap(known.last_s, completed_s)
            known.last_s = completed_s

    def of_each(self, living: Collection[str] | None = None) -> list[Recovery]:
        """Returns each fault's, in their order. `living`: partitions that still exist; None: all are taken for it."""
        for log in self._logs.values():
            if log.last_invoked_s > log.last_s:
                self._gap(log.last_s, log.last_invoked_s)
        return [self._of(number, fault, living) for number, fault in enumerate(self._faults)]

    def _of(self, number: int, fault: Happening, living: Collection[str] | None) -> Recovery:
        recovered = [log.recovered[number] for log in self._logs.values() if number in log.recovered]
        never = tuple(
            name
            for name, log in sorted(self._logs.items())
            if log.last_invoked_s >= fault.healed_s and number not in log.recovered and (not living or name in living)
        )
        worst = None if never else max(recovered, default=None)
        return Recovery(fault, self._standstill.get(number), worst, never)

    def _gap(self, begin_s: float, end_s: float) -> None:
        """Takes note of a gap between two acknowledgements of one partition for all faults that overlap it."""
        for active in self._active[bisect_right(self._changes, begin_s) : bisect_right(self._changes, end_s) + 1]:
            for number in active:
                self._standstill[number] = max(self._standstill.get(number, 0.0), end_s - begin_s)


@dataclass(frozen=True)
class OfAKind:
    """All recoveries of one kind of fault."""

    fault: str
    recoveries: tuple[Recovery, ...]

    @property
    def standstills_s(self) -> list[float]:
        return [found.standstill_s for found in self.recoveries if found.standstill_s is not None]

    @property
    def recovered_s(self) -> list[float]:
        return [found.recovered_s for found in self.recoveries if found.recovered_s is not None]

    @property
    def never(self) -> int:
        """After how many of them writes did not work everywhere again."""
        return sum(bool(found.never) for found in self.recoveries)


def by_kind(recoveries: Sequence[Recovery]) -> list[OfAKind]:
    kinds: dict[str, list[Recovery]] = {}
    for recovery in recoveries:
        kinds.setdefault(recovery.fault.fault, []).append(recovery)
    return [OfAKind(fault, tuple(found)) for fault, found in sorted(kinds.items())]


def middle_and_worst(seconds: Sequence[float]) -> tuple[float, float] | None:
    return (median(seconds), max(seconds)) if seconds else None
