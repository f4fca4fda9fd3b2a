"""Scenarios of the storage: power that goes, disks that fail, and logs that are cut, at the worst of moments."""

from __future__ import annotations

from dohle.controller.quorum import metadata_folder
from dohle.controller.vote_file import VOTE_FILE
from dohle.model.batch import read_header
from dohle.model.ids import NO_NODE
from dohle.storage.checkpoints import RECOVERY_POINTS
from dohle.storage.epoch_cache import FILE_NAME as EPOCHS_FILE
from dohle.testing.world.disk import Moment
from dohle.testing.world.entries import Content
from dohle.testing.world.world import DATA
from tests.simulation.mutations.replication_scenarios import (
    APART,
    comes_back,
    deposed,
    leads_elsewhere,
    loses_what_counts_unsynced,
)
from tests.simulation.mutations.stage import Stage, scenario, scenario_in


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
async def a_node_is_killed_after_a_truncation_below_a_seal(stage: Stage) -> None:
    old = await deposed(stage, 4)
    stage.log(old).note_progress(is_late=True)
    await leads_elsewhere(stage, old, 6)
    stage.mend(old, *stage.others(old))
    await comes_back(stage, old)
    await stage.passes(2.0)  # what came in its place is below the recovery point
    stage.world.kill(old)
    stage.world.start(old)
    await comes_back(stage, old)


@scenario
async def a_sync_is_under_way_at_a_truncation(stage: Stage) -> None:
    old = await deposed(stage, 1)
    await leads_elsewhere(stage, old, 1)
    faults = stage.world.machines[old].disk.faults
    faults.least_sync_s = 3.0
    await stage.writes(1, client="loser")
    await stage.until(lambda: stage.log(old).log_end_offset == 3, "it is appended")
    await stage.passes(0.01)  # its sync, and none that begins later, takes long
    faults.least_sync_s = 0
    stage.mend(old, *stage.others(old))
    await comes_back(stage, old)


