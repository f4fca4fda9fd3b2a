"""DescribeProducers: the idempotent producers that a replica on this broker remembers."""

from __future__ import annotations

from typing import Final

from dohle.broker.broker import Broker
from dohle.kafka.declaration import NO_UUID
from dohle.kafka.messages.transactions import DescribeProducersRequest, DescribeProducersResponse
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.topics_known import TopicsKnown, by_name, wire_code
from dohle.model.errors import DohleError
from dohle.model.topic_config import check_topic_name

_NO_COORDINATOR: Final = -1

_Topic = DescribeProducersResponse.Topic
_Partition = _Topic.Partition


class ProducersKnown:
    """Also a follower answers, from what it has of the log."""

    def __init__(self, broker: Broker, known: TopicsKnown) -> None:
        self._broker = broker
        self._known = known

    async def describe(self, request: DescribeProducersRequest, _caller: Caller) -> DescribeProducersResponse:
        return DescribeProducersResponse(
            topics=[
                _Topic(
                    name=topic.name,
                    partitions=[self._partition(topic.name, number) for number in topic.partition_indexes],
                )
                for topic in request.topics
            ]
        )

    def _partition(self, topic: str, number: int) -> _Partition:
        try:
            check_topic_name(topic)
            key = self._known.key(self._known.topic(topic, NO_UUID, by_id=False), number)
            replica = self._broker.replicas.partition(key)
        except DohleError as error:
            told = by_name(error, by_id=False)
            return _Partition(
                partition_index=number, error_code=wire_code(told), error_message=told.message, active_producers=[]
            )
        return _Partition(
            partition_index=number,
            error_code=0,
            active_producers=[
                _Partition.ActiveProducer(
                    producer_id=producer_id,
                    producer_epoch=epoch,
                    last_sequence=last.last_sequence,
                    last_timestamp=last.timestamp,
                    coordinator_epoch=_NO_COORDINATOR,
                )
                for producer_id, epoch, last in replica.log.producers.newest()
            ],
        )
