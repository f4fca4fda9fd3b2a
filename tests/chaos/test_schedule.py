"""Schedules: drawn from seeds, kept in files, and refused where they are wrong."""

from __future__ import annotations

import json
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohle.model.errors import ConfigurationError
from dohle.testing.chaos.faults.kinds import SHIPPED
from dohle.testing.chaos.schedule import Schedule, draw

KINDS = {kind.name: kind for kind in SHIPPED}
NODES = (1, 2, 3)


def drawn(seed, seconds=300.0, names=tuple(KINDS), swarm=True, nodes=NODES):
    return draw(seed, nodes, {name: KINDS[name] for name in names}, seconds, swarm)


@given(st.integers(0, 10_000), st.sampled_from([NODES, (1, 2, 3, 4, 5)]))
def test_a_drawn_schedule_survives_its_file_and_is_healed_in_time(tmp_path_factory, seed, nodes):
    schedule = drawn(seed, nodes=nodes)
    path = tmp_path_factory.mktemp("drawn") / "schedule.json"
    schedule.save(path)
    assert Schedule.load(path, SHIPPED, nodes) == schedule
    assert all(step.at_s + step.for_s <= schedule.seconds for step in schedule.steps)


@given(st.integers(0, 10_000))
def test_a_seed_draws_the_same_again(seed):
    assert drawn(seed) == drawn(seed)


def test_seeds_draw_kinds_of_their_own():
    assert len({frozenset(step.fault for step in drawn(seed).steps) for seed in range(20)}) > 15


@given(st.integers(0, 10_000))
def test_what_is_named_all_happens(seed):
    names = ("kill", "delay", "reset", "ring")
    assert {step.fault for step in drawn(seed, names=names, swarm=False).steps} == {*names}


@given(st.integers(0, 10_000))
def test_two_at_once_take_no_node_away_twice_and_destroy_nothing(seed):
    steps = drawn(seed).steps
    for one, other in combinations(steps, 2):
        if one.at_s < other.at_s + other.for_s and other.at_s < one.at_s + one.for_s:
            assert not KINDS[one.fault].takes_nodes or not KINDS[other.fault].takes_nodes, (one, other)
            assert not KINDS[one.fault].destroys, (one, other)
            assert not KINDS[other.fault].destroys, (one, other)


def test_too_short_a_time_for_any_fault_is_said():
    with pytest.raises(ConfigurationError, match="in 4 s no fault begins and heals: have it run longer"):
        drawn(1, 4.0)


def written(tmp_path, *steps, **fields):
    path = tmp_path / "schedule.json"
    path.write_text(json.dumps({"format": 1, "seed": 1, "nodes": NODES, "seconds": 60, "steps": steps, **fields}))
    return path


def step(**fields):
    return {"at_s": 1.0, "for_s": 2.0, "fault": "kill", "arguments": {"nodes": [1]}, **fields}


def test_a_file_may_be_written_by_hand(tmp_path):
    schedule = Schedule.load(written(tmp_path, step(at_s=9), step(at_s=2, for_s=3)), SHIPPED, NODES)
    assert [(one.at_s, one.for_s) for one in schedule.steps] == [(2, 3), (9, 2)]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (step(fault="earthquake"), "step 0 (earthquake): there is no fault 'earthquake'; there are: .*kill"),
        (step(arguments={"nodes": [1, 7]}), "step 0 (kill): there is no node 7: the cluster has 3 (1, 2, 3)"),
        (
            step(fault="delay", arguments={"links": [[1, 5]], "delay_s": 0.1, "jitter_s": 0.1}),
            "step 0 (delay): there is no node 5",
        ),
        (step(arguments={}), "its arguments are nodes, and given are none"),
        (step(arguments={"nodes": "1"}), "nodes is '1': expected something like"),
        (step(arguments={"nodes": [True]}), "nodes is"),
        (step(fault="one-way-cut", arguments={"links": [[1, 2, 3]]}), "is no link: expected two nodes"),
        (step(fault="one-way-cut", arguments={"links": [[1, 1]]}), "is no link: expected two nodes"),
        (step(arguments=[1]), "arguments are .1.: expected them by name"),
        (step(at_s=-1), "at_s is -1: expected seconds"),
        (step(for_s="long"), "for_s is 'long': expected seconds"),
        (step(at_s=59), "a step ends 61 s after the begin, and the run after 60 s"),
        (step(when=1), "step 0: expected at_s, for_s, fault and arguments"),
        ("kill", "step 0: expected at_s, for_s, fault and arguments"),
    ],
)
def test_a_step_that_cannot_be_is_refused_and_named(tmp_path, wrong, complaint):
    path = written(tmp_path, wrong)
    with pytest.raises(ConfigurationError) as refused:
        Schedule.load(path, SHIPPED, NODES)
    assert refused.value.message.startswith(f"{path}: ")
    assert refused.match(complaint.replace("(", r"\(").replace(")", r"\)"))


def test_what_is_no_schedule_is_refused(tmp_path):
    path = tmp_path / "schedule.json"
    with pytest.raises(ConfigurationError, match=r"cannot read .*No such file"):
        Schedule.load(path, SHIPPED, NODES)
    for text, complaint in (("{", "no JSON"), ("[]", "no schedule of format 1"), ('{"format": 2}', "format 1")):
        path.write_text(text)
        with pytest.raises(ConfigurationError, match=complaint):
            Schedule.load(path, SHIPPED, NODES)
    with pytest.raises(ConfigurationError, match="seed is 'x'"):
        Schedule.load(written(tmp_path, seed="x"), SHIPPED, NODES)
    with pytest.raises(ConfigurationError, match="steps: expected a list"):
        Schedule.load(written(tmp_path, steps=None), SHIPPED, NODES)
