"""Scenarios of registration and fencing: who takes a broker's place, who is given up, who is not, and who returns."""

from __future__ import annotations

from unittest.mock import patch

from dohle.controller import failure_detector
from dohle.model.errors import DuplicateBrokerRegistration, StaleBrokerEpoch
from dohle.model.ids import NO_NODE
from dohle.rpc.v1.controller_pb2 import AllocateProducerIdsRequest, RegisterBrokerRequest
from dohle.testing.world.topology import NodePlan, Topology
from tests.simulation.mutations.replication_scenarios import APART
from tests.simulation.mutations.stage import Stage, quorum_of, scenario, scenario_in
from tests.simulation.mutations.wire import arrive, send


async def _registration(stage: Stage, node_id: int, incarnation: int) -> RegisterBrokerRequest:
    """Another process of the same node, with the same folder, wants to register."""
    request = await stage.broker(node_id)._registration()
    request.hello.incarnation_id = bytes([incarnation]) * 16
    return request


@scenario_in(APART)
async def a_second_process_has_a_living_ones_id(stage: Stage) -> None:
    node_id = stage.others(stage.controller())[0]
    (answer,) = await arrive(stage, "RegisterBroker", await _registration(stage, node_id, 1))
    assert isinstance(answer, DuplicateBrokerRegistration), f"registered in a living one's place: {answer}"


@scenario_in(APART)
async def two_processes_want_a_dead_ones_place(stage: Stage) -> None:
    """Each has had the dead one probed."""
    node_id = stage.others(stage.controller())[0]
    requests = [await _registration(stage, node_id, incarnation) for incarnation in (1, 2)]
    stage.world.kill(node_id)
    answers = await arrive(stage, "RegisterBroker", *requests)
    refused = [answer for answer in answers if isinstance(answer, DuplicateBrokerRegistration)]
    assert len(refused) == 1, f"one was to take the dead one's place: {answers}"


@scenario_in(Topology(tuple(NodePlan(number, number <= 3, number > 3) for number in range(1, 7)), 3, 2))
async def a_registration_is_lost_with_its_controller(stage: Stage) -> None:
    """Whoever asks that controller meanwhile must not be told that the last incarnation's time is over."""
    controller, node_id = stage.controller(), 4
    epoch = stage.broker(node_id).membership.broker_epoch
    request = await _registration(stage, node_id, 1)
    stage.world.kill(node_id)
    await stage.until(lambda: not stage.is_active(node_id), "it is fenced")
    stage.cut(controller, *(other for other in (1, 2, 3) if other != controller))
    part = stage.node(controller).controller
    assert part is not None
    send(stage, "RegisterBroker", request)
    await stage.until(
        lambda: part.controller.pending is not part.controller.committed, "the registration is decided", 1
    )
    allocation = AllocateProducerIdsRequest(broker_id=node_id, broker_epoch=epoch)
    (answer,) = await arrive(stage, "AllocateProducerIds", allocation)
    assert not isinstance(answer, StaleBrokerEpoch), "told of a registration that never was"


async def _everybody_stays(stage: Stage, for_s: float) -> None:
    for _ in range(round(for_s / 0.0005)):  # a broker that is fenced and lives is unfenced in a moment
        await stage.passes(0.0005)
        for node_id in stage.world.topology.brokers:
            assert stage.is_active(node_id), f"node {node_id} is fenced, and lives"


@scenario_in(APART)
async def connections_are_reset(stage: Stage) -> None:
    for node_id in stage.world.topology.brokers:
        stage.world.reset_connections(node_id)
    await _everybody_stays(stage, 2)


@scenario_in(APART)
async def a_broker_is_silent_for_a_moment(stage: Stage) -> None:
    """Its connections break, and nothing can be learnt of it, for less than a session."""
    controller = stage.controller()
    broker = stage.others(controller)[0]
    stage.cut(controller, broker)
    stage.world.reset_connections(broker)
    stage.world.reset_connections(controller)
    await _everybody_stays(stage, 2)


@scenario_in(APART)
async def the_controllers_machine_sleeps_for_longer_than_a_session(stage: Stage) -> None:
    """And its network with it: no heartbeat waits for it when it wakes."""
    controller = stage.controller()
    stage.cut(controller, *stage.others(controller))
    stage.world.pause(controller)
    await stage.passes(5)
    stage.world.resume(controller)
    await stage.passes(0.1)
    stage.mend(controller, *stage.others(controller))
    await _everybody_stays(stage, 2)


