"""Scenarios of eligible replicas and last known leaders: one sound member is alone, and those that cut a tail wait."""

from __future__ import annotations

from dohle.model.ids import NO_NODE
from dohle.testing.world.topology import NodePlan, Topology
from tests.simulation.mutations.replication_scenarios import APART
from tests.simulation.mutations.stage import Stage, scenario_in

FOUR_APART = Topology((NodePlan(1, True, False), *(NodePlan(number, False, True) for number in (2, 3, 4, 5))), 4, 2)


def _tear(stage: Stage, node_id: int) -> None:
    """As if power had gone while a batch was written of which nothing was acknowledged."""
    machine = stage.world.machines[node_id]
    folder = f"{machine.config.data_dir}/t-0"
    path = f"{folder}/{next(name for name in machine.disk.list(folder) if name.endswith('.log'))}"
    content = machine.disk.open(path).content
    content.cached += content.cached[:40]
    content.begin_sync()()


async def _is_inactive(stage: Stage, *node_ids: int) -> None:
    for node_id in node_ids:
        stage.world.kill(node_id)
    await stage.until(lambda: not any(map(stage.is_active, node_ids)), "they are fenced")


async def _alone(stage: Stage) -> tuple[int, list[int]]:
    """Returns the leader, the only member, and the eligible replicas, which are cut off from it."""
    await stage.make_topic({"min.insync.replicas": "3"})
    await stage.written(5)
    *torn, sound = stage.partition().assigned_replicas
    await _is_inactive(stage, sound, *torn)
    stage.cut(sound, *torn)
    for node_id in torn:
        _tear(stage, node_id)
        stage.world.start(node_id)
    await stage.until(lambda: len(stage.partition().doubts) == 2, "two are in doubt")
    await stage.until(lambda: all(map(stage.is_active, torn)), "both are back")
    stage.world.start(sound)
    await stage.until(lambda: stage.partition().leader != NO_NODE, "one leads")
    assert stage.partition().leader == sound, "who cut a tail leads, though one that cut nothing has come back"
    assert stage.partition().eligible_replicas == tuple(torn), "they are forgotten, though they have everything"
    return sound, torn


@scenario_in(APART)
async def the_only_member_dies_before_the_others_have_caught_up(stage: Stage) -> None:
    sound, torn = await _alone(stage)
    stage.world.kill(sound)
    await stage.until(lambda: stage.partition().leader in torn, "an eligible one leads")
    assert sound in stage.partition().in_sync_replicas, "who is down has left below the minimum"
    stage.mend(sound, *torn)
    stage.world.start(sound)
    await stage.written(5, client="another")
    await stage.until(lambda: len(stage.partition().in_sync_replicas) == 3, "all are in sync again", 60.0)


@scenario_in(APART)
async def the_only_member_is_lost_before_the_others_have_caught_up(stage: Stage) -> None:
    sound, torn = await _alone(stage)
    machine = stage.world.machines[sound]
    await _is_inactive(stage, *torn)
    await _is_inactive(stage, sound)
    machine.disk.lose(f"{machine.config.data_dir}/t-0")
    stage.world.start(sound)
    await stage.until(lambda: bool(stage.partition().doubts), "its loss is known")
    stage.world.start(torn[0])
    await stage.until(lambda: stage.partition().leader == torn[0], "an eligible one leads")
    assert stage.partition().in_sync_replicas == (torn[0],)


@scenario_in(APART)
async def the_eligible_ones_are_down_when_the_only_member_dies(stage: Stage) -> None:
    sound, torn = await _alone(stage)
    await _is_inactive(stage, *torn)
    await _is_inactive(stage, sound)
    await stage.passes(1)
    assert stage.partition().leader == NO_NODE, "one leads that is fenced"


@scenario_in(APART)
async def another_minimum_is_set_while_some_are_eligible(stage: Stage) -> None:
    await _alone(stage)
    await stage.asks(lambda admin: admin.alter_configs("t", {"min.insync.replicas": "2"}))
    await stage.passes(1)
    assert not stage.partition().eligible_replicas, "who was eligible beside another minimum is so still"


@scenario_in(APART)
async def an_eligible_replica_comes_back_without_its_data(stage: Stage) -> None:
    _, (node_id, _) = await _alone(stage)
    machine = stage.world.machines[node_id]
    await _is_inactive(stage, node_id)
    machine.disk.lose(f"{machine.config.data_dir}/t-0")
    stage.world.start(node_id)
    await stage.until(lambda: stage.is_active(node_id), "its broker is unfenced")
    assert node_id not in stage.partition().eligible_replicas, "who has lost everything is eligible"


