"""Where replicas lie and who leads: elections, reassignments, directories."""

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
)


class ElectLeadersRequest(Request, key=43, versions=(0, 2), flexible=2):
    """Moves leadership to the preferred, or to an unclean, replica."""

    election_type: Int8 = since(1, default=0)
    topic_partitions: list[TopicPartitions] | None
    timeout_ms: Int32 = 60000

    class TopicPartitions(Struct):
        topic: String
        partitions: list[Int32]


class ElectLeadersResponse(Response, key=43, versions=(0, 2), flexible=2):
    throttle_time_ms: Int32 = 0
    error_code: Int16 = since(1, default=0)
    replica_election_results: list[Topic]

    class Topic(Struct):
        topic: String
        partition_result: list[Partition]

        class Partition(Struct):
            partition_id: Int32
            error_code: Int16
            error_message: String | None


class AlterPartitionReassignmentsRequest(Request, key=45, versions=(0, 1), flexible=0):
    """Begins, changes or (by null) cancels reassignments."""

    timeout_ms: Int32 = 60000
    allow_replication_factor_change: Bool = since(1, default=True)
    topics: list[Topic]

    class Topic(Struct):
        name: String
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            replicas: list[Int32] | None = None


class AlterPartitionReassignmentsResponse(Response, key=45, versions=(0, 1), flexible=0):
    throttle_time_ms: Int32 = 0
    allow_replication_factor_change: Bool = since(1, default=True)
    error_code: Int16
    error_message: String | None
    responses: list[Topic]

    class Topic(Struct):
        name: String
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16
            error_message: String | None


class ListPartitionReassignmentsRequest(Request, key=46, versions=(0, 0), flexible=0):
    """Lists the reassignments that are under way."""

    timeout_ms: Int32 = 60000
    topics: list[Topic] | None = None

    class Topic(Struct):
        name: String
        partition_indexes: list[Int32]


class ListPartitionReassignmentsResponse(Response, key=46, versions=(0, 0), flexible=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None
    topics: list[Topic]

    class Topic(Struct):
        name: String
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            replicas: list[Int32]
            adding_replicas: list[Int32]
            removing_replicas: list[Int32]


class AlterReplicaLogDirsRequest(Request, key=34, versions=(1, 2), flexible=2):
    """Moves replicas between the directories of a broker."""

    dirs: list[Dir]

    class Dir(Struct):
        path: String
        topics: list[Topic]

        class Topic(Struct):
            name: String
            partitions: list[Int32]


class AlterReplicaLogDirsResponse(Response, key=34, versions=(1, 2), flexible=2):
    throttle_time_ms: Int32 = 0
    results: list[Result]

    class Result(Struct):
        topic_name: String
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16


class DescribeLogDirsRequest(Request, key=35, versions=(1, 5), flexible=2):
    """Describes the directories of a broker and what lies in them."""

    topics: list[Topic] | None

    class Topic(Struct):
        topic: String
        partitions: list[Int32]


class DescribeLogDirsResponse(Response, key=35, versions=(1, 5), flexible=2):
    throttle_time_ms: Int32 = 0
    error_code: Int16 = since(3, default=0)
    results: list[Result]

    class Result(Struct):
        error_code: Int16
        log_dir: String
        topics: list[Topic]
        total_bytes: Int64 = since(4, default=-1)
        usable_bytes: Int64 = since(4, default=-1)
        is_cordoned: Bool = since(5, default=False)

        class Topic(Struct):
            name: String
            partitions: list[Partition]

            class Partition(Struct):
                partition_index: Int32
                partition_size: Int64
                offset_lag: Int64
                is_future_key: Bool
