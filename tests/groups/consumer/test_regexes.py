"""Subscriptions by regular expression."""

from __future__ import annotations

import pytest

from dohle.groups.records import RegexRecord
from dohle.model.group_errors import InvalidRegularExpression
from tests.groups.consumer.members import TestMember, settle
from tests.groups.harness import Harness

GROUP = "g"


@pytest.fixture
def harness() -> Harness:
    harness = Harness()
    harness.make_topic("orders-1", partitions=2)
    harness.make_topic("orders-2", partitions=2)
    harness.make_topic("users", partitions=2)
    return harness


def member(harness: Harness, member_id: str, regex: str | None, topics: tuple[str, ...] | None = None) -> TestMember:
    return TestMember(harness, GROUP, member_id, topics=topics, regex=regex)


def meanings(harness: Harness) -> dict[str, tuple[str, ...] | None]:
    found: dict[str, tuple[str, ...] | None] = {}
    for record in harness.log:
        if isinstance(record, RegexRecord):
            found[record.regex] = None if record.value is None else record.value.topics
    return found


def test_a_regex_means_the_topics_whose_whole_name_it_matches(harness: Harness) -> None:
    one = member(harness, "a", "orders-.*")
    one.beat()
    assert len(one.partitions) == 4, "in the first answer"
    assert meanings(harness) == {"orders-.*": ("orders-1", "orders-2")}
    group = harness.shard.state.groups[GROUP]
    assert group.subscribes_to("orders-1")
    assert not group.subscribes_to("users")


def test_names_and_a_regex_add_up(harness: Harness) -> None:
    one = member(harness, "a", "orders-.*", ("users",))
    one.beat()
    assert len(one.partitions) == 6
    one.regex = ""
    one.beat(full=True)
    settle(one)
    assert len(one.partitions) == 2
    assert meanings(harness) == {"orders-.*": None}, "what nobody has is forgotten"


def test_a_new_topic_is_seen_but_not_at_once(harness: Harness) -> None:
    one = member(harness, "a", "orders-.*")
    one.beat()
    harness.make_topic("orders-3", partitions=2)
    one.beat()
    assert len(one.partitions) == 4, "topics that come one by one set off one rebalance"
    harness.pass_time(11)
    one.beat()
    assert len(one.partitions) == 6


def test_what_is_no_regex_is_refused(harness: Harness) -> None:
    one = member(harness, "a", "orders-(")
    one.beat()
    assert isinstance(one.errors[0], InvalidRegularExpression)
    assert not harness.log
    assert GROUP not in harness.shard.state.groups


def test_the_last_who_leaves_takes_the_regex_along(harness: Harness) -> None:
    one, two, three = (
        member(harness, "a", "users"),
        member(harness, "b", "users"),
        member(harness, "c", None, ("users",)),
    )
    for each in (one, two, three):
        each.beat()
    settle(one, two, three)
    one.leave()
    assert meanings(harness) == {"users": ("users",)}
    two.leave()
    assert meanings(harness) == {"users": None}
    settle(three)
    assert len(three.partitions) == 2


def test_many_topics_are_looked_through_in_slices() -> None:
    harness = Harness()
    for number in range(3000):
        harness.make_topic(f"topic-{number}")
    regex = "(" + "|".join(f"x{number}.*" for number in range(200)) + "|topic-7)"
    one = member(harness, "a", regex)
    one.beat()
    assert not one.partitions
    assert one.interval_ms == 200, "it is to come again soon"
    harness.pass_time(1)
    one.beat()
    assert len(one.partitions) == 1


def test_regexes_outlive_the_coordinator(harness: Harness) -> None:
    one = member(harness, "a", "orders-.*")
    one.beat()
    harness.restart()
    before = len(harness.log)
    one.beat()
    assert len(harness.log) == before
    assert len(one.partitions) == 4
