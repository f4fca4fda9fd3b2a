"""How soon a quorum elects, and how little it says when idle: fair worlds, measured in virtual time."""

from __future__ import annotations

from dohle.raft.quorum import ReplicaKey
from tests.raft.world import World


def seconds_to_leader(world: World, limit_s: float) -> float:
    begin = world.now
    assert world.run_until(begin + limit_s, lambda: is_led(world)), "nobody was elected"
    return world.now - begin


def is_led(world: World) -> bool:
    """Whether somebody who is not stalled leads and is ready."""
    return any(node.ready and node.frozen_until <= world.now for node in world.leaders())


def leader_key(world: World) -> ReplicaKey:
    return next(node.key for node in world.leaders() if node.ready)


def test_a_new_cluster_elects_in_a_fraction_of_a_second() -> None:
    times = []
    for seed in range(50):
        world = World(seed)
        world.start_all()
        times.append(seconds_to_leader(world, 2.0))
    assert sorted(times)[25] < 0.25
    assert max(times) < 1.0


def test_a_leader_whose_process_is_gone_is_replaced_within_a_quarter_of_a_second() -> None:
    times = []
    for seed in range(50):
        world = World(seed)
        world.start_all()
        seconds_to_leader(world, 2.0)
        world.run_until(world.now + 1)
        gone = leader_key(world)
        term = world.nodes[gone].term
        world.crash(gone)
        world.report_leader_gone(gone, term)
        times.append(seconds_to_leader(world, 2.0))
    assert sorted(times)[25] < 0.25
    assert max(times) < 0.9


def test_a_silent_leader_is_replaced_after_the_election_timeout() -> None:
    for seed in range(20):
        world = World(seed)
        world.start_all()
        seconds_to_leader(world, 2.0)
        world.run_until(world.now + 1)
        silent = leader_key(world)
        world.nodes[silent].frozen_until = world.now + 60
        assert seconds_to_leader(world, 5.0) >= 0.7  # a second after its last heartbeat


def test_a_stall_of_a_quarter_second_and_one_way_loss_elect_nobody() -> None:
    for seed in range(10):
        world = World(seed)
        world.start_all()
        seconds_to_leader(world, 2.0)
        leader = leader_key(world)
        follower = next(key for key in world.keys if key != leader)
        for key in world.keys:
            world.nodes[key].frozen_until = world.now + 0.25
            world.run_until(world.now + 1)
        world.cut.add((leader, follower))  # the follower hears nothing: its PreVotes find no support
        world.run_until(world.now + 10)
        world.cut.clear()
        world.run_until(world.now + 3)
        assert world.counts["leader elected"] == 1


def test_an_idle_quorum_says_no_more_than_its_heartbeats() -> None:
    world = World(1)
    world.start_all()
    seconds_to_leader(world, 2.0)
    world.run_until(world.now + 1)
    before = world.counts["AppendRequest"]
    world.run_until(world.now + 10)
    assert world.counts["AppendRequest"] - before <= 2 * 4 * 10 + 2
