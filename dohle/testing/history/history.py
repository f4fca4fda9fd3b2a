"""History: what clients did and saw, in the order in which it happened, for the checker to judge.

Knows nothing of the simulator: a history of real clients is judged alike.
"""

from __future__ import annotations

from collections.abc import Mapping

from dohle.testing.history.anomalies import Anomaly
from dohle.testing.history.checker import judge
from dohle.testing.history.operations import Micro, Operation, Outcome, Send


class History:
    """Filled while clients run: `invoke` before an operation is begun, then `complete`. Times are seconds of any one
    clock; the order of the calls decides what was before what."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.acknowledged = 0  # records
        self._events = 0

    def invoke(self, process: str, *micro: Micro, at_s: float) -> Operation:
        """Takes note that `process` begins an operation."""
        operation = Operation(len(self.operations), process, micro, self._next_event(), at_s)
        self.operations.append(operation)
        return operation

    def complete(
        self,
        operation: Operation,
        outcome: Outcome,
        *micro: Micro,
        at_s: float,
        rebalanced: tuple[str, ...] = (),
        why: str = "",
    ) -> None:
        """Takes note of how it ended. `micro`: what is known of it now, where that is more than when it was invoked."""
        assert operation.completed is None, f"operation {operation.number} completed twice"
        operation.outcome = outcome
        operation.micro = micro or operation.micro
        operation.completed = self._next_event()
        operation.completed_s = at_s
        operation.rebalanced = rebalanced
        operation.why = why
        if outcome is Outcome.OK:
            for part in operation.micro:
                self.acknowledged += part.__class__ is Send

    @property
    def sends(self) -> list[Send]:
        """Every record that was sent, whatever came of it."""
        return [micro for operation in self.operations for micro in operation.micro if isinstance(micro, Send)]

    @property
    def acknowledged_sends(self) -> list[Send]:
        """Every record that was acknowledged, most of them with their offsets."""
        done = (operation for operation in self.operations if operation.outcome is Outcome.OK)
        return [micro for operation in done for micro in operation.micro if isinstance(micro, Send)]

    def _next_event(self) -> int:
        self._events += 1
        return self._events


def check(history: History, starts: Mapping[str, int] | None = None) -> list[Anomaly]:
    """Returns every anomaly of a history that ends with a read of everything; `starts` as `judge` has them."""
    return list(judge(history.operations, starts=starts).anomalies)
