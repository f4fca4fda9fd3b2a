"""What becomes of a replica in which a read finds damage: who leads, who stays in the set, and what is filled anew."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from dohle.broker.fetch_set import Fetched, FetchWanted
from dohle.broker.leading import ACKS_ALL
from dohle.model.errors import CorruptMessage, NotController, NotLeaderOrFollower
from dohle.model.ids import NodeId
from dohle.storage.opened import Damage
from tests.broker.brokers import KEY, Cluster, Node, until
from tests.broker.led_partition import THREE, TWO, Partition
from tests.broker.logs import PATH, TOPIC_ID, batch
from tests.broker.virtual_time import in_virtual_time

SEGMENT = f"{PATH}/t-0/{0:020d}.log"


async def made(*nodes: int, min_insync: int = 2) -> tuple[Cluster, Node]:
    """A topic of five records, which all of the nodes have."""
    cluster = await Cluster.started()
    members = list(nodes or (1, 2, 3))
    cluster.controller.topic(TOPIC_ID, [members], overrides={"min.insync.replicas": str(min_insync)})
    leader = await cluster.led()
    await until(lambda: all(KEY in cluster.nodes[node].broker.replicas.partitions for node in members))
    await produce(leader, 5)
    if len(members) == len(cluster.nodes):
        await cluster.healed()
    return cluster, leader


async def produce(node: Node, count: int = 1) -> None:
    for _ in range(count):
        future = await node.broker.produce(KEY, batch(), ACKS_ALL, 5.0)
        assert future is not None
        await future


def rot(node: Node, number: int) -> None:
    """Changes a byte of that record's batch, on the device and in the page cache."""
    position = number * node.log().size_bytes // node.log().log_end_offset + 70
    content = node.disk.files[SEGMENT]
    assert content is node.disk.durable_files[SEGMENT]
    for data in (content.cached, content.durable):
        data[position] ^= 1


async def fetch(node: Node, offset: int) -> Fetched:
    wanted = [FetchWanted(KEY, offset, 1 << 20)]
    return (await node.broker.reads.fetch(wanted, max_wait_s=0, min_bytes=0, max_bytes=1 << 20))[0]


def batches(node: Node) -> bytes:
    """Returns all that its log has on the device."""
    files = node.disk.durable_files
    return b"".join(bytes(files[path].durable) for path in sorted(files) if "/t-0/" in path and path.endswith(".log"))


def strays(node: Node) -> list[str]:
    return [name for name in node.disk.list(PATH) if name.endswith("-stray")]


@in_virtual_time
async def test_a_damaged_leader_is_relieved_and_repaired_in_place() -> None:
    cluster, leader = await made()
    rot(leader, 3)
    epoch = cluster.controller.image.partition(KEY).leader_epoch  # type: ignore[union-attr]
    assert (await fetch(leader, 0)).failure is None, "what comes before the damage is sound"
    assert isinstance((await fetch(leader, 3)).failure, NotLeaderOrFollower), "so whoever reads looks for another"
    await until(lambda: cluster.leader() is not leader)
    after = cluster.controller.image.partition(KEY)
    assert after is not None
    assert (after.leader_epoch, leader.node_id in after.in_sync_replicas) == (epoch + 1, False), "in one record"
    await produce(await cluster.led(), 2)
    await cluster.healed()
    assert leader.log().damage is None
    assert not strays(leader), "it was not copied whole"
    assert batches(leader) == batches(cluster.leader())
    repairs = leader.broker.replicas.repairs
    assert (repairs.repaired, repairs.refilled) == (1, 0)
    assert repairs.fetched_bytes == len(batches(leader)) // 7, "one batch was fetched"
    assert f"{PATH}/t-0/damaged" not in leader.disk.files
    await leader.kill()
    await leader.start()
    assert leader.log().damage is None
    await cluster.healed()
    assert not cluster.failures


@in_virtual_time
async def test_a_damaged_follower_leaves_the_set_and_is_repaired_in_place() -> None:
    cluster, leader = await made(min_insync=3)
    follower = cluster.nodes[3]
    before = batches(follower)
    rot(follower, 1)
    follower.log().damage = Damage(SEGMENT, 0, "for the test", (0, 1))
    await until(lambda: 3 not in cluster.isr())
    await cluster.healed()
    assert not strays(follower)
    assert batches(follower) == before, "what else had rotted there was found"
    await produce(leader, 1)
    assert not cluster.failures


