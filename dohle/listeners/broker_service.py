"""The Broker service over gRPC: produce, fetch, offsets, producer ids, metadata."""

from __future__ import annotations

import asyncio

from dohle.broker.broker import Broker
from dohle.broker.deletions import Deletion
from dohle.broker.fetch_set import Fetched, FetchWanted
from dohle.broker.positions import ReaderPosition, Surrounding
from dohle.listeners.byte_budget import ByteBudget
from dohle.listeners.produce_stream import ProduceStream, Requests
from dohle.model.errors import BrokerNotAvailable, DohleError, UnknownTopicOrPartition
from dohle.model.ids import PartitionKey, TopicId
from dohle.model.image import TopicImage
from dohle.rpc.v1 import broker_pb2, common_pb2
from dohle.runtime.network import RequestContext, Stream
from dohle.runtime.tasks import Tasks

PRODUCE_BYTES = 128 << 20
"""Appended and not yet acknowledged, over all producers."""
ANSWER_BYTES = 2 << 20
"""Of one answer to a fetch, whatever the client asks for; a single larger batch is sent all the same.

A message is copied several times, at a stretch: one of 6 MB kept the event loop, and all who write, for 5 ms.
"""
MOST_WAIT_S = 60.0
"""The longest that a fetch or a deletion is held, whatever the client asks for."""

FetchRequests = Stream[broker_pb2.FetchResponse, broker_pb2.FetchRequest]


class BrokerService:
    """Translates; `tasks` owns what runs beside a stream's receiving side."""

    def __init__(self, broker: Broker, tasks: Tasks) -> None:
        self._broker = broker
        self._tasks = tasks
        self._budget = ByteBudget(PRODUCE_BYTES)

    async def produce(self, stream: Requests, context: RequestContext) -> None:
        session = ProduceStream(self._broker, stream, self._budget)
        sender = self._tasks.spawn(session.send(), f"answers to {context.client_id}")
        try:
            await session.receive()
        finally:
            sender.cancel()

    async def fetch(self, stream: FetchRequests, context: RequestContext) -> None:
        while (request := await stream.receive()) is not None:
            wanted = [
                FetchWanted(
                    PartitionKey(TopicId(one.topic_id), one.partition),
                    one.fetch_offset,
                    one.max_bytes,
                    one.current_leader_epoch,
                    one.rack,
                )
                for one in request.partitions
            ]
            fetched = await self._broker.reads.fetch(
                wanted,
                max_wait_s=min(request.max_wait_ms / 1000, MOST_WAIT_S),
                min_bytes=request.min_bytes,
                max_bytes=min(request.max_bytes, ANSWER_BYTES),
            )
            response = broker_pb2.FetchResponse(
                correlation=request.correlation,
                in_doubt=self._broker.membership.in_doubt,
            )
            for one in [one for one in fetched if one.is_news] or fetched:
                _tell(one, response.partitions.add())
            await stream.send(response)

    async def list_offsets(
        self, request: broker_pb2.ListOffsetsRequest, context: RequestContext
    ) -> broker_pb2.ListOffsetsResponse:
        response = broker_pb2.ListOffsetsResponse()
        for one in request.partitions:
            listed = broker_pb2.ListedOffset(topic_id=one.topic_id, partition=one.partition, offset=-1, timestamp_ms=-1)
            key = PartitionKey(TopicId(one.topic_id), one.partition)
            try:
                found = await self._broker.reads.find_offset(key, one.timestamp_ms, one.current_leader_epoch)
                listed.offset, listed.timestamp_ms = found.offset, found.timestamp_ms
                listed.leader_epoch = found.leader_epoch
            except DohleError as error:
                listed.failure.CopyFrom(failure(error))
            response.partitions.append(listed)
        return response

    async def describe_positions(
        self, request: broker_pb2.DescribePositionsRequest, context: RequestContext
    ) -> broker_pb2.DescribePositionsResponse:
        found = await self._broker.positions.describe(
            [
                ReaderPosition(PartitionKey(TopicId(one.topic_id), one.partition), one.offset, one.wants_time)
                for one in request.positions
            ]
        )
        return broker_pb2.DescribePositionsResponse(positions=map(_described_position, found))

    async def delete_records(
        self, request: broker_pb2.DeleteRecordsRequest, context: RequestContext
    ) -> broker_pb2.DeleteRecordsResponse:
        timeout_s = min(request.timeout_ms / 1000, MOST_WAIT_S)

        async def delete(one: broker_pb2.DeleteRecordsPartition) -> broker_pb2.DeletedRecords:
            key = PartitionKey(TopicId(one.topic_id), one.partition)
            try:
                if request.validate_only:
                    found = self._broker.deletions.foreseen(key, one.before_offset, one.current_leader_epoch)
                else:
                    found = await self._broker.deletions.delete(
                        key, one.before_offset, one.current_leader_epoch, timeout_s
                    )
            except DohleError as error:
                return broker_pb2.DeletedRecords(
                    topic_id=one.topic_id,
                    partition=one.partition,
                    failure=failure(error),
                    log_start_offset=-1,
                    before_offset=-1,
                )
            return _deleted_records(one, found)

        # side by side: one that waits for a replica keeps none of the others
        return broker_pb2.DeleteRecordsResponse(partitions=await asyncio.gather(*map(delete, request.partitions)))

    async def init_producer_id(
        self, request: broker_pb2.InitProducerIdRequest, context: RequestContext
    ) -> broker_pb2.InitProducerIdResponse:
        return broker_pb2.InitProducerIdResponse(producer_id=await self._broker.producer_ids.next(), producer_epoch=0)

    async def metadata(
        self, request: broker_pb2.MetadataRequest, context: RequestContext
    ) -> broker_pb2.MetadataResponse:
        if not self._broker.knows_cluster:  # else a client would take its topics for deleted
            raise BrokerNotAvailable("this broker starts, and does not know the cluster's topics yet; ask another")
        image = self._broker.image
        response = broker_pb2.MetadataResponse(
            cluster_id=image.cluster_id or "", controller_id=self._broker.metadata.controller_id
        )
        for broker in image.brokers_in_order():
            endpoint = broker.endpoint(context.listener)
            if not broker.fenced and endpoint is not None:
                response.nodes.append(
                    broker_pb2.NodeMetadata(
                        node_id=broker.node_id, host=endpoint.host, port=endpoint.port, rack=broker.rack
                    )
                )
        if request.all_topics:
            response.topics.extend(_topic_metadata(topic) for topic in image.topics_in_order())
        for name in request.topics:
            topic = image.topic_named(name)
            if topic is None:
                unknown = UnknownTopicOrPartition(f"there is no topic {name}")
                response.topics.append(broker_pb2.TopicMetadata(name=name, failure=failure(unknown)))
            else:
                response.topics.append(_topic_metadata(topic))
        return response


