"""What a broker makes of its metadata: roles, folders, deletions, strays, damage."""

from __future__ import annotations

import asyncio

import pytest

from dohle.broker import replicas as replicas_module
from dohle.broker.fetch_set import FetchWanted
from dohle.broker.following import Following
from dohle.broker.leading import ACKS_ALL, ACKS_LEADER, Leading
from dohle.broker.reads import LATEST
from dohle.model.errors import (
    DamagedReplica,
    FencedLeaderEpoch,
    NotLeaderOrFollower,
    OffsetNotAvailable,
    OffsetOutOfRange,
    ReplicaNotAvailable,
    StaleBrokerEpoch,
    UnknownLeaderEpoch,
    UnknownTopicId,
)
from dohle.model.ids import NodeId, PartitionKey, TopicId
from dohle.model.metadata import RemoveTopic, TopicOverride
from dohle.rpc.v1 import replication_pb2
from dohle.storage.log_folder import METADATA_OFFSET_FILE as FILE
from dohle.storage.opened import Damage
from tests.broker.brokers import KEY, Cluster, Node, until
from tests.broker.logs import PATH, TOPIC_ID, batch
from tests.broker.virtual_time import in_virtual_time

OTHER_ID = TopicId(b"another 16 bytes")


async def made(cluster: Cluster, *nodes: int, min_insync: int = 1) -> Node:
    """Makes the topic on these nodes, returns its leader once everybody has everything."""
    cluster.controller.topic(TOPIC_ID, [list(nodes or (1, 2, 3))], overrides={"min.insync.replicas": str(min_insync)})
    leader = await cluster.led()
    await until(lambda: all(KEY in cluster.nodes[node].broker.replicas.partitions for node in nodes or (1, 2, 3)))
    return leader


async def produce(node: Node, count: int = 1) -> None:
    for _ in range(count):
        future = await node.broker.produce(KEY, batch(), ACKS_ALL, 5.0)
        assert future is not None
        await future


@in_virtual_time
async def test_a_new_topic_is_led_and_followed() -> None:
    cluster = await Cluster.started()
    leader = await made(cluster)
    await produce(leader, 5)
    await cluster.healed()
    assert isinstance(cluster.nodes[2].broker.replicas.partitions[KEY].role, Following)
    assert not cluster.failures


@in_virtual_time
async def test_a_new_leader_epoch_fails_what_waits_and_replication_goes_on_in_it() -> None:
    cluster = await Cluster.started()
    leader = await made(cluster)
    await produce(leader)
    for node in cluster.nodes.values():
        node.disk.gate.clear()
    waiting = await leader.broker.produce(KEY, batch(), ACKS_ALL, 60.0)
    assert waiting is not None
    cluster.controller.fence(leader.node_id)
    with pytest.raises(NotLeaderOrFollower):
        await waiting
    for node in cluster.nodes.values():
        node.disk.gate.set()
    successor = await cluster.led()
    assert successor is not leader
    await produce(successor)
    await cluster.healed()
    leading = successor.leading()
    assert leading is not None
    assert leading.leader_epoch == 1


