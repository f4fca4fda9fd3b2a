"""Plans as text: what is written is read again, and what cannot be read is explained."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dohle.model.errors import ConfigurationError
from dohle.testing.campaigns.json_values import to_json
from dohle.testing.campaigns.plan import Plan
from dohle.testing.campaigns.plan_file import KeptRun, kept_text, plan_text, read_kept, read_run, run_text
from dohle.testing.campaigns.simulation import RunOutcome
from dohle.testing.faults.faults import KINDS


def outcome_of(plan: Plan, *violations: str) -> RunOutcome:
    return RunOutcome(
        seed=plan.seed,
        plan=plan,
        violations=violations,
        trace_hash="abc",
        simulated_s=61.5,
        events=9,
        acknowledged=600,
        sent=700,
        faults={"kill": 5},
        rare={},
        timeline=('0.0  node1.1 starts, "faults": []',),
    )


def text_with(**changes: object) -> str:
    """A plan file in which something is changed; `fault`: in its first fault."""
    parts = json.loads(run_text(outcome_of(Plan.drawn(1))))
    parts["plan"]["faults"][0].update(changes.pop("fault", {}))
    parts["plan"].update(changes.pop("plan", {}))
    return json.dumps({**parts, **changes})


@pytest.mark.parametrize("seed", range(40))
def test_a_plan_is_the_same_after_it_was_text(seed: int) -> None:
    plan = Plan.drawn(seed)
    saved = read_run(run_text(outcome_of(plan, "t-0: gone")), "f")
    assert saved.plan == plan
    assert (saved.trace_hash, saved.violations) == ("abc", ("t-0: gone",))


def test_a_plan_from_before_a_field_was_added_is_what_it_was() -> None:
    parts = json.loads(text_with(plan={"mix": to_json(replace(Plan.drawn(1).mix, remakes_a_topic=True))}))
    assert read_run(json.dumps(parts), "f").plan.mix.remakes_a_topic
    del parts["plan"]["mix"]["remakes_a_topic"]
    assert not read_run(json.dumps(parts), "f").plan.mix.remakes_a_topic


def test_a_plan_without_faults_is_the_same_after_it_was_text() -> None:
    plan = replace(Plan.drawn(1), faults=())
    assert read_run(run_text(outcome_of(plan)), "f").plan == plan


def test_a_plan_from_before_there_was_an_operator_has_none() -> None:
    parts = json.loads(run_text(outcome_of(Plan.drawn(1))))
    del parts["plan"]["mix"]["operating_every_s"]
    assert read_run(json.dumps(parts), "f").plan.mix.operating_every_s == 0


def test_each_fault_has_a_line_of_its_own() -> None:
    plan = Plan.drawn(1)
    assert len(plan_text(plan).splitlines()) == len(plan.faults) + 1


def test_kept_runs_are_the_same_after_they_were_text() -> None:
    runs = [KeptRun(f"run {seed}", 'an "old" bug, é', Plan.drawn(seed)) for seed in range(3)]
    assert read_kept("version = 1\n" + "\n".join(map(kept_text, runs)), "f") == {run.name: run for run in runs}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nothing", "f is no plan file: Expecting value"),
        ("[]", "f is no plan file: `dohle sim run`"),
        ('{"format": "other"}', "f is no plan file: `dohle sim run`"),
        (text_with(version=7), "f is of version 7, and this Dohle reads version 1"),
        (text_with(plan={"storm_s": "long"}), "f: plan.storm_s: 'long' is not a number"),
        (text_with(plan={"wind": 1}), "f: plan: there is no 'wind'; there is seed, topology, mix, storm_s, faults"),
        (text_with(plan={"mix": {}}), "f: plan.mix: .*writers.* is missing"),
        (text_with(fault={"node_id": 77}), r"f: plan.faults\[0\]: there is no node 77; there are 1, 2, 3"),
        (text_with(fault={"at_s": True}), r"f: plan.faults\[0\].at_s: True is not a number"),
    ],
)
def test_what_cannot_be_read_is_explained(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        read_run(text, "f")


def test_an_unknown_fault_is_answered_with_all_that_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"f: plan.faults\[0\]: there is no fault 'earthquake'") as error:
        read_run(text_with(fault={"kind": "earthquake"}), "f")
    assert all(name in error.value.message for name in KINDS)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("version =", "f is no file of kept runs"),
        ("version = 2", "f is of version 2"),
        ("version = 1\n[[run]]\nname = 'a'\nfound = 'b'", "f: run: plan is missing"),
        ("version = 1\n[[run]]\nname = 'a'\nfound = 'b'\nplan = '{'", "f: the plan of 'a' is no JSON"),
        ("version = 1\n" + 2 * kept_text(KeptRun("a", "b", Plan.drawn(1))), "f: two runs are called 'a'"),
    ],
)
def test_kept_runs_that_cannot_be_read_are_explained(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        read_kept(text, "f")
