"""Scenarios of logs that part: leaders that follow one another too fast, and what is under way between them meanwhile.

The cluster is a controller that is nothing else, and three brokers. A topic whose minimum is three keeps every member
in sync, fenced or not, so that any of them may be elected: of those that are unfenced the first that is assigned.
"""

from __future__ import annotations

from dohle.model.ids import NO_NODE
from dohle.testing.world.disk import Moment
from tests.simulation.mutations.replication_scenarios import APART
from tests.simulation.mutations.stage import Stage, scenario_in

ALL_STAY = {"min.insync.replicas": "3"}
CONTROLLER = 1
UNDER_WAY_S = 30.0
"""Longer than two elections take."""


@scenario_in(APART)
async def a_leader_is_deposed_before_it_wrote(stage: Stage) -> None:
    first, second, _ = await _three_in_order(stage)
    await _loses_its_leadership(stage, first)
    await _loses_its_leadership(stage, second)
    await _all_agree(stage)


@scenario_in(APART)
async def a_leader_is_deposed_with_all_of_its_epoch(stage: Stage) -> None:
    first, second, _ = await _three_in_order(stage)
    await _loses_its_leadership(stage, first)
    await _has_a_tail(stage, second, 2)
    await _loses_its_leadership(stage, second)
    await _all_agree(stage)


@scenario_in(APART)
async def an_epoch_is_unknown_to_a_follower_with_a_tail(stage: Stage) -> None:
    first, second, _ = await _three_in_order(stage)
    await _loses_its_leadership(stage, first)
    await _loses_its_leadership(stage, second)  # the first one leads again, in an epoch that the second does not know
    await _has_a_tail(stage, first, 2)
    await _loses_its_leadership(stage, first)
    await _has_a_tail(stage, second, 4)
    await _loses_its_leadership(stage, second)
    await _all_agree(stage)


@scenario_in(APART)
async def a_follower_has_heard_of_neither_of_two_elections(stage: Stage) -> None:
    """It follows the leader of now in an epoch of before; then it hears of the leader between, who lacks a record."""
    await stage.make_topic(ALL_STAY)
    await stage.written(1)
    leader, between, late = stage.partition().assigned_replicas
    stage.cut(leader, between)
    stage.detour(CONTROLLER, late, UNDER_WAY_S)
    await _has_a_tail(stage, leader, 1)
    await stage.until(lambda: stage.log(late).durable_end == 2, "the follower has it too")
    await _loses_its_leadership(stage, leader)
    stage.cut(between, CONTROLLER)
    await stage.until(lambda: stage.partition().leader == leader, "the first leads again")
    stage.world.reset_connections(leader)
    await stage.asks(lambda admin: admin.alter_configs("t", {"min.insync.replicas": "2"}), leader)
    await stage.until(lambda: len(stage.partition().in_sync_replicas) == 2, "the leader between has left")
    await stage.until(lambda: stage.log(late).log_end_offset == 1, "the follower has heard of it", 2 * UNDER_WAY_S)
    stage.detour(CONTROLLER, late, 0)
    await _all_agree(stage)


@scenario_in(APART)
async def a_push_takes_longer_than_two_elections(stage: Stage) -> None:
    """It arrives in the subscription to the same leader's next epoch; that leader has cut off what is in it."""
    await stage.make_topic(ALL_STAY)
    await stage.written(1)
    leader, between, late = stage.partition().assigned_replicas
    stage.detour(leader, late, UNDER_WAY_S)
    stage.cut(leader, between)
    await _has_a_tail(stage, leader, 1)
    pushed_at = stage.world.scheduler.now
    for cut_off in (leader, late):
        stage.cut(cut_off, CONTROLLER)
    await stage.until(lambda: stage.partition().leader == between, "another leads")
    stage.mend(leader, between)
    await _comes_back(stage, leader)
    await stage.until(lambda: stage.log(leader).log_end_offset == 1, "the tail is cut")
    await _loses_its_leadership(stage, between)
    await _comes_back(stage, late)
    receipts = await stage.writes(1)
    assert stage.world.scheduler.now < pushed_at + UNDER_WAY_S, "the push has arrived already"
    await stage.until(lambda: stage.log(leader).log_end_offset >= 2, "the leader has another record there")
    await stage.until(lambda: receipts[0].done(), "all have it", 3 * UNDER_WAY_S)
    stage.detour(leader, late, 0)
    await _all_agree(stage)


@scenario_in(APART)
async def a_node_is_killed_while_a_truncation_begins(stage: Stage) -> None:
    """What is cut has an epoch of its own, lies below the written recovery point, and is still there at the start."""
    first, second, _ = await _three_in_order(stage)
    await _loses_its_leadership(stage, first)
    await _has_a_tail(stage, second, 2)
    await stage.passes(2)  # the tail is noted as durable
    disk = stage.world.machines[second].disk

    def dies() -> None:
        stage.world.kill(second)

    await _loses_its_leadership(stage, second)
    for node_id in (first, CONTROLLER):
        stage.mend(node_id, second)
    await stage.in_the_turn(
        lambda: stage.log(second)._truncation is not None,
        lambda: disk.faults.traps.append((Moment.RENAME, dies)),
        "the truncation begins",
    )
    await stage.until(lambda: stage.world.machines[second].process is None, "a checkpoint is written for it")
    stage.world.start(second)
    await stage.until(lambda: stage.has_replicas(second), "it has begun again")
    await stage.passes(1)
    await _all_agree(stage)


async def _three_in_order(stage: Stage) -> tuple[int, int, int]:
    """Makes the topic, and cuts its replicas off from one another; returns them in the order of their election."""
    await stage.make_topic(ALL_STAY)
    await stage.written(1)
    leader, *followers = stage.partition().assigned_replicas
    assert stage.partition().leader == leader
    stage.cut(leader, *followers)
    stage.cut(*followers)
    return leader, followers[0], followers[1]


async def _loses_its_leadership(stage: Stage, leader: int) -> None:
    """Cuts the leader off from the controller until another one leads."""
    assert stage.partition().leader == leader
    stage.cut(leader, CONTROLLER)
    await stage.until(lambda: stage.partition().leader not in (leader, NO_NODE), "another leads")
    await _comes_back(stage, leader)


async def _comes_back(stage: Stage, deposed: int) -> None:
    stage.mend(deposed, CONTROLLER)
    await stage.until(lambda: stage.is_active(deposed), f"node {deposed} is unfenced")


async def _has_a_tail(stage: Stage, leader: int, count: int) -> None:
    """Has the leader write what nobody else gets, by a client that reaches nobody else."""
    assert stage.partition().leader == leader
    client = f"client of {leader}"
    stage.cut(client, *stage.others(leader))
    end = stage.log(leader).log_end_offset
    for number in range(count):
        await stage.writes(1, b"lost", client=client)
        await stage.until(lambda: stage.log(leader).durable_end > end + number, "the leader has it")  # noqa: B023


async def _all_agree(stage: Stage) -> None:
    """Returns once whatever lies between the nodes is gone, and all have the same records."""
    for node_id in stage.world.machines:
        stage.mend(node_id, *stage.others(node_id))
    await stage.written(1, b"last", client="judge")
    logs = [stage.log(node_id) for node_id in stage.partition().assigned_replicas]
    end = stage.leading().log.high_watermark
    await stage.until(lambda: all(log.high_watermark >= end for log in logs), "all know what is committed")
    contents = [await log.read(0, 1 << 20, up_to=end) for log in logs]
    assert len(set(contents)) == 1, "the replicas differ"
