"""Transactions, and what can be seen of producers."""

from __future__ import annotations

from dohle.kafka.declaration import (
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Request,
    Response,
    String,
    Struct,
    since,
    until,
)


class AddPartitionsToTxnRequest(Request, key=24, versions=(0, 5), flexible=3):
    """Adds partitions to transactions."""

    transactions: list[Transaction] = since(4, default=[])
    v3_and_below_transactional_id: String = until(3, default="")
    v3_and_below_producer_id: Int64 = until(3, default=0)
    v3_and_below_producer_epoch: Int16 = until(3, default=0)
    v3_and_below_topics: list[Topic] = until(3, default=[])

    class Topic(Struct):
        name: String
        partitions: list[Int32]

    class Transaction(Struct):
        transactional_id: String
        producer_id: Int64
        producer_epoch: Int16
        verify_only: Bool = False
        topics: list[AddPartitionsToTxnRequest.Topic]


class AddPartitionsToTxnResponse(Response, key=24, versions=(0, 5), flexible=3):
    throttle_time_ms: Int32 = 0
    error_code: Int16 = since(4, default=0)
    results_by_transaction: list[Transaction] = since(4, default=[])
    results_by_topic_v3_and_below: list[Topic] = until(3, default=[])

    class Topic(Struct):
        name: String
        results_by_partition: list[AddPartitionsToTxnResponse.Partition]

    class Partition(Struct):
        partition_index: Int32
        partition_error_code: Int16

    class Transaction(Struct):
        transactional_id: String
        topic_results: list[AddPartitionsToTxnResponse.Topic]


class AddOffsetsToTxnRequest(Request, key=25, versions=(0, 4), flexible=3):
    """Adds a group's offsets to a transaction."""

    transactional_id: String
    producer_id: Int64
    producer_epoch: Int16
    group_id: String


class AddOffsetsToTxnResponse(Response, key=25, versions=(0, 4), flexible=3):
    throttle_time_ms: Int32 = 0
    error_code: Int16


class EndTxnRequest(Request, key=26, versions=(0, 5), flexible=3):
    """Commits or aborts a transaction."""

    transactional_id: String
    producer_id: Int64
    producer_epoch: Int16
    committed: Bool


class EndTxnResponse(Response, key=26, versions=(0, 5), flexible=3):
    throttle_time_ms: Int32 = 0
    error_code: Int16
    producer_id: Int64 = since(5, default=-1)
    producer_epoch: Int16 = since(5, default=-1)


class WriteTxnMarkersRequest(Request, key=27, versions=(1, 2), flexible=1):
    """Writes the markers that end transactions."""

    markers: list[Marker]

    class Marker(Struct):
        producer_id: Int64
        producer_epoch: Int16
        transaction_result: Bool
        topics: list[Topic]
        coordinator_epoch: Int32
        transaction_version: Int8 = since(2, default=0)

        class Topic(Struct):
            name: String
            partition_indexes: list[Int32]


class WriteTxnMarkersResponse(Response, key=27, versions=(1, 2), flexible=1):
    markers: list[Marker]

    class Marker(Struct):
        producer_id: Int64
        topics: list[Topic]

        class Topic(Struct):
            name: String
            partitions: list[Partition]

            class Partition(Struct):
                partition_index: Int32
                error_code: Int16


class TxnOffsetCommitRequest(Request, key=28, versions=(0, 5), flexible=3):
    """Commits offsets within a transaction."""

    transactional_id: String
    group_id: String
    producer_id: Int64
    producer_epoch: Int16
    generation_id: Int32 = since(3, default=-1)
    member_id: String = since(3, default="")
    group_instance_id: String | None = since(3, default=None)
    topics: list[Topic]

    class Topic(Struct):
        name: String
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            committed_offset: Int64
            committed_leader_epoch: Int32 = since(2, default=-1)
            committed_metadata: String | None


class TxnOffsetCommitResponse(Response, key=28, versions=(0, 5), flexible=3):
    throttle_time_ms: Int32 = 0
    topics: list[Topic]

    class Topic(Struct):
        name: String
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16


class DescribeProducersRequest(Request, key=61, versions=(0, 0), flexible=0):
    """Describes the producers that are active on partitions."""

    topics: list[Topic]

    class Topic(Struct):
        name: String
        partition_indexes: list[Int32]


class DescribeProducersResponse(Response, key=61, versions=(0, 0), flexible=0):
    throttle_time_ms: Int32 = 0
    topics: list[Topic]

    class Topic(Struct):
        name: String
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16
            error_message: String | None = None
            active_producers: list[ActiveProducer]

            class ActiveProducer(Struct):
                producer_id: Int64
                producer_epoch: Int32
                last_sequence: Int32 = -1
                last_timestamp: Int64 = -1
                coordinator_epoch: Int32
                current_txn_start_offset: Int64 = -1


class DescribeTransactionsRequest(Request, key=65, versions=(0, 0), flexible=0):
    """Describes transactions."""

    transactional_ids: list[String]


class DescribeTransactionsResponse(Response, key=65, versions=(0, 0), flexible=0):
    throttle_time_ms: Int32 = 0
    transaction_states: list[TransactionState]

    class TransactionState(Struct):
        error_code: Int16
        transactional_id: String
        transaction_state: String
        transaction_timeout_ms: Int32
        transaction_start_time_ms: Int64
        producer_id: Int64
        producer_epoch: Int16
        topics: list[Topic]

        class Topic(Struct):
            topic: String
            partitions: list[Int32]


class ListTransactionsRequest(Request, key=66, versions=(0, 2), flexible=0):
    """Lists transactions."""

    state_filters: list[String]
    producer_id_filters: list[Int64]
    duration_filter: Int64 = since(1, default=-1)
    transactional_id_pattern: String | None = since(2, default=None)


class ListTransactionsResponse(Response, key=66, versions=(0, 2), flexible=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16
    unknown_state_filters: list[String]
    transaction_states: list[TransactionState]

    class TransactionState(Struct):
        transactional_id: String
        producer_id: Int64
        transaction_state: String
