"""Report: what a verification found in one folder.

A fault names the file, the byte, what is there, what should be, and what that means. A note is no fault: what was left
out, and what a node that runs or was killed leaves behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

MOST_FAULTS = 200
"""Of one folder that are told; those behind them are counted."""

UNREADABLE = "the node cannot read it either, and takes the whole log directory for failed"
LOST = (
    "these records cannot be read here; the node notices when it comes to them, and repairs the replica by what its "
    "leader has once another is in sync"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """A place that is not as it must be."""

    file: str
    position: int
    found: str
    expected: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth to know that is no fault."""

    path: str
    what: str


@dataclass(slots=True)
class Report:
    """One folder's."""

    path: str
    is_log: bool = True
    segments: int = 0
    batches: int = 0
    records: int = 0
    size_bytes: int = 0
    faults: list[Fault] = field(default_factory=list)
    more_faults: int = 0
    notes: list[Note] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        return not self.faults

    def fault(self, file: str, position: int, found: str, *, expected: str, meaning: str) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(Fault(file, position, found, expected, meaning))
        else:
            self.more_faults += 1

    def note(self, path: str, what: str) -> None:
        self.notes.append(Note(path, what))

    @contextmanager
    def reading(self, file: str) -> Iterator[None]:
        """Around reads of `file`: what the system refuses is a fault of it."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            self.fault(file, 0, f"it cannot be read: {reason}", expected="a file that can be read", meaning=UNREADABLE)
