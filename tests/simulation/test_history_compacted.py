"""The history checker judges compacted logs by what was put there and what scans of them show."""

from __future__ import annotations

import pytest

from dohle.model.errors import InvalidRequest
from dohle.testing.history.history_lines import read_lines, write_lines
from dohle.testing.history.operations import Operation, Outcome, Put, Scan, Shown
from tests.simulation.telling import Telling


@pytest.fixture
def told():
    return Telling()


def puts(told: Telling, key: str, token: str, offset: int, *, deletes: bool = False) -> Operation:
    return told.end(told.begin("w", Put("c", key, token, deletes)), Put("c", key, token, deletes, offset))


def scans(told: Telling, *shown: Shown) -> Operation:
    return told.end(told.begin("r", Scan()), Scan({"c": [*shown]}))


def test_the_last_of_each_key_alone_will_do(told):
    puts(told, "a", "1", 0)
    puts(told, "a", "2", 1)
    puts(told, "b", "3", 2)
    puts(told, "b", "4", 3, deletes=True)
    scans(told, Shown(1, "a", "2"))
    scans(told, Shown(0, "a", "1"), Shown(1, "a", "2"), Shown(2, "b", "3"), Shown(3, "b", "4", deletes=True))
    assert told.shows() == []


def test_a_scan_that_ends_with_a_former_value_is_wrong(told):
    puts(told, "a", "1", 0)
    puts(told, "a", "2", 1)
    assert told.proves(scans(told, Shown(0, "a", "1"))) == "wrong register"


def test_a_deleted_value_that_comes_back_is_wrong(told):
    puts(told, "a", "1", 0)
    puts(told, "a", "2", 1, deletes=True)
    assert told.proves(scans(told, Shown(0, "a", "1"))) == "wrong register"


def test_a_scan_that_began_before_the_last_put_was_over_may_miss_it(told):
    open_put = told.begin("w", Put("c", "a", "1"))
    scan = told.begin("r", Scan())
    told.end(open_put, Put("c", "a", "1", offset=0))
    told.end(scan, Scan({"c": []}))
    assert told.shows() == []


def test_a_put_that_failed_must_not_be_shown_and_one_of_unknown_outcome_may_be(told):
    told.does("w", Put("c", "a", "1"), outcome=Outcome.INFO)
    assert scans(told, Shown(0, "a", "1"))
    assert told.shows() == []
    told.does("w", Put("c", "a", "2"), outcome=Outcome.FAIL)
    assert told.proves(scans(told, Shown(0, "a", "1"), Shown(1, "a", "2"))) == "wrong register"


def test_what_was_never_put_or_lies_elsewhere_is_wrong(told):
    puts(told, "a", "1", 0)
    first, second = scans(told, Shown(0, "a", "x"), Shown(1, "a", "1")), scans(told, Shown(0, "b", "1"))
    anomalies = told.judged().anomalies
    assert {anomaly.proof[0].number for anomaly in anomalies} == {first.number, second.number}


def test_a_token_that_was_put_twice_cannot_be_judged(told):
    puts(told, "a", "1", 0)
    puts(told, "b", "1", 1)
    with pytest.raises(InvalidRequest, match="'1' was put twice, by operations 0 and 1"):
        told.judged()


def test_lines_keep_puts_and_scans(told):
    puts(told, "a", "1", 0, deletes=True)
    told.does("w", Put("c", "a", "2"), outcome=Outcome.INFO)
    scans(told, Shown(0, "a", "1", deletes=True))
    assert read_lines(write_lines(told.history)).operations == told.history.operations


@pytest.mark.parametrize(
    "micro", ['["put", "c", "a", "1", 0]', '["put", "c", "a", [true, "1"], false]', '["scan", {"c": [[0, "a", "1"]]}]']
)
def test_lines_that_tell_no_put_or_scan_are_refused(micro):
    line = '{"operation": 1, "process": "w", "type": "invoke", "time": 0, "value": [' + micro + "]}"
    with pytest.raises(InvalidRequest, match="line 1 of the history"):
        read_lines([line])
