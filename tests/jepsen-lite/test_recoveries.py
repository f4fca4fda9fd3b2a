"""Recoveries of several systems stand side by side."""

from __future__ import annotations

import json

from jepsen_lite.recoveries import main
from tests.chaos.made_run import Fault, Making, make


def test_faults_of_two_systems_stand_side_by_side(tmp_path, capsys):
    for system, faults in {
        "dohle": [Fault(2, 4, "kill", 1)],
        "kafka": [Fault(2, 4, "kill", 1), Fault(8, 1, "delay")],
    }.items():
        run = make(tmp_path / system, Making(12, faults)).run
        run.write_text(json.dumps({**json.loads(run.read_text()), "system": system}))
    assert main([str(tmp_path / "dohle"), str(tmp_path / "kafka")]) == 0
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [row[:3] for row in rows[2:]] == [["delay", "kafka", "1"], ["kill", "dohle", "1"], ["kill", "kafka", "1"]]
    assert rows[3][3:] == rows[4][3:]
    assert rows[3][4].endswith(" s")  # as long as it takes to elect another leader
    assert rows[2][4].endswith(" ms")


def test_what_is_no_run_is_named(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
