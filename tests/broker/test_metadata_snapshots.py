"""Brokers that are behind the metadata log's start take a snapshot, and act on all that it changes."""

from __future__ import annotations

import asyncio

from dohle.model.errors import NotController, ThrottlingQuotaExceeded
from dohle.model.ids import TopicId, TopicPartition
from dohle.model.metadata import RemoveTopic
from tests.broker.brokers import KEY, Cluster, until
from tests.broker.logs import PATH, TOPIC_ID
from tests.broker.virtual_time import in_virtual_time

OTHER = TopicId(b"o" * 16)


@in_virtual_time
async def test_a_broker_that_starts_with_nothing_takes_a_snapshot_and_serves() -> None:
    cluster = await Cluster.started()
    cluster.controller.topic(TOPIC_ID, [[1, 2, 3]])
    leader = await cluster.led()
    cluster.controller.cut_log()
    follower = cluster.nodes[2 if leader.node_id != 2 else 3]
    await follower.kill()
    await follower.start()
    assert cluster.controller.snapshots_sent == 1
    leading = (await cluster.led()).leading()
    assert leading is not None
    await cluster.healed()
    assert follower.broker.image == cluster.controller.image


@in_virtual_time
async def test_a_running_broker_that_missed_changes_acts_on_all_of_them_at_once() -> None:
    cluster = await Cluster.started()
    cluster.controller.topic(TOPIC_ID, [[1, 2, 3]])
    await cluster.led()
    node = cluster.nodes[3]
    await until(
        lambda: TopicPartition("t", 0) in {partition.name for partition in node.broker.replicas.partitions.values()}
    )
    cluster.controller.hold_back = True
    cluster.controller.commit(RemoveTopic(TOPIC_ID))
    cluster.controller.topic(OTHER, [[3, 1, 2]], name="t")
    cluster.controller.cut_log()
    cluster.controller.hold_back = False
    cluster.world.break_streams("controller")
    await until(lambda: all(one.broker.image == cluster.controller.image for one in cluster.nodes.values()))
    assert cluster.controller.snapshots_sent == 3
    key = KEY._replace(topic_id=OTHER)
    leader = await cluster.led(key)
    assert leader is node
    leading = leader.leading(key)
    assert leading is not None
    await cluster.healed(key)
    assert list(node.broker.replicas.partitions) == [key]
    assert not [name for name in node.disk.list(PATH) if name.endswith("-stray")], "it was deleted, not lost"


@in_virtual_time
async def test_a_broker_that_is_turned_away_for_a_while_follows_again() -> None:
    cluster = await Cluster.started()
    cluster.controller.refusals = [NotController("not yet"), ThrottlingQuotaExceeded("too many reads wait")]
    cluster.world.break_streams("controller")
    cluster.controller.topic(TOPIC_ID, [[1, 2, 3]])
    await until(lambda: all(one.broker.image == cluster.controller.image for one in cluster.nodes.values()))
    assert not cluster.controller.refusals


@in_virtual_time
async def test_the_lag_behind_the_metadata_is_told_in_seconds_and_grows_without_a_controller() -> None:
    cluster = await Cluster.started()
    cluster.controller.topic(TOPIC_ID, [[1, 2, 3]])
    await cluster.led()
    broker = cluster.nodes[1].broker
    await asyncio.sleep(5)
    assert broker.metadata_lag_s() == 0
    cluster.world.kill("controller")
    await asyncio.sleep(2)
    assert 1.9 < broker.metadata_lag_s() < 2.1
    await asyncio.sleep(2)
    assert 3.9 < broker.metadata_lag_s() < 5
