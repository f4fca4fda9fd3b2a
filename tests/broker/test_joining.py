"""Who joins the in-sync set and who leaves it: rules 6, 8 and 9, amendments 1, 7 and 8."""

from __future__ import annotations

from dohle.broker.in_sync import Proposal
from dohle.broker.leading import JOIN_WAIT_S
from tests.broker.led_partition import LAG_S, ONE, THREE, TWO, Partition
from tests.broker.logs import batch
from tests.broker.virtual_time import in_virtual_time

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
async def test_a_replica_that_stands_still_is_not_taken_in_again_and_holds_nothing_up() -> None:
    partition = await Partition.new()
    partition.subscribe(2, 0)
    partition.subscribe(3, 0)
    partition.append()
    await partition.durable()
    partition.acknowledge(2, 1)
    partition.now += LAG_S + 1
    partition.leading.tick(partition.now)
    assert [proposal.members for proposal in partition.asked] == [(ONE, TWO)]
    partition.leading.isr_committed((ONE, TWO), 6, partition.now)
    assert partition.watermark == 1
    assert len(partition.asked) == 1, "it stands where the watermark stood, and yet it lags"
    partition.acknowledge(3, 1)
    assert [proposal.members for proposal in partition.asked[1:]] == [(ONE, TWO, THREE)]


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
async def test_a_replica_that_was_not_sent_what_it_lacks_holds_nobody_up_yet() -> None:
    partition = await Partition.new(isr=(1, 2))
    partition.subscribe(2, 0)
    partition.append()
    await partition.durable()
    partition.acknowledge(2, 1)
    partition.subscribe(3, 0)
    partition.followers[3].is_live = False
    partition.append()
    await partition.durable()
    partition.acknowledge(2, 2)
    assert partition.watermark == 2, "its turn to catch up has not come"
    partition.followers[3].is_live = True
    partition.append()
    await partition.durable()
    partition.acknowledge(2, 3)
    assert partition.watermark == 2, "all is sent, and it is about to join"
    partition.acknowledge(3, 3)
    assert partition.watermark == 3


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


@in_virtual_time
async def test_a_fenced_member_leaves_once_enough_others_are_there_even_if_that_was_refused_once() -> None:
    partition = await Partition.new(isr=(1, 2, 3))
    partition.subscribe(2, 0)
    partition.fenced = {3}
    partition.leading.look_again(partition.now)
    assert partition.asked == [Proposal((ONE, TWO), 5)]
    partition.leading.isr_refused(partition.asked.pop(), partition.now)
    partition.append()
    partition.leading.tick(partition.now)
    assert partition.asked == [Proposal((ONE, TWO), 5)]


@in_virtual_time
async def test_fenced_members_stay_while_too_few_others_are_left() -> None:
    partition = await Partition.new(isr=(1, 2, 3))
    partition.fenced = {2, 3}
    partition.leading.look_again(partition.now)
    assert not partition.asked
