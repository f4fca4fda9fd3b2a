"""Positions: each process's polls and sends follow a log's order, without gaps in what is polled.

A position is a version's place in its log's order, in which holes do not count: a poll must go on with the version
after the last that its process read. Allowed to skip and to go back: a process that subscribed, in a log that was
rebalanced; any process after an assignment with an offset to start from, or after a poll of which nobody knows what
it took; anybody over what was let go. The order of sends is that in which they were invoked, whose outcome is not known
included.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from dohle.testing.history.anomalies import Anomaly
from dohle.testing.history.evidence import Evidence, sends_of
from dohle.testing.history.operations import Assign, Operation, Outcome, Poll, Subscribe, value_text


def misordered_polls(evidence: Evidence) -> Iterator[Anomaly]:
    """Skips and non-monotonic polls, internal (within an operation) and external (between a process's operations)."""
    readers: dict[str, _Reader] = {}
    for operation in evidence.operations:
        for micro in operation.micro:
            if not isinstance(micro, Poll | Assign | Subscribe):
                continue
            reader = readers.setdefault(operation.process, _Reader(evidence))
            match micro:
                case Poll(records):
                    yield from reader.polled(operation, records)
                case Assign(starts):
                    reader.assigned(operation, starts)
                case Subscribe():
                    reader.subscribed()


def misordered_sends(evidence: Evidence) -> Iterator[Anomaly]:
    """Non-monotonic sends: of two values that one process sent to a log, the later is before the earlier."""
    last: dict[tuple[str, str], tuple[int, Operation]] = {}
    for operation in evidence.operations:
        if operation.outcome is Outcome.FAIL:
            continue
        for send in sends_of(operation):
            offset = evidence.log(send.log).places.get(send.value)
            if offset is None:
                continue
            before, sender = last.get((operation.process, send.log), (-1, operation))
            if offset <= before:
                what = (
                    f"{operation.process} sent {value_text(send.value)} to {send.log} later than what is at"
                    f" {before}, and it is at {offset}"
                )
                yield Anomaly("non-monotonic send", what, (sender, operation))
            last[operation.process, send.log] = offset, operation


class _Reader:
    """One process, as far as it reads. Of logs that are not in `_last` nothing is known."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._last: dict[str, tuple[int, Operation]] = {}  # the last version's index, and who read it or went there
        self._subscribed = False

    def assigned(self, operation: Operation, starts: Mapping[str, int | None]) -> None:
        if operation.outcome is Outcome.FAIL:
            return
        self._subscribed = False
        before, self._last = self._last, {}
        if operation.outcome is Outcome.INFO:
            return
        for log, start in starts.items():
            if start is not None:
                self._last[log] = bisect_left(self._evidence.log(log).offsets, start) - 1, operation
            elif log in before:
                self._last[log] = before[log]

    def subscribed(self) -> None:
        self._subscribed = True
        self._last.clear()

    def polled(self, operation: Operation, records: Mapping[str, Sequence[tuple[int, str]]]) -> Iterator[Anomaly]:
        if operation.outcome is not Outcome.OK:
            if operation.outcome is Outcome.INFO:
                self._last.clear()
            return
        rebalanced = operation.rebalanced if self._subscribed else ()
        for log in rebalanced:
            self._last.pop(log, None)
        for log, polled in records.items():
            if not polled:
                continue
            if log not in rebalanced:
                yield from self._follow(operation, log, polled)
            self._last[log] = self._evidence.log(log).index[polled[-1][0]], operation

    def _follow(self, operation: Operation, log: str, polled: Sequence[tuple[int, str]]) -> Iterator[Anomaly]:
        evidence = self._evidence.log(log)
        index = evidence.index
        before, reader = self._last.get(log, (index[polled[0][0]] - 1, operation))
        for offset, value in polled:
            here = index[offset]
            if here != before + 1 and not (here > before and evidence.offsets[here - 1] < evidence.let_go):
                where = "internal" if reader is operation else "external"
                name = "skip" if here > before else "non-monotonic poll"
                due = evidence.offsets[before + 1] if before + 1 < len(evidence.offsets) else "the end"
                what = f"{operation.process} read {value_text(value)} at {offset} of {log}, where {due} was due"
                proof = (operation,) if reader is operation else (reader, operation)
                yield Anomaly(f"{where} {name}", what, proof)
            before, reader = here, operation
