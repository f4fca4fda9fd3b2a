"""Scenarios of leaders: what they are asked, what they wait for, and how those hear of it who wait for them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from dohle import Admin
from dohle.broker.following import Following
from dohle.client.partition_changes import Reassignment
from dohle.model.errors import IneligibleReplica, ReplicaNotAvailable, StaleBrokerEpoch, UnknownLeaderEpoch
from dohle.model.ids import NodeId
from dohle.rpc.v1 import controller_pb2, replication_pb2
from dohle.testing.world.topology import DIRECTORIES, NodePlan, Topology
from dohle.testing.world.world import DATA
from tests.simulation.mutations.directory_scenarios import TWO_DISKS, all_in_sync, many_partitions
from tests.simulation.mutations.replication_scenarios import APART
from tests.simulation.mutations.stage import Stage, scenario, scenario_in

CONTROLLER = 1


def broker_epoch(stage: Stage, node_id: int) -> int:
    return stage._invariants.newest.brokers[NodeId(node_id)].broker_epoch


@scenario
async def a_leader_is_subscribed_to_by_whom_it_must_refuse(stage: Stage) -> None:
    await stage.make_topic(replicas=2)
    leader, follower = stage.partition().leader, stage.followers()[0]
    stranger = next(node for node in stage.others(leader) if node != follower)
    now, epoch = stage.partition().leader_epoch, broker_epoch(stage, follower)
    replicas = stage.broker(leader).replicas
    for who, of_epoch, leader_epoch, refusal in (
        (follower, epoch, now + 1, UnknownLeaderEpoch),
        (stranger, broker_epoch(stage, stranger), now, ReplicaNotAvailable),
        (follower, epoch - 1, now, StaleBrokerEpoch),
    ):
        wanted = replication_pb2.Subscription(topic_id=stage.topic_id(), partition=0, leader_epoch=leader_epoch)
        with contextlib.suppress(refusal):
            replicas.leading_for(NodeId(who), of_epoch, wanted)
            raise AssertionError(f"a subscription was not refused with {refusal.__name__}")


@scenario_in(APART)
async def a_follower_hears_late_that_it_diverges(stage: Stage) -> None:
    """It leads by then: what the leader before told it must not cut anything off."""
    await stage.make_topic()
    await stage.written(5)
    leader, follower = stage.partition().leader, stage.followers()[0]
    process = stage.world.machines[follower].process
    [partition] = stage.broker(follower).replicas.partitions.values()
    following = partition.role
    assert isinstance(following, Following)
    assert process is not None
    stage.cut(leader, CONTROLLER)
    await stage.until(lambda: stage.partition().leader == follower, "it leads")
    await stage.until(lambda: partition.role is not following, "it knows so")
    refusal = replication_pb2.Refusal(diverging_epoch=0, diverging_end_offset=1)
    process.spawn(following.reconcile(refusal), "reconcile")
    await stage.passes(1)
    assert stage.log(follower).log_end_offset >= 5, "it has cut off what was acknowledged"


@scenario
async def one_record_is_written_and_no_more_comes(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    await stage.passes(0.5)
    marks = [stage.log(node_id).high_watermark for node_id in stage.world.machines]
    assert marks == [1, 1, 1], f"followers were never told what is committed: {marks}"


@scenario
async def a_follower_leaves_while_a_record_waits_for_it(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    leader, away = stage.partition().leader, stage.follower()
    stage.cut(leader, away)
    [receipt] = await stage.writes(1)
    await stage.until(lambda: away not in stage.partition().in_sync_replicas, "it has left the in-sync set")
    await stage.until(receipt.done, "what waited for it alone is acknowledged", 2)


@scenario
async def a_follower_that_may_join_stands_still(stage: Stage) -> None:
    """It has subscribed, a little behind, and its log's disk says nothing more: nobody waits for it for long."""
    await stage.make_topic()
    await stage.written(1)
    away = stage.follower()
    stage.world.kill(away)
    await stage.until(lambda: away not in stage.partition().in_sync_replicas, "it has left the in-sync set")
    await stage.written(1)
    stage.world.start(away)

    def follows() -> bool:
        return stage.leading().replicas[NodeId(away)].subscriber is not None

    def stalls() -> None:
        stage.world.machines[away].disk.faults.slow_logs[f"{DATA}/t-0"] = 5.0

    await stage.in_the_turn(follows, stalls, "it follows again")
    await stage.until(lambda: stage.is_active(away), "it may join")
    assert away not in stage.partition().in_sync_replicas, "it has joined already"
    [receipt] = await stage.writes(1)
    await stage.until(receipt.done, "a record is acknowledged without it", 2)


