"""Each kind of fault does what it says, and a cluster that is right outlives it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from dohle.testing.campaigns.plan import Plan, PlannedFault
from dohle.testing.campaigns.simulation import run_plan
from dohle.testing.faults import link_faults
from dohle.testing.faults.blow import Blow, Fault
from dohle.testing.faults.faults import KINDS
from dohle.testing.world.topology import NodePlan, Topology
from dohle.testing.world.world import World

# one controller is only that, one broker only that, and of either one is expendable
SHAPE = Topology(
    (
        NodePlan(1, True, True),
        NodePlan(2, True, True),
        NodePlan(3, True, False),
        NodePlan(4, False, True),
    ),
    replication_factor=3,
    min_in_sync_replicas=2,
)


WITH_DISKS = replace(SHAPE, nodes=(*SHAPE.nodes[:3], NodePlan(4, False, True, log_dirs=2)))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_fault_takes_effect_and_no_promise_is_broken(kind: str) -> None:
    shape = SHAPE if KINDS[kind].targets(SHAPE) else WITH_DISKS
    node_id = KINDS[kind].targets(shape)[-1]
    faults = (PlannedFault(3.0, kind, node_id, 1.0, 11), PlannedFault(7.0, kind, node_id, 0.5, 12))
    for seed in (1, 2):  # not every mix has every moment
        outcome = run_plan(Plan(3, shape, Plan.drawn(seed).mix, storm_s=16.0, faults=faults, snapshot_bytes=500))
        assert not outcome.violations, "\n".join((*outcome.timeline, *outcome.violations))
        if kind in outcome.faults:
            break
    assert outcome.faults[kind] >= 1
    assert set(outcome.faults) <= {kind, "kill"}  # where the second finds nothing to hit any more


def test_a_living_broker_whose_port_refuses_is_fenced_early_and_comes_back() -> None:
    fault = PlannedFault(2.0, "refused connections", 4, 2.0, 11)
    outcome = run_plan(Plan(3, SHAPE, Plan.drawn(1).mix, storm_s=8.0, faults=(fault,)))
    assert not outcome.violations, "\n".join((*outcome.timeline, *outcome.violations))
    assert outcome.rare["a broker is fenced early"] >= 1
    assert outcome.rare["an early fencing is undone"] >= 1
    assert sum("starts" in line for line in outcome.timeline) == 4  # nobody died for it


@pytest.mark.parametrize("nodes", [3, 4, 5, 6, 7])
def test_in_a_majority_ring_every_node_reaches_a_majority_and_from_four_on_no_two_the_same(nodes: int) -> None:
    reached = _reach(link_faults.majority_ring, nodes)
    assert all(2 * len(others) > nodes for others in reached)
    if nodes > 3:
        assert len({frozenset(others) for others in reached}) == nodes
    else:
        assert sorted(len(others) for others in reached) == [2, 2, 3]


@pytest.mark.parametrize("nodes", [3, 5, 7])
def test_only_the_bridge_reaches_both_halves(nodes: int) -> None:
    reached = _reach(link_faults.bridge, nodes)
    assert max(len(others) for others in reached) == nodes
    assert sum(len(others) == nodes for others in reached) == 1


def _reach(fault: Fault, nodes: int) -> list[set[str]]:
    """Returns whom each node reaches while the fault lasts."""
    world = World(1, Topology.combined(nodes))
    names = [machine.name for machine in world.machines.values()]
    reached: list[set[str]] = []

    async def script() -> None:
        blow = Blow(world, "a cut", 1, 1.0, Random(5), Counter())
        world.director.spawn(fault(blow), "fault")
        await world.clock.sleep(0.5)
        reached.extend({other for other in names if world.links.both_ways(one, other)} for one in names)
        await world.clock.sleep(1.0)
        assert all(world.links.both_ways(one, other) for one in names for other in names)

    world.run(script())
    world.end()
    return reached
