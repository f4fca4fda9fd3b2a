"""Load whose history is kept, for the history checker: a writer, a reader along the way, and one in the end."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

from dohle import Admin, Consumer, Producer
from dohle.cli.demo_history import DemoHistory
from dohle.cli.flights import Flight
from dohle.model.errors import DohleError
from dohle.testing.history.anomalies import Anomaly

_TURN_S = 0.01
_LOOK_S = 0.001
_EACH_TURN = 6
_KEYS = 16
_PADDING = b"." * 400


class NotedLoad:
    """Runs from `async with` to its end, which delivers what is under way. Makes its topic.

    acks=all, idempotent. Not `is_safe`: the writer ends where it is refused, and nobody reads along.
    """

    def __init__(self, bootstrap: str, topic: str, *, partitions: int = 3, is_safe: bool = True) -> None:
        self.topic = topic
        self.notes = DemoHistory(topic, partitions)
        self._bootstrap = bootstrap
        self._partitions = partitions
        self._delivery_timeout_ms = 300_000 if is_safe else 5000
        self._is_safe = is_safe
        self._over = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> NotedLoad:
        async with Admin(self._bootstrap) as admin:
            await admin.create_topic(
                self.topic, partitions=self._partitions, replication_factor=3, configs={"min.insync.replicas": "2"}
            )
        self._tasks = [asyncio.create_task(self._write())]
        if self._is_safe:
            self._tasks.append(asyncio.create_task(self._watch()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        if error is None:
            await self._tasks[0]
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if error is None and isinstance(outcome, Exception):
                raise outcome

    @property
    def acknowledged(self) -> int:
        return self.notes.history.acknowledged

    async def reached(self, count: int, within_s: float = 90) -> None:
        """Returns once so many more records were acknowledged than now."""
        goal, began = self.acknowledged + count, time.monotonic()
        while self.acknowledged < goal:
            assert time.monotonic() - began < within_s, f"{self.acknowledged} of {goal} acknowledged after {within_s} s"
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(_LOOK_S)

    async def _write(self) -> None:
        producer = Producer(
            self._bootstrap,
            linger_ms=2,
            request_timeout_ms=self._delivery_timeout_ms // 10,
            delivery_timeout_ms=self._delivery_timeout_ms,
            max_block_ms=self._delivery_timeout_ms,
        )
        async with producer:
            try:
                await self._send_all(producer)
            except DohleError:
                if self._is_safe:
                    raise

    async def _send_all(self, producer: Producer) -> None:
        number = 0
        while not self._over:
            for _ in range(_EACH_TURN):
                record = Flight(b"k%d" % (number % _KEYS), b"%d,%s" % (number, _PADDING))
                operation = self.notes.sends(record)
                self.notes.follow(operation, await producer.send(self.topic, record.value, key=record.carrier))
                number += 1
            await asyncio.sleep(_TURN_S)

    async def _watch(self) -> None:
        async with Consumer(self._bootstrap) as consumer:
            await consumer.assign(self.topic)
            self.notes.reads_all("watcher")
            async for batch in consumer.batches():
                self.notes.polled(batch, "watcher")

    async def anomalies(self) -> tuple[Anomaly, ...]:
        """Reads everything back, and returns all that the history shows and no log may show."""
        async with Consumer(self._bootstrap) as consumer:
            await consumer.assign(self.topic)
            left = sum((await consumer.end_offsets()).values())
            self.notes.reads_all()
            batches = consumer.batches()
            async with asyncio.timeout(120):
                while left:
                    batch = await anext(batches)
                    self.notes.polled(batch)
                    left -= len(list(batch.records()))
        return self.notes.anomalies()
