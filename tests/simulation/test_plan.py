"""Plans: all that a seed decides beforehand, and nothing that is taken out shifts the rest."""

from __future__ import annotations

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


def test_what_is_taken_out_leaves_the_rest_as_it_was() -> None:
    plan = Plan.drawn(1)
    smaller = plan.without([0, 2])
    assert smaller.faults == (plan.faults[1], *plan.faults[3:])
    assert (smaller.seed, smaller.topology, smaller.mix) == (plan.seed, plan.topology, plan.mix)
    fewer = plan.with_writers(1)
    assert fewer.mix.writers == 1
    assert fewer.faults == plan.faults


def test_an_unknown_fault_is_refused_with_the_list_of_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"no fault 'earthquake'; there are: .*bit rot.*, kill, .*power loss"):
        PlannedFault(1.0, "earthquake", 1, 1.0, 0)