@scenario_in(APART)
async def a_broker_dies_before_it_has_made_its_replica(stage: Stage) -> None:
    """It is the only one: it holds nothing, and has lost nothing."""
    made = stage.tells(lambda admin: admin.create_topic("t", replication_factor=1), CONTROLLER, 2, 3, 4)
    await stage.in_the_turn(
        lambda: bool(stage.topics()), lambda: stage.world.kill(stage.partition().leader), "the topic is committed"
    )
    [broker] = stage.partition().assigned_replicas
    assert not stage.world.machines[broker].disk.exists(f"{DATA}/t-0"), "it has made its replica already"
    await stage.until(lambda: bool(made), "the topic is made")
    stage.world.start(broker)
    await stage.written(1)


@scenario
async def a_join_is_refused_for_good(stage: Stage) -> None:
    """The controller says that the follower may not join now: until it asks again nothing waits for it."""
    await stage.make_topic()
    leader, away = stage.partition().leader, stage.follower()
    stage.cut(leader, away)
    await stage.writes(1)
    await stage.until(lambda: away not in stage.partition().in_sync_replicas, "it has left the in-sync set")
    await stage.passes(1)
    controller = stage.broker(leader).controller
    call, refused = controller.call, []

    async def refuse(method: str, request: Any, **options: Any) -> Any:
        if method != "AlterPartitions":
            return await call(method, request, **options)
        refused.append(request)
        stage.cut(leader, away)
        return refusals(request)

    controller.call = refuse  # type: ignore[method-assign]
    stage.mend(leader, away)
    await stage.until(lambda: bool(refused), "it has asked to join")
    receipts = await stage.writes(1)
    await stage.until(receipts[0].done, "a record is acknowledged without it", 3)


def refusals(request: object) -> object:
    assert isinstance(request, controller_pb2.AlterPartitionsRequest)
    response = controller_pb2.AlterPartitionsResponse()
    for one in request.partitions:
        answer = response.partitions.add(topic_id=one.topic_id, partition=one.partition)
        answer.failure.code = IneligibleReplica.code
    return response