@in_virtual_time
async def test_a_damaged_follower_keeps_what_it_has_until_it_has_left_the_set() -> None:
    cluster, _ = await made(min_insync=3)
    follower = cluster.nodes[3]
    answers = cluster.controller.alter_partitions

    async def never(_request: object, _context: object) -> None:
        raise NotController

    cluster.controller.alter_partitions = never  # type: ignore[assignment]
    follower.log().damage = Damage(SEGMENT, 0, "for the test", (0, 1))
    await asyncio.sleep(5)
    assert 3 in cluster.isr()
    assert follower.log().damage is not None
    assert not strays(follower)
    cluster.controller.alter_partitions = answers  # type: ignore[method-assign]
    await until(lambda: follower.log().damage is None)
    await cluster.healed()


@in_virtual_time
async def test_the_last_replica_in_sync_leads_on_and_refuses_only_what_is_damaged() -> None:
    cluster, leader = await made(1, 2, min_insync=1)
    other = cluster.nodes[2]
    cluster.controller.held.add(NodeId(2))
    cluster.controller.fence(2)
    await until(lambda: cluster.isr() == (1,))
    rot(leader, 3)
    failure = (await fetch(leader, 3)).failure
    assert isinstance(failure, CorruptMessage)
    assert SEGMENT in failure.message
    assert (await fetch(leader, 0)).failure is None
    assert (await fetch(leader, 4)).batches
    await produce(leader, 1)
    await asyncio.sleep(2)
    assert (cluster.leader(), cluster.isr()) == (leader, (1,))
    assert not strays(leader)
    cluster.controller.held.clear()
    await until(lambda: cluster.isr() == (2,), 30.0)  # it lacks only what comes behind the damage
    await until(lambda: leader.log().damage is None)
    assert cluster.leader() is other
    assert not strays(leader)
    assert not cluster.failures


@in_virtual_time
async def test_a_leader_that_found_damage_alone_is_relieved_when_a_member_is_back() -> None:
    """The member stays in the set, of which there must be two, while it is away."""
    cluster, leader = await made(1, 2)
    other = cluster.nodes[2]
    cluster.controller.held.add(NodeId(2))
    cluster.controller.fence(2)
    await until(lambda: leader.leading() is not None and leader.leading().live_in_sync == 1)  # type: ignore[union-attr]
    rot(leader, 1)
    assert isinstance((await fetch(leader, 1)).failure, CorruptMessage)
    await asyncio.sleep(2)
    assert (cluster.leader(), cluster.isr()) == (leader, (1, 2))
    cluster.controller.held.clear()
    await until(lambda: cluster.leader() is other)
    await until(lambda: cluster.isr() == (1, 2))
    assert leader.log().damage is None
    assert not cluster.failures


@in_virtual_time
async def test_damage_is_not_forgotten_by_a_stop() -> None:
    cluster, leader = await made()
    others = [NodeId(2), NodeId(3)]
    cluster.controller.held.update(others)
    cluster.controller.fence(*others)
    rot(leader, 2)
    assert isinstance((await fetch(leader, 2)).failure, CorruptMessage)
    await leader.stop()
    await leader.start()
    assert leader.log().damage is not None
    cluster.controller.held.clear()
    await until(lambda: leader.log().damage is None, 30.0)
    await cluster.healed()
    assert not strays(leader)
    assert not cluster.failures


@in_virtual_time
async def test_a_replica_found_damaged_at_its_start_is_filled_anew() -> None:
    cluster, leader = await made()
    rot(leader, 0)
    await leader.kill()
    await leader.start()
    assert not leader.log().has_end
    await cluster.healed()
    assert leader.log().damage is None
    assert len(strays(leader)) == 1
    assert not cluster.failures


