"""What a group reads and commits is judged: nothing left out, nothing committed lost, nothing of an old epoch."""

from __future__ import annotations

import pytest

from dohle.testing.history.history_lines import read_lines, write_lines
from dohle.testing.history.operations import Commit, Committed, Outcome, Poll, Subscribe
from tests.simulation.telling import ABC, Telling, abc


@pytest.fixture
def told():
    """Three values were sent, `all` read them, and `m` and `n` are members of group g."""
    told = Telling()
    abc(told)
    told.polls("all", "x", *ABC)
    for member in "mn":
        told.does(member, Subscribe(("t",), "g"))
    return told


def commits(told, member, offset, epoch=-1, outcome=Outcome.OK):
    return told.does(member, Commit("g", {"x": offset}, epoch), outcome=outcome)


def asks(told, offset):
    return told.end(told.begin("o", Committed("g")), Committed("g", {"x": offset}))


def asks_while(told, *commits_, offset):
    """Somebody asks, and has the answer after these commits were begun and acknowledged."""
    asked = told.begin("o", Committed("g"))
    for member, committed in commits_:
        commits(told, member, committed)
    return told.end(asked, Committed("g", {"x": offset}))


# reads


def test_members_may_share_a_log_and_read_twice_what_was_not_committed(told):
    told.polls("m", "x", *ABC[:2])
    told.polls("n", "x", *ABC[1:], rebalanced=("x",))
    assert told.shows() == []


def test_a_record_that_no_member_read_before_a_later_one_is_a_skip(told):
    first = told.polls("m", "x", ABC[0])
    second = told.polls("n", "x", ABC[2])
    assert told.proves(first, second) == "group skip"


def test_the_first_record_that_a_group_reads_is_the_first_that_there_is(told):
    poll = told.polls("m", "x", *ABC[1:])
    assert told.proves(poll) == "group skip"


def test_what_a_member_was_given_and_did_not_deal_with_is_not_read(told):
    told.does("m", Poll({"x": [ABC[0]]}), outcome=Outcome.INFO)
    poll = told.polls("n", "x", *ABC[1:])
    assert told.proves(poll) == "group skip"


def test_a_poll_that_was_dealt_with_only_after_the_later_one_does_not_count(told):
    slow = told.begin("m", Poll())
    fast = told.polls("n", "x", *ABC[1:])
    told.end(slow, Poll({"x": [ABC[0]]}))
    assert told.proves(fast) == "group skip"


def test_another_group_and_who_is_in_none_do_not_read_for_a_group(told):
    told.does("k", Subscribe(("t",), "other"))
    told.polls("k", "x", *ABC)
    poll = told.polls("m", "x", *ABC[1:])
    assert told.proves(poll) == "group skip"


def test_who_assigns_itself_a_log_is_in_no_group_any_more(told):
    told.assigns("m", x=1)
    told.polls("m", "x", *ABC[1:])
    assert told.shows() == []


# commits


def test_what_is_committed_is_the_last_that_was_acknowledged(told):
    asks(told, None)
    commits(told, "m", 1)
    asks(told, 1)
    commits(told, "m", 2)
    asks(told, 2)
    assert told.shows() == []


@pytest.mark.parametrize("offset", [None, 1, 3])
def test_an_acknowledged_commit_that_is_not_there_is_lost(told, offset):
    commits(told, "m", 1)
    last = commits(told, "m", 2)
    asked = asks(told, offset)
    assert told.proves(last, asked) == "lost commit"


def test_a_commit_whose_outcome_is_not_known_may_show_at_any_time(told):
    commits(told, "m", 1)
    commits(told, "m", 2, outcome=Outcome.INFO)
    asks(told, 1)
    commits(told, "m", 3)
    asks(told, 3)
    asks(told, 2)
    assert told.shows() == []


def test_a_commit_that_failed_never_shows(told):
    first = commits(told, "m", 1)
    commits(told, "m", 2, outcome=Outcome.FAIL)
    asked = asks(told, 2)
    assert told.proves(first, asked) == "lost commit"


@pytest.mark.parametrize("offset", [1, 2, 3])
def test_who_asks_meanwhile_may_be_told_of_before_and_after(told, offset):
    commits(told, "m", 1)
    asks_while(told, ("m", 2), ("m", 3), offset=offset)
    assert told.shows() == []


def test_who_asks_meanwhile_is_not_told_of_what_was_superseded_before(told):
    commits(told, "m", 1)
    last = commits(told, "m", 2)
    asked = asks_while(told, offset=1)
    assert told.proves(last, asked) == "lost commit"


def test_commits_that_overlap_may_take_effect_in_either_order(told):
    one = told.begin("m", Commit("g", {"x": 1}))
    commits(told, "n", 2)
    told.end(one)
    asks(told, 1)
    assert told.shows() == []


def test_a_commit_of_unknown_outcome_takes_no_effect_once_a_newer_epoch_has_committed(told):
    commits(told, "m", 2, 5, outcome=Outcome.INFO)
    last = commits(told, "n", 1, 6)
    asked = asks(told, 2)
    assert told.proves(last, asked) == "lost commit"


def test_a_commit_of_an_older_epoch_that_is_acknowledged_is_stale(told):
    newer = commits(told, "n", 2, 6)
    stale = commits(told, "m", 3, 5)
    assert told.proves(newer, stale) == "stale commit"


def test_a_process_may_commit_late_in_an_older_epoch_what_is_its_own(told):
    commits(told, "m", 1, 5, outcome=Outcome.INFO)
    commits(told, "m", 2, 6)
    commits(told, "m", 3, 5)
    asks(told, 1)
    assert told.shows() == []


def test_a_commit_of_an_older_epoch_may_be_acknowledged_late(told):
    one = told.begin("m", Commit("g", {"x": 1}, 5))
    commits(told, "n", 2, 6)
    told.end(one)
    assert told.shows() == []


def test_groups_and_logs_do_not_mix(told):
    commits(told, "m", 2, 6)
    told.does("k", Commit("other", {"x": 1}, 5))
    told.does("m", Commit("g", {"y": 1}, 5))
    told.end(told.begin("o", Committed("g")), Committed("g", {"x": 2, "y": 1}))
    assert told.shows() == []


def test_lines_keep_all_of_it(told):
    commits(told, "m", 2, 6)
    asks(told, 2)
    asks(told, None)
    told.begin("o", Committed("g"))
    again = read_lines(write_lines(told.history))
    assert again.operations == told.history.operations
