"""What consumers read: batches below the watermark, and offsets (rule 17 of replication).

Leaders answer, and followers to whom they send consumers (`readers`). The watermark is read once, before the data. A
fetch between the watermark and the log's end waits, empty: a new leader's watermark may lag behind what consumers have
already seen.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from dohle.broker.following import Following
from dohle.broker.readers import Readers
from dohle.broker.replicas import Replicas, check_leader_epoch
from dohle.broker.traffic import Traffic
from dohle.model.errors import (
    DamagedReplica,
    DohleError,
    InvalidRequest,
    NotLeaderOrFollower,
    OffsetNotAvailable,
    OffsetOutOfRange,
)
from dohle.model.ids import NodeId, PartitionKey
from dohle.runtime.clock import Clock
from dohle.storage.log import Log
from dohle.storage.time_lookup import Found

LATEST = -1
EARLIEST = -2
MAX_TIMESTAMP = -3
EARLIEST_LOCAL = -4
LATEST_TIERED = -5
"""In place of a timestamp, as Kafka's ListOffsets has them. Here everything is local, and nothing tiered."""
MOST_BYTES = 16 << 20
"""Of one answer, whatever the client asks for; a single larger batch is sent all the same."""


@dataclass(frozen=True, slots=True)
class FetchWanted:
    key: PartitionKey
    fetch_offset: int
    max_bytes: int
    current_leader_epoch: int = -1
    rack: str = ""  # the reader's; empty: only a leader may answer


@dataclass(frozen=True, slots=True)
class Fetched:
    """`failure` None: `batches` are whole, and the first may begin before the offset that was asked for.

    `read_from` is the replica that the reader is to go on with, if it is to go elsewhere; `follows`: of a follower.
    """

    key: PartitionKey
    high_watermark: int = -1
    log_start_offset: int = -1
    batches: bytes = b""
    failure: DohleError | None = None
    read_from: NodeId | None = None
    follows: bool = False

    @property
    def is_news(self) -> bool:
        """Whether a reader is waiting for this."""
        return bool(self.batches) or self.failure is not None or self.read_from is not None


@dataclass(frozen=True, slots=True)
class FoundOffset:
    """`offset` -1: no record is that late. `timestamp_ms` -1: an end of the log was asked for."""

    offset: int
    timestamp_ms: int
    leader_epoch: int


