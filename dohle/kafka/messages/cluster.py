"""What clients ask of the cluster itself: versions, brokers, topics and where they are led."""

from __future__ import annotations

from dohle.kafka.declaration import (
    NO_UUID,
    Bool,
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
    tagged,
    within,
)


class MetadataRequest(Request, key=3, versions=(0, 13), flexible=9):
    """Describes brokers and topics."""

    topics: list[Topic] | None = always(nullable=1)
    allow_auto_topic_creation: Bool = since(4, default=True)
    include_cluster_authorized_operations: Bool = within(8, 10, default=False)
    include_topic_authorized_operations: Bool = since(8, default=False)

    class Topic(Struct):
        topic_id: Uuid = since(10, default=NO_UUID)
        name: String | None = always(nullable=10)


class MetadataResponse(Response, key=3, versions=(0, 13), flexible=9):
    throttle_time_ms: Int32 = since(3, default=0)
    brokers: list[Broker]
    cluster_id: String | None = since(2, default=None)
    controller_id: Int32 = since(1, default=-1)
    topics: list[Topic]
    cluster_authorized_operations: Int32 = within(8, 10, default=-(1 << 31))
    error_code: Int16 = since(13, default=0)

    class Broker(Struct):
        node_id: Int32
        host: String
        port: Int32
        rack: String | None = since(1, default=None)

    class Topic(Struct):
        error_code: Int16
        name: String | None = always(nullable=12)
        topic_id: Uuid = since(10, default=NO_UUID)
        is_internal: Bool = since(1, default=False)
        partitions: list[Partition]
        topic_authorized_operations: Int32 = since(8, default=-(1 << 31))

        class Partition(Struct):
            error_code: Int16
            partition_index: Int32
            leader_id: Int32
            leader_epoch: Int32 = since(7, default=-1)
            replica_nodes: list[Int32]
            isr_nodes: list[Int32]
            offline_replicas: list[Int32] = since(5, default=[])


class ApiVersionsRequest(Request, key=18, versions=(0, 4), flexible=3):
    """Tells which requests are served, in which versions."""

    client_software_name: String = since(3, default="")
    client_software_version: String = since(3, default="")


class ApiVersionsResponse(Response, key=18, versions=(0, 4), flexible=3):
    error_code: Int16
    api_keys: list[ApiVersion]
    throttle_time_ms: Int32 = since(1, default=0)
    supported_features: list[SupportedFeature] = tagged(0, 3, default=[])
    finalized_features_epoch: Int64 = tagged(1, 3, default=-1)
    finalized_features: list[FinalizedFeature] = tagged(2, 3, default=[])
    zk_migration_ready: Bool = tagged(3, 3, default=False)

    class ApiVersion(Struct):
        api_key: Int16
        min_version: Int16
        max_version: Int16

    class SupportedFeature(Struct):
        name: String
        min_version: Int16
        max_version: Int16

    class FinalizedFeature(Struct):
        name: String
        max_version_level: Int16
        min_version_level: Int16


class DescribeClusterRequest(Request, key=60, versions=(0, 2), flexible=0):
    """Describes the brokers, or the controllers."""

    include_cluster_authorized_operations: Bool
    endpoint_type: Int8 = since(1, default=1)
    include_fenced_brokers: Bool = since(2, default=False)


class DescribeClusterResponse(Response, key=60, versions=(0, 2), flexible=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None = None
    endpoint_type: Int8 = since(1, default=1)
    cluster_id: String
    controller_id: Int32 = -1
    brokers: list[Broker]
    cluster_authorized_operations: Int32 = -(1 << 31)

    class Broker(Struct):
        broker_id: Int32
        host: String
        port: Int32
        rack: String | None = None
        is_fenced: Bool = since(2, default=False)


class DescribeTopicPartitionsRequest(Request, key=75, versions=(0, 0), flexible=0):
    """Describes topics page by page."""

    topics: list[Topic]
    response_partition_limit: Int32 = 2000
    cursor: Cursor | None = None

    class Topic(Struct):
        name: String

    class Cursor(Struct):
        topic_name: String
        partition_index: Int32


class DescribeTopicPartitionsResponse(Response, key=75, versions=(0, 0), flexible=0):
    throttle_time_ms: Int32 = 0
    topics: list[Topic]
    next_cursor: Cursor | None = None

    class Topic(Struct):
        error_code: Int16
        name: String | None
        topic_id: Uuid
        is_internal: Bool = False
        partitions: list[Partition]
        topic_authorized_operations: Int32 = -(1 << 31)

        class Partition(Struct):
            error_code: Int16
            partition_index: Int32
            leader_id: Int32
            leader_epoch: Int32 = -1
            replica_nodes: list[Int32]
            isr_nodes: list[Int32]
            eligible_leader_replicas: list[Int32] | None = None
            last_known_elr: list[Int32] | None = None
            offline_replicas: list[Int32]

    class Cursor(Struct):
        topic_name: String
        partition_index: Int32
