"""Assignments by the range assignor, beside the best of all that there are."""

from __future__ import annotations

from itertools import pairwise, permutations

from hypothesis import given, settings

from dohle.groups.assignors import assign
from dohle.groups.assignors.plan import Subscription, in_order
from dohle.groups.assignors.range import assign_ranges
from dohle.model.ids import TopicId
from tests.groups.assignor_cases import TOPICS, Case, assignment_of, cases, keys_of

A, B, C, _ = TOPICS
BOTH = frozenset([A, B])


def ranges(count: int, subscribers: int) -> list[range]:
    """Returns Kafka's ranges: the first ones are longer by one where it does not come out even."""
    size, longer = divmod(count, subscribers)
    begins = [place * size + min(place, longer) for place in range(subscribers + 1)]
    return [range(begin, end) for begin, end in pairwise(begins)]


def check(case: Case) -> None:
    members, topics, previous = case
    result = assign(assign_ranges, members, topics, previous)
    assert sorted(result) == sorted(members)
    groups: dict[tuple[str, ...], list[TopicId]] = {}
    for topic_id, count in topics.items():
        subscribers = tuple(member for member in in_order(members) if topic_id in members[member].topics)
        if subscribers and count:
            groups.setdefault(subscribers, []).append(topic_id)
    stayed = sum(len({*keys_of(previous.get(member, ()))} & {*keys_of(result[member])}) for member in members)
    most = 0
    for subscribers, topic_ids in groups.items():
        static = [member for member in subscribers if members[member].instance_id is not None]
        free = subscribers[len(static) :]
        orders = [(*static, *order) for order in permutations(free)]

        def kept(order: tuple[str, ...], topic_ids: list[TopicId] = topic_ids) -> int:
            return sum(
                len(set(of_member) & set(dict(previous.get(member, ())).get(topic_id, ())))
                for topic_id in topic_ids
                for member, of_member in zip(order, ranges(topics[topic_id], len(order)), strict=True)
            )

        most += max(map(kept, orders))
        # All topics of these subscribers are cut into ranges in one and the same order of members.
        assert any(
            all(
                dict(result[member]).get(topic_id, ()) == tuple(of_member)
                for topic_id in topic_ids
                for member, of_member in zip(order, ranges(topics[topic_id], len(order)), strict=True)
            )
            for order in orders
        )
    assert sum(len(keys_of(assignment)) for assignment in result.values()) == sum(
        topics[topic_id] for topic_ids in groups.values() for topic_id in topic_ids
    )
    assert stayed == most
    assert all(assignment == assignment_of(keys_of(assignment)) for assignment in result.values())
    assert assign(assign_ranges, dict(reversed(members.items())), topics, result) == result


@settings(max_examples=400, deadline=None)
@given(cases(most_partitions=16))
def test_mixed_subscriptions_move_no_more_than_ranges_need(case: Case) -> None:
    check(case)


@settings(max_examples=200, deadline=None)
@given(cases(most_partitions=16, alike=True))
def test_one_subscription_moves_no_more_than_ranges_need(case: Case) -> None:
    check(case)


def test_topics_of_one_size_are_partitioned_alike() -> None:
    members = {member_id: Subscription(BOTH) for member_id in ("m2", "m1")}
    assert assign(assign_ranges, members, {A: 3, B: 3}, {}) == {
        "m1": ((A, (0, 1)), (B, (0, 1))),
        "m2": ((A, (2,)), (B, (2,))),
    }


def test_static_members_come_first_by_their_instances() -> None:
    members = {
        "m1": Subscription(BOTH),
        "m2": Subscription(BOTH, "i2"),
        "m3": Subscription(BOTH, "i1"),
    }
    target = assign(assign_ranges, members, {A: 3, B: 3}, {"m1": ((A, (0,)), (B, (0,)))})
    assert target == {"m3": ((A, (0,)), (B, (0,))), "m2": ((A, (1,)), (B, (1,))), "m1": ((A, (2,)), (B, (2,)))}


def test_a_member_that_joins_takes_a_range_and_not_a_place_in_the_order_of_ids() -> None:
    members = {member_id: Subscription(frozenset([A])) for member_id in "bcd"}
    before = assign(assign_ranges, members, {A: 9}, {})
    after = assign(assign_ranges, members | {"a": Subscription(frozenset([A]))}, {A: 9}, before)
    assert before == {"b": ((A, (0, 1, 2)),), "c": ((A, (3, 4, 5)),), "d": ((A, (6, 7, 8)),)}
    assert after == {"b": ((A, (0, 1, 2)),), "c": ((A, (3, 4)),), "a": ((A, (5, 6)),), "d": ((A, (7, 8)),)}


def test_more_members_than_partitions_leave_some_with_nothing() -> None:
    members = {member_id: Subscription(frozenset([A])) for member_id in "abc"}
    assert assign(assign_ranges, members, {A: 2}, {}) == {"a": ((A, (0,)),), "b": ((A, (1,)),), "c": ()}


def test_topics_that_do_not_exist_are_nobodys() -> None:
    members = {member_id: Subscription(frozenset([B, C])) for member_id in "ab"}
    assert assign(assign_ranges, members, {A: 2}, {}) == {"a": (), "b": ()}
    assert assign(assign_ranges, {}, {A: 2}, {}) == {}


def test_slices_are_many_where_the_group_is_large() -> None:
    members = {f"m{number:04}": Subscription(BOTH) for number in range(1000)}
    previous = assign(assign_ranges, members, {A: 5000, B: 5000}, {})
    del members["m0500"]
    slices = sum(1 for _ in assign_ranges(members, {A: 5000, B: 5000}, previous))
    assert slices > 10
