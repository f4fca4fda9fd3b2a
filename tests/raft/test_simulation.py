"""Random worlds: whatever fails in whatever order, nothing committed is lost, and a healed quorum goes on."""

from __future__ import annotations

import random

import pytest

from dohle.raft.config import RaftConfig
from dohle.raft.quorum import ReplicaKey, VoterSet
from tests.raft.world import FAIR, SimulatedNode, Weather, World


class Nemesis:
    """Breaks things at random: crashes, one-way cuts, stalls, restarts, transfers, true and false proofs of a death."""

    def __init__(self, world: World, pause_s: tuple[float, float]) -> None:
        self.world = world
        self.rng = world.rng
        self.pause_s = pause_s
        self.snapshots = self.rng.choice([0, 0.02, 0.2])
        self.is_active = True
        self.strike()
        self.work()

    def strike(self) -> None:
        if not self.is_active:
            return
        world, rng = self.world, self.rng
        match rng.randrange(13):
            case 0:
                self.crash(rng.choice(world.keys))
            case 1 | 2:
                for leader in world.leaders():
                    self.crash(leader.key)
            case 3:
                for key in world.keys:
                    self.crash(key)
            case 4 | 5:
                source, target = rng.sample(world.keys, 2) if len(world.keys) > 1 else world.keys * 2
                world.cut.add((source, target))
                if rng.random() < 0.5:
                    world.cut.add((target, source))
                world.after(rng.uniform(0.1, 4), world.cut.clear)
            case 6:
                node = world.nodes[rng.choice(world.keys)]
                node.frozen_until = world.now + rng.choice([0.25, rng.uniform(0, 3)])
            case 7:
                for leader in world.leaders():
                    world.report_leader_gone(leader.key, leader.term)
            case 8:
                for leader in world.leaders():
                    world.transfer(leader)
            case 9 | 10:
                for leader in world.leaders():
                    self.change_voters(leader)
            case _:
                leaders = [leader.key for leader in world.leaders()]
                isolated = rng.choice(leaders or world.keys)
                world.cut |= {pair for a in world.keys for pair in ((a, isolated), (isolated, a))}
                world.after(rng.uniform(0.1, 4), world.cut.clear)
        world.after(rng.uniform(*self.pause_s), self.strike)

    def change_voters(self, leader: SimulatedNode) -> None:
        """Adds one who is not far behind, or removes one, perhaps the leader."""
        world, raft = self.world, leader.raft
        assert raft is not None
        key = self.rng.choice(world.keys)
        if raft.is_leader and raft.may_change_voters and not raft.is_transferring:
            voters = set(raft.voters.voters)
            progress = raft.progress.get(key)
            if key not in voters and progress and progress.match_offset + 20 >= raft.log.log_end_offset:
                world.change_voters(leader, VoterSet.of(voters | {key}))
            elif key in voters and len(voters) > 1:
                world.change_voters(leader, VoterSet.of(voters - {key}))

    def crash(self, key: ReplicaKey) -> None:
        world = self.world
        node = world.nodes[key]
        was_leader = node.raft is not None and node.raft.is_leader
        world.crash(key)
        if was_leader and self.rng.random() < 0.7:
            world.report_leader_gone(key, node.term)
        world.after(self.rng.choice([0.001, self.rng.uniform(0, 2)]), lambda: world.restart(key))

    def work(self) -> None:
        """Proposals and reads by whoever believes that it leads."""
        if not self.is_active:
            return
        for node in self.world.leaders():
            if self.world.now >= node.frozen_until:
                teach(self.world, node)
                if self.rng.random() < 0.8:
                    for _ in range(self.rng.choice([1, 1, 1, 6])):
                        if node.raft is not None and node.raft.is_leader and not node.raft.is_transferring:
                            self.world.propose(node, self.rng.randint(1, 3))
                else:
                    self.world.read(node)
        for node in self.world.nodes.values():
            if node.raft is not None and self.world.now >= node.frozen_until and self.rng.random() < self.snapshots:
                self.world.snapshot(node)
        self.world.after(self.rng.expovariate(30), self.work)


