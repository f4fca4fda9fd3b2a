"""The history checker finds each anomaly in what clients sent and read, and proves it; and nothing in what may be."""

from __future__ import annotations

import pytest

from dohle.model.errors import InvalidRequest
from dohle.testing.history.checker import MOST_OF_A_KIND
from dohle.testing.history.operations import Outcome, Poll, Send
from tests.simulation.telling import ABC, Telling, abc


@pytest.fixture
def told():
    return Telling()


def test_a_history_in_which_all_is_well_shows_nothing(told):
    abc(told)
    told.assigns("r", x=0)
    told.polls("r", "x", *ABC[:2])
    told.polls("r", "x", ABC[2])
    told.polls("other", "x", *ABC)
    assert told.shows() == []


def test_two_values_at_one_offset_are_inconsistent(told):
    first = told.sends("w", "x", "a", 0)
    told.does("v", Send("x", "b"), outcome=Outcome.INFO)
    told.polls("r", "x", (0, "a"))
    second = told.polls("q", "x", (0, "b"))
    assert told.proves(first, second) == "inconsistent offsets"


def test_an_acknowledgement_counts_as_a_sighting(told):
    sent = told.sends("w", "x", "a", 0)
    told.does("v", Send("x", "b"), outcome=Outcome.INFO)
    read = told.polls("r", "x", (0, "b"))
    assert told.shows() == ["lost write", "inconsistent offsets"]
    assert told.judged().anomalies[1].proof == (read, sent)


def test_the_offset_of_a_send_that_failed_is_no_sighting(told):
    told.does("w", Send("x", "a", 0), outcome=Outcome.FAIL)
    told.sends("v", "x", "b", 0)
    told.polls("r", "x", (0, "b"))
    assert told.shows() == []


def test_a_value_at_two_offsets_is_a_duplicate(told):
    told.sends("w", "x", "a", 0)
    read = told.polls("r", "x", (0, "a"), (1, "a"))
    anomaly = told.judged().anomalies[0]
    assert (anomaly.name, anomaly.proof[-1]) == ("duplicate", read)
    assert told.shows() == ["duplicate"]


def test_a_value_elsewhere_than_acknowledged_is_a_duplicate(told):
    told.sends("w", "x", "a", 4)
    told.polls("r", "x", (5, "a"))
    assert told.shows() == ["duplicate"]


def test_the_same_value_in_two_logs_is_no_duplicate(told):
    told.sends("w", "x", "a", 0)
    told.sends("w", "y", "a", 0)
    told.does("r", Poll({"x": [(0, "a")], "y": [(0, "a")]}))
    assert told.shows() == []


def test_an_acknowledged_value_that_nobody_read_though_later_ones_were_is_lost(told):
    lost = told.sends("w", "x", "a", 0)
    later = told.sends("v", "x", "b", 1)
    told.polls("r", "x", (1, "b"))
    assert told.proves(lost, later) == "lost write"
    assert told.shows(read_to_end=False) == ["lost write"]


def test_an_acknowledged_value_behind_all_that_was_read_is_unseen_once_everything_was_read(told):
    told.sends("w", "x", "a", 0)
    told.polls("r", "x", (0, "a"))
    unseen = told.sends("w", "x", "b", 1)
    assert told.proves(unseen) == "unseen"
    assert told.shows(read_to_end=False) == []


def test_an_acknowledged_value_without_an_offset_must_be_read_too(told):
    unseen = told.sends("w", "x", "a")
    told.sends("v", "x", "b", 7)
    told.polls("r", "x", (7, "b"))
    assert told.proves(unseen) == "unseen"


def test_a_value_that_was_read_and_is_gone_from_the_logs_end_in_the_final_read_is_lost(told):
    abc(told)
    read = told.polls("r", "x", *ABC)
    final = told.assigns("final", x=0)
    told.polls("final", "x", *ABC[:2])
    assert told.proves(read, final) == "lost write"
    assert told.shows(read_to_end=False) == []


def test_a_log_that_is_empty_in_the_final_read_is_lost(told):
    abc(told)
    read = told.polls("r", "x", *ABC)
    final = told.assigns("final", x=0)
    told.polls("final", "x")
    assert told.proves(read, final) == "lost write"


def test_the_final_read_need_not_see_what_others_only_read_later(told):
    abc(told)
    told.polls("r", "x", *ABC[:2])
    told.assigns("final", x=0)
    told.polls("r", "x", ABC[2])
    told.polls("final", "x", *ABC[:2])
    assert told.shows() == []


