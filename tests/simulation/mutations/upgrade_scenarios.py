"""Scenarios of clusters in which nodes of two versions run side by side."""

from __future__ import annotations

from collections.abc import Callable

from dohle.model.errors import InvalidUpdateVersion, UnsupportedVersion
from dohle.model.metadata import NEWEST_METADATA_VERSION
from dohle.testing.world.topology import NodePlan, Topology
from tests.simulation.mutations.mutation import Scenario
from tests.simulation.mutations.snapshot_scenarios import logs_are_cut
from tests.simulation.mutations.stage import Script, Stage, scenario_in

OLD = 1
scenario: Callable[[Script], Scenario] = scenario_in(Topology.combined(3), formatted_at=OLD, upgrades=0)
THREE_AND_A_BROKER = Topology((*Topology.combined(3).nodes, NodePlan(4, False, True)), 3, 2)


async def upgraded(stage: Stage, *node_ids: int) -> None:
    """Starts these nodes again, with newer software."""
    for node_id in node_ids:
        stage.world.machines[node_id].newest_version = NEWEST_METADATA_VERSION
        if stage.world.machines[node_id].process is not None:
            stage.world.kill(node_id)
        stage.world.start(node_id)
        await stage.until(lambda node_id=node_id: stage.world.machines[node_id].process.ready, f"node {node_id} serves")  # type: ignore[misc, union-attr]


async def refused(stage: Stage, level: int) -> None:
    """An operator must not get this level."""
    try:
        await stage.asks(lambda admin: admin.update_features(level))
    except InvalidUpdateVersion:
        return
    raise AssertionError(f"metadata.version {level} was not refused")


async def finalised(stage: Stage) -> None:
    assert await stage.asks(lambda admin: admin.update_features()) == (OLD, NEWEST_METADATA_VERSION)
    await stage.passes(1)


@scenario
async def a_cluster_is_upgraded_and_asked_for_its_new_version_all_the_time(stage: Stage) -> None:
    await stage.make_topic()
    for node_id in stage.world.machines:
        await refused(stage, NEWEST_METADATA_VERSION)
        await upgraded(stage, node_id)
    await finalised(stage)
    await refused(stage, OLD)
    await stage.compares()
    await stage.passes(0)


@scenario
async def an_old_voter_is_away_while_its_cluster_is_upgraded(stage: Stage) -> None:
    """It holds no replicas; only its vote counts."""
    stage.world.kill(3)
    await upgraded(stage, 1, 2)
    await stage.until(lambda: not stage.is_active(3), "it is fenced")
    await refused(stage, NEWEST_METADATA_VERSION)
    await upgraded(stage, 3)
    await finalised(stage)


@scenario_in(THREE_AND_A_BROKER, formatted_at=OLD, upgrades=0)
async def an_old_broker_was_cut_off_while_the_new_version_was_finalised(stage: Stage) -> None:
    """It holds nothing, so nobody waits for it."""
    stage.cut(4, 1, 2, 3)
    await upgraded(stage, 1, 2, 3)
    await stage.until(lambda: not stage.is_active(4), "it is fenced")
    await stage.asks(lambda admin: admin.update_features(), 1, 2, 3)
    stage.mend(4, 1, 2, 3)
    process = stage.world.machines[4].process
    assert process is not None
    await stage.until(lambda: process.ended is not None, "the old broker has ended")
    assert isinstance(process.ended, UnsupportedVersion), process.ended
    await upgraded(stage, 4)


@scenario_in(Topology.combined(3), formatted_at=OLD, upgrades=0, snapshot_bytes=500)
async def new_software_takes_snapshots_in_a_cluster_of_the_old_version(stage: Stage) -> None:
    await upgraded(stage, 1, 2, 3)
    await logs_are_cut(stage, 1, 2, 3)
    await stage.compares()
    await stage.passes(0)
    await finalised(stage)
    await logs_are_cut(stage, 1, 2, 3)
    await stage.compares()
    await stage.passes(0)
