"""CommittedOffsets: the offsets of a shard's groups, by group, topic and partition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from dohle.groups.records import CommittedOffset

OfTopic: TypeAlias = Mapping[int, CommittedOffset]
"""By partition."""

_NONE: Final[Mapping[str, OfTopic]] = MappingProxyType({})


class CommittedOffsets:
    """What was committed last. No topic and no group is there without an offset."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[str, dict[int, CommittedOffset]]] = {}
        self._groups_of: dict[str, dict[str, None]] = {}

    def __contains__(self, group_id: str) -> bool:
        return group_id in self._groups

    def get(self, group_id: str, topic: str, partition: int) -> CommittedOffset | None:
        return self.of(group_id).get(topic, {}).get(partition)

    def of(self, group_id: str) -> Mapping[str, OfTopic]:
        """Returns the offsets of a group, by topic and partition, in no order; empty if it has none."""
        return self._groups.get(group_id, _NONE)

    def group_ids(self) -> list[str]:
        """Returns the groups that have offsets, in no order."""
        return list(self._groups)

    def topics(self) -> list[str]:
        """Returns the topics of which there are offsets, in no order."""
        return list(self._groups_of)

    def groups_of(self, topic: str) -> list[str]:
        """Returns the groups that have offsets of the topic, ascending."""
        return sorted(self._groups_of.get(topic, ()))

    def put(self, group_id: str, topic: str, partition: int, value: CommittedOffset) -> None:
        self._groups.setdefault(group_id, {}).setdefault(topic, {})[partition] = value
        self._groups_of.setdefault(topic, {})[group_id] = None

    def remove(self, group_id: str, topic: str, partition: int) -> None:
        """Removes the offset, if it is there."""
        topics = self._groups.get(group_id, {})
        partitions = topics.get(topic)
        if partitions is None or partitions.pop(partition, None) is None or partitions:
            return
        del topics[topic]
        if not topics:
            del self._groups[group_id]
        groups = self._groups_of[topic]
        del groups[group_id]
        if not groups:
            del self._groups_of[topic]

    def __iter__(self) -> Iterator[tuple[str, str, int, CommittedOffset]]:
        """Every offset with its group, topic and partition, in their order."""
        for group_id in sorted(self._groups):
            for topic, partitions in sorted(self._groups[group_id].items()):
                for partition, value in sorted(partitions.items()):
                    yield group_id, topic, partition, value
