"""The leader of one partition: watermark, acknowledgements, joining and leaving, on a real log in memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random

import pytest

from dohle.broker.in_sync import Proposal
from dohle.broker.leading import ACKS_ALL, ACKS_LEADER, ACKS_NONE, JOIN_WAIT_S, LeaderTerms, Leading
from dohle.broker.waiting import Produced
from dohle.model.errors import (
    CorruptMessage,
    InvalidRequiredAcks,
    NotEnoughReplicas,
    NotEnoughReplicasAfterAppend,
    NotLeaderOrFollower,
    OutOfOrderSequenceNumber,
    RequestTimedOut,
)
from dohle.model.ids import NodeId
from dohle.model.image import PartitionImage
from dohle.model.topic_config import TopicConfig
from dohle.runtime.tasks import Tasks
from tests.broker.logs import batch, fill, new_log
from tests.broker.slow_disk import SlowDisk
from tests.broker.virtual_time import in_virtual_time

ONE, TWO, THREE = NodeId(1), NodeId(2), NodeId(3)
LAG_S = 10.0


@dataclass
class Follower:
    """What a follower's feed is told."""

    ends: list[int] = field(default_factory=list)
    watermarks: int = 0
    resigned: bool = False

    def appended(self, batch: bytes | bytearray | memoryview, base_offset: int, next_offset: int) -> None:
        self.ends.append(next_offset)

    def watermark_moved(self) -> None:
        self.watermarks += 1

    def leader_resigned(self) -> None:
        self.resigned = True


class Partition:
    """Broker 1 leads, 2 and 3 follow by hand."""

    def __init__(self, isr: tuple[int, ...], min_insync: int, replicas: tuple[int, ...]) -> None:
        self.disk = SlowDisk(Random(1))
        self.failures: list[BaseException] = []
        self.tasks = Tasks("test", self.failures.append)
        self.config = TopicConfig(min_insync_replicas=min_insync)
        self.asked: list[Proposal] = []
        self.fenced: set[int] = set()
        self.moved = 0
        self.looks: list[float] = []
        self.now = 100.0
        self.isr, self.assigned = isr, replicas
        self.numbers = 0
        self.followers: dict[int, Follower] = {}

    @classmethod
    async def new(
        cls,
        isr: tuple[int, ...] = (1, 2, 3),
        *,
        min_insync: int = 2,
        replicas: tuple[int, ...] = (1, 2, 3),
        found: tuple[tuple[int, int], ...] = (),
        flush_messages: int = 1,
    ) -> Partition:
        self = cls(isr, min_insync, replicas)
        self.config = TopicConfig(min_insync_replicas=min_insync, flush_messages=flush_messages)
        self.log = await new_log(self.disk, self.tasks, self.config)
        await fill(self.log, *found)
        self.lead(7)
        return self

    def lead(self, epoch: int) -> Leading:
        def moved() -> None:
            self.moved += 1

        terms = LeaderTerms(
            me=ONE,
            lag_time_max_s=LAG_S,
            is_live=lambda node: node not in self.fenced,
            may_join=lambda node, broker_epoch: node not in self.fenced and broker_epoch == 10 + node,
            ask_controller=self.asked.append,
            watermark_moved=moved,
            look_again=self.looks.append,
        )
        assigned = tuple(NodeId(node) for node in self.assigned)
        image = PartitionImage(assigned, tuple(NodeId(n) for n in self.isr), ONE, epoch, 5, (0,) * len(assigned))
        leading = Leading(self.log, image, terms, self.now)
        self.log.on_durable = lambda: leading.advance(self.now)
        leading.advance(self.now)
        self.leading = leading
        return leading

    def subscribe(self, node: int, durable_end: int, *, broker_epoch: int | None = None) -> Follower:
        self.numbers += 1
        follower = self.followers[node] = Follower()
        self.leading.subscribed(
            NodeId(node),
            10 + node if broker_epoch is None else broker_epoch,
            self.numbers,
            durable_end,
            follower,
            self.now,
        )
        return follower

    def acknowledge(self, node: int, durable_end: int) -> None:
        self.leading.acknowledged(NodeId(node), self.followers[node], durable_end, self.now)

    def append(
        self, acks: int = ACKS_ALL, *, timeout_s: float = 5.0, data: bytes | None = None
    ) -> asyncio.Future[Produced]:
        data = batch() if data is None else data
        future = self.leading.append(data, acks, self.now + timeout_s, self.now, int(self.now * 1000))
        assert future is not None
        future.add_done_callback(lambda done: done.exception())  # not every test looks at every answer
        return future

    async def durable(self) -> None:
        await self.log.flush()

    @property
    def watermark(self) -> int:
        return self.log.high_watermark


