"""The final read: what was read once must still be there when a fresh process reads a log from its beginning again.

That values between two others are gone, others find: to that process it is a skip. Here it is the end of the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dohle.testing.history.anomalies import Anomaly
from dohle.testing.history.evidence import Evidence
from dohle.testing.history.operations import Assign, Delete, Operation, Outcome, Poll, Subscribe, value_text


@dataclass(slots=True)
class _FinalRead:
    """Of one log, by the process of `assignment`; `end` is the index of the last version that it got."""

    assignment: Operation
    end: int = -1


def vanished(evidence: Evidence) -> Iterator[Anomaly]:
    """A value that somebody had read before the final read began, which ended before it: lost after all."""
    finals = _final_reads(evidence)
    known: dict[str, tuple[int, Operation]] = {}
    for operation, log, index in _ends(evidence):
        final = finals.get(log)
        if final is None:
            continue
        if operation.process == final.assignment.process:
            final.end = max(final.end, index)
        elif operation.completed is not None and operation.completed < final.assignment.invoked:
            known[log] = max(known.get(log, (-1, operation)), (index, operation), key=_first)
    for log, (index, reader) in sorted(known.items(), key=lambda item: item[0]):
        final = finals[log]
        evidence_of_log = evidence.log(log)
        offset = evidence_of_log.offsets[index]
        if index > final.end and offset >= evidence_of_log.let_go:
            value = value_text(evidence_of_log.seen[offset])
            what = f"{value} had been read at {offset} of {log}, and the final read ended before it"
            yield Anomaly("lost write", what, (reader, final.assignment))


def brought_back(evidence: Evidence) -> Iterator[Anomaly]:
    """A value that the final read shows though a deletion of it was acknowledged before."""
    finals = _final_reads(evidence)
    deleted: dict[str, tuple[int, Operation]] = {}
    for completed, operation, log, before in _deletions(evidence):
        final = finals.get(log)
        if final is not None and completed < final.assignment.invoked:
            deleted[log] = max(deleted.get(log, (0, operation)), (before, operation), key=_first)
    for operation, log, records in _polls(evidence):
        before, deletion = deleted.get(log, (0, operation))
        if records[0][0] < before and operation.process == finals[log].assignment.process:
            offset, value = records[0]
            what = f"{value_text(value)} is read at {offset} of {log}, and what lies below {before} was deleted"
            yield Anomaly("deleted record", what, (deletion, operation))


def _deletions(evidence: Evidence) -> Iterator[tuple[int, Operation, str, int]]:
    """Yields when each deletion was acknowledged, by which operation, of which log, and below which offset."""
    for operation in evidence.operations:
        if operation.outcome is Outcome.OK and operation.completed is not None:
            for micro in operation.micro:
                if isinstance(micro, Delete):
                    for log, before in micro.before.items():
                        yield operation.completed, operation, log, before


def _first(known: tuple[int, Operation]) -> int:
    return known[0]


def _final_reads(evidence: Evidence) -> dict[str, _FinalRead]:
    """Returns by log the last process that began with it at its beginning, and was never assigned anything else."""
    first: dict[str, Operation] = {}
    moved: set[str] = set()
    for operation in evidence.operations:
        begins = first.setdefault(operation.process, operation) is operation
        if not begins and any(isinstance(micro, Assign | Subscribe) for micro in operation.micro):
            moved.add(operation.process)
    finals: dict[str, _FinalRead] = {}
    for process, operation in first.items():
        if process in moved or operation.outcome is not Outcome.OK:
            continue
        for micro in operation.micro:
            if isinstance(micro, Assign):
                for log, start in micro.starts.items():
                    if start is not None and start <= min(evidence.log(log).offsets[:1], default=start):
                        finals[log] = _FinalRead(operation)
    return finals


def _ends(evidence: Evidence) -> Iterator[tuple[Operation, str, int]]:
    """Yields each poll that was ok with the logs of which it got something, and the index of the last that it got."""
    for operation, log, records in _polls(evidence):
        yield operation, log, evidence.log(log).index[records[-1][0]]


def _polls(evidence: Evidence) -> Iterator[tuple[Operation, str, Sequence[tuple[int, str]]]]:
    for operation in evidence.operations:
        if operation.outcome is not Outcome.OK:
            continue
        for micro in operation.micro:
            if isinstance(micro, Poll):
                for log, records in micro.records.items():
                    if records:
                        yield operation, log, records
