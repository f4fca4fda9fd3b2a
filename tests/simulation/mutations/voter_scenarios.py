"""Scenarios of voters: who may vote and stand, who is counted, and what one does that cannot go on."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from dohle.model.errors import CorruptLog, InvalidRequest
from dohle.model.metadata_batch import MetadataBatch
from dohle.raft.follower import Follower
from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk
from dohle.storage.log_dirs import LogDirs
from dohle.testing.world.topology import Topology
from tests.simulation.mutations.stage import Stage, quorum_of, scenario, scenario_in

_LOOK_S = 0.01


async def nobody_stands(stage: Stage, node_ids: list[int], seconds: float) -> None:
    for _ in range(round(seconds / _LOOK_S)):
        await stage.passes(_LOOK_S)
        for node_id in node_ids:
            role = quorum_of(stage.node(node_id))._node._role
            assert isinstance(role, Follower), f"node {node_id} wants to be elected"


def change_is_committed(stage: Stage, node_id: int) -> bool:
    """Whether the newest change of the voters in this node's log is, in its eyes."""
    core = quorum_of(stage.node(node_id))._node._core
    return core.configurations.changed_at <= core.commit_offset


@scenario
async def a_leader_is_heard_for_a_while(stage: Stage) -> None:
    await stage.make_topic()
    await nobody_stands(stage, stage.others(stage.controller()), 4)


@scenario_in(Topology.of(3, 1, apart=False))
async def the_only_voter_is_left_in_peace(stage: Stage) -> None:
    term = stage.term(1)
    await stage.passes(6)
    assert stage.leads_quorum(1), "the only voter leads no longer"
    assert stage.term(1) == term, "the only voter was elected again"


@scenario
async def the_controllers_process_ends(stage: Stage) -> None:
    leader = stage.controller()
    stage.world.kill(leader)
    await stage.until(lambda: any(map(stage.leads_quorum, stage.others(leader))), "another leads at once", 0.8)


@scenario
async def a_voter_is_removed_while_another_is_cut_off(stage: Stage) -> None:
    """Both who stay have to agree; the one that goes counts no more from the moment on at which that is appended."""
    leader = stage.controller()
    stays, goes = stage.others(leader)
    stage.cut(leader, stays)
    stage.removes_voter(leader, goes)
    await stage.until(lambda: stage.voters(leader) == sorted([leader, stays]), "it has appended the change")
    await stage.passes(0.5)
    assert not change_is_committed(stage, leader), "a vote counts that was taken away"


@scenario
async def the_controller_is_removed_while_a_voter_is_cut_off(stage: Stage) -> None:
    leader = stage.controller()
    away, other = stage.others(leader)
    stage.cut(leader, away)
    stage.removes_voter(leader, leader)
    await stage.until(lambda: stage.voters(leader) == sorted([away, other]), "it has appended its removal")
    await stage.passes(0.5)
    assert not change_is_committed(stage, leader), "a leader counts itself that has no vote"


async def comes_back_wiped(stage: Stage, node_id: int) -> None:
    """The node loses its disk, and is formatted to join: it is somebody else, who follows without a vote."""
    stage.world.kill(node_id)
    stage.world.machines[node_id].disk.wipe()
    stage.world.machines[node_id].has_forgotten = True
    await stage.world.format_anew(node_id)
    stage.world.start(node_id)
    leader = stage.controller()
    await stage.until(lambda: node_id in stage.learners(leader), "it follows as a learner")
    progress = quorum_of(stage.node(leader)).progress_of
    key = quorum_of(stage.node(node_id)).key
    end = quorum_of(stage.node(leader)).commit_offset
    await stage.until(lambda: (found := progress(key)) is not None and found.durable_end >= end, "it has everything")


@scenario
async def a_controller_that_joins_knows_one_voter_alone(stage: Stage) -> None:
    """And that one does not decide. The others do not call it, for nobody of its name votes."""
    leader = stage.controller()
    new, known = stage.others(leader)
    await stage.asks(lambda admin: admin.remove_voter(new), leader)
    machine = stage.world.machines[new]
    voters = tuple([voter for voter in machine.config.voters if voter.node_id == known])
    machine.config = replace(machine.config, voters=voters)
    await comes_back_wiped(stage, new)
    await stage.until(lambda: stage.is_active(new), "its broker is unfenced")


