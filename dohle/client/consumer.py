"""Consumer: records out of partitions, read ahead within a bound.

Which partitions, its caller says, or its group, which shares them among its members and keeps how far each is done
(`group_member`). Records arrive in order within a partition; among partitions, as answers come in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import islice
from random import Random
from types import TracebackType
from typing import Final, Literal

from dohle.client.assigned_partition import AssignedPartition
from dohle.client.backoff import Backoff
from dohle.client.dead_letters import DeadLetters
from dohle.client.fetch_stream import FetchSettings
from dohle.client.fetched_batch import FetchedBatch
from dohle.client.fetcher import Fetcher
from dohle.client.group_member import GroupMember, GroupSettings, RebalanceCallback, RebalanceCallbacks
from dohle.client.key_pool import Handler, KeyPool, Patience
from dohle.client.membership import Interest, MemberTerms
from dohle.client.offset_lookup import BEGINNING, END, NONE_SO_LATE
from dohle.client.producer import Producer
from dohle.client.read_ahead import Ahead
from dohle.client.seams import Seams, parse_bootstrap
from dohle.client.unfinished import Lent, Unfinished
from dohle.client.values import CommittedOffset, ConsumerRecord, OffsetAndTimestamp, OffsetSpec
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
from dohle.runtime.tasks import Tasks, cancel

__all__ = ["Consumer", "ConsumerRecord", "FetchedBatch"]

_RESETS: Final = {"earliest": BEGINNING, "latest": END, "none": None}
_YIELD_BYTES: Final = 256 << 10
"""So much is read at a stretch before the event loop runs, which keeps requests going."""


class Consumer:
    """Reads partitions.

    ::

        async with Consumer("localhost:7092", group="greeters") as consumer:
            await consumer.subscribe("greetings")
            async for record in consumer:
                print(record.offset, record.value)

    Without a group, `assign` says what is read. One reader at a time: `async for`, `batch` and `batches` take turns at
    the same records, `run` has a handler called on them.

    A reader has finished what it was given when it asks for more, or calls `commit`; what it has not finished is not
    committed, and is read again by whoever has the partition next.

    - auto_offset_reset: where to begin in a partition without a position, and where to go on if the position is no
      longer in the log: "earliest", "latest", or "none": raise OffsetOutOfRange
    - max_wait_ms, min_bytes: how long a broker waits for so much before it answers
    - max_bytes, partition_max_bytes: the most of one answer; a batch that alone is larger comes all the same
    - prefetch_bytes: the most that is read ahead
    - request_timeout_ms: after which a broker that does not answer is given up, and a look-up of offsets fails
    - rack: where this program runs, as brokers name it: what an in-sync replica there has is read from that one
    - group: the group that it is a member of, or commits for
    - instance_id: makes it a static member: who comes back under it soon has the same partitions, without a rebalance
    - assignor: how the group is to share partitions, "uniform" or "range"; None: as the coordinator likes
    - auto_commit: whether what is finished is committed every `auto_commit_interval_ms`, when a partition is given up,
      and at the end
    - max_poll_interval_ms: how long it may take to finish what was read; a consumer that takes longer leaves the group
      until it is done. For so long the others also wait for a partition that it is to give up
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
        group: str | None = None,
        instance_id: str | None = None,
        assignor: str | None = None,
        auto_commit: bool = True,
        auto_commit_interval_ms: int = 5000,
        max_poll_interval_ms: int = 300_000,
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
        if min(auto_commit_interval_ms, max_poll_interval_ms) < 1:
            raise ConfigurationError("auto_commit_interval_ms and max_poll_interval_ms must be positive")
        if group == "" or (group is None and (instance_id is not None or assignor is not None)):
            raise ConfigurationError('a member of a group needs a group: Consumer(..., group="a name")')
        settings = FetchSettings(max_wait_ms, min_bytes, max_bytes, partition_max_bytes, request_timeout_ms, rack)
        self._reset_to = _RESETS[auto_offset_reset]
        self._metadata_timeout_s = request_timeout_ms / 1000
        self._bootstrap = addresses = parse_bootstrap(bootstrap)
        self._seams = Seams.of(client_id, network, clock, random)
        self._tasks = Tasks("consumer", self._broke)
        self._fetcher = Fetcher(addresses, settings, prefetch_bytes, self._seams, self._tasks)
        self._ahead = self._fetcher.ahead
        self._reading: AssignedPartition | None = None  # whose batch is being read,
        self._records: Iterator[ConsumerRecord] = iter(())  # what is left of it,
        self._reading_end = 0  # and the position behind it
        self._unyielded_bytes = 0
        self._closing = self._closed = False
        self._lent = Lent(self._seams.clock) if group is not None else None
        self._pool: KeyPool | None = None
        self._group_id = group or ""
        self._member: GroupMember | None = None
        if group is not None:
            terms = MemberTerms(group, instance_id, rack, assignor, max_poll_interval_ms)
            self._member = GroupMember(
                GroupSettings(terms, auto_commit, auto_commit_interval_ms, request_timeout_ms),
                addresses,
                self._fetcher,
                self._seams,
                self._tasks,
                unfinished=self._unfinished,
                make=self._make,
                hold=self._rewind,
                tell=self._ahead.fail,
            )

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
        if self._member is not None and self._member.subscribed:
            raise InvalidRequest("the group assigns what this consumer reads; unsubscribe first")
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
                    known = self._make(partition, topic.topic_id)
                wanted[partition] = known
        if self._member is not None:
            await self._member.begin_at_committed([one for one in wanted.values() if one.position is None])
        self._fetcher.assign(wanted.values())
        if self._reading is not None and self._reading not in wanted.values():
            self._stop_reading()

    async def subscribe(
        self,
        *topics: str,
        pattern: str | None = None,
        on_assigned: RebalanceCallback | None = None,
        on_revoked: RebalanceCallback | None = None,
        on_lost: RebalanceCallback | None = None,
    ) -> None:
        """Has the group assign partitions of these topics, and of those whose names match `pattern` (RE2), to this
        consumer; returns when the group has taken it in. Topics may come later.

        Callbacks are given a list of TopicPartition, and may be coroutine functions. `on_assigned`: these are read
        from now on; it may seek. `on_revoked`: these are given up, what was read of them is finished, and the others
        wait for this to return; it may commit. `on_lost`: the group took this consumer for dead, and others have these.

        Raises InvalidRegularExpression, GroupMaxSizeReached, UnsupportedAssignor …, which a reader may hear of later
        as well; and RequestTimedOut if no coordinator takes it in within `request_timeout_ms`.
        """
        member = self._of_group()
        if not topics and pattern is None:
            raise InvalidRequest("subscribe to a topic, or to a pattern of topics' names")
        if not member.subscribed and self._fetcher.assigned:
            raise InvalidRequest("this consumer has partitions of its own choice: assign() none of them first")
        interest = Interest(tuple(sorted({*topics})), pattern or "")
        assert self._lent is not None, "it is in a group"
        with self._lent.waiting():
            await member.subscribe(interest, RebalanceCallbacks(on_assigned, on_revoked, on_lost))

    async def unsubscribe(self) -> None:
        """Leaves the group at once; what is finished is committed before, if that is this consumer's task."""
        await self._of_group().unsubscribe()

    async def commit(self, offsets: Mapping[TopicPartition, int] | None = None, *, metadata: str = "") -> None:
        """Returns when the group's offsets are on the in-sync replicas: `offsets`, each where to go on, or the
        positions behind all that was given to the reader, which says with this that it is finished.

        While `run` runs it is what the handlers have finished. Raises UnknownMember or FencedMemberEpoch if the group
        has given the partitions to others meanwhile, InvalidRequest for what is not assigned here, and others: then
        some of it may not be committed.
        """
        member = self._of_group()
        chosen = None if offsets is None else {self._known(name): offset for name, offset in offsets.items()}
        if any(offset < 0 for offset in (chosen or {}).values()):
            raise InvalidRequest("an offset to commit is negative; commit the next one that is to be read")
        if chosen is None and self._lent is not None:
            self._lent.give_back()
        await member.commit(chosen, metadata)

    async def committed(self, *partitions: TopicPartition) -> dict[TopicPartition, CommittedOffset | None]:
        """Returns what the group has committed of `partitions`, or of all assigned; None where it has not."""
        return await self._of_group().committed(partitions or self.assignment())

    async def lag(self) -> dict[TopicPartition, int]:
        """Returns how many offsets this consumer is behind the last readable record, by assigned partition."""
        ends = await self.end_offsets()
        await self._fetcher.place([one for one in self._fetcher.assigned.values() if one.position is None])
        lags = {}
        for name, end in sorted(ends.items()):
            known = self._fetcher.assigned.get(name)
            unfinished = self._pool or self._lent
            if known is not None:
                done = known.position if unfinished is None else unfinished.finished_to(known)
                lags[name] = max(end - (end if done is None else done), 0)
        return lags

    async def run(
        self,
        handler: Handler,
        *,
        workers: int = 1,
        attempts: int = 1,
        retry_backoff_ms: float = 100,
        dead_letters: str | None = None,
    ) -> None:
        """Has `handler` called on each record, up to `workers` at once, until `stop` is called.

        Records of a partition with the same key are handled in order, one after the other; with one worker all of a
        partition. Offsets are committed up to the lowest record that is not finished.

        A record on which the handler has failed `attempts` times is written to the topic `dead_letters`, with what
        happened in its headers, and counts as finished. Without such a topic, or if that cannot be written, this
        raises what was raised; the record stays unfinished, and comes again.
        """
        self._check_open()
        if self._pool is not None:
            raise InvalidRequest("a handler runs already; one at a time")
        patience = Patience.checked(attempts, retry_backoff_ms)
        letters = None if dead_letters is None else self._letters(dead_letters)
        try:
            if letters is not None:
                await letters.open()
            pool = KeyPool(handler, workers, patience, letters, self._seams.clock, self._tasks)
            await self._run(pool)
        finally:
            if letters is not None:
                await letters.close()
        if pool.failure is not None:
            raise pool.failure

    def stop(self) -> None:
        """Has `run` return once the handlers that are at work have finished."""
        if self._pool is not None:
            self._pool.end()

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
        self._begin_reading()
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
        self._begin_reading()
        while True:
            for record in self._records:
                assert self._reading is not None, "records are of a partition"
                if self._lent is not None:
                    self._lent.lend(self._reading, record.offset)
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
            self._begin_reading()
            await self._have_batch()
            ahead = self._ahead.pop()
            self._count(ahead)
            if self._lent is not None:
                assert ahead.partition.position is not None, "what is read has a position"
                self._lent.lend(ahead.partition, ahead.partition.position)
            ahead.partition.position = ahead.batch.next_offset
            yield ahead.batch

    async def close(self) -> None:
        """Ends; readers that wait raise Closed. A member of a group commits what is finished, if that is its task, and
        leaves, for which it takes 5 s at the most. May be called more than once.
        """
        if self._closing:
            return
        self._closing = True
        if self._member is not None:
            await self._member.close()
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
        if self._lent is None:
            await self._ahead.wait()
            return
        with self._lent.waiting():
            await self._ahead.wait()

    def _begin_reading(self) -> None:
        """A reader is here: it has finished what it had."""
        if self._pool is not None:
            raise InvalidRequest("a handler runs (`run`), which is given all records")
        if self._lent is not None:
            self._lent.give_back()

    async def _run(self, pool: KeyPool) -> None:
        self._begin_reading()
        self._pool = pool
        feeding = self._tasks.spawn(self._feed(pool), "feed")
        try:
            await pool.ended.wait()
            await cancel(feeding)
            await pool.close(at_once=False)
        finally:
            await cancel(feeding)
            await pool.close(at_once=True)
            self._pool = None
            for partition in self._fetcher.assigned.values():
                finished = pool.finished_to(partition)
                if finished is not None and finished != partition.position:
                    self._move(partition, finished)  # what was taken and not finished comes again

    async def _feed(self, pool: KeyPool) -> None:
        try:
            while True:
                await pool.room()
                record = next(self._records, None)
                if record is None:
                    self._finish_reading()
                    await self._have_batch()
                    self._read(self._ahead.pop())
                else:
                    assert self._reading is not None, "records are of a partition"
                    pool.put(self._reading, record)
                    self._reading.position = record.offset + 1
        except Exception as failure:  # noqa: BLE001 - whatever a reader would be told, a callback's failure included
            pool.end(failure)

    def _letters(self, topic: str) -> DeadLetters:
        seams = self._seams
        producer = Producer(
            [str(address) for address in self._bootstrap],
            network=seams.network,
            clock=seams.clock,
            random=seams.random,
        )
        return DeadLetters(producer, topic, self._group_id)

    def _unfinished(self) -> Unfinished:
        unfinished = self._pool or self._lent
        assert unfinished is not None, "a member of a group has a reader"
        return unfinished

    def _make(self, name: TopicPartition, topic_id: bytes) -> AssignedPartition:
        return AssignedPartition(name, topic_id, self._reset_to, Backoff(self._seams.random))

    def _of_group(self) -> GroupMember:
        self._check_open()
        if self._member is None:
            raise InvalidRequest('this consumer has no group: Consumer(..., group="a name") makes it a member of one')
        return self._member

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
        if taken and self._lent is not None:
            assert self._reading is not None, "records are of a partition"
            self._lent.lend(self._reading, taken[0].offset)
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
        if self._lent is not None:
            self._lent.sought(partition)
        if self._pool is not None:
            self._pool.sought(partition)
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
