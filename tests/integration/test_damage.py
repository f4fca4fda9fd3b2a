"""Damaged files, of nodes that are down and of nodes that run: what can be made again is, nothing bad is served."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from dohle import Admin, Consumer
from dohle.cli.replica_files import differing
from dohle.model.errors import CorruptMessage, DamagedReplica
from dohle.model.ids import NO_NODE, TopicPartition
from tests.integration.clusters import until
from tests.integration.load import read_all, write_some

COUNT = 600


@pytest.fixture
def written(trio, request):
    """A topic of one partition named after the test, and what is in it."""
    topic = f"damage.{request.node.callspec.id if hasattr(request.node, 'callspec') else request.node.name[5:15]}"
    trio.done("topic", "create", topic, "-p", "1", "-r", "3", "-c", "min.insync.replicas=2")
    values = [value for part in range(6) for value in _write_part(trio, topic, part)]
    return topic, values


def _write_part(trio, topic, part):
    """So that there are several batches, and index entries between them."""
    return asyncio.run(write_some(trio.bootstrap, topic, COUNT // 6, prefix="x" * 60 + f"{part}-"))


def test_a_segment_damaged_at_rest_is_never_served_and_filled_anew(trio, written):
    topic, values = written
    leader = trio.partition(topic).leader
    folder = trio.data(leader) / f"{topic}-0"
    trio.kill(leader)
    (folder / f"{0:020d}.seals").unlink(missing_ok=True)  # a start does not read what lies before one
    content = _damage(folder)
    trio.up(leader)
    assert f"{folder}/{0:020d}.log is damaged at byte " in trio.log(leader)
    assert sorted(asyncio.run(read_all(trio.bootstrap, topic)).values()) == sorted(values)
    more = asyncio.run(write_some(trio.bootstrap, topic, 20, prefix="more"))
    _is_filled_anew(trio, leader, folder, content)
    assert sorted(asyncio.run(read_all(trio.bootstrap, topic)).values()) == sorted(values + more)
    trio.down()
    folders = [str(trio.data(node) / f"{topic}-0") for node in trio.node_ids]
    assert differing(folders, COUNT + 20) == []


def test_rot_under_a_running_leader_is_read_from_another(trio, written):
    topic, values = written
    before = trio.partition(topic)
    folder = trio.data(before.leader) / f"{topic}-0"
    content = _damage(folder)
    assert sorted(asyncio.run(read_all(trio.bootstrap, topic)).values()) == sorted(values)
    assert f"{topic}-0: {folder}/{0:020d}.log is damaged at byte " in trio.log(before.leader)
    assert trio.partition(topic).leader_epoch > before.leader_epoch
    more = asyncio.run(write_some(trio.bootstrap, topic, 20, prefix="more"))
    _is_repaired(trio, before.leader, folder, content)
    assert sorted(asyncio.run(read_all(trio.bootstrap, topic)).values()) == sorted(values + more)
    trio.down()
    folders = [str(trio.data(node) / f"{topic}-0") for node in trio.node_ids]
    assert differing(folders, COUNT + 20) == []


def test_rot_that_nobody_reads_is_found_by_scrubbing(make_cluster):
    cluster = make_cluster(3)
    for node in cluster.node_ids:
        config = cluster.config(node)
        config.write_text(config.read_text() + "log_scrub_interval_ms = 1000\n")
    cluster.up()
    cluster.done("topic", "create", "cold", "-p", "1", "-r", "3", "-c", "min.insync.replicas=2")
    values = [value for part in range(6) for value in _write_part(cluster, "cold", part)]
    before = cluster.partition("cold")
    for node in (before.leader, next(node for node in cluster.node_ids if node != before.leader)):
        folder = cluster.data(node) / "cold-0"
        content = _damage(folder)
        _is_repaired(cluster, node, folder, content)
        assert "found by scrubbing" in cluster.log(node)
    assert cluster.partition("cold").leader_epoch > before.leader_epoch
    assert sorted(asyncio.run(read_all(cluster.bootstrap, "cold")).values()) == sorted(values)
    cluster.down()
    assert differing([str(cluster.data(node) / "cold-0") for node in cluster.node_ids], COUNT) == []


def test_a_replica_that_was_cut_offline_catches_up_before_it_counts(trio, written):
    topic, _ = written
    cut = next(node for node in trio.node_ids if node != trio.partition(topic).leader)
    folder = trio.data(cut) / f"{topic}-0"
    assert "in use by another process" in trio.dohle("log", "repair", str(folder)).stderr
    trio.down(cut)
    content = _damage(folder)
    left = trio.dohle("log", "repair", str(folder))
    assert left.returncode == 1
    offset = left.stdout.split("--to ")[1].split()[0]
    assert trio.dohle("log", "repair", str(folder), "--to", offset, "--dry-run").returncode == 0
    assert (folder / f"{0:020d}.log").read_bytes() == bytes(content)
    done = json.loads(trio.done("log", "repair", str(folder), "--to", offset, "--json"))
    assert done["replicas"][0]["lost"] == {"first": int(offset), "last": COUNT - 1}
    assert (Path(done["kept"]) / folder.name / f"{0:020d}.log").read_bytes() == bytes(content)
    trio.done("log", "verify", str(folder))
    trio.up(cut)
    trio.until_healthy()
    trio.down()
    folders = [str(trio.data(node) / f"{topic}-0") for node in trio.node_ids]
    assert differing(folders, COUNT) == []
    trio.up()


@pytest.mark.parametrize("may_lead", [False, True])
def test_the_only_replica_that_was_cut_offline_leads_only_if_that_is_said(trio, may_lead):
    topic = f"damage.cut.{may_lead}"
    trio.done("topic", "create", topic, "-p", "1", "-r", "1")
    for part in range(6):
        _write_part(trio, topic, part)
    leader = trio.partition(topic).leader
    folder = trio.data(leader) / f"{topic}-0"
    trio.down(leader)
    _damage(folder)
    offset = trio.dohle("log", "repair", str(folder)).stdout.split("--to ")[1].split()[0]
    trio.done("log", "repair", str(folder), "--to", offset, *(["--may-lead"] if may_lead else []))
    trio.up(leader)
    if may_lead:
        until(lambda: trio.partition(topic).leader == leader, "it leads")
        assert len(asyncio.run(read_all(trio.bootstrap, topic))) == int(offset)
    else:
        until(lambda: any("missing or damaged" in trio.log(node) for node in trio.node_ids), "the controller says so")
        assert trio.partition(topic).leader == NO_NODE
        trio.down(leader)
        trio.up(leader)
        assert trio.partition(topic).leader == NO_NODE, "a restart does not make up for it"
    trio.done("topic", "delete", topic, "--yes")


def test_the_only_replica_refuses_what_is_damaged_and_serves_the_rest(trio):
    topic = "damage.alone"
    trio.done("topic", "create", topic, "-p", "1", "-r", "1")
    for part in range(6):
        _write_part(trio, topic, part)
    leader = trio.partition(topic).leader
    folder = trio.data(leader) / f"{topic}-0"
    _damage(folder)
    first, last = asyncio.run(_around_damage(trio.bootstrap, topic))
    assert 0 < first <= last < COUNT
    assert asyncio.run(write_some(trio.bootstrap, topic, 5))
    assert "this replica leads on" in trio.log(leader)
    failure = asyncio.run(_failure(trio.bootstrap, leader, topic))
    assert isinstance(failure, DamagedReplica)
    assert f"{folder}/{0:020d}.log is damaged at byte " in failure.message
    trio.down(leader)
    trio.up(leader)
    assert trio.partition(topic).leader == leader, "a clean stop forgets nothing, and takes nothing away"
    assert isinstance(asyncio.run(_failure(trio.bootstrap, leader, topic)), DamagedReplica)
    trio.done("topic", "delete", topic, "--yes")


def _damage(folder):
    """Changes a byte in the middle of the first segment, in place; returns the segment as it is then."""
    with (folder / f"{0:020d}.log").open("r+b") as segment:
        content = bytearray(segment.read())
        content[len(content) // 2] ^= 1
        segment.seek(len(content) // 2)
        segment.write(content[len(content) // 2 : len(content) // 2 + 1])
    return content


def _is_filled_anew(cluster, node, folder, content):
    until(lambda: list(folder.parent.glob(f"{folder.name}.*-stray")), "the damaged folder is set aside")
    cluster.until_healthy()
    [stray] = folder.parent.glob(f"{folder.name}.*-stray")
    assert (stray / f"{0:020d}.log").read_bytes() == bytes(content), "it is kept as it was"
    assert f"set aside as {stray}" in cluster.log(node)


def _is_repaired(cluster, node, folder, content):
    until(lambda: f"{folder.name}: {folder}/{0:020d}.log is damaged" in cluster.log(node), "the damage is found")
    until(lambda: "repaired in place: " in cluster.log(node), "it is repaired")
    cluster.until_healthy()
    assert not list(folder.parent.glob(f"{folder.name}.*-stray")), "it was copied as a whole"
    assert not (folder / "damaged").exists()
    mended = (folder / f"{0:020d}.log").read_bytes()
    differences = [at for at, (was, now) in enumerate(zip(content, mended, strict=False)) if was != now]
    assert differences == [len(content) // 2], "it is not the byte that was another"


async def _around_damage(bootstrap, topic):
    """Reads up to the damage, and from the end back to it; returns the first and last offset that cannot be read."""
    partition = TopicPartition(topic, 0)
    async with Consumer(bootstrap) as consumer:
        await consumer.assign(partition)
        consumer.seek(partition, 0)
        first = 0
        while (records := await _batch(consumer)) is not None:
            first = records[-1].offset + 1
        last = first
        while True:
            consumer.seek(partition, last + 1)
            records = await _batch(consumer)
            if records is not None:
                assert records[0].offset == last + 1
                return first, last
            last += 1


async def _batch(consumer):
    """Returns None where what comes next is refused as damaged."""
    try:
        records = await consumer.batch(timeout_ms=10_000)
    except CorruptMessage as failure:
        if "no other replica is in sync" not in failure.message:
            raise
        return None
    assert records
    return records


async def _failure(bootstrap, node, topic):
    async with Admin(bootstrap) as admin:
        folders = await admin.describe_log_dirs(node)
    return next(replica.failure for replica in folders[0].replicas if replica.topic == topic)


@pytest.mark.parametrize(
    ("name", "killed"),
    [(".index", True), (".timeindex", False), ("leader-epoch-checkpoint", True)],
    ids=["index", "timeindex", "epochs"],
)
def test_what_can_be_made_again_is(trio, written, name, killed):
    topic, values = written
    leader = trio.partition(topic).leader
    if killed:
        trio.kill(leader)
    else:
        trio.down(leader)
    folder = trio.data(leader) / f"{topic}-0"
    (folder / (f"{0:020d}{name}" if name.startswith(".") else name)).write_bytes(b"\xff" * 40)
    trio.up(leader)
    trio.until_healthy()
    for other in trio.node_ids:
        if other != leader:
            trio.down(other)
            trio.up(other)
            trio.until_healthy()
    assert trio.partition(topic).leader == leader
    found = asyncio.run(read_all(trio.bootstrap, topic))
    assert sorted(found.values()) == sorted(values)
    asyncio.run(_reads_from_everywhere(trio.bootstrap, topic, found))


async def _reads_from_everywhere(bootstrap, topic, found):
    partition = TopicPartition(topic, 0)
    async with Consumer(bootstrap) as consumer:
        await consumer.assign(partition)
        for offset in range(0, COUNT, 97):
            consumer.seek(partition, offset)
            record = await anext(consumer)
            assert (record.offset, record.value) == (offset, found[0, offset])
            await consumer.seek_to_time(record.timestamp_ms)
            assert (await anext(consumer)).timestamp_ms >= record.timestamp_ms
