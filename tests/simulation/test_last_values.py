"""Last values: what the judge of compacted logs makes of reads, and runs in which a topic is compacted."""

from __future__ import annotations

import pytest

from dohle.testing.campaigns.plan import Plan
from dohle.testing.campaigns.simulation import run_plan
from dohle.testing.history.last_values import Found, LastValues, Write
from dohle.testing.history.operations import Outcome


class Told:
    """Writes to the log x, each at the next offset, and what reads of it show."""

    def __init__(self) -> None:
        self.values = LastValues()
        self._writes: list[Write] = []

    def writes(
        self, key: bytes, value: bytes | None, outcome: Outcome = Outcome.OK, *, is_placed: bool = True
    ) -> Found:
        offset = len(self._writes)
        place = offset if outcome is Outcome.OK and is_placed else None
        write = self.values.write(Write("x", key, value, b"%d" % offset, outcome, place))
        self._writes.append(write)
        return Found(offset, key, value, write.token)

    def wrong(self, *read: Found, begins_at: int = 0) -> str:
        return "\n".join([*self.values.never_written("x", read), *self.values.not_the_last("x", read, begins_at)])


@pytest.fixture
def told() -> Told:
    return Told()


def test_the_last_value_alone_will_do_and_all_of_them_will(told: Told) -> None:
    former, last = told.writes(b"a", b"1"), told.writes(b"a", b"2")
    assert not told.wrong(last)
    assert not told.wrong(former, last)


def test_a_former_value_is_no_last_one(told: Told) -> None:
    former, _ = told.writes(b"a", b"1"), told.writes(b"a", b"2")
    assert "as the last of its key" in told.wrong(former)


def test_a_lost_value_is_noticed_unless_it_was_let_go(told: Told) -> None:
    other, _ = told.writes(b"b", b"1"), told.writes(b"a", b"1")
    assert "shows nothing of b'a'" in told.wrong(other)
    assert not told.wrong(begins_at=2)


def test_a_fork_shows_what_was_the_last_value_below_the_cut(told: Told) -> None:
    former, last, _ = told.writes(b"a", b"1"), told.writes(b"a", b"2"), told.writes(b"a", b"3")

    def wrong(*read: Found) -> str:
        return "\n".join(told.values.not_the_last("x", read, 0, cut=2))

    assert not wrong(former, last)
    assert "as the last of its key" in wrong(former)
    assert "shows nothing of b'a'" in wrong()


def test_a_read_that_took_long_may_have_missed_a_tombstone(told: Told) -> None:
    former, _ = told.writes(b"a", b"1"), told.writes(b"a", None)
    assert list(told.values.not_the_last("x", [former], 0))
    assert not list(told.values.not_the_last("x", [former], 0, may_be_late=True))


def test_a_tombstone_may_be_gone_and_what_it_deleted_must_be(told: Told) -> None:
    former, tombstone = told.writes(b"a", b"1"), told.writes(b"a", None)
    assert not told.wrong(former, tombstone)
    assert not told.wrong()
    assert "as the last of its key" in told.wrong(former)


@pytest.mark.parametrize(("outcome", "is_placed"), [(Outcome.INFO, False), (Outcome.OK, False)])
def test_what_nobody_knows_the_place_of_may_be_the_last(told: Told, outcome: Outcome, is_placed: bool) -> None:
    known = told.writes(b"a", b"1")
    perhaps = told.writes(b"a", b"2", outcome, is_placed=is_placed)
    assert not told.wrong(known)
    assert not told.wrong(perhaps)
    told.writes(b"a", None, outcome, is_placed=is_placed)
    assert not told.wrong()


def test_what_was_never_written_is_noticed(told: Told) -> None:
    failed, sent = told.writes(b"a", b"1", Outcome.FAIL), told.writes(b"a", b"2")
    assert "its send has failed" in told.wrong(failed, sent)
    assert "what was sent is None" in told.wrong(sent, Found(2, b"a", b"3", b"unknown"))
    assert "what was sent is Write" in told.wrong(sent._replace(value=b"other"))


def test_a_record_is_where_it_was_acknowledged_once_and_in_order(told: Told) -> None:
    first, second = told.writes(b"a", b"1"), told.writes(b"b", b"2", Outcome.INFO)
    assert "was acknowledged at 0" in told.wrong(first._replace(offset=2))
    assert "at 1, too" in told.wrong(first, second, second._replace(offset=2))
    assert "behind 1" in told.wrong(second, first)


@pytest.mark.parametrize("seed", [770007, 770062, 770113])
def test_a_run_in_which_a_topic_is_compacted_is_in_order(seed: int) -> None:
    """The first two have led to a leader that begins below an offset which compacted batches cover."""
    plan = Plan.drawn(seed)
    assert plan.mix.compacted is not None
    outcome = run_plan(plan)
    assert outcome.violations == ()
    assert outcome.rare["a compaction runs"]
    assert outcome.rare["a tombstone goes"]