@in_virtual_time
async def test_what_the_leader_has_otherwise_repairs_nothing_and_the_replica_begins_anew() -> None:
    cluster, _ = await made()
    follower = cluster.nodes[3]
    rot(follower, 2)
    log = follower.log()
    log.epochs.note(log.last_batch_epoch + 1, 2)  # as one would whose batches from there on are others
    log.damage = Damage(SEGMENT, 0, "for the test", (2, 3))
    await until(lambda: bool(strays(follower)))
    await cluster.healed()
    assert follower.log() is not log
    repairs = follower.broker.replicas.repairs
    assert (repairs.repaired, repairs.refilled) == (0, 1)
    assert not cluster.failures


# the leader's role by itself


@in_virtual_time
async def test_a_damaged_follower_may_begin_anew_only_once_its_leaving_is_committed() -> None:
    partition = await Partition.new()
    for node in (2, 3):
        partition.subscribe(node, 0)
    leading = partition.leading
    assert not leading.told_of_damage(THREE, 13, 5, partition.now)
    [proposal] = partition.asked
    assert (proposal.members, proposal.damaged) == ((1, 2), (THREE,))
    assert not leading.told_of_damage(THREE, 13, 6, partition.now)
    assert len(partition.asked) == 1, "one change at a time"
    leading.isr_committed((NodeId(1), TWO), 6, partition.now)
    assert not leading.told_of_damage(THREE, 13, 7, partition.now), "who is eligible is not known yet"
    image = dataclasses.replace(leading._partition, in_sync_replicas=(NodeId(1), TWO), partition_epoch=6)
    leading.reassigned(image)
    assert leading.told_of_damage(THREE, 13, 8, partition.now)


@in_virtual_time
async def test_a_damaged_follower_that_is_eligible_is_made_another_before_it_begins_anew() -> None:
    partition = await Partition.new(isr=(1, 2))
    partition.subscribe(2, 0)
    leading = partition.leading
    image = dataclasses.replace(leading._partition, eligible_replicas=(THREE,))
    leading.reassigned(image)
    assert not leading.told_of_damage(THREE, 13, 5, partition.now)
    [proposal] = partition.asked
    assert (proposal.members, proposal.damaged) == ((1, 2), (THREE,))
    leading.isr_committed((NodeId(1), TWO), 6, partition.now)
    leading.tick(partition.now)
    assert len(partition.asked) == 1
    leading.reassigned(dataclasses.replace(image, eligible_replicas=(), partition_epoch=6))
    assert leading.told_of_damage(THREE, 13, 6, partition.now)


@in_virtual_time
async def test_a_damaged_follower_is_not_let_go_while_its_joining_may_have_been_committed() -> None:
    partition = await Partition.new(isr=(1, 2))
    partition.subscribe(2, 0)
    partition.subscribe(3, 0)
    [joining] = partition.asked
    assert joining.members == (1, 2, 3)
    assert not partition.leading.told_of_damage(THREE, 13, 5, partition.now)
    partition.leading.isr_refused(joining, partition.now)
    assert partition.leading.told_of_damage(THREE, 13, 6, partition.now)


@in_virtual_time
async def test_a_leader_that_is_damaged_itself_lets_no_damaged_follower_begin_anew() -> None:
    partition = await Partition.new(isr=(1, 2), replicas=(1, 2))
    partition.subscribe(2, 0)
    partition.log.damage = Damage("file", 0, "for the test", (0, 1))
    assert not partition.leading.told_of_damage(TWO, 12, 5, partition.now)
    partition.leading.isr_committed((NodeId(1),), 6, partition.now)
    partition.leading.reassigned(dataclasses.replace(partition.leading._partition, partition_epoch=6))
    assert not partition.leading.told_of_damage(TWO, 12, 6, partition.now), "it may have what this one lacks"


@pytest.mark.parametrize("alive", [True, False])
@in_virtual_time
async def test_a_damaged_leader_asks_to_leave_only_if_another_can_take_its_place(alive: bool) -> None:
    partition = await Partition.new(isr=(1, 2), replicas=(1, 2))
    partition.subscribe(2, 0)
    if not alive:
        partition.fenced.add(2)
    partition.log.damage = Damage("file", 0, "for the test", (0, 1))
    assert not partition.leading.is_idle
    partition.leading.tick(partition.now)
    assert [proposal.members for proposal in partition.asked] == ([(TWO,)] if alive else [])
