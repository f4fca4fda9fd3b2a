"""Deletion of records across brokers: durable on all that live or may lead before it is answered, and never undone."""

from __future__ import annotations

import asyncio

import pytest

from dohle.broker.deletions import WATERMARK
from dohle.broker.fetch_set import Fetched, FetchWanted
from dohle.broker.leading import ACKS_ALL
from dohle.broker.reads import EARLIEST
from dohle.model.errors import (
    NotLeaderOrFollower,
    OffsetNotAvailable,
    OffsetOutOfRange,
    PolicyViolation,
    RequestTimedOut,
    UnknownLeaderEpoch,
)
from dohle.storage.checkpoints import LOG_STARTS
from tests.broker.brokers import KEY, Cluster, Node, until
from tests.broker.led_partition import Partition
from tests.broker.logs import PATH, TOPIC_ID, batch, content
from tests.broker.virtual_time import in_virtual_time

# a leader whose followers speak by hand


async def deletable() -> Partition:
    """Five records, everywhere; the leader's start reaches the disk soon."""
    partition = await Partition.new()
    partition.subscribe(2, 0)
    partition.subscribe(3, 0)
    for _ in range(5):
        partition.append()
    await partition.durable()
    partition.acknowledge(2, 5)
    partition.acknowledge(3, 5)
    assert partition.watermark == 5
    return partition


@in_virtual_time
async def test_a_deletion_waits_for_the_leaders_disk_and_for_all_that_live() -> None:
    partition = await deletable()
    deleted = partition.leading.delete_records(3, partition.now + 5)
    partition.acknowledge(2, 5, 3)
    partition.acknowledge(3, 5, 3)
    assert not deleted.done(), "the leader's own checkpoint does not have it"
    await asyncio.sleep(1.1)
    assert await deleted == partition.log.log_start_offset == partition.log.durable_start == 3

    deleted = partition.leading.delete_records(4, partition.now + 5)
    await asyncio.sleep(1.1)
    partition.acknowledge(2, 5, 4)
    assert not deleted.done(), "a follower that lives has not confirmed it"
    partition.acknowledge(3, 5, 4)
    assert await deleted == 4


@in_virtual_time
async def test_a_deletion_is_durable_soon_and_not_with_the_next_regular_checkpoint() -> None:
    partition = await deletable()
    for offset in (2, 3, 4):
        asked_at = partition.now
        deleted = partition.leading.delete_records(offset, asked_at + 5)
        partition.acknowledge(2, 5, offset)
        partition.acknowledge(3, 5, offset)
        assert await deleted == offset
        assert partition.now - asked_at < 0.1


@in_virtual_time
async def test_a_fenced_replica_is_not_waited_for_unless_it_may_lead() -> None:
    partition = await Partition.new((1, 2))
    partition.subscribe(2, 0)
    partition.append()
    await partition.durable()
    partition.acknowledge(2, 1)
    partition.fenced = {3}
    deleted = partition.leading.delete_records(1, partition.now + 5)
    partition.acknowledge(2, 1, 1)
    await asyncio.sleep(1.1)
    assert deleted.done(), "one that is fenced and in no set keeps nobody waiting"
    partition.fenced = {2, 3}
    partition.subscribe(2, 1, durable_start=0)
    deleted = partition.leading.delete_records(1, partition.now + 5)
    assert not deleted.done(), "a member of the in-sync set may lead, fenced as it is"
    partition.acknowledge(2, 1, 1)
    assert await deleted == 1


@in_virtual_time
async def test_a_replica_joins_only_once_it_cannot_bring_back_what_was_deleted() -> None:
    partition = await Partition.new((1, 2))
    partition.subscribe(2, 0)
    partition.append()
    await partition.durable()
    partition.acknowledge(2, 1)
    partition.leading.delete_records(1, partition.now + 5)
    partition.acknowledge(2, 1, 1)
    await asyncio.sleep(1.1)
    partition.subscribe(3, 1, durable_start=0)
    assert not partition.asked
    partition.acknowledge(3, 1, 1)
    assert [proposal.members for proposal in partition.asked] == [(1, 2, 3)]


@in_virtual_time
async def test_a_replica_of_a_version_that_does_not_say_joins_and_is_waited_for() -> None:
    partition = await deletable()
    partition.subscribe(3, 5, durable_start=-1)
    deleted = partition.leading.delete_records(3, partition.now + 5)
    partition.acknowledge(2, 5, 3)
    await asyncio.sleep(1.1)
    assert not deleted.done()
    deleted.cancel()


@in_virtual_time
async def test_a_deletion_that_waits_too_long_says_whom_for() -> None:
    partition = await deletable()
    assert partition.leading.is_idle
    deleted = partition.leading.delete_records(3, partition.now + 5)
    partition.acknowledge(2, 5, 3)
    assert not partition.leading.is_idle, "somebody looks at the time"
    partition.leading.tick(partition.now + 4)
    assert not deleted.done()
    partition.leading.tick(partition.now + 6)
    with pytest.raises(RequestTimedOut, match="nodes 3 did not confirm"):
        await deleted


@in_virtual_time
async def test_a_deletion_fails_with_its_epoch() -> None:
    partition = await deletable()
    deleted = partition.leading.delete_records(3, partition.now + 5)
    partition.leading.resign(NotLeaderOrFollower("another leads"))
    with pytest.raises(NotLeaderOrFollower):
        await deleted


# whole brokers


async def produce(node: Node, batches: int, records: int = 1) -> None:
    for _ in range(batches):
        future = await node.broker.produce(KEY, batch(records), ACKS_ALL, 60.0)
        assert future is not None
        await future


