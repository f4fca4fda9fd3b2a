"""Scenarios of snapshots: a voter is away until the others' logs are cut, and what disks do to a snapshot."""

from __future__ import annotations

from collections.abc import Callable

from dohle.controller.quorum import metadata_folder
from dohle.model.snapshot import SUFFIX
from dohle.testing.world.disk import Moment
from dohle.testing.world.entries import Content
from dohle.testing.world.topology import Topology
from tests.simulation.mutations.mutation import Scenario
from tests.simulation.mutations.stage import Script, Stage, quorum_of, scenario_in

scenario: Callable[[Script], Scenario] = scenario_in(Topology.combined(3), snapshot_bytes=500)


def snapshots_of(stage: Stage, node_id: int) -> list[str]:
    machine = stage.world.machines[node_id]
    folder = metadata_folder(machine.config.data_dir)
    return [f"{folder}/{name}" for name in machine.disk.list(folder) if name.endswith(SUFFIX)]


def log_start(stage: Stage, node_id: int) -> int:
    return quorum_of(stage.node(node_id)).log_start_offset


async def logs_are_cut(stage: Stage, *node_ids: int) -> None:
    """Makes topics until two more snapshots were taken, and the logs cut after them."""
    before = {node_id: log_start(stage, node_id) for node_id in node_ids}
    number = 0
    while any(log_start(stage, node_id) <= start for node_id, start in before.items()):
        number += 1
        name = f"t{stage.world.scheduler.now:.1f}-{number}"
        await stage.asks(lambda admin, name=name: admin.create_topic(name, partitions=3), stage.controller())  # type: ignore[misc]
        await stage.passes(0.3)


async def comes_back(stage: Stage, node_id: int) -> None:
    """Returns once the node serves, and all controllers have one image."""
    if stage.world.machines[node_id].process is None:
        stage.world.start(node_id)
    await stage.world.all_ready()

    def agree() -> bool:
        parts = [stage.node(one).controller for one in stage.world.machines]
        return len({part.controller.committed.next_offset for part in parts if part is not None}) == 1

    await stage.until(agree, "all have one image")
    stage.looks_at_disks()


async def behind(stage: Stage, *, removed: bool = False) -> int:
    """Returns a voter that is down; of what came since, its removal perhaps, the others keep a snapshot alone."""
    leader = stage.controller()
    away, other = stage.others(leader)
    end = quorum_of(stage.node(away)).log_end_offset
    stage.world.kill(away)
    if removed:
        await stage.asks(lambda admin: admin.remove_voter(away), leader)
    while min(log_start(stage, leader), log_start(stage, other)) <= end:
        await logs_are_cut(stage, leader, other)
    await stage.passes(6)  # until heartbeats have pushed the last appends out of the queue to it
    return away


@scenario
async def a_voter_was_away_until_the_logs_were_cut(stage: Stage) -> None:
    away = await behind(stage)
    await comes_back(stage, away)
    assert log_start(stage, away) > 0, "it took no snapshot"


@scenario
async def a_voter_is_removed_while_it_is_away_until_the_logs_were_cut(stage: Stage) -> None:
    away = await behind(stage, removed=True)
    assert len(stage.voters(stage.controller())) == 2, "who votes was cut off with the log"
    await comes_back(stage, away)
    assert len(stage.voters(away)) == 2, "it takes itself for a voter"
    for node_id in stage.world.machines:
        stage.world.kill(node_id)
    for node_id in stage.world.machines:
        stage.world.start(node_id)
    await comes_back(stage, away)
    assert [len(stage.voters(node_id)) for node_id in stage.world.machines] == [2, 2, 2], "a start forgets who votes"


@scenario
async def power_goes_while_a_snapshot_is_installed(stage: Stage) -> None:
    away = await behind(stage)
    disk = stage.world.machines[away].disk
    struck: list[str] = []

    def strike() -> None:
        struck.append("synced" if not struck else "renamed")
        if len(struck) == 1:
            disk.faults.traps.append((Moment.SNAPSHOT, strike))
        else:
            disk.faults.forgetful = True
            stage.world.lose_power(away)

    disk.faults.traps.append((Moment.SNAPSHOT, strike))
    stage.world.start(away)
    await stage.until(lambda: len(struck) == 2, "it installs a snapshot")
    stage.looks_at_disks()
    await comes_back(stage, away)


@scenario
async def power_goes_while_a_log_that_was_cut_begins_anew(stage: Stage) -> None:
    await logs_are_cut(stage, *stage.world.machines)
    away = await behind(stage)
    disk = stage.world.machines[away].disk
    struck: list[int] = []

    def strike() -> None:
        struck.append(away)
        disk.faults.forgetful = True
        stage.world.lose_power(away)

    disk.faults.traps.append((Moment.ROLL, strike))  # the former segments are gone, durably
    stage.world.start(away)
    await stage.until(lambda: bool(struck), "its log begins anew")
    assert not [
        name for name in disk.list(metadata_folder(stage.world.machines[away].config.data_dir)) if name.endswith(".log")
    ], "a segment is left"
    await comes_back(stage, away)


@scenario
async def power_may_go_at_any_time_after_a_snapshot(stage: Stage) -> None:
    for _ in range(2):
        await logs_are_cut(stage, *stage.world.machines)
        stage.looks_at_disks()


async def spoilt(stage: Stage, how: Callable[[Stage, int, str], None], *, every: bool) -> None:
    """A voter comes back to its newest snapshot, or to all of them, as `how` has left it."""
    await logs_are_cut(stage, *stage.world.machines)
    victim = stage.others(stage.controller())[0]
    stage.world.kill(victim)
    snapshots = snapshots_of(stage, victim)
    assert len(snapshots) == 2, snapshots
    for path in snapshots if every else snapshots[-1:]:
        how(stage, victim, path)
    stage.world.machines[victim].has_forgotten = True
    await comes_back(stage, victim)


def another_name(stage: Stage, node_id: int, path: str) -> None:
    """A voter's host is called otherwise by one bit."""
    disk = stage.world.machines[node_id].disk
    disk.spoil(path, disk.peek(path).index(b"node"), 1)


def cut(stage: Stage, node_id: int, path: str) -> None:
    """Its last byte is gone."""
    content = stage.world.machines[node_id].disk._find(path)
    assert isinstance(content, Content)
    for data in (content.cached, content.durable):
        del data[-1:]
    content.shared = len(content.durable)


@scenario
async def a_bit_of_a_snapshot_turns(stage: Stage) -> None:
    await spoilt(stage, another_name, every=False)


@scenario
async def a_snapshot_loses_its_end(stage: Stage) -> None:
    await spoilt(stage, cut, every=False)


@scenario
async def all_snapshots_of_a_voter_are_spoilt(stage: Stage) -> None:
    await spoilt(stage, another_name, every=True)
