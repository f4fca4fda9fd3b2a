"""Brokers whose disks are full: what is new waits until there is room, and all else goes on."""

from __future__ import annotations

import asyncio
import errno

import pytest

from dohle.broker.leading import ACKS_ALL
from dohle.model.errors import NotLeaderOrFollower
from dohle.model.ids import PartitionKey, TopicId
from dohle.storage.opened import Damage
from tests.broker.brokers import KEY, Cluster, Node, until
from tests.broker.logs import PATH, TOPIC_ID, batch
from tests.broker.virtual_time import in_virtual_time

OTHER_ID = TopicId(b"another of 16 by")
OTHER = PartitionKey(OTHER_ID, 0)


def fills_up(node: Node, *paths: str) -> None:
    """Small files find no room any more; appends to logs do, so that what is whole shows that it goes on."""
    node.disk.fault = lambda operation, path: (
        OSError(errno.ENOSPC, "No space left on device")
        if path.split("/")[0] in paths and operation in ("append", "make_folder") and not path.endswith(".log")
        else None
    )


def has_room(node: Node) -> None:
    node.disk.fault = lambda *_: None


async def produce(node: Node, key: PartitionKey = KEY) -> None:
    future = await node.broker.produce(key, batch(), ACKS_ALL, 5.0)
    assert future is not None
    await future


async def led(*paths: str) -> tuple[Cluster, Node]:
    cluster = await Cluster.started(1, paths=paths)
    cluster.controller.topic(TOPIC_ID, [[1]])
    node = await cluster.led()
    await produce(node)
    return cluster, node


def folders(node: Node, *paths: str) -> list[str]:
    return [f"{path}/{name}" for path in paths for name in node.disk.list(path) if "-0" in name]


@in_virtual_time
async def test_a_new_replica_waits_for_room_and_no_other_for_it() -> None:
    cluster, node = await led(PATH)
    fills_up(node, PATH)
    cluster.controller.topic(OTHER_ID, [[1]], name="other")
    await until(lambda: OTHER in node.broker.replicas.unmade)
    with pytest.raises(NotLeaderOrFollower, match="made once a disk that is full has room"):
        await produce(node, OTHER)
    await asyncio.sleep(12)
    await produce(node)
    assert folders(node, PATH) == [f"{PATH}/t-0"]
    assert node.dirs is not None
    assert not node.dirs.offline
    has_room(node)
    await cluster.led(OTHER)
    await produce(node, OTHER)
    assert not node.broker.replicas.unmade
    assert not cluster.failures


@in_virtual_time
async def test_one_of_two_directories_being_full_keeps_no_replica_waiting() -> None:
    cluster, node = await led("one", "two")
    assert folders(node, "one", "two") == ["one/t-0"]
    node.disk.fault = lambda operation, path: (
        OSError(errno.ENOSPC, "No space left on device")
        if path.startswith("two/") and operation in ("append", "make_folder") and "metadata-offset" not in path
        else None
    )
    cluster.controller.topic(OTHER_ID, [[1]], name="other")
    await cluster.led(OTHER)
    assert folders(node, "one", "two") == ["one/other-0", "one/t-0"]


@in_virtual_time
async def test_no_replica_is_led_whose_making_a_full_directory_could_not_note() -> None:
    """That directory would speak for the broker at a start without the one that has the replica."""
    cluster, node = await led("one", "two")
    fills_up(node, "two")
    cluster.controller.topic(OTHER_ID, [[1]], name="other")
    await until(lambda: OTHER in node.broker.replicas.unmade)
    with pytest.raises(NotLeaderOrFollower):
        await produce(node, OTHER)
    has_room(node)
    await cluster.led(OTHER)
    assert folders(node, "one", "two") == ["one/other-0", "one/t-0"]
    assert not cluster.failures


@in_virtual_time
async def test_a_topic_that_is_deleted_and_made_again_while_it_waits_is_the_new_one() -> None:
    cluster, node = await led("one", "two")
    fills_up(node, "two")
    cluster.controller.topic(OTHER_ID, [[1]], name="other")
    await until(lambda: OTHER in node.broker.replicas.unmade)
    cluster.controller.remove(OTHER_ID)
    await until(lambda: folders(node, "one", "two") == ["one/t-0"])
    assert not node.broker.replicas.unmade
    again = PartitionKey(TopicId(b"made again 16 by"), 0)
    cluster.controller.topic(again.topic_id, [[1]], name="other")
    await until(lambda: again in node.broker.replicas.unmade)
    has_room(node)
    await cluster.led(again)
    assert node.log(again).topic_id == again.topic_id
    assert not cluster.failures


@in_virtual_time
async def test_a_broker_that_starts_on_a_full_disk_begins_once_there_is_room() -> None:
    cluster, node = await led(PATH)
    await node.stop()
    fills_up(node, PATH)
    starting = asyncio.create_task(node.start())
    await asyncio.sleep(20)
    assert not starting.done()
    has_room(node)
    await starting
    await cluster.led()
    await produce(node)
    assert not cluster.failures


async def damaged_without_room(damage: Damage) -> tuple[Cluster, Node]:
    """Returns the follower whose log is damaged while its disk is full."""
    cluster = await Cluster.started()
    cluster.controller.topic(TOPIC_ID, [[1, 2, 3]], overrides={"min.insync.replicas": "2"})
    leader = await cluster.led()
    await produce(leader)
    await cluster.healed()
    follower = next(node for node in cluster.nodes.values() if node is not leader)
    fills_up(follower, PATH)
    follower.log().damage = damage
    return cluster, follower


@in_virtual_time
async def test_a_damaged_replica_is_repaired_once_there_is_room(caplog: pytest.LogCaptureFixture) -> None:
    cluster, follower = await damaged_without_room(Damage("segment", 0, "rot", (0, 1)))
    log = follower.log()
    await asyncio.sleep(60)
    said = [line for line in caplog.messages if "it is repaired once there is room" in line]
    assert 5 <= len(said) <= 25, "it says what it waits for, and looks every few seconds"
    assert log.damage is not None
    assert follower.node_id not in cluster.isr()
    await produce(cluster.leader())
    has_room(follower)
    await until(lambda: log.damage is None)
    await cluster.healed()
    assert follower.log() is log
    repairs = follower.broker.replicas.repairs
    assert (repairs.repaired, repairs.refilled) == (1, 0)
    assert folders(follower, PATH) == [f"{PATH}/t-0"]
    assert not [name for name in follower.disk.list(f"{PATH}/t-0") if "cleaned" in name], "no try left anything"
    assert not cluster.failures


@in_virtual_time
async def test_a_damaged_replica_that_cannot_be_repaired_begins_anew_once_there_is_room() -> None:
    cluster, follower = await damaged_without_room(Damage("segment", 0, "rot", None))
    await until(lambda: KEY in follower.broker.replicas.unmade)
    assert KEY not in follower.broker.replicas.partitions
    has_room(follower)
    await cluster.healed()
    repairs = follower.broker.replicas.repairs
    assert (repairs.repaired, repairs.refilled) == (0, 1)
    assert not cluster.failures
