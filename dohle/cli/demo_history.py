"""The demo's history: what its clients sent and read, as operations that the history checker judges.

A flight's value is its number in the file. That the rest of it came back unharmed is for `FlightCheck` to say.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from dohle.cli.flights import Flight
from dohle.client.fetched_batch import FetchedBatch
from dohle.client.producer import Receipt
from dohle.model.errors import DohleError
from dohle.model.ids import TopicPartition
from dohle.model.partitioner import partition_for
from dohle.testing.history.anomalies import Anomaly
from dohle.testing.history.history import History, check
from dohle.testing.history.history_lines import write_lines
from dohle.testing.history.operations import Assign, Operation, Outcome, Poll, Send


class DemoHistory:
    """Notes for one writer and the readers of `topic`, each of which is one process."""

    def __init__(self, topic: str, partitions: int) -> None:
        self.history = History()
        self._logs = [str(TopicPartition(topic, partition)) for partition in range(partitions)]
        self._began = time.monotonic()

    def sends(self, flight: Flight) -> Operation:
        """Call this before the flight is sent, and then `follow`."""
        log = self._logs[partition_for(flight.carrier, len(self._logs))]
        return self.history.invoke("writer", Send(log, _number(flight.value)), at_s=self._now())

    def follow(self, operation: Operation, receipt: Receipt) -> None:
        """Takes note of what becomes of a flight."""
        receipt.add_done_callback(partial(self._settled, operation))

    def reads_all(self, who: str = "reader") -> None:
        """Takes note that every partition is read from its beginning."""
        operation = self.history.invoke(who, Assign(dict.fromkeys(self._logs, 0)), at_s=self._now())
        self.history.complete(operation, Outcome.OK, at_s=self._now())

    def polled(self, batch: FetchedBatch, who: str = "reader") -> None:
        """Takes note of what a reader got."""
        operation = self.history.invoke(who, Poll(), at_s=self._now())
        records = [(record.offset, _number(record.value)) for record in batch.records()]
        self.history.complete(operation, Outcome.OK, Poll({self._logs[batch.partition]: records}), at_s=self._now())

    def lines(self) -> Iterator[str]:
        return write_lines(self.history)

    def anomalies(self) -> tuple[Anomaly, ...]:
        return tuple(check(self.history))

    def _settled(self, operation: Operation, receipt: Receipt) -> None:
        failure = receipt.exception()
        if failure is None:
            delivery = receipt.result()
            (sent,) = (micro for micro in operation.micro if isinstance(micro, Send))
            offset = delivery.offset if delivery.offset >= 0 else None
            send = Send(self._logs[delivery.partition], sent.value, offset)
            self.history.complete(operation, Outcome.OK, send, at_s=self._now())
        else:
            definite = isinstance(failure, DohleError) and failure.definite
            outcome = Outcome.FAIL if definite else Outcome.INFO
            self.history.complete(operation, outcome, at_s=self._now(), why=str(failure))

    def _now(self) -> float:
        return time.monotonic() - self._began


def _number(value: bytes | None) -> str:
    return (value or b"").partition(b",")[0].decode(errors="replace")
