"""Files damaged while a node is down: what can be made again is, what cannot is kept out of service and named."""

from __future__ import annotations

import asyncio

import pytest

from dohle import Admin, Consumer
from dohle.cli.replica_files import differing
from dohle.model.errors import DamagedReplica
from dohle.model.ids import TopicPartition
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


def test_a_damaged_segment_is_neither_served_nor_led_from(trio, written):
    topic, values = written
    leader = trio.partition(topic).leader
    folder = trio.data(leader) / f"{topic}-0"
    trio.kill(leader)
    segment = folder / f"{0:020d}.log"
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    trio.up(leader)
    try:
        assert f"{segment} is damaged at byte " in trio.log(leader)
        assert f"{folder} is out of service" in trio.log(leader)
        assert bytes(content) == segment.read_bytes()
        now = trio.partition(topic)
        assert now.leader not in (-1, leader)
        assert leader not in now.in_sync_replicas
        failure = asyncio.run(_failure(trio.bootstrap, leader, topic))
        assert isinstance(failure, DamagedReplica)
        assert str(segment) in failure.message
        assert "byte" in failure.message
        more = asyncio.run(write_some(trio.bootstrap, topic, 20, prefix="more"))
        assert sorted(asyncio.run(read_all(trio.bootstrap, topic)).values()) == sorted(values + more)
        status = trio.dohle("status")
        assert status.returncode == 1
        assert "under-replicated" in status.stdout
    finally:  # as the node's log says
        trio.down(leader)
        folder.rename(f"{folder}.damaged-stray")
        trio.up(leader)
        trio.until_healthy()
    trio.down()
    folders = [str(trio.data(node) / f"{topic}-0") for node in trio.node_ids]
    assert differing(folders, COUNT + 20) == []


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
