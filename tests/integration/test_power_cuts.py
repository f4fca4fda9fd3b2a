"""The power of one node, of two, of all three at once is cut under load, on real disks (`power.py`).

5 rounds; with DOHLE_POWER_CUTS as many as that says.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dohle import Admin, Producer
from dohle.storage.checkpoints import RECOVERY_POINTS, decode_offsets
from dohle.storage.dump import dump_segment
from dohle.storage.opened import UNSYNCED_FILE
from tests.integration.clusters import healthy, until_async
from tests.integration.load import read_all
from tests.integration.noted_load import NotedLoad
from tests.integration.power import PowerCuts, power_cuts
from tests.machine.disks import Disk, why_not
from tests.means import lacks

ROUNDS = int(os.environ.get("DOHLE_POWER_CUTS", "5"))
SEED = int(os.environ.get("DOHLE_POWER_SEED", "11"))
PLANTED = Path(__file__).parent / "planted"
FIRST_SEGMENT = "00000000000000000000.log"

FLUSH_MESSAGES = 100
SYNCED = 200
UNSYNCED = 37  # fewer


@pytest.fixture(scope="module")
def can_cut(clusters_folder) -> None:
    if reason := why_not(clusters_folder):
        lacks("root", reason)


@pytest.fixture
def trio(can_cut, make_cluster) -> Iterator[PowerCuts]:
    """Three nodes that run, each on a disk of its own."""
    with power_cuts(make_cluster()) as cuts:
        cuts.cluster.up()
        yield cuts


@pytest.fixture
def planted(monkeypatch) -> Callable[[str], None]:
    """Called with its name, what is started from now on has that bug; with none, none."""
    own = os.environ.get("PYTHONPATH") or str(Path(__file__).parent.parent.parent)

    def plant(name: str = "") -> None:
        monkeypatch.setenv("PYTHONPATH", f"{PLANTED / name}{os.pathsep}{own}" if name else own)

    return plant


def test_a_cut_loses_what_was_not_fsynced_and_nothing_else(can_cut, clusters_folder):
    """Else all that follows would prove nothing."""
    disk = Disk(clusters_folder / "alone")
    disk.folder.mkdir()
    try:
        disk.make()
        disk.mount()
        descriptor = os.open(disk.folder / "file", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, b"synced")
        os.fsync(descriptor)
        folder = os.open(disk.folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        os.write(descriptor, b", not synced")
        (disk.folder / "other").write_bytes(b"not synced")
        disk.cut()
        with pytest.raises(OSError, match="Input/output error"):
            os.write(descriptor, b".")
        os.close(descriptor)
        disk.unmount()
        disk.mount()
        assert (disk.folder / "file").read_bytes() == b"synced"
        assert not (disk.folder / "other").exists()
    finally:
        disk.end()


async def test_no_acknowledged_record_is_lost(trio, say):
    cluster, choice = trio.cluster, random.Random(SEED)
    counts = {1: 0, 2: 0, 3: 0}
    gone = 0
    async with NotedLoad(cluster.bootstrap, "kept") as load:
        for number in range(ROUNDS):
            victims = choice.sample(cluster.node_ids, (3, 1, 2)[number % 3])
            await load.reached(choice.randint(100, 400))
            gone += await asyncio.to_thread(trio.cut, *victims)
            counts[len(victims)] += 1
            if len(victims) == 1:
                await load.reached(100)  # two nodes go on without the third
            await asyncio.to_thread(cluster.up, *victims)
            await load.reached(1)
            await healthy(cluster.bootstrap, within_s=90)
    assert await load.anomalies() == ()
    sends = load.notes.history.sends
    assert len(sends) == load.acknowledged > 100 * ROUNDS
    await asyncio.to_thread(cluster.down)
    for node_id in cluster.node_ids:
        assert "SOUND" in await asyncio.to_thread(cluster.done, "log", "verify", str(cluster.data(node_id)))
    logs = "".join(cluster.log(node_id) for node_id in cluster.node_ids)
    say(
        f"power cut {counts[1]} times of one node, {counts[2]} of two, {counts[3]} of all three; {load.acknowledged} "
        f"records acknowledged, none lost; {gone} bytes of segments never reached a disk, "
        f"{logs.count('a torn tail of')} torn tails were cut"
    )


async def test_records_that_are_acknowledged_before_they_are_fsynced_are_found_to_be_lost(trio, planted, say):
    """With this bug in it the test above must fail, or it is none."""
    cluster = trio.cluster
    await asyncio.to_thread(cluster.down)
    planted("acknowledges_early")
    await asyncio.to_thread(cluster.up)
    async with NotedLoad(cluster.bootstrap, "kept", is_safe=False) as load:
        await load.reached(300)
        await asyncio.to_thread(trio.cut, *cluster.node_ids)
    planted()
    await asyncio.to_thread(cluster.up)
    await healthy(cluster.bootstrap)
    anomalies = await load.anomalies()
    assert {anomaly.name for anomaly in anomalies} <= {"lost write", "unseen"}
    assert anomalies
    say(f"{load.acknowledged} records acknowledged; found: {anomalies[0].what}")


async def test_segments_that_are_never_fsynced_are_missed_and_not_served(trio, planted):
    """As with a disk that lies. The recovery point knows better, and the replicas are damaged, on all nodes."""
    cluster = trio.cluster
    await asyncio.to_thread(cluster.down)
    planted("skips_fsync")
    await asyncio.to_thread(cluster.up)
    async with NotedLoad(cluster.bootstrap, "kept", partitions=1, is_safe=False) as load:
        await load.reached(300)
        await until_async(
            lambda: all(recovery_point(cluster, node_id, "kept") >= 100 for node_id in cluster.node_ids),
            "the checkpoints name them",
        )
        await asyncio.to_thread(trio.cut, *cluster.node_ids)
    planted()
    await asyncio.to_thread(cluster.up)
    for node_id in cluster.node_ids:
        assert f"kept-0/{FIRST_SEGMENT} is damaged at byte " in cluster.log(node_id)
        assert "was durable; the replica is neither served nor led from" in cluster.log(node_id)
    assert (await asyncio.to_thread(cluster.partition, "kept")).leader == -1


def recovery_point(cluster, node_id: int, topic: str) -> int:
    path = cluster.data(node_id) / RECOVERY_POINTS
    return decode_offsets(str(path), path.read_text()).get((topic, 0), 0) if path.exists() else 0


def end_on_disk(cluster, node_id: int, topic: str) -> int:
    """Where the whole batches end that a node's disk has of a partition's first segment."""
    content = (cluster.data(node_id) / f"{topic}-0" / FIRST_SEGMENT).read_bytes()
    sound = itertools.takewhile(lambda batch: batch.fault is None, dump_segment(content))
    return max((batch.header.next_offset for batch in sound), default=0)


@pytest.mark.parametrize("victims", [1, 2, 3])
async def test_with_flush_messages_relaxed_what_no_replica_has_fsynced_is_lost_and_no_more(trio, say, victims):
    """Of 237 records, all acknowledged, the last 37 may lie in page caches. While a node lives they are there; else
    those that some disk has."""
    cluster, topic = trio.cluster, "risked"
    async with Admin(cluster.bootstrap) as admin, Producer(cluster.bootstrap, linger_ms=0) as producer:
        await admin.create_topic(topic, partitions=1, replication_factor=3, configs={"min.insync.replicas": "2"})
        for number in range(SYNCED):
            await producer.send_and_wait(topic, b"%d" % number)
        await admin.alter_configs(topic, {"flush.messages": str(FLUSH_MESSAGES)})
        marks = [cluster.data(node_id) / f"{topic}-0" / UNSYNCED_FILE for node_id in cluster.node_ids]
        await until_async(lambda: all(mark.exists() for mark in marks), "the nodes count appends at once")
        for number in range(SYNCED, SYNCED + UNSYNCED):
            await producer.send_and_wait(topic, b"%d" % number)
    cut = cluster.node_ids[:victims]
    await asyncio.to_thread(trio.cut, *cut)
    ends = [end_on_disk(cluster, node_id, topic) for node_id in cut]
    await asyncio.to_thread(cluster.up)
    await healthy(cluster.bootstrap)

    # the first of them may have been fsynced with the mark; the kernel wrote nothing by itself in so short a time
    assert all(SYNCED <= end <= SYNCED + 1 for end in ends), ends
    left = max(ends) if victims == 3 else SYNCED + UNSYNCED
    assert await read_all(cluster.bootstrap, topic) == {(0, offset): b"%d" % offset for offset in range(left)}
    say(f"{victims} of 3 cut: {SYNCED + UNSYNCED - left} of {SYNCED + UNSYNCED} acknowledged records lost")
