"""A node that stopped comes back behind the start of the others' metadata logs, and catches up by a snapshot."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dohle import Admin
from dohle.model.snapshot import SUFFIX
from tests.integration.clusters import Cluster, until
from tests.integration.load import read_all, write_some

AWAY = 3


def metadata(cluster: Cluster, node_id: int) -> Path:
    return cluster.data(node_id) / "__cluster_metadata-0"


def log_start(cluster: Cluster, node_id: int) -> int:
    checkpoint = metadata(cluster, node_id) / "log-start-offset-checkpoint"
    return int(checkpoint.read_text().split()[-1]) if checkpoint.exists() else 0


def snapshots(cluster: Cluster, node_id: int) -> list[Path]:
    return sorted(path for path in metadata(cluster, node_id).iterdir() if path.name.endswith(SUFFIX))


def said(cluster: Cluster, node_id: int, what: str) -> int:
    return cluster.log(node_id).count(what)


async def make_topics(cluster: Cluster, names: list[str]) -> None:
    async with Admin(cluster.bootstrap, request_timeout_ms=10_000) as admin:
        for name in names:
            await admin.create_topic(name, partitions=4, replication_factor=3)


@pytest.fixture
def small_snapshots(make_cluster):
    """Three nodes that write a snapshot every few topics."""
    cluster = make_cluster()
    for node_id in cluster.node_ids:
        with cluster.config(node_id).open("a") as config:
            config.write("metadata_log_max_record_bytes_between_snapshots = 2000\nmetadata_log_segment_bytes = 2048\n")
    cluster.up()
    cluster.until_healthy()
    return cluster


def test_a_node_comes_back_behind_the_logs_start_and_catches_up_by_a_snapshot(small_snapshots):
    cluster = small_snapshots
    asyncio.run(make_topics(cluster, ["before"]))
    values = asyncio.run(write_some(cluster.bootstrap, "before", 50))
    cluster.down(AWAY)
    others = [node_id for node_id in cluster.node_ids if node_id != AWAY]
    before = {path for node_id in others for path in snapshots(cluster, node_id)}
    made: list[str] = []

    def cut() -> bool:
        """Whether the others' logs begin at snapshots that were written since."""
        return all(
            any(
                path not in before and int(path.name[:20]) == log_start(cluster, one)
                for path in snapshots(cluster, one)
            )
            for one in others
        )

    while not cut():
        names = [f"t{len(made) + number}" for number in range(12)]
        asyncio.run(make_topics(cluster, names))
        made += names
        assert len(made) < 300, "no log is cut"
    assert not (metadata(cluster, others[0]) / f"{0:020d}.log").exists(), "the first segment is gone"
    cluster.up(AWAY)
    cluster.until_healthy()
    until(lambda: said(cluster, AWAY, "installed the snapshot of metadata") == 1, "its controller has installed it")
    until(lambda: log_start(cluster, AWAY) > 0, "its own log begins there")
    folders = {path.name for path in cluster.data(AWAY).iterdir()}
    assert {f"{name}-{number}" for name in made for number in range(4)} <= folders
    assert sorted(asyncio.run(read_all(cluster.bootstrap, "before")).values()) == sorted(values)

    cluster.kill(AWAY)
    for path in snapshots(cluster, AWAY):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    cluster.up(AWAY)
    cluster.until_healthy()
    for path in snapshots(cluster, AWAY)[:1]:
        assert f"the snapshot {path} is damaged at byte " in cluster.log(AWAY)
    assert said(cluster, AWAY, "one is fetched from another controller") == 1
    cluster.kill(others[0])
    asyncio.run(make_topics_soon(cluster))  # by what was fetched: two controllers are the majority


async def make_topics_soon(cluster: Cluster) -> None:
    async with Admin(cluster.bootstrap, request_timeout_ms=20_000) as admin:
        await admin.create_topic("after", partitions=1, replication_factor=2)
