"""Consumer groups with assignments made by the coordinator (KIP-848)."""

from __future__ import annotations

from dohle.kafka.declaration import (
    Bool,
    Int8,
    Int16,
    Int32,
    Request,
    Response,
    String,
    Struct,
    Uuid,
    since,
)


class ConsumerGroupHeartbeatRequest(Request, key=68, versions=(0, 1), flexible=0):
    """Joins, keeps alive and leaves, all in one."""

    group_id: String
    member_id: String
    member_epoch: Int32
    instance_id: String | None = None
    rack_id: String | None = None
    rebalance_timeout_ms: Int32 = -1
    subscribed_topic_names: list[String] | None = None
    subscribed_topic_regex: String | None = since(1, default=None)
    server_assignor: String | None = None
    topic_partitions: list[TopicPartitions] | None = None

    class TopicPartitions(Struct):
        topic_id: Uuid
        partitions: list[Int32]


class ConsumerGroupHeartbeatResponse(Response, key=68, versions=(0, 1), flexible=0):
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
        topic_partitions: list[ConsumerGroupHeartbeatResponse.TopicPartitions]


class ConsumerGroupDescribeRequest(Request, key=69, versions=(0, 1), flexible=0):
    """Describes groups of this kind."""

    group_ids: list[String]
    include_authorized_operations: Bool


class ConsumerGroupDescribeResponse(Response, key=69, versions=(0, 1), flexible=0):
    throttle_time_ms: Int32 = 0
    groups: list[Group]

    class TopicPartitions(Struct):
        topic_id: Uuid
        topic_name: String
        partitions: list[Int32]

    class Assignment(Struct):
        topic_partitions: list[ConsumerGroupDescribeResponse.TopicPartitions]

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
            instance_id: String | None = None
            rack_id: String | None = None
            member_epoch: Int32
            client_id: String
            client_host: String
            subscribed_topic_names: list[String]
            subscribed_topic_regex: String | None = None
            assignment: ConsumerGroupDescribeResponse.Assignment
            target_assignment: ConsumerGroupDescribeResponse.Assignment
            member_type: Int8 = since(1, default=-1)