def run_world(seed: int, duration_s: float) -> World:
    """One world: `duration_s` of bad weather, then fair, then it has to work."""
    draw = random.Random(seed)
    weather = Weather(
        loss=draw.choice([0, 0.02, 0.2]),
        duplicates=draw.choice([0, 0.1]),
        delay_s=draw.choice([(0.0002, 0.002), (0.0002, 0.002), (0.0002, 0.05), (0.001, 0.3)]),
        fsync_s=draw.choice([(0.0005, 0.01), (0.001, 0.1), (0.01, 1.0)]),
        aimed_crashes=draw.choice([0, 0.005, 0.02]),
    )
    faster = draw.choice([1, 4])
    config = RaftConfig(
        heartbeat_interval_ms=50 // faster,
        election_timeout_min_ms=1000 // faster,
        election_timeout_max_ms=1500 // faster,
        leaderless_delay_min_ms=50 // faster,
        leaderless_delay_max_ms=250 // faster,
        max_append_bytes=draw.choice([16, 64, 1 << 20]),
        max_in_flight_appends=draw.choice([1, 2, 4]),
        max_waiting_reads=4,
    )
    joiners = draw.choice([0, 0, 1, 2])
    world = World(seed, draw.choice([1, 3, 3, 3, 5]), config, weather, joiners=joiners)
    world.start_all()
    nemesis = Nemesis(world, draw.choice([(0.05, 0.5), (0.2, 2.0), (1.0, 4.0)]))
    end = duration_s
    while world.now < end:
        world.run_until(world.now + 0.5)
        world.check_durable_majority()
    nemesis.is_active = False
    heal(world)
    return world


def heal(world: World) -> None:
    """Everything works again: within ten seconds there is one leader, and a new batch is committed everywhere."""
    world.weather = FAIR
    world.run_until(world.now + 5)  # late messages, delayed restarts and healing of the bad times
    world.cut.clear()
    world.start_all()
    deadline = world.now + 10
    assert world.run_until(deadline, lambda: any(takes_proposals(node) for node in world.leaders())), "nobody leads"
    leader = next(node for node in world.leaders() if takes_proposals(node))
    teach(world, leader)
    world.propose(leader)
    end = leader.raft.log.log_end_offset
    assert world.run_until(deadline, lambda: all(n.committed >= end for n in world.nodes.values())), (
        "the last batch was not committed everywhere"
    )
    chains = {node.log[-1].chain for node in world.nodes.values()}
    assert len(chains) == 1, "the logs differ"
    world.check_durable_majority()


def teach(world: World, leader: SimulatedNode) -> None:
    """Whoever is no voter is sent the log as well."""
    for key in world.keys:
        if leader.raft is not None and key not in leader.raft.voters:
            world.carry_out(leader, leader.raft.add_learner(world.now, key))


def takes_proposals(node: SimulatedNode) -> bool:
    return node.ready and node.raft is not None and not node.raft.is_transferring


@pytest.mark.parametrize("seed", range(40))
def test_nothing_committed_is_lost_and_a_healed_quorum_goes_on(seed: int) -> None:
    run_world(seed, duration_s=15)


def test_the_worlds_are_bad_enough() -> None:
    """A quiet simulation proves nothing: each of these happens in a few seeds."""
    counts: dict[str, int] = {}
    for seed in range(1000, 1015):
        for what, count in run_world(seed, duration_s=20).counts.items():
            counts[what] = counts.get(what, 0) + count
    seldom = ("truncate", "crash", "leader ready", "read", "commit", "snapshot", "snapshot installed", "voters changed")
    for what in (*seldom, "AppendRejected", "AppendAccepted", "SnapshotOffer", "TimeoutNow"):
        assert counts.get(what, 0) >= 5, (what, counts)


def test_the_same_seed_is_the_same_run() -> None:
    one, two = run_world(7, duration_s=3), run_world(7, duration_s=3)
    assert one.event_count == two.event_count
    assert one.counts == two.counts
    assert [batch.payload for batch in one.committed] == [batch.payload for batch in two.committed]
