"""Assignments by the uniform assignor, beside the best of all that there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import product

from hypothesis import given, settings

from dohle.groups.assignors import assign
from dohle.groups.assignors.plan import Subscription
from dohle.groups.assignors.uniform import assign_uniformly
from dohle.model.ids import PartitionKey
from tests.groups.assignor_cases import TOPICS, Case, assignment_of, cases, keys_of


def judged(
    target: Mapping[PartitionKey, str], members: Mapping[str, Subscription], homes: Mapping[PartitionKey, str]
) -> tuple[int, int]:
    """Returns (sum of squared loads, partitions that moved from a member that may keep them)."""
    loads = Counter(target.values())
    moved = sum(
        1
        for key, owner in target.items()
        if (home := homes.get(key)) in members and home != owner and key.topic_id in members[home].topics
    )
    return sum(load * load for load in loads.values()), moved


def check(case: Case, best: bool) -> None:
    members, topics, previous = case
    result = assign(assign_uniformly, members, topics, previous)
    assert sorted(result) == sorted(members)
    owners: dict[PartitionKey, str] = {}
    for member_id, assignment in result.items():
        assert assignment == assignment_of(keys_of(assignment))
        for key in keys_of(assignment):
            assert key not in owners
            assert key.topic_id in members[member_id].topics
            owners[key] = member_id
    may = {
        PartitionKey(topic_id, number): takers
        for topic_id, count in topics.items()
        if (takers := [member_id for member_id in members if topic_id in members[member_id].topics])
        for number in range(count)
    }
    assert owners.keys() == may.keys()
    homes = {key: member_id for member_id, assignment in previous.items() for key in keys_of(assignment)}
    if best:
        least = min(judged(dict(zip(may, chosen, strict=True)), members, homes) for chosen in product(*may.values()))
        assert judged(owners, members, homes) == least
    again = assign(assign_uniformly, dict(reversed(members.items())), topics, result)
    assert again == result


@settings(max_examples=400, deadline=None)
@given(cases(most_partitions=6))
def test_mixed_subscriptions_are_served_as_well_as_can_be(case: Case) -> None:
    check(case, best=True)


@settings(max_examples=200, deadline=None)
@given(cases(most_partitions=7, alike=True))
def test_one_subscription_is_served_as_well_as_can_be(case: Case) -> None:
    check(case, best=True)


def test_members_with_most_are_those_that_keep_one_more() -> None:
    members = {member_id: Subscription(frozenset(TOPICS[:1])) for member_id in "abc"}
    previous = {"b": ((TOPICS[0], (0, 1, 2, 3)),), "c": ((TOPICS[0], (4, 5, 6)),)}
    target = assign(assign_uniformly, members, {TOPICS[0]: 8}, previous)
    assert sorted(len(keys_of(assignment)) for assignment in target.values()) == [2, 3, 3]
    assert len(keys_of(target["a"])) == 2
    assert {*keys_of(target["c"])} == {*keys_of(previous["c"])}


def test_loads_are_made_even_by_way_of_members_between() -> None:
    """Kafka's assignor leaves 9, 10 and 11 here: no topic by itself is uneven."""
    first, second = TOPICS[:2]
    members = {
        "a": Subscription(frozenset([first])),
        "b": Subscription(frozenset([first, second])),
        "c": Subscription(frozenset([second])),
    }
    previous = {
        "a": ((first, tuple(range(9))),),
        "b": ((first, tuple(range(9, 14))), (second, tuple(range(5)))),
        "c": ((second, tuple(range(5, 16))),),
    }
    target = assign(assign_uniformly, members, {first: 14, second: 16}, previous)
    assert [len(keys_of(target[member_id])) for member_id in "abc"] == [10, 10, 10]


def test_a_newcomer_gets_some_of_every_topic() -> None:
    """Not all partitions of one: it may be the one that everybody reads most of."""
    topics = dict.fromkeys(TOPICS, 12)
    members = {f"m{number}": Subscription(frozenset(TOPICS)) for number in range(11)}
    before = assign(assign_uniformly, members, topics, {})
    after = assign(assign_uniformly, members | {"new": Subscription(frozenset(TOPICS))}, topics, before)
    assert sorted(len(numbers) for _, numbers in after["new"]) == [1, 1, 2]


def test_topics_that_do_not_exist_are_nobodys() -> None:
    members = {member_id: Subscription(frozenset(TOPICS)) for member_id in "ab"}
    assert assign(assign_uniformly, members, {}, {}) == {"a": (), "b": ()}
    assert assign(assign_uniformly, {}, {TOPICS[0]: 2}, {}) == {}


def test_slices_are_many_where_the_group_is_large() -> None:
    topics = dict.fromkeys(TOPICS, 1000)
    members = {f"m{number:04}": Subscription(frozenset(TOPICS)) for number in range(500)}
    slices = sum(1 for _ in assign_uniformly(members, topics, {}))
    assert slices > 10
