"""Topologies: what is drawn can be, and what is expendable can really be done without."""

from __future__ import annotations

from random import Random

import pytest

from dohle import Admin, Producer
from dohle.model.errors import ConfigurationError
from dohle.testing.clients.sim_client import seams_of
from dohle.testing.world.topology import NodePlan, Topology
from dohle.testing.world.world import World

APART = Topology(
    (
        *(NodePlan(number, True, False) for number in (1, 2, 3)),
        *(NodePlan(number, False, True) for number in (4, 5, 6)),
    ),
    replication_factor=3,
    min_in_sync_replicas=2,
)


def test_drawing_reaches_every_shape() -> None:
    drawn = [Topology.drawn(Random(seed)) for seed in range(500)]
    assert {len(topology.nodes) for topology in drawn} == {3, 4, 5, 6, 7}
    assert {len(topology.controllers) for topology in drawn} == {1, 3, 5}
    assert {topology.replication_factor for topology in drawn} == {1, 2, 3, 4, 5}
    assert {topology.min_in_sync_replicas for topology in drawn} == {1, 2, 3}
    assert {any(node.is_controller and node.is_broker for node in topology.nodes) for topology in drawn} == {
        True,
        False,
    }
    assert any(node.rack for topology in drawn for node in topology.nodes)


def test_what_is_expendable_leaves_a_majority_of_voters_and_every_partition_its_minimum() -> None:
    some = 0
    for seed in range(500):
        topology = Topology.drawn(Random(seed))
        dead = topology.expendable
        some += bool(dead)
        dead_voters = [node_id for node_id in dead if node_id in topology.controllers]
        dead_brokers = [node_id for node_id in dead if node_id in topology.brokers]
        assert 2 * len(dead_voters) < len(topology.controllers)
        assert topology.replication_factor - len(dead_brokers) >= topology.min_in_sync_replicas
        assert len({*dead_brokers, *topology.frail}) < topology.min_in_sync_replicas
    assert some > 100


def test_a_shape_that_cannot_be_is_refused_with_what_is_wrong() -> None:
    with pytest.raises(ConfigurationError, match="3 brokers, 4 replicas"):
        Topology.combined(3, replication_factor=4)
    with pytest.raises(ConfigurationError, match="needs a controller"):
        Topology((NodePlan(1, False, True),), 1, 1)
    with pytest.raises(ConfigurationError, match="twice"):
        Topology((NodePlan(1, True, True), NodePlan(1, False, True)), 1, 1)


def test_controllers_and_brokers_apart_make_a_cluster_that_takes_writes_while_one_of_each_is_dead() -> None:
    world = World(1, APART)
    written: list[int] = []

    async def write() -> None:
        async with Admin(world.bootstrap, **seams_of(client)) as admin:
            await admin.create_topic("t", partitions=2, replication_factor=3, configs={"min.insync.replicas": "2"})
        async with Producer(world.bootstrap, **seams_of(client)) as producer:
            while True:
                delivery = await producer.send_and_wait("t", b"x")
                written.append(delivery.offset)
                await client.clock.sleep(0.1)

    async def script() -> None:
        await world.format()
        for node_id in world.machines:
            world.start(node_id)
        await world.all_ready()
        client.spawn(write(), "write")
        await world.until(lambda: bool(written), 5, "the first record is written")
        world.kill(1)
        world.kill(4)
        before = len(written)
        await world.clock.sleep(15)
        assert len(written) > before

    client = world.client("client")
    assert world.bootstrap == ["node4:7092", "node5:7092", "node6:7092"]
    world.run(script())
    assert not world.bugs
    world.end()


def test_nodes_that_are_controllers_brokers_or_both_by_their_numbers() -> None:
    mixed, apart = Topology.of(5, 3, apart=False), Topology.of(6, 3, apart=True)
    assert (mixed.controllers, mixed.brokers) == ((1, 2, 3), (1, 2, 3, 4, 5))
    assert (apart.controllers, apart.brokers) == ((1, 2, 3), (4, 5, 6))
    assert (Topology.of(2, 1, apart=True).replication_factor, apart.min_in_sync_replicas) == (1, 2)


@pytest.mark.parametrize(("nodes", "controllers", "apart"), [(3, 0, False), (3, 4, False), (3, 3, True), (0, 0, False)])
def test_a_shape_without_controllers_or_brokers_is_none(nodes: int, controllers: int, apart: bool) -> None:
    with pytest.raises(ConfigurationError, match=f"{controllers} controllers among {nodes} nodes"):
        Topology.of(nodes, controllers, apart=apart)
