"""Replicas that move between the directories of their broker: what is refused, and what breaks a move off."""

from __future__ import annotations

import asyncio
import errno

import pytest

from dohle.broker.dir_moves import DirMove, MoveState
from dohle.broker.leading import ACKS_ALL
from dohle.model.errors import DohleError, StorageFailure
from dohle.model.ids import TopicPartition
from tests.broker.brokers import KEY, Cluster, Node, until
from tests.broker.logs import TOPIC_ID, batch
from tests.broker.virtual_time import in_virtual_time

PATHS = ("one", "two")
NAME = TopicPartition("t", 0)


async def led() -> tuple[Cluster, Node, str]:
    """A leader with two directories, and the one in which its replica of ten records does not lie."""
    cluster = await Cluster.started(1, paths=PATHS)
    cluster.controller.topic(TOPIC_ID, [[1]])
    node = await cluster.led()
    await produce(node, 10)
    assert node.dirs is not None
    target = next(folder.path for folder in node.dirs.folders if not folder.logs)
    return cluster, node, target


async def produce(node: Node, count: int = 1) -> None:
    for _ in range(count):
        future = await node.broker.produce(KEY, batch(), ACKS_ALL, 5.0)
        assert future is not None
        await future


def move(node: Node) -> DirMove:
    [found] = node.broker.dir_moves.all
    return found


def places(node: Node) -> list[str]:
    """Returns where anything of the replica lies, under which name."""
    return [f"{path}/{name}" for path in PATHS for name in node.disk.list(path) if name.startswith("t-0")]


async def held_up(node: Node, target: str) -> None:
    """Begins a move, and has its copy wait for the device."""
    node.broker.dir_moves.begin(NAME, target)
    await until(lambda: node.disk.exists(f"{target}/t-0-future"))
    node.disk.gate.clear()
    await asyncio.sleep(0.1)
    assert move(node).state is MoveState.COPYING


@in_virtual_time
async def test_a_move_to_a_directory_that_has_vanished_is_refused_and_says_what_is_left() -> None:
    _, node, target = await led()
    source = next(path for path in PATHS if path != target)
    node.disk.rename(target, "away")
    with pytest.raises(StorageFailure, match=f"{target} is not formatted: its disk may not be mounted.*: {source}"):
        node.broker.dir_moves.begin(NAME, target, validate_only=True)
    await produce(node)
    assert not node.broker.dir_moves.all


@in_virtual_time
async def test_a_move_to_a_directory_that_has_failed_is_refused_and_says_what_is_left() -> None:
    _, node, target = await led()
    source = next(path for path in PATHS if path != target)
    node.disk.fault = lambda _, path: OSError(errno.EIO, "broken") if path.startswith(target) else None
    assert node.dirs is not None
    await node.dirs.put_metadata_offset(100)
    with pytest.raises(StorageFailure, match=f"{target} is offline: .* has failed .*; online are {source}"):
        node.broker.dir_moves.begin(NAME, target)


@in_virtual_time
async def test_a_move_from_a_directory_that_has_vanished_is_refused() -> None:
    _, node, target = await led()
    source = next(path for path in PATHS if path != target)
    node.disk.rename(source, "away")
    with pytest.raises(StorageFailure, match=f"t-0 lies in {source}, which has failed or is not mounted any more"):
        node.broker.dir_moves.begin(NAME, target)


@in_virtual_time
async def test_a_directory_that_vanishes_on_the_way_ends_the_move_and_not_the_node() -> None:
    cluster, node, target = await led()
    await held_up(node, target)
    node.disk.rename(target, "away")
    node.disk.gate.set()
    await until(lambda: move(node).state.is_over)
    assert move(node).state is MoveState.FAILED
    assert isinstance(move(node).failure, StorageFailure)
    await produce(node)
    assert not cluster.failures


@in_virtual_time
async def test_a_move_that_is_taken_back_leaves_nothing_behind() -> None:
    cluster, node, target = await led()
    before = places(node)
    await held_up(node, target)
    cancelling = asyncio.create_task(node.broker.dir_moves.cancel(NAME))
    await asyncio.sleep(0.1)
    node.disk.gate.set()
    await cancelling
    assert move(node).state is MoveState.CANCELLED
    assert places(node) == before
    await produce(node)
    node.broker.dir_moves.begin(NAME, target)
    await until(lambda: move(node).state is MoveState.DONE)
    assert places(node) == [f"{target}/t-0"]
    assert not cluster.failures


@in_virtual_time
async def test_a_move_that_is_taken_back_before_it_has_run_at_all_is_over() -> None:
    _, node, target = await led()
    before = places(node)
    node.broker.dir_moves.begin(NAME, target)
    await node.broker.dir_moves.cancel(NAME)
    assert move(node).state is MoveState.CANCELLED
    assert places(node) == before


@in_virtual_time
async def test_a_clean_stop_in_the_middle_of_a_move_leaves_the_replica_where_it_was() -> None:
    cluster, node, target = await led()
    before = places(node)
    await held_up(node, target)
    stopping = asyncio.create_task(node.stop())
    await asyncio.sleep(1.0)
    node.disk.gate.set()
    await stopping
    assert places(node) == before
    await node.start()
    assert node.dirs is not None
    assert node.dirs.previous_broker_epoch > 0, "the stop was clean"
    await until(lambda: KEY in node.broker.replicas.partitions)
    assert node.log().log_end_offset == 10
    assert not cluster.failures


@in_virtual_time
async def test_a_topic_that_is_deleted_in_the_middle_of_its_move_is_gone_from_both_directories() -> None:
    cluster, node, target = await led()
    await held_up(node, target)
    cluster.controller.remove(TOPIC_ID)
    await asyncio.sleep(0.5)
    node.disk.gate.set()
    await until(lambda: move(node).state.is_over and KEY not in node.broker.replicas.partitions)
    assert move(node).state is MoveState.FAILED
    assert isinstance(move(node).failure, DohleError)
    await until(lambda: not places(node))
    cluster.controller.topic(TOPIC_ID, [[1]])
    await cluster.led()
    await produce(node, 3)
    node.broker.dir_moves.begin(NAME, next(path for path in PATHS if not places(node)[0].startswith(path)))
    await until(lambda: move(node).state is MoveState.DONE)
    assert node.log().log_end_offset == 3
    assert not cluster.failures
