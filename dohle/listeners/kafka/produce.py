"""Produce and InitProducerId: batches go to the broker as they came, which checks their headers and appends them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dohle.broker.broker import Broker
from dohle.broker.waiting import Produced
from dohle.kafka.messages.produce import (
    InitProducerIdRequest,
    InitProducerIdResponse,
    ProduceRequest,
    ProduceResponse,
)
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.topics_known import KafkaNode, TopicsKnown, by_name, wire_code
from dohle.model.batch import CODEC_BITS, CRC_END, NO_PRODUCER, TRANSACTIONAL_BIT
from dohle.model.codecs import Codec
from dohle.model.errors import (
    CoordinatorNotAvailable,
    DohleError,
    InvalidRecord,
    InvalidRequest,
    InvalidRequiredAcks,
    NotLeaderOrFollower,
    RecordsRefused,
    TransactionalIdAuthorizationFailed,
    UnsupportedCompressionType,
)
from dohle.model.ids import PartitionKey
from dohle.model.image import TopicImage

_FIRST_BY_ID: Final = 13
_FIRST_WITH_ZSTD: Final = 7
_ATTRIBUTES_AT: Final = CRC_END + 1  # the lower of their two bytes

_Topic = ProduceResponse.Topic
_Partition = _Topic.Partition


@dataclass(frozen=True, slots=True)
class _Appended:
    """One partition's part. `outcome` None: appended, and no answer is expected."""

    topic: ProduceRequest.Topic
    index: int
    key: PartitionKey | None
    outcome: asyncio.Future[Produced] | DohleError | None


class Producing:
    """What producers ask."""

    def __init__(self, broker: Broker, known: TopicsKnown) -> None:
        self._broker = broker
        self._known = known

    async def produce(self, request: ProduceRequest, caller: Caller) -> Coroutine[Any, Any, ProduceResponse] | None:
        """Appends everything, and returns what waits for the acknowledgements.

        With acks=0 there is no answer to say an error in: it is raised, once everything else is appended.
        """
        appended: list[_Appended] = []
        for topic in request.topic_data:
            appended += await self._append(request, topic, caller.api_version)
        if request.acks != 0:
            return self._acknowledged(appended, caller)
        for one in appended:
            if isinstance(one.outcome, DohleError):
                raise one.outcome
        return None

    async def _append(self, request: ProduceRequest, topic: ProduceRequest.Topic, version: int) -> list[_Appended]:
        by_id = version >= _FIRST_BY_ID
        image: TopicImage | DohleError
        try:
            image = self._known.topic(topic.name, topic.topic_id, by_id=by_id)
        except DohleError as error:
            image = error
        appended: list[_Appended] = []
        for partition in topic.partition_data:
            key: PartitionKey | None = None
            outcome: asyncio.Future[Produced] | DohleError | None
            try:
                if isinstance(image, DohleError):
                    raise image
                key = self._known.key(image, partition.index)
                batch = _checked(partition.records, request, version)
                outcome = await self._broker.produce(key, batch, request.acks, max(request.timeout_ms, 0) / 1000)
            except DohleError as error:
                outcome = by_name(error, by_id=by_id)
            appended.append(_Appended(topic, partition.index, key, outcome))
        return appended

    async def _acknowledged(self, appended: Sequence[_Appended], caller: Caller) -> ProduceResponse:
        response = ProduceResponse(responses=[])
        told: ProduceRequest.Topic | None = None
        moved = False
        try:
            for one in appended:
                if told is not one.topic:
                    told = one.topic
                    response.responses.append(_Topic(name=told.name, topic_id=told.topic_id, partition_responses=[]))
                answer = await self._answer(one)
                moved = moved or answer.current_leader is not None
                response.responses[-1].partition_responses.append(answer)
        finally:
            _forget(appended)
        if moved:
            response.node_endpoints = [_endpoint(node) for node in self._known.nodes(caller)]
        return response

    async def _answer(self, one: _Appended) -> ProduceResponse.Topic.Partition:
        if isinstance(one.outcome, DohleError):
            return self._refused(one, one.outcome)
        assert one.outcome is not None, "acks=0 is not answered"
        try:
            produced = await one.outcome
        except DohleError as error:
            return self._refused(one, error)
        return _Partition(
            index=one.index,
            error_code=0,
            base_offset=produced.base_offset,
            log_append_time_ms=produced.log_append_time_ms,
            log_start_offset=produced.log_start_offset,
        )

    def _refused(self, one: _Appended, error: DohleError) -> ProduceResponse.Topic.Partition:
        answer = _Partition(index=one.index, error_code=wire_code(error), base_offset=-1, error_message=error.message)
        if isinstance(error, RecordsRefused):
            answer.record_errors = [
                _Partition.RecordError(batch_index=place, batch_index_error_message=wrong)
                for place, wrong in error.records.items()
            ]
        now = None if one.key is None else self._known.partition(one.key)
        if isinstance(error, NotLeaderOrFollower) and now is not None:
            answer.current_leader = _Partition.LeaderIdAndEpoch(leader_id=now.leader, leader_epoch=now.leader_epoch)
        return answer

    async def init_producer_id(self, request: InitProducerIdRequest, _caller: Caller) -> InitProducerIdResponse:
        """An idempotent producer that asks again gets a new id; there are no transactions yet."""
        try:
            if request.transactional_id == "":
                raise InvalidRequest("the transactional id is empty: give one, or null for none")
            if (request.producer_id == NO_PRODUCER) != (request.producer_epoch == NO_PRODUCER):
                raise InvalidRequest("a producer's id and epoch belong together: give both, or neither")
            if request.transactional_id is not None:
                raise CoordinatorNotAvailable("transactions are not served yet")
            producer_id = await self._broker.producer_ids.next()
        except DohleError as error:
            return InitProducerIdResponse(error_code=wire_code(error), producer_epoch=-1)
        return InitProducerIdResponse(error_code=0, producer_id=producer_id, producer_epoch=0)


def _checked(records: memoryview | None, request: ProduceRequest, version: int) -> memoryview:
    """Raises what has nothing to do with the topic; the broker checks the rest."""
    if request.acks not in (-1, 0, 1):
        raise InvalidRequiredAcks(f"acks is {request.acks}; it must be -1 (all), 1 (the leader) or 0 (no answer)")
    if not records:
        raise InvalidRecord("no batch was sent: one for each partition is needed")
    if len(records) > _ATTRIBUTES_AT:
        attributes = records[_ATTRIBUTES_AT]
        if attributes & CODEC_BITS == Codec.ZSTD and version < _FIRST_WITH_ZSTD:
            raise UnsupportedCompressionType(
                f"zstd needs version {_FIRST_WITH_ZSTD} of Produce, and this is version {version}"
            )
        if attributes & TRANSACTIONAL_BIT and request.transactional_id is None:
            raise TransactionalIdAuthorizationFailed("a batch of a transaction, and the request names none")
    return records


def _forget(appended: Sequence[_Appended]) -> None:
    """Takes note of what nobody waits for any more: the client has gone."""
    for one in appended:
        if isinstance(one.outcome, asyncio.Future) and not one.outcome.cancel() and not one.outcome.cancelled():
            one.outcome.exception()


def _endpoint(node: KafkaNode) -> ProduceResponse.NodeEndpoint:
    return ProduceResponse.NodeEndpoint(node_id=node.node_id, host=node.host, port=node.port, rack=node.rack)
