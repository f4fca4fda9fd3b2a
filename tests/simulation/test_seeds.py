"""Whole clusters under faults, each from a seed: nothing acknowledged is lost, and afterwards everything recovers."""

from __future__ import annotations

import re

import pytest

from dohle.testing.campaigns.plan import Plan
from dohle.testing.campaigns.simulation import Simulation, simulate


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_seed_under_faults_keeps_every_promise(seed: int) -> None:
    outcome = simulate(seed, storm_s=20.0)
    assert not outcome.violations, "\n".join((*outcome.timeline, *outcome.violations))
    assert outcome.acknowledged > 50


def test_an_exception_inside_a_node_is_a_failing_seed(monkeypatch) -> None:
    monkeypatch.setattr("dohle.broker.membership.Membership.register", lambda *_, **__: 1 / 0)
    violations = simulate(1, storm_s=1.0).violations
    assert re.search(r"^node\d\.1: ZeroDivisionError", violations[0])


def test_a_callback_that_fails_is_a_failing_seed() -> None:
    simulation = Simulation(Plan.drawn(1, storm_s=1.0))
    simulation.world.client("broken").loop.call_later(0.5, lambda: 1 / 0)
    assert re.search(r"^broken: .*ZeroDivisionError", simulation.run().violations[0])


def test_a_loop_that_never_rests_is_a_failing_seed(monkeypatch) -> None:
    simulation = Simulation(Plan.drawn(1, storm_s=1.0))
    monkeypatch.setattr(simulation.world.scheduler, "_event_budget", 3_000)
    (violation,) = simulation.run().violations
    assert re.search(r"^3\d{3} events after .* something never rests, at last in \S+\.\n", violation)


def test_a_seed_is_what_a_seed_has_to_be() -> None:
    outcome = simulate(4)
    assert not outcome.violations, "\n".join((*outcome.timeline, *outcome.violations))
    assert outcome.simulated_s >= 60
    assert outcome.acknowledged >= 500
    assert sum(outcome.faults.values()) >= 5
