"""HistoryFile: what the clients of one worker process do and see, written to the run's history as it happens.

An operation's invocation is in the file before anything of it is begun, its completion once that is known: whoever is
killed in between leaves it open, of which nobody knows whether it happened.
"""

from __future__ import annotations

import time
from pathlib import Path

from dohle.testing.chaos.run_folder import Lines
from dohle.testing.history.history_lines import completion, invocation
from dohle.testing.history.operations import Micro, Operation, Outcome


class HistoryFile:
    """`origin_s` is what time.monotonic() said when the run began; operations are numbered from `first_operation`."""

    def __init__(self, path: Path, origin_s: float, first_operation: int) -> None:
        self._lines = Lines(path)
        self._origin_s = origin_s
        self._next = first_operation

    def invoke(self, process: str, *micro: Micro) -> Operation:
        """Takes note that `process` begins an operation. Raises OSError if that cannot be written."""
        operation = Operation(self._next, process, micro, self._next, self._now_s())
        self._next += 1
        self._lines.write(invocation(operation))
        return operation

    def complete(
        self, operation: Operation, outcome: Outcome, *micro: Micro, rebalanced: tuple[str, ...] = (), why: str = ""
    ) -> None:
        """Takes note of how it ended. `micro`: what is known of it now, where that is more than when it was invoked."""
        assert operation.completed is None, f"operation {operation.number} completed twice"
        operation.outcome = outcome
        operation.micro = micro or operation.micro
        operation.completed = operation.invoked  # the order is that of the lines
        operation.completed_s = self._now_s()
        operation.rebalanced = rebalanced
        operation.why = why
        self._lines.write(completion(operation))

    def close(self) -> None:
        self._lines.close()

    def _now_s(self) -> float:
        return time.monotonic() - self._origin_s


class Process:
    """One process of a history: a thread of a client's life. Its name is no other's in the run."""

    def __init__(self, file: HistoryFile, name: str) -> None:
        self._file = file
        self.name = name

    def invoke(self, *micro: Micro) -> Operation:
        return self._file.invoke(self.name, *micro)

    def complete(
        self, operation: Operation, outcome: Outcome, *micro: Micro, rebalanced: tuple[str, ...] = (), why: str = ""
    ) -> None:
        self._file.complete(operation, outcome, *micro, rebalanced=rebalanced, why=why)
