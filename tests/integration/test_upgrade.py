"""A cluster is upgraded node by node under load; then a new metadata.version is finalised, and old software is out."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest

from dohle import Admin
from dohle.model.batch import split_batches
from dohle.model.errors import InvalidUpdateVersion
from dohle.model.metadata import NEWEST_METADATA_VERSION
from dohle.model.records import decode_records
from tests.integration.clusters import Cluster, healthy
from tests.integration.load import Load

LATER = NEWEST_METADATA_VERSION + 1
LATER_BUILD = Path(__file__).parent / "later_build"
THROTTLE = 15


def throttles_in(cluster: Cluster, node_id: int) -> Iterator[list[object]]:
    """What the metadata log of a node says of the throttle, as it is written: version and fields."""
    segments = sorted((cluster.data(node_id) / "__cluster_metadata-0").glob("*.log"))
    batches = b"".join(segment.read_bytes() for segment in segments)
    for position, _ in split_batches(batches):
        for record in decode_records(batches, position):
            record_type, *rest = msgpack.unpackb(record.value)
            if record_type == THROTTLE:
                yield rest


@pytest.fixture
def later_build(monkeypatch):
    """What is started from now on is software of the next version, on the call of what this returns."""
    return lambda: monkeypatch.setenv("PYTHONPATH", f"{LATER_BUILD}{os.pathsep}{os.environ['PYTHONPATH']}")


@pytest.fixture(autouse=True)
def _own_path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH") or str(Path(__file__).parent.parent.parent))


async def restart(cluster: Cluster, node_id: int) -> None:
    await asyncio.to_thread(cluster.down, node_id)
    await asyncio.to_thread(cluster.up, node_id)
    await healthy(cluster.bootstrap)


def joins_in_vain(cluster: Cluster, node_id: int) -> str:
    """Starts a node with a folder of its own in which nothing is, and gives it back the one that it had."""
    folder, kept = cluster.data(node_id), cluster.folder / "kept"
    folder.rename(kept)
    config = str(cluster.config(node_id))
    cluster.done("format", "--config", config, "--cluster-id", cluster.local.state.cluster_id, "--join")
    complaint = cluster.fails_to_start(node_id)
    shutil.rmtree(folder)
    kept.rename(folder)
    return complaint


async def throttle(admin: Admin, bytes_per_s: int) -> None:
    await admin.alter_partition_reassignments([], throttle_bytes_per_s=bytes_per_s)


async def test_a_rolling_upgrade_under_load_and_then_the_new_version_is_finalised(
    make_cluster, later_build, monkeypatch, say
) -> None:
    cluster: Cluster = await asyncio.to_thread(make_cluster)
    await asyncio.to_thread(cluster.up)
    old_path = os.environ["PYTHONPATH"]
    async with Load(cluster.bootstrap, "upgraded") as load, Admin(cluster.bootstrap) as admin:
        await load.reached(500)
        later_build()
        await restart(cluster, 1)
        with pytest.raises(InvalidUpdateVersion, match=f"broker 2 supports 1 to {LATER - 1}; broker 3 .*; voter 2"):
            await admin.update_features(LATER)
        await throttle(admin, 1_000_001)
        await restart(cluster, 2)
        await restart(cluster, 3)
        await throttle(admin, 1_000_002)
        described = await admin.describe_features()
        assert (described.metadata_version, described.newest_metadata_version) == (LATER - 1, LATER)
        assert not described.obstacle
        assert await admin.update_features() == (LATER - 1, LATER)
        await asyncio.to_thread(cluster.down, 2)
        monkeypatch.setenv("PYTHONPATH", old_path)
        complaint = await asyncio.to_thread(cluster.fails_to_start, 2)
        assert f"works at metadata.version {LATER}; this node knows 1 to {LATER - 1}: run it with software" in complaint
        later_build()
        await asyncio.to_thread(cluster.up, 2)
        await throttle(admin, 1_000_003)
        await load.reached(500)
        await asyncio.to_thread(cluster.down, 3)
        monkeypatch.setenv("PYTHONPATH", old_path)
        complaint = await asyncio.to_thread(joins_in_vain, cluster, 3)
        assert f"this node knows 1 to {LATER - 1}: run it with" in complaint or "this node reads up to" in complaint
        later_build()
        await asyncio.to_thread(cluster.up, 3)
        await healthy(cluster.bootstrap)
        await load.reached(200)
    await load.check()
    assert not load.refused
    assert not load.doubtful
    for node_id in cluster.node_ids:
        assert list(throttles_in(cluster, node_id)) == [[1, 1_000_001], [1, 1_000_002], [LATER, 1_000_003, ""]]
    say(f"{len(load.acknowledged)} records, longest gap of a partition {load.longest_gap_s:.2f} s")
