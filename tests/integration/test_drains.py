"""A broker is drained while topics come, it restarts, and clients write."""

from __future__ import annotations

import asyncio
import subprocess

from dohle import Admin
from dohle.client.values import NodeDescription
from tests.integration.clusters import Cluster, dohle_command, until
from tests.integration.load import Load, read_all, write_some


def fourth(cluster: Cluster) -> NodeDescription:
    return next(node for node in cluster.describe().nodes if node.node_id == 4)


async def begins_to_drain(cluster: Cluster, admin: Admin, *more: str) -> asyncio.subprocess.Process:
    command = dohle_command("cluster", "drain", "4", "--throttle", "20k", "--bootstrap", cluster.bootstrap, *more)
    draining = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    async with asyncio.timeout(20):
        while not next(one for one in (await admin.describe_cluster()).nodes if one.node_id == 4).draining:
            await asyncio.sleep(0.02)
    return draining


async def test_topics_that_are_made_during_a_drain_do_not_keep_it_from_its_end(make_cluster):
    cluster: Cluster = await asyncio.to_thread(make_cluster, 4)
    await asyncio.to_thread(cluster.up)
    async with Load(cluster.bootstrap, "orders", records_per_s=300) as load, Admin(cluster.bootstrap) as admin:
        await load.reached(1500)
        draining = await begins_to_drain(cluster, admin)
        said, made = asyncio.create_task(draining.communicate()), 0
        while not said.done():
            await admin.create_topic(f"meanwhile{made}", partitions=4, replication_factor=3)
            made += 1
            await asyncio.sleep(0.2)
        words = (await said)[0].decode()
        assert draining.returncode == 0, words
        assert "broker 4 holds no replicas: it can be switched off" in words
        assert made > 1

        await asyncio.to_thread(cluster.down, 4)
        await asyncio.to_thread(cluster.up, 4)
        await admin.create_topic("after", partitions=12, replication_factor=3)
        topics = await admin.list_topics()
        await load.reached(300)
    await load.check()
    assert len(topics) == made + 2
    assert all(4 not in one.assigned_replicas for topic in topics for one in topic.partitions)


async def test_a_broker_that_dies_while_replicas_go_to_it_does_not_keep_the_drain_from_its_end(make_cluster):
    cluster: Cluster = await asyncio.to_thread(make_cluster, 4)
    await asyncio.to_thread(cluster.up)
    folder = ("--bootstrap", cluster.bootstrap)
    async with Admin(cluster.bootstrap) as admin:
        cluster.done("topic", "create", "orders", "--partitions", "6", "--replication-factor", "2", *folder)
        # Whoever dies must hold nothing else of what moves: then there is a place left to go to.
        cluster.done("cluster", "reassign", *(f"orders:{partition}=4,3" for partition in range(6)), *folder)
        written = await write_some(cluster.bootstrap, "orders", 2000, prefix="r" * 100)
        draining = await begins_to_drain(cluster, admin, "--patience", "2")
        async with asyncio.timeout(20):
            while not (moves := (await admin.list_partition_reassignments()).reassignments):
                await asyncio.sleep(0.02)
        dead = moves[0].adding_replicas[0]
        cluster.kill(dead)
        async with asyncio.timeout(10):
            while not next(one for one in (await admin.describe_cluster()).nodes if one.node_id == dead).fenced:
                await asyncio.sleep(0.02)
        listed = cluster.done("cluster", "reassign", "--list", *folder)
        words = (await draining.communicate())[0].decode()
    assert f"broker {dead}, which is down" in listed
    assert draining.returncode == 0, words
    assert f"broker {dead}, which is down" in words
    assert "taken back, to go elsewhere" in words
    assert "broker 4 holds no replicas: it can be switched off" in words
    await asyncio.to_thread(cluster.up, dead)
    await asyncio.to_thread(cluster.until_healthy)
    assert sorted((await read_all(cluster.bootstrap, "orders")).values()) == sorted(written)


def test_a_drained_broker_that_is_forgotten_and_returns_is_one_like_any_other(make_cluster):
    cluster: Cluster = make_cluster(4)
    cluster.up()
    cluster.done("topic", "create", "t", "--partitions", "8")
    cluster.done("cluster", "drain", "4")
    cluster.down(4)
    until(lambda: fourth(cluster).fenced, "the cluster knows that node 4 is down")
    cluster.up(4)
    assert (fourth(cluster).draining, fourth(cluster).replicas) == (True, 0)
    cluster.down(4)
    until(lambda: fourth(cluster).fenced, "the cluster knows that node 4 is down")
    told = cluster.done("cluster", "unregister", "4").splitlines()
    assert told[0].startswith("forgetting broker 4, which is down and holds no replicas: then there are ")
    assert told[1] == "broker 4 is no member of the cluster any more"
    cluster.up(4)
    until(lambda: any(node.node_id == 4 for node in cluster.describe().nodes), "node 4 is a member again")
    assert not fourth(cluster).draining
    cluster.done("topic", "create", "u", "--partitions", "8")
    assert fourth(cluster).replicas > 0
