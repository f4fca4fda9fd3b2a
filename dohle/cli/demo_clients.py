"""Who writes and reads the demo's flights: what any client must do for it, and Dohle's own one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from dohle.cli.demo_history import DemoHistory
from dohle.cli.flights import Flight
from dohle.client.consumer import Consumer
from dohle.client.producer import Producer, Receipt
from dohle.model.errors import BufferFull

TOPIC = "flights"
PARTITIONS = 6
YIELD_EVERY = 200
"""After how many flights a client lets others run, and shows how far it is."""

Show = Callable[[int], object]
Records = list[tuple[bytes | None, bytes | None]]
"""Keys and values."""


class Acknowledgements:
    """Counts acknowledgements, and the longest time between two of them, by partition."""

    def __init__(self, half: int) -> None:
        self.count = 0
        self.failures: list[object] = []
        self.longest_gaps_s: dict[int, float] = {}
        self.by_partition: dict[int, int] = {}
        self.half_done = asyncio.Event()
        self._half = half
        self._last: dict[int, float] = {}

    def failed(self, why: object) -> None:
        self.failures.append(why)

    def came(self, partition: int) -> None:
        now = time.monotonic()
        gap = now - self._last.get(partition, now)
        self._last[partition] = now
        if gap >= self.longest_gaps_s.get(partition, 0.0):
            self.longest_gaps_s[partition] = gap
        self.by_partition[partition] = self.by_partition.get(partition, 0) + 1
        self.count += 1
        if self.count >= self._half:
            self.half_done.set()


class DemoClient(Protocol):
    """A client, for the topic TOPIC, which exists."""

    async def load(self, flights: Sequence[Flight], acknowledgements: Acknowledgements, show: Show) -> float:
        """Writes all flights with acks=all, each carrier's in their order; returns once the fate of each is noted, with
        the seconds that it took."""
        ...

    async def ends(self) -> dict[int, int]:
        """Returns the high watermark of each partition."""
        ...

    def read(self) -> AsyncIterator[Records]:
        """Yields the records of all partitions from their beginning, for ever."""
        ...


class OwnClient:
    """Dohle's own. With `notes`, all that it does is noted."""

    def __init__(self, bootstrap: str, notes: DemoHistory | None) -> None:
        self._bootstrap = bootstrap
        self._notes = notes

    async def load(self, flights: Sequence[Flight], acknowledgements: Acknowledgements, show: Show) -> float:
        def note(receipt: Receipt) -> None:
            failure = receipt.exception()
            if failure is not None:
                acknowledgements.failed(failure)
            else:
                acknowledgements.came(receipt.result().partition)

        notes = self._notes
        async with Producer(self._bootstrap, acks="all", linger_ms=5, client_id="dohle-demo") as producer:
            await producer.partitions(TOPIC)
            began = time.monotonic()
            for number, flight in enumerate(flights):
                operation = notes.sends(flight) if notes is not None else None
                try:
                    receipt = producer.send_nowait(TOPIC, flight.value, key=flight.carrier)
                except BufferFull:
                    receipt = await producer.send(TOPIC, flight.value, key=flight.carrier)
                receipt.add_done_callback(note)
                if notes is not None and operation is not None:
                    notes.follow(operation, receipt)
                if number % YIELD_EVERY == 0:
                    await asyncio.sleep(0)
                    show(acknowledgements.count)
            await producer.flush()
            return time.monotonic() - began

    async def ends(self) -> dict[int, int]:
        async with Consumer(self._bootstrap, client_id="dohle-demo") as consumer:
            await consumer.assign(TOPIC)
            ends = await consumer.end_offsets(*consumer.assignment())
        return {partition.partition: end for partition, end in sorted(ends.items())}

    async def read(self) -> AsyncIterator[Records]:
        async with Consumer(self._bootstrap, client_id="dohle-demo") as consumer:
            await consumer.assign(TOPIC)
            if self._notes is not None:
                self._notes.reads_all()
            async for batch in consumer.batches():
                if self._notes is not None:
                    self._notes.polled(batch)
                yield [(record.key, record.value) for record in batch.records()]
