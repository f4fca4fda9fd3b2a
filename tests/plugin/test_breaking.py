"""What `dohle_world` can do to networks, disks and clocks, each as a user's test would use it."""

from __future__ import annotations

import asyncio

import pytest

from dohle import DohleError
from dohle.testing.fixtures.simulated_cluster import SimulatedCluster


@pytest.fixture
async def topic(dohle_world: SimulatedCluster) -> str:
    return await dohle_world.topic("orders", configs={"min.insync.replicas": "2"})


async def send(dohle: SimulatedCluster, topic: str, value: bytes = b"an order") -> float:
    """Returns how long it took."""
    began = asyncio.get_running_loop().time()
    async with dohle.producer() as producer:
        await producer.send_and_wait(topic, value)
    return asyncio.get_running_loop().time() - began


async def values(dohle: SimulatedCluster, topic: str, count: int) -> list[bytes | None]:
    async with dohle.consumer() as consumer:
        await consumer.assign(topic)
        return [(await anext(consumer)).value for _ in range(count)]


async def a_follower(dohle: SimulatedCluster, topic: str) -> int:
    leader = await dohle.leader(topic)
    return next(node for node in dohle.nodes if node != leader)


@pytest.mark.parametrize("way", ["in", "out"])
async def test_a_leader_that_is_cut_off_one_way_is_replaced(dohle_world, topic, way):
    leader = await dohle_world.leader(topic)
    dohle_world.partition(leader, way=way)
    links, name = dohle_world._world.links, f"node{leader}"
    others = [f"node{node}" for node in dohle_world.nodes if node != leader] + [dohle_world._process.machine]
    for other in others:
        assert (links.passes(name, other), links.passes(other, name)) == (way == "in", way == "out")
    assert await dohle_world.leader(topic) != leader
    await send(dohle_world, topic)
    dohle_world.heal()
    await dohle_world.wait_healthy()


async def test_two_nodes_that_are_cut_off_from_each_other_reach_all_others(dohle_world):
    dohle_world.cut(1, 2)
    links = dohle_world._world.links
    assert not links.passes("node1", "node2")
    assert not links.passes("node2", "node1")
    assert links.both_ways("node1", "node3")
    assert dohle_world.serves(1)
    dohle_world.heal()
    dohle_world.cut(1, 2, way="in")
    assert links.passes("node1", "node2")
    assert not links.passes("node2", "node1")


async def test_bad_weather_makes_everything_late_until_it_is_over(dohle_world, topic):
    usually = await send(dohle_world, topic)
    dohle_world.weather(delay_s=0.1, loss=0.1)
    late = await send(dohle_world, topic)
    assert late > usually + 0.5
    dohle_world.heal()
    await dohle_world.wait_healthy()
    assert await send(dohle_world, topic) < late / 2


async def test_throttled_links_pass_so_much_a_second(dohle_world, topic):
    dohle_world.throttle(*dohle_world.nodes, bytes_per_s=20_000)
    assert await send(dohle_world, topic, bytes(100_000)) > 5
    dohle_world.heal()
    assert await send(dohle_world, topic, bytes(100_000)) < 1


async def test_reset_connections_are_made_anew(dohle_world, topic):
    dohle_world.reset_connections(*dohle_world.nodes)
    assert await send(dohle_world, topic) < 5


async def test_a_node_that_refuses_connections_is_taken_for_gone_and_comes_back(dohle_world, topic):
    leader = await dohle_world.leader(topic)
    dohle_world.refuse_connections(leader)
    assert not dohle_world.serves(leader)
    assert await dohle_world.leader(topic) != leader
    await send(dohle_world, topic)
    dohle_world.heal()
    await dohle_world.wait_healthy()


async def test_a_node_that_cannot_write_ends(dohle_world, topic):
    leader = await dohle_world.leader(topic)
    dohle_world.fail_writes(leader)
    await send(dohle_world, topic)
    with pytest.raises(DohleError, match="has ended by itself"):
        dohle_world.pause(leader)
    dohle_world.heal()
    await dohle_world.start(leader)
    await dohle_world.wait_healthy()


async def test_a_replica_that_rots_is_found_at_the_next_start_and_copied_anew(dohle_world, topic):
    for number in range(5):
        await send(dohle_world, topic, b"%d" % number)
    follower = await a_follower(dohle_world, topic)
    dohle_world.kill(follower)
    dohle_world.rot_disk(follower, topic=topic)
    await dohle_world.start(follower)
    await dohle_world.wait_healthy()
    assert await values(dohle_world, topic, 5) == [b"%d" % number for number in range(5)]


async def test_a_leader_that_rots_while_it_runs_is_read_from_another(dohle_world, topic):
    for number in range(5):
        await send(dohle_world, topic, b"%d" % number)
    leader = await dohle_world.leader(topic)
    dohle_world.rot_disk(leader, topic=topic)
    assert await values(dohle_world, topic, 5) == [b"%d" % number for number in range(5)]
    assert await dohle_world.leader(topic) != leader
    await dohle_world.wait_healthy()


async def test_a_lost_file_is_built_or_learnt_again(dohle_world, topic):
    await send(dohle_world, topic)
    for _ in range(3):
        follower = await a_follower(dohle_world, topic)
        dohle_world.kill(follower)
        dohle_world.lose_file(follower)
        await dohle_world.start(follower)
        await dohle_world.wait_healthy()
    assert await values(dohle_world, topic, 1) == [b"an order"]


