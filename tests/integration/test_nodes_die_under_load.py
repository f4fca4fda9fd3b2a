"""Nodes that are killed, paused and stopped under load: nothing that was acknowledged is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import os
import random
import time

from dohle import Admin
from tests.integration.clusters import healthy
from tests.integration.load import Load

SOAK_MINUTES = float(os.environ.get("DOHLE_SOAK_MINUTES", "0"))


async def test_a_node_killed_every_few_seconds_costs_nothing(fresh_trio, say):
    """30 s, a node killed every 7.5; with DOHLE_SOAK_MINUTES so long, every 20 s."""
    cluster = fresh_trio
    duration_s, every_s = (SOAK_MINUTES * 60, 20.0) if SOAK_MINUTES else (30.0, 7.5)
    choice = random.Random(7)
    began = time.monotonic()
    killed = 0
    async with Load(cluster.bootstrap, "soak") as load:
        await load.reached(500)
        while time.monotonic() - began < duration_s:
            victim = choice.choice(cluster.node_ids)
            await asyncio.to_thread(cluster.kill, victim)
            killed += 1
            round_ends = time.monotonic() + every_s
            await load.reached(500)  # two nodes go on without the third
            await asyncio.to_thread(cluster.up, victim)
            await healthy(cluster.bootstrap)
            await asyncio.sleep(max(0.0, round_ends - time.monotonic()))
    await load.check()
    assert not load.refused
    assert not load.doubtful
    say(f"{killed} kills, {len(load.acknowledged)} records, longest gap {load.longest_gap_s:.2f} s")


async def test_the_active_controller_killed_costs_nothing(trio, say):
    async with Load(trio.bootstrap, "controllers") as load:
        for _ in range(2):
            await load.reached(500)
            active = (await asyncio.to_thread(trio.describe)).controller_id
            await asyncio.to_thread(trio.kill, active)
            await load.reached(500)
            await asyncio.to_thread(trio.up, active)
            await healthy(trio.bootstrap)
    await load.check()
    assert not load.refused
    assert not load.doubtful
    say(f"longest gap {load.longest_gap_s:.2f} s")


async def test_a_leader_that_stalls_for_half_a_second_is_not_fenced(trio):
    async with Load(trio.bootstrap, "stalls", partitions=3) as load:
        await load.reached(500)
        before = await asyncio.to_thread(trio.describe)
        leaders = await asyncio.to_thread(trio.partition, "stalls", 0)
        with trio.paused(leaders.leader):
            await asyncio.sleep(0.5)
        await load.reached(500)
        await healthy(trio.bootstrap)
        after = await asyncio.to_thread(trio.partition, "stalls", 0)
        assert (after.leader, after.leader_epoch) == (leaders.leader, leaders.leader_epoch)
        epochs = {node.node_id: node.broker_epoch for node in before.nodes}
        assert {node.node_id: node.broker_epoch for node in (await asyncio.to_thread(trio.describe)).nodes} == epochs
    await load.check()


async def test_a_leader_that_is_silent_past_its_session_is_replaced_and_comes_back(trio, say):
    async with Load(trio.bootstrap, "silence", partitions=3) as load:
        await load.reached(500)
        before = await asyncio.to_thread(trio.partition, "silence")
        with trio.paused(before.leader):
            await load.reached(2000)  # all three partitions, or the writers' windows are full
            others = [f"localhost:{trio.port(node)}" for node in trio.node_ids if node != before.leader]
            during = await _partition_by(others, "silence")
            assert during.leader not in (-1, before.leader)
            assert during.leader_epoch > before.leader_epoch
        await healthy(trio.bootstrap)
        await load.reached(500)
    await load.check()
    assert not load.doubtful
    assert not load.refused
    say(f"longest gap {load.longest_gap_s:.2f} s")


async def test_nodes_stopped_one_after_another_under_load_leave_cleanly(trio, say):
    async with Load(trio.bootstrap, "rolling") as load:
        for node_id in trio.node_ids:
            await load.reached(300)
            assert await asyncio.to_thread(trio.terminate, node_id) == 0
            assert (trio.data(node_id) / ".clean-shutdown").exists()
            await load.reached(300)
            await asyncio.to_thread(trio.up, node_id)
            assert "was not stopped cleanly" not in _since_last_start(trio.log(node_id))
            await healthy(trio.bootstrap)
    await load.check()
    assert not load.refused
    assert not load.doubtful
    say(f"longest gap {load.longest_gap_s:.2f} s")


async def test_nodes_that_lead_hundreds_of_partitions_leave_cleanly_one_after_another(fresh_trio, say):
    """Each is emptied in several steps. How long that takes, the machine decides."""
    cluster = fresh_trio
    async with Load(cluster.bootstrap, "many", partitions=300, keys_each=100, delivery_timeout_ms=120_000) as load:
        for node_id in cluster.node_ids:
            await load.reached(300)
            await asyncio.to_thread(cluster.local.stop, [node_id])
            await load.reached(300)
            await asyncio.to_thread(cluster.up, node_id)
            await healthy(cluster.bootstrap, within_s=60)
    await load.check()
    assert not load.refused
    assert not load.doubtful
    say(f"longest gap {load.longest_gap_s:.2f} s")


async def _partition_by(bootstrap, topic):
    async with Admin(bootstrap, request_timeout_ms=10_000) as admin:
        return (await admin.describe_topic(topic)).partitions[0]


def _since_last_start(log):
    return log[log.rindex("listens on") :] if "listens on" in log else log
