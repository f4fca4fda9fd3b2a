"""Compacted logs: what scans of them, from the beginning to the end, show of what was put there. See `last_values`."""

from __future__ import annotations

from collections.abc import Iterator

from dohle.model.errors import InvalidRequest
from dohle.testing.history.anomalies import Anomaly
from dohle.testing.history.evidence import Evidence
from dohle.testing.history.last_values import Found, LastValues, Write
from dohle.testing.history.operations import Operation, Outcome, Put, Scan, Shown, value_text


def wrong_registers(evidence: Evidence) -> Iterator[Anomaly]:
    """A record that was never put there, or a key whose last value a scan after all puts does not end with."""
    puts = [(one, micro) for one in evidence.operations for micro in one.micro if isinstance(micro, Put)]
    if not puts:
        return
    values = LastValues()
    tokens: dict[str, Operation] = {}
    settled: dict[str, int] = {}  # by log, when the last put that was acknowledged, or is still open, had been begun
    for operation, put in puts:
        if put.token in tokens:
            raise InvalidRequest(
                f"{value_text(put.token)} was put twice, by operations {tokens[put.token].number} and"
                f" {operation.number}: a history can only be judged if every put has a token of its own"
            )
        tokens[put.token] = operation
        values.write(_write(operation, put))
        known = operation.invoked if operation.completed is None else operation.completed
        settled[put.log] = max(settled.get(put.log, 0), known)
    for operation in evidence.operations:
        if operation.outcome is not Outcome.OK:
            continue
        for micro in operation.micro:
            if isinstance(micro, Scan):
                for log, shown in sorted(micro.records.items()):
                    read = [_found(one) for one in shown]
                    complaints = [*values.never_written(log, read)]
                    if operation.invoked > settled.get(log, 0):
                        complaints += values.not_the_last(log, read, evidence.log(log).let_go)
                    for what in complaints:
                        yield Anomaly("wrong register", what, (operation,))


def _write(operation: Operation, put: Put) -> Write:
    token = put.token.encode()
    value = None if put.deletes else token
    return Write(put.log, put.key.encode(), value, token, operation.outcome, put.offset)


def _found(shown: Shown) -> Found:
    token = shown.token.encode()
    return Found(shown.offset, shown.key.encode(), None if shown.deletes else token, token)
