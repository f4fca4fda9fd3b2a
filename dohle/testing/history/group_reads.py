"""Group reads: the members of a group together leave nothing out, whoever of them reads what.

A poll of a member is ok once its records were dealt with, so what a member that died had only been given is not read.
That a record is read twice across a rebalance is right; that one is read while an earlier one never was is a skip, for
whoever reads begins at what the group has committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dohle.testing.history.anomalies import Anomaly
from dohle.testing.history.evidence import Evidence
from dohle.testing.history.operations import Assign, Operation, Outcome, Poll, Subscribe, value_text


def group_skips(evidence: Evidence) -> Iterator[Anomaly]:
    """A record that a group read before an earlier one of the same log, which nobody of it had read by then."""
    groups: dict[str, str] = {}  # by process, the group that it is in; "": in none
    polls: list[tuple[int, str, Operation]] = []
    for operation in evidence.operations:
        for micro in operation.micro:
            match micro:
                case Subscribe(_, group):
                    groups[operation.process] = group
                case Assign():
                    groups[operation.process] = ""
                case Poll() if operation.outcome is Outcome.OK and operation.completed is not None:
                    if group := groups.get(operation.process, ""):
                        polls.append((operation.completed, group, operation))
    reads: dict[tuple[str, str], _GroupRead] = {}
    for _, group, operation in sorted(polls, key=lambda poll: poll[0]):
        for micro in operation.micro:
            if isinstance(micro, Poll):
                for log, records in sorted(micro.records.items()):
                    yield from reads.setdefault((group, log), _GroupRead(evidence, group, log)).polled(
                        operation, records
                    )


@dataclass(slots=True)
class _GroupRead:
    """One group's of one log: up to the version of index `last` all was read."""

    evidence: Evidence
    group: str
    log: str
    last: int = -1
    reader: list[Operation] = field(default_factory=list)  # who read that

    def polled(self, operation: Operation, records: Sequence[tuple[int, str]]) -> Iterator[Anomaly]:
        log = self.evidence.log(self.log)
        for offset, value in records:
            here = log.index[offset]
            if here > self.last + 1 and log.offsets[here - 1] >= log.let_go:
                due = next(at for at in log.offsets[self.last + 1 :] if at >= log.let_go)
                what = (
                    f"{operation.process} read {value_text(value)} at {offset} of {self.log}, and nobody of group"
                    f" {self.group} had read what is at {due}"
                )
                yield Anomaly("group skip", what, (*(one for one in self.reader if one is not operation), operation))
            if here > self.last:
                self.last, self.reader = here, [operation]
