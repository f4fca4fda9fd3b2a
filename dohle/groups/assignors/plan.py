"""What assignors are given, and how they return it."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from dohle.groups.records import Assignment
from dohle.model.ids import TopicId


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a member subscribes to, by names and by regular expression."""

    topics: frozenset[TopicId]
    instance_id: str | None = None


Assigning: TypeAlias = Generator[None, None, dict[str, Assignment]]
"""An assignment under way: each `next` is a slice of it, and it returns the target by member."""

SLICE = 2000
"""Steps between two yields: of inner loops, where none takes more than a microsecond or two."""


def in_order(members: Mapping[str, Subscription]) -> list[str]:
    """Returns the members' ids in the order in which they are served where all else is equal: static members first, by
    their instance ids, which outlive a restart; then the others, by their own."""
    return sorted(members, key=lambda member_id: _place(member_id, members[member_id].instance_id))


def _place(member_id: str, instance_id: str | None) -> tuple[bool, str]:
    return (True, member_id) if instance_id is None else (False, instance_id)


def subscribers_of(
    order: Sequence[str], members: Mapping[str, Subscription], topics: Mapping[TopicId, int]
) -> Generator[None, None, tuple[list[list[int]], dict[TopicId, list[int]]]]:
    """Returns classes of members with the same subscription, each as their places in `order`, and by topic that has
    partitions the classes that subscribe to it; all ascending."""
    classes: dict[frozenset[TopicId], list[int]] = {}
    for place, member_id in enumerate(order):
        classes.setdefault(members[member_id].topics, []).append(place)
    subscribers: dict[TopicId, list[int]] = {}
    steps = 0
    for number, subscribed in enumerate(classes):
        for topic_id in subscribed:
            if topics.get(topic_id):
                subscribers.setdefault(topic_id, []).append(number)
        steps += len(subscribed)
        if steps > SLICE:
            steps = 0
            yield
    return list(classes.values()), subscribers
