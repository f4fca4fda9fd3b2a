"""Anomalies: what a log must never show its clients, by name, each with the operations that prove it.

The names are those of Jepsen's test of Kafka, whose reasoning this follows. What concerns values is here; what
concerns the order of polls and sends in `positions`, and of everything in `cycles`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dohle.testing.history.evidence import Evidence, LogEvidence, sends_of
from dohle.testing.history.operations import Operation, Outcome, Poll, value_text


class Anomaly(NamedTuple):
    """What should never be."""

    name: str
    what: str
    proof: tuple[Operation, ...]

    def __str__(self) -> str:
        return "\n".join([f"{self.name}: {self.what}", *(f"    {operation}" for operation in self.proof)])


def inconsistent_offsets(evidence: Evidence, log: LogEvidence) -> Iterator[Anomaly]:
    """Two values at one offset."""
    for offset, value in log.contradictions:
        first = log.seen[offset]
        what = f"{log.name} has {value_text(first)} and {value_text(value)} at offset {offset}"
        yield Anomaly("inconsistent offsets", what, _two(evidence, log, (first, offset), (value, offset)))


def duplicates(evidence: Evidence, log: LogEvidence) -> Iterator[Anomaly]:
    """One value at two offsets."""
    for offset, value in log.moved:
        first = log.places[value]
        what = f"{log.name} has {value_text(value)} at offsets {first} and {offset}"
        yield Anomaly("duplicate", what, _two(evidence, log, (value, first), (value, offset)))


def lost_writes(evidence: Evidence, log: LogEvidence) -> Iterator[Anomaly]:
    """A committed value that nobody read, though later ones were."""
    bound = _bound(log)
    for value, last in _unread(evidence, log):
        if last is not None and last <= bound:
            what = f"nobody read {value_text(value)} from {log.name}, which was read up to offset {bound}"
            yield Anomaly("lost write", what, (log.writers[value], next(evidence.showing(log.name, log.seen[bound]))))


def unseen(evidence: Evidence, log: LogEvidence) -> Iterator[Anomaly]:
    """A committed value that nobody read, no later one either: for histories that end with a read of everything."""
    bound = _bound(log)
    for value, last in _unread(evidence, log):
        if last is None or last > bound:
            what = f"nobody ever read {value_text(value)} from {log.name}"
            yield Anomaly("unseen", what, (log.writers[value],))


def aborted_reads(evidence: Evidence, log: LogEvidence) -> Iterator[Anomaly]:
    """G1a: a value whose send certainly did not happen; or of which there was no send."""
    for value in log.reads:
        writer = log.writers.get(value)
        if writer is None:
            what = f"{value_text(value)} was read from {log.name}, and never sent there"
            yield Anomaly("unknown record", what, (_reader(evidence, log, value),))
        elif writer.outcome is Outcome.FAIL:
            what = f"{value_text(value)} was read from {log.name}, though its send failed"
            yield Anomaly("aborted read (G1a)", what, (writer, _reader(evidence, log, value)))


def precommitted_reads(evidence: Evidence) -> Iterator[Anomaly]:
    """An operation that reads what it sends itself, before it is committed."""
    for operation in evidence.operations:
        if len(operation.micro) < 2 or operation.outcome is not Outcome.OK:
            continue
        sent = {(send.log, send.value) for send in sends_of(operation)}
        for micro in operation.micro:
            if isinstance(micro, Poll):
                for log, records in micro.records.items():
                    for _, value in records:
                        if (log, value) in sent:
                            what = f"{value_text(value)} was read from {log} by its own sender's operation"
                            yield Anomaly("precommitted read", what, (operation,))


def _unread(evidence: Evidence, log: LogEvidence) -> Iterator[tuple[str, int | None]]:
    """Yields the committed values that no ok operation read, and the last offsets at which they are known to be; but
    not those that may have been let go."""
    last_places = dict(log.places)
    for moved in log.moved:
        last_places[moved.value] = max(last_places[moved.value], moved.offset)
    for value, writer in log.writers.items():
        if value not in log.reads and evidence.committed(writer):
            last = last_places.get(value)
            if (-1 if last is None else last) >= log.let_go or not log.let_go:  # one without a place may be gone
                yield value, last


def _bound(log: LogEvidence) -> int:
    """Returns the greatest first offset of the values that ok operations read; -1 if they read none."""
    return max((log.places[value] for value in log.reads), default=-1)


def _reader(evidence: Evidence, log: LogEvidence, value: str) -> Operation:
    return next(
        operation
        for operation in evidence.showing(log.name, value)
        if operation.outcome is Outcome.OK and any(isinstance(micro, Poll) for micro in operation.micro)
    )


def _two(evidence: Evidence, log: LogEvidence, one: tuple[str, int], other: tuple[str, int]) -> tuple[Operation, ...]:
    first = next(evidence.showing(log.name, *one))
    second = next(evidence.showing(log.name, *other))
    return (first,) if first is second else (first, second)
