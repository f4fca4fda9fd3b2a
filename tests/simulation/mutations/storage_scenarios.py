"""Scenarios of the storage: power that goes, disks that fail, and logs that are cut, at the worst of moments."""

from __future__ import annotations

from tests.simulation.mutations.replication_scenarios import (
    comes_back,
    deposed,
    leads_elsewhere,
    loses_what_counts_unsynced,
)
from tests.simulation.mutations.stage import Stage, scenario


@scenario
async def power_goes_after_a_truncation(stage: Stage) -> None:
    old = await deposed(stage, 4)
    await leads_elsewhere(stage, old, 2)
    stage.mend(old, *stage.others(old))
    await stage.at_once(lambda: stage.log(old).durable_end == 3, "the tail is cut, and the new end is durable")
    stage.world.lose_power(old)
    stage.world.start(old)
    await comes_back(stage, old)


@scenario
async def power_goes_in_the_first_sync_after_a_truncation(stage: Stage) -> None:
    old = await deposed(stage, 3)
    await leads_elsewhere(stage, old, 2)
    stage.world.machines[old].disk.faults.slowness = 20
    stage.mend(old, *stage.others(old))
    await stage.at_once(lambda: stage.log(old).log_end_offset == 3 > stage.log(old).durable_end, "the tail is cut")
    stage.world.lose_power(old)
    stage.world.machines[old].disk.faults.slowness = 1
    stage.world.start(old)
    await comes_back(stage, old)


@scenario
async def a_sync_is_under_way_at_a_truncation(stage: Stage) -> None:
    old = await deposed(stage, 1)
    await leads_elsewhere(stage, old, 1)
    stage.world.machines[old].disk.faults.slowness = 3000
    await stage.writes(1, client="loser")
    await stage.until(lambda: stage.log(old).log_end_offset == 3, "the sync has begun")
    stage.mend(old, *stage.others(old))
    await stage.passes(0.1)
    stage.world.machines[old].disk.faults.slowness = 1
    await comes_back(stage, old)


@scenario
async def power_goes_in_syncs(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    follower = stage.follower()
    for _ in range(12):
        stage.world.machines[follower].disk.faults.slowness = 200
        await stage.writes(1, b"." * 20_000)
        stage.world.lose_power(follower)
        stage.world.machines[follower].disk.faults.slowness = 1
        stage.world.start(follower)
        await comes_back(stage, follower)


@scenario
async def a_node_is_killed_in_a_sync(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    follower = stage.follower()
    stage.world.machines[follower].disk.faults.slowness = 100
    await stage.writes(1)
    await stage.until(lambda: stage.log(follower).log_end_offset == 2, "the sync has begun")
    stage.world.kill(follower)
    stage.world.machines[follower].disk.faults.slowness = 1
    stage.world.start(follower)
    await comes_back(stage, follower)


@scenario
async def a_sync_fails(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    follower = stage.follower()
    stage.world.machines[follower].disk.faults.sync_fails = True
    await stage.writes(1)
    await stage.passes(1)


@scenario
async def power_goes_some_time_after_a_clean_stop(stage: Stage) -> None:
    await stage.make_topic({"flush.messages": "1000"})
    await stage.written(1)
    follower = stage.follower()
    process = stage.world.machines[follower].process
    assert process is not None
    process.stop(lambda: None)
    await stage.until(lambda: process.over, "it has stopped")
    stage.world.kill(follower)
    stage.world.start(follower)
    await comes_back(stage, follower)
    for _ in range(8):
        await loses_what_counts_unsynced(stage, follower)
        await comes_back(stage, follower)
