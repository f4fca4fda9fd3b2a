"""Polls and sends of a process follow the log: skips and steps back are found, but where they are allowed."""

from __future__ import annotations

import pytest

from dohle.testing.history.operations import Assign, Ends, Outcome, Poll, Send
from tests.simulation.telling import ABC, Telling, abc


@pytest.fixture
def told():
    """Three values were sent, and `all` read them, so that there is something to skip."""
    told = Telling()
    abc(told)
    told.polls("all", "x", *ABC)
    return told


def test_a_poll_that_leaves_one_out_skips_internally(told):
    poll = told.polls("r", "x", ABC[0], ABC[2])
    assert told.proves(poll) == "internal skip"


def test_a_poll_that_goes_back_is_not_monotonic_internally(told):
    poll = told.polls("r", "x", ABC[0], ABC[1], ABC[0])
    assert told.proves(poll) == "internal non-monotonic poll"


def test_a_poll_that_gets_one_record_twice_is_not_monotonic(told):
    poll = told.polls("r", "x", ABC[0], ABC[0])
    assert told.proves(poll) == "internal non-monotonic poll"


def test_two_polls_that_leave_one_out_skip_externally(told):
    first = told.polls("r", "x", ABC[0])
    told.polls("r", "x")
    second = told.polls("r", "x", ABC[2])
    assert told.proves(first, second) == "external skip"


def test_a_poll_that_goes_back_behind_the_last_is_not_monotonic_externally(told):
    first = told.polls("r", "x", *ABC[:2])
    second = told.polls("r", "x", *ABC[1:])
    assert told.proves(first, second) == "external non-monotonic poll"


def test_the_first_poll_must_begin_where_the_assignment_says(told):
    assigned = told.assigns("r", x=1)
    poll = told.polls("r", "x", ABC[2])
    assert told.proves(assigned, poll) == "external skip"


def test_the_first_poll_may_begin_anywhere_if_nothing_says_where(told):
    told.polls("r", "x", *ABC[1:])
    told.assigns("q", x=None)
    told.polls("q", "x", ABC[2])
    assert told.shows() == []


def test_an_offset_that_holds_no_record_is_no_skip():
    told = Telling()
    for offset, value in (0, "a"), (5, "b"), (9, "c"):
        told.sends("w", "x", value, offset)
    told.assigns("r", x=3)
    told.polls("r", "x", (5, "b"), (9, "c"))
    told.polls("q", "x", (0, "a"))
    told.polls("q", "x", (5, "b"), (9, "c"))
    assert told.shows() == []


def test_a_seek_may_skip_and_go_back(told):
    told.assigns("r", x=0)
    told.polls("r", "x", ABC[0])
    told.assigns("r", x=2)
    told.polls("r", "x", ABC[2])
    told.assigns("r", x=1)
    told.polls("r", "x", *ABC[1:])
    assert told.shows() == []


def test_an_assignment_that_keeps_a_log_keeps_its_position(told):
    first = told.polls("r", "x", ABC[0])
    told.assigns("r", x=None, y=0)
    second = told.polls("r", "x", ABC[2])
    assert told.proves(first, second) == "external skip"


def test_a_log_that_was_given_up_and_taken_again_begins_anew(told):
    told.polls("r", "x", *ABC[:2])
    told.assigns("r", y=0)
    told.assigns("r", x=None)
    told.polls("r", "x", *ABC)
    assert told.shows() == []


def test_an_assignment_that_failed_changes_nothing(told):
    first = told.polls("r", "x", ABC[0])
    told.does("r", Assign({"x": 2}), outcome=Outcome.FAIL)
    second = told.polls("r", "x", ABC[2])
    assert told.proves(first, second) == "external skip"


@pytest.mark.parametrize("what", [Assign({"x": 2}), Poll()])
def test_after_an_assignment_or_a_poll_of_which_nobody_knows_any_position_will_do(told, what):
    told.polls("r", "x", ABC[0])
    told.does("r", what, outcome=Outcome.INFO)
    told.polls("r", "x", ABC[2])
    assert told.shows() == []


