"""Scenarios of replicas that move from one directory of their broker to another."""

from __future__ import annotations

from collections.abc import Callable

from dohle.broker.dir_moves import MoveState
from dohle.client.values import LogDirMove
from dohle.model.errors import DohleError
from dohle.model.ids import TopicPartition
from dohle.testing.world.disk import Moment
from dohle.testing.world.topology import DIRECTORIES
from tests.simulation.mutations.directory_scenarios import (
    THIRD,
    THREE_DISKS,
    TWO_DISKS,
    all_in_sync,
    many_partitions,
    where,
)
from tests.simulation.mutations.stage import Stage, scenario_in

FIRST, SECOND = DIRECTORIES[:2]
NAME = TopicPartition("t", 0)


async def moves(stage: Stage, node_id: int, path: str | None) -> None:
    outcomes = await stage.asks(lambda admin: admin.alter_replica_log_dirs(node_id, {NAME: path}))
    failure = outcomes[NAME]
    if isinstance(failure, DohleError):
        raise failure


async def move(stage: Stage, node_id: int) -> LogDirMove:
    return next(
        one for one in await stage.asks(lambda admin: admin.describe_log_dir_moves(node_id)) if one.name == NAME
    )


def target(stage: Stage, node_id: int) -> str:
    """Returns the directory in which the node does not have the replica."""
    return SECOND if 0 in where(stage, node_id, FIRST) else FIRST


def is_there(stage: Stage, node_id: int, path: str) -> Callable[[], bool]:
    def arrived() -> bool:
        folders = stage.broker(node_id).log_dirs.folders
        return any(folder.path == path and ("t", 0) in folder.logs for folder in folders)

    return arrived


@scenario_in(TWO_DISKS)
async def a_leader_and_a_follower_move_while_clients_write(stage: Stage) -> None:
    await many_partitions(stage)
    await stage.written(60)
    for _ in range(4):
        await stage.writes_steadily(0.002)
    leader, follower = stage.partition().leader, stage.follower()
    epoch, members = stage.partition().leader_epoch, stage.partition().in_sync_replicas
    for node_id in (leader, follower):
        path, faults = target(stage, node_id), stage.world.machines[node_id].disk.faults
        faults.least_sync_s = 0.02  # so that much is written while the copy takes the log's place
        await moves(stage, node_id, path)
        await stage.until(is_there(stage, node_id, path), "it has moved")
        faults.least_sync_s = 0.0
        await stage.passes(0.5)
        assert (await move(stage, node_id)).state == "done"
        assert 0 in where(stage, node_id, path)
        assert 0 not in where(stage, node_id, target(stage, node_id))
    assert stage.partition().leader_epoch == epoch
    assert stage.partition().in_sync_replicas == members
    await stage.written(60)
    stage.looks_at_disks()
    for node_id in (leader, follower):
        stage.world.lose_power(node_id)
    for node_id in (leader, follower):
        stage.world.start(node_id)
    await stage.until(lambda: all_in_sync(stage), "all is in sync again")
    await stage.compares()


@scenario_in(TWO_DISKS)
async def the_target_fails_on_the_way(stage: Stage) -> None:
    await many_partitions(stage)
    await stage.written(60)
    node_id, path = stage.partition().leader, SECOND
    if 0 not in where(stage, node_id, FIRST):
        await moves(stage, node_id, FIRST)
        await stage.until(is_there(stage, node_id, FIRST), "it lies in the first")
    machine = stage.world.machines[node_id]
    machine.disk.faults.least_sync_s = 0.05
    await moves(stage, node_id, path)
    await stage.at_once(lambda: machine.disk.exists(f"{SECOND}/t-0-future"), "it is on its way")
    machine.disk.faults.failed[SECOND] = None
    await stage.until(
        lambda: all(one.state is MoveState.FAILED for one in stage.broker(node_id).dir_moves.all if one.target == path),
        "the move has failed",
    )
    machine.disk.faults.least_sync_s = 0.0
    assert stage.partition().leader == node_id
    await stage.written(60)
    assert 0 in where(stage, node_id, FIRST)


@scenario_in(TWO_DISKS)
async def power_goes_right_after_a_move(stage: Stage) -> None:
    await many_partitions(stage)
    await stage.written(40)
    node_id = stage.follower()
    if 0 not in where(stage, node_id, FIRST):  # of two equal starts, the first directory's copy would be taken
        await moves(stage, node_id, FIRST)
        await stage.until(is_there(stage, node_id, FIRST), "it lies in the first")
    await stage.writes_steadily(0.001)
    machine = stage.world.machines[node_id]
    machine.disk.faults.forgetful = True
    await moves(stage, node_id, SECOND)
    await stage.at_once(is_there(stage, node_id, SECOND), "it has moved")
    end = stage.log(node_id).durable_end
    await stage.at_once(lambda: stage.log(node_id).durable_end > end + 20, "it has taken more")
    stage.world.lose_power(node_id)
    stage.world.start(node_id)
    await stage.until(lambda: stage.has_replicas(node_id), "it is back")
    assert stage.log(node_id).log_end_offset > end + 20
    assert 0 not in where(stage, node_id, FIRST)
    stage.looks_at_disks()


@scenario_in(THREE_DISKS)
async def a_whole_copy_is_left_by_a_disk_that_failed(stage: Stage) -> None:
    await many_partitions(stage, partitions=3)
    await stage.written(40)
    node_id = stage.follower()
    if 0 not in where(stage, node_id, THIRD):
        await moves(stage, node_id, THIRD)
        await stage.until(is_there(stage, node_id, THIRD), "it lies in the third")
    machine = stage.world.machines[node_id]
    machine.disk.faults.traps.append((Moment.MOVE, lambda: machine.disk.faults.failed.update({SECOND: None})))
    await moves(stage, node_id, SECOND)
    await stage.until(lambda: bool(machine.disk.faults.failed), "the second fails when the copy is whole")
    await stage.passes(1.0)
    assert is_there(stage, node_id, THIRD)()
    await stage.written(40)
    end = stage.log(node_id).durable_end
    stage.world.kill(node_id)
    machine.disk.faults.failed.clear()
    assert machine.disk.exists(f"{SECOND}/t-0-moved")
    stage.world.start(node_id)
    await stage.until(lambda: stage.has_replicas(node_id), "it is back")
    assert stage.log(node_id).log_end_offset >= end
    assert where(stage, node_id, THIRD).count(0) == 1
    assert not machine.disk.exists(f"{SECOND}/t-0-moved")
    await stage.until(lambda: all_in_sync(stage), "all is in sync again")
