"""Topics: a topic that is made, filled, read and deleted, and made again under the same name, all over. With the SDK,
which alone tells whose records it writes and reads.

Each life of the topic is a log of its own, named by its id: a record of one life in another is one that was never sent
there. Of a life that was deleted before all of it had been read, nothing need be there.
"""

from __future__ import annotations

import time
from contextlib import suppress

from dohle.client.admin import Admin
from dohle.client.consumer import Consumer, ConsumerRecord
from dohle.client.partition_queue import PartitionQueue
from dohle.client.producer import Producer
from dohle.model.errors import DohleError, TopicAlreadyExists, UnknownTopicOrPartition
from dohle.model.ids import TopicPartition
from dohle.testing.chaos.history_file import Process
from dohle.testing.chaos.workloads.work import Work
from dohle.testing.history.operations import Assign, Delete, Outcome, Poll, Send

_PARTITIONS = 2
_REPLICATION_FACTOR = 3
_REQUEST_TIMEOUT_MS = 8_000
_DELIVERY_TIMEOUT_MS = 10_000
_MOST_RECORDS = 60
_READS_WITHIN_S = 10.0
_POLL_MS = 500
_RETRY_S = 0.5
_LATE_S = 15.0
"""A change of which nobody knows is carried out within so long, or never."""
_EVERYTHING = 1 << 60


async def remake(work: Work, name: str) -> None:
    """Goes on until the work is over; the topic is the process's own."""
    topic = f"{work.job.name}-{name}"
    lives: set[bytes] = set()
    async with Admin(work.job.bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS) as admin:
        while not work.over.is_set():
            try:
                await _made(admin, topic)
                topic_id = (await admin.describe_topic(topic)).topic_id
                if topic_id not in lives:  # else who answered has not heard of the new one yet
                    lives.add(topic_id)
                    await _Life(work, f"{name}.{len(lives)}", topic, topic_id).live()
                with suppress(UnknownTopicOrPartition):
                    await admin.delete_topic(topic)
            except DohleError as error:
                await work.rest(_RETRY_S if error.definite else _LATE_S)
        with suppress(DohleError):  # it is left behind else, which does no harm
            await admin.delete_topic(topic)


async def _made(admin: Admin, topic: str) -> None:
    with suppress(TopicAlreadyExists):  # of a life that an error cut short, or by a late request
        await admin.create_topic(
            topic,
            partitions=_PARTITIONS,
            replication_factor=_REPLICATION_FACTOR,
            configs={"min.insync.replicas": "2"},
        )


class _Life:
    """One life of the topic. `acknowledged`: by partition, the offset behind what was."""

    def __init__(self, work: Work, name: str, topic: str, topic_id: bytes) -> None:
        self._work = work
        self._writer, self._reader = work.process(f"{name}.writer"), work.process(f"{name}.reader")
        self._chance = work.chance(name)
        self._topic = topic
        self._id = topic_id
        self._acknowledged = dict.fromkeys(range(_PARTITIONS), 0)

    async def live(self) -> None:
        """Raises DohleError; what concerns the history is noted by then."""
        was_all_read = False
        try:
            await self._fill()
            was_all_read = await self._read()
        finally:
            if not was_all_read:
                self._let_go(self._writer)

    async def _fill(self) -> None:
        async with Producer(
            self._work.job.bootstrap,
            delivery_timeout_ms=_DELIVERY_TIMEOUT_MS,
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
            max_block_ms=_DELIVERY_TIMEOUT_MS,
        ) as producer:
            await producer.partitions(self._topic)
            queues = producer._routes[self._topic].queues
            for number in range(self._chance.randint(1, _MOST_RECORDS)):
                queue = queues[self._chance.randrange(_PARTITIONS)]
                if queue.key.topic_id != self._id:  # who told of the topic lags behind
                    return
                await self._send(producer, queue, f"{self._writer.name}:{number}")

    async def _send(self, producer: Producer, queue: PartitionQueue, value: str) -> None:
        partition = queue.partition
        operation = self._writer.invoke(Send(self._log(partition), value))
        try:
            told = await producer.send_and_wait(self._topic, value.encode(), partition=partition)
        except DohleError as error:
            outcome = Outcome.FAIL if error.definite else Outcome.INFO
            self._writer.complete(operation, outcome, why=error.message)
            raise
        if queue.key.topic_id != self._id:
            self._writer.complete(operation, Outcome.INFO, why="perhaps it went to another life of the topic")
            return
        offset = told.offset if told.offset >= 0 else None
        self._writer.complete(operation, Outcome.OK, Send(self._log(partition), value, offset))
        self._acknowledged[partition] = max(self._acknowledged[partition], told.offset + 1)

    async def _read(self) -> bool:
        """Returns whether everything that was acknowledged was read."""
        async with Consumer(self._work.job.bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS) as consumer:
            await consumer.assign(self._topic)
            assigned = consumer._fetcher.assigned
            if any(one.key.topic_id != self._id for one in assigned.values()):
                return False
            operation = self._reader.invoke(Assign({self._log(one): 0 for one in range(_PARTITIONS)}))
            self._reader.complete(operation, Outcome.OK)
            deadline = time.monotonic() + _READS_WITHIN_S
            left = dict(self._acknowledged)
            while any(left.values()) and time.monotonic() < deadline:
                for record in await self._poll(consumer):
                    if record.offset + 1 >= left[record.partition]:
                        left[record.partition] = 0
            return not any(left.values())

    async def _poll(self, consumer: Consumer) -> list[ConsumerRecord]:
        operation = self._reader.invoke(Poll())
        try:
            records = await consumer.batch(timeout_ms=_POLL_MS)
        except DohleError as error:
            self._reader.complete(operation, Outcome.INFO, why=error.message)
            raise
        found: dict[str, list[tuple[int, str]]] = {}
        for one in records:
            found.setdefault(self._log(one.partition), []).append((one.offset, (one.value or b"").decode()))
        self._reader.complete(operation, Outcome.OK, Poll(found))
        return records

    def _let_go(self, process: Process) -> None:
        operation = process.invoke(Delete({self._log(one): _EVERYTHING for one in range(_PARTITIONS)}))
        process.complete(operation, Outcome.OK)

    def _log(self, partition: int) -> str:
        return str(TopicPartition(f"{self._topic}@{self._id.hex()[:12]}", partition))
