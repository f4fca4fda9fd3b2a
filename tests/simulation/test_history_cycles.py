"""Operations that must each have been before the next, and the last before the first."""

from __future__ import annotations

import pytest

from dohle.testing.history.operations import Outcome, Poll, Send
from tests.simulation.telling import Telling


@pytest.fixture
def told():
    return Telling()


def together(told, *operations):
    """Does all at once: each is invoked before any of them completes."""
    begun = [told.begin(process, *micro) for process, *micro in operations]
    for operation in begun:
        told.end(operation)
    return begun


def test_two_operations_that_overwrite_each_other_are_g0(told):
    both = together(told, ("v", Send("x", "a", 0), Send("y", "a", 1)), ("w", Send("x", "b", 1), Send("y", "b", 0)))
    told.does("r", Poll({"x": [(0, "a"), (1, "b")], "y": [(0, "b"), (1, "a")]}))
    assert told.proves(*both) == "G0"


def test_two_operations_that_read_each_others_writes_are_g1c(told):
    both = together(
        told,
        ("v", Send("x", "a", 0), Poll({"y": [(0, "a")]})),
        ("w", Send("y", "a", 0), Poll({"x": [(0, "a")]})),
    )
    assert told.proves(*both) == "G1c"


def test_one_that_is_overwritten_by_whom_it_read_is_g1c(told):
    both = together(
        told, ("v", Send("x", "a", 0), Send("y", "b", 1)), ("w", Send("y", "a", 0), Poll({"x": [(0, "a")]}))
    )
    told.does("r", Poll({"y": [(0, "a"), (1, "b")]}))
    assert told.proves(*both) == "G1c"


def test_a_process_that_reads_what_it_sends_only_later_is_a_cycle_in_its_order(told):
    told.polls("w", "x", (0, "a"))
    told.sends("w", "x", "a", 0)
    assert told.shows() == ["G1c-process"]


def test_a_read_of_what_is_only_sent_later_is_a_cycle_in_real_time(told):
    read = told.polls("r", "x", (0, "a"))
    sent = told.sends("w", "x", "a", 0)
    assert told.proves(read, sent) == "G1c-realtime"


def test_a_later_send_that_is_before_an_acknowledged_one_is_a_cycle_in_real_time(told):
    first = told.sends("v", "x", "a", 1)
    second = told.sends("w", "x", "b", 0)
    told.polls("r", "x", (0, "b"), (1, "a"))
    assert told.proves(first, second) == "G0-realtime"


def test_a_later_send_of_the_same_process_before_an_earlier_one_is_a_cycle_in_its_order(told):
    told.sends("w", "x", "a", 1)
    told.sends("w", "x", "b", 0)
    told.polls("r", "x", (0, "b"), (1, "a"))
    assert told.shows() == ["non-monotonic send", "G0-process"]


def test_a_cycle_over_several_logs_is_found(told):
    told.does("r", Poll({"x": [(0, "a")]}))  # before it was sent
    told.sends("u", "y", "a", 0)
    told.sends("u", "y", "b", 1)
    told.does("v", Poll({"y": [(0, "a"), (1, "b")]}))
    told.sends("w", "x", "a", 0)
    assert told.shows() == ["G1c-realtime"]


def test_operations_that_overlap_may_take_effect_in_any_order(told):
    together(told, ("v", Send("x", "a", 1)), ("w", Send("x", "b", 0)), ("r", Poll({"x": [(0, "b"), (1, "a")]})))
    assert told.shows() == []


def test_a_poll_may_lag(told):
    told.sends("w", "x", "a", 0)
    told.sends("w", "x", "b", 1)
    told.polls("r", "x", (0, "a"))
    told.sends("w", "x", "c", 2)
    told.polls("r", "x", (1, "b"), (2, "c"))
    assert told.shows() == []


def test_a_write_of_which_nobody_knows_is_never_over(told):
    told.does("v", Send("x", "a"), outcome=Outcome.INFO)
    told.sends("w", "x", "b", 0)
    told.polls("r", "x", (0, "b"), (5, "a"))
    assert told.shows() == []


def test_cycles_that_share_nothing_are_each_told(told):
    for log in ("x", "y", "z"):
        told.polls("r", log, (0, "a"))
        told.sends("w", log, "a", 0)
    assert told.shows() == ["G1c-realtime"] * 3


def test_a_cycle_is_told_by_the_least_that_makes_it_one(told):
    """v and w overwrite each other, and long before anything else happens a reader knows of it."""
    together(told, ("v", Send("x", "a", 0), Send("y", "a", 1)), ("w", Send("x", "b", 1), Send("y", "b", 0)))
    told.does("r", Poll({"x": [(0, "a"), (1, "b")], "y": [(0, "b"), (1, "a")], "z": [(0, "a")]}))
    told.sends("w", "z", "a", 0)
    assert told.shows() == ["G0", "G1c-realtime"]
