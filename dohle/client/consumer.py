"""Consumer: records out of the partitions that it was assigned, read ahead within a bound.

Positions live in the consumer alone; groups, which share partitions and keep positions, are another thing. Records
arrive in order within a partition; among partitions, as answers come in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from random import Random
from types import TracebackType
from typing import Final, Literal

from dohle.client.assigned_partition import AssignedPartition
from dohle.client.backoff import Backoff
from dohle.client.fetch_stream import FetchSettings
from dohle.client.fetched_batch import FetchedBatch
from dohle.client.fetcher import Fetcher
from dohle.client.offset_lookup import BEGINNING, END, NONE_SO_LATE
from dohle.client.read_ahead import Ahead
from dohle.client.seams import Seams, parse_bootstrap
from dohle.client.values import ConsumerRecord, OffsetAndTimestamp, OffsetSpec
from dohle.model.errors import (
    Closed,
    ConfigurationError,
    CorruptMessage,
    InvalidRequest,
    UnknownServerError,
    UnknownTopicOrPartition,
)
from dohle.model.ids import TopicPartition
from dohle.runtime.clock import Clock
from dohle.runtime.network import Network
from dohle.runtime.tasks import Tasks

__all__ = ["Consumer", "ConsumerRecord", "FetchedBatch"]

_RESETS: Final = {"earliest": BEGINNING, "latest": END, "none": None}
_YIELD_BYTES: Final = 256 << 10
"""So much is read at a stretch before the event loop runs, which keeps requests going."""


class Consumer:
    """Reads partitions.

    ::

        async with Consumer("localhost:7092") as consumer:
            await consumer.assign("greetings")
            async for record in consumer:
                print(record.offset, record.value)

    One reader at a time: `async for`, `batch` and `batches` take turns at the same records.

    - auto_offset_reset: where to begin in a partition without a position, and where to go on if the position is no
      longer in the log: "earliest", "latest", or "none": raise OffsetOutOfRange
    - max_wait_ms, min_bytes: how long a broker waits for so much before it answers
    - max_bytes, partition_max_bytes: the most of one answer; a batch that alone is larger comes all the same
    - prefetch_bytes: the most that is read ahead
    - request_timeout_ms: after which a broker that does not answer is given up, and a look-up of offsets fails
    - rack: where this program runs, as brokers name it: what an in-sync replica there has is read from that one
    """

    def __init__(
        self,
        bootstrap: str | Sequence[str],
        *,
        auto_offset_reset: Literal["earliest", "latest", "none"] = "earliest",
        max_wait_ms: int = 500,
        min_bytes: int = 1,
        max_bytes: int = 8 << 20,
        partition_max_bytes: int = 1 << 20,
        prefetch_bytes: int = 32 << 20,
        request_timeout_ms: int = 30_000,
        rack: str = "",
        client_id: str = "dohle-consumer",
        network: Network | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        if auto_offset_reset not in _RESETS:
            raise ConfigurationError(f"auto_offset_reset is {auto_offset_reset!r}; use one of {', '.join(_RESETS)}")
        if (
            min(max_wait_ms, min_bytes) < 0
            or min(max_bytes, partition_max_bytes, prefetch_bytes, request_timeout_ms) < 1
        ):
            raise ConfigurationError("a consumer's sizes and time-outs must be positive")
        settings = FetchSettings(max_wait_ms, min_bytes, max_bytes, partition_max_bytes, request_timeout_ms, rack)
        self._reset_to = _RESETS[auto_offset_reset]
        self._metadata_timeout_s = request_timeout_ms / 1000
        addresses = parse_bootstrap(bootstrap)
        self._seams = Seams.of(client_id, network, clock, random)
        self._tasks = Tasks("consumer", self._broke)
        self._fetcher = Fetcher(addresses, settings, prefetch_bytes, self._seams, self._tasks)
        self._ahead = self._fetcher.ahead
        self._reading: AssignedPartition | None = None  # whose batch is being read,
        self._records: Iterator[ConsumerRecord] = iter(())  # what is left of it,
        self._reading_end = 0  # and the position behind it
        self._unyielded_bytes = 0
        self._closed = False

    async def __aenter__(self) -> Consumer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def assign(self, *what: str | TopicPartition) -> None:
        """Makes these partitions the assignment; a topic's name stands for all partitions that it has now.

        Partitions that were assigned before keep position and pause. Raises UnknownTopicOrPartition, and leaves the
        assignment as it was.
        """
        self._check_open()
        wanted: dict[TopicPartition, AssignedPartition] = {}
        for item in what:
            name = item if isinstance(item, str) else item.topic
            topic = await self._fetcher.metadata.topic(name, self._metadata_timeout_s)
            count = len(topic.partitions)
            if not isinstance(item, str) and not 0 <= item.partition < count:
                raise UnknownTopicOrPartition(f"topic {name!r} has partitions 0 to {count - 1}, not {item.partition}")
            for number in range(count) if isinstance(item, str) else [item.partition]:
                partition = TopicPartition(name, number)
                known = self._fetcher.assigned.get(partition)
                if known is None or known.key.topic_id != topic.topic_id:
                    known = AssignedPartition(partition, topic.topic_id, self._reset_to, Backoff(self._seams.random))
                wanted[partition] = known
        self._fetcher.assign(wanted.values())
        if self._reading is not None and self._reading not in wanted.values():
            self._stop_reading()

    def assignment(self) -> list[TopicPartition]:
        """Returns the assigned partitions, sorted."""
        return sorted(self._fetcher.assigned)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Goes on at `offset`; whether the log has it shows when it is read."""
        if offset < 0:
            raise InvalidRequest(f"offset {offset} is negative; seek_to_beginning and seek_to_end find the log's ends")
        self._move(self._known(partition), offset)

    async def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        """Goes on at the first record that the log still has, in `partitions` or in all that are assigned."""
        await self._seek_all(partitions, BEGINNING)

    async def seek_to_end(self, *partitions: TopicPartition) -> None:
        """Goes on behind the last readable record, in `partitions` or in all that are assigned."""
        await self._seek_all(partitions, END)

    async def seek_to_time(self, timestamp_ms: int, *partitions: TopicPartition) -> None:
        """Goes on at the first record whose timestamp is `timestamp_ms` or later; at the end where there is none."""
        if timestamp_ms < 0:
            raise InvalidRequest(f"timestamp {timestamp_ms} is negative: give milliseconds since 1970-01-01 UTC")
        await self._seek_all(partitions, timestamp_ms)

    def pause(self, *partitions: TopicPartition) -> None:
        """Reads nothing more of `partitions`, until `resume`. What was read ahead of them is forgotten."""
        for partition in map(self._known, partitions or self.assignment()):
            partition.paused = True
            self._rewind(partition)

    def resume(self, *partitions: TopicPartition) -> None:
        """Goes on reading `partitions`, or all."""
        for partition in map(self._known, partitions or self.assignment()):
            partition.paused = False
        self._fetcher.wake()

    async def position(self, partition: TopicPartition) -> int:
        """Returns the offset that is read next. Raises OffsetOutOfRange if there is none, and nothing to begin from."""
        known = self._known(partition)
        if known.position is None:
            await self._fetcher.place([known])
        assert known.position is not None, "placing raises where it finds no position"
        return known.position

    async def beginning_offsets(self, *partitions: TopicPartition) -> dict[TopicPartition, int]:
        """Returns the offsets of the first records that the logs still have, of `partitions` or of all assigned."""
        return await self._fetcher.lookup.at([self._known(name) for name in partitions or self.assignment()], BEGINNING)

    async def end_offsets(self, *partitions: TopicPartition) -> dict[TopicPartition, int]:
        """Returns the high watermarks: offsets behind the last readable records, of `partitions` or of all assigned."""
        return await self._fetcher.lookup.at([self._known(name) for name in partitions or self.assignment()], END)

    async def offsets_for_time(
        self, timestamp_ms: int, *partitions: TopicPartition
    ) -> dict[TopicPartition, OffsetAndTimestamp]:
        """Returns the first record whose timestamp is `timestamp_ms` or later, at -1 where there is none.

        `OffsetSpec.MAX_TIMESTAMP` in place of a time: the first of those with the newest timestamp.
        """
        if timestamp_ms < 0 and timestamp_ms not in (*OffsetSpec,):
            raise InvalidRequest(
                f"timestamp {timestamp_ms} is negative: give milliseconds since 1970-01-01 UTC, or an OffsetSpec"
            )
        known = [self._known(name) for name in partitions or self.assignment()]
        return await self._fetcher.lookup.found_at(known, timestamp_ms)

    async def batch(self, max_records: int = 500, timeout_ms: float = 1000) -> list[ConsumerRecord]:
        """Returns up to `max_records` as soon as there are any; none if there are none within `timeout_ms`."""
        if max_records < 1:
            raise InvalidRequest(f"max_records is {max_records}; ask for 1 or more")
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                while not (taken := self._take(max_records)):
                    await self._have_batch()
                    self._read(self._ahead.pop())
        except TimeoutError:
            return []
        while len(taken) < max_records and self._ahead:
            try:
                self._read(self._ahead.pop())
            except CorruptMessage as failure:  # comes after the good records
                self._ahead.fail(failure)
                break
            taken += self._take(max_records - len(taken))
        return taken

    def __aiter__(self) -> AsyncIterator[ConsumerRecord]:
        return self

    async def __anext__(self) -> ConsumerRecord:
        while True:
            for record in self._records:
                assert self._reading is not None, "records are of a partition"
                self._reading.position = record.offset + 1
                return record
            self._finish_reading()
            await self._have_batch()
            self._read(self._ahead.pop())

    async def batches(self) -> AsyncIterator[FetchedBatch]:
        """Yields whole batches as they lie in the log, undecoded; the position is behind each that was yielded."""
        if self._reading is not None:
            self._rewind(self._reading)  # what is left of a batch comes again, as a batch
        while True:
            await self._have_batch()
            ahead = self._ahead.pop()
            self._count(ahead)
            ahead.partition.position = ahead.batch.next_offset
            yield ahead.batch

    async def close(self) -> None:
        """Ends; readers that wait raise Closed. May be called more than once."""
        if self._closed:
            return
        self._closed = True
        self._fetcher.close()
        self._ahead.fail(Closed("the consumer was closed"))
        await self._tasks.close()
        await self._seams.close()

    async def _have_batch(self) -> None:
        """Returns when a batch is there to be read, and gives the event loop its turn now and then."""
        self._check_open()
        if self._unyielded_bytes >= _YIELD_BYTES:
            self._unyielded_bytes = 0
            await self._seams.clock.sleep(0)
        await self._ahead.wait()

    def _read(self, ahead: Ahead) -> None:
        """Begins to read a batch. What a follower sent rotten is asked of its leader.

        Raises CorruptMessage if that one sent it; the partition then stands still until the next seek.
        """
        self._count(ahead)
        try:
            self._records = ahead.batch.records()
        except CorruptMessage as failure:
            self._stop_reading()
            self._fetcher.rewind(ahead.partition)
            if self._fetcher.asks_leader_instead(ahead.partition, ahead.node, failure):
                return
            ahead.partition.stopped = True
            raise
        self._reading = ahead.partition
        self._reading_end = ahead.batch.next_offset

    def _take(self, most: int) -> list[ConsumerRecord]:
        """Returns up to `most` records of the batch that is being read."""
        taken = list(islice(self._records, most))
        if len(taken) < most:
            self._finish_reading()
        elif self._reading is not None:
            self._reading.position = taken[-1].offset + 1
        return taken

    def _count(self, ahead: Ahead) -> None:
        self._unyielded_bytes += ahead.batch.size_bytes
        self._fetcher.room_freed(ahead.node)

    def _finish_reading(self) -> None:
        if self._reading is not None:
            self._reading.position = self._reading_end
            self._stop_reading()

    def _stop_reading(self) -> None:
        self._reading = None
        self._records = iter(())

    def _rewind(self, partition: AssignedPartition) -> None:
        if partition is self._reading:
            self._stop_reading()
        self._fetcher.rewind(partition)

    def _move(self, partition: AssignedPartition, offset: int) -> None:
        if partition is self._reading:
            self._stop_reading()
        self._fetcher.move(partition, offset)

    async def _seek_all(self, names: Sequence[TopicPartition], timestamp_ms: int) -> None:
        partitions = [self._known(name) for name in names or self.assignment()]
        offsets = await self._fetcher.lookup.at(partitions, timestamp_ms)
        late = [partition for partition in partitions if offsets[partition.name] == NONE_SO_LATE]
        if late:
            offsets |= await self._fetcher.lookup.at(late, END)
        for partition in partitions:
            self._move(partition, offsets[partition.name])

    def _known(self, partition: TopicPartition) -> AssignedPartition:
        self._check_open()
        known = self._fetcher.assigned.get(partition)
        if known is None:
            raise InvalidRequest(f"{partition} is not assigned to this consumer; assign it first")
        return known

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the consumer is closed")

    def _broke(self, failure: BaseException) -> None:
        """A task ended that never should have: readers must not wait for it."""
        self._ahead.fail(UnknownServerError(f"the consumer stopped because of a bug: {failure!r}"))
