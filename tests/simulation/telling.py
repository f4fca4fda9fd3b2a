"""Telling: histories by hand. Each call is an operation that is over before the next, unless it says `begin`."""

from __future__ import annotations

from dohle.testing.history.checker import Verdict, judge
from dohle.testing.history.history import History
from dohle.testing.history.operations import Assign, Micro, Operation, Outcome, Poll, Send, Subscribe


class Telling:
    def __init__(self) -> None:
        self.history = History()
        self.now = 0.0

    def begin(self, process: str, *micro: Micro) -> Operation:
        self.now += 1.0
        return self.history.invoke(process, *micro, at_s=self.now)

    def end(self, operation: Operation, *micro: Micro, outcome: Outcome = Outcome.OK, **known) -> Operation:
        self.now += 1.0
        self.history.complete(operation, outcome, *micro, at_s=self.now, **known)
        return operation

    def does(self, process: str, *micro: Micro, outcome: Outcome = Outcome.OK, **known) -> Operation:
        return self.end(self.begin(process, *micro), outcome=outcome, **known)

    def sends(self, process: str, log: str, value: str, offset: int | None = None) -> Operation:
        return self.does(process, Send(log, value, offset))

    def polls(self, process: str, log: str, *records: tuple[int, str], rebalanced: tuple[str, ...] = ()) -> Operation:
        return self.does(process, Poll({log: list(records)}), rebalanced=rebalanced)

    def assigns(self, process: str, **starts: int | None) -> Operation:
        return self.does(process, Assign(starts))

    def subscribes(self, process: str, *topics: str) -> Operation:
        return self.does(process, Subscribe(topics))

    def judged(self, *, read_to_end: bool = True) -> Verdict:
        return judge(self.history.operations, read_to_end=read_to_end)

    def shows(self, *, read_to_end: bool = True) -> list[str]:
        """Returns the names of all anomalies."""
        return [anomaly.name for anomaly in self.judged(read_to_end=read_to_end).anomalies]

    def proves(self, *operations: Operation, read_to_end: bool = True) -> str:
        """Returns the name of the only anomaly; its proof is these operations."""
        (anomaly,) = self.judged(read_to_end=read_to_end).anomalies
        assert sorted(op.number for op in anomaly.proof) == sorted(op.number for op in operations), str(anomaly)
        return anomaly.name


def abc(told: Telling) -> None:
    """Writer w sends a, b and c to x, at 0, 1 and 2."""
    for offset, value in enumerate("abc"):
        told.sends("w", "x", value, offset)


ABC = ((0, "a"), (1, "b"), (2, "c"))
