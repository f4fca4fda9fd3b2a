"""Scenarios of a cluster that is rebalanced while it is not as it should be."""

from __future__ import annotations

from dohle import Admin
from dohle.client import rebalance_plan
from dohle.client.rebalance import RebalanceTerms
from dohle.client.rebalance_plan import PlannedMove, RebalancePlan
from dohle.model.ids import TopicPartition
from tests.simulation.mutations.reassignment_scenarios import FIVE, spares, to
from tests.simulation.mutations.stage import Stage, scenario_in


async def planned(admin: Admin) -> RebalancePlan:
    return await rebalance_plan.plan_rebalance(admin, RebalanceTerms())


@scenario_in(FIVE)
async def a_replica_lags_while_a_plan_is_made(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(10)
    late = stage.followers()[0]
    stage.cut(late, *[node for node in stage.partition().assigned_replicas if node != late])
    await stage.writes(10)
    await stage.until(lambda: late not in stage.partition().in_sync_replicas, "it has left the in-sync set")
    await stage.passes(1)
    plan = await stage.asks(planned)
    assert plan.left == {rebalance_plan.SHORT: 1}, f"a partition that lacks an in-sync replica may be moved: {plan}"


@scenario_in(FIVE)
async def a_partition_is_moved_by_another_after_it_was_shown(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(10)
    shown = stage.partition().assigned_replicas
    first, second = spares(stage)
    move = PlannedMove(TopicPartition("t", 0), shown, (first, *shown[1:]), 0, stage.partition().partition_epoch)
    targets = (second, *shown[1:])
    await stage.asks(to(*targets))
    await stage.until(lambda: stage.partition().assigned_replicas == targets, "the partition has moved")
    await stage.passes(1)

    async def described(admin: Admin) -> list[PlannedMove]:
        partitions = (await admin.describe_topic("t")).partitions
        return rebalance_plan.bound_anew([move], {move.name: partitions[0]})

    assert not await stage.asks(described), "a plan undoes what another has done since it was shown"
