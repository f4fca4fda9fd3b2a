"""`dohle history check`: what it says of histories, and of files that hold none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dohle.cli.main import run
from dohle.testing.history.history_lines import write_lines
from tests.simulation.telling import Telling


def written(file: Path, told: Telling) -> str:
    file.write_text("".join(f"{line}\n" for line in write_lines(told.history)))
    return str(file)


@pytest.fixture
def sound(tmp_path) -> str:
    told = Telling()
    told.sends("writer", "t-0", "a", 0)
    told.sends("writer", "t-0", "b", 1)
    told.assigns("reader", **{"t-0": 0})
    told.polls("reader", "t-0", (0, "a"), (1, "b"))
    return written(tmp_path / "sound.jsonl", told)


@pytest.fixture
def lossy(tmp_path) -> str:
    """One acknowledged record was skipped, and the last was not read."""
    told = Telling()
    for offset, value in enumerate("abc"):
        told.sends("writer", "t-0", value, offset)
    told.assigns("reader", **{"t-0": 1})
    told.polls("reader", "t-0", (1, "b"))
    return written(tmp_path / "lossy.jsonl", told)


def test_a_sound_history_is_good(capsys, sound):
    assert run(["history", "check", sound]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "4 operations of 2 clients, 2 records acknowledged"
    assert shown[-1] == "GOOD: no anomaly"


def test_an_anomaly_is_named_with_the_operations_that_prove_it(capsys, lossy):
    assert run(["history", "check", lossy]) == 1
    shown = capsys.readouterr().out
    assert "lost write: nobody read 'a' from t-0" in shown
    assert "    #0 writer sends 'a' to t-0 at 0: ok, 1.000 to 2.000 s\n" in shown
    assert shown.endswith("WRONG: lost write 1, unseen 1\n")


def test_a_history_without_a_final_read_need_not_show_everything(capsys, lossy):
    assert run(["history", "check", lossy, "--partial"]) == 1
    assert capsys.readouterr().out.endswith("WRONG: lost write 1\n")


def test_scripts_get_one_object(capsys, sound, lossy):
    assert run(["history", "check", sound, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "operations": 4,
        "acknowledged": 2,
        "worst_lag_s": 0.0,
        "consume_counts": {"1": 2},
        "anomalies": [],
        "good": True,
    }
    assert run(["history", "check", lossy, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [anomaly["name"] for anomaly in found["anomalies"]] == ["lost write", "unseen"]
    assert "#0 writer sends 'a' to t-0 at 0: ok, 1.000 to 2.000 s" in found["anomalies"][0]["operations"]
    assert found["good"] is False


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot read history.jsonl: No such file or directory"),
        (b"", "history.jsonl is empty"),
        (b"\xff\xfe", "history.jsonl is no history: it is no text"),
        (b"offset,value\n0,a\n", "history.jsonl: line 1 of the history is no event"),
        (
            b'{"operation": 0, "process": "w", "type": "inv',
            "history.jsonl: the history is cut off in the middle of line 1",
        ),
    ],
)
def test_a_file_without_a_history_is_told_so(capsys, monkeypatch, tmp_path, content, complaint):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("history.jsonl").write_bytes(content)
    assert run(["history", "check", "history.jsonl"]) == 1
    assert capsys.readouterr().err.startswith(f"dohle: {complaint}")


def test_a_value_that_was_sent_twice_cannot_be_judged(capsys, tmp_path):
    told = Telling()
    told.sends("writer", "t-0", "a", 0)
    told.sends("writer", "t-0", "a", 1)
    assert run(["history", "check", written(tmp_path / "twice.jsonl", told)]) == 1
    assert "twice.jsonl cannot be judged: " in capsys.readouterr().err
