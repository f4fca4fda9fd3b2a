"""RecordDeletion: has partitions' leaders delete their oldest records, each up to an offset (Kafka's DeleteRecords).

Asking again deletes nothing more, so that everything is repeated until it is done or the time is over: END is the high
watermark that the first answer tells, and a topic that was made again under its name is another one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from dohle.client.backoff import Backoff
from dohle.client.descriptions import error_in
from dohle.client.seams import Seams
from dohle.client.values import DeletedRecords, TopicDescription
from dohle.model.errors import (
    DohleError,
    LeaderNotAvailable,
    UnknownServerError,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from dohle.model.ids import TopicPartition
from dohle.rpc.v1 import broker_pb2

END: Final = -1
"""In place of an offset: all records that are committed."""
_TRY_S: Final = 5.0
"""How long a leader waits for its replicas, before it is looked for again: it may lead no more."""

Outcome = DeletedRecords | DohleError
Describe = Callable[[Sequence[str]], Awaitable[dict[str, TopicDescription | DohleError]]]
Ask = Callable[[int, broker_pb2.DeleteRecordsRequest], Awaitable[broker_pb2.DeleteRecordsResponse]]


class RecordDeletion:
    """One request. `describe` tells of topics, `ask` asks the broker of that number."""

    def __init__(
        self, before: Mapping[TopicPartition, int], describe: Describe, ask: Ask, seams: Seams, timeout_s: float
    ) -> None:
        self._before = dict(before)
        self._describe = describe
        self._ask = ask
        self._seams = seams
        self._deadline = seams.clock.now() + timeout_s
        self._topic_ids: dict[str, bytes] = {}

    async def foreseen(self) -> dict[TopicPartition, Outcome]:
        """Returns what `run` would do; it deletes nothing."""
        return await self._repeat(list(self._before), validate_only=True)

    async def run(self) -> dict[TopicPartition, Outcome]:
        """Returns what was done, or why it was not, or is not known to be."""
        unknown_ends = [name for name, offset in self._before.items() if offset == END]
        failed: dict[TopicPartition, Outcome] = {}
        for name, found in (await self._repeat(unknown_ends, validate_only=True)).items():
            if isinstance(found, DohleError):
                failed[name] = found
            else:
                self._before[name] = found.before_offset
        deleted = await self._repeat([name for name in self._before if name not in failed], validate_only=False)
        return {name: failed.get(name) or deleted[name] for name in self._before}

    async def _repeat(self, names: Sequence[TopicPartition], *, validate_only: bool) -> dict[TopicPartition, Outcome]:
        outcomes: dict[TopicPartition, Outcome] = {}
        backoff = Backoff(self._seams.random)
        left = list(names)
        while left:
            outcomes.update(await self._once(left, validate_only=validate_only))
            left = [name for name in left if _may_be_repeated(outcomes[name])]
            if self._seams.clock.now() >= self._deadline:
                break
            if left:
                await self._seams.clock.sleep(backoff.next_s())
        return outcomes

    async def _once(self, names: Sequence[TopicPartition], *, validate_only: bool) -> dict[TopicPartition, Outcome]:
        described = await self._describe(sorted({name.topic for name in names}))
        outcomes: dict[TopicPartition, Outcome] = {}
        of_leader: dict[int, dict[TopicPartition, broker_pb2.DeleteRecordsPartition]] = {}
        for name in names:
            try:
                leader, asked = self._part(name, described)
            except DohleError as error:
                outcomes[name] = error
            else:
                of_leader.setdefault(leader, {})[name] = asked
        left_s = max(self._deadline - self._seams.clock.now(), 0.1)
        for leader, parts in sorted(of_leader.items()):
            request = broker_pb2.DeleteRecordsRequest(
                partitions=parts.values(), timeout_ms=int(min(left_s, _TRY_S) * 1000), validate_only=validate_only
            )
            try:
                answers = _by_number(await self._ask(leader, request))
            except DohleError as error:
                outcomes.update(dict.fromkeys(parts, error))
                continue
            for name, asked in parts.items():
                silence = UnknownServerError(f"broker {leader} said nothing of {name}")
                outcomes[name] = answers.get((asked.topic_id, asked.partition), silence)
        return outcomes

    def _part(
        self, name: TopicPartition, described: Mapping[str, TopicDescription | DohleError]
    ) -> tuple[int, broker_pb2.DeleteRecordsPartition]:
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
        return partition.leader, broker_pb2.DeleteRecordsPartition(
            topic_id=topic.topic_id,
            partition=name.partition,
            before_offset=self._before[name],
            current_leader_epoch=partition.leader_epoch,
        )


def _may_be_repeated(outcome: Outcome) -> bool:
    """There may be a topic of which not every broker has heard; that is not waited for."""
    return isinstance(outcome, DohleError) and outcome.retriable and not isinstance(outcome, UnknownTopicOrPartition)


def _by_number(answer: broker_pb2.DeleteRecordsResponse) -> dict[tuple[bytes, int], Outcome]:
    return {
        (one.topic_id, one.partition): error_in(one.failure)
        or DeletedRecords(one.log_start_offset, one.before_offset, one.size_bytes)
        for one in answer.partitions
    }
