"""Fetch: batches as they lie in the log. Sessions are refused, so that every request names all that it wants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dohle.broker.broker import Broker
from dohle.broker.reads import MOST_BYTES, Fetched, FetchWanted
from dohle.kafka.messages.fetch import FetchRequest, FetchResponse
from dohle.listeners.byte_budget import ByteBudget
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.topics_known import TopicsKnown, by_name, wire_code
from dohle.model.errors import DohleError, FencedLeaderEpoch, FetchSessionIdNotFound, NotLeaderOrFollower
from dohle.model.ids import PartitionKey

_FIRST_BY_ID: Final = 13
_READ_COMMITTED: Final = 1
_MOST_WAIT_S: Final = 60.0
_LEAST_ANSWER_BYTES: Final = 1 << 20
_NOBODY: Final = -1

_Topic = FetchResponse.Topic
_Partition = _Topic.Partition


class Fetching:
    """What consumers ask; `answers` is the node's budget for what they have not taken yet."""

    def __init__(self, broker: Broker, known: TopicsKnown, answers: ByteBudget) -> None:
        self._broker = broker
        self._known = known
        self._answers = answers

    async def fetch(self, request: FetchRequest, caller: Caller) -> FetchResponse:
        if request.session_epoch > 0:
            return FetchResponse(error_code=FetchSessionIdNotFound.code, responses=[])
        by_id = caller.api_version >= _FIRST_BY_ID
        response = FetchResponse(responses=[])
        wanted: list[FetchWanted] = []
        asked: list[tuple[_Partition, FetchWanted]] = []
        any_refused = False
        for topic in request.topics:
            answers: list[_Partition] = []
            response.responses.append(_Topic(topic=topic.topic, topic_id=topic.topic_id, partitions=answers))
            for partition in topic.partitions:
                answer = _nothing(partition.partition)
                answers.append(answer)
                try:
                    found = self._known.topic(topic.topic, topic.topic_id, by_id=by_id)
                    one = _wanted(self._known.key(found, partition.partition), partition, request.rack_id)
                except DohleError as error:
                    answer.error_code = wire_code(error)
                    any_refused = True
                else:
                    wanted.append(one)
                    asked.append((answer, one))
        fetched = await self._read(request, wanted, waits=not any_refused)
        moved = False
        for (answer, one), read in zip(asked, fetched, strict=True):
            self._fill(answer, one.key, read, request.isolation_level, by_id=by_id)
            moved = moved or answer.current_leader is not None
        if moved:
            response.node_endpoints = [
                FetchResponse.NodeEndpoint(node_id=node.node_id, host=node.host, port=node.port, rack=node.rack)
                for node in self._known.nodes(caller)
            ]
        return response

    async def _read(self, request: FetchRequest, wanted: Sequence[FetchWanted], *, waits: bool) -> list[Fetched]:
        if not wanted:
            return []
        most = max(min(request.max_bytes, MOST_BYTES, self._answers.free_bytes), _LEAST_ANSWER_BYTES)
        return await self._broker.reads.fetch(
            wanted,
            max_wait_s=min(max(request.max_wait_ms, 0) / 1000, _MOST_WAIT_S) if waits else 0.0,
            min_bytes=request.min_bytes,
            max_bytes=min(most, max(request.max_bytes, 0)),
        )

    def _fill(self, answer: _Partition, key: PartitionKey, read: Fetched, isolation_level: int, *, by_id: bool) -> None:
        if read.failure is not None:
            answer.error_code = wire_code(by_name(read.failure, by_id=by_id))
            now = self._known.partition(key)
            if isinstance(read.failure, NotLeaderOrFollower | FencedLeaderEpoch) and now is not None:
                answer.current_leader = _Partition.LeaderIdAndEpoch(leader_id=now.leader, leader_epoch=now.leader_epoch)
            return
        answer.high_watermark = answer.last_stable_offset = read.high_watermark
        answer.log_start_offset = read.log_start_offset
        answer.aborted_transactions = [] if isolation_level == _READ_COMMITTED else None
        if read.read_from is None:
            answer.records = [read.batches]
        else:
            answer.preferred_read_replica = read.read_from


def _wanted(key: PartitionKey, asked: FetchRequest.Topic.Partition, rack: str) -> FetchWanted:
    return FetchWanted(key, asked.fetch_offset, asked.partition_max_bytes, asked.current_leader_epoch, rack)


def _nothing(partition: int) -> _Partition:
    return _Partition(
        partition_index=partition, error_code=0, high_watermark=_NOBODY, aborted_transactions=None, records=[]
    )