# the watermark


@in_virtual_time
async def test_the_watermark_is_the_least_durable_end_of_the_in_sync_set() -> None:
    partition = await Partition.new()
    partition.subscribe(2, 0)
    partition.subscribe(3, 0)
    for _ in range(3):
        partition.append()
    await partition.durable()
    assert partition.watermark == 0
    partition.acknowledge(2, 3)
    assert partition.watermark == 0
    partition.acknowledge(3, 2)
    assert partition.watermark == 2
    assert partition.followers[2].watermarks == 1
    assert partition.moved == 1


@in_virtual_time
async def test_the_leaders_own_fsync_counts_as_anybodys() -> None:
    partition = await Partition.new()
    partition.subscribe(2, 0)
    partition.subscribe(3, 0)
    partition.disk.gate.clear()
    partition.append()
    partition.acknowledge(2, 1)
    partition.acknowledge(3, 1)
    assert partition.watermark == 0
    partition.disk.gate.set()
    await partition.durable()
    assert partition.watermark == 1


@in_virtual_time
async def test_a_member_that_never_subscribed_holds_the_watermark() -> None:
    partition = await Partition.new(found=((3, 4),))
    partition.subscribe(2, 4)
    assert partition.watermark == 0


@in_virtual_time
async def test_a_new_subscription_with_less_takes_nothing_back() -> None:
    partition = await Partition.new()
    partition.subscribe(2, 0)
    partition.subscribe(3, 0)
    partition.append()
    await partition.durable()
    partition.acknowledge(2, 1)
    partition.acknowledge(3, 1)
    partition.append()
    await partition.durable()
    partition.subscribe(2, 0)
    assert partition.watermark == 1
    partition.acknowledge(3, 2)
    assert partition.watermark == 1


@in_virtual_time
async def test_the_watermark_stands_while_too_few_are_live() -> None:
    partition = await Partition.new(isr=(1, 2), min_insync=2)
    partition.subscribe(2, 0)
    waiting = partition.append()
    partition.fenced = {2}
    await partition.durable()
    partition.acknowledge(2, 1)
    assert partition.watermark == 0
    assert not waiting.done()
    partition.fenced = set()
    partition.leading.look_again(partition.now)
    assert partition.watermark == 1


@in_virtual_time
async def test_the_minimum_is_never_more_than_the_replicas() -> None:
    partition = await Partition.new(isr=(1,), replicas=(1,), min_insync=2)
    future = partition.append()
    await partition.durable()
    assert (await future).base_offset == 0


@in_virtual_time
async def test_a_joining_member_counts_before_the_controller_has_answered() -> None:
    partition = await Partition.new(isr=(1, 2))
    partition.subscribe(2, 0)
    partition.subscribe(3, 0)
    assert partition.asked == [Proposal((ONE, TWO, THREE), 5)]
    partition.append()
    await partition.durable()
    partition.acknowledge(2, 1)
    assert partition.watermark == 0
    partition.fenced = {3}
    partition.leading.isr_refused(partition.asked[0], partition.now)
    assert partition.watermark == 1


@in_virtual_time
async def test_a_leaving_member_counts_until_the_controller_has_agreed() -> None:
    partition = await Partition.new()
    partition.subscribe(2, 0)
    partition.append()
    await partition.durable()
    partition.acknowledge(2, 1)
    partition.now += LAG_S + 1
    partition.leading.tick(partition.now)
    assert partition.asked == [Proposal((ONE, TWO), 5)]
    assert partition.watermark == 0
    partition.leading.isr_committed((ONE, TWO), 6, partition.now)
    assert partition.watermark == 1


# acknowledgements


@in_virtual_time
async def test_acks_all_waits_for_the_watermark() -> None:
    partition = await Partition.new()
    partition.subscribe(2, 0)
    partition.subscribe(3, 0)
    future = partition.append()
    await partition.durable()
    partition.acknowledge(2, 1)
    assert not future.done()
    partition.acknowledge(3, 1)
    assert future.result() == Produced(0, -1, 0)


