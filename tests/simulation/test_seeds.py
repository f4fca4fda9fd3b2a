"""Whole clusters under faults, each from a seed: nothing acknowledged is lost, and afterwards everything recovers."""

from __future__ import annotations

import pytest

from dohle.testing.simulation import simulate


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_seed_under_faults_keeps_every_promise(seed: int) -> None:
    outcome = simulate(seed, storm_s=20.0)
    assert not outcome.violations, "\n".join((*outcome.timeline, *outcome.violations))
    assert outcome.acknowledged > 50


# Each found a bug once; the line says which.
KEPT = [
    pytest.param(12, id="a broker that had just started told clients that there are no topics"),
    pytest.param(10030, id="a batch in flight was written before an earlier one that the leader had refused"),
]


@pytest.mark.parametrize("seed", KEPT)
def test_a_seed_that_found_a_bug_finds_none_any_more(seed: int) -> None:
    outcome = simulate(seed)
    assert not outcome.violations, "\n".join((*outcome.timeline, *outcome.violations))
