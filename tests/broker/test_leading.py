"""The leader of one partition: watermark, acknowledgements, duplicates, subscriptions."""

from __future__ import annotations

import asyncio

import pytest

from dohle.broker.in_sync import Proposal
from dohle.broker.leading import ACKS_LEADER, ACKS_NONE
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
from tests.broker.led_partition import LAG_S, ONE, THREE, TWO, Partition
from tests.broker.logs import batch
from tests.broker.virtual_time import in_virtual_time

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
    partition.leading.acknowledged(TWO, old, 1, 0, partition.now)
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
