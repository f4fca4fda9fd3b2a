"""Consumer groups with assignments made by clients: coordinators, members, committed offsets."""

from __future__ import annotations

from dohle.kafka.declaration import (
    NO_UUID,
    Bool,
    Bytes,
    Int8,
    Int16,
    Int32,
    Int64,
    Request,
    Response,
    String,
    Struct,
    Uuid,
    always,
    since,
    until,
    within,
)


class FindCoordinatorRequest(Request, key=10, versions=(0, 6), flexible=3):
    """Finds the coordinators of groups or transactional ids."""

    key: String = until(3, default="")
    key_type: Int8 = since(1, default=0)
    coordinator_keys: list[String] = since(4, default=[])


class FindCoordinatorResponse(Response, key=10, versions=(0, 6), flexible=3):
    throttle_time_ms: Int32 = since(1, default=0)
    error_code: Int16 = until(3, default=0)
    error_message: String | None = within(1, 3, default="")
    node_id: Int32 = until(3, default=0)
    host: String = until(3, default="")
    port: Int32 = until(3, default=0)
    coordinators: list[Coordinator] = since(4, default=[])

    class Coordinator(Struct):
        key: String
        node_id: Int32
        host: String
        port: Int32
        error_code: Int16
        error_message: String | None


class JoinGroupRequest(Request, key=11, versions=(0, 9), flexible=6):
    """Joins a group, and waits for the others."""

    group_id: String
    session_timeout_ms: Int32
    rebalance_timeout_ms: Int32 = since(1, default=-1)
    member_id: String
    group_instance_id: String | None = since(5, default=None)
    protocol_type: String
    protocols: list[Protocol]
    reason: String | None = since(8, default=None)

    class Protocol(Struct):
        name: String
        metadata: Bytes


class JoinGroupResponse(Response, key=11, versions=(0, 9), flexible=6):
    throttle_time_ms: Int32 = since(2, default=0)
    error_code: Int16
    generation_id: Int32 = -1
    protocol_type: String | None = since(7, default=None)
    protocol_name: String | None = always(nullable=7)
    leader: String
    skip_assignment: Bool = since(9, default=False)
    member_id: String
    members: list[Member]

    class Member(Struct):
        member_id: String
        group_instance_id: String | None = since(5, default=None)
        metadata: Bytes


class SyncGroupRequest(Request, key=14, versions=(0, 5), flexible=4):
    """Brings the leader's assignments, or fetches the member's own."""

    group_id: String
    generation_id: Int32
    member_id: String
    group_instance_id: String | None = since(3, default=None)
    protocol_type: String | None = since(5, default=None)
    protocol_name: String | None = since(5, default=None)
    assignments: list[Assignment]

    class Assignment(Struct):
        member_id: String
        assignment: Bytes


class SyncGroupResponse(Response, key=14, versions=(0, 5), flexible=4):
    throttle_time_ms: Int32 = since(1, default=0)
    error_code: Int16
    protocol_type: String | None = since(5, default=None)
    protocol_name: String | None = since(5, default=None)
    assignment: Bytes


class HeartbeatRequest(Request, key=12, versions=(0, 4), flexible=4):
    """Says that a member is alive."""

    group_id: String
    generation_id: Int32
    member_id: String
    group_instance_id: String | None = since(3, default=None)


class HeartbeatResponse(Response, key=12, versions=(0, 4), flexible=4):
    throttle_time_ms: Int32 = since(1, default=0)
    error_code: Int16


class LeaveGroupRequest(Request, key=13, versions=(0, 5), flexible=4):
    """Leaves a group."""

    group_id: String
    member_id: String = until(2, default="")
    members: list[Member] = since(3, default=[])

    class Member(Struct):
        member_id: String
        group_instance_id: String | None = None
        reason: String | None = since(5, default=None)


class LeaveGroupResponse(Response, key=13, versions=(0, 5), flexible=4):
    throttle_time_ms: Int32 = since(1, default=0)
    error_code: Int16
    members: list[Member] = since(3, default=[])

    class Member(Struct):
        member_id: String
        group_instance_id: String | None
        error_code: Int16


class OffsetCommitRequest(Request, key=8, versions=(2, 10), flexible=8):
    """Commits offsets of a group."""

    group_id: String
    generation_id_or_member_epoch: Int32 = -1
    member_id: String
    group_instance_id: String | None = since(7, default=None)
    retention_time_ms: Int64 = until(4, default=-1)
    topics: list[Topic]

    class Topic(Struct):
        name: String = until(9, default="")
        topic_id: Uuid = since(10, default=NO_UUID)
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            committed_offset: Int64
            committed_leader_epoch: Int32 = since(6, default=-1)
            committed_metadata: String | None


