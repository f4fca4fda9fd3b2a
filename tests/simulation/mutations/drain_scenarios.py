"""Scenarios of brokers that are drained while topics come, nodes die and others are drained as well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from dohle import Admin
from dohle.client import rebalance_plan
from dohle.client.rebalance import RebalanceTerms
from dohle.model.errors import InvalidReplicaAssignment
from dohle.model.ids import NO_NODE, NodeId
from dohle.model.image import TopicImage
from dohle.testing.world.topology import NodePlan, Topology
from tests.simulation.mutations.reassignment_scenarios import FIVE, spares, to
from tests.simulation.mutations.stage import Stage, scenario_in

FOUR = Topology.of(4, 3, apart=False)
TWO_RACKS = Topology(tuple(NodePlan(n, n <= 3, True, f"rack{n % 2}") for n in range(1, 5)), 2, 2)


async def drained(stage: Stage, node_id: int) -> None:
    assert (await stage.asks(lambda admin: admin.drain_broker(node_id))).changed
    await stage.passes(0.5)


async def refused(stage: Stage, work: Callable[[Admin], Awaitable[Any]], what: str) -> None:
    try:
        await stage.asks(work)
    except InvalidReplicaAssignment:
        return
    raise AssertionError(f"{what} was not refused")


def holders(topic: TopicImage) -> set[int]:
    return {node for partition in topic.partitions for node in partition.assigned_replicas}


@scenario_in(FIVE)
async def topics_are_made_while_a_broker_is_drained(stage: Stage) -> None:
    await drained(stage, 2)
    await stage.asks(lambda admin: admin.create_topic("t", partitions=10, replication_factor=3))
    await stage.asks(lambda admin: admin.create_partitions("t", 20))
    await stage.passes(1)
    assert holders(stage.topics()[0]) == {1, 3, 4, 5}


@scenario_in(FIVE)
async def a_drain_is_taken_back(stage: Stage) -> None:
    await drained(stage, 2)
    assert (await stage.asks(lambda admin: admin.drain_broker(2, cancel=True))).changed
    await stage.asks(lambda admin: admin.create_topic("t", partitions=10, replication_factor=3))
    await stage.passes(1)
    assert holders(stage.topics()[0]) == {1, 2, 3, 4, 5}, "it drains no longer, and gets nothing"


@scenario_in(FIVE)
async def a_partition_is_moved_to_a_broker_that_is_drained(stage: Stage) -> None:
    await stage.make_topic()
    target = spares(stage)[0]
    await drained(stage, target)

    async def move(admin: Admin) -> None:
        try:
            await to(target, *stage.followers())(admin)
        except AssertionError:
            raise InvalidReplicaAssignment("as it has to be") from None

    await refused(stage, move, "a move to a broker that is drained")


@scenario_in(FIVE)
async def a_broker_that_is_drained_starts_again_beside_another_controller(stage: Stage) -> None:
    node_id = next(node_id for node_id in stage.world.machines if not stage.leads_quorum(node_id))
    await drained(stage, node_id)
    stage.world.kill(node_id)
    stage.world.start(node_id)
    process = stage.world.machines[node_id].process
    assert process is not None
    await stage.until(lambda: process.ready, "it is back")
    stage.world.kill(stage.controller())
    await stage.passes(5)
    await stage.asks(lambda admin: admin.create_topic("t", partitions=10, replication_factor=3))
    await stage.passes(1)
    assert node_id not in holders(stage.topics()[0]), "its draining ended with its process"


@scenario_in(FOUR)
async def two_brokers_are_drained_where_one_can_be(stage: Stage) -> None:
    await stage.make_topic()
    first, second = stage.partition().assigned_replicas[:2]
    await drained(stage, first)
    await refused(stage, lambda admin: admin.drain_broker(second), "a drain that leaves two brokers for three replicas")


@scenario_in(TWO_RACKS)
async def the_last_broker_of_a_rack_is_to_be_drained(stage: Stage) -> None:
    await stage.make_topic({"min.insync.replicas": "2"}, replicas=2)
    here, there = stage.partition().assigned_replicas
    other = next(node for node in (1, 2, 3, 4) if node != here and node % 2 == here % 2)
    assert there % 2 != here % 2
    await drained(stage, other)
    await refused(stage, lambda admin: admin.drain_broker(here), "a drain that leaves a single rack")


@scenario_in(FIVE)
async def a_leader_dies_beside_a_broker_that_is_drained(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(5)
    leader, (next_in_line, last) = stage.partition().leader, stage.followers()
    await drained(stage, next_in_line)
    stage.world.kill(leader)
    await stage.until(lambda: stage.partition().leader not in (leader, NO_NODE), "another leads")
    assert stage.partition().leader == last, "a broker that is drained leads, and another could"


@scenario_in(FIVE)
async def a_preferred_leader_is_drained(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(5)
    preferred, second = stage.partition().assigned_replicas[:2]
    await drained(stage, preferred)
    await stage.asks(lambda admin: admin.elect_leaders({"t": [0]}))
    await stage.until(lambda: stage.partition().leader == second, "the next in line leads")
    await stage.asks(lambda admin: admin.drain_broker(preferred, cancel=True))
    await stage.asks(lambda admin: admin.elect_leaders({"t": [0]}))
    await stage.until(lambda: stage.partition().leader == preferred, "it leads again")


@scenario_in(FIVE)
async def a_rebalance_is_planned_while_a_broker_is_drained(stage: Stage) -> None:
    await drained(stage, 4)
    await stage.asks(lambda admin: admin.create_topic("t", partitions=8, replication_factor=2))
    await stage.passes(1)
    assert NodeId(4) not in holders(stage.topics()[0])
    plan = await stage.asks(lambda admin: rebalance_plan.plan_rebalance(admin, RebalanceTerms()))
    assert [broker.node_id for broker in plan.brokers] == [1, 2, 3, 5], f"a rebalance counts on it: {plan}"