@scenario_in(APART)
async def records_are_for_the_only_member_alone(stage: Stage) -> None:
    """What it has beyond its watermark the eligible ones lack."""
    sound, _ = await _alone(stage)
    watermark = stage.log(sound).high_watermark
    await stage.writes_steadily(0.1, acks=1)
    await stage.until(lambda: stage.log(sound).log_end_offset > watermark + 5, "some are written")
    await stage.passes(1)
    assert stage.log(sound).high_watermark == watermark, "the watermark has moved below the minimum"


async def _alone_of_four(stage: Stage) -> tuple[int, list[int], int]:
    """As `_alone`, with a fourth replica besides, which has left the in-sync set before all this, and is down."""
    await stage.make_topic({"min.insync.replicas": "3"}, replicas=4)
    await stage.written(5)
    *torn, sound, late = stage.partition().assigned_replicas
    await _is_inactive(stage, late)
    await stage.until(lambda: late not in stage.partition().in_sync_replicas, "the fourth has left")
    await stage.written(5)
    await _is_inactive(stage, sound, *torn)
    stage.cut(sound, *torn)
    for node_id in torn:
        _tear(stage, node_id)
        stage.world.start(node_id)
    await stage.until(lambda: len(stage.partition().doubts) == 2, "two are in doubt")
    stage.world.start(sound)
    await stage.until(lambda: stage.partition().leader == sound, "the third leads")
    assert stage.partition().eligible_replicas == tuple(torn)
    return sound, torn, late


@scenario_in(FOUR_APART)
async def another_leads_uncleanly_while_some_are_eligible(stage: Stage) -> None:
    sound, torn, late = await _alone_of_four(stage)
    await stage.asks(lambda admin: admin.alter_configs("t", {"unclean.leader.election.enable": "true"}))
    await _is_inactive(stage, *torn)
    await _is_inactive(stage, sound)
    stage.world.start(late)
    await stage.until(lambda: stage.partition().leader == late, "the fourth leads")
    assert stage.partition().eligible_replicas == (), "who may have to cut what it has is eligible"


@scenario_in(FOUR_APART)
async def enough_are_in_sync_again_without_one_that_was_eligible(stage: Stage) -> None:
    sound, (first, second), late = await _alone_of_four(stage)
    stage.mend(sound, first)
    stage.world.start(late)
    await stage.until(lambda: len(stage.partition().in_sync_replicas) == 3, "three are in sync")
    assert second not in stage.partition().in_sync_replicas
    await stage.written(5, client="another")
    assert stage.partition().eligible_replicas == (), "who lacks what was acknowledged since is eligible"


@scenario_in(APART)
async def who_led_last_comes_back_alone_with_a_doubt(stage: Stage) -> None:
    """And its topic does not allow it to lead."""
    await stage.make_topic({"flush.messages": "100000", "min.insync.replicas": "2"}, replicas=2)
    await stage.written(5)
    leader, follower = stage.partition().leader, stage.followers()[0]
    await _is_inactive(stage, follower)
    await _is_inactive(stage, leader)
    assert stage.partition().last_known_leader == leader, "nobody knows who led last"
    stage.world.start(leader)
    await stage.until(lambda: stage.is_active(leader), "who led last is back")
    await stage.passes(5)
    assert stage.partition().leader == NO_NODE, "the last known leader leads, though its topic forbids that"


@scenario_in(APART)
async def who_led_last_has_lost_its_data(stage: Stage) -> None:
    await stage.make_topic({"min.insync.replicas": "2"}, replicas=2)
    await stage.written(5)
    leader, follower = stage.partition().leader, stage.followers()[0]
    await _is_inactive(stage, follower)
    await _is_inactive(stage, leader)
    machine = stage.world.machines[leader]
    machine.disk.lose(f"{machine.config.data_dir}/t-0")
    stage.world.start(leader)
    await stage.until(lambda: stage.is_active(leader), "who led last is back")
    assert stage.partition().last_known_leader == NO_NODE, "an operator is told to start one that has nothing"


@scenario_in(APART)
async def of_two_that_sync_late_one_has_less(stage: Stage) -> None:
    await stage.make_topic({"flush.messages": "100000", "min.insync.replicas": "2"}, replicas=2)
    await stage.written(5)
    leader, follower = stage.partition().leader, stage.followers()[0]
    await _is_inactive(stage, follower)
    await stage.writes_steadily(0.1, acks=1)
    await stage.until(lambda: stage.log(leader).log_end_offset > 10, "the leader has more")
    await _is_inactive(stage, leader)
    stage.world.start(follower)
    await stage.until(lambda: stage.is_active(follower), "who has less is back")
    stage.cut(leader, follower)
    stage.world.start(leader)
    await stage.until(lambda: stage.partition().leader != NO_NODE, "one leads")
    assert stage.partition().eligible_replicas == (), "who may lack what it acknowledged is eligible"
