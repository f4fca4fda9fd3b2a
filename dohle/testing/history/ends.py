"""Ends: who asks where a log ends must be told of all that anybody knew to be there before he asked.

This holds where the one who is asked is not cut off from the others. Ends that were asked for in worse times do not
belong into a history.
"""

from __future__ import annotations

from collections.abc import Iterator

from dohle.testing.history.anomalies import Anomaly
from dohle.testing.history.evidence import Evidence
from dohle.testing.history.operations import Ends, Operation, Outcome, Poll, Send


def stale_ends(evidence: Evidence) -> Iterator[Anomaly]:
    """An end that is not behind an offset that was acknowledged, read or told of before it was asked for."""
    done = [(op.completed, op) for op in evidence.operations if op.outcome is Outcome.OK and op.completed is not None]
    done.sort(key=lambda completion: completion[0])
    asked = [operation for operation in evidence.operations if any(isinstance(part, Ends) for part in operation.micro)]
    known: dict[str, tuple[int, Operation]] = {}
    taken = 0
    for operation in asked:
        while taken < len(done) and done[taken][0] < operation.invoked:
            _learn(known, done[taken][1])
            taken += 1
        if operation.outcome is not Outcome.OK:
            continue
        for micro in operation.micro:
            if isinstance(micro, Ends):
                for log, end in sorted(micro.ends.items()):
                    least, source = known.get(log, (0, operation))
                    if end < least:
                        what = f"{operation.process} was told that {log} ends at {end}, and it was known up to {least}"
                        yield Anomaly("stale end", what, (source, operation))


def _learn(known: dict[str, tuple[int, Operation]], operation: Operation) -> None:
    for micro in operation.micro:
        ends: dict[str, int] = {}
        match micro:
            case Send(log, _, offset) if offset is not None:
                ends = {log: offset + 1}
            case Poll(records):
                ends = {log: polled[-1][0] + 1 for log, polled in records.items() if polled}
            case Ends(told):
                ends = dict(told)
        for log, end in ends.items():
            if log not in known or end > known[log][0]:
                known[log] = end, operation
