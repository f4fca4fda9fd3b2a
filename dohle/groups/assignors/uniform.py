"""The uniform assignor: the same number of partitions for every member, and as few as can be change hands.

What counts, in this order: that no partition could go from a member to one that has at least two fewer, whether at
once or by way of others; that members keep what they had. Both are met exactly, whatever each of them subscribes to.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Generator, Mapping

from dohle.groups.assignors.balance import NOBODY, Balance, Pool
from dohle.groups.assignors.plan import SLICE, Assigning, Subscription, in_order, subscribers_of
from dohle.groups.records import Assignment
from dohle.model.ids import TopicId

_MEMBERS_AT_ONCE = 64


def assign_uniformly(
    members: Mapping[str, Subscription], topics: Mapping[TopicId, int], previous: Mapping[str, Assignment]
) -> Assigning:
    """See `Assignor`."""
    order = in_order(members)
    classes, subscribers = yield from subscribers_of(order, members, topics)
    pools: dict[tuple[int, ...], Pool] = {}
    numbers: dict[TopicId, range] = {}
    end = 0
    for topic_id in sorted(subscribers):
        numbers[topic_id] = range(end, end + topics[topic_id])
        end += topics[topic_id]
        of = tuple(subscribers[topic_id])
        pools.setdefault(of, Pool(of)).partitions.extend(numbers[topic_id])
    yield
    balance = Balance(classes, list(pools.values()))
    for place, member_id in enumerate(order):
        if place % _MEMBERS_AT_ONCE == 0:
            yield
        yield from _keep(balance, place, members[member_id].topics, numbers, previous.get(member_id, ()))
    yield from _deal(balance)
    yield from balance.improve()
    topic_ids = list(numbers)
    begins = [of_topic.start for of_topic in numbers.values()]
    target: dict[str, Assignment] = {}
    for place, member_id in enumerate(order):
        if place % _MEMBERS_AT_ONCE == 0:
            yield
        by_topic: dict[TopicId, list[int]] = {}
        for partition in balance.holdings(place):
            topic = bisect_right(begins, partition) - 1
            by_topic.setdefault(topic_ids[topic], []).append(partition - begins[topic])
        target[member_id] = tuple((topic_id, tuple(those)) for topic_id, those in by_topic.items())
    return target


def _keep(
    balance: Balance,
    place: int,
    subscribed: frozenset[TopicId],
    numbers: Mapping[TopicId, range],
    had: Assignment,
) -> Generator[None]:
    """Puts what the member had and still may have with it."""
    kept = [
        numbers[topic_id][number]
        for topic_id, those in had
        if topic_id in subscribed and topic_id in numbers
        for number in those
        if number < len(numbers[topic_id])
    ]
    # The last is given away first: not of the same topic by everybody, all of which one newcomer would get.
    cut = place % len(kept) if kept else 0
    for step, partition in enumerate(kept[cut:] + kept[:cut], start=1):
        if step % SLICE == 0:
            yield
        if balance.owners[partition] == NOBODY:
            balance.put(partition, place, home=True)


def _deal(balance: Balance) -> Generator[None]:
    """Deals what nobody has, to whoever has least: first the pools that have most for each of few members, so that the
    later ones make up for what that leaves uneven."""
    sizes = [sum(len(balance.classes[of]) for of in pool.classes) for pool in balance.pools]
    by_need = sorted(
        range(len(sizes)), key=lambda pool: (-len(balance.pools[pool].partitions) / sizes[pool], sizes[pool], pool)
    )
    for number in by_need:
        pool = balance.pools[number]
        free = [partition for partition in pool.partitions if balance.owners[partition] == NOBODY]
        yield
        if not free:
            continue
        takers = [(balance.loads[member], member) for of in pool.classes for member in balance.classes[of]]
        heapq.heapify(takers)
        for step, partition in enumerate(free, start=1):
            if step % (SLICE // 4) == 0:
                yield
            load, member = takers[0]
            balance.put(partition, member)
            heapq.heapreplace(takers, (load + 1, member))
