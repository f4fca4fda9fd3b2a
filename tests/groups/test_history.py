"""The last rebalances of groups: kept through a change of coordinators, and no longer than their groups."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any, cast

from dohle.groups.history import MOST_REBALANCES, MOST_REMOVED
from dohle.groups.outcome import Moment
from dohle.groups.rebalances import Cause, Rebalance, Who
from dohle.groups.records import RebalanceRecord
from dohle.groups.settings import GroupSettings
from dohle.groups.shard import GroupShard
from dohle.model.image import EMPTY_IMAGE

WHO = Who("m-1", None, "client", "/10.0.0.1")
NOW = Moment(50.0, 1_000_000)


class Driven:
    """A shard whose log is a dictionary, as compaction leaves it."""

    def __init__(self, log: dict[tuple[str, int], RebalanceRecord] | None = None, groups: tuple[str, ...] = ("g",)):
        self.log = log if log is not None else {}
        self.shard = GroupShard(GroupSettings(), Random(1).randbytes)
        for group_id in groups:
            self.shard.state.groups[group_id] = cast(
                "Any", SimpleNamespace(group_id=group_id, state="Stable", empty_since_ms=None)
            )
        for record in self.log.values():
            self.shard.apply(record)
        for outcome in self.shard.begin(EMPTY_IMAGE, NOW):
            self._write(outcome.records)

    def _write(self, records: tuple[Any, ...]) -> None:
        for record in records:
            self.shard.apply(record)
            if record.value is None:
                self.log.pop((record.group_id, record.place))
            else:
                self.log[record.group_id, record.place] = record

    def run_timers(self, now_s: float = NOW.now_s) -> int:
        """Returns how many records were written."""
        written = 0
        while (outcome := self.shard.expire(Moment(now_s, NOW.wall_ms))) is not None:
            written += len(outcome.records)
            self._write(outcome.records)
        return written

    def rebalance(self, epoch: int, *, group_id: str = "g", removed: int = 0) -> None:
        rebalances = self.shard.state.rebalances
        rebalances.begin(Rebalance(group_id, Cause.JOINED, WHO, epoch * 1000, "because" * 100))
        for _ in range(removed):
            rebalances.removed(group_id, WHO)
        rebalances.end(group_id, epoch, 3, epoch * 1000 + 250)

    def epochs(self, group_id: str = "g") -> list[int]:
        return [kept.rebalance.epoch for kept in self.shard.history.of(group_id)]


def test_what_has_ended_is_written_once_and_without_anybody_waiting_for_it():
    driven = Driven()
    driven.rebalance(1)
    assert driven.epochs() == []
    assert driven.run_timers() == 1
    assert driven.run_timers() == 0
    (kept,) = driven.shard.history.of("g")
    assert (kept.number, kept.rebalance.who, kept.rebalance.ended_ms) == (0, WHO, 1250)
    assert len(kept.rebalance.detail) == 200


def test_several_that_end_before_any_is_written_are_all_kept():
    driven = Driven()
    for epoch in range(5):
        driven.rebalance(epoch)
    assert driven.run_timers() == 5
    assert driven.epochs() == [0, 1, 2, 3, 4]


def test_the_last_hundred_are_kept_through_a_change_of_coordinators_and_counted_on():
    driven = Driven()
    for epoch in range(MOST_REBALANCES + 30):
        driven.rebalance(epoch)
        driven.run_timers()
    after = Driven(driven.log)
    assert len(after.log) == MOST_REBALANCES
    assert after.epochs() == driven.epochs() == list(range(30, MOST_REBALANCES + 30))
    after.rebalance(7000)
    after.run_timers()
    assert after.epochs() == [*range(31, MOST_REBALANCES + 30), 7000]
    assert len(after.log) == MOST_REBALANCES


def test_of_those_who_did_not_come_in_time_some_are_named_and_the_others_counted():
    driven = Driven()
    driven.rebalance(1, removed=MOST_REMOVED + 25)
    driven.run_timers()
    (kept,) = driven.shard.history.of("g")
    assert (len(kept.rebalance.removed), kept.more_removed) == (MOST_REMOVED, 25)


def test_what_is_left_of_a_group_that_has_gone_is_deleted_by_this_coordinator_or_the_next():
    driven = Driven(groups=("g", "h"))
    for group_id in ("g", "h"):
        driven.rebalance(1, group_id=group_id)
        driven.rebalance(2, group_id=group_id)
    driven.run_timers()
    del driven.shard.state.groups["g"]
    assert driven.run_timers() == 0
    assert driven.run_timers(NOW.now_s + 601) == 2
    assert (driven.epochs("g"), driven.epochs("h")) == ([], [1, 2])
    assert Driven(driven.log, groups=()).log == {}
