"""`dohle selftest --chaos`, as users run it: a verdict and a report, and nothing left behind however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from dohle.testing.chaos.schedule import Schedule, Step
from tests.integration.clusters import dohle_command, until

PATIENCE_S = 400.0


def selftest(folder, *arguments):
    return subprocess.run(
        dohle_command("selftest", "--dir", str(folder), *arguments),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def processes_of(folder):
    """Returns the command lines of all processes that name the folder."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(str(folder) in word for word in words[1:]):
            found.append(" ".join(words))
    return found


def only_run_in(folder):
    (run,) = folder.iterdir()
    return run


def test_a_cluster_that_is_broken_loses_nothing(tmp_path):
    schedule = tmp_path / "schedule.json"
    steps = (
        Step(3, 3, "kill", {"nodes": [1]}),
        Step(10, 4, "partition", {"nodes": [2]}),
        Step(18, 1, "reset", {"links": [[1, 2], [2, 1], [2, 3], [3, 2]], "every_s": 0.2}),
        Step(20, 2, "pause", {"nodes": [3]}),
    )
    Schedule(7, (1, 2, 3), 25.0, steps).save(schedule)
    done = selftest(tmp_path / "runs", "--chaos", "--schedule", str(schedule), "--workloads", "append,unique", "--json")
    verdict = json.loads(done.stdout)
    assert verdict["outcome"] == "sound", verdict
    assert done.returncode == 0
    run = only_run_in(tmp_path / "runs")
    assert verdict["folder"] == str(run)
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    effects = {event["fault"]: event["count"] for event in events if event["what"] == "effect"}
    assert all(effects[step.fault] > 0 for step in steps), effects
    assert "append" in (run / "report.html").read_text()
    assert json.loads((run / "run.json").read_text())["verdict"]["outcome"] == "sound"
    assert not (run / "data").exists()
    checked = subprocess.run(
        dohle_command("history", "check", str(run / "history.jsonl")), capture_output=True, text=True, check=False
    )
    assert checked.stdout.endswith("GOOD: no anomaly\n")
    assert not processes_of(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_whoever_ends_it_leaves_no_process(tmp_path, number):
    asked = ("selftest", "--chaos", "--minutes", "5", "--faults", "pause", "--dir", str(tmp_path))
    with subprocess.Popen(dohle_command(*asked), stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout:
            if " pause " in line:
                break
        running.send_signal(number)
        running.stdout.read()
        code = running.wait(PATIENCE_S)
    assert code == (-signal.SIGKILL if number is signal.SIGKILL else 130)
    until(lambda: not processes_of(tmp_path), "all processes have ended", 60)
    if number is not signal.SIGKILL:
        events = (only_run_in(tmp_path) / "events.jsonl").read_text()
        assert events.count('"begin","step"') == events.count('"heal"') == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--chaos", "--faults", "earthquake"], "there is no fault 'earthquake'; there are: bit-rot"),
        (["--chaos", "--faults", "drain"], "drain cannot be made here: it takes 4 nodes, and there are 3"),
        (["--chaos", "--faults", ""], "name a fault, or leave --faults out"),
        (["--workloads", "gossip"], "there is no workload 'gossip'; there are: append:sdk"),
        (["--nodes", "4"], "4 nodes: a run takes 3 or 5"),
        (["--chaos", "--schedule", "nowhere.json"], "cannot read nowhere.json: No such file or directory"),
        (["--chaos", "--minutes", "0.1"], "in 6 s no fault begins and heals: have it run longer"),
        (["--faults", "kill"], "--faults and --schedule are for --chaos"),
        (["--chaos", "--faults", "kill", "--schedule", "x"], "--faults and --schedule exclude each other"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_made(tmp_path, arguments, complaint):
    done = selftest(tmp_path / "runs", "--seed", "1", *arguments)
    assert complaint in done.stderr
    assert done.returncode in (1, 2)
    assert not (tmp_path / "runs").exists()


def test_what_there_is_can_be_listed(tmp_path):
    done = selftest(tmp_path / "runs", "--list")
    assert "isolated-leader kill" in done.stdout
    assert "workloads: append:sdk" in done.stdout
    assert "drain cannot be made here" in done.stdout
    assert not (tmp_path / "runs").exists()