@in_virtual_time
async def test_the_durable_offset_is_written_after_the_folders_and_before_any_role(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = await Cluster.started()
    node = cluster.nodes[1]
    seen: list[tuple[bool, int]] = []

    class Watched(Leading):
        def __init__(self, *args: object) -> None:
            folder = node.disk.exists(f"{PATH}/t-0")
            seen.append((folder, int(node.disk.durable_files[f"{PATH}/{FILE}"].durable)))
            super().__init__(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(replicas_module, "Leading", Watched)
    await made(cluster)
    assert seen == [(True, cluster.controller.image.next_offset)]


@in_virtual_time
async def test_a_deleted_topic_is_gone_and_whoever_waits_for_it_is_told() -> None:
    cluster = await Cluster.started()
    leader = await made(cluster)
    await produce(leader)
    fetch = asyncio.ensure_future(
        leader.broker.reads.fetch([FetchWanted(KEY, 1, 1000)], max_wait_s=60.0, min_bytes=1, max_bytes=1000)
    )
    await asyncio.sleep(0.1)
    cluster.controller.remove(TOPIC_ID)
    fetched = await fetch
    assert isinstance(fetched[0].failure, UnknownTopicId)
    await until(lambda: not any(node.disk.exists(f"{PATH}/t-0") for node in cluster.nodes.values()))
    with pytest.raises(UnknownTopicId):
        await leader.broker.produce(KEY, batch(), ACKS_ALL, 1.0)
    assert not cluster.failures


@in_virtual_time
async def test_deleted_and_made_again_in_one_batch_begins_empty() -> None:
    cluster = await Cluster.started()
    await produce(await made(cluster), 3)
    cluster.controller.topic(OTHER_ID, [[2, 3, 1]], first=[RemoveTopic(TOPIC_ID)])
    again = PartitionKey(OTHER_ID, 0)
    leader = await cluster.led(again)
    assert leader.node_id == 2
    await cluster.healed(again)
    assert leader.log(again).log_end_offset == 0
    assert KEY not in leader.broker.replicas.partitions
    assert not cluster.failures


@in_virtual_time
async def test_a_topic_made_again_while_a_broker_was_down_leaves_the_old_one_as_a_stray() -> None:
    cluster = await Cluster.started()
    await produce(await made(cluster), 3)
    await cluster.healed()
    away = cluster.nodes[3]
    await away.kill()
    cluster.controller.fence(3)
    cluster.controller.topic(OTHER_ID, [[1, 2, 3]], first=[RemoveTopic(TOPIC_ID)])
    await cluster.led(PartitionKey(OTHER_ID, 0))
    await away.start()
    await cluster.healed(PartitionKey(OTHER_ID, 0))
    strays = [name for name in away.disk.list(PATH) if name.endswith("-stray")]
    assert len(strays) == 1
    assert away.log(PartitionKey(OTHER_ID, 0)).topic_id == OTHER_ID


@in_virtual_time
async def test_a_changed_configuration_applies_at_once() -> None:
    cluster = await Cluster.started()
    leader = await made(cluster)
    cluster.controller.commit(TopicOverride(TOPIC_ID, "min.insync.replicas", "3"))
    leading = leader.leading()
    assert leading is not None
    await until(lambda: leading.min_in_sync == 3)
    assert leader.leading() is leading, "the epoch goes on"


@in_virtual_time
async def test_a_lowered_minimum_lets_the_watermark_go_on() -> None:
    cluster = await Cluster.started()
    leader = await made(cluster, min_insync=3)
    cluster.controller.held.add(3)
    await cluster.nodes[3].kill()
    cluster.controller.fence(3)
    await until(lambda: leader.leading() is not None and leader.leading().live_in_sync == 2)  # type: ignore[union-attr]
    waiting = await leader.broker.produce(KEY, batch(), ACKS_LEADER, 60.0)
    assert waiting is not None
    await waiting
    await asyncio.sleep(1.0)
    assert leader.log().high_watermark == 0
    cluster.controller.commit(TopicOverride(TOPIC_ID, "min.insync.replicas", "2"))
    await until(lambda: leader.log().high_watermark == 1)
    assert cluster.isr() == (1, 2)


@in_virtual_time
async def test_a_log_without_an_end_is_not_led_and_begins_anew_below_another_leader() -> None:
    cluster = await Cluster.started()
    leader = await made(cluster)
    await produce(leader)
    await cluster.healed()
    leader.log().damage = Damage("file", 7, "for the test")
    with pytest.raises(DamagedReplica):
        await leader.broker.produce(KEY, batch(), ACKS_ALL, 1.0)
    cluster.controller.fence(leader.node_id)
    successor = await cluster.led()
    with pytest.raises(NotLeaderOrFollower):  # clients are to look for the one that leads
        leader.broker.replicas.partition(KEY).leading()
    await produce(successor)
    await cluster.healed()
    assert leader.log().damage is None
    assert not cluster.failures


@in_virtual_time
async def test_a_controlled_shutdown_hands_over_and_leaves_nothing_to_recover() -> None:
    cluster = await Cluster.started()
    leader = await made(cluster)
    await produce(leader)
    await leader.stop()
    successor = await cluster.led()
    assert successor is not leader
    await produce(successor)
    await leader.start()
    assert leader.dirs is not None
    assert leader.dirs.previous_broker_epoch >= 0
    await cluster.healed()
    assert not cluster.failures


@in_virtual_time
async def test_a_subscription_is_checked_in_the_rules_order() -> None:
    cluster = await Cluster.started()
    leader = await made(cluster, 1, 2)
    cluster.controller.fence(1)
    leader = await cluster.led()
    replicas = leader.broker.replicas
    follower = NodeId(3 - leader.node_id)
    epoch = cluster.controller.image.brokers[follower].broker_epoch

    def find(node: int, broker_epoch: int, leader_epoch: int) -> None:
        subscription = replication_pb2.Subscription(topic_id=TOPIC_ID, leader_epoch=leader_epoch)
        replicas.leading_for(NodeId(node), broker_epoch, subscription)

    find(follower, epoch, 1)
    for node, broker_epoch, leader_epoch, error in (
        (3, epoch - 1, 0, FencedLeaderEpoch),
        (3, epoch - 1, 2, UnknownLeaderEpoch),
        (3, epoch - 1, 1, ReplicaNotAvailable),
        (follower, epoch - 1, 1, StaleBrokerEpoch),
    ):
        with pytest.raises(error):
            find(node, broker_epoch, leader_epoch)
    with pytest.raises(NotLeaderOrFollower):
        cluster.nodes[follower].broker.replicas.leading_for(
            leader.node_id, epoch, replication_pb2.Subscription(topic_id=TOPIC_ID, leader_epoch=1)
        )


# reads (rule 17)


@in_virtual_time
async def test_consumers_see_nothing_above_the_watermark_and_wait_for_it() -> None:
    cluster = await Cluster.started()
    leader = await made(cluster)
    await produce(leader)
    for node in (2, 3):
        cluster.nodes[node].disk.gate.clear()
    await leader.broker.produce(KEY, batch(), ACKS_LEADER, 5.0)
    reads = leader.broker.reads
    fetch = asyncio.ensure_future(
        reads.fetch([FetchWanted(KEY, 1, 1000)], max_wait_s=30.0, min_bytes=1, max_bytes=1000)
    )
    await asyncio.sleep(1.0)
    assert leader.log().durable_end == 2
    assert not fetch.done()
    for node in (2, 3):
        cluster.nodes[node].disk.gate.set()
    fetched = (await fetch)[0]
    assert fetched.failure is None
    assert (fetched.high_watermark, len(fetched.batches) > 0) == (2, True)


@in_virtual_time
async def test_a_fetch_between_watermark_and_end_waits_empty_and_beyond_it_fails() -> None:
    cluster = await Cluster.started()
    leader = await made(cluster)
    reads = leader.broker.reads
    for node in (2, 3):
        cluster.nodes[node].disk.gate.clear()
    await leader.broker.produce(KEY, batch(), ACKS_LEADER, 5.0)
    inside = (await reads.fetch([FetchWanted(KEY, 1, 99)], max_wait_s=0.5, min_bytes=1, max_bytes=99))[0]
    assert (inside.failure, inside.batches, inside.high_watermark) == (None, b"", 0)
    outside = (await reads.fetch([FetchWanted(KEY, 2, 99)], max_wait_s=0.5, min_bytes=1, max_bytes=99))[0]
    assert isinstance(outside.failure, OffsetOutOfRange)
    for node in (2, 3):
        cluster.nodes[node].disk.gate.set()


@in_virtual_time
async def test_a_fetch_of_nothing_waits_without_a_busy_loop() -> None:
    cluster = await Cluster.started(1)
    async with asyncio.timeout(6):
        assert await cluster.nodes[1].broker.reads.fetch([], max_wait_s=5.0, min_bytes=1, max_bytes=1) == []


@in_virtual_time
async def test_latest_means_nothing_before_the_epoch_has_caught_up() -> None:
    cluster = await Cluster.started()
    leader = await made(cluster)
    await produce(leader, 3)
    await cluster.healed()
    successor = cluster.nodes[2]
    successor.log()._high_watermark = 1  # the news of the last two had not reached it
    cluster.nodes[3].disk.gate.clear()
    cluster.world.silent.add("broker-3")
    cluster.world.break_streams("broker-3")
    cluster.controller.held.add(1)
    await leader.kill()
    cluster.controller.fence(1)
    assert await cluster.led() is successor
    with pytest.raises(OffsetNotAvailable):
        await successor.broker.reads.find_offset(KEY, LATEST, -1)
    cluster.world.silent.clear()
    cluster.nodes[3].disk.gate.set()
    await until(lambda: successor.log().high_watermark == 3)
    assert (await successor.broker.reads.find_offset(KEY, LATEST, -1)).offset == 3
