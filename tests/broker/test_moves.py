"""A leader whose partition gets replicas, and how fast those are fed."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from rpds import HashTrieMap, HashTrieSet

from dohle.broker.catch_up_bounds import CatchUpBounds
from dohle.broker.read_budget import LEAST_CHUNK_BYTES, ReadBudget
from dohle.model.ids import NodeId, PartitionKey
from dohle.model.image import EMPTY_IMAGE, ClusterImage, PartitionImage, TopicImage
from dohle.model.topic_config import TopicConfig
from tests.broker.led_partition import ONE, TWO, Partition
from tests.broker.logs import TOPIC_ID
from tests.broker.pair import FOLLOWER, Pair
from tests.broker.virtual_time import VirtualClock, in_virtual_time

FOUR = NodeId(4)
BEFORE = PartitionImage((ONE, TWO), (ONE, TWO), ONE, 7, 5, (0, 0))


@in_virtual_time
async def test_a_replica_that_is_added_joins_in_the_same_leader_epoch() -> None:
    partition = await Partition.new(isr=(1, 2), replicas=(1, 2), min_insync=2)
    partition.subscribe(2, 0)
    added = replace(BEFORE, assigned_replicas=(FOUR, ONE, TWO), adding_replicas=(FOUR,), assigned_at=(9, 0, 0))
    partition.leading.reassigned(added)
    partition.leading.isr_committed((ONE, TWO), 6, partition.now)
    assert partition.leading.is_adding(FOUR)
    assert not partition.leading.is_adding(TWO)
    partition.append()
    await partition.durable()
    partition.acknowledge(2, 1)
    assert partition.watermark == 1
    partition.subscribe(4, 0)
    partition.acknowledge(4, 1)
    assert partition.asked[-1].members == (ONE, TWO, FOUR)


@in_virtual_time
async def test_what_is_added_raises_the_minimum_only_when_all_of_it_is_there() -> None:
    partition = await Partition.new(isr=(1,), replicas=(1,), min_insync=2)
    added = replace(BEFORE, assigned_replicas=(ONE, TWO), in_sync_replicas=(ONE,), adding_replicas=(TWO,))
    partition.leading.reassigned(added)
    assert partition.leading.min_in_sync == 1
    partition.leading.reassigned(replace(added, in_sync_replicas=(ONE, TWO), adding_replicas=()))
    assert partition.leading.min_in_sync == 2


@in_virtual_time
async def test_an_overdrawn_budget_is_made_good_before_the_next_chunk() -> None:
    clock, rate = VirtualClock(), [100_000]
    budget = ReadBudget(clock, lambda: rate[0])
    assert budget.pause_s() == 0
    budget.spend(50_000)
    budget.spend(150_000)
    assert abs(budget.pause_s() - 2.0) < 1e-6
    assert budget.chunk_bytes(1 << 20) == 100_000
    await clock.sleep(3)
    assert budget.pause_s() == 0
    budget.spend(100_000)
    rate[0] = 0
    assert budget.pause_s() == 0
    assert budget.chunk_bytes(1 << 20) == 1 << 20
    rate[0] = 1
    assert budget.chunk_bytes(1 << 20) == LEAST_CHUNK_BYTES


async def _seconds_to_catch_up(*, adding: tuple[int, ...] = (), fills: bool = False, meanwhile: int = 0) -> float:
    pair = await Pair.new()
    pair.throttle_bytes_per_s = 50_000
    pair.lead(isr=(1,), adding=adding)
    for _ in range(20):
        pair.append(size=10_000)
    began = pair.now
    pair.follow(fills=fills)
    await asyncio.sleep(0.1)
    for _ in range(meanwhile):
        pair.append(size=10_000)
    await pair.caught_up()
    return pair.now - began


@in_virtual_time
async def test_the_throttle_holds_up_replicas_that_are_added_and_no_others() -> None:
    assert await _seconds_to_catch_up() < 0.5
    assert 2.0 < await _seconds_to_catch_up(adding=(FOLLOWER,)) < 6.0


@in_virtual_time
async def test_a_replica_that_begins_with_nothing_is_filled_at_a_bounded_rate_which_newer_writes_are_not() -> None:
    assert 2.0 < await _seconds_to_catch_up(fills=True) < 6.0
    assert 2.0 < await _seconds_to_catch_up(fills=True, meanwhile=100) < 6.0


def _image(partitions: list[PartitionImage]) -> ClusterImage:
    """A cluster in which these partitions move, at 100 kB a second, to broker 4."""
    numbers = tuple(range(len(partitions)))
    return replace(
        EMPTY_IMAGE,
        topics=HashTrieMap({TOPIC_ID: TopicImage(TOPIC_ID, "t", 0, tuple(partitions), {}, TopicConfig())}),
        hosted=HashTrieMap({FOUR: HashTrieMap({TOPIC_ID: numbers})}),
        reassigning=HashTrieSet(PartitionKey(TOPIC_ID, number) for number in numbers),
        reassignment_bytes_per_s=100_000,
    )


@in_virtual_time
async def test_a_follower_that_many_leaders_feed_gets_its_rate_shared_among_them() -> None:
    clock = VirtualClock()
    moving = [
        PartitionImage((leader, FOUR), (leader,), leader, 1, 1, (0, 0), adding_replicas=(FOUR,))
        for leader in (ONE, TWO, ONE)
    ]
    image = _image(moving)
    bounds = CatchUpBounds(clock, lambda: image, fill_bytes_per_s=30_000)
    for bound, share in ((bounds.of_moves_to(FOUR), 50_000), (bounds.of_fills_of(FOUR), 15_000)):
        bound.spend(share)
        assert abs(bound.pause_s() - 1.0) < 1e-6, "half of the rate is this leader's"
    image = _image(moving[:1])
    await clock.sleep(2.0)
    for bound, share in ((bounds.of_moves_to(FOUR), 100_000), (bounds.of_fills_of(FOUR), 30_000)):
        bound.spend(share)
        assert abs(bound.pause_s() - 1.0) < 1e-6, "nobody else feeds it any more"
