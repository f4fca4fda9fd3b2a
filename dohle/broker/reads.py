"""What consumers read: batches below the watermark, and offsets (rule 17 of replication).

Leaders answer, and followers to whom they send consumers (`readers`). The watermark is read once, before the data. A
fetch between the watermark and the log's end waits, empty: a new leader's watermark may lag behind what consumers have
already seen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from dohle.broker.fetch_set import Fetched, FetchSet, FetchWanted, I, Interest, Turn
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
from dohle.model.ids import PartitionKey
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
class FoundOffset:
    """`offset` -1: no record is that late. `timestamp_ms` -1: an end of the log was asked for.

    `leader_epoch` is that of the record at `offset`; of the end it is the leader's own, in which the next one comes.
    """

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
        interests = [Interest(one) for one in wanted]
        fetch_set = FetchSet[Interest]()
        for interest in interests:
            fetch_set.add(interest)
        try:
            answers = await self.fetch_due(fetch_set, max_wait_s=max_wait_s, min_bytes=min_bytes, max_bytes=max_bytes)
        finally:
            fetch_set.close()
        return [answers[interest] for interest in interests]

    async def fetch_due(
        self, fetch_set: FetchSet[I], *, max_wait_s: float, min_bytes: int, max_bytes: int
    ) -> dict[I, Fetched]:
        """Returns what there is of the interests that are due, or come due while this waits, as `fetch` does.

        Who is overtaken by another fetch of the set, or by its end, gets what was found until then.
        """
        deadline = self._clock.now() + max_wait_s
        turn = fetch_set.begin(in_doubt=self._readers.in_doubt)
        try:
            while True:
                turn.news.clear()
                await self._read(turn, min(max_bytes, MOST_BYTES))
                remaining = deadline - self._clock.now()
                if turn.found_bytes >= min_bytes or remaining <= 0 or turn.is_urgent or turn.is_over:
                    fetch_set.settle(turn)
                    self._count(turn.answers.values(), turn.found_bytes)
                    return turn.answers
                await self._clock.wait(turn.news, remaining)
        finally:
            fetch_set.end(turn)

    def _count(self, answers: Iterable[Fetched], found_bytes: int) -> None:
        self._traffic.fetches += 1
        self._traffic.fetched_bytes += found_bytes
        now = self._clock.now()
        for answer in answers:
            if answer.follows:
                self._traffic.followed_bytes += len(answer.batches)
            partition = self._replicas.partitions.get(answer.key) if answer.batches else None
            if partition is not None:
                partition.bytes_out.count(len(answer.batches), now)

    async def _read(self, turn: Turn[I], max_bytes: int) -> None:
        """Looks at what is due now; what comes due meanwhile is left for the next time."""
        for interest in list(turn.unread):
            if turn.is_over:
                return
            if interest not in turn.unread:  # it was dropped meanwhile
                continue
            turn.begin_to_read(interest)
            first = max_bytes > 0 and not turn.found_bytes
            try:
                answer = await self._read_one(interest, max_bytes - turn.found_bytes, first=first)
            except DohleError as error:
                answer = Fetched(interest.wanted.key, failure=error)
            turn.found(interest, answer)

    async def _read_one(self, interest: Interest, max_bytes: int, *, first: bool) -> Fetched:
        wanted = interest.wanted
        interest.watch(self._replicas.partitions.get(wanted.key))
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
            return FoundOffset(source.log_start_offset, -1, source.epochs.epoch_at(source.log_start_offset))
        if timestamp_ms == LATEST_TIERED:
            return FoundOffset(-1, -1, -1)
        if not leading.watermark_is_current:
            raise OffsetNotAvailable(
                f"the high watermark {source.high_watermark} has not reached the start of leader epoch"
                f" {leading.leader_epoch} at {leading.epoch_start} yet"
            )
        if timestamp_ms == LATEST:
            return FoundOffset(source.high_watermark, -1, leading.leader_epoch)
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
            return FoundOffset(-1, -1, -1)
        return FoundOffset(found.offset, found.timestamp, partition.log.epochs.epoch_at(found.offset))

    def end_of_epoch(self, key: PartitionKey, leader_epoch: int, current_leader_epoch: int) -> tuple[int, int]:
        """Returns the largest epoch known that is not above `leader_epoch`, and the offset where it ended; (-1, -1)
        where that is not known (rule 2)."""
        leading = self._replicas.partition(key).leading()
        check_leader_epoch(current_leader_epoch, leading)
        return leading.log.end_offset_for_epoch(leader_epoch)


async def _read_log(source: Log, *, wanted: FetchWanted, max_bytes: int, first: bool) -> Fetched:
    high_watermark = source.high_watermark
    most = min(wanted.max_bytes, max_bytes)
    batches = b""
    if wanted.fetch_offset < high_watermark and (most > 0 or first):
        batches = await source.read(wanted.fetch_offset, most, up_to=high_watermark, min_one=first)
    return Fetched(wanted.key, high_watermark, source.log_start_offset, batches)
