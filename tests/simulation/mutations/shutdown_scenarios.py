"""Scenarios of brokers that are stopped cleanly, and lead much for what one step may change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from unittest.mock import patch

from dohle.controller import shutdowns
from dohle.model.ids import NodeId
from dohle.rpc.v1 import admin_pb2
from dohle.testing.world.topology import Topology
from tests.simulation.mutations.stage import Stage, scenario_in
from tests.simulation.mutations.wire import send

MANY = 100
FIVE = Topology.combined(5, replication_factor=3)


class Leaving:
    """A broker that does not decide, has been told to stop, and has lost the first of what it led."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.controller = stage.controller()
        self.node_id = NodeId(stage.others(self.controller)[0])
        self.membership = stage.broker(self.node_id).membership

    @property
    def leads(self) -> int:
        return sum(one.leader == self.node_id for topic in self.stage.topics() for one in topic.partitions)

    async def begins(self) -> None:
        process, led = self.stage.world.machines[self.node_id].process, self.leads
        assert process is not None
        process.stop(lambda: None)
        await self.stage.at_once(lambda: self.leads < led, "another leads the first of what it led")
        assert self.leads, "it is emptied already"

    async def may_stop(self) -> None:
        await self.stage.at_once(self.membership._may_leave.is_set, "it may stop", 4.0)


def step_by_step(script: Callable[[Leaving], Awaitable[None]]) -> Callable[[Stage], Awaitable[None]]:
    """Has the script begin with a broker that is on its way out, and loses one partition at a time."""

    async def whole(stage: Stage) -> None:
        with patch.object(shutdowns, "MOST_CHANGES", 1):
            await stage.asks(lambda admin: admin.create_topic("t", partitions=MANY, replication_factor=3))
            await stage.passes(1)
            leaving = Leaving(stage)
            await leaving.begins()
            await script(leaving)

    whole.__name__ = script.__name__
    return whole


@scenario_in(FIVE)
@step_by_step
async def a_broker_that_leads_much_is_stopped(leaving: Leaving) -> None:
    await leaving.may_stop()
    assert not leaving.leads, f"it may stop, and leads {leaving.leads} partitions that others could lead"


@scenario_in(FIVE)
@step_by_step
async def topics_are_made_while_a_broker_is_emptied(leaving: Leaving) -> None:
    topic = admin_pb2.NewTopic(name="u", partitions=10, replication_factor=3)
    send(leaving.stage, "CreateTopics", admin_pb2.CreateTopicsRequest(topics=[topic]))
    await leaving.stage.at_once(lambda: len(leaving.stage.topics()) == 2, "the topic is made", 1)
    assert leaving.leads, "it was emptied before the topic was made"
    made = next(topic for topic in leaving.stage.topics() if topic.name == "u")
    holders = {node for partition in made.partitions for node in partition.assigned_replicas}
    assert leaving.node_id not in holders, "new replicas are placed on a broker that is about to stop"


@scenario_in(FIVE)
@step_by_step
async def a_controller_dies_while_it_empties_a_broker(leaving: Leaving) -> None:
    leaving.stage.world.kill(leaving.controller)
    await leaving.may_stop()
    assert not leaving.leads, f"the next controller has it stop, and it leads {leaving.leads} partitions"


@scenario_in(Topology.combined(3))
async def a_broker_is_stopped_without_a_majority_of_controllers(stage: Stage) -> None:
    controller = stage.controller()
    node_id, other = stage.others(controller)
    process = stage.world.machines[node_id].process
    assert process is not None
    for gone in (controller, other):
        stage.world.kill(gone)
    await stage.passes(3)
    process.stop(lambda: None)
    await stage.passes(2.5)
    assert process.over, "it waits for a controller that is not there"