async def test_a_lost_disk_is_noticed_and_replaced_and_the_records_are_not_lost(dohle_world, topic):
    await send(dohle_world, topic)
    leader = await dohle_world.leader(topic)
    dohle_world.kill(leader)
    dohle_world.lose_disk(leader)
    with pytest.raises(DohleError, match="is not formatted"):
        await dohle_world.start(leader)
    await send(dohle_world, topic, b"another")
    assert await values(dohle_world, topic, 2) == [b"an order", b"another"]
    await dohle_world.replace_disk(leader)
    await dohle_world.wait_healthy()
    others = [node for node in dohle_world.nodes if node != leader]
    dohle_world.kill(others[0])  # so that it has a vote again, and all records
    await send(dohle_world, topic, b"a third")
    assert await values(dohle_world, topic, 3) == [b"an order", b"another", b"a third"]


@pytest.mark.dohle_world(nodes=6, controllers=3, apart=True)
async def test_controllers_and_brokers_apart(dohle_world, topic):
    assert (dohle_world.controllers, dohle_world.brokers) == ((1, 2, 3), (4, 5, 6))
    await send(dohle_world, topic)
    leader = await dohle_world.leader(topic)
    assert leader in dohle_world.brokers
    await dohle_world.wait_healthy()
    dohle_world.kill(leader, 1)
    dohle_world.lose_disk(leader)
    await send(dohle_world, topic, b"another")
    await dohle_world.replace_disk(leader)
    await dohle_world.start(1)
    await dohle_world.wait_healthy()
    assert await values(dohle_world, topic, 2) == [b"an order", b"another"]


@pytest.mark.dohle_world(nodes=4, controllers=1)
async def test_a_lost_disk_of_the_only_controller_cannot_be_replaced(dohle_world):
    assert (dohle_world.controllers, dohle_world.brokers) == ((1,), (1, 2, 3, 4))
    dohle_world.kill(1)
    dohle_world.lose_disk(1)
    with pytest.raises(DohleError, match="the only controller"):
        await dohle_world.replace_disk(1)


@pytest.mark.parametrize("reads_only", [True, False])
async def test_a_disk_that_hangs_holds_up_what_needs_it_and_goes_on(dohle_world, topic, reads_only):
    await send(dohle_world, topic)
    dohle_world.hang_disk(*dohle_world.nodes, reads_only=reads_only)
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(send(dohle_world, topic, b"another"))
        await dohle_world.advance(2)
        assert sending.done() == reads_only
        dohle_world.heal()
    assert await values(dohle_world, topic, 2) == [b"an order", b"another"]


async def test_a_clock_that_jumps_changes_what_time_it_is_and_nothing_else(dohle_world, topic):
    clock = dohle_world._world.machines[1].process.clock
    before = clock.wall_ms()
    dohle_world.jump_clock(1, seconds=-3600)
    assert clock.wall_ms() == before - 3_600_000
    assert await send(dohle_world, topic) < 1
    await dohle_world.advance(5)
    await dohle_world.wait_healthy(within_s=0)


async def test_a_node_whose_clock_drifts_serves_all_the_same(dohle_world, topic):
    dohle_world.kill(1)
    dohle_world.drift_clock(1, rate=1.25)
    await dohle_world.start(1)
    loop = dohle_world._world.machines[1].process.loop
    began, ours = loop.time(), asyncio.get_running_loop().time()
    await dohle_world.advance(8)
    assert (loop.time() - began) / (asyncio.get_running_loop().time() - ours) == pytest.approx(1.25)
    await dohle_world.wait_healthy()
    await send(dohle_world, topic)


@pytest.mark.parametrize(
    ("what", "complaint"),
    [
        (lambda dohle: dohle.partition(1, way="up"), "there is no way 'up': there are both, in, out"),
        (lambda dohle: dohle.cut(1, 9), "there is no node 9: the nodes are 1, 2, 3"),
        (lambda dohle: dohle.cut(1, 1), "node 1 cannot be cut off from itself"),
        (lambda dohle: dohle.cut(1, 2, way=""), "there is no way '': there are both, in, out"),
        (lambda dohle: dohle.throttle(1, bytes_per_s=0), "give a rate above 0, or `partition`"),
        (lambda dohle: dohle.throttle(7, bytes_per_s=1), "there is no node 7: the nodes are 1, 2, 3"),
        (lambda dohle: dohle.weather(loss=1), "give a share from 0 to below 1"),
        (lambda dohle: dohle.weather(delay_s=float("nan")), "give more than 0 and at most 60"),
        (lambda dohle: dohle.slow_disk(1, factor=float("nan")), "give a factor above 0"),
        (lambda dohle: dohle.rot_disk(1, topic="t"), "node 1 has no replica of t-0; nor has any other"),
        (lambda dohle: dohle.lose_disk(1), "node 1 runs: kill it first"),
        (lambda dohle: dohle.drift_clock(1, rate=9), "give a rate from 0.5 to 2"),
        (lambda dohle: dohle.jump_clock(seconds=1), "name the node, or several: the nodes are 1, 2, 3"),
    ],
)
def test_bad_input_is_told_what_there_is(dohle_world, what, complaint):
    with pytest.raises(DohleError) as error:
        what(dohle_world)
    assert complaint in error.value.message


def test_an_empty_replica_cannot_rot(dohle_world):
    topic = dohle_world.run(dohle_world.topic("orders"))
    leader = dohle_world.run(dohle_world.leader(topic))
    with pytest.raises(DohleError, match=f"node {leader} has no record of orders-1-0 yet that could rot"):
        dohle_world.rot_disk(leader, topic=topic)