def failure(error: DohleError) -> common_pb2.Failure:
    """Returns `error` as it travels."""
    return common_pb2.Failure(code=error.code, message=error.message)


def _described_position(found: Surrounding | DohleError) -> broker_pb2.DescribedPosition:
    if isinstance(found, DohleError):
        return broker_pb2.DescribedPosition(failure=failure(found), log_start_offset=-1, high_watermark=-1)
    return broker_pb2.DescribedPosition(
        log_start_offset=found.log_start_offset,
        high_watermark=found.high_watermark,
        timestamp_ms=found.timestamp_ms,
    )


def _deleted_records(asked: broker_pb2.DeleteRecordsPartition, deletion: Deletion) -> broker_pb2.DeletedRecords:
    return broker_pb2.DeletedRecords(
        topic_id=asked.topic_id,
        partition=asked.partition,
        log_start_offset=deletion.log_start_offset,
        before_offset=deletion.before_offset,
        size_bytes=deletion.size_bytes,
    )


def _tell(fetched: Fetched, partition: broker_pb2.FetchedPartition) -> None:
    """Fills in what was found: a message that is added to another when it is made is copied with all its batches."""
    partition.topic_id = fetched.key.topic_id
    partition.partition = fetched.key.partition
    if fetched.failure is not None:
        partition.failure.CopyFrom(failure(fetched.failure))
    partition.high_watermark = fetched.high_watermark
    partition.log_start_offset = fetched.log_start_offset
    partition.batches = fetched.batches
    if fetched.read_from is not None:
        partition.preferred_read_replica = fetched.read_from


def _topic_metadata(topic: TopicImage) -> broker_pb2.TopicMetadata:
    return broker_pb2.TopicMetadata(
        name=topic.name,
        topic_id=topic.topic_id,
        partitions=[
            broker_pb2.PartitionMetadata(
                partition=number,
                leader=partition.leader,
                leader_epoch=partition.leader_epoch,
                partition_epoch=partition.partition_epoch,
                assigned_replicas=partition.assigned_replicas,
                in_sync_replicas=partition.in_sync_replicas,
                eligible_replicas=partition.eligible_replicas,
                last_known_leader=partition.last_known_leader,
            )
            for number, partition in enumerate(topic.partitions)
        ],
    )
