"""Happenings: the faults of a run, from their begin to their healing, and its phases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from dohle.testing.chaos.fault import Arguments, Effect


@dataclass(slots=True)
class Happening:
    """A fault that happened. `healed_s` is inf for one that was not healed when the file ended."""

    step: int
    fault: str
    arguments: Arguments
    began_s: float
    healed_s: float = inf
    effect: Effect | None = None

    @property
    def where(self) -> str:
        """What it was done to, in words."""
        return ", ".join(f"{name} {_value_text(value)}" for name, value in self.arguments.items())


@dataclass(frozen=True)
class Phase:
    """What the harness does from `at_s` on."""

    at_s: float
    name: str


@dataclass
class Happenings:
    """In the order in which they began."""

    faults: list[Happening] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)

    def active(self, time_s: float) -> bool:
        """Whether a fault is active. For single questions: it asks all."""
        return any(fault.began_s <= time_s < fault.healed_s for fault in self.faults)


def happenings_of(events: Iterable[Mapping[str, Any]]) -> Happenings:
    """Raises KeyError for an event that lacks something, or heals what never began."""
    found = Happenings()
    open_faults: dict[int, Happening] = {}
    for event in events:
        match event["what"]:
            case "begin":
                fault = Happening(event["step"], event["fault"], event.get("arguments", {}), float(event["time"]))
                found.faults.append(fault)
                open_faults[fault.step] = fault
            case "heal":
                open_faults[event["step"]].healed_s = float(event["time"])
            case "effect":
                open_faults[event["step"]].effect = Effect(int(event["count"]), event["counted"])
            case "phase":
                found.phases.append(Phase(float(event["time"]), event["phase"]))
    return found


def _value_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(_value_text, value)) + "]"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