@scenario_in(APART)
async def a_leader_loses_its_power(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    leader = stage.partition().leader
    stage.world.lose_power(leader)
    await stage.until(lambda: stage.partition().leader not in (leader, NO_NODE), "another leads", 8)


@scenario_in(Topology.combined(5, replication_factor=3))
async def the_controller_and_a_leader_die_together(stage: Stage) -> None:
    """The next controller has no stream of the leader's that could break."""
    await stage.make_topic()
    await stage.written(1)
    leader = stage.partition().leader
    for node_id in {stage.controller(): None, leader: None}:
        stage.world.kill(node_id)
    await stage.until(lambda: stage.partition().leader not in (leader, NO_NODE), "another leads", 2.5)


@scenario_in(Topology.combined(5, replication_factor=3))
async def a_controller_dies_while_it_fences_a_broker_of_many_partitions(stage: Stage) -> None:
    """Many for what one batch may change."""
    with patch.object(failure_detector, "MOST_CHANGES", 1):
        await stage.asks(lambda admin: admin.create_topic("t", partitions=15, replication_factor=3))
        controller = stage.controller()
        victim = stage.others(controller)[0]

        def led_by_victim() -> int:
            return sum(partition.leader == victim for partition in stage.topics()[0].partitions)

        led = led_by_victim()
        stage.world.kill(victim)
        await stage.at_once(lambda: led_by_victim() < led, "it has lost the first one")
        assert stage.is_active(victim), "fenced before its partitions have other leaders"
        stage.world.kill(controller)
        await stage.until(lambda: not stage.is_active(victim), "the next controller has fenced it", 5)
        await stage.until(
            lambda: all(one.leader not in (victim, controller, NO_NODE) for one in stage.topics()[0].partitions),
            "others lead all that it led",
            5,
        )


@scenario
async def the_controller_that_leads_a_partition_falls_silent(stage: Stage) -> None:
    """It keeps its connections, so that nothing but silence tells."""
    await stage.make_topic()
    await stage.written(1)
    leader = stage.partition().leader
    if leader != stage.controller():
        stage.hands_over(stage.controller(), quorum_of(stage.node(leader)).key)
        await stage.until(lambda: stage.controller() == leader, "it decides as well")
    await stage.passes(1)
    stage.world.pause(leader)
    await stage.until(lambda: stage.partition().leader not in (leader, NO_NODE), "another leads", 3.5)


@scenario_in(APART)
async def a_living_brokers_door_is_shut_for_a_moment(stage: Stage) -> None:
    """So that it is taken for dead."""
    broker = stage.others(stage.controller())[0]
    name = stage.world.machines[broker].name
    stage.world.links.refuse(name)
    stage.world.reset_connections(broker)
    await stage.until(lambda: not stage.is_active(broker), "it is fenced")
    stage.world.links.accept(name)
    fenced_at = stage.world.scheduler.now
    await stage.until(lambda: stage.is_active(broker), "it is unfenced")
    assert stage.world.scheduler.now - fenced_at >= 1.0, "unfenced before it has shown for a second that it lives"


@scenario_in(APART)
async def a_living_brokers_door_is_shut_for_less_than_three_knocks(stage: Stage) -> None:
    """As of a listener whose queue is full for a moment."""
    broker = stage.others(stage.controller())[0]
    name = stage.world.machines[broker].name
    for _ in range(5):
        stage.world.links.refuse(name)
        stage.world.reset_connections(broker)
        until = stage.world.scheduler.now + 0.02
        while stage.world.scheduler.now < until:
            assert stage.is_active(broker), "it lives, and was fenced"
            await stage.passes(0.002)
        stage.world.links.accept(name)
        await stage.passes(2)
        assert stage.is_active(broker), "it lives, and was fenced"


@scenario
async def nodes_begin_slowly(stage: Stage) -> None:
    """Each has a replica, whose folder it has yet to make what the metadata says."""
    await stage.make_topic()
    for node_id in stage.world.machines:
        stage.world.kill(node_id)
        stage.world.machines[node_id].disk.faults.slowness = 100
        stage.world.start(node_id)
    await stage.world.all_ready()


@scenario_in(APART)
async def the_member_that_has_more_comes_back_later(stage: Stage) -> None:
    """Of a topic that syncs late, whose leader's tail is torn, and whose follower has everything."""
    await stage.make_topic({"flush.messages": "100000", "min.insync.replicas": "2"}, replicas=2)
    await stage.written(50, b"x" * 2000)
    leader, follower = stage.partition().leader, stage.followers()[0]
    stage.world.lose_power(leader)
    stage.world.kill(follower)
    await stage.until(lambda: stage.partition().leader == NO_NODE, "nobody leads")
    stage.world.start(leader)
    await stage.passes(10)
    stage.world.start(follower)
    await stage.until(lambda: stage.partition().leader != NO_NODE, "one leads")
    assert stage.partition().leader == follower, "the one that has less leads"


@scenario_in(APART)
async def the_last_replica_is_gone_and_its_broker_starts_twice(stage: Stage) -> None:
    await stage.make_topic({"min.insync.replicas": "1"}, replicas=1)
    await stage.written(5)
    leader = stage.partition().leader
    machine = stage.world.machines[leader]
    stage.world.kill(leader)
    machine.disk.lose(f"{machine.config.data_dir}/t-0")
    for _ in range(2):
        stage.world.start(leader)
        await stage.until(lambda: stage.is_active(leader), "its broker is unfenced")
        await stage.passes(1)
        assert stage.partition().leader == NO_NODE, "an empty log leads, of which everything is missing"
        stage.world.kill(leader)
        await stage.until(lambda: not stage.is_active(leader), "it is fenced")


@scenario_in(APART)
async def a_broker_is_back_before_its_end_is_noticed(stage: Stage) -> None:
    broker = stage.others(stage.controller())[0]
    stage.world.kill(broker)
    stage.world.start(broker)
    await stage.world.all_ready(within_s=2.5)