@in_virtual_time
async def test_acks_of_the_leader_wait_for_its_own_fsync_alone() -> None:
    partition = await Partition.new()
    future = partition.append(ACKS_LEADER)
    assert not future.done()
    await partition.durable()
    assert future.result().base_offset == 0


@in_virtual_time
async def test_acks_none_gives_no_answer() -> None:
    partition = await Partition.new()
    leading = partition.leading
    assert leading.append(batch(), ACKS_NONE, 0.0, 0.0, 0) is None
    assert partition.log.log_end_offset == 1
    with pytest.raises(InvalidRequiredAcks):
        leading.append(batch(), 2, 0.0, 0.0, 0)


@in_virtual_time
async def test_a_relaxed_topic_counts_what_is_appended() -> None:
    partition = await Partition.new(flush_messages=1000)
    await asyncio.sleep(0.01)  # the note that this log is relaxed must be durable first
    partition.subscribe(2, 0)
    partition.subscribe(3, 0)
    partition.disk.gate.clear()
    assert partition.append(ACKS_LEADER).done()
    future = partition.append()
    partition.acknowledge(2, 2)
    partition.acknowledge(3, 2)
    assert future.done()


@in_virtual_time
async def test_too_few_in_sync_refuse_acks_all_and_write_nothing() -> None:
    partition = await Partition.new(isr=(1,), min_insync=2)
    with pytest.raises(NotEnoughReplicas, match="nothing was written"):
        partition.append()
    assert partition.log.log_end_offset == 0
    partition.append(ACKS_LEADER)
    assert partition.log.log_end_offset == 1


@in_virtual_time
async def test_a_fenced_member_is_not_in_sync() -> None:
    partition = await Partition.new(isr=(1, 2), min_insync=2)
    partition.fenced = {2}
    with pytest.raises(NotEnoughReplicas):
        partition.append()


@in_virtual_time
async def test_too_few_after_the_append_say_so() -> None:
    partition = await Partition.new(isr=(1, 2), min_insync=2)
    partition.subscribe(2, 0)
    partition.disk.gate.clear()
    future = partition.append()
    partition.log.advance_high_watermark(1)
    partition.fenced = {2}
    partition.leading.advance(partition.now)
    assert isinstance(future.exception(), NotEnoughReplicasAfterAppend)
    partition.disk.gate.set()


@in_virtual_time
async def test_a_damaged_batch_is_refused_before_anything_is_written() -> None:
    partition = await Partition.new()
    data = bytearray(batch())
    data[-1] ^= 1
    with pytest.raises(CorruptMessage):
        partition.append(data=bytes(data))
    assert partition.log.log_end_offset == 0


@in_virtual_time
async def test_whoever_waits_past_its_deadline_is_told() -> None:
    partition = await Partition.new()
    partition.subscribe(2, 0)
    future = partition.append(timeout_s=1.0)
    await partition.durable()
    assert not partition.leading.is_idle
    partition.now += 0.9
    partition.leading.tick(partition.now)
    assert not future.done()
    partition.now += 0.2
    partition.leading.tick(partition.now)
    assert isinstance(future.exception(), RequestTimedOut)


@in_virtual_time
async def test_what_waits_fails_when_the_epoch_ends_and_the_next_one_never_answers_it() -> None:
    partition = await Partition.new()
    follower = partition.subscribe(2, 0)
    futures = [partition.append(), partition.append(ACKS_LEADER)]
    partition.leading.resign(NotLeaderOrFollower("over"))
    assert [type(future.exception()) for future in futures] == [NotLeaderOrFollower] * 2
    assert follower.resigned
    partition.lead(8)
    partition.subscribe(2, 2)
    partition.subscribe(3, 2)
    await partition.durable()
    assert partition.watermark == 2


# duplicates (rule 19)


@in_virtual_time
async def test_a_duplicate_is_answered_like_the_original_once_the_watermark_has_passed() -> None:
    partition = await Partition.new()
    partition.subscribe(2, 0)
    partition.subscribe(3, 0)
    data = batch(3, producer=9, sequence=0)
    partition.append()
    original, duplicate = partition.append(data=data), partition.append(data=data)
    assert partition.log.log_end_offset == 4
    await partition.durable()
    assert not duplicate.done()
    partition.acknowledge(2, 4)
    partition.acknowledge(3, 4)
    assert original.result().base_offset == duplicate.result().base_offset == 1