def test_a_group_may_skip_and_go_back_where_it_rebalanced(told):
    told.subscribes("r", "topic")
    told.polls("r", "x", ABC[0])
    told.polls("r", "x", ABC[2], rebalanced=("x",))
    told.polls("r", "x", ABC[0], ABC[2], rebalanced=("x",))
    assert told.shows() == []


def test_a_group_must_not_skip_where_it_did_not_rebalance(told):
    told.subscribes("r", "topic")
    first = told.polls("r", "x", ABC[0])
    second = told.polls("r", "x", ABC[2], rebalanced=("y",))
    assert told.proves(first, second) == "external skip"


def test_a_group_must_not_skip_after_a_rebalance_is_over(told):
    told.subscribes("r", "topic")
    first = told.polls("r", "x", ABC[0], rebalanced=("x",))
    second = told.polls("r", "x", ABC[2])
    assert told.proves(first, second) == "external skip"


def test_with_assign_a_rebalance_excuses_nothing(told):
    told.assigns("r", x=0)
    first = told.polls("r", "x", ABC[0])
    second = told.polls("r", "x", ABC[2], rebalanced=("x",))
    assert told.proves(first, second) == "external skip"


def test_other_processes_have_positions_of_their_own(told):
    told.polls("r", "x", *ABC[:2])
    told.polls("q", "x", ABC[0])
    told.polls("r", "x", ABC[2])
    assert told.shows() == []


def test_sends_of_a_process_in_another_order_than_they_were_invoked_are_found():
    told = Telling()
    first, second = told.begin("w", Send("x", "a")), told.begin("w", Send("x", "b"))
    told.end(second, Send("x", "b", 0))
    told.end(first, Send("x", "a", 1))
    told.polls("r", "x", (0, "b"), (1, "a"))
    assert told.proves(first, second) == "non-monotonic send"


def test_a_send_of_which_nobody_knew_keeps_its_place_in_the_order_too():
    told = Telling()
    first = told.does("w", Send("x", "a"), outcome=Outcome.INFO)
    second = told.sends("w", "x", "b", 0)
    told.polls("r", "x", (0, "b"), (1, "a"))
    assert told.proves(first, second) == "non-monotonic send"


def test_sends_of_two_processes_have_no_order():
    told = Telling()
    first, second = told.begin("v", Send("x", "a")), told.begin("w", Send("x", "b"))
    told.end(first, Send("x", "a", 1))
    told.end(second, Send("x", "b", 0))
    told.polls("r", "x", (0, "b"), (1, "a"))
    assert told.shows() == []


def test_an_end_that_is_not_behind_what_was_acknowledged_before_is_stale(told):
    *_, acknowledged = [operation for operation in told.history.operations if operation.process == "w"]
    asked = told.does("r", Ends({"x": 2}))
    assert told.proves(acknowledged, asked) == "stale end"


def test_an_end_that_is_not_behind_what_was_read_before_is_stale():
    told = Telling()
    told.does("w", Send("x", "a"), outcome=Outcome.INFO)
    read = told.polls("r", "x", (4, "a"))
    asked = told.does("r", Ends({"x": 4}))
    assert told.proves(read, asked) == "stale end"


def test_an_end_that_goes_back_is_stale(told):
    before = told.does("r", Ends({"x": 9}))
    asked = told.does("q", Ends({"x": 8}))
    assert told.proves(before, asked) == "stale end"


def test_an_end_may_miss_what_is_acknowledged_while_it_is_asked_for(told):
    asked = told.begin("r", Ends())
    told.sends("w", "x", "d", 3)
    told.end(asked, Ends({"x": 3}))
    told.polls("r", "x", (3, "d"))
    assert told.shows() == []


def test_an_end_may_tell_more_than_anybody_knew(told):
    told.does("r", Ends({"x": 9, "y": 1}))
    assert told.shows() == []
