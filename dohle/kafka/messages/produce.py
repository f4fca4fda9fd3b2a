"""Producers: batches to append, and the ids that make repeating them harmless."""

from __future__ import annotations

from dohle.kafka.declaration import (
    NO_UUID,
    Int16,
    Int32,
    Int64,
    Records,
    Request,
    Response,
    String,
    Struct,
    Uuid,
    since,
    tagged,
    until,
)


class ProduceRequest(Request, key=0, versions=(3, 13), flexible=9):
    """Appends batches to partitions."""

    transactional_id: String | None = None
    acks: Int16
    timeout_ms: Int32
    topic_data: list[Topic]

    class Topic(Struct):
        name: String = until(12, default="")
        topic_id: Uuid = since(13, default=NO_UUID)
        partition_data: list[Partition]

        class Partition(Struct):
            index: Int32
            records: Records | None


class ProduceResponse(Response, key=0, versions=(3, 13), flexible=9):
    responses: list[Topic]
    throttle_time_ms: Int32 = 0
    node_endpoints: list[NodeEndpoint] = tagged(0, 10, default=[])

    class Topic(Struct):
        name: String = until(12, default="")
        topic_id: Uuid = since(13, default=NO_UUID)
        partition_responses: list[Partition]

        class Partition(Struct):
            index: Int32
            error_code: Int16
            base_offset: Int64
            log_append_time_ms: Int64 = -1
            log_start_offset: Int64 = since(5, default=-1)
            record_errors: list[RecordError] = since(8, default=[])
            error_message: String | None = since(8, default=None)
            current_leader: LeaderIdAndEpoch | None = tagged(0, 10, default=None)

            class RecordError(Struct):
                batch_index: Int32
                batch_index_error_message: String | None = None

            class LeaderIdAndEpoch(Struct):
                leader_id: Int32 = -1
                leader_epoch: Int32 = -1

    class NodeEndpoint(Struct):
        node_id: Int32
        host: String
        port: Int32
        rack: String | None = None


class InitProducerIdRequest(Request, key=22, versions=(0, 5), flexible=2):
    """Gives a producer its id and epoch."""

    transactional_id: String | None
    transaction_timeout_ms: Int32
    producer_id: Int64 = since(3, default=-1)
    producer_epoch: Int16 = since(3, default=-1)


class InitProducerIdResponse(Response, key=22, versions=(0, 5), flexible=2):
    throttle_time_ms: Int32 = 0
    error_code: Int16
    producer_id: Int64 = -1
    producer_epoch: Int16
