"""Load that can be judged: keyed records, each of its own value, what became of them, and what a reader saw meanwhile.

Writers use the settings under which nothing may be lost: acks=all, idempotent. `Load.check` reads everything back and
looks for what a log must never show: an acknowledged record that is missing, or elsewhere than its acknowledgement
said; a record twice; one that certainly was not written; a key's records out of order; an offset at which the reader
along the way saw something else.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

from dohle import Admin, Consumer, Producer
from dohle.client.producer import Receipt
from dohle.model.errors import DohleError
from dohle.model.ids import TopicPartition

_TURN_S = 0.01
_PADDING = b"." * 80
_READ_PATIENCE_S = 60.0

Place = tuple[int, int]
"""Partition and offset."""


class Load:
    """Runs from `async with` to its end, which delivers what is under way. Makes its topic."""

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        *,
        partitions: int = 6,
        writers: int = 2,
        keys_each: int = 8,
        records_per_s: int = 1500,
        delivery_timeout_ms: int = 60_000,
    ) -> None:
        self.topic = topic
        self.acknowledged: dict[bytes, Place] = {}
        self.refused: dict[bytes, DohleError] = {}  # certainly not written
        self.doubtful: dict[bytes, DohleError] = {}  # perhaps
        self.sent = 0
        self.longest_gap_s = 0.0  # between two acknowledgements of one partition
        self._bootstrap = bootstrap
        self._partitions = partitions
        self._writers = writers
        self._keys_each = keys_each
        self._each_turn = max(1, int(records_per_s * _TURN_S / writers))
        self._delivery_timeout_ms = delivery_timeout_ms
        self._seen: dict[Place, bytes] = {}
        self._last: dict[int, float] = {}
        self._over = False
        self._writing: list[asyncio.Task[None]] = []
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Load:
        async with Admin(self._bootstrap) as admin:
            await admin.create_topic(
                self.topic, partitions=self._partitions, replication_factor=3, configs={"min.insync.replicas": "2"}
            )
        self._watching = asyncio.create_task(self._watch())
        self._writing = [asyncio.create_task(self._write(number)) for number in range(self._writers)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        assert self._watching is not None
        tasks = [*self._writing, self._watching]
        if error is not None:
            for task in tasks:
                task.cancel()
        else:
            await asyncio.gather(*self._writing)
            await asyncio.sleep(0)  # lets the last callbacks run
            self._watching.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if error is None and isinstance(outcome, Exception):
                raise outcome

    async def reached(self, count: int) -> None:
        """Returns once so many more records were acknowledged than now."""
        goal = len(self.acknowledged) + count
        began = time.monotonic()
        while len(self.acknowledged) < goal:
            assert time.monotonic() - began < 45, f"{len(self.acknowledged)} of {goal} acknowledged after 45 s"
            for task in self._writing:
                if task.done():
                    task.result()
            await asyncio.sleep(_TURN_S)

    async def _write(self, writer: int) -> None:
        keys = [b"%d-%d" % (writer, number) for number in range(self._keys_each)]
        number = 0
        async with Producer(
            self._bootstrap, linger_ms=5, delivery_timeout_ms=self._delivery_timeout_ms, max_block_ms=45_000
        ) as producer:
            while not self._over:
                for _ in range(self._each_turn):
                    key = keys[number % len(keys)]
                    value = b"%s:%d:%s" % (key, number, _PADDING)
                    receipt = await producer.send(self.topic, value, key=key)
                    receipt.add_done_callback(lambda receipt, value=value: self._note(value, receipt))
                    number += 1
                    self.sent += 1
                await asyncio.sleep(_TURN_S)

    def _note(self, value: bytes, receipt: Receipt) -> None:
        failure = receipt.exception()
        if failure is None:
            delivery = receipt.result()
            self.acknowledged[value] = (delivery.partition, delivery.offset)
            now = time.monotonic()
            self.longest_gap_s = max(self.longest_gap_s, now - self._last.get(delivery.partition, now))
            self._last[delivery.partition] = now
            return
        assert isinstance(failure, DohleError), failure
        (self.refused if failure.definite else self.doubtful)[value] = failure

    async def _watch(self) -> None:
        """Reads along, and notes where it saw what."""
        expected: dict[int, int] = {}
        async with Consumer(self._bootstrap) as consumer:
            await consumer.assign(self.topic)
            async for record in consumer:
                assert record.offset == expected.get(record.partition, 0), (
                    f"{self.topic}-{record.partition}: read offset {record.offset} after"
                    f" {expected.get(record.partition, 0) - 1}"
                )
                expected[record.partition] = record.offset + 1
                assert record.value is not None
                self._seen[record.partition, record.offset] = record.value

    async def check(self) -> None:
        """Reads everything back and judges it. Every record was acknowledged or has failed by now."""
        assert len(self.acknowledged) + len(self.refused) + len(self.doubtful) == self.sent
        found = await read_all(self._bootstrap, self.topic)
        places: dict[bytes, Place] = {}
        for place, value in found.items():
            assert value not in places, f"{value[:20]!r} is at {places[value]} and at {place}"
            places[value] = place
        for value, place in self.acknowledged.items():
            assert value in places, f"{value[:20]!r}, acknowledged at {place}, is lost"
            assert place[1] == -1 or places[value] == place, f"{value[:20]!r} is at {places[value]}, not at {place}"
        for value in places:
            assert value not in self.refused, f"{value[:20]!r} was written, though: {self.refused[value]}"
        for place, value in self._seen.items():
            assert found.get(place) == value, f"at {place} a reader saw {value[:20]!r}; now {found.get(place)!r}"
        assert self._seen, "the reader along the way saw nothing"
        self._check_order(found)

    def _check_order(self, found: dict[Place, bytes]) -> None:
        last: dict[bytes, int] = {}
        homes: dict[bytes, int] = {}
        for (partition, offset), value in sorted(found.items()):
            key, number, _ = value.split(b":")
            assert homes.setdefault(key, partition) == partition, f"key {key!r} is in two partitions"
            assert int(number) > last.get(key, -1), f"key {key!r}: {number!r} at {offset} follows {last[key]}"
            last[key] = int(number)


async def read_all(bootstrap: str, topic: str) -> dict[Place, bytes]:
    """Returns every record's value by its place, read by a fresh consumer up to where the partitions end now."""
    found: dict[Place, bytes] = {}
    async with Consumer(bootstrap) as consumer:
        await consumer.assign(topic)
        ends = await consumer.end_offsets(*consumer.assignment())
        left = {partition for partition, end in ends.items() if end}
        async with asyncio.timeout(_READ_PATIENCE_S):
            while left:
                for record in await consumer.batch(5000):
                    assert record.value is not None
                    found[record.partition, record.offset] = record.value
                    partition = TopicPartition(topic, record.partition)
                    if record.offset + 1 >= ends[partition]:
                        left.discard(partition)
    return found


async def write_some(bootstrap: str, topic: str, count: int, *, prefix: str = "r") -> list[bytes]:
    """Writes `count` records over all partitions; returns their values."""
    values = [f"{prefix}{number}".encode() for number in range(count)]
    async with Producer(bootstrap) as producer:
        receipts = [await producer.send(topic, value, key=value) for value in values]
        await asyncio.gather(*(_delivered(receipt) for receipt in receipts))
    return values


async def _delivered(receipt: Receipt) -> None:
    await receipt
