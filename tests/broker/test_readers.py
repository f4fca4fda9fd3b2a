"""Consumers in a follower's rack: who sends them there, who answers them, and how soon (KIP-392)."""

from __future__ import annotations

import asyncio

import pytest

from dohle.broker.fetch_set import Fetched, FetchWanted
from dohle.model.errors import (
    FencedLeaderEpoch,
    NotLeaderOrFollower,
    OffsetNotAvailable,
    OffsetOutOfRange,
    UnknownLeaderEpoch,
)
from tests.broker.brokers import KEY, Cluster, Node, until
from tests.broker.logs import TOPIC_ID, batch
from tests.broker.virtual_time import in_virtual_time


async def made() -> tuple[Cluster, Node, Node]:
    """Three brokers in racks of their own, and a topic; returns its leader and a follower, who are in sync."""
    cluster = await Cluster.started(racked=True)
    cluster.controller.topic(TOPIC_ID, [[1, 2, 3]])
    leader = await cluster.led()
    role = leader.leading()
    assert role is not None
    await until(lambda: all(replica.subscriber is not None for replica in role.replicas.values()))
    return cluster, leader, next(node for node in cluster.nodes.values() if node is not leader)


async def produce(node: Node) -> None:
    future = await node.broker.produce(KEY, batch(), -1, 5.0)
    assert future is not None
    await future


async def fetch(node: Node, offset: int, rack: str, *, epoch: int = -1, wait_s: float = 0.0) -> Fetched:
    wanted = [FetchWanted(KEY, offset, 1000, epoch, rack)]
    return (await node.broker.reads.fetch(wanted, max_wait_s=wait_s, min_bytes=1, max_bytes=1000))[0]


@in_virtual_time
async def test_a_reader_is_sent_to_the_follower_in_its_rack_at_once_and_gets_what_there_is() -> None:
    _, leader, near = await made()
    await produce(leader)
    for offset in (0, 1):
        answer = await fetch(leader, offset, f"rack{near.node_id}", wait_s=30.0)
        assert (answer.read_from, bool(answer.batches)) == (near.node_id, offset == 0)
    assert (await fetch(leader, 0, f"rack{leader.node_id}")).read_from is None
    assert (await fetch(leader, 0, "elsewhere")).read_from is None
    assert (await fetch(leader, 0, "")).read_from is None


@in_virtual_time
async def test_a_reader_is_not_sent_to_who_is_out_of_sync_nor_where_the_operator_forbids_it() -> None:
    cluster, leader, near = await made()
    rack = f"rack{near.node_id}"
    leader.broker.reads._readers._by_rack = False
    assert (await fetch(leader, 0, rack)).read_from is None
    leader.broker.reads._readers._by_rack = True
    assert (await fetch(leader, 0, rack)).read_from == near.node_id
    near.disk.gate.clear()  # it follows, and nothing that it has is durable
    future = await leader.broker.produce(KEY, batch(), -1, 60.0)
    assert future is not None
    assert (await fetch(leader, 1, rack)).read_from is None
    await until(lambda: near.node_id not in cluster.isr(), 30.0)
    await future
    assert (await fetch(leader, 0, rack)).read_from is None
    near.disk.gate.set()


@in_virtual_time
async def test_a_follower_answers_only_who_names_a_rack_and_only_in_its_own_epoch() -> None:
    cluster, leader, near = await made()
    await produce(leader)
    await until(lambda: near.log().high_watermark == 1)
    role = leader.leading()
    assert role is not None
    answer = await fetch(near, 0, "anywhere", epoch=role.leader_epoch)
    assert (answer.failure, answer.high_watermark, answer.read_from) == (None, 1, None)
    assert answer.batches
    assert near.broker.traffic.followed_bytes == len(answer.batches)
    assert isinstance((await fetch(near, 0, "")).failure, NotLeaderOrFollower)
    assert isinstance((await fetch(near, 0, "r", epoch=role.leader_epoch + 1)).failure, UnknownLeaderEpoch)
    cluster.controller.fence(leader.node_id)
    await until(lambda: cluster.leader() is not leader)
    follower = next(node for node in cluster.nodes.values() if node not in (leader, cluster.leader()))
    await until(lambda: follower.broker.image.partition(KEY) == cluster.controller.image.partition(KEY))
    assert isinstance((await fetch(follower, 0, "r", epoch=role.leader_epoch)).failure, FencedLeaderEpoch)


@in_virtual_time
async def test_only_a_leader_says_that_an_offset_does_not_exist() -> None:
    _, leader, near = await made()
    assert isinstance((await fetch(near, 5, "r")).failure, OffsetNotAvailable)
    assert isinstance((await fetch(leader, 5, "r")).failure, OffsetOutOfRange)


@in_virtual_time
async def test_a_leader_without_a_session_does_not_say_it_either_and_serves_what_it_has() -> None:
    cluster, leader, _ = await made()
    await produce(leader)
    cluster.controller.is_silent = True
    await until(lambda: leader.broker.membership.in_doubt, 30.0)
    assert isinstance((await fetch(leader, 5, "")).failure, NotLeaderOrFollower)
    assert (await fetch(leader, 0, "")).batches


@in_virtual_time
async def test_a_reader_that_waits_at_a_follower_hears_of_a_record_within_milliseconds() -> None:
    cluster, leader, near = await made()
    assert (await fetch(leader, 0, f"rack{near.node_id}")).read_from == near.node_id
    waits = asyncio.ensure_future(fetch(near, 0, f"rack{near.node_id}", wait_s=30.0))
    await asyncio.sleep(0.5)
    assert not waits.done()
    await produce(leader)
    committed = asyncio.get_running_loop().time()
    assert (await waits).batches
    assert asyncio.get_running_loop().time() - committed < 0.02
    await cluster.healed()


@in_virtual_time
@pytest.mark.parametrize("reason", ["set", "epoch"])
async def test_a_reader_that_waits_at_a_follower_is_sent_away_when_that_can_vouch_for_nothing(reason: str) -> None:
    cluster, leader, near = await made()
    role = leader.leading()
    assert role is not None
    waits = asyncio.ensure_future(fetch(near, 0, "r", epoch=role.leader_epoch, wait_s=60.0))
    await asyncio.sleep(0.5)
    if reason == "set":
        near.disk.gate.clear()  # it follows, and does not become durable
        future = await leader.broker.produce(KEY, batch(), -1, 60.0)
        assert future is not None
        await until(lambda: near.node_id not in cluster.isr(), 30.0)
    else:
        cluster.controller.fence(leader.node_id)
        await until(lambda: cluster.leader() is not leader)
    answer = await asyncio.wait_for(waits, 1.0)
    assert answer.failure is not None
    assert answer.failure.retriable
    near.disk.gate.set()
