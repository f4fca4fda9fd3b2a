"""Histories are written as lines of JSON and read back; lines that tell none are refused by their number."""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dohle.model.errors import InvalidRequest
from dohle.testing.history.checker import judge
from dohle.testing.history.history_lines import read_lines, write_lines
from dohle.testing.history.operations import Assign, Delete, Ends, Outcome, Poll, Send, Subscribe
from tests.simulation.model_log import ModelClients
from tests.simulation.telling import Telling

INVOKE = '{"operation": 7, "process": "w", "type": "invoke", "time": 0.5, "value": [["send", "x", "a"]]}'
OK = '{"operation": 7, "process": "w", "type": "ok", "time": 0.7, "value": [["send", "x", [17, "a"]]]}'


@settings(max_examples=50)
@given(st.integers(0, 2**32))
def test_a_history_that_is_written_and_read_is_the_same(seed):
    written = ModelClients(Random(seed)).history
    assert read_lines(write_lines(written)).operations == written.operations


def test_every_micro_operation_has_its_line():
    told = Telling()
    told.end(told.begin("w", Send("x", "a")), Send("x", "a", 17))
    told.does("w", Send("x", "b"), outcome=Outcome.INFO, why="timed out")
    told.does("r", Assign({"x": 3, "y": None}))
    told.does("r", Subscribe(("t", "u")))
    told.end(told.begin("r", Poll()), Poll({"x": [(17, "a")]}), rebalanced=("x",))
    told.end(told.begin("r", Ends()), Ends({"x": 18}))
    told.does("o", Delete({"x": 17}))
    told.begin("r", Poll())
    events = [json.loads(line) for line in write_lines(told.history)]
    assert [event["type"] for event in events] == [*["invoke", "ok", "invoke", "info"], *["invoke", "ok"] * 5, "invoke"]
    assert [event["time"] for event in events] == [float(second) for second in range(1, 16)]
    values = [event["value"][0] if "value" in event else None for event in events]
    assert values[:4] == [["send", "x", "a"], ["send", "x", [17, "a"]], ["send", "x", "b"], None]
    assert values[4::2] == [
        ["assign", {"x": 3, "y": None}],
        ["subscribe", ["t", "u"]],
        ["poll", {}],
        ["ends", {}],
        ["delete", {"x": 17}],
        ["poll", {}],
    ]
    assert values[9] == ["poll", {"x": [[17, "a"]]}]
    assert values[11] == ["ends", {"x": 18}]
    assert (events[9]["rebalanced"], events[3]["why"]) == (["x"], "timed out")


def test_an_operation_whose_completion_is_missing_is_open():
    (operation,) = read_lines([INVOKE]).operations
    assert (operation.outcome, operation.completed) == (Outcome.INFO, None)


def test_a_number_may_be_used_again_once_its_operation_is_over():
    other = (INVOKE + "\n" + OK).replace('"a"', '"b"').split("\n")
    assert [str(op.micro[0].value) for op in read_lines([INVOKE, OK, *other]).operations] == ["a", "b"]


def test_a_history_that_is_cut_off_in_its_last_line_is_told_so():
    with pytest.raises(InvalidRequest, match=r"cut off in the middle of line 2, its last.*take that line away"):
        read_lines([INVOKE + "\n", OK[:-20]])


@pytest.mark.parametrize(
    "line",
    [
        INVOKE[:-9] + "\n",
        "[]",
        INVOKE,
        OK.replace("7,", "8,", 1),
        OK.replace('"ok"', '"done"'),
        OK.replace("0.7", '"soon"'),
        OK.replace('"send"', '"push"'),
        OK.replace("17", "true"),
        OK.replace('["send", "x", [17, "a"]]', '["poll", {"x": [["17", "a"]]}]'),
        OK.replace('["send", "x", [17, "a"]]', '["poll", {"x": [[17, "a", 1]]}]'),
        OK.replace('["send", "x", [17, "a"]]', '["assign", {"x": "0"}]'),
        OK.replace('["send", "x", [17, "a"]]', '["subscribe", "t"]'),
        OK.replace('["send", "x", [17, "a"]]', '["ends", {"x": -1}]'),
    ],
)
def test_a_line_that_is_no_event_is_refused_by_its_number(line):
    with pytest.raises(InvalidRequest, match="line 2 of the history"):
        read_lines([INVOKE, line])


def test_the_example_of_the_page_is_a_sound_history() -> None:
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    history = read_lines(example.splitlines(keepends=True))
    assert len(history.operations) == 4
    assert judge(history.operations).anomalies == ()
    assert [json.loads(line) for line in write_lines(history)] == [json.loads(line) for line in example.splitlines()]
