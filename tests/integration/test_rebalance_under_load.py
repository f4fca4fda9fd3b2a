"""A cluster that grows from three nodes to five and is rebalanced under load: even afterwards, and nothing lost."""

from __future__ import annotations

import asyncio
import json

from dohle import Admin
from tests.integration.clusters import Cluster, healthy
from tests.integration.load import Load

PARTITIONS = 10


async def carried(cluster: Cluster) -> dict[int, tuple[int, int]]:
    async with Admin(cluster.bootstrap) as admin:
        topics = await admin.list_topics()
    replicas = [partition.assigned_replicas for topic in topics for partition in topic.partitions]
    nodes = [node.node_id for node in cluster.local.state.nodes]
    return {
        node: (sum(one[0] == node for one in replicas), sum(node in one for one in replicas)) for node in sorted(nodes)
    }


async def test_a_cluster_that_grows_is_rebalanced_under_load(make_cluster, tmp_path, say) -> None:
    cluster: Cluster = await asyncio.to_thread(make_cluster, 3)
    await asyncio.to_thread(cluster.up)
    back = tmp_path / "back.json"
    async with Load(cluster.bootstrap, "growing", partitions=PARTITIONS) as load:
        await load.reached(1000)
        before = await carried(cluster)
        await asyncio.to_thread(cluster.local.grow, 5)
        await asyncio.to_thread(cluster.up)
        planned = json.loads(await asyncio.to_thread(cluster.done, "cluster", "rebalance", "--plan", "--json"))
        assert planned["partitions"]
        assert await carried(cluster) == {**before, 4: (0, 0), 5: (0, 0)}, "a plan that was only shown was run"
        arguments = ("cluster", "rebalance", "--yes", "--throttle", "5M", "--undo-plan", str(back))
        said = await asyncio.to_thread(cluster.done, *arguments)
        assert "copied" in said
        after = await carried(cluster)
        await load.reached(500)
        undone = await asyncio.to_thread(cluster.done, "cluster", "reassign", "--plan", str(back), "--json")
        assert all(one["outcome"] == "done" for one in json.loads(undone))
        assert await carried(cluster) == {**before, 4: (0, 0), 5: (0, 0)}
        await asyncio.to_thread(cluster.done, "cluster", "rebalance", "--yes")
        await load.reached(500)
        await healthy(cluster.bootstrap)
    await load.check()
    assert not load.refused
    assert not load.doubtful
    assert all(1 <= leads <= 3 and 5 <= holds <= 7 for leads, holds in after.values()), after
    say(f"{len(load.acknowledged)} records, longest gap of a partition {load.longest_gap_s:.2f} s; {before} -> {after}")


async def test_a_rebalance_that_runs_is_taken_back_and_undone_under_load(make_cluster, tmp_path, say) -> None:
    cluster: Cluster = await asyncio.to_thread(make_cluster, 3)
    await asyncio.to_thread(cluster.up)
    back = tmp_path / "back.json"
    async with Load(cluster.bootstrap, "regretted", partitions=PARTITIONS) as load, Admin(cluster.bootstrap) as admin:
        await load.reached(1000)
        before = await carried(cluster)
        await asyncio.to_thread(cluster.local.grow, 4)
        await asyncio.to_thread(cluster.up)
        arguments = ("cluster", "rebalance", "--yes", "--throttle", "1", "--undo-plan", str(back))
        running = asyncio.create_task(asyncio.to_thread(cluster.dohle, *arguments))
        async with asyncio.timeout(30):
            while not (await admin.list_partition_reassignments()).reassignments:
                assert not running.done(), running.result()
                await asyncio.sleep(0.05)
        await load.reached(500)
        moving = len((await admin.list_partition_reassignments()).reassignments)
        assert moving, "it has arrived under a bound that is below what is written"
        said = await asyncio.to_thread(cluster.done, "cluster", "rebalance", "--cancel")
        assert said == f"{moving} partitions: taken back\n"
        assert not (await admin.list_partition_reassignments()).reassignments
        outcome = await running
        assert outcome.returncode == 1, outcome.stderr
        assert f"{moving} partitions: taken back meanwhile" in outcome.stdout
        await asyncio.to_thread(cluster.done, "cluster", "reassign", "--plan", str(back))
        assert await carried(cluster) == {**before, 4: (0, 0)}
        await load.reached(500)
        await healthy(cluster.bootstrap)
    await load.check()
    assert not load.refused
    assert not load.doubtful
    say(f"{moving} moves taken back under way, {len(load.acknowledged)} records")
