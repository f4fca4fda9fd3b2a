"""Where rare things are seen that happen to logs, replicas, brokers and their clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from dohle.broker.broker import Broker
from dohle.broker.following import Following
from dohle.broker.in_sync import InSyncSet
from dohle.broker.leading import Leading
from dohle.broker.metadata_follower import MetadataFollower
from dohle.broker.partition import Partition
from dohle.broker.push_session import PushSession
from dohle.broker.readers import Readers
from dohle.broker.repairs import Repairs
from dohle.broker.replicas import Replicas
from dohle.broker.scrubber import Scrubber
from dohle.client import rebalance_plan
from dohle.client.admin import Admin
from dohle.client.rebalance_plan import RebalancePlan
from dohle.client.values import DrainedBroker
from dohle.model.batch import DELETE_HORIZON_BIT, BatchHeader, read_header
from dohle.model.errors import DamagedReplica, DohleError, NotEnoughReplicas, OutOfOrderSequenceNumber
from dohle.model.ids import NodeId
from dohle.model.record_keys import KeyedRecord
from dohle.rpc.v1 import replication_pb2
from dohle.storage.compaction.cleaning import Cleaning
from dohle.storage.compaction.compactor import Compactor
from dohle.storage.compaction.swap_files import CLEANED_SUFFIX, SWAP_SUFFIX
from dohle.storage.group_commit import GroupCommit
from dohle.storage.headroom import Headroom
from dohle.storage.log import Log
from dohle.storage.log_dirs import LogDirs
from dohle.storage.opened import Opened
from dohle.storage.producer_states import Duplicate, ProducerStates
from dohle.storage.recovery import LogFiles
from dohle.storage.segment import LOG_SUFFIX, Segment
from dohle.storage.segments import Segments
from dohle.testing.invariants.rarities import Counts, Wrapped, around

WRAPS: list[Wrapped] = []

_around = partial(around, WRAPS)


# storage


@_around(LogFiles, LogFiles.open)
def _(counts: Counts, original: Callable[..., Awaitable[Opened]]) -> Callable[..., Awaitable[Opened]]:
    async def open_log(self: LogFiles, **options: Any) -> Opened:
        names = self._names
        opened = await original(self, **options)
        counts.add("a compaction's swap is finished at a start", any(name.endswith(SWAP_SUFFIX) for name in names))
        undone = any(name.endswith(LOG_SUFFIX + CLEANED_SUFFIX) for name in names)
        counts.add("a compaction's swap is undone at a start", undone)
        counts.add("a stop was unclean", not opened.recovered.clean)
        counts.add("a torn tail is cut", opened.recovered.cut_bytes > 0)
        counts.add("damage is found at a start", opened.damage is not None)
        return opened

    return open_log


@_around(Compactor, Compactor.compact)
def _(counts: Counts, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def compact(self: Compactor, *arguments: Any) -> None:
        before = self.runs
        await original(self, *arguments)
        counts.add("a compaction runs", self.runs > before)

    return compact


@_around(Cleaning, Cleaning._last_ones)
def _(counts: Counts, original: Callable[..., list[KeyedRecord]]) -> Callable[..., list[KeyedRecord]]:
    def last_ones(self: Cleaning, header: BatchHeader, records: list[KeyedRecord]) -> list[KeyedRecord]:
        kept = original(self, header, records)
        if header.attributes & DELETE_HORIZON_BIT and self._has_passed(header):
            counts.add("a tombstone goes", sum(record.is_tombstone for record in records))
        return kept

    return last_ones


@_around(Segments, Segments.take_below)
def _(counts: Counts, original: Callable[..., list[Segment]]) -> Callable[..., list[Segment]]:
    def take_below(self: Segments, offset: int) -> list[Segment]:
        taken = original(self, offset)
        counts.add("a segment is let go", len(taken))
        return taken

    return take_below


@_around(Following, Following.take)
def _(counts: Counts, original: Callable[..., bool]) -> Callable[..., bool]:
    def take(self: Following, push: replication_pb2.Push, **options: Any) -> bool:
        before = self.log.log_start_offset
        taken = original(self, push, **options)
        counts.add("a log begins later on a follower", self.log.log_start_offset > before)
        return taken

    return take


@_around(Log, Log.read)
def _(counts: Counts, original: Callable[..., Awaitable[bytes]]) -> Callable[..., Awaitable[bytes]]:
    async def read(self: Log, offset: int, max_bytes: int, **options: Any) -> bytes:
        data = await original(self, offset, max_bytes, **options)
        from_its_start = offset == self.log_start_offset and not options.get("for_replica")
        counts.add("a log that begins within a batch is read", from_its_start and _begins_below(data, offset))
        return data

    return read


def _begins_below(data: bytes, offset: int) -> bool:
    return bool(data) and read_header(data).base_offset < offset


@_around(Leading, Leading.delete_records)
def _(counts: Counts, original: Callable[..., asyncio.Future[int]]) -> Callable[..., asyncio.Future[int]]:
    def delete_records(self: Leading, offset: int, deadline: float) -> asyncio.Future[int]:
        future = original(self, offset, deadline)
        name = self.log.name
        asked_in = counts.deletions.setdefault((name, offset), self.leader_epoch)
        future.add_done_callback(partial(_deleted, counts, asked_in != self.leader_epoch))
        return future

    return delete_records


def _deleted(counts: Counts, led_by_another: bool, future: asyncio.Future[int]) -> None:
    if not future.cancelled() and future.exception() is None:
        counts.add("a deletion is acknowledged")
        counts.add("a deletion is acknowledged under another leader than it was asked of", led_by_another)


@_around(LogDirs, LogDirs.move)
def _(counts: Counts, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def move(self: LogDirs, *arguments: Any) -> None:
        await original(self, *arguments)
        counts.add("a replica moves to another directory")

    return move


@_around(Log, Log._note_damage)
def _(counts: Counts, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def note_damage(self: Log, *arguments: Any) -> None:
        before = self.damage
        await original(self, *arguments)
        counts.add("damage is found by a read", before is None and self.damage is not None)

    return note_damage


@_around(Scrubber, Scrubber._read)
def _(counts: Counts, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def read(self: Scrubber, partition: Partition) -> None:
        try:
            await original(self, partition)
        except DamagedReplica:
            counts.add("damage is found by scrubbing")
            raise

    return read


@_around(Log, Log._roll)
def _(counts: Counts, original: Callable[[Log], Any]) -> Callable[[Log], Any]:
    def roll(self: Log) -> Any:
        counts.add("a segment is rolled")
        return original(self)

    return roll


@_around(Segments, Segments.drop_last)
def _(counts: Counts, original: Callable[[Segments], Any]) -> Callable[[Segments], Any]:
    def drop_last(self: Segments) -> Any:
        counts.add("a truncation goes across segments")
        return original(self)

    return drop_last


@_around(Headroom, Headroom.check)
def _(counts: Counts, original: Callable[[Headroom], None]) -> Callable[[Headroom], None]:
    def check(self: Headroom) -> None:
        counts.add("producers are refused for want of room", self.is_low)
        original(self)

    return check


@_around(GroupCommit, GroupCommit._fail)
def _(counts: Counts, original: Callable[..., Any]) -> Callable[..., Any]:
    def fail(self: GroupCommit, error: OSError) -> Any:
        counts.add("a disk fails", self.failure is None)
        return original(self, error)

    return fail


@_around(ProducerStates, ProducerStates.check)
def _(counts: Counts, original: Callable[..., Duplicate | None]) -> Callable[..., Duplicate | None]:
    def check(self: ProducerStates, header: Any) -> Duplicate | None:
        try:
            duplicate = original(self, header)
        except OutOfOrderSequenceNumber:
            counts.add("a batch out of its producer's order is refused")
            raise
        if duplicate is not None:
            counts.add("a duplicate is answered")
        return duplicate

    return check


@_around(ProducerStates, ProducerStates.load)
def _(counts: Counts, original: Callable[..., None]) -> Callable[..., None]:
    def load(self: ProducerStates, data: bytes, now: float) -> None:
        original(self, data, now)
        counts.add("a producer snapshot is loaded")

    return load


# replication


@_around(Following, Following.reconcile)
def _(counts: Counts, original: Callable[..., Awaitable[bool]]) -> Callable[..., Awaitable[bool]]:
    async def reconcile(self: Following, refusal: Any) -> bool:
        before = self.log.log_end_offset
        again = await original(self, refusal)
        counts.add("a divergence is truncated", self.log.log_end_offset < before)
        return again

    return reconcile


@_around(Readers, Readers.replica_for)
def _(counts: Counts, original: Callable[..., NodeId | None]) -> Callable[..., NodeId | None]:
    def replica_for(self: Readers, *arguments: Any) -> NodeId | None:
        replica = original(self, *arguments)
        counts.add("a reader is sent to a follower", replica is not None)
        return replica

    return replica_for


@_around(Readers, Readers.check_following)
def _(counts: Counts, original: Callable[..., None]) -> Callable[..., None]:
    def check_following(self: Readers, *arguments: Any) -> None:
        try:
            original(self, *arguments)
        except DohleError:
            counts.add("a reader is sent back to its leader")
            raise

    return check_following


@_around(InSyncSet, InSyncSet.committed_as)
def _(counts: Counts, original: Callable[..., bool]) -> Callable[..., bool]:
    def committed_as(self: InSyncSet, members: Any, partition_epoch: int) -> bool:
        before = len(self.committed)
        is_news = original(self, members, partition_epoch)
        counts.add("an ISR grows", len(self.committed) > before)
        counts.add("an ISR shrinks", len(self.committed) < before)
        return is_news

    return committed_as


@_around(Leading, Leading.append)
def _(counts: Counts, original: Callable[..., Any]) -> Callable[..., Any]:
    def append(self: Leading, *arguments: Any, **options: Any) -> Any:
        try:
            return original(self, *arguments, **options)
        except NotEnoughReplicas:
            counts.add("an append is refused for want of replicas")
            raise

    return append


@_around(Leading, Leading.resign)
def _(counts: Counts, original: Callable[..., None]) -> Callable[..., None]:
    def resign(self: Leading, failure: DohleError) -> None:
        counts.add("acknowledgements fail with their epoch", len(self._for_all) > 0)
        counts.add("a damaged leader is relieved", self.log.damage is not None)
        original(self, failure)

    return resign


@_around(Leading, Leading._wait_for_joining)
def _(counts: Counts, original: Callable[..., int]) -> Callable[..., int]:
    def wait_for_joining(self: Leading, candidate: int, now: float) -> int:
        before = [replica.joins_until for replica in self.replicas.values()]
        moves_to = original(self, candidate, now)
        begun = [
            was is None and one.joins_until is not None for was, one in zip(before, self.replicas.values(), strict=True)
        ]
        counts.add("the watermark waits for a replica that is about to join", sum(begun))
        return moves_to

    return wait_for_joining


@_around(PushSession, PushSession._compose_chunks)
def _(counts: Counts, original: Callable[..., Any]) -> Callable[..., Any]:
    def compose_chunks(self: PushSession) -> Any:
        counts.add("a replica catches up by chunks")
        return original(self)

    return compose_chunks


@_around(Replicas, Replicas.begin_anew)
def _(counts: Counts, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def begin_anew(self: Replicas, following: Following) -> None:
        await original(self, following)
        partition = self.partitions.get(following.key)
        counts.add("a damaged replica begins anew", partition is not None and partition.log is not following.log)

    return begin_anew


@_around(Repairs, Repairs._done)
def _(counts: Counts, original: Callable[..., None]) -> Callable[..., None]:
    def done(self: Repairs, *arguments: Any) -> None:
        original(self, *arguments)
        counts.add("a damaged replica is repaired in place")

    return done


# clients


@_around(Admin, Admin.drain_broker)
def _(counts: Counts, original: Callable[..., Awaitable[DrainedBroker]]) -> Callable[..., Awaitable[DrainedBroker]]:
    async def drain_broker(self: Admin, node_id: int, **options: bool) -> DrainedBroker:
        answer = await original(self, node_id, **options)
        counts.add("a broker is drained", answer.changed and not options)
        return answer

    return drain_broker


@_around(Admin, Admin.unregister_broker)
def _(counts: Counts, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def unregister_broker(self: Admin, node_id: int) -> None:
        await original(self, node_id)
        counts.add("a broker is forgotten")

    return unregister_broker


@_around(rebalance_plan, rebalance_plan.plan_rebalance)
def _(counts: Counts, original: Callable[..., Awaitable[RebalancePlan]]) -> Callable[..., Awaitable[RebalancePlan]]:
    async def plan_rebalance(*arguments: Any) -> RebalancePlan:
        plan = await original(*arguments)
        counts.add("a rebalance moves replicas", any(set(move.before) != set(move.after) for move in plan.moves))
        return plan

    return plan_rebalance


# brokers


@_around(MetadataFollower, MetadataFollower._apply)
def _(counts: Counts, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def apply(self: MetadataFollower, encoded: bytes) -> None:
        before = counts.controllers.get(self, self.controller_id)
        counts.add("a metadata follower changes its controller", before != self.controller_id)
        counts.controllers[self] = self.controller_id
        await original(self, encoded)

    return apply


@_around(Broker, Broker.leave)
def _(counts: Counts, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    def leads(broker: Broker) -> bool:
        return any(isinstance(partition.role, Leading) for partition in broker.replicas.partitions.values())

    async def leave(self: Broker) -> None:
        led = leads(self)
        await original(self)
        counts.add("all leaderships are handed over in a controlled shutdown", led and not leads(self))

    return leave


@_around(MetadataFollower, MetadataFollower._install)
def _(counts: Counts, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def install(self: MetadataFollower, *arguments: Any) -> None:
        await original(self, *arguments)
        counts.add("a broker takes a snapshot")

    return install
