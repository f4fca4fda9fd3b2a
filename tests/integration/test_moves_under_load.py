"""Replicas that move under load, and leaders that are elected: nothing is lost, nothing comes twice, writes go on."""

from __future__ import annotations

import asyncio

from dohle import Admin
from dohle.client.partition_changes import Reassignment
from tests.integration.clusters import Cluster, healthy
from tests.integration.load import Load

NODES = 4
PARTITIONS = 6


async def begun(admin: Admin, topic: str, shift: int, *, throttle: int | None = None) -> None:
    """Has every partition move to other replicas."""
    plan = [
        Reassignment(topic, number, tuple((number + shift + step) % NODES + 1 for step in range(3)))
        for number in range(PARTITIONS)
    ]
    outcomes = await admin.alter_partition_reassignments(plan, throttle_bytes_per_s=throttle)
    assert not any(outcomes.values()), outcomes


async def arrived(admin: Admin, load: Load) -> None:
    """Returns when nothing is on its way any more, while writes go on."""
    async with asyncio.timeout(60):
        while (await admin.list_partition_reassignments()).reassignments:
            await asyncio.sleep(0.1)
    await load.reached(500)


async def test_replicas_that_move_under_load_lose_nothing(make_cluster, say) -> None:
    cluster: Cluster = await asyncio.to_thread(make_cluster, NODES)
    await asyncio.to_thread(cluster.up)
    async with Load(cluster.bootstrap, "moving", partitions=PARTITIONS) as load, Admin(cluster.bootstrap) as admin:
        await load.reached(1000)
        await begun(admin, "moving", 1)
        await arrived(admin, load)
        await begun(admin, "moving", 2, throttle=50_000)
        await asyncio.to_thread(cluster.kill, NODES)  # which gets replicas, and loses others
        await load.reached(200)
        await asyncio.to_thread(cluster.up, NODES)
        await admin.alter_partition_reassignments([], throttle_bytes_per_s=0)
        await arrived(admin, load)
        await begun(admin, "moving", 3, throttle=1_000_000)
        await arrived(admin, load)
        elected = await admin.elect_leaders({"moving": []})
        assert len(elected) == PARTITIONS
        await healthy(cluster.bootstrap)
        await load.reached(500)
    await load.check()
    assert not load.refused
    assert not load.doubtful
    held = {
        (node, path.name)
        for node in cluster.node_ids
        for path in cluster.data(node).glob("moving-*")
        if "." not in path.name  # what was moved away while a node was down is set aside
    }
    assert len(held) == PARTITIONS * 3, sorted(held)
    say(f"{len(load.acknowledged)} records, longest gap of a partition {load.longest_gap_s:.2f} s")
