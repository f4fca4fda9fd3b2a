"""Topics are forked under load, and while nodes die: forks have what their sources had, on every replica, and go on."""

from __future__ import annotations

import asyncio
import threading

import pytest

from dohle import Admin
from dohle.client.values import ForkedTopic
from dohle.model.errors import Retriable
from tests.integration.clusters import Cluster
from tests.integration.load import Load, read_all, write_some

RECORDS = 30_000
_SHORT = ("--config", f"segment.bytes={1 << 20}")


async def _forked(bootstrap: str, source: str, name: str) -> ForkedTopic:
    async with Admin(bootstrap, request_timeout_ms=60_000) as admin:
        return await admin.fork_topic(source, name)


def _has(cluster: Cluster, name: str, written: list[bytes]) -> None:
    found = asyncio.run(read_all(cluster.bootstrap, name))
    assert [value for _, value in sorted(found.items())] == written


def test_a_fork_shares_files_on_every_replica_and_outlives_its_source_and_kills_of_all(make_cluster):
    cluster: Cluster = make_cluster(3)
    cluster.up()
    cluster.done("topic", "create", "events", "-p", "1", "-r", "3", *_SHORT)
    written = asyncio.run(write_some(cluster.bootstrap, "events", RECORDS, prefix="r" * 100))
    assert "forked events as copy" in cluster.done("topic", "fork", "events", "copy")
    assert cluster.partition("copy").in_sync_replicas == cluster.partition("events").assigned_replicas
    for node in cluster.node_ids:
        files = sorted((cluster.data(node) / "copy-0").glob("*.log"))
        assert len(files) > 2
        assert [one.stat().st_nlink for one in files] == [2] * (len(files) - 1) + [1]
    more = asyncio.run(write_some(cluster.bootstrap, "copy", 1000, prefix="more"))
    _has(cluster, "events", written)
    _has(cluster, "copy", [*written, *more])
    cluster.kill_all()
    cluster.up()
    cluster.until_healthy()
    cluster.done("topic", "delete", "events", "--yes")
    cluster.kill(cluster.partition("copy").leader)
    _has(cluster, "copy", [*written, *more])
    cluster.up()
    cluster.until_healthy()
    assert "there is no topic" in cluster.refused("topic", "fork", "events", "again")
    assert "cannot be forked at 999999" in cluster.refused("topic", "fork", "copy", "again", "--at", "999999")
    cluster.down()
    for node in cluster.node_ids:
        assert "SOUND" in cluster.done("log", "verify", str(cluster.data(node)))
        left = [one.name for one in cluster.data(node).iterdir() if one.name.endswith(("-new", "-stray", "-delete"))]
        assert not left


@pytest.mark.parametrize("victim", ["leader", "follower"])
def test_a_node_is_killed_while_a_topic_is_forked_under_load(make_cluster, victim):
    cluster: Cluster = make_cluster(3)
    cluster.up()

    async def scenario() -> list[str]:
        made: list[str] = []
        refused = 0
        async with Load(cluster.bootstrap, "orders", partitions=3, records_per_s=800) as load:
            await load.reached(2000)
            led = (await asyncio.to_thread(cluster.partition, "orders")).leader
            node = led if victim == "leader" else next(one for one in cluster.node_ids if one != led)
            for number in range(4):
                death = threading.Timer(0.02 * number, cluster.kill, (node,))
                death.start()
                try:
                    await _forked(cluster.bootstrap, "orders", f"fork{number}")
                    made.append(f"fork{number}")
                except Retriable:
                    refused += 1
                await asyncio.to_thread(death.join)
                await asyncio.to_thread(cluster.up)
                await asyncio.to_thread(cluster.until_healthy)
        await load.check()
        assert len(made) + refused == 4
        return made

    made = asyncio.run(scenario())
    assert made, "no fork was made at all"
    source = asyncio.run(read_all(cluster.bootstrap, "orders"))
    for name in made:
        fork = asyncio.run(read_all(cluster.bootstrap, name))
        assert fork, f"{name} is empty"
        assert fork == {place: source[place] for place in fork}
        for partition in range(3):
            offsets = sorted(offset for number, offset in fork if number == partition)
            assert offsets == list(range(len(offsets)))
    cluster.down()
    for node in cluster.node_ids:
        names = {one.name for one in cluster.data(node).iterdir()}
        assert not [name for name in names if name.endswith(("-new", "-stray", "-delete"))]
        assert {name.rpartition("-")[0] for name in names if name.startswith("fork")} == set(made)


def test_a_snapshot_stays_as_it_is_and_what_is_restored_from_it_goes_on(make_cluster):
    cluster: Cluster = make_cluster(3)
    cluster.up()
    cluster.done("topic", "create", "events", "-p", "1", "-r", "3", *_SHORT, "--config", "retention.ms=123456789")
    written = asyncio.run(write_some(cluster.bootstrap, "events", 5000, prefix="r" * 100))
    assert "snapshot monday of events" in cluster.done("topic", "snapshot", "events", "monday")
    cluster.done("topic", "delete-records", "events", "--before", "end", "--yes")
    cluster.done("topic", "delete", "events", "--yes")
    assert "monday" in cluster.done("topic", "snapshots")
    assert "monday" not in cluster.done("topic", "list")
    hidden = "__snapshot.monday"
    assert "stays as it is" in cluster.refused("topic", "config", hidden, "--set", "retention.ms=1")
    assert "stays as it is" in cluster.refused("topic", "delete-records", hidden, "--before", "end", "--yes")
    assert "stays as it is" in cluster.refused("produce", hidden, stdin="x\n")
    assert "choose another" in cluster.refused("topic", "create", "__snapshot.other")
    cluster.done("topic", "restore", "monday", "events")
    assert "retention.ms = 123456789" in cluster.done("topic", "describe", "events")
    more = asyncio.run(write_some(cluster.bootstrap, "events", 1000, prefix="more"))
    _has(cluster, "events", [*written, *more])
    _has(cluster, hidden, written)
    assert "exists" in cluster.refused("topic", "snapshot", "events", "monday")
    cluster.done("topic", "snapshots", "--delete", "monday")
    assert "no snapshots" in cluster.done("topic", "snapshots")
    _has(cluster, "events", [*written, *more])
