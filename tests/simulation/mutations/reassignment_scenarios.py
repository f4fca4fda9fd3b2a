"""Scenarios of what an operator changes while a cluster runs: replicas that move, leaders by word."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from dohle import Admin, Producer
from dohle.client.partition_changes import Reassignment
from dohle.client.values import NewTopic
from dohle.model.ids import NodeId
from dohle.storage.group_commit import Flushed
from dohle.testing.clients.sim_client import seams_of
from dohle.testing.world.topology import NodePlan, Topology
from tests.simulation.mutations.stage import Stage, scenario_in

FIVE = Topology.combined(5, replication_factor=3)
FIVE_AND_A_CONTROLLER = Topology(
    (*(NodePlan(number, False, True) for number in range(1, 6)), NodePlan(6, True, False)), 3, 2
)
"""Where brokers are cut off from one another, whoever decides must not be among them."""


def to(*replicas: int, throttle: int | None = None) -> Callable[[Admin], Coroutine[Any, Any, Any]]:
    """Returns what asks for these replicas of the topic's first partition; none take back what runs."""
    wanted = Reassignment("t", 0, replicas or None)

    async def ask(admin: Admin) -> None:
        outcomes = await admin.alter_partition_reassignments([wanted], throttle_bytes_per_s=throttle)
        assert outcomes == {("t", 0): None}, outcomes

    return ask


def spares(stage: Stage) -> tuple[int, int]:
    """The two brokers that have no replica."""
    first, second = [node for node in stage.world.topology.brokers if node not in stage.partition().assigned_replicas]
    return first, second


