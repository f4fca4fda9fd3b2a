"""Schedule: which faults happen when, drawn from a seed, and kept as a file that can be edited and run again."""

from __future__ import annotations

from dataclasses import dataclass, field

from dohle.testing.chaos.fault import Arguments


@dataclass(frozen=True)
class Step:
    """One fault: it begins at `at_s`, counted from the run's begin, and is healed `for_s` later."""

    at_s: float
    for_s: float
    fault: str
    arguments: Arguments = field(default_factory=dict)
