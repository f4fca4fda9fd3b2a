"""Share groups, in which members take records and not partitions (KIP-932)."""

from __future__ import annotations

from dohle.kafka.declaration import (
    Bool,
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
)


class ShareGroupHeartbeatRequest(Request, key=76, versions=(1, 1), flexible=0):
    """Joins, keeps alive and leaves, all in one."""

    group_id: String
    member_id: String
    member_epoch: Int32
    rack_id: String | None = None
    subscribed_topic_names: list[String] | None = None


class ShareGroupHeartbeatResponse(Response, key=76, versions=(1, 1), flexible=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None = None
    member_id: String | None = None
    member_epoch: Int32
    heartbeat_interval_ms: Int32
    assignment: Assignment | None = None

    class TopicPartitions(Struct):
        topic_id: Uuid
        partitions: list[Int32]

    class Assignment(Struct):
        topic_partitions: list[ShareGroupHeartbeatResponse.TopicPartitions]


class ShareGroupDescribeRequest(Request, key=77, versions=(1, 1), flexible=0):
    """Describes share groups."""

    group_ids: list[String]
    include_authorized_operations: Bool


class ShareGroupDescribeResponse(Response, key=77, versions=(1, 1), flexible=0):
    throttle_time_ms: Int32 = 0
    groups: list[Group]

    class TopicPartitions(Struct):
        topic_id: Uuid
        topic_name: String
        partitions: list[Int32]

    class Assignment(Struct):
        topic_partitions: list[ShareGroupDescribeResponse.TopicPartitions]

    class Group(Struct):
        error_code: Int16
        error_message: String | None = None
        group_id: String
        group_state: String
        group_epoch: Int32
        assignment_epoch: Int32
        assignor_name: String
        members: list[Member]
        authorized_operations: Int32 = -(1 << 31)

        class Member(Struct):
            member_id: String
            rack_id: String | None = None
            member_epoch: Int32
            client_id: String
            client_host: String
            subscribed_topic_names: list[String]
            assignment: ShareGroupDescribeResponse.Assignment


class ShareFetchRequest(Request, key=78, versions=(1, 2), flexible=0):
    """Acquires records, and acknowledges earlier ones."""

    group_id: String | None = None
    member_id: String | None
    share_session_epoch: Int32
    max_wait_ms: Int32
    min_bytes: Int32
    max_bytes: Int32 = (1 << 31) - 1
    max_records: Int32
    batch_size: Int32
    share_acquire_mode: Int8 = since(2, default=0)
    is_renew_ack: Bool = since(2, default=False)
    topics: list[Topic]
    forgotten_topics_data: list[ForgottenTopic]

    class Topic(Struct):
        topic_id: Uuid
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            acknowledgement_batches: list[AcknowledgementBatch]

            class AcknowledgementBatch(Struct):
                first_offset: Int64
                last_offset: Int64
                acknowledge_types: list[Int8]

    class ForgottenTopic(Struct):
        topic_id: Uuid
        partitions: list[Int32]


class ShareFetchResponse(Response, key=78, versions=(1, 2), flexible=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None = None
    acquisition_lock_timeout_ms: Int32
    responses: list[Topic]
    node_endpoints: list[NodeEndpoint]

    class Topic(Struct):
        topic_id: Uuid
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16
            error_message: String | None = None
            acknowledge_error_code: Int16
            acknowledge_error_message: String | None = None
            current_leader: LeaderIdAndEpoch
            records: RecordPieces
            acquired_records: list[AcquiredRecords]

            class LeaderIdAndEpoch(Struct):
                leader_id: Int32
                leader_epoch: Int32

            class AcquiredRecords(Struct):
                first_offset: Int64
                last_offset: Int64
                delivery_count: Int16

    class NodeEndpoint(Struct):
        node_id: Int32
        host: String
        port: Int32
        rack: String | None = None


class ShareAcknowledgeRequest(Request, key=79, versions=(1, 2), flexible=0):
    """Acknowledges records."""

    group_id: String | None = None
    member_id: String | None
    share_session_epoch: Int32
    is_renew_ack: Bool = since(2, default=False)
    topics: list[Topic]

    class Topic(Struct):
        topic_id: Uuid
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            acknowledgement_batches: list[AcknowledgementBatch]

            class AcknowledgementBatch(Struct):
                first_offset: Int64
                last_offset: Int64
                acknowledge_types: list[Int8]


class ShareAcknowledgeResponse(Response, key=79, versions=(1, 2), flexible=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None = None
    acquisition_lock_timeout_ms: Int32 = since(2, default=0)
    responses: list[Topic]
    node_endpoints: list[NodeEndpoint]

    class Topic(Struct):
        topic_id: Uuid
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16
            error_message: String | None = None
            current_leader: LeaderIdAndEpoch

            class LeaderIdAndEpoch(Struct):
                leader_id: Int32
                leader_epoch: Int32

    class NodeEndpoint(Struct):
        node_id: Int32
        host: String
        port: Int32
        rack: String | None = None


class DescribeShareGroupOffsetsRequest(Request, key=90, versions=(0, 1), flexible=0):
    """Reads where share groups stand."""

    groups: list[Group]

    class Group(Struct):
        group_id: String
        topics: list[Topic] | None

        class Topic(Struct):
            topic_name: String
            partitions: list[Int32]


class DescribeShareGroupOffsetsResponse(Response, key=90, versions=(0, 1), flexible=0):
    throttle_time_ms: Int32 = 0
    groups: list[Group]

    class Group(Struct):
        group_id: String
        topics: list[Topic]
        error_code: Int16
        error_message: String | None = None

        class Topic(Struct):
            topic_name: String
            topic_id: Uuid
            partitions: list[Partition]

            class Partition(Struct):
                partition_index: Int32
                start_offset: Int64
                leader_epoch: Int32
                lag: Int64 = since(1, default=-1)
                error_code: Int16
                error_message: String | None = None


class AlterShareGroupOffsetsRequest(Request, key=91, versions=(0, 0), flexible=0):
    """Sets where a share group stands."""

    group_id: String
    topics: list[Topic]

    class Topic(Struct):
        topic_name: String
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            start_offset: Int64


class AlterShareGroupOffsetsResponse(Response, key=91, versions=(0, 0), flexible=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None = None
    responses: list[Topic]

    class Topic(Struct):
        topic_name: String
        topic_id: Uuid
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16
            error_message: String | None = None


class DeleteShareGroupOffsetsRequest(Request, key=92, versions=(0, 0), flexible=0):
    """Forgets where a share group stands."""

    group_id: String
    topics: list[Topic]

    class Topic(Struct):
        topic_name: String


class DeleteShareGroupOffsetsResponse(Response, key=92, versions=(0, 0), flexible=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None = None
    responses: list[Topic]

    class Topic(Struct):
        topic_name: String
        topic_id: Uuid
        error_code: Int16
        error_message: String | None = None
