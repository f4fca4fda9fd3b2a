"""What consumers of the classic protocol tell each other through the coordinator: subscriptions and assignments.

The bytes are those of Kafka's embedded consumer protocol, versions 0 to 3: a version, then fields that later versions
only add to. A newer version is read as the newest known; fields that a client leaves out at the end, and bytes that it
adds there, do no harm. What is there has to be whole: a ValueError otherwise, and nothing is known of that member.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

NEWEST_VERSION: Final = 3

_NO_GENERATION: Final = -1

TopicPartitions: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]
"""Partitions by topic name, in the order in which they were written."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a member wants, and what it has: `owned` of `generation` (-1: it does not say), for sticky assignors."""

    topics: tuple[str, ...]
    user_data: bytes | None = None
    owned: TopicPartitions = ()
    generation: int = _NO_GENERATION
    rack: str | None = None


@dataclass(frozen=True, slots=True)
class MemberAssignment:
    """What the leader gives a member."""

    partitions: TopicPartitions
    user_data: bytes | None = None


def decode_subscription(data: bytes) -> Subscription:
    """Raises ValueError for what is no subscription."""
    reader = _Reader(data)
    version = reader.version()
    topics = tuple([reader.string() for _ in range(reader.count(2))])
    user_data = reader.nullable_bytes()
    owned = reader.topic_partitions() if version >= 1 and reader.has_more else ()
    generation = reader.number(4) if version >= 2 and reader.has_more else _NO_GENERATION
    rack = reader.nullable_string() if version >= 3 and reader.has_more else None
    return Subscription(topics, user_data, owned, generation, rack)


def encode_subscription(subscription: Subscription, version: int = NEWEST_VERSION) -> bytes:
    """Leaves out what `version` does not know."""
    assert 0 <= version <= NEWEST_VERSION
    parts = [
        _int(version, 2),
        _int(len(subscription.topics), 4),
        *[_string(topic) for topic in subscription.topics],
        _nullable_bytes(subscription.user_data),
    ]
    if version >= 1:
        parts.append(_topic_partitions(subscription.owned))
    if version >= 2:
        parts.append(_int(subscription.generation, 4))
    if version >= 3:
        parts.append(_int(-1, 2) if subscription.rack is None else _string(subscription.rack))
    return b"".join(parts)


def decode_assignment(data: bytes) -> MemberAssignment:
    """Raises ValueError for what is no assignment; nothing at all is an empty one."""
    if not data:
        return MemberAssignment(())
    reader = _Reader(data)
    reader.version()
    return MemberAssignment(reader.topic_partitions(), reader.nullable_bytes() if reader.has_more else None)


def encode_assignment(assignment: MemberAssignment, version: int = NEWEST_VERSION) -> bytes:
    """All versions have the same fields."""
    assert 0 <= version <= NEWEST_VERSION
    return _int(version, 2) + _topic_partitions(assignment.partitions) + _nullable_bytes(assignment.user_data)


class _Reader:
    """Reads forward, and never past the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def has_more(self) -> bool:
        return self._at < len(self._data)

    def take(self, length: int) -> bytes:
        end = self._at + length
        if length < 0 or end > len(self._data):
            raise ValueError(f"{length} bytes at {self._at} do not fit into {len(self._data)}")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length), "big", signed=True)

    def version(self) -> int:
        """Returns the version to read by."""
        version = self.number(2)
        if version < 0:
            raise ValueError(f"there is no version {version}")
        return min(version, NEWEST_VERSION)

    def count(self, least_bytes: int) -> int:
        """Returns how many elements follow, each of which has at least so many bytes."""
        count = self.number(4)
        if not 0 <= count * least_bytes <= len(self._data) - self._at:
            raise ValueError(f"{count} elements do not fit into {len(self._data) - self._at} bytes")
        return count

    def string(self) -> str:
        return self.take(self.number(2)).decode()  # UnicodeDecodeError is a ValueError

    def nullable_string(self) -> str | None:
        length = self.number(2)
        return None if length == -1 else self.take(length).decode()

    def nullable_bytes(self) -> bytes | None:
        length = self.number(4)
        return None if length == -1 else self.take(length)

    def topic_partitions(self) -> TopicPartitions:
        return tuple(
            [(self.string(), tuple([self.number(4) for _ in range(self.count(4))])) for _ in range(self.count(6))]
        )


def _int(value: int, length: int) -> bytes:
    return value.to_bytes(length, "big", signed=True)


def _string(value: str) -> bytes:
    raw = value.encode()
    return _int(len(raw), 2) + raw


def _nullable_bytes(value: bytes | None) -> bytes:
    return _int(-1, 4) if value is None else _int(len(value), 4) + value


def _topic_partitions(partitions: TopicPartitions) -> bytes:
    return _int(len(partitions), 4) + b"".join(
        [
            _string(topic) + _int(len(numbers), 4) + b"".join([_int(number, 4) for number in numbers])
            for topic, numbers in partitions
        ]
    )