class Reads:
    """Reads of this broker's partitions."""

    def __init__(self, replicas: Replicas, readers: Readers, clock: Clock, traffic: Traffic) -> None:
        self._traffic = traffic
        self._replicas = replicas
        self._readers = readers
        self._clock = clock

    async def fetch(
        self, wanted: Sequence[FetchWanted], *, max_wait_s: float, min_bytes: int, max_bytes: int
    ) -> list[Fetched]:
        """Returns one answer a partition: at once if `min_bytes` are there, or if any fails or names another replica;
        else after waiting."""
        deadline = self._clock.now() + max_wait_s
        woken = asyncio.Event()
        # one that is not here fails when it is read
        watched = [found for one in wanted if (found := self._replicas.partitions.get(one.key)) is not None]
        for partition in watched:
            partition.watch(woken.set)
        try:
            while True:
                woken.clear()
                answers = await self._read(wanted, min(max_bytes, MOST_BYTES))
                found_bytes = sum(len(answer.batches) for answer in answers)
                elsewhere = any(answer.failure is not None or answer.read_from is not None for answer in answers)
                remaining = deadline - self._clock.now()
                if found_bytes >= min_bytes or remaining <= 0 or elsewhere:
                    self._traffic.fetches += 1
                    self._traffic.fetched_bytes += found_bytes
                    self._traffic.followed_bytes += sum(len(answer.batches) for answer in answers if answer.follows)
                    self._count(answers)
                    return answers
                await self._clock.wait(woken, remaining)
        finally:
            for partition in watched:
                partition.unwatch(woken.set)

    def _count(self, answers: Sequence[Fetched]) -> None:
        now = self._clock.now()
        for answer in answers:
            partition = self._replicas.partitions.get(answer.key) if answer.batches else None
            if partition is not None:
                partition.bytes_out.count(len(answer.batches), now)

    async def _read(self, wanted: Sequence[FetchWanted], max_bytes: int) -> list[Fetched]:
        answers: list[Fetched] = []
        for one in wanted:
            try:
                answer = await self._read_one(one, max_bytes, first=max_bytes > 0 and not any_data(answers))
            except DohleError as error:
                answer = Fetched(one.key, failure=error)
            max_bytes -= len(answer.batches)
            answers.append(answer)
        return answers

    async def _read_one(self, wanted: FetchWanted, max_bytes: int, *, first: bool) -> Fetched:
        partition = self._replicas.partition(wanted.key)
        work = partial(_read_log, wanted=wanted, max_bytes=max_bytes, first=first)
        if isinstance(partition.role, Following) and wanted.rack:
            check_leader_epoch(wanted.current_leader_epoch, partition.role)
            self._readers.check_following(partition, partition.role, wanted.fetch_offset)
            try:
                found = await partition.read(work)
            except DamagedReplica as failure:
                raise NotLeaderOrFollower(f"{failure.message}; read from the leader") from failure
            return dataclasses.replace(found, follows=True)
        leading = partition.leading()
        check_leader_epoch(wanted.current_leader_epoch, leading)
        source = leading.log
        if not source.log_start_offset <= wanted.fetch_offset <= source.log_end_offset:
            self._readers.check_sure_to_lead(partition)
            raise OffsetOutOfRange(
                f"offset {wanted.fetch_offset} lies outside the log, which spans {source.log_start_offset} to"
                f" {source.log_end_offset}"
            )
        read_from = self._readers.replica_for(leading, wanted.rack, wanted.fetch_offset)
        try:
            found = await partition.read(work)
        except DamagedReplica as failure:
            raise leading.found_damage(failure, self._clock.now()) from failure
        return found if read_from is None else dataclasses.replace(found, read_from=read_from)

    async def find_offset(self, key: PartitionKey, timestamp_ms: int, current_leader_epoch: int) -> FoundOffset:
        """Returns the offset that `timestamp_ms` means, and the time of the record where it is one's.

        That is the first record at or after it, or what one of the names above stands for; -1 where there is none.
        """
        if timestamp_ms < LATEST_TIERED:
            raise InvalidRequest(f"{timestamp_ms} is neither a time in ms nor one of the numbers from -1 to -5")
        partition = self._replicas.partition(key)
        leading = partition.leading()
        check_leader_epoch(current_leader_epoch, leading)
        source = leading.log
        if timestamp_ms in (EARLIEST, EARLIEST_LOCAL):
            return FoundOffset(source.log_start_offset, -1, leading.leader_epoch)
        if not leading.watermark_is_current:
            raise OffsetNotAvailable(
                f"the high watermark {source.high_watermark} has not reached the start of leader epoch"
                f" {leading.leader_epoch} at {leading.epoch_start} yet"
            )
        if timestamp_ms == LATEST:
            return FoundOffset(source.high_watermark, -1, leading.leader_epoch)
        if timestamp_ms == LATEST_TIERED:
            return FoundOffset(-1, -1, leading.leader_epoch)
        high_watermark = source.high_watermark

        async def look(log: Log) -> Found | None:
            if timestamp_ms == MAX_TIMESTAMP:
                return await log.times.newest(up_to=high_watermark)
            return await log.times.first_at(timestamp_ms, up_to=high_watermark)

        try:
            found = await partition.read(look)
        except DamagedReplica as failure:
            raise leading.found_damage(failure, self._clock.now()) from failure
        if found is None:
            return FoundOffset(-1, -1, leading.leader_epoch)
        return FoundOffset(found.offset, found.timestamp, leading.leader_epoch)

    def end_of_epoch(self, key: PartitionKey, leader_epoch: int, current_leader_epoch: int) -> tuple[int, int]:
        """Returns the largest epoch known that is not above `leader_epoch`, and the offset where it ended; (-1, -1)
        where that is not known (rule 2)."""
        leading = self._replicas.partition(key).leading()
        check_leader_epoch(current_leader_epoch, leading)
        return leading.log.end_offset_for_epoch(leader_epoch)


def any_data(answers: Sequence[Fetched]) -> bool:
    return any(answer.batches for answer in answers)


async def _read_log(source: Log, *, wanted: FetchWanted, max_bytes: int, first: bool) -> Fetched:
    high_watermark = source.high_watermark
    most = min(wanted.max_bytes, max_bytes)
    batches = b""
    if wanted.fetch_offset < high_watermark and (most > 0 or first):
        batches = await source.read(wanted.fetch_offset, most, up_to=high_watermark, min_one=first)
    return Fetched(wanted.key, high_watermark, source.log_start_offset, batches)
