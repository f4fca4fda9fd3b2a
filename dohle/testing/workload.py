"""Workload: clients that write keyed records and read along, and note what they did in a history.

The settings are those under which nothing may be lost: acks=all and idempotent producers.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from dohle.client.admin import Admin
from dohle.client.consumer import Consumer
from dohle.client.producer import Producer, Receipt
from dohle.model.errors import DohleError, TopicAlreadyExists
from dohle.model.ids import TopicPartition
from dohle.testing.history import History, Place, Send
from dohle.testing.process import SimProcess
from dohle.testing.world import World

TOPIC = "t"


@dataclass(frozen=True, slots=True)
class Mix:
    """What a seed's clients do."""

    partitions: int
    writers: int
    keys_each: int
    records_per_s: float  # of each writer, on average
    linger_ms: int
    delivery_timeout_ms: int
    segment_ms: int

    @classmethod
    def drawn(cls, chance: Random) -> Mix:
        return cls(
            partitions=chance.randint(1, 6),
            writers=chance.randint(1, 3),
            keys_each=chance.randint(1, 6),
            records_per_s=chance.choice((10, 20, 40)),
            linger_ms=chance.choice((0, 0, 5, 50)),
            delivery_timeout_ms=chance.choice((5_000, 20_000, 120_000)),
            segment_ms=chance.choice((500, 5_000, 86_400_000)),
        )


def seams_of(process: SimProcess) -> dict[str, Any]:
    """Returns what an SDK client needs to live in `process`."""
    return {"network": process.network, "clock": process.clock, "random": process.random}


class Workload:
    """The clients of one run."""

    def __init__(self, world: World, mix: Mix) -> None:
        self.history = History()
        self._world = world
        self._mix = mix
        self._over = False
        self._writing = 0
        self.made = False

    def start(self) -> None:
        """Makes the topic, then starts writers and a reader."""
        maker = self._world.client("maker")
        maker.spawn(self._make(maker), "topic")

    async def stop(self) -> None:
        """Ends the writers, each once what it sent was delivered or has failed."""
        self._over = True
        patience_s = self._mix.delivery_timeout_ms / 1000 + 30
        await self._world.until(lambda: not self._writing, patience_s, "every writer has flushed")

    async def _make(self, process: SimProcess) -> None:
        configs = {"min.insync.replicas": "2", "segment.ms": str(self._mix.segment_ms)}
        async with Admin(self._world.bootstrap, **seams_of(process)) as admin:
            while not self.made:
                try:
                    await admin.create_topic(
                        TOPIC, partitions=self._mix.partitions, replication_factor=3, configs=configs
                    )
                    self.made = True
                except TopicAlreadyExists:
                    self.made = True
                except DohleError as error:  # the storm has begun
                    if not error.retriable:
                        raise
                    await process.clock.sleep(0.5)
        for number in range(self._mix.writers):
            writer = self._world.client(f"writer{number}")
            self._writing += 1
            writer.spawn(self._write(writer, number), "write")
        reader = self._world.client("reader")
        reader.spawn(self._read(reader), "read")

    async def _write(self, process: SimProcess, writer: int) -> None:
        mix, chance, number = self._mix, process.random, 0
        async with Producer(
            self._world.bootstrap,
            linger_ms=mix.linger_ms,
            delivery_timeout_ms=mix.delivery_timeout_ms,
            request_timeout_ms=4_000,
            max_block_ms=120_000,
            **seams_of(process),
        ) as producer:
            while not self._over:
                for _ in range(chance.choice((1, 1, 1, 5))):
                    key = b"%d-%d" % (writer, chance.randrange(mix.keys_each))
                    number += 1
                    await self._send(producer, key, number, chance)
                await process.clock.sleep(chance.expovariate(mix.records_per_s / 2))
        self._writing -= 1

    async def _send(self, producer: Producer, key: bytes, number: int, chance: Random) -> None:
        value = b"%s:%d:" % (key, number) + b"." * chance.choice((0, 100, 100, 1500))
        send = self.history.sent(key, value, number)
        try:
            receipt = await producer.send(TOPIC, value, key=key)
        except DohleError as error:
            send.refused = str(error)
            return
        receipt.add_done_callback(lambda receipt: _note(send, receipt))

    async def _read(self, process: SimProcess) -> None:
        expected: dict[int, int] = {}
        async with Consumer(self._world.bootstrap, **seams_of(process)) as consumer:
            while not consumer.assignment():
                try:
                    await consumer.assign(TOPIC)
                except DohleError:
                    await process.clock.sleep(0.5)
            async for record in consumer:
                assert record.value is not None
                place = Place(record.partition, record.offset)
                self.history.polled(place, record.value, expected.get(record.partition, 0))
                expected[record.partition] = record.offset + 1

    async def read_all(self) -> None:
        """Has a fresh consumer read every partition to its end, into the history's final state."""
        process = self._world.client("final reader")
        done: list[None] = []

        async def read() -> None:
            async with Consumer(self._world.bootstrap, **seams_of(process)) as consumer:
                await consumer.assign(TOPIC)
                ends = await consumer.end_offsets(*consumer.assignment())
                left = {partition.partition for partition, end in ends.items() if end}
                while left:
                    for record in await consumer.batch(5000):
                        assert record.value is not None
                        self.history.final[Place(record.partition, record.offset)] = record.value
                        if record.offset + 1 >= ends[TopicPartition(TOPIC, record.partition)]:
                            left.discard(record.partition)
            done.append(None)

        process.spawn(read(), "read")
        await self._world.until(lambda: bool(done), 60, "a fresh consumer has read everything")


def _note(send: Send, receipt: Receipt) -> None:
    failure = receipt.exception()
    if failure is None:
        delivery = receipt.result()
        send.acknowledged = Place(delivery.partition, delivery.offset)
    else:
        assert isinstance(failure, DohleError), failure
        if failure.definite:
            send.refused = str(failure)
