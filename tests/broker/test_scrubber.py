"""Scrubbing: what rots is found though nobody reads it, at a bounded rate, whatever becomes of the logs meanwhile."""

from __future__ import annotations

import asyncio

from dohle.broker.scrubber import Scrubber
from tests.broker.brokers import KEY, Cluster, Node, until
from tests.broker.logs import TOPIC_ID
from tests.broker.test_damage import made, produce, rot
from tests.broker.virtual_time import VirtualClock, in_virtual_time


def follower_of(cluster: Cluster, leader: Node) -> Node:
    return next(node for node in cluster.nodes.values() if node is not leader)


def slow_scrubber(node: Node, *, seconds: float) -> Scrubber:
    """Returns one that takes so long over the log of `node`, read in one chunk and waited for at the next."""
    broker, rate = node.broker, int(node.log().size_bytes / seconds)
    return Scrubber(VirtualClock(), broker.replicas, broker.traffic, interval_s=60, bytes_per_s=rate)


@in_virtual_time
async def test_a_followers_rot_is_found_and_the_replica_is_repaired() -> None:
    cluster, leader = await made()
    node = follower_of(cluster, leader)
    rot(node, 3)
    await node.broker.scrubber.scrub()
    assert node.log().damage is not None
    await until(lambda: node.log().damage is None)
    await cluster.healed()
    assert node.broker.replicas.repairs.repaired == 1
    assert node.broker.traffic.scrubs == 1
    assert not cluster.failures


@in_virtual_time
async def test_a_leaders_rot_is_found_and_another_leads() -> None:
    cluster, leader = await made()
    rot(leader, 3)
    await leader.broker.scrubber.scrub()
    await until(lambda: cluster.controller.image.partition(KEY).leader != leader.node_id)
    await cluster.healed()
    assert leader.broker.replicas.repairs.repaired == 1


@in_virtual_time
async def test_a_pass_reads_everything_once_and_no_faster_than_it_may() -> None:
    cluster, leader = await made()
    node = follower_of(cluster, leader)
    scrubber, clock = slow_scrubber(node, seconds=5), asyncio.get_running_loop()
    begun = clock.time()
    await scrubber.scrub()
    assert node.broker.traffic.scrubbed_bytes == node.log().size_bytes
    assert clock.time() - begun >= 5


@in_virtual_time
async def test_what_is_written_while_a_pass_waits_is_read_too() -> None:
    cluster, leader = await made()
    node = follower_of(cluster, leader)
    passing = asyncio.ensure_future(slow_scrubber(node, seconds=5).scrub())
    await asyncio.sleep(1)
    await produce(leader, 5)
    await cluster.healed()
    await passing
    assert node.broker.traffic.scrubbed_bytes == node.log().size_bytes


@in_virtual_time
async def test_a_topic_that_goes_meanwhile_ends_nothing() -> None:
    cluster, leader = await made()
    node = follower_of(cluster, leader)
    passing = asyncio.ensure_future(slow_scrubber(node, seconds=5).scrub())
    await asyncio.sleep(1)
    cluster.controller.remove(TOPIC_ID)
    await passing
    assert node.broker.traffic.scrubs == 1
    assert not cluster.failures


@in_virtual_time
async def test_known_damage_is_not_read_again() -> None:
    _, leader = await made(1, min_insync=1)
    rot(leader, 3)
    await leader.broker.scrubber.scrub()
    assert leader.log().damage is not None
    read = leader.broker.traffic.scrubbed_bytes
    await leader.broker.scrubber.scrub()
    assert leader.broker.traffic.scrubbed_bytes == read