@scenario_in(FIVE)
async def a_partition_moves_while_it_is_written(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(20)
    old, targets = stage.partition().assigned_replicas, (*spares(stage), stage.followers()[0])
    receipts = await stage.writes(30)
    await stage.asks(to(*targets))
    receipts += await stage.writes(30)
    await stage.until(lambda: stage.partition().assigned_replicas == targets, "the partition has moved")
    receipts += await stage.writes(30)
    await stage.until(lambda: all(receipt.done() for receipt in receipts), "everything is acknowledged")
    assert not any(receipt.exception() for receipt in receipts)
    await stage.until(lambda: all(stage.log(node).log_end_offset == 110 for node in targets), "all targets have it")
    for node in set(old) - set(targets):
        path = f"{stage.world.machines[node].config.data_dir}/t-0"
        await stage.until(lambda path=path, node=node: not stage.world.machines[node].disk.exists(path), "its files go")


@scenario_in(FIVE)
async def one_target_of_two_is_slow(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(50, b"x" * 1000)
    first, second = spares(stage)
    stage.cut(second, *stage.partition().assigned_replicas)
    await stage.asks(to(first, second, stage.partition().leader))
    await stage.until(lambda: first in stage.partition().in_sync_replicas, "the first is in sync")
    await stage.passes(1)
    assert stage.partition().is_reassigning, "it has ended without its second target"
    stage.mend(second, *stage.partition().assigned_replicas)
    await stage.until(lambda: not stage.partition().is_reassigning, "it ends")


@scenario_in(FIVE)
async def a_reassignment_is_taken_back(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(20)
    old, (first, second) = stage.partition().assigned_replicas, spares(stage)
    stage.cut(second, *old)
    await stage.asks(to(first, second, old[0]))
    await stage.until(lambda: first in stage.partition().in_sync_replicas, "the first is in sync")
    epoch = stage.partition().leader_epoch
    await stage.asks(to())
    partition = stage.partition()
    assert set(partition.assigned_replicas) == set(old), f"its replicas are {partition.assigned_replicas}"
    assert set(partition.in_sync_replicas) <= set(old)
    assert partition.leader_epoch == epoch + 1, "who is no replica any more still counts in this leader epoch"
    await stage.written(5)
    await stage.until(lambda: not stage.broker(first).replicas.partitions, "what was added is gone")


@scenario_in(FIVE)
async def a_throttled_replica_is_added(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(100, b"x" * 10_000)
    leader, (first, _) = stage.partition().leader, spares(stage)
    began = stage.world.scheduler.now
    await stage.asks(to(*stage.partition().assigned_replicas, first, throttle=100_000))
    receipts = await stage.writes(5)
    await stage.until(lambda: all(receipt.done() for receipt in receipts), "writes go on", 2.0)
    await stage.until(lambda: not stage.partition().is_reassigning, "it ends", 60.0)
    took = stage.world.scheduler.now - began
    assert 5 < took < 20, f"a megabyte at 100 kB/s took {took:.1f} s"
    assert stage.partition().leader == leader


@scenario_in(FIVE)
async def a_broker_is_fed_by_two_leaders(stage: Stage) -> None:
    topic = NewTopic("t", assignments=((1, 2, 3), (2, 1, 3)))
    await stage.asks(lambda admin: admin.create_topics([topic]))
    process, done = stage.world.client("filler"), list[None]()

    async def fill() -> None:
        async with Producer(stage.world.bootstrap, batch_bytes=10_000, **seams_of(process)) as producer:
            for number in range(100):
                await producer.send("t", b"x" * 10_000, partition=number % 2)
        done.append(None)

    process.spawn(fill(), "fill")
    await stage.until(lambda: bool(done), "half a megabyte is in each partition")
    began = stage.world.scheduler.now
    wanted = [Reassignment("t", 0, (1, 2, 3, 4)), Reassignment("t", 1, (2, 1, 3, 4))]
    await stage.asks(lambda admin: admin.alter_partition_reassignments(wanted, throttle_bytes_per_s=100_000))
    await stage.until(lambda: not any(one.is_reassigning for one in stage.topics()[0].partitions), "it ends", 60.0)
    took = stage.world.scheduler.now - began
    assert 8 < took < 25, f"a broker got a megabyte at 100 kB/s in {took:.1f} s"


@scenario_in(Topology.combined(3))
async def one_of_a_followers_disks_is_slow(stage: Stage) -> None:
    stage.broker(2).log_dirs.number_of = lambda log: log.key[1]  # type: ignore[method-assign]  # a disk for each partition
    await stage.asks(lambda admin: admin.create_topics([NewTopic("t", assignments=((1, 2, 3), (1, 2, 3)))]))
    await stage.until(lambda: stage.has_replicas(2), "the follower has its logs")
    slow, commit = stage.log(2), stage.broker(2).log_dirs.folders[0]._commit
    request = commit.request

    def request_of_others(flushed: Flushed) -> None:
        if flushed is not slow:
            request(flushed)

    commit.request = request_of_others  # type: ignore[method-assign]
    process, taken = stage.world.client("writer"), list[float]()

    async def write() -> None:
        async with Producer(stage.world.bootstrap, **seams_of(process)) as producer:
            await producer.send("t", b"slow", partition=0)
            await process.clock.sleep(1.0)
            for _ in range(20):
                began = process.clock.now()
                await producer.send_and_wait("t", b"quick", partition=1)
                taken.append(process.clock.now() - began)
            commit.request = request  # type: ignore[method-assign]
            commit.request(slow)

    process.spawn(write(), "write")
    await stage.until(lambda: len(taken) == 20, "a disk is not held up by another", 5.0)
    assert max(taken) < 0.1, f"a slow disk holds up another for {max(taken):.3f} s"
    await stage.until(lambda: stage.log(1).high_watermark == 1, "the slow one is committed")


@scenario_in(Topology.combined(3), replica_fill_bytes_per_s=100_000)
async def a_disk_is_replaced(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(100, b"x" * 10_000)
    node = stage.follower()
    machine = stage.world.machines[node]
    stage.world.kill(node)
    machine.disk.lose(f"{machine.config.data_dir}/t-0")
    stage.world.start(node)
    await stage.until(lambda: stage.has_replicas(node) and node not in stage.partition().in_sync_replicas, "it is out")
    began = stage.world.scheduler.now
    receipts = await stage.writes(5)
    await stage.until(lambda: all(receipt.done() for receipt in receipts), "writes go on", 2.0)
    await stage.until(lambda: node in stage.partition().in_sync_replicas, "it is in sync again", 60.0)
    took = stage.world.scheduler.now - began
    assert 5 < took < 20, f"a megabyte at 100 kB/s took {took:.1f} s"


@scenario_in(Topology.combined(3), replica_fill_bytes_per_s=100_000)
async def a_broker_restarts_while_its_disk_is_filled(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(100, b"x" * 10_000)
    node = stage.follower()
    machine = stage.world.machines[node]
    stage.world.kill(node)
    machine.disk.lose(f"{machine.config.data_dir}/t-0")
    stage.world.start(node)
    await stage.until(lambda: stage.has_replicas(node) and node not in stage.partition().in_sync_replicas, "it is out")
    await stage.until(lambda: stage.log(node).log_end_offset > 10, "a part of it is there")
    had = stage.log(node).log_end_offset
    stage.world.kill(node)
    stage.world.start(node)
    began = stage.world.scheduler.now
    await stage.until(lambda: node in stage.partition().in_sync_replicas, "it is in sync again", 60.0)
    took, least = stage.world.scheduler.now - began, (100 - had) * 0.1 - 1
    assert least < took, f"{100 - had} of 100 records of 10 kB at 100 kB/s took {took:.1f} s"
    stage.world.kill(node)
    await stage.written(50, b"x" * 10_000)
    stage.world.start(node)
    began = stage.world.scheduler.now
    await stage.until(lambda: stage.has_replicas(node) and stage.log(node).log_end_offset == 150, "it is back")
    took = stage.world.scheduler.now - began
    assert took < 3, f"one that was in sync is bounded as well, and took {took:.1f} s for half a megabyte"


@scenario_in(FIVE)
async def a_removed_leader_is_cut_off(stage: Stage) -> None:
    """It goes on for itself, in an epoch that is over, and whoever writes to it is not told that it is written."""
    await stage.make_topic()
    await stage.written(5)
    old = stage.partition().leader
    first, second = spares(stage)
    keeps = stage.followers()[0]
    await stage.asks(to(keeps, first, second))
    stage.cut(old, *stage.others(old))
    await stage.until(lambda: not stage.partition().is_reassigning, "it ends")
    assert old not in stage.partition().assigned_replicas
    await stage.written(5, b"new")
    stage.mend(old, *stage.others(old))
    await stage.until(lambda: not stage.broker(old).replicas.partitions, "it holds nothing any more")


@scenario_in(FIVE_AND_A_CONTROLLER)
async def nobody_in_sync_is_left_and_the_topic_allows_nothing(stage: Stage) -> None:
    await stage.make_topic({"min.insync.replicas": "1"})
    await stage.written(5)
    partition = stage.partition()
    last, outsiders = partition.leader, [node for node in partition.assigned_replicas if node != partition.leader]
    for node in outsiders:
        stage.cut(node, last)
    await stage.writes(5)
    await stage.until(lambda: stage.partition().in_sync_replicas == (last,), "the others have left", 60.0)
    await stage.until(lambda: stage.log(last).high_watermark == 10, "what only one has is acknowledged")
    stage.world.kill(last)
    await stage.until(lambda: not stage.is_active(last), "its death is known")
    outcome = stage.tells(lambda admin: admin.elect_leaders({"t": [0]}, unclean=True), outsiders[0])
    await stage.until(lambda: bool(outcome), "an answer")
    await stage.passes(1)
    assert stage.partition().leader not in outsiders, "who lacks acknowledged records leads"


@scenario_in(FIVE)
async def the_preferred_leader_is_asked_for(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(5)
    preferred = stage.partition().assigned_replicas[0]
    stage.world.kill(preferred)
    await stage.until(lambda: stage.partition().leader not in (preferred, -1), "another leads")
    await stage.written(5)
    stage.world.start(preferred)
    await stage.until(lambda: preferred in stage.partition().in_sync_replicas, "it is back")
    assert stage.partition().leader != preferred
    await stage.asks(lambda admin: admin.elect_leaders({"t": [0]}))
    assert stage.partition().leader == preferred, "it was asked for, and does not lead"
    assert stage.partition().assigned_replicas[0] == NodeId(preferred)
    await stage.written(5)


@scenario_in(FIVE_AND_A_CONTROLLER)
async def too_few_others_are_in_sync_to_take_it_back(stage: Stage) -> None:
    await stage.make_topic({"min.insync.replicas": "2"})
    await stage.written(5)
    leader, others, (first, second) = stage.partition().leader, stage.followers(), spares(stage)
    stage.cut(second, leader)
    await stage.asks(to(first, second, leader), first)
    await stage.until(lambda: first in stage.partition().in_sync_replicas, "the first is in sync")
    for node in others:
        stage.cut(node, leader)
    await stage.writes(5)
    await stage.until(lambda: set(stage.partition().in_sync_replicas) == {leader, first}, "the others left", 60.0)
    await stage.until(lambda: stage.log(leader).high_watermark == 10, "two have everything")
    stage.tells(lambda admin: admin.alter_partition_reassignments([Reassignment("t", 0, None)]), first)
    await stage.passes(5)
    assert stage.partition().is_reassigning, "it was taken back, and one copy remains of two"


@scenario_in(FIVE_AND_A_CONTROLLER)
async def a_lonely_replica_gets_company(stage: Stage) -> None:
    await stage.make_topic({"min.insync.replicas": "2"}, replicas=1)
    await stage.written(5)
    leader = stage.partition().leader
    first, second = [node for node in stage.world.topology.brokers if node != leader][:2]
    for node in (first, second):
        stage.cut(node, leader)
    await stage.asks(to(leader, first, second))
    receipts = await stage.writes(5)
    await stage.until(lambda: all(receipt.done() for receipt in receipts), "writes go on as before", 3.0)
    stage.mend(leader, first, second)
    await stage.until(lambda: not stage.partition().is_reassigning, "it ends")
    await stage.written(5)


@scenario_in(FIVE_AND_A_CONTROLLER)
async def nobody_in_sync_is_left_and_the_topic_allows_loss(stage: Stage) -> None:
    await stage.make_topic({"min.insync.replicas": "1", "unclean.leader.election.enable": "true"})
    await stage.written(5)
    partition = stage.partition()
    last, outsiders = partition.leader, [node for node in partition.assigned_replicas if node != partition.leader]
    for node in outsiders:
        stage.cut(node, last)
    await stage.writes(5)
    await stage.until(lambda: stage.partition().in_sync_replicas == (last,), "the others have left", 60.0)
    stage.world.kill(last)
    await stage.until(lambda: stage.partition().leader in outsiders, "one that lacks records leads")
    await stage.written(5, b"after", client="another")
    stage.mend(last, *outsiders)
    stage.world.start(last)
    await stage.until(lambda: len(stage.partition().in_sync_replicas) == 3, "all are in sync again", 60.0)


@scenario_in(FIVE)
async def leaders_go_back_by_themselves(stage: Stage) -> None:
    await stage.make_topic()
    preferred = stage.partition().assigned_replicas[0]
    stage.world.kill(preferred)
    await stage.until(lambda: stage.partition().leader not in (preferred, -1), "another leads")
    stage.world.start(preferred)
    await stage.until(lambda: stage.partition().leader == preferred, "the preferred leader leads again", 620.0)
    await stage.written(5)