@in_virtual_time
async def test_a_new_leader_answers_a_duplicate_only_when_its_own_epoch_has_reached_it() -> None:
    partition = await Partition.new()
    partition.subscribe(2, 0)
    partition.subscribe(3, 0)
    data = batch(producer=9, sequence=0)
    partition.append(data=data)
    partition.append()
    await partition.durable()
    partition.acknowledge(2, 1)
    partition.acknowledge(3, 1)
    assert partition.watermark == 1
    partition.leading.resign(NotLeaderOrFollower())
    partition.lead(8)
    duplicate = partition.append(data=data)
    assert not duplicate.done()  # the watermark is past it, by the epoch before
    partition.subscribe(2, 2)
    partition.subscribe(3, 2)
    assert duplicate.result().base_offset == 0


@in_virtual_time
async def test_a_gap_in_the_sequence_is_refused() -> None:
    partition = await Partition.new()
    partition.append(data=batch(producer=9, sequence=0))
    with pytest.raises(OutOfOrderSequenceNumber):
        partition.append(data=batch(producer=9, sequence=2))


# joining (rules 6 and 8)


@in_virtual_time
async def test_joining_takes_the_watermark_the_epochs_start_and_the_known_broker_epoch() -> None:
    partition = await Partition.new(isr=(1, 2), found=((3, 10),))
    partition.subscribe(2, 10)
    assert partition.watermark == 10
    partition.append()
    await partition.durable()
    partition.subscribe(3, 9)
    assert not partition.asked, "below the watermark"
    partition.acknowledge(3, 10)
    assert [proposal.members for proposal in partition.asked] == [(ONE, TWO, THREE)]


@in_virtual_time
async def test_below_the_epochs_start_nobody_joins_however_low_the_watermark() -> None:
    partition = await Partition.new(isr=(1, 2), found=((3, 10),))
    partition.subscribe(3, 9)
    assert partition.watermark == 0
    assert not partition.asked


@in_virtual_time
async def test_a_fenced_or_earlier_incarnation_does_not_join() -> None:
    partition = await Partition.new(isr=(1, 2))
    partition.subscribe(2, 0)
    partition.fenced = {3}
    partition.subscribe(3, 0)
    partition.fenced = set()
    partition.subscribe(3, 0, broker_epoch=4)
    assert not partition.asked


@in_virtual_time
async def test_whoever_was_refused_or_had_to_queue_joins_later_without_speaking_again() -> None:
    partition = await Partition.new(isr=(1,), min_insync=1)
    partition.subscribe(2, 0)
    partition.subscribe(3, 0)
    assert [proposal.members for proposal in partition.asked] == [(ONE, TWO)]
    partition.leading.isr_refused(partition.asked.pop(), partition.now)
    assert not partition.leading.is_idle
    partition.leading.tick(partition.now)
    assert [proposal.members for proposal in partition.asked] == [(ONE, TWO)]
    partition.leading.isr_committed((ONE, TWO), 6, partition.now)
    assert [proposal.members for proposal in partition.asked[1:]] == [(ONE, TWO, THREE)]
    partition.leading.isr_committed((ONE, TWO, THREE), 7, partition.now)
    assert partition.leading.is_idle


@in_virtual_time
async def test_the_watermark_waits_a_moment_for_a_replica_about_to_join() -> None:
    partition = await Partition.new(isr=(1, 2))
    partition.subscribe(2, 0)
    partition.append()
    partition.append()
    await partition.durable()
    partition.acknowledge(2, 1)
    partition.acknowledge(2, 2)
    assert partition.watermark == 2
    partition.subscribe(3, 0)
    partition.append()
    await partition.durable()
    partition.acknowledge(2, 3)
    assert partition.watermark == 2, "replica 3 is on its way"
    assert partition.looks == [JOIN_WAIT_S]
    partition.acknowledge(3, 2)
    assert partition.asked == [Proposal((ONE, TWO, THREE), 5)]
    assert partition.watermark == 2
    partition.acknowledge(3, 3)
    assert partition.watermark == 3


