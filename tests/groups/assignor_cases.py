"""Groups of a few members, which tests of assignors draw."""

from __future__ import annotations

from hypothesis import strategies as st

from dohle.groups.assignors.plan import Subscription
from dohle.groups.records import Assignment
from dohle.model.ids import PartitionKey, TopicId

TOPICS = [TopicId(bytes([letter]) * 16) for letter in b"abcd"]


def keys_of(assignment: Assignment) -> list[PartitionKey]:
    return [PartitionKey(topic_id, number) for topic_id, numbers in assignment for number in numbers]


def assignment_of(keys: list[PartitionKey]) -> Assignment:
    by_topic: dict[TopicId, list[int]] = {}
    for key in sorted(keys):
        by_topic.setdefault(key.topic_id, []).append(key.partition)
    return tuple((topic_id, tuple(numbers)) for topic_id, numbers in by_topic.items())


Case = tuple[dict[str, Subscription], dict[TopicId, int], dict[str, Assignment]]


@st.composite
def cases(draw: st.DrawFn, most_partitions: int, alike: bool = False) -> Case:
    """Draws a group whose previous assignment may have partitions, topics and members that are gone."""
    counts = draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    while sum(counts) > most_partitions:
        counts.pop()
    topics = dict(zip(TOPICS, counts, strict=False))
    ids = ["m1", "m2", "m3", "m4"][: draw(st.integers(1, 4))]
    subscribed = st.frozensets(st.sampled_from(TOPICS), max_size=4)
    everyones = draw(subscribed)
    members = {
        member_id: Subscription(
            everyones if alike else draw(subscribed), draw(st.sampled_from([None, None, "i" + member_id]))
        )
        for member_id in ids
    }
    had: dict[str, list[PartitionKey]] = {}
    for topic_id in TOPICS:
        for number in range(4):
            owner = draw(st.sampled_from([None, "m1", "m1", "m2", "m3", "m4"]))
            if owner is not None:
                had.setdefault(owner, []).append(PartitionKey(topic_id, number))
    return members, topics, {member_id: assignment_of(keys) for member_id, keys in had.items()}
