"""LibrdkafkaClient: librdkafka, by confluent-kafka, as a LogClient.

Its calls block: each consumer has a thread of its own, each producer one that serves what was delivered. What is heard
there is told in the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from dohle.model.ids import TopicPartition
from dohle.testing.chaos.workloads.log_client import Failure, Headers, ProducerPlan, Record, Settled

_REQUEST_TIMEOUT_MS = 10_000
_SESSION_TIMEOUT_MS = 10_000
_MAX_POLL_INTERVAL_MS = 20_000
_POLL_S = 0.1
_FULL_S = 0.01
T = TypeVar("T")


class LibrdkafkaClient:
    """`bootstrap` is of nodes' Kafka listeners."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def producer(self, plan: ProducerPlan) -> LibrdkafkaProducer:
        return LibrdkafkaProducer(self._bootstrap, plan)

    def consumer(self, group: str | None = None) -> LibrdkafkaConsumer:
        return LibrdkafkaConsumer(self._bootstrap, group)

    def stand_still(self, seconds: float) -> None:
        time.sleep(seconds)

    async def close(self) -> None:
        """What it made is closed by who had it made."""


class LibrdkafkaProducer:
    def __init__(self, bootstrap: str, plan: ProducerPlan) -> None:
        self._loop = asyncio.get_running_loop()
        self._producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": bootstrap,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": plan.linger_ms,
                "compression.type": plan.compression,
                # Never: it takes messages whose time is over out of a batch that was sent, and sends the rest anew in
                # another epoch, where no broker can know it. What the first attempt had written is there twice then.
                "delivery.timeout.ms": 0,
                "request.timeout.ms": min(_REQUEST_TIMEOUT_MS, plan.delivery_timeout_ms),
            }
        )
        self._over = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    async def send(
        self,
        partition: TopicPartition,
        value: bytes | None,
        settled: Settled,
        *,
        key: bytes | None = None,
        headers: Headers = (),
    ) -> None:
        deliver = partial(self._delivered, settled)
        while True:
            try:
                self._producer.produce(
                    partition.topic, value, key, partition.partition, on_delivery=deliver, headers=list(headers) or None
                )
                return
            except BufferError:  # its queue is full, and this one was not put there
                await asyncio.sleep(_FULL_S)
            except KafkaException as error:  # nor was it here
                raise Failure(str(error), definite=True) from error

    async def flush(self) -> None:
        while len(self._producer):
            await asyncio.sleep(_FULL_S)
        await asyncio.sleep(0)  # for what the thread has told last

    async def close(self) -> None:
        self._over = True
        await asyncio.to_thread(self._thread.join)

    def _serve(self) -> None:
        while not self._over:
            self._producer.poll(_POLL_S)

    def _delivered(self, settled: Settled, error: KafkaError | None, message: Any) -> None:
        if error is None:
            offset = message.offset()
            self._loop.call_soon_threadsafe(settled, offset if offset >= 0 else None, None)
        else:
            self._loop.call_soon_threadsafe(settled, None, _failure(KafkaException(error)))


class LibrdkafkaConsumer:
    def __init__(self, bootstrap: str, group: str | None) -> None:
        self._consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group or "none",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "session.timeout.ms": _SESSION_TIMEOUT_MS,
                "max.poll.interval.ms": _MAX_POLL_INTERVAL_MS,
                "fetch.wait.max.ms": 200,
            }
        )
        self._thread = ThreadPoolExecutor(1, "consumer")
        self._positions: dict[TopicPartition, int] = {}
        self._changes: list[TopicPartition] = []
        self._changed: Callable[[Sequence[TopicPartition]], None] | None = None
        self._failure: KafkaException | None = None

    async def assign(self, starts: Mapping[TopicPartition, int]) -> None:
        self._failure = None
        self._positions = dict(starts)
        await self._do(self._consumer.assign, [_named(one, start) for one, start in starts.items()])

    async def subscribe(self, topics: Sequence[str], changed: Callable[[Sequence[TopicPartition]], None]) -> None:
        self._changed = changed
        subscribe = partial(
            self._consumer.subscribe, list(topics), on_assign=self._note, on_revoke=self._note, on_lost=self._note
        )
        await self._do(subscribe)

    async def poll(self, most: int, timeout_s: float) -> list[Record]:
        """What came before a failure is returned; the failure is raised at the next call."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise _failure(failure)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        records: list[Record] = []
        while not records and self._failure is None and loop.time() < deadline:
            messages = await self._do(self._consumer.consume, most, min(_POLL_S, timeout_s))
            records = self._taken(messages)
        if self._changes and self._changed is not None:
            changes, self._changes = self._changes, []
            self._changed(changes)
        if self._failure is not None and not records:
            failure, self._failure = self._failure, None
            raise _failure(failure)
        return records

    async def ends(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        ends = {}
        for one in partitions:
            _, ends[one] = await self._do(
                partial(
                    self._consumer.get_watermark_offsets, _named(one), timeout=_REQUEST_TIMEOUT_MS / 1000, cached=False
                )
            )
        return ends

    async def position(self, partition: TopicPartition) -> int:
        return self._positions[partition]

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> int:
        wanted = [_named(one, offset) for one, offset in offsets.items()]
        commit: Callable[[], Any] = partial(self._consumer.commit, offsets=wanted, asynchronous=False)
        for told in await self._do(commit):
            if told.error is not None:
                raise _failure(KafkaException(told.error))
        return -1

    async def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int | None]:
        found = await self._do(self._consumer.committed, list(map(_named, partitions)), _REQUEST_TIMEOUT_MS / 1000)
        for told in found:
            if told.error is not None:
                raise _failure(KafkaException(told.error))
        return {TopicPartition(told.topic, told.partition): told.offset if told.offset >= 0 else None for told in found}

    async def close(self) -> None:
        with contextlib.suppress(Failure):
            await self._do(self._consumer.close)
        self._thread.shutdown()

    def _taken(self, messages: Sequence[Any]) -> list[Record]:
        records = []
        for message in messages:
            error = message.error()
            if error is None:
                partition = TopicPartition(message.topic(), message.partition())
                self._positions[partition] = message.offset() + 1
                headers = message.headers() or ()
                records.append(Record(partition, message.offset(), message.key(), message.value(), headers))
            elif error.code() == KafkaError._PARTITION_EOF:
                self._positions[TopicPartition(message.topic(), message.partition())] = message.offset()
            else:
                self._failure = KafkaException(error)
                break
        return records

    def _note(self, _consumer: Any, partitions: Sequence[Any]) -> None:
        """Is called in the consumer's thread, while that polls or closes."""
        self._changes += [TopicPartition(one.topic, one.partition) for one in partitions]

    async def _do(self, call: Callable[..., T], *arguments: Any) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)
        except KafkaException as error:
            raise _failure(error) from error


def _named(partition: TopicPartition, offset: int = confluent_kafka.OFFSET_INVALID) -> Any:
    return confluent_kafka.TopicPartition(partition.topic, partition.partition, offset)


def _failure(error: KafkaException) -> Failure:
    """Is never definite: it tells of the last attempt, and an earlier one may have been carried out."""
    (reason, *_) = error.args
    return Failure(f"{reason.name()}: {reason.str()}")
