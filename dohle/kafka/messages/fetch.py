"""Consumers: batches to read, and the offsets at which to begin."""

from __future__ import annotations

from dohle.kafka.declaration import (
    NO_UUID,
    Int8,
    Int16,
    Int32,
    Int64,
    RecordPieces,
    Request,
    Response,
    String,
    Struct,
    Uuid,
    since,
    tagged,
    until,
)


class FetchRequest(Request, key=1, versions=(4, 18), flexible=12):
    """Reads batches from partitions, or waits for them."""

    cluster_id: String | None = tagged(0, 12, default=None)
    replica_id: Int32 = until(14, default=-1)
    replica_state: ReplicaState | None = tagged(1, 15, default=None)
    max_wait_ms: Int32
    min_bytes: Int32
    max_bytes: Int32 = (1 << 31) - 1
    isolation_level: Int8 = 0
    session_id: Int32 = since(7, default=0)
    session_epoch: Int32 = since(7, default=-1)
    topics: list[Topic]
    forgotten_topics_data: list[ForgottenTopic] = since(7, default=[])
    rack_id: String = since(11, default="")

    class ReplicaState(Struct):
        replica_id: Int32 = -1
        replica_epoch: Int64 = -1

    class Topic(Struct):
        topic: String = until(12, default="")
        topic_id: Uuid = since(13, default=NO_UUID)
        partitions: list[Partition]

        class Partition(Struct):
            partition: Int32
            current_leader_epoch: Int32 = since(9, default=-1)
            fetch_offset: Int64
            last_fetched_epoch: Int32 = since(12, default=-1)
            log_start_offset: Int64 = since(5, default=-1)
            partition_max_bytes: Int32
            replica_directory_id: Uuid = tagged(0, 17, default=NO_UUID)
            high_watermark: Int64 = tagged(1, 18, default=(1 << 63) - 1)

    class ForgottenTopic(Struct):
        topic: String = until(12, default="")
        topic_id: Uuid = since(13, default=NO_UUID)
        partitions: list[Int32]


class FetchResponse(Response, key=1, versions=(4, 18), flexible=12):
    throttle_time_ms: Int32 = 0
    error_code: Int16 = since(7, default=0)
    session_id: Int32 = since(7, default=0)
    responses: list[Topic]
    node_endpoints: list[NodeEndpoint] = tagged(0, 16, default=[])

    class Topic(Struct):
        topic: String = until(12, default="")
        topic_id: Uuid = since(13, default=NO_UUID)
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16
            high_watermark: Int64
            last_stable_offset: Int64 = -1
            log_start_offset: Int64 = since(5, default=-1)
            diverging_epoch: EpochEndOffset | None = tagged(0, 12, default=None)
            current_leader: LeaderIdAndEpoch | None = tagged(1, 12, default=None)
            snapshot_id: SnapshotId | None = tagged(2, 12, default=None)
            aborted_transactions: list[AbortedTransaction] | None
            preferred_read_replica: Int32 = since(11, default=-1)
            records: RecordPieces | None

            class EpochEndOffset(Struct):
                epoch: Int32 = -1
                end_offset: Int64 = -1

            class LeaderIdAndEpoch(Struct):
                leader_id: Int32 = -1
                leader_epoch: Int32 = -1

            class SnapshotId(Struct):
                end_offset: Int64 = -1
                epoch: Int32 = -1

            class AbortedTransaction(Struct):
                producer_id: Int64
                first_offset: Int64

    class NodeEndpoint(Struct):
        node_id: Int32
        host: String
        port: Int32
        rack: String | None = None


class ListOffsetsRequest(Request, key=2, versions=(1, 11), flexible=6):
    """Finds offsets by time, or by a special timestamp."""

    replica_id: Int32
    isolation_level: Int8 = since(2, default=0)
    topics: list[Topic]
    timeout_ms: Int32 = since(10, default=0)

    class Topic(Struct):
        name: String
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            current_leader_epoch: Int32 = since(4, default=-1)
            timestamp: Int64


class ListOffsetsResponse(Response, key=2, versions=(1, 11), flexible=6):
    throttle_time_ms: Int32 = since(2, default=0)
    topics: list[Topic]

    class Topic(Struct):
        name: String
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16
            timestamp: Int64 = -1
            offset: Int64 = -1
            leader_epoch: Int32 = since(4, default=-1)


class OffsetForLeaderEpochRequest(Request, key=23, versions=(2, 4), flexible=4):
    """Tells where a leader epoch ended."""

    replica_id: Int32 = since(3, default=-2)
    topics: list[Topic]

    class Topic(Struct):
        topic: String
        partitions: list[Partition]

        class Partition(Struct):
            partition: Int32
            current_leader_epoch: Int32 = -1
            leader_epoch: Int32


class OffsetForLeaderEpochResponse(Response, key=23, versions=(2, 4), flexible=4):
    throttle_time_ms: Int32 = 0
    topics: list[Topic]

    class Topic(Struct):
        topic: String
        partitions: list[Partition]

        class Partition(Struct):
            error_code: Int16
            partition: Int32
            leader_epoch: Int32 = -1
            end_offset: Int64 = -1