@in_virtual_time
async def test_the_watermark_waits_no_longer_than_it_may() -> None:
    partition = await Partition.new(isr=(1, 2))
    partition.subscribe(2, 0)
    partition.append()
    await partition.durable()
    partition.acknowledge(2, 1)
    partition.subscribe(3, 0)
    partition.append()
    await partition.durable()
    partition.acknowledge(2, 2)
    assert partition.watermark == 1
    partition.now += JOIN_WAIT_S
    partition.leading.advance(partition.now)
    assert partition.watermark == 2
    partition.append()
    await partition.durable()
    partition.acknowledge(2, 3)
    assert partition.watermark == 3, "it has had its moment"


@in_virtual_time
async def test_a_replica_far_behind_holds_nobody_up() -> None:
    partition = await Partition.new(isr=(1, 2))
    partition.subscribe(2, 0)
    for _ in range(3):
        partition.append(data=batch(size=900_000))
    await partition.durable()
    partition.acknowledge(2, 3)
    partition.subscribe(3, 0)
    partition.append()
    await partition.durable()
    partition.acknowledge(2, 4)
    assert partition.watermark == 4


@in_virtual_time
async def test_near_the_watermark_is_near_enough_however_much_is_in_flight() -> None:
    partition = await Partition.new(isr=(1, 2))
    partition.subscribe(2, 0)
    partition.append()
    await partition.durable()
    partition.acknowledge(2, 1)
    partition.subscribe(3, 0)
    for _ in range(3):
        partition.append(data=batch(size=900_000))
    await partition.durable()
    partition.acknowledge(2, 2)
    assert partition.watermark == 1


# lagging (rule 9, amendments 1 and 7)


@in_virtual_time
async def test_a_lagging_replica_leaves_and_an_idle_one_stays() -> None:
    partition = await Partition.new()
    partition.subscribe(2, 0)
    partition.subscribe(3, 0)
    partition.now += 100 * LAG_S
    partition.leading.tick(partition.now)
    assert not partition.asked
    partition.append()
    await partition.durable()
    partition.acknowledge(2, 1)
    partition.now += LAG_S - 0.5
    partition.leading.tick(partition.now)
    assert not partition.asked
    partition.now += 1.0
    partition.leading.tick(partition.now)
    assert partition.asked == [Proposal((ONE, TWO), 5)]


@in_virtual_time
async def test_lag_never_shrinks_the_set_below_the_minimum() -> None:
    partition = await Partition.new(min_insync=3)
    partition.append()
    partition.now += LAG_S + 1
    partition.leading.tick(partition.now)
    assert not partition.asked


@in_virtual_time
async def test_a_replica_of_an_empty_log_lags_never_even_if_it_does_not_subscribe() -> None:
    partition = await Partition.new()
    partition.now += 100 * LAG_S
    partition.leading.tick(partition.now)
    assert not partition.asked
    assert partition.leading.lags_s(partition.now) == {TWO: 0.0, THREE: 0.0}


@in_virtual_time
async def test_what_a_new_leader_found_counts_from_its_start_for_the_silent() -> None:
    partition = await Partition.new(found=((3, 5),))
    partition.subscribe(2, 5)
    partition.now += LAG_S + 1
    partition.leading.tick(partition.now)
    assert partition.asked == [Proposal((ONE, TWO), 5)]


# subscriptions


@in_virtual_time
async def test_acknowledgements_of_an_older_subscription_are_ignored() -> None:
    partition = await Partition.new()
    partition.subscribe(3, 0)
    old = partition.subscribe(2, 0)
    partition.append()
    await partition.durable()
    partition.acknowledge(3, 1)
    partition.subscribe(2, 0)
    partition.leading.acknowledged(TWO, old, 1, partition.now)
    assert partition.watermark == 0
    partition.leading.unsubscribed(TWO, old)
    assert partition.leading.replicas[TWO].subscriber is partition.followers[2]


@in_virtual_time
async def test_a_new_leader_notes_its_epoch_before_anything_is_appended() -> None:
    partition = await Partition.new(found=((3, 5),))
    assert partition.leading.epoch_start == 5
    assert partition.log.end_offset_for_epoch(3) == (3, 5)
    assert partition.log.last_epoch == 7
    assert not partition.leading.watermark_is_current
