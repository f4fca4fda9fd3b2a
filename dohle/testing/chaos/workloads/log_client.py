"""LogClient: what a workload needs of a client, be it the SDK, librdkafka or Java's. A seam of its own.

The settings are those under which nothing may be lost: acks=all, idempotent producers, read_committed, earliest, no
commits but those that are asked for. A `Failure` is definite only where what was asked for certainly did not happen,
and never happens: a time-out never is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from dohle.model.ids import TopicPartition

Headers = Sequence[tuple[str, bytes | None]]


class Failure(Exception):
    """What was asked for failed. `epoch`: of a commit, that of the member's last attempt, where it is known."""

    def __init__(self, why: str, *, definite: bool = False, epoch: int = -1) -> None:
        super().__init__(why)
        self.why = why
        self.definite = definite
        self.epoch = epoch


class Record(NamedTuple):
    """A record as a consumer got it."""

    partition: TopicPartition
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    def header(self, name: str) -> bytes | None:
        return dict(self.headers).get(name)


Settled = Callable[[int | None, Failure | None], None]
"""Is called once with what became of a record: the offset that was told, if one was; or why it failed."""


@dataclass(frozen=True, slots=True)
class ProducerPlan:
    """What may differ from producer to producer."""

    linger_ms: int = 5
    compression: str = "none"
    delivery_timeout_ms: int = 60_000


class LogProducer(Protocol):
    """Delivers each partition's records in the order in which they were sent."""

    async def send(
        self,
        partition: TopicPartition,
        value: bytes | None,
        settled: Settled,
        *,
        key: bytes | None = None,
        headers: Headers = (),
    ) -> None:
        """Takes a record, of which `settled` hears later. Raises Failure if it was not taken: then it does not."""
        ...

    async def flush(self) -> None:
        """Returns once all records that were taken are settled."""
        ...

    async def close(self) -> None: ...


class LogConsumer(Protocol):
    """Whatever fails raises Failure, and may be tried again."""

    async def assign(self, starts: Mapping[TopicPartition, int]) -> None:
        """Reads these from now on, each from an offset."""
        ...

    async def subscribe(self, topics: Sequence[str], changed: Callable[[Sequence[TopicPartition]], None]) -> None:
        """Reads what the group leaves to it; `changed` hears what is given to it and taken from it, before records of
        it are returned."""
        ...

    async def poll(self, most: int, timeout_s: float) -> Sequence[Record]:
        """Returns the next records, none if none came in time."""
        ...

    async def ends(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Returns where each ends: behind the last record that can be read."""
        ...

    async def position(self, partition: TopicPartition) -> int:
        """Returns the offset at which it goes on in what it reads: behind what leaves no record, too."""
        ...

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> int:
        """Returns the epoch of the member in which that was committed, -1 where the client does not tell."""
        ...

    async def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int | None]: ...

    async def close(self) -> None:
        """Leaves its group, too, as far as anybody listens."""
        ...


class LogClient(Protocol):
    """Makes what speaks to the cluster."""

    def producer(self, plan: ProducerPlan) -> LogProducer: ...

    def consumer(self, group: str | None = None) -> LogConsumer: ...

    def stand_still(self, seconds: float) -> None:
        """Has the caller's process stop for so long, and the client with it as far as it lives there."""
        ...

    async def close(self) -> None: ...
