"""RecordDeletion: has partitions' leaders delete their oldest records, each up to an offset (Kafka's DeleteRecords).

Asking again deletes nothing more, so that everything is repeated until it is done or the time is over: END is the high
watermark that the first answer tells, and a topic that was made again under its name is another one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

from dohle.client.descriptions import error_in
from dohle.client.leader_questions import LeaderQuestions, Led
from dohle.client.values import DeletedRecords
from dohle.model.errors import DohleError
from dohle.model.ids import TopicPartition
from dohle.rpc.v1 import broker_pb2

END: Final = -1
"""In place of an offset: all records that are committed."""
_TRY_S: Final = 5.0
"""How long a leader waits for its replicas, before it is looked for again: it may lead no more."""

Outcome = DeletedRecords | DohleError
Ask = Callable[[int, broker_pb2.DeleteRecordsRequest], Awaitable[broker_pb2.DeleteRecordsResponse]]


class RecordDeletion:
    """One request. `ask` asks the broker of that number."""

    def __init__(self, before: Mapping[TopicPartition, int], leaders: LeaderQuestions, ask: Ask) -> None:
        self._before = dict(before)
        self._leaders = leaders
        self._ask = ask

    async def foreseen(self) -> dict[TopicPartition, Outcome]:
        """Returns what `run` would do; it deletes nothing."""
        return await self._delete(list(self._before), validate_only=True)

    async def run(self) -> dict[TopicPartition, Outcome]:
        """Returns what was done, or why it was not, or is not known to be."""
        unknown_ends = [name for name, offset in self._before.items() if offset == END]
        failed: dict[TopicPartition, Outcome] = {}
        for name, found in (await self._delete(unknown_ends, validate_only=True)).items():
            if isinstance(found, DohleError):
                failed[name] = found
            else:
                self._before[name] = found.before_offset
        deleted = await self._delete([name for name in self._before if name not in failed], validate_only=False)
        return {name: failed.get(name) or deleted[name] for name in self._before}

    async def _delete(self, names: Sequence[TopicPartition], *, validate_only: bool) -> dict[TopicPartition, Outcome]:
        return await self._leaders.ask(names, partial(self._question, validate_only))

    async def _question(
        self, validate_only: bool, leader: int, parts: Mapping[TopicPartition, Led]
    ) -> dict[tuple[bytes, int], Outcome]:
        request = broker_pb2.DeleteRecordsRequest(
            partitions=[
                broker_pb2.DeleteRecordsPartition(
                    topic_id=led.topic_id,
                    partition=led.partition,
                    before_offset=self._before[name],
                    current_leader_epoch=led.leader_epoch,
                )
                for name, led in parts.items()
            ],
            timeout_ms=int(min(max(self._leaders.left_s, 0.1), _TRY_S) * 1000),
            validate_only=validate_only,
        )
        return {
            (one.topic_id, one.partition): error_in(one.failure)
            or DeletedRecords(one.log_start_offset, one.before_offset, one.size_bytes)
            for one in (await self._ask(leader, request)).partitions
        }
