"""`dohle sim`: what it prints and writes, and how it fails. The runs are short."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dohle.cli.main import run
from dohle.cli.sim_files import write_run
from dohle.cli.sim_output import ProgressLine, print_tally, progress_text
from dohle.testing.campaigns.campaign import ENOUGH_SEEDS, Tally
from dohle.testing.campaigns.plan import Plan
from dohle.testing.campaigns.runner import Finished
from dohle.testing.campaigns.simulation import RunOutcome
from dohle.testing.invariants.rare import RARE

SHORT = ["--storm", "1"]


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def finished(plan: Plan, *violations: str) -> Finished:
    outcome = RunOutcome(plan.seed, plan, violations, simulated_s=1.0, acknowledged=1, faults={"kill": 1})
    return Finished(outcome, 1.0, ())


@pytest.fixture
def failing_file():
    """A written run in which a writer cannot begin, faults or not."""
    plan = Plan.drawn(3, storm_s=5.0)
    return write_run("runs", finished(replace(plan, mix=replace(plan.mix, compressions=("brotli",)))))


def test_one_seed_is_one_object_and_replays_to_the_same_trace(capsys):
    assert run(["sim", "run", "--seed", "3", *SHORT, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert {"seed", "trace_hash", "simulated_s", "real_s", "events", "faults", "violations"} <= first.keys()
    assert (first["seed"], first["violations"]) == (3, [])
    assert run(["sim", "replay", "3", *SHORT, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["trace_hash"] == first["trace_hash"]
    assert again["same_trace"] is None
    assert any("node1.1 starts" in line for line in again["timeline"])


def test_a_campaign_says_what_it_adds_up_to(capsys):
    assert run(["sim", "run", "--seeds", "3-4", *SHORT]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("seeds from 3 to 4, 1 worker\n2 seeds in ")
    assert shown.endswith("GOOD: no seed violated anything\n")


def test_fresh_seeds_of_one_text_are_the_same_and_their_range_is_shown(capsys):
    command = ["sim", "run", "--seeds", "1", *SHORT, "--from"]
    ranges = []
    for text in ("one state", "one state", "another"):
        assert run([*command, text]) == 0
        ranges.append(capsys.readouterr().out.partition("\n")[0])
    assert ranges[0] == ranges[1] != ranges[2]


def test_a_failing_run_is_shown_shrunk_and_replayed(capsys, failing_file):
    assert run(["sim", "replay", failing_file]) == 1
    assert "VIOLATED: writer" in capsys.readouterr().out
    assert run(["sim", "shrink", failing_file, "--out", "small"]) == 0
    assert "0 faults, 1 writer, 1 simulated s under faults, 1 violation: small/seed-3-small.json" in (
        capsys.readouterr().out
    )
    assert run(["sim", "replay", "small/seed-3-small.json"]) == 1
    assert "the trace is that of the file" in capsys.readouterr().out


def test_a_trace_that_has_changed_is_said(capsys, tmp_path):
    file = tmp_path / "seed-3.json"
    outcome = replace(finished(Plan.drawn(3, storm_s=1.0)).outcome, trace_hash="abc")
    assert write_run(str(tmp_path), Finished(outcome, 1.0, ())) == str(file)
    assert run(["sim", "replay", str(file)]) == 0
    assert "the trace is NOT that of the file, abc" in capsys.readouterr().out


def test_what_violates_nothing_is_not_shrunk(capsys):
    assert run(["sim", "shrink", "3", *SHORT]) == 1
    assert "dohle: 3 violates nothing: there is nothing to shrink" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "--seeds", "5-2"], "there is no seed in '5-2'"),
        (["run", "--seeds", "many"], "'many' is no range of seeds: write A-B"),
        (["run", "--seeds", "0-99999999999"], "'0-99999999999' is more than 1,000,000,000 seeds"),
        (["replay", "3", "--storm", "nan"], "a storm of nan seconds: give more than 0"),
        (["replay", "none.json"], "neither a seed (a number) nor a file that can be read (No such file"),
        (["replay", "kept.toml#other"], "kept.toml has no run 'other'; there are: none"),
        (["shrink", "binary"], "binary is no plan file: it is no text"),
        (["shrink", "kept.toml"], "kept.toml has no run ''"),
    ],
)
def test_bad_input_is_explained_in_a_line(capsys, tmp_path, arguments, complaint):
    (tmp_path / "kept.toml").write_text("version = 1\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert run(["sim", *arguments]) == 1
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_a_file_that_is_missing_is_answered_with_those_that_there_are(capsys, failing_file):
    assert run(["sim", "replay", "runs/seed-4.json"]) == 1
    assert f"there are: {failing_file}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--seed", "1", "--seeds", "2"],
        ["run", "--seeds", "1-2", "--from", "x"],
        ["run", "--jobs", "0"],
        ["run", "--storm", "inf"],
        ["run", "--seed", "-1"],
        ["replay"],
    ],
)
def test_wrong_usage_is_said(capsys, arguments):
    assert run(["sim", *arguments]) == 2
    assert "Error: " in capsys.readouterr().err


def test_what_never_happened_is_named(capsys):
    tally = Tally(seeds=ENOUGH_SEEDS)
    tally.rare.update(dict.fromkeys(RARE[1:], 1))
    print_tally(tally, 1.0)
    shown = capsys.readouterr().out
    assert f"NEVER in 300 seeds: {RARE[0]}\n" in shown
    assert "GOOD" not in shown


def test_progress_is_a_line_now_and_then_where_no_terminal_is(capsys):
    line = ProgressLine()
    line.show("too soon")
    line.clear()
    assert capsys.readouterr() == ("", "")
    tally = Tally()
    tally.add(finished(Plan.drawn(1), "it fell"))
    assert progress_text(tally, 9, 60.0) == (
        "1 of 9 seeds, 1 failure, 1.0 min, 1 simulated s a second and worker, 1 fault, 1 records acknowledged"
    )
