"""Overwriters: simulated clients that write few keys of a compacted topic over and over, delete some, and read along.

A header of each record says which write it is, so that tombstones are told apart, too. What a read from the beginning
shows must have been written; what the last of them shows, when all is calm, `LastValues` judges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random

from dohle.client.consumer import Consumer
from dohle.client.producer import Producer, Receipt
from dohle.model.errors import DohleError
from dohle.model.ids import TopicPartition
from dohle.model.partitioner import partition_for
from dohle.testing.clients.sim_client import SimClient
from dohle.testing.history.last_values import Found, LastValues, Write
from dohle.testing.history.operations import Outcome

TOPIC = "compact"
HEADER = "write"
"""Has the token of the write."""
_LARGEST_BURST = 6
_TOMBSTONES = 0.25
_LEFT_ALONE = 0.15
"""How often a write of a key is its last one, which compactions then meet again and again."""
_PADDING = (0, 0, 100, 800)
_READ_EVERY_S = 8.0
_RETRY_S = 0.5
_POLL_MS = 1_000


@dataclass(frozen=True, slots=True)
class Compacted:
    """A topic that is compacted, and what is done with it."""

    policy: str
    partitions: int
    segment_ms: int
    dirty_ratio: str
    delete_retention_ms: int
    min_lag_ms: int
    retention_bytes: int  # where the policy names delete
    backoff_ms: int  # of the brokers' cleaners
    memory_bytes: int  # likewise
    writers: int
    keys_each: int
    records_per_s: float  # of all writers, on average
    compression: str
    delivery_timeout_ms: int
    operating_every_s: float  # on average; its replicas move; 0: never

    @classmethod
    def drawn(cls, chance: Random) -> Compacted:
        return cls(
            policy=chance.choice(("compact", "compact", "compact,delete")),
            partitions=chance.randint(1, 3),
            segment_ms=chance.choice((300, 1_000, 3_000)),
            dirty_ratio=chance.choice(("0.01", "0.01", "0.3")),
            delete_retention_ms=chance.choice((0, 1_000, 4_000)),
            min_lag_ms=chance.choice((0, 0, 2_000)),
            retention_bytes=chance.choice((1_000, 4_000)),
            backoff_ms=chance.choice((700, 2_000)),
            memory_bytes=chance.choice((1 << 20, 1 << 27)),
            writers=chance.randint(1, 2),
            keys_each=chance.randint(2, 6),
            records_per_s=chance.choice((3, 5)),
            compression=chance.choice(("none", "none", "gzip", "snappy", "lz4", "zstd")),
            delivery_timeout_ms=chance.choice((5_000, 20_000)),
            operating_every_s=chance.choice((0.0, 4.0)),
        )

    @property
    def configs(self) -> dict[str, str]:
        configs = {
            "cleanup.policy": self.policy,
            "segment.ms": str(self.segment_ms),
            "min.cleanable.dirty.ratio": self.dirty_ratio,
            "delete.retention.ms": str(self.delete_retention_ms),
            "min.compaction.lag.ms": str(self.min_lag_ms),
            "file.delete.delay.ms": "1000",
        }
        return {**configs, "retention.bytes": str(self.retention_bytes)} if self.is_retained_little else configs

    @property
    def is_retained_little(self) -> bool:
        return "delete" in self.policy


class Overwriter:
    """One that writes."""

    def __init__(self, client: SimClient, plan: Compacted, values: LastValues) -> None:
        self._client = client
        self._plan = plan
        self._values = values
        self._name = client.process.name.encode()
        self._keys = [b"%s-%d" % (self._name, number) for number in range(plan.keys_each)]
        self._bursts_per_s = plan.records_per_s / plan.writers / ((1 + _LARGEST_BURST) / 2)
        self._number = 0

    async def run(self, over: Callable[[], bool]) -> None:
        chance = self._client.random
        async with Producer(
            self._client.bootstrap,
            linger_ms=5,
            compression=self._plan.compression,
            delivery_timeout_ms=self._plan.delivery_timeout_ms,
            request_timeout_ms=4_000,
            max_block_ms=120_000,
            **self._client.seams,
        ) as producer:
            while not over():
                for _ in range(chance.randint(1, _LARGEST_BURST)):
                    await self._send(producer, self._next_key())
                await self._client.clock.sleep(chance.expovariate(self._bursts_per_s))

    def _next_key(self) -> bytes:
        chance = self._client.random
        at = chance.randrange(len(self._keys))
        key = self._keys[at]
        if chance.random() < _LEFT_ALONE:
            self._keys[at] = b"%s-%d" % (self._name, len(self._keys) + self._number)
        return key

    async def _send(self, producer: Producer, key: bytes) -> None:
        chance = self._client.random
        self._number += 1
        token = b"%s:%d" % (self._name, self._number)
        value = None if chance.random() < _TOMBSTONES else token + b"." * chance.choice(_PADDING)
        log = str(TopicPartition(TOPIC, partition_for(key, self._plan.partitions)))
        write = self._values.write(Write(log, key, value, token))
        try:
            receipt = await producer.send(TOPIC, value, key=key, headers=[(HEADER, token)])
        except DohleError:  # it was not taken
            write.outcome = Outcome.FAIL
            return
        receipt.add_done_callback(partial(_delivered, write))


def _delivered(write: Write, receipt: Receipt) -> None:
    failure = receipt.exception()
    if failure is None:
        delivery = receipt.result()
        write.outcome, write.offset = Outcome.OK, delivery.offset if delivery.offset >= 0 else None
    else:
        assert isinstance(failure, DohleError), failure
        write.outcome = Outcome.FAIL if failure.definite else Outcome.INFO


class Overreader:
    """One that reads all of it, again and again."""

    def __init__(self, client: SimClient, values: LastValues) -> None:
        self._client = client
        self._values = values

    async def run(self, over: Callable[[], bool]) -> None:
        clock = self._client.clock
        while not over():
            for log, read in (await self._read(over)).items():
                _expect_nothing(self._values.never_written(log, read))
            until = clock.now() + self._client.random.expovariate(1 / _READ_EVERY_S)
            while clock.now() < until and not over():
                await clock.sleep(_RETRY_S)

    async def judge(self, starts: Callable[[], Mapping[str, int]]) -> None:
        """Reads everything once more, after all writes. `starts`: by log, the greatest offset at which it began."""
        for log, read in (await self._read(lambda: False)).items():
            _expect_nothing(self._values.never_written(log, read))
            _expect_nothing(self._values.not_the_last(log, read, starts().get(log, 0)))

    async def _read(self, over: Callable[[], bool]) -> dict[str, list[Found]]:
        """Reads each partition from its beginning to where it ends. Until it is over: then it may have read less."""
        read: dict[str, list[Found]] = {}
        while not over():
            read.clear()
            try:
                async with Consumer(self._client.bootstrap, **self._client.seams) as consumer:
                    await self._read_to_end(consumer, read, over)
                break
            except DohleError:  # nobody answers, who does has not heard of the topic, or the one sound copy has rotted
                await self._client.clock.sleep(_RETRY_S)
        return read

    async def _read_to_end(self, consumer: Consumer, read: dict[str, list[Found]], over: Callable[[], bool]) -> None:
        await consumer.assign(TOPIC)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets()
        left = [name for name in ends if ends[name]]
        read.update((str(name), []) for name in ends)
        while left and not over():
            for one in await consumer.batch(timeout_ms=_POLL_MS):
                token = dict(one.headers)[HEADER]
                assert one.key is not None
                assert token is not None
                read[str(TopicPartition(one.topic, one.partition))].append(Found(one.offset, one.key, one.value, token))
            left = [name for name in left if await consumer.position(name) < ends[name]]


def _expect_nothing(complaints: Iterable[str]) -> None:
    found = list(complaints)
    assert not found, "\n".join(found)