@scenario_in(APART)
async def a_topic_is_deleted_while_an_acknowledgement_waits(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    stage.cut(stage.partition().leader, *stage.followers())
    leading = stage.leading()
    await stage.writes(1)
    await stage.until(lambda: bool(leading._for_all), "an acknowledgement waits")
    await stage.asks(lambda admin: admin.delete_topic("t"))
    await stage.until(lambda: not leading._for_all, "who waits is told", 1)


@scenario_in(APART)
async def a_leader_is_stopped_cleanly(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(5)
    leader = stage.partition().leader
    process = stage.world.machines[leader].process
    assert process is not None
    stops: list[int] = []
    replicas = stage.broker(leader).replicas
    close = replicas.close

    async def noted() -> None:
        stops.append(stage.partition().leader)
        await close()

    replicas.close = noted  # type: ignore[method-assign]
    process.stop(lambda: None)
    await stage.until(lambda: bool(stops), "it ends its roles")
    assert stops != [leader], "it has ended its roles before another led"


@scenario_in(TWO_DISKS)
async def the_directory_of_the_metadata_fails(stage: Stage) -> None:
    await many_partitions(stage)
    await stage.until(lambda: all_in_sync(stage), "all are in sync")
    victim = stage.others(stage.controller())[0]
    process = stage.world.machines[victim].process
    assert process is not None
    dirs = stage.broker(victim).log_dirs
    dirs.folders[0]._commit._fail(OSError(5, "it has failed"))
    assert dirs.folders[0].path == DIRECTORIES[0]
    await stage.until(lambda: process.ended is not None, "a node ends whose metadata cannot be written", 3)


@scenario_in(APART)
async def who_makes_a_topic_asks_for_it(stage: Stage) -> None:
    """By the one broker that it knows, whose disk is slow: it answers when its own metadata has the topic."""
    broker = stage.others(stage.controller())[0]

    async def made(admin: Admin) -> list[str]:
        await admin.create_topic("t")
        return [topic.name for topic in await admin.list_topics()]

    stage.world.machines[broker].disk.faults.slowness = 100
    await stage.asks(lambda admin: admin.create_topic("before"))
    assert "t" in await stage.asks(made, broker), "who has made a topic is told that there is none"


async def _deleted_without_an_answer(stage: Stage) -> tuple[list[Any], Callable[[], None]]:
    """Has the topic deleted through a broker that hears nothing of the controller from the decision on; returns what
    will be the outcome, and what lets the broker hear again."""
    await stage.make_topic()
    controller = stage.controller()
    broker = stage.others(controller)[0]
    part = stage.node(controller).controller
    assert part is not None
    names = [stage.world.machines[node_id].name for node_id in (controller, broker)]
    outcome = stage.tells(lambda admin: admin.delete_topics(["t"]), broker)
    await stage.in_the_turn(
        lambda: part.controller.pending.topic_named("t") is None,
        lambda: stage.world.links.cut(*names),
        "the deletion is decided",
    )
    return outcome, lambda: stage.world.links.mend(*names)


@scenario_in(APART)
async def the_answer_to_a_deletion_is_lost(stage: Stage) -> None:
    outcome, mend = await _deleted_without_an_answer(stage)
    await stage.passes(2.5)  # longer than the broker waits for an answer
    assert not outcome, "the answer came through"
    mend()
    await stage.until(lambda: bool(outcome), "the next attempt is answered", 60.0)
    assert outcome == [{"t": None}], f"who has deleted the topic is told {outcome}"


@scenario_in(APART)
async def a_topic_comes_under_the_name_before_the_deletion_is_repeated(stage: Stage) -> None:
    outcome, mend = await _deleted_without_an_answer(stage)
    await stage.until(lambda: not stage.topics(), "it is deleted")
    await stage.asks(lambda admin: admin.create_topic("t"), stage.others(stage.controller())[1])
    await stage.passes(2.5)
    assert not outcome, "the answer came through"
    mend()
    await stage.until(lambda: bool(outcome), "the next attempt is answered", 60.0)
    assert stage.topics(), "a topic is deleted that was made after the one which was meant"


def _in_a_rack(node: NodePlan) -> NodePlan:
    return node if node.is_controller else replace(node, rack=f"rack{node.node_id % 3}")


IN_RACKS = Topology(tuple(map(_in_a_rack, Topology.of(7, 1, apart=True).nodes)), 3, 2)


@scenario_in(IN_RACKS)
async def a_topic_is_made_where_there_are_racks(stage: Stage) -> None:
    await stage.asks(lambda admin: admin.create_topic("t", partitions=12, replication_factor=3))
    await stage.until(lambda: bool(stage.topics()), "it is made")
    for partition in stage.topics()[0].partitions:
        assert len({node % 3 for node in partition.assigned_replicas}) == 3, f"{partition} is in too few racks"


@scenario
async def a_plan_is_carried_out_that_is_out_of_date(stage: Stage) -> None:
    await stage.make_topic(replicas=2)
    before = stage.partition()
    stranger = next(node for node in stage.world.machines if node not in before.assigned_replicas)

    def to(targets: tuple[NodeId, ...], epoch: int) -> Callable[[Admin], Coroutine[Any, Any, str]]:
        async def move(admin: Admin) -> str:
            wanted = Reassignment("t", 0, targets, epoch)
            return type((await admin.alter_partition_reassignments([wanted]))[wanted.name]).__name__

        return move

    first = (before.assigned_replicas[0], stranger)
    assert await stage.asks(to(first, before.partition_epoch)) == "NoneType"
    await stage.until(lambda: stage.partition().assigned_replicas == first, "it has moved")
    outcome = await stage.asks(to(before.assigned_replicas, before.partition_epoch))
    assert outcome == "InvalidUpdateVersion", "a plan is carried out that was made on another state"
