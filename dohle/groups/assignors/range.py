"""The range assignor: of each topic a contiguous range for every subscriber, in the same order for all topics that have
the same subscribers. So topics of one size are partitioned alike: who has partition 3 of one has it of the other.

Of n subscribers the first get one more where a topic does not divide evenly. Static members come first, by their
instance ids, as in Kafka: the same members get the same ranges, whatever was before. Where Kafka goes on by member
ids, which mean nothing, here those take the ranges that are left such that most of what they had stays with them; only
who had nothing of that goes by id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence

from dohle.groups.assignors.matching import match
from dohle.groups.assignors.plan import SLICE, Assigning, Subscription, in_order, subscribers_of
from dohle.groups.records import Assignment
from dohle.model.ids import TopicId


def assign_ranges(
    members: Mapping[str, Subscription], topics: Mapping[TopicId, int], previous: Mapping[str, Assignment]
) -> Assigning:
    """See `Assignor`."""
    order = in_order(members)
    classes, subscribers = yield from subscribers_of(order, members, topics)
    alike: dict[tuple[int, ...], list[TopicId]] = {}
    for topic_id in sorted(subscribers):
        alike.setdefault(tuple(subscribers[topic_id]), []).append(topic_id)
    had = {member_id: dict(previous.get(member_id, ())) for member_id in order}
    target: dict[str, dict[TopicId, tuple[int, ...]]] = {member_id: {} for member_id in order}
    for of, topic_ids in alike.items():
        ids = [order[place] for place in sorted(place for number in of for place in classes[number])]
        ranges = {topic_id: _Ranges(topics[topic_id], len(ids)) for topic_id in topic_ids}
        statics = sum(1 for member_id in ids if members[member_id].instance_id is not None)
        places = yield from _places([had[member_id] for member_id in ids], statics, ranges)
        steps = 0
        for member_id, place in zip(ids, places, strict=True):
            for topic_id, of_topic in ranges.items():
                if numbers := of_topic.at(place):
                    target[member_id][topic_id] = numbers
            steps += 4 * len(ranges)
            if steps > SLICE:
                steps = 0
                yield
        yield
    return {member_id: tuple(sorted(assignment.items())) for member_id, assignment in target.items()}


def _places(
    had: Sequence[Mapping[TopicId, tuple[int, ...]]], statics: int, ranges: Mapping[TopicId, _Ranges]
) -> Generator[None, None, list[int]]:
    """Returns which of the ranges each member gets; the first ones are static members."""
    kept: dict[int, Counter[int]] = {}
    steps = 0
    for row in range(statics, len(had)):
        for topic_id in had[row]:
            if topic_id not in ranges:
                continue
            for number in had[row][topic_id]:
                place = ranges[topic_id].place_of(number)
                if place >= statics:
                    kept.setdefault(row, Counter())[place] += 1
                steps += 3
                if steps > SLICE:
                    steps = 0
                    yield
        steps += 1
    chosen = yield from match(kept)
    taken = set(chosen.values())
    left = (place for place in range(statics, len(had)) if place not in taken)
    return [*range(statics), *(chosen[row] if row in chosen else next(left) for row in range(statics, len(had)))]


class _Ranges:
    """The ranges of one topic, by their places."""

    def __init__(self, partitions: int, subscribers: int) -> None:
        self._partitions = partitions
        self._size, self._larger = divmod(partitions, subscribers)

    def at(self, place: int) -> tuple[int, ...]:
        """Returns the partitions of a range, of which there may be none."""
        begin = place * self._size + min(place, self._larger)
        return tuple(range(begin, begin + self._size + (place < self._larger)))

    def place_of(self, partition: int) -> int:
        """Returns which range it is in; -1 for one that does not exist."""
        if partition >= self._partitions:
            return -1
        in_larger = self._larger * (self._size + 1)
        if partition < in_larger:
            return partition // (self._size + 1)
        return self._larger + (partition - in_larger) // self._size