async def delete(node: Node, before: int, *, timeout_s: float = 30.0) -> int:
    return (await node.broker.deletions.delete(KEY, before, -1, timeout_s)).log_start_offset


async def written(batches: int = 10, records: int = 1, **overrides: str) -> tuple[Cluster, Node]:
    cluster = await Cluster.started()
    cluster.controller.topic(TOPIC_ID, [[1, 2, 3]], overrides=overrides)
    leader = await cluster.led()
    await produce(leader, batches, records)
    await cluster.healed()
    return cluster, leader


async def fetch(node: Node, offset: int) -> Fetched:
    wanted = [FetchWanted(KEY, offset, 1 << 20)]
    return (await node.broker.reads.fetch(wanted, max_wait_s=0, min_bytes=0, max_bytes=1 << 20))[0]


@in_virtual_time
async def test_what_is_deleted_is_gone_everywhere_when_the_answer_comes() -> None:
    cluster, leader = await written()
    assert await delete(leader, 7) == 7
    for node in cluster.nodes.values():
        text = (await node.disk.read_all(f"{PATH}/{LOG_STARTS}")).decode()
        assert "t 0 7" in text, f"node {node.node_id} would not know it after a loss of power"
    assert isinstance((await fetch(leader, 6)).failure, OffsetOutOfRange)
    assert (await leader.broker.reads.find_offset(KEY, EARLIEST, -1)).offset == 7
    assert await delete(leader, 3) == 7, "what is deleted already needs no more"
    assert await delete(leader, WATERMARK) == 10
    await produce(leader, 1)
    assert (await fetch(leader, 10)).batches
    assert not cluster.failures


@in_virtual_time
async def test_every_leader_after_an_answer_begins_there() -> None:
    cluster, leader = await written(5, records=4)
    assert await delete(leader, 6) == 6, "within a batch"
    for node in cluster.nodes.values():
        await node.kill(power=True)
    for node in cluster.nodes.values():
        await node.start()
    await cluster.healed()
    for _ in range(3):
        leader = await cluster.led()
        assert (await leader.broker.reads.find_offset(KEY, EARLIEST, -1)).offset == 6
        assert (await content(leader.log()))[0][0] == 4, "the batch that has the start"
        cluster.controller.fence(leader.node_id)
        await cluster.healed()
        assert cluster.leader() is not leader


@in_virtual_time
async def test_a_follower_that_was_away_comes_back_into_the_set_with_the_new_start() -> None:
    cluster, leader = await written()
    away = next(node for node in cluster.nodes.values() if node is not leader)
    cluster.controller.held.add(away.node_id)
    cluster.controller.fence(away.node_id)
    assert away.node_id not in cluster.isr()
    await away.kill(power=True)
    assert await delete(leader, 5) == 5
    cluster.controller.held.clear()
    await away.start()
    await until(lambda: away.node_id in cluster.isr(), 30)
    assert away.log().durable_start == 5


@in_virtual_time
async def test_a_deletion_with_a_follower_that_hangs_times_out_and_is_done_once_it_is_back() -> None:
    cluster, leader = await written()
    hangs = next(node for node in cluster.nodes.values() if node is not leader)
    hangs.disk.gate.clear()
    with pytest.raises(RequestTimedOut, match=f"nodes {hangs.node_id} did not confirm"):
        await delete(leader, 5, timeout_s=1.0)
    assert leader.log().log_start_offset == 5
    hangs.disk.gate.set()
    assert await delete(leader, 5) == 5


@in_virtual_time
async def test_what_cannot_be_deleted_is_refused_with_what_could() -> None:
    cluster, leader = await written()
    deletions = leader.broker.deletions
    with pytest.raises(OffsetOutOfRange, match="spans 0 to 10: give at most 10"):
        await delete(leader, 11)
    with pytest.raises(OffsetOutOfRange):
        await delete(leader, -2)
    with pytest.raises(UnknownLeaderEpoch):
        deletions.foreseen(KEY, 5, 7)
    follower = next(node for node in cluster.nodes.values() if node is not leader)
    with pytest.raises(NotLeaderOrFollower):
        follower.broker.deletions.foreseen(KEY, 5, -1)
    leading = leader.leading()
    assert leading is not None
    leading.epoch_start = 11
    with pytest.raises(OffsetNotAvailable):
        deletions.foreseen(KEY, WATERMARK, -1)
    assert leader.log().log_start_offset == 0


@in_virtual_time
async def test_nothing_is_deleted_from_a_topic_that_is_compacted_alone() -> None:
    _, leader = await written(0, **{"cleanup.policy": "compact"})
    with pytest.raises(PolicyViolation, match="compact,delete"):
        await delete(leader, WATERMARK)


@in_virtual_time
async def test_what_would_go_is_told_and_nothing_goes() -> None:
    small = {"index.interval.bytes": "0", "segment.index.bytes": "16"}
    _, leader = await written(10, **small)
    bases = leader.log()._segments.bases
    assert len(bases) > 3
    found = leader.broker.deletions.foreseen(KEY, bases[2] + 1, -1)
    assert (found.log_start_offset, found.before_offset) == (0, bases[2] + 1)
    assert found.size_bytes == sum(segment.size for segment in leader.log()._segments.all[:2])
    whole = leader.broker.deletions.foreseen(KEY, WATERMARK, -1)
    assert whole.size_bytes == leader.log().size_bytes
    assert leader.log().log_start_offset == 0
