"""Plans: all that a seed decides beforehand, and nothing that is taken out shifts the rest."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from dohle.model.errors import ConfigurationError
from dohle.testing.campaigns.plan import Plan, PlannedFault
from dohle.testing.faults.faults import KINDS


def test_a_seed_draws_one_plan() -> None:
    assert Plan.drawn(7) == Plan.drawn(7) != Plan.drawn(8)


def test_every_plan_has_five_faults_at_least_in_their_order_within_the_storm() -> None:
    for seed in range(200):
        plan = Plan.drawn(seed, storm_s=20.0)
        times = [fault.at_s for fault in plan.faults]
        assert 5 <= len(times) <= 25
        assert times == sorted(times)
        assert times[-1] < 20.0
        for fault in plan.faults:
            assert fault.node_id in KINDS[fault.kind].targets(plan.topology)


def test_every_kind_is_drawn_within_300_seeds() -> None:
    drawn = {fault.kind for seed in range(300) for fault in Plan.drawn(seed).faults}
    assert drawn == set(KINDS)
    assert len(drawn) >= 20


def test_what_is_compacted_is_forked_and_what_rots_too() -> None:
    forking = [plan for plan in map(Plan.drawn, range(300)) if plan.mix.forking_every_s]
    rot = [any("rot" in fault.kind for fault in plan.faults) for plan in forking]
    compacted = [plan.mix.forks_compacted for plan in forking]
    assert {(True, True), (True, False), (False, True), (False, False)} == set(zip(rot, compacted, strict=True))


def test_what_is_taken_out_leaves_the_rest_as_it_was() -> None:
    plan = Plan.drawn(1)
    smaller = plan.without([0, 2])
    assert smaller.faults == (plan.faults[1], *plan.faults[3:])
    assert (smaller.seed, smaller.topology, smaller.mix) == (plan.seed, plan.topology, plan.mix)
    fewer = plan.with_writers(1)
    assert fewer.mix.writers == 1
    assert fewer.faults == plan.faults


@pytest.mark.parametrize("storm_s", [0.0, -1.0, math.inf, math.nan, 1e9])
def test_a_storm_has_a_length_and_an_end(storm_s: float) -> None:
    with pytest.raises(ConfigurationError, match="give more than 0, and at most 86400"):
        Plan.drawn(1, storm_s=storm_s)
    with pytest.raises(ConfigurationError, match="give more than 0, and at most 86400"):
        replace(Plan.drawn(1), storm_s=storm_s)


@pytest.mark.parametrize("seconds", [-1.0, math.inf, math.nan])
def test_a_fault_has_a_time_and_an_end(seconds: float) -> None:
    fault = PlannedFault(1.0, "kill", 1, 1.0, 0)
    with pytest.raises(ConfigurationError, match=r"at_s is .*: a time is from 0 to 86400 seconds"):
        replace(fault, at_s=seconds)
    with pytest.raises(ConfigurationError, match=r"duration_s is .*: a time is from 0 to 86400 seconds"):
        replace(fault, duration_s=seconds)


def test_an_unknown_fault_is_refused_with_the_list_of_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"no fault 'earthquake'; there are: .*bit rot.*, kill, .*power loss"):
        PlannedFault(1.0, "earthquake", 1, 1.0, 0)
