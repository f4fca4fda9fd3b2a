"""What every client is asked for, whatever it is written in, and the two ways in which it may not do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

PATIENCE_S = 60.0


class CannotDo(Exception):
    """The client has no way to do that. Its text says why, in words for a reader of docs/compatibility.md."""


class Told(Exception):
    """The client did not do it. Its text is what the client says, and so what the broker told it."""


class Member(Protocol):
    """A member of a group that reads and commits by itself. Each call may raise CannotDo and Told."""

    def read(self) -> Sequence[tuple[int, bytes]]:
        """Returns what it has read so far, each value with its partition."""
        ...

    def leave(self) -> None:
        """Returns once it has committed what it has read, and has left."""
        ...


class KafkaClient(Protocol):
    """One library or program. Values are short, and without line breaks. Each call may raise CannotDo and Told."""

    def create_topic(self, topic: str, partitions: int) -> None:
        """Creates it with three replicas."""
        ...

    def grow_topic(self, topic: str, partitions: int) -> None: ...
    def alter_topic(self, topic: str, configs: Mapping[str, str]) -> None: ...
    def topic_configs(self, topic: str) -> Mapping[str, str]: ...
    def delete_topic(self, topic: str) -> None: ...

    def produce(self, topic: str, values: Sequence[bytes], codec: str, interrupted: Callable[[], None]) -> None:
        """Writes `values` to partition 0 with acks=all, in one go, calling `interrupted` after half of them were
        acknowledged; returns once all are."""
        ...

    def consume(self, topic: str, offset: int, count: int) -> Sequence[bytes]:
        """Reads so many from partition 0, which is assigned, from `offset` on."""
        ...

    def consume_since(self, topic: str, timestamp_ms: int, count: int) -> Sequence[bytes]:
        """The same from the first record that is not older."""
        ...

    def subscribe(self, topic: str, group: str, count: int, seconds: float) -> Sequence[bytes]:
        """Reads so many as a member of a group, from the beginning. Tries it for so long."""
        ...

    def join(self, topic: str, group: str) -> Member:
        """Begins to read as one more member of a group, from the beginning where nothing is committed."""
        ...


def never() -> None:
    """For `produce` where nothing happens in the middle."""


def halves(values: Sequence[bytes]) -> tuple[Sequence[bytes], Sequence[bytes]]:
    middle = len(values) // 2
    return values[:middle], values[middle:]
