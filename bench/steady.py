"""A steady load that can be judged: 1,000 records a second to a topic's partitions in turn with acks=all, each of its
own value.

Kept are the times for which a partition owed an acknowledgement and gave none, each record's latency from when it was
due, and what was acknowledged where. `lost_or_doubled` reads everything back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from types import TracebackType

from dohle.client.consumer import Consumer
from dohle.client.producer import Producer, Receipt
from dohle.model.ids import TopicPartition

RECORDS_PER_S = 1000
GAP_S = 0.02
"""Shorter times without an acknowledgement that was due are no gaps."""
_PADDING = b"." * 92


class SteadyLoad:
    """Writes from `async with` on until its end, which waits for what is under way."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.topic = topic
        self._bootstrap = bootstrap
        self._gaps: list[float] = []
        self._latencies: list[tuple[int, float]] = []  # with their partitions
        self._last: dict[int, float] = {}
        self._acknowledged: dict[tuple[int, int], bytes] = {}
        self._over = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None

    @property
    def records(self) -> int:
        """How many were acknowledged."""
        return len(self._acknowledged)

    async def __aenter__(self) -> SteadyLoad:
        self._writing = asyncio.create_task(self._write())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._writing is not None
        self._over.set()
        if error is not None:
            self._writing.cancel()
        await asyncio.gather(self._writing, return_exceptions=error is not None)

    def mark(self) -> None:
        """What `gaps_s` and `latencies_s` give begins here."""
        self._gaps.clear()
        self._latencies.clear()

    @property
    def gaps_s(self) -> list[float]:
        """The gaps that ended since the mark, the longest last."""
        return sorted(self._gaps)

    @property
    def latencies_s(self) -> list[float]:
        """From when a record was due to its acknowledgement, of those acknowledged since the mark; the longest last."""
        return self.latencies_without(-1)

    def latencies_without(self, partition: int) -> list[float]:
        """Returns the same, but for one partition."""
        return sorted(took_s for other, took_s in self._latencies if other != partition)

    async def _write(self) -> None:
        async with Producer(self._bootstrap) as producer:
            partitions = await producer.partitions(self.topic)
            began, number = time.perf_counter(), 0
            while not self._over.is_set():
                while (due := began + number / RECORDS_PER_S) <= time.perf_counter():
                    value = b"%d:%s" % (number, _PADDING)
                    receipt = await producer.send(self.topic, value, partition=number % partitions)
                    receipt.add_done_callback(lambda receipt, value=value, due=due: self._note(receipt, value, due))
                    number += 1
                await asyncio.sleep(0.001)
            await producer.flush()

    def _note(self, receipt: Receipt, value: bytes, due: float) -> None:
        delivery = receipt.result()  # raises what failed
        now = time.perf_counter()
        gap = now - max(self._last.get(delivery.partition, due), due)  # of many partitions most are owed nothing
        self._last[delivery.partition] = now
        self._latencies.append((delivery.partition, now - due))
        if gap > GAP_S:
            self._gaps.append(gap)
        self._acknowledged[delivery.partition, delivery.offset] = value

    async def lost_or_doubled(self) -> int:
        """Reads the topic; returns how many acknowledged records are not in their place, or stand in two."""
        found: dict[tuple[int, int], bytes] = {}
        async with Consumer(self._bootstrap) as consumer:
            await consumer.assign(self.topic)
            ends = await consumer.end_offsets(*consumer.assignment())
            left = {partition for partition, end in ends.items() if end}
            while left:
                for record in await consumer.batch(5000):
                    found[record.partition, record.offset] = record.value or b""
                    partition = TopicPartition(self.topic, record.partition)
                    if record.offset + 1 >= ends[partition]:
                        left.discard(partition)
        lost = sum(found.get(place) != value for place, value in self._acknowledged.items())
        return lost + len(found) - len(set(found.values()))


def p99(sorted_values: Sequence[float]) -> float:
    """Returns the 99th percentile; 0 of nothing."""
    return sorted_values[int(0.99 * (len(sorted_values) - 1))] if sorted_values else 0.0
