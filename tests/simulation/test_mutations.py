"""Mutations: a simulation notices each rule that is switched off, and nothing where none is."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from dohle.testing.campaigns.simulation import run_plan
from tests.simulation.mutations import page
from tests.simulation.mutations.mutation import Mutation
from tests.simulation.mutations.table import MUTATIONS, kept_runs

KEPT = kept_runs()
TESTS = Path(__file__).resolve().parent.parent
FOUND = [one for one in MUTATIONS if one.scenario is not None or one.name in KEPT]


def violations_under(mutation: Mutation) -> tuple[str, ...]:
    """Returns what the run that finds the mutation violates in the product as it is at the moment."""
    if mutation.scenario is not None:
        return mutation.scenario()
    return run_plan(KEPT[mutation.name].plan).violations


@cache
def _violations_of_scenario(scenario: object) -> tuple[str, ...]:
    assert callable(scenario)
    violations: tuple[str, ...] = scenario()
    return violations


def violations_without(mutation: Mutation) -> tuple[str, ...]:
    """Returns what the same run violates in the sound product; a scenario that finds several runs once."""
    return violations_under(mutation) if mutation.scenario is None else _violations_of_scenario(mutation.scenario)


@pytest.mark.parametrize("mutation", FOUND, ids=lambda mutation: mutation.name)
def test_a_rule_that_is_switched_off_is_noticed(mutation: Mutation) -> None:
    assert not violations_without(mutation), "the product as it is violates something: mend that first"
    with mutation.applied() as activity:
        violations = violations_under(mutation)
    assert violations, f"nobody noticed that {mutation.says!r} does not hold"
    assert activity.times, "the place where the rule stands was never passed"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_fits_the_product_and_leaves_no_trace(mutation: Mutation) -> None:
    def product() -> list[tuple[object, object]]:
        found = [vars(one.owner)[one.name] for one in mutation.edits]
        return [(one, getattr(one, "__code__", None)) for one in found]

    before = product()
    with mutation.applied():
        assert all(now != was for now, was in zip(product(), before, strict=True))
    assert product() == before


def test_the_page_lists_every_mutation_by_its_rule_and_says_what_finds_it() -> None:
    assert page.written() == page.tables(), f"write the page anew: {page.HOW_TO_WRITE}"


def test_a_kept_plan_is_of_a_mutation_that_no_scenario_finds() -> None:
    without = {one.name for one in MUTATIONS if one.scenario is None}
    assert set(KEPT) <= without


def test_every_scenario_and_test_that_the_page_names_is_there() -> None:
    text = page.PAGE.read_text()
    scenarios = {one.scenario.__name__ for one in MUTATIONS if one.scenario is not None}  # type: ignore[attr-defined]
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"scenarios? (`\w+`(?:, `\w+`)*)", text)))
    assert [name for name in named if name not in scenarios] == []
    tests = "".join(path.read_text() for path in (TESTS / "raft").glob("*.py"))
    assert [name for name in re.findall(r"`(test_\w+)`", text) if f"def {name}(" not in tests] == []
    files = re.findall(r"`(tests/[\w/]+(?:\.py)?)`", text)
    assert [path for path in files if not (TESTS.parent / path).exists()] == []