class OffsetCommitResponse(Response, key=8, versions=(2, 10), flexible=8):
    throttle_time_ms: Int32 = since(3, default=0)
    topics: list[Topic]

    class Topic(Struct):
        name: String = until(9, default="")
        topic_id: Uuid = since(10, default=NO_UUID)
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16


class OffsetFetchRequest(Request, key=9, versions=(1, 10), flexible=6):
    """Reads the committed offsets of groups."""

    group_id: String = until(7, default="")
    topics: list[Topic] | None = until(7, default=[], nullable=2)
    groups: list[Group] = since(8, default=[])
    require_stable: Bool = since(7, default=False)

    class Topic(Struct):
        name: String
        partition_indexes: list[Int32]

    class Group(Struct):
        group_id: String
        member_id: String | None = since(9, default=None)
        member_epoch: Int32 = since(9, default=-1)
        topics: list[Topic] | None

        class Topic(Struct):
            name: String = until(9, default="")
            topic_id: Uuid = since(10, default=NO_UUID)
            partition_indexes: list[Int32]


class OffsetFetchResponse(Response, key=9, versions=(1, 10), flexible=6):
    throttle_time_ms: Int32 = since(3, default=0)
    topics: list[Topic] = until(7, default=[])
    error_code: Int16 = within(2, 7, default=0)
    groups: list[Group] = since(8, default=[])

    class Topic(Struct):
        name: String
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            committed_offset: Int64
            committed_leader_epoch: Int32 = since(5, default=-1)
            metadata: String | None
            error_code: Int16

    class Group(Struct):
        group_id: String
        topics: list[Topic]
        error_code: Int16 = 0

        class Topic(Struct):
            name: String = until(9, default="")
            topic_id: Uuid = since(10, default=NO_UUID)
            partitions: list[Partition]

            class Partition(Struct):
                partition_index: Int32
                committed_offset: Int64
                committed_leader_epoch: Int32 = -1
                metadata: String | None
                error_code: Int16


class DescribeGroupsRequest(Request, key=15, versions=(0, 6), flexible=5):
    """Describes groups."""

    groups: list[String]
    include_authorized_operations: Bool = since(3, default=False)


class DescribeGroupsResponse(Response, key=15, versions=(0, 6), flexible=5):
    throttle_time_ms: Int32 = since(1, default=0)
    groups: list[Group]

    class Group(Struct):
        error_code: Int16
        error_message: String | None = since(6, default=None)
        group_id: String
        group_state: String
        protocol_type: String
        protocol_data: String
        members: list[Member]
        authorized_operations: Int32 = since(3, default=-(1 << 31))

        class Member(Struct):
            member_id: String
            group_instance_id: String | None = since(4, default=None)
            client_id: String
            client_host: String
            member_metadata: Bytes
            member_assignment: Bytes


class ListGroupsRequest(Request, key=16, versions=(0, 5), flexible=3):
    """Lists groups."""

    states_filter: list[String] = since(4, default=[])
    types_filter: list[String] = since(5, default=[])


class ListGroupsResponse(Response, key=16, versions=(0, 5), flexible=3):
    throttle_time_ms: Int32 = since(1, default=0)
    error_code: Int16
    groups: list[Group]

    class Group(Struct):
        group_id: String
        protocol_type: String
        group_state: String = since(4, default="")
        group_type: String = since(5, default="")


class DeleteGroupsRequest(Request, key=42, versions=(0, 2), flexible=2):
    """Deletes groups."""

    groups_names: list[String]


class DeleteGroupsResponse(Response, key=42, versions=(0, 2), flexible=2):
    throttle_time_ms: Int32 = 0
    results: list[Result]

    class Result(Struct):
        group_id: String
        error_code: Int16


class OffsetDeleteRequest(Request, key=47, versions=(0, 0)):
    """Deletes committed offsets."""

    group_id: String
    topics: list[Topic]

    class Topic(Struct):
        name: String
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32


class OffsetDeleteResponse(Response, key=47, versions=(0, 0)):
    error_code: Int16
    throttle_time_ms: Int32 = 0
    topics: list[Topic]

    class Topic(Struct):
        name: String
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16
