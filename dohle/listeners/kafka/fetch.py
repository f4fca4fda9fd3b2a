"""Fetch: batches as they lie in the log, in sessions of `fetch_sessions` or without one."""

from __future__ import annotations

from typing import Final

from dohle.broker.broker import Broker
from dohle.broker.fetch_set import Fetched
from dohle.broker.reads import MOST_BYTES
from dohle.kafka.declaration import NO_UUID
from dohle.kafka.messages.fetch import FetchRequest, FetchResponse
from dohle.listeners.byte_budget import ByteBudget
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.fetch_sessions import (
    NO_SESSION,
    FetchSession,
    FetchSessions,
    PartitionName,
    SessionPartition,
)
from dohle.listeners.kafka.topics_known import TopicsKnown, by_name, wire_code
from dohle.model.errors import (
    DohleError,
    FencedLeaderEpoch,
    InvalidFetchSessionEpoch,
    NotLeaderOrFollower,
    UnknownTopicId,
    UnknownTopicOrPartition,
)

_FIRST_BY_ID: Final = 13
_READ_COMMITTED: Final = 1
_MOST_WAIT_S: Final = 60.0
_LEAST_ANSWER_BYTES: Final = 1 << 20
_NOBODY: Final = -1

_Topic = FetchResponse.Topic
_Partition = _Topic.Partition


class Fetching:
    """What consumers ask; `answers` is the node's budget for what they have not taken yet."""

    def __init__(self, broker: Broker, known: TopicsKnown, answers: ByteBudget, sessions: FetchSessions) -> None:
        self._broker = broker
        self._known = known
        self._answers = answers
        self._sessions = sessions

    async def fetch(self, request: FetchRequest, caller: Caller) -> FetchResponse:
        try:
            session = self._sessions.begin(request, by_id=caller.api_version >= _FIRST_BY_ID)
        except DohleError as error:
            return FetchResponse(error_code=error.code, responses=[])
        is_full = session.number == NO_SESSION
        try:
            response = await self._fetch(request, session, caller, is_full=is_full)
            if is_full:
                self._sessions.keep(session, request)
            response.session_id = session.number
            return response
        finally:
            if session.number == NO_SESSION:
                session.close()

    async def _fetch(
        self, request: FetchRequest, session: FetchSession, caller: Caller, *, is_full: bool
    ) -> FetchResponse:
        epoch = session.epoch
        refused = self._look_up(session)
        found = await self._read(request, session, waits=not refused)
        if session.epoch != epoch:
            return FetchResponse(error_code=InvalidFetchSessionEpoch.code, responses=[])
        answers = _Answers(self._known, request.isolation_level, by_id=session.by_id)
        told = dict.fromkeys(session.partitions.values()) if is_full else dict.fromkeys([*refused, *found])
        for partition in told:
            read = refused.get(partition) or found[partition]
            if is_full or partition.has_news(read):
                partition.told(read)
                answers.add(partition.name, read)
            if isinstance(read.failure, UnknownTopicId):
                session.lost(partition)
        if answers.names_leaders:
            answers.response.node_endpoints = [
                FetchResponse.NodeEndpoint(node_id=node.node_id, host=node.host, port=node.port, rack=node.rack)
                for node in self._known.nodes(caller)
            ]
        return answers.response

    def _look_up(self, session: FetchSession) -> dict[SessionPartition, Fetched]:
        """Finds the partitions that the session names; returns what to answer for those that there are not."""
        refused: dict[SessionPartition, Fetched] = {}
        for partition in list(session.not_found):
            topic, number = partition.name
            try:
                if isinstance(topic, bytes):
                    image = self._known.topic("", topic, by_id=True)
                else:
                    image = self._known.topic(topic, NO_UUID, by_id=False)
                session.found(partition, self._known.key(image, number))
            except DohleError as error:
                refused[partition] = Fetched(partition.wanted.key, failure=error)
        return refused

    async def _read(
        self, request: FetchRequest, session: FetchSession, *, waits: bool
    ) -> dict[SessionPartition, Fetched]:
        if not session.fetch_set:
            return {}
        most = max(min(request.max_bytes, MOST_BYTES, self._answers.free_bytes), _LEAST_ANSWER_BYTES)
        return await self._broker.reads.fetch_due(
            session.fetch_set,
            max_wait_s=min(max(request.max_wait_ms, 0) / 1000, _MOST_WAIT_S) if waits else 0.0,
            min_bytes=request.min_bytes,
            max_bytes=min(most, max(request.max_bytes, 1)),  # one batch comes in any case
        )


class _Answers:
    """The response, as it grows by partitions."""

    def __init__(self, known: TopicsKnown, isolation_level: int, *, by_id: bool) -> None:
        self.response = FetchResponse(responses=[])
        self.names_leaders = False
        self._known = known
        self._isolation_level = isolation_level
        self._by_id = by_id
        self._topics: dict[str | bytes, list[_Partition]] = {}

    def add(self, name: PartitionName, read: Fetched) -> None:
        partitions = self._topics.get(name.topic)
        if partitions is None:
            partitions = self._topics[name.topic] = []
            topic = (
                _Topic(topic_id=name.topic, partitions=partitions)
                if isinstance(name.topic, bytes)
                else _Topic(topic=name.topic, partitions=partitions)
            )
            self.response.responses.append(topic)
        partitions.append(self._partition(name.partition, read))

    def _partition(self, number: int, read: Fetched) -> _Partition:
        answer = _Partition(
            partition_index=number, error_code=0, high_watermark=_NOBODY, aborted_transactions=None, records=[]
        )
        if isinstance(read.failure, UnknownTopicId | UnknownTopicOrPartition):
            answer.aborted_transactions = []  # null is for what is read, as Kafka has it
        if read.failure is not None:
            answer.error_code = wire_code(by_name(read.failure, by_id=self._by_id))
            now = self._known.partition(read.key)
            if isinstance(read.failure, NotLeaderOrFollower | FencedLeaderEpoch) and now is not None:
                answer.current_leader = _Partition.LeaderIdAndEpoch(leader_id=now.leader, leader_epoch=now.leader_epoch)
                self.names_leaders = True
            return answer
        answer.high_watermark = answer.last_stable_offset = read.high_watermark
        answer.log_start_offset = read.log_start_offset
        answer.aborted_transactions = [] if self._isolation_level == _READ_COMMITTED else None
        if read.read_from is None:
            answer.records = [read.batches]
        else:
            answer.preferred_read_replica = read.read_from
        return answer