@scenario
async def power_goes_in_syncs(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    follower = stage.follower()
    for _ in range(30):
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
    faults = stage.world.machines[follower].disk.faults
    faults.least_sync_s = 1.0
    await stage.writes(1)
    await stage.until(lambda: stage.log(follower).log_end_offset == 2, "the sync has begun")
    assert stage.log(follower).durable_end == 1, "the sync is over already"
    stage.world.kill(follower)
    faults.least_sync_s = 0
    stage.world.start(follower)
    await comes_back(stage, follower)


@scenario
async def power_goes_after_a_checkpoint_and_before_a_sync(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    follower = stage.follower()
    faults = stage.world.machines[follower].disk.faults
    faults.least_sync_s = 10
    await stage.writes(1)
    await stage.until(lambda: stage.log(follower).log_end_offset == 2, "the follower has it")
    await stage.passes(0.01)
    faults.least_sync_s = 0  # of the syncs that begin now, those of the checkpoints
    await stage.passes(2)
    assert stage.log(follower).durable_end == 1, "it is not synced yet"
    faults.forgetful = True
    stage.world.lose_power(follower)
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
async def a_node_comes_back_after_a_failed_sync(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    follower = stage.follower()
    faults = stage.world.machines[follower].disk.faults
    faults.sync_fails = True
    await stage.writes(1)
    process = stage.world.machines[follower].process
    assert process is not None
    await stage.until(lambda: process.over, "it has ended")
    faults.mend()
    stage.world.kill(follower)
    stage.world.start(follower)
    await comes_back(stage, follower)


@scenario
async def power_goes_some_time_after_a_clean_stop(stage: Stage) -> None:
    await stage.make_topic({"flush.messages": "1000", "min.insync.replicas": "3"})
    await stage.written(1)
    follower = stage.follower()
    await stops_cleanly(stage, follower)
    stage.world.start(follower)
    await comes_back(stage, follower)
    await loses_what_counts_unsynced(stage, follower)


async def stops_cleanly(stage: Stage, node_id: int) -> None:
    process = stage.world.machines[node_id].process
    assert process is not None
    process.stop(lambda: None)
    await stage.until(lambda: process.over, "it has stopped")
    stage.world.kill(node_id)


@scenario
async def a_replica_is_cut_short_below_its_recovery_point(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(3)
    follower = stage.follower()
    await stage.until(lambda: _recovery_point(stage, follower) == 3, "it is noted that all is durable")
    stage.world.kill(follower)
    content = _log_content(stage, follower)
    content.cut(len(content.cached) - 10)
    content.durable = bytearray(content.cached)
    await _comes_back_damaged(stage, follower)


@scenario
async def a_batch_rots_above_the_recovery_point(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(3)
    follower = stage.follower()
    await stage.until(lambda: _recovery_point(stage, follower) == 3, "it is noted that all is durable")
    await stage.written(1)
    stage.world.kill(follower)
    content = _log_content(stage, follower)
    content.spoil(len(content.cached) - 2, 1)
    await _comes_back_damaged(stage, follower)


def _recovery_point(stage: Stage, node_id: int) -> int:
    """What is noted of the topic's partition."""
    checkpoints = stage.broker(node_id).log_dirs.folders[0]._checkpoints
    return checkpoints._written[RECOVERY_POINTS].get(("t", 0), 0)


def _log_content(stage: Stage, node_id: int) -> Content:
    content = stage.world.machines[node_id].disk._find(f"{DATA}/t-0/{0:020d}.log")
    assert isinstance(content, Content)
    return content


async def _comes_back_damaged(stage: Stage, node_id: int) -> None:
    machine = stage.world.machines[node_id]
    machine.note_rot(f"{DATA}/t-0")
    stage.world.start(node_id)
    await stage.until(lambda: stage.has_replicas(node_id), "it has opened its logs")

    def is_aside() -> bool:
        return any(name.startswith("t-0.") and name.endswith("-stray") for name in machine.disk.list(DATA))

    was_found = is_aside() or stage.log(node_id).damage is not None
    assert was_found, "synced records are gone, and that passes for a torn tail"
    await stage.until(is_aside, "a damaged replica is set aside", 5)
    await stage.written(1)


@scenario
async def the_only_replica_is_damaged(stage: Stage) -> None:
    await stage.make_topic({"min.insync.replicas": "1"}, replicas=1)
    await stage.written(3)
    leader = stage.partition().leader
    await stage.until(lambda: _recovery_point(stage, leader) == 3, "it is noted that all is durable")
    stage.world.kill(leader)
    content = _log_content(stage, leader)
    content.cut(len(content.cached) - 10)
    content.durable = bytearray(content.cached)
    machine = stage.world.machines[leader]
    machine.note_rot(f"{DATA}/t-0")
    stage.world.start(leader)
    await stage.until(lambda: machine.process is not None and machine.process.ready, "it is back")
    await stage.until(lambda: stage.is_active(leader), "it is unfenced")
    await stage.passes(1)
    assert stage.partition().leader == NO_NODE, "the one replica is damaged, and leads"


@scenario
async def the_recovery_point_is_lost_after_a_clean_stop(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(3)
    follower = stage.follower()
    await stops_cleanly(stage, follower)
    stage.world.machines[follower].disk.lose(f"{DATA}/{RECOVERY_POINTS}")
    stage.world.start(follower)
    await comes_back(stage, follower)


@scenario
async def the_epochs_are_lost(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(3)
    follower = stage.follower()
    await stage.until(lambda: _recovery_point(stage, follower) == 3, "everything is noted")
    stage.world.kill(follower)
    stage.world.machines[follower].disk.lose(f"{DATA}/t-0/{EPOCHS_FILE}")
    stage.world.start(follower)
    await comes_back(stage, follower)


@scenario
async def a_number_in_the_epochs_rots(stage: Stage) -> None:
    old = await deposed(stage, 0)
    await leads_elsewhere(stage, old, 2)
    stage.mend(old, *stage.others(old))
    await comes_back(stage, old)
    follower = next(node_id for node_id in stage.followers() if node_id != old)
    await stops_cleanly(stage, follower)
    disk, path = stage.world.machines[follower].disk, f"{DATA}/t-0/{EPOCHS_FILE}"
    assert disk.peek(path).endswith(b"\n1 1\n"), "its last epoch is another one"
    disk.spoil(path, len(disk.peek(path)) - len("1 1\n"), ord("1") ^ ord("9"))
    stage.world.start(follower)
    await comes_back(stage, follower)


@scenario_in(APART)
async def a_node_is_killed_at_the_first_checkpoint_of_an_epoch(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    await stage.passes(2)  # the epoch is noted everywhere
    leader, follower = stage.partition().leader, stage.follower()
    stage.world.kill(leader)
    await stage.until(lambda: stage.partition().leader not in (leader, NO_NODE), "another leads")
    stage.world.start(leader)
    await comes_back(stage, leader)
    await stage.passes(2)  # nothing is to be noted
    await stage.writes(1)
    await stage.at_once(lambda: stage.log(follower).durable_end == 2, "the follower has the epoch's first record")
    assert _recovery_point(stage, follower) == 1, "that is not noted yet"
    disk = stage.world.machines[follower].disk
    disk.faults.traps.append((Moment.RENAME, lambda: stage.world.kill(follower)))
    await stage.until(lambda: stage.world.machines[follower].process is None, "a checkpoint is written")
    stage.world.start(follower)
    await comes_back(stage, follower)


@scenario
async def a_node_is_killed_with_a_topic_that_is_made_again(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(5)
    follower = stage.follower()
    await stage.until(lambda: _recovery_point(stage, follower) == 5, "everything is noted")
    await stage.asks(lambda admin: admin.delete_topic("t"))
    await stage.make_topic()
    await stage.until(lambda: stage.has_replicas(follower), "it is there")
    stage.world.kill(follower)
    stage.world.start(follower)
    await comes_back(stage, follower)


@scenario
async def a_vote_is_lost(stage: Stage) -> None:
    voter = stage.others(stage.controller())[0]
    machine = stage.world.machines[voter]
    stage.world.kill(voter)
    machine.disk.lose(f"{metadata_folder(DATA)}/{VOTE_FILE}")
    machine.has_forgotten = True
    stage.world.start(voter)
    process = machine.process
    assert process is not None
    await stage.until(lambda: process.ended is not None, "a voter without its vote does not begin")


@scenario
async def a_metadata_log_rots(stage: Stage) -> None:
    voter = stage.others(stage.controller())[0]
    machine = stage.world.machines[voter]
    await stage.make_topic()
    await stage.passes(3)  # a recovery point is written
    stage.world.kill(voter)
    folder = metadata_folder(DATA)
    path = f"{folder}/{max(name for name in machine.disk.list(folder) if name.endswith('.log'))}"  # a start reads it
    before = machine.disk.peek(path)
    machine.disk.spoil(path, read_header(before).size_bytes - 1, 1)
    machine.has_forgotten = True
    stage.world.start(voter)
    process = machine.process
    assert process is not None
    await stage.until(lambda: process.ended is not None, "a voter whose log has rotted does not begin")
    assert len(machine.disk.peek(path)) == len(before), "what has rotted is kept as it is"


@scenario
async def power_goes_once_several_segments_were_synced_together(stage: Stage) -> None:
    await stage.make_topic({"segment.ms": "100", "min.insync.replicas": "2"})
    await stage.written(1)
    for machine in stage.world.machines.values():
        machine.disk.faults.forgetful = True
        machine.disk.faults.least_sync_s = 0.5
    receipts = []
    for _ in range(15):
        receipts += await stage.writes(1)
        await stage.passes(0.11)
    await stage.until(lambda: all(receipt.done() for receipt in receipts), "everything is acknowledged")
    for node_id in stage.world.machines:
        stage.world.lose_power(node_id)
        stage.world.machines[node_id].disk.faults.mend()
        stage.world.start(node_id)
    await stage.until(lambda: all(map(stage.has_replicas, stage.world.machines)), "all are back")
    stage.looks_at_disks()
    ends = [stage.log(node_id).log_end_offset for node_id in stage.world.machines]
    assert ends == [16, 16, 16], f"16 records were acknowledged, and the logs end at {ends}"
