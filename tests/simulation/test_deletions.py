"""Deleted records in simulations: what the checker makes of them, and runs in which clients delete."""

from __future__ import annotations

from random import Random

import pytest

from dohle.testing.campaigns.plan import Plan
from dohle.testing.campaigns.simulation import run_plan
from dohle.testing.history.checker import judge
from dohle.testing.history.operations import Delete, Outcome
from tests.simulation.telling import ABC, Telling, abc


@pytest.fixture
def told():
    return Telling()


def test_what_was_deleted_need_not_be_read(told):
    abc(told)
    told.does("o", Delete({"x": 2}))
    told.assigns("r", x=0)
    told.polls("r", "x", ABC[2])
    assert told.shows() == []


def test_what_was_not_deleted_must_be_read(told):
    abc(told)
    told.does("o", Delete({"x": 1}))
    told.assigns("r", x=0)
    told.polls("r", "x", ABC[2])
    assert "lost write" in told.shows()


def test_a_deletion_of_which_nobody_knows_excuses_what_is_missing_and_what_is_there(told):
    abc(told)
    told.does("o", Delete({"x": 2}), outcome=Outcome.INFO)
    told.assigns("r", x=0)
    told.polls("r", "x", ABC[2])
    told.assigns("other", x=0)
    told.polls("other", "x", *ABC)
    assert told.shows() == []


def test_a_final_read_that_shows_what_was_deleted_proves_it(told):
    abc(told)
    deleted = told.does("o", Delete({"x": 2}))
    told.assigns("r", x=0)
    read = told.polls("r", "x", *ABC[1:])
    assert told.proves(deleted, read) == "deleted record"


def test_who_reads_on_while_records_are_deleted_may_be_shown_them(told):
    abc(told)
    told.assigns("r", x=0)
    told.does("o", Delete({"x": 2}))
    told.polls("r", "x", *ABC)
    assert told.shows() == []


def test_a_final_read_of_a_log_that_was_emptied_lacks_nothing(told):
    abc(told)
    told.assigns("before", x=0)
    told.polls("before", "x", *ABC)
    told.does("o", Delete({"x": 3}))
    told.assigns("r", x=0)
    told.polls("r", "x")
    assert told.shows() == []


def test_what_was_not_retained_need_not_be_read(told):
    abc(told)
    told.assigns("r", x=0)
    told.polls("r", "x", ABC[2])
    assert judge(told.history.operations, starts={"x": 2}).anomalies == ()
    assert judge(told.history.operations, starts={"x": 1}).anomalies


@pytest.mark.parametrize("seed", [880001, 880034, 881021])
def test_a_run_in_which_logs_begin_later_is_in_order(seed: int) -> None:
    """Each has found something: a cut to a log's beginning that left it empty at 0, and two that judged wrongly."""
    plan = Plan.drawn(seed).letting_go(Random(f"{seed}/plan/letting go"))
    assert plan.mix.deleting_every_s
    assert run_plan(plan).violations == ()
