"""A client of the cluster that keeps the history of what it did: it runs on the host, and in a container.

    worker.py work NAME BOOTSTRAP TOPIC PARTITIONS     writes and reads along until SIGTERM
    worker.py read NAME BOOTSTRAP TOPIC PARTITIONS     reads everything from the beginning to where it ends now

It says on stderr how many of its records are acknowledged, and prints its history in the end, as lines of JSON
(dohle.testing.history.history_lines). Times are of the machine's monotonic clock, which all containers share, so that
histories of several workers can be put together. It needs nothing but `dohle`.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from functools import partial

from dohle import Consumer, Producer, TopicPartition
from dohle.client.producer import Receipt
from dohle.model.errors import DohleError
from dohle.testing.history.history import History
from dohle.testing.history.history_lines import write_lines
from dohle.testing.history.operations import Assign, Operation, Outcome, Poll, Send

_PATIENCE_MS = 300_000
_PAUSE_S = 0.005


class Worker:
    def __init__(self, name: str, bootstrap: str, topic: str, partitions: str) -> None:
        self.history = History()
        self._name, self._bootstrap, self._topic = name, bootstrap, topic
        self._logs = [str(TopicPartition(topic, number)) for number in range(int(partitions))]

    async def work(self) -> None:
        over = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
        along = asyncio.create_task(self._read_along())
        await self._write(over)
        along.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await along

    async def _write(self, over: asyncio.Event) -> None:
        settings = {"delivery_timeout_ms": _PATIENCE_MS, "max_block_ms": _PATIENCE_MS}
        async with Producer(self._bootstrap, linger_ms=2, request_timeout_ms=5000, **settings) as producer:
            number = 0
            while not over.is_set():
                partition = number % len(self._logs)
                value = f"{self._name}-{number}"
                sent = self.history.invoke(
                    f"{self._name}-writer", Send(self._logs[partition], value), at_s=time.monotonic()
                )
                receipt = await producer.send(self._topic, value.encode(), partition=partition)
                receipt.add_done_callback(partial(self._settled, sent))
                number += 1
                await asyncio.sleep(_PAUSE_S)

    def _settled(self, operation: Operation, receipt: Receipt) -> None:
        (sent,) = operation.micro
        assert isinstance(sent, Send)
        now, failure = time.monotonic(), receipt.exception()
        if failure is None:
            offset = receipt.result().offset
            known = sent._replace(offset=offset if offset >= 0 else None)
            self.history.complete(operation, Outcome.OK, known, at_s=now)
            print(self.history.acknowledged, file=sys.stderr, flush=True)
        else:
            definite = isinstance(failure, DohleError) and failure.definite
            outcome = Outcome.FAIL if definite else Outcome.INFO
            self.history.complete(operation, outcome, at_s=now, why=str(failure))

    async def _read_along(self) -> None:
        async with Consumer(self._bootstrap) as consumer:
            await consumer.assign(self._topic)
            self._assigned("watcher")
            async for batch in consumer.batches():
                self._polled("watcher", batch)

    async def read(self) -> None:
        async with Consumer(self._bootstrap) as consumer:
            await consumer.assign(self._topic)
            left = sum((await consumer.end_offsets()).values())
            self._assigned("reader")
            batches = consumer.batches()
            while left > 0:
                left -= self._polled("reader", await anext(batches))

    def _assigned(self, who: str) -> None:
        now = time.monotonic()
        operation = self.history.invoke(f"{self._name}-{who}", Assign(dict.fromkeys(self._logs, 0)), at_s=now)
        self.history.complete(operation, Outcome.OK, at_s=now)

    def _polled(self, who: str, batch) -> int:
        now = time.monotonic()
        records = [(record.offset, record.value.decode()) for record in batch.records()]
        operation = self.history.invoke(f"{self._name}-{who}", Poll(), at_s=now)
        self.history.complete(operation, Outcome.OK, Poll({self._logs[batch.partition]: records}), at_s=now)
        return len(records)


def main(what: str, *arguments: str) -> None:
    worker = Worker(*arguments)
    asyncio.run({"work": worker.work, "read": worker.read}[what]())
    for line in write_lines(worker.history):
        print(line)


if __name__ == "__main__":
    main(*sys.argv[1:])