@scenario
async def one_controller_of_three_is_left(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    left, *gone = stage.world.machines
    for node_id in gone:
        stage.world.kill(node_id)
    await stage.passes(5)
    quorum = await stage.asks(lambda admin: admin.describe_quorum(as_known=True), left)
    known = [voter.node_id for voter in quorum.voters if voter.durable_end is not None]
    assert known == [left], f"the one that is left knows of itself alone: {quorum}"
    history = await stage.asks(lambda admin: admin.describe_partition_history("t", 0, as_known=True), left)
    assert history.steps, "it does not say what it knows of a partition"


@scenario
async def a_voters_disk_is_wiped_and_its_vote_is_needed(stage: Stage) -> None:
    leader = stage.controller()
    wiped, other = stage.others(leader)
    term = stage.term(other)
    await stage.make_topic()
    await comes_back_wiped(stage, wiped)
    stage.world.kill(leader)
    await stage.passes(5)
    assert stage.term(other) == term, "a wiped disk has voted in the place of the one before"


@scenario
async def a_voters_disk_is_wiped_and_its_copy_is_needed(stage: Stage) -> None:
    leader = stage.controller()
    wiped, other = stage.others(leader)
    await comes_back_wiped(stage, wiped)
    stage.world.kill(other)
    made = stage.tells(lambda admin: admin.create_topic("t", replication_factor=1), leader)
    await stage.passes(1)
    assert not made, "what a wiped disk has counts in the place of the one before"


@scenario
async def a_node_without_a_vote_loses_its_leader(stage: Stage) -> None:
    leader = stage.controller()
    goes, stays = stage.others(leader)
    await stage.asks(lambda admin: admin.remove_voter(goes), leader)
    await stage.until(lambda: goes in stage.learners(leader), "it follows as a learner")
    stage.world.kill(leader)
    stage.world.kill(stays)
    await nobody_stands(stage, [goes], 4)


@scenario
async def a_new_voter_is_needed_that_has_not_heard_of_its_vote(stage: Stage) -> None:
    """The change is committed without it, and who decided on that dies: by its own log it has no vote."""
    leader = stage.controller()
    new, stays = stage.others(leader)
    await stage.asks(lambda admin: admin.remove_voter(new), leader)
    await stage.until(lambda: new in stage.learners(leader), "it follows as a learner")
    added = stage.tells(lambda admin: admin.add_voter(new), leader)
    await stage.in_the_turn(
        lambda: new in stage.voters(leader), lambda: stage.cut(new, leader, stays), "the change is appended"
    )
    await stage.until(lambda: new in stage.voters(stays) and bool(added), "it is committed")
    assert new not in stage.voters(new), "it has not heard of its vote"
    stage.world.kill(leader)
    stage.mend(new, stays)
    await stage.until(lambda: stage.leads_quorum(stays), "two of three voters elect a leader", 10)


@scenario
async def a_controller_was_formatted_with_other_first_voters(stage: Stage) -> None:
    """It says so by the checksum of its log's first batch, which has the same term and offset as the cluster's."""
    leader = stage.controller()
    opening = quorum_of(stage.node(stage.others(leader)[0]))._opening()
    opening.first_batch_crc ^= 1
    with contextlib.suppress(InvalidRequest):
        quorum_of(stage.node(leader)).greet(opening)
        raise AssertionError("a log that begins otherwise is taken for the cluster's own")


@scenario
async def a_change_cannot_be_applied(stage: Stage) -> None:
    voter = stage.others(stage.controller())[0]
    process, quorum = stage.world.machines[voter].process, quorum_of(stage.node(voter))
    assert process is not None
    assert quorum._listener is not None

    def fails(_: MetadataBatch) -> None:
        raise CorruptLog("this software cannot make sense of it")

    quorum._listener = replace(quorum._listener, committed=fails)
    await stage.make_topic()
    await stage.until(lambda: process.ended is not None, "a controller ends that cannot apply what is committed", 5)


@scenario
async def a_voter_is_needed_while_its_logs_are_opened(stage: Stage) -> None:
    """Thousands of them take seconds; the cluster changes its metadata meanwhile."""
    await stage.make_topic()
    controller = stage.controller()
    slow, stays = stage.others(controller)
    stage.world.kill(slow)
    open_logs, opened = LogDirs.open, []

    async def open_late(disk: Disk, clock: Clock, *arguments: Any, **options: Any) -> LogDirs:
        await clock.sleep(20)
        opened.append(True)
        return await open_logs(disk, clock, *arguments, **options)

    with patch.object(LogDirs, "open", open_late):
        stage.world.start(slow)
        await stage.passes(1)
        stage.world.kill(controller)
        await stage.asks(lambda admin: admin.alter_configs("t", {"retention.ms": "1000"}), stays, slow)
        assert not opened, "nothing could be changed before it had opened its logs"
        await stage.until(lambda: stage.is_active(slow), "it serves", 60.0)
