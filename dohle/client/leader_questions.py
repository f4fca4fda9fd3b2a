"""LeaderQuestions: asks partitions' leaders through an admin client, and asks again what time may heal.

For questions that may be asked twice. A topic that was made again under its name meanwhile is another one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dohle.client.backoff import Backoff
from dohle.client.seams import Seams
from dohle.client.values import TopicDescription
from dohle.model.errors import (
    DohleError,
    LeaderNotAvailable,
    UnknownServerError,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from dohle.model.ids import TopicPartition

T = TypeVar("T")

Describe = Callable[[Sequence[str]], Awaitable[dict[str, TopicDescription | DohleError]]]


@dataclass(frozen=True, slots=True)
class Led:
    """A partition as its leader knows it."""

    topic_id: bytes
    partition: int
    leader_epoch: int


Answers = Mapping[tuple[bytes, int], T | DohleError]
"""By topic id and number."""
Question = Callable[[int, Mapping[TopicPartition, Led]], Awaitable[Answers[T]]]
"""Asks the broker of that number of the partitions that it leads."""


class LeaderQuestions:
    """Those of one request. `describe` tells of topics."""

    def __init__(self, describe: Describe, seams: Seams, timeout_s: float) -> None:
        self._describe = describe
        self._seams = seams
        self._deadline = seams.clock.now() + timeout_s
        self._topic_ids: dict[str, bytes] = {}

    @property
    def left_s(self) -> float:
        """How much time is left."""
        return self._deadline - self._seams.clock.now()

    async def ask(self, names: Sequence[TopicPartition], question: Question[T]) -> dict[TopicPartition, T | DohleError]:
        """Returns what each partition's leader answered, or what kept it from that."""
        outcomes: dict[TopicPartition, T | DohleError] = {}
        backoff = Backoff(self._seams.random)
        left = list(names)
        while left:
            outcomes.update(await self._once(left, question))
            left = [name for name in left if _may_be_repeated(outcomes[name])]
            if self.left_s <= 0:
                break
            if left:
                await self._seams.clock.sleep(backoff.next_s())
        return outcomes

    async def _once(
        self, names: Sequence[TopicPartition], question: Question[T]
    ) -> dict[TopicPartition, T | DohleError]:
        described = await self._describe(sorted({name.topic for name in names}))
        outcomes: dict[TopicPartition, T | DohleError] = {}
        of_leader: dict[int, dict[TopicPartition, Led]] = {}
        for name in names:
            try:
                leader, led = self._led(name, described)
            except DohleError as error:
                outcomes[name] = error
            else:
                of_leader.setdefault(leader, {})[name] = led
        for leader, parts in sorted(of_leader.items()):
            try:
                answers = await question(leader, parts)
            except DohleError as error:
                outcomes.update(dict.fromkeys(parts, error))
                continue
            for name, led in parts.items():
                silence = UnknownServerError(f"broker {leader} said nothing of {name}")
                outcomes[name] = answers.get((led.topic_id, led.partition), silence)
        return outcomes

    def _led(self, name: TopicPartition, described: Mapping[str, TopicDescription | DohleError]) -> tuple[int, Led]:
        """Returns who leads, and what to ask of it. Raises what keeps it from being asked."""
        topic = described.get(name.topic, UnknownTopicOrPartition(f"there is no topic {name.topic}"))
        if isinstance(topic, DohleError):
            raise topic
        if self._topic_ids.setdefault(name.topic, topic.topic_id) != topic.topic_id:
            raise UnknownTopicId(f"topic {name.topic} was deleted and made again meanwhile")
        if not 0 <= name.partition < len(topic.partitions):
            raise UnknownTopicOrPartition(
                f"{name.topic} has no partition {name.partition}: it has 0 to {len(topic.partitions) - 1}"
            )
        partition = topic.partitions[name.partition]
        if partition.leader < 0:
            raise LeaderNotAvailable(f"{name} has no leader")
        return partition.leader, Led(topic.topic_id, name.partition, partition.leader_epoch)


def _may_be_repeated(outcome: object) -> bool:
    """There may be a topic of which not every broker has heard; that is not waited for."""
    return isinstance(outcome, DohleError) and outcome.retriable and not isinstance(outcome, UnknownTopicOrPartition)
