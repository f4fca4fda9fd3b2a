"""Whole clusters under faults, each from a seed: nothing acknowledged is lost, and afterwards everything recovers."""

from __future__ import annotations

import pytest

from dohle.testing.campaigns.simulation import simulate


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_seed_under_faults_keeps_every_promise(seed: int) -> None:
    outcome = simulate(seed, storm_s=20.0)
    assert not outcome.violations, "\n".join((*outcome.timeline, *outcome.violations))
    assert outcome.acknowledged > 50


def test_a_seed_is_what_a_seed_has_to_be() -> None:
    outcome = simulate(4)
    assert not outcome.violations, "\n".join((*outcome.timeline, *outcome.violations))
    assert outcome.simulated_s >= 60
    assert outcome.acknowledged >= 500
    assert sum(outcome.faults.values()) >= 5
