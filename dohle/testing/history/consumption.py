"""Consumption: how far polls lagged behind, and how often values were read. Reported, not judged."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from math import inf
from typing import NamedTuple

from dohle.testing.history.evidence import Evidence
from dohle.testing.history.operations import Assign, Operation, Outcome, Poll, Send, Subscribe


class Lag(NamedTuple):
    """When `poll` was invoked, a version after the last that it or its process got of `log` had been known so long."""

    seconds: float
    log: str
    poll: Operation


def worst_lag(evidence: Evidence) -> Lag | None:
    """Returns the greatest lag in real time; None if nobody ever polled."""
    worst: Lag | None = None
    outdated_s = _outdated_s(evidence)
    for poll, reading in _positions(evidence):
        for log, due in reading.items():
            seconds = max(0.0, poll.invoked_s - outdated_s[log][due])
            if worst is None or seconds > worst.seconds:
                worst = Lag(seconds, log, poll)
    return worst


def consume_counts(evidence: Evidence) -> dict[int, int]:
    """Returns by number of reads how many values ok operations read so often."""
    return dict(sorted(Counter(reads for log in evidence.logs for reads in log.reads.values()).items()))


def _positions(evidence: Evidence) -> Iterator[tuple[Operation, dict[str, int]]]:
    """Yields each poll with the indexes, by log, of the versions that come next for its process."""
    positions: dict[str, dict[str, int]] = {}
    for operation in evidence.operations:
        if operation.outcome is not Outcome.OK:
            continue
        reading = positions.setdefault(operation.process, {})
        for micro in operation.micro:
            match micro:
                case Assign(starts):
                    known = dict(reading)
                    reading.clear()
                    for log, start in starts.items():
                        if start is not None:
                            reading[log] = bisect_left(evidence.log(log).offsets, start)
                        elif log in known:
                            reading[log] = known[log]
                case Subscribe():
                    reading.clear()
                case Poll(records):
                    for log, polled in records.items():
                        if polled:
                            reading[log] = evidence.log(log).index[polled[-1][0]] + 1
                    yield operation, reading


def _outdated_s(evidence: Evidence) -> dict[str, list[float]]:
    """Returns by log, for each index, since when that version or a later one was known to anybody."""
    known = {log.name: [inf] * (len(log.offsets) + 1) for log in evidence.logs}
    for operation in evidence.operations:
        if operation.outcome is not Outcome.OK or operation.completed_s is None:
            continue
        for log, offset in _offsets_in(operation):
            index = evidence.log(log).index[offset]
            if operation.completed_s < known[log][index]:
                known[log][index] = operation.completed_s
    for times in known.values():
        for index in range(len(times) - 2, -1, -1):
            times[index] = min(times[index], times[index + 1])
    return known


def _offsets_in(operation: Operation) -> Iterator[tuple[str, int]]:
    for micro in operation.micro:
        match micro:
            case Send(log, _, offset) if offset is not None:
                yield log, offset
            case Poll(records):
                for log, polled in records.items():
                    for offset, _ in polled:
                        yield log, offset
