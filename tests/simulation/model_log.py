"""A model of a log and of clients whose histories are sound by construction, however their operations overlap.

Sends are taken up in their process's order, at some moment between their invocation and their acknowledgement; one
whose outcome is not known may be taken up at any later time, or never. Offsets have holes.
"""

from __future__ import annotations

from collections import deque
from random import Random

from dohle.testing.history.history import History
from dohle.testing.history.operations import Assign, Operation, Outcome, Poll, Send, Subscribe

LOGS = ("x", "y")
WRITERS = ("v", "w")
FINAL_READER = "final"


class ModelLog:
    """Records by ascending offset."""

    def __init__(self, random: Random) -> None:
        self.records: list[tuple[int, str]] = []
        self.end = 0
        self._random = random

    def append(self, value: str) -> int:
        self.end += self._random.choice((1, 1, 1, 4))
        self.records.append((self.end - 1, value))
        return self.end - 1

    def read(self, start: int, most: int) -> list[tuple[int, str]]:
        return [record for record in self.records if record[0] >= start][:most]


class ModelClients:
    """Plays `steps` random steps, then lets a fresh reader read everything. `history` is what the clients noted."""

    def __init__(self, random: Random, steps: int = 60) -> None:
        self.history = History()
        self._random = random
        self._logs = {name: ModelLog(random) for name in LOGS}
        self._queues: dict[tuple[str, str], deque[Operation]] = {(w, log): deque() for w in WRITERS for log in LOGS}
        self._taken: dict[int, int] = {}  # by operation, the offset
        self._unanswered: list[Operation] = []
        self._positions: dict[str, dict[str, int]] = {"reader": {}, "group": {}}
        self._now = 0.0
        self._begin_reading()
        for _ in range(steps):
            random.choices((self._send, self._take_up, self._answer, self._read, self._seek), (4, 4, 3, 2, 1))[0]()
        self._read_everything()

    def _invoke(self, process, *micro) -> Operation:
        self._now += 1.0
        return self.history.invoke(process, *micro, at_s=self._now)

    def _complete(self, operation, outcome, *micro, **known) -> None:
        self._now += 1.0
        self.history.complete(operation, outcome, *micro, at_s=self._now, **known)

    def _begin_reading(self) -> None:
        self._complete(self._invoke("reader", Assign(dict.fromkeys(LOGS, 0))), Outcome.OK)
        self._complete(self._invoke("group", Subscribe(("topic",))), Outcome.OK)
        self._positions = {reader: dict.fromkeys(LOGS, 0) for reader in self._positions}

    def _send(self) -> None:
        writer, log = self._random.choice(WRITERS), self._random.choice(LOGS)
        operation = self._invoke(writer, Send(log, f"{log}{len(self.history.operations)}"))
        self._queues[writer, log].append(operation)
        self._unanswered.append(operation)

    def _take_up(self) -> None:
        waiting = [queue for queue in self._queues.values() if queue]
        if waiting:
            operation = self._random.choice(waiting).popleft()
            (send,) = operation.micro
            self._taken[operation.number] = self._logs[send.log].append(send.value)

    def _answer(self) -> None:
        if not self._unanswered:
            return
        operation = self._unanswered.pop(self._random.randrange(len(self._unanswered)))
        (send,) = operation.micro
        offset = self._taken.get(operation.number)
        if self._random.random() < 0.2:
            self._complete(operation, Outcome.INFO, why="timed out")
        elif offset is not None:
            told = offset if self._random.random() < 0.8 else None
            self._complete(operation, Outcome.OK, Send(send.log, send.value, told))
        else:
            self._queues[operation.process, send.log].remove(operation)
            self._complete(operation, Outcome.FAIL, why="refused")

    def _read(self) -> None:
        reader = self._random.choice(sorted(self._positions))
        rebalanced: tuple[str, ...] = ()
        if reader == "group" and self._random.random() < 0.3:
            rebalanced = (self._random.choice(LOGS),)
            self._positions[reader][rebalanced[0]] = self._random.randint(0, self._logs[rebalanced[0]].end)
        self._poll(reader, self._random.randint(0, 5), rebalanced)

    def _poll(self, reader, most, rebalanced=()) -> bool:
        operation = self._invoke(reader, Poll())
        for _ in range(self._random.randint(0, 2)):
            self._take_up()
        positions = self._positions[reader]
        read = {log: self._logs[log].read(position, most) for log, position in positions.items()}
        for log, records in read.items():
            if records:
                positions[log] = records[-1][0] + 1
        self._complete(operation, Outcome.OK, Poll(read), rebalanced=rebalanced)
        return any(read.values())

    def _seek(self) -> None:
        starts: dict[str, int | None] = {}
        for log in self._random.sample(LOGS, self._random.randint(1, len(LOGS))):
            kept = self._positions["reader"].get(log)
            starts[log] = None if kept is not None and self._random.random() < 0.5 else self._random.randint(0, 9)
        positions = self._positions["reader"]
        self._positions["reader"] = {log: positions[log] if start is None else start for log, start in starts.items()}
        self._complete(self._invoke("reader", Assign(starts)), Outcome.OK)

    def _read_everything(self) -> None:
        self._queues = {key: deque() for key in self._queues}  # what was not taken up by now never is
        self._complete(self._invoke(FINAL_READER, Assign(dict.fromkeys(LOGS, 0))), Outcome.OK)
        self._positions[FINAL_READER] = dict.fromkeys(LOGS, 0)
        while self._poll(FINAL_READER, 3):
            pass
