"""Evidence: what a history's operations tell about each log, gathered once for all who judge it.

Takes time linear in the history, but for sorting each log's offsets. Records that a deletion of the history asked for,
or that lie below where a log is known to have begun, may be missing. What compaction removes is not understood.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dohle.model.errors import InvalidRequest
from dohle.testing.history.operations import Assign, Delete, Operation, Outcome, Poll, Send, value_text


class Sighting(NamedTuple):
    """A value at an offset, where something else was known before."""

    offset: int
    value: str


@dataclass(slots=True)
class LogEvidence:
    """One log: `seen` by polls and by sends of committed operations, and what became of each value."""

    name: str
    writers: dict[str, Operation] = field(default_factory=dict)  # by value
    reads: dict[str, int] = field(default_factory=dict)  # by value: how many ok operations read it
    seen: dict[int, str] = field(default_factory=dict)  # by offset, the first value that was seen there
    places: dict[str, int] = field(default_factory=dict)  # by value, the first offset at which it was seen
    contradictions: dict[Sighting, None] = field(default_factory=dict)  # a second value at an offset
    moved: dict[Sighting, None] = field(default_factory=dict)  # a value at a second offset
    offsets: list[int] = field(default_factory=list)  # all of `seen`, ascending: the order of versions, without holes
    index: dict[int, int] = field(default_factory=dict)  # by offset, its place in `offsets`
    let_go: int = 0  # what lies below this offset may be missing: somebody asked for it, or it was not retained

    def sight(self, offset: int, value: str) -> None:
        """Takes note that `value` was seen at `offset`."""
        known = self.seen.get(offset)
        if known == value:
            return
        sighting = Sighting(offset, value)
        if known is None:
            self.seen[offset] = value
        else:
            self.contradictions[sighting] = None
        if self.places.setdefault(value, offset) != offset:
            self.moved[sighting] = None

    def order(self) -> None:
        """Puts the versions in order; everything was seen."""
        self.offsets = sorted(self.seen)
        self.index = {offset: index for index, offset in enumerate(self.offsets)}


class Evidence:
    """All logs of a history, by name; `starts` are the greatest offsets at which they have begun, where that is known.

    Raises InvalidRequest if a value was sent to a log twice.
    """

    def __init__(self, operations: Sequence[Operation], starts: Mapping[str, int] | None = None) -> None:
        self.operations = operations
        self._logs: dict[str, LogEvidence] = {}
        self._let_go(starts or {})
        for operation in operations:
            for micro in operation.micro:
                match micro:
                    case Poll(records):
                        self._polled(records, operation.outcome is Outcome.OK)
                    case Send(log, value):
                        self._sent(operation, self.log(log), value)
                    case Assign(assigned):
                        for log in assigned:
                            self.log(log)
                    case Delete(before):
                        self._let_go(before)
        for operation in operations:
            for send in sends_of(operation):
                if send.offset is not None and self.committed(operation):
                    self.log(send.log).sight(send.offset, send.value)
        self.logs = [self._logs[name] for name in sorted(self._logs)]
        for evidence in self.logs:
            evidence.order()

    def _let_go(self, before: Mapping[str, int]) -> None:
        for name, offset in before.items():
            log = self.log(name)
            log.let_go = max(log.let_go, offset)

    def log(self, name: str) -> LogEvidence:
        """Returns what is known of a log; an empty one if this is the first that is heard of it."""
        evidence = self._logs.get(name)
        if evidence is None:
            evidence = self._logs[name] = LogEvidence(name)
        return evidence

    def committed(self, operation: Operation) -> bool:
        """Returns whether it certainly happened: it says so itself, or somebody read what it sent."""
        if operation.outcome is Outcome.INFO:
            return any(send.value in self.log(send.log).reads for send in sends_of(operation))
        return operation.outcome is Outcome.OK

    def showing(self, log: str, value: str, offset: int | None = None) -> Iterator[Operation]:
        """Yields the operations that saw `value`, at `offset` if that is given. Slow: for proofs."""
        for operation in self.operations:
            for micro in operation.micro:
                match micro:
                    case Send(of, sent, at) if (of, sent) == (log, value):
                        if at is not None and offset in (None, at):
                            yield operation
                    case Poll(records) if any(
                        value == read and offset in (None, at) for at, read in records.get(log, ())
                    ):
                        yield operation

    def _polled(self, records: Mapping[str, Sequence[tuple[int, str]]], ok: bool) -> None:
        for name, polled in records.items():
            log = self.log(name)
            seen, reads = log.seen, log.reads
            for offset, value in polled:
                if seen.get(offset) != value:
                    log.sight(offset, value)
                if ok:
                    reads[value] = reads.get(value, 0) + 1

    def _sent(self, operation: Operation, log: LogEvidence, value: str) -> None:
        if value in log.writers:
            raise InvalidRequest(
                f"value {value_text(value)} was sent to {log.name} twice, by operations {log.writers[value].number}"
                f" and {operation.number}: a history can only be judged if every value is sent once"
            )
        log.writers[value] = operation


def sends_of(operation: Operation) -> Iterator[Send]:
    for micro in operation.micro:
        if isinstance(micro, Send):
            yield micro