def test_a_process_that_goes_elsewhere_makes_no_final_read(told):
    abc(told)
    told.polls("r", "x", *ABC)
    told.assigns("q", x=0)
    told.polls("q", "x", ABC[0])
    told.assigns("q", x=1)
    told.polls("q", "x", ABC[1])
    told.assigns("middle", x=2)
    assert told.shows() == []


def test_a_value_that_only_an_operation_without_success_read_is_lost(told):
    told.sends("w", "x", "a", 0)
    told.sends("v", "x", "b", 1)
    told.does("q", Poll({"x": [(0, "a"), (1, "b")]}), outcome=Outcome.INFO)
    told.polls("r", "x", (1, "b"))
    assert told.shows() == ["lost write"]


def test_a_write_of_which_nobody_knows_may_be_missing_or_there(told):
    told.does("w", Send("x", "a"), outcome=Outcome.INFO, why="timed out")
    told.does("w", Send("x", "b"), outcome=Outcome.INFO, why="timed out")
    told.begin("w", Send("x", "c"))
    told.sends("v", "x", "d", 4)
    told.polls("r", "x", (3, "b"), (4, "d"))
    assert told.shows() == []


def test_what_was_sent_together_with_a_value_that_was_read_must_be_there_too(told):
    lost = told.does("w", Send("x", "a"), Send("x", "b"), outcome=Outcome.INFO)
    told.polls("r", "x", (5, "b"))
    assert told.proves(lost) == "unseen"


def test_a_write_that_failed_must_not_be_read(told):
    failed = told.does("w", Send("x", "a"), outcome=Outcome.FAIL, why="too large")
    read = told.polls("r", "x", (0, "a"))
    assert told.proves(failed, read) == "aborted read (G1a)"


def test_a_write_that_failed_and_was_only_seen_in_vain_is_no_aborted_read(told):
    told.does("w", Send("x", "a"), outcome=Outcome.FAIL)
    told.does("r", Poll({"x": [(0, "a")]}), outcome=Outcome.FAIL)
    assert told.shows() == []


def test_a_value_that_nobody_sent_there_is_unknown(told):
    told.sends("w", "x", "a", 0)
    told.polls("r", "x", (0, "a"))
    read = told.polls("r", "y", (0, "a"))
    assert told.proves(read) == "unknown record"


def test_an_operation_must_not_read_what_it_sends(told):
    own = told.does("w", Send("x", "a", 0), Poll({"x": [(0, "a")]}))
    assert told.proves(own) == "precommitted read"


def test_an_operation_may_read_and_send_in_one_log(told):
    told.sends("v", "x", "a", 0)
    told.does("w", Poll({"x": [(0, "a")]}), Send("x", "b", 1))
    told.polls("r", "x", (1, "b"))
    assert told.shows() == []


def test_an_anomaly_is_told_with_its_operations(told):
    told.does("w", Send("x", "a" * 100), outcome=Outcome.FAIL, why="too large")
    told.polls("r", "x", (0, "a" * 100))
    (anomaly,) = told.judged().anomalies
    assert str(anomaly) == (
        f"aborted read (G1a): '{'a' * 40}…' was read from x, though its send failed\n"
        f"    #0 w sends '{'a' * 40}…' to x: fail (too large), 1.000 to 2.000 s\n"
        f"    #1 r polls x 0='{'a' * 40}…': ok, 3.000 to 4.000 s"
    )


def test_of_a_thousand_losses_the_first_are_told(told):
    for offset in range(1000):
        told.sends("w", "x", str(offset), offset)
    told.polls("r", "x", (999, "999"))
    assert told.shows() == ["lost write"] * MOST_OF_A_KIND


def test_a_value_that_was_sent_twice_cannot_be_judged(told):
    told.sends("w", "x", "a", 0)
    told.sends("w", "x", "a", 1)
    with pytest.raises(InvalidRequest, match="by operations 0 and 1"):
        told.judged()


def test_it_is_told_how_often_values_were_read_and_how_far_polls_lagged(told):
    abc(told)  # c is known at 6 s
    told.assigns("r", x=0)
    told.polls("r", "x", ABC[0])  # invoked at 9 s; b was known at 4 s
    told.polls("q", "x", *ABC)
    verdict = told.judged()
    assert verdict.consume_counts == {1: 2, 2: 1}
    assert verdict.worst_lag is not None
    assert (verdict.worst_lag.seconds, verdict.worst_lag.log) == (5.0, "x")
    assert told.shows() == []


def test_a_poll_that_got_the_newest_does_not_lag(told):
    abc(told)
    told.polls("r", "x", *ABC)
    verdict = told.judged()
    assert verdict.worst_lag is not None
    assert verdict.worst_lag.seconds == 0
