"""The controller quorum, features of the cluster, and brokers that leave it."""

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
    Uint16,
    Uuid,
    since,
    until,
)


class DescribeQuorumRequest(Request, key=55, versions=(0, 2), flexible=0):
    """Describes the controller quorum."""

    topics: list[Topic]

    class Topic(Struct):
        topic_name: String
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32


class DescribeQuorumResponse(Response, key=55, versions=(0, 2), flexible=0):
    error_code: Int16
    error_message: String | None = since(2, default="")
    topics: list[Topic]
    nodes: list[Node] = since(2, default=[])

    class ReplicaState(Struct):
        replica_id: Int32
        replica_directory_id: Uuid = since(2, default=NO_UUID)
        log_end_offset: Int64
        last_fetch_timestamp: Int64 = since(1, default=-1)
        last_caught_up_timestamp: Int64 = since(1, default=-1)

    class Topic(Struct):
        topic_name: String
        partitions: list[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16
            error_message: String | None = since(2, default="")
            leader_id: Int32
            leader_epoch: Int32
            high_watermark: Int64
            current_voters: list[DescribeQuorumResponse.ReplicaState]
            observers: list[DescribeQuorumResponse.ReplicaState]

    class Node(Struct):
        node_id: Int32
        listeners: list[Listener]

        class Listener(Struct):
            name: String
            host: String
            port: Uint16


class AddRaftVoterRequest(Request, key=80, versions=(0, 1), flexible=0):
    """Adds a controller to the quorum."""

    cluster_id: String | None
    timeout_ms: Int32
    voter_id: Int32
    voter_directory_id: Uuid
    listeners: list[Listener]
    ack_when_committed: Bool = since(1, default=True)

    class Listener(Struct):
        name: String
        host: String
        port: Uint16


class AddRaftVoterResponse(Response, key=80, versions=(0, 1), flexible=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None


class RemoveRaftVoterRequest(Request, key=81, versions=(0, 0), flexible=0):
    """Takes a controller out of the quorum."""

    cluster_id: String | None
    voter_id: Int32
    voter_directory_id: Uuid


class RemoveRaftVoterResponse(Response, key=81, versions=(0, 0), flexible=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None


class UpdateFeaturesRequest(Request, key=57, versions=(0, 2), flexible=0):
    """Raises or lowers finalized features."""

    timeout_ms: Int32 = 60000
    feature_updates: list[FeatureUpdate]
    validate_only: Bool = since(1, default=False)

    class FeatureUpdate(Struct):
        feature: String
        max_version_level: Int16
        allow_downgrade: Bool = until(0, default=False)
        upgrade_type: Int8 = since(1, default=1)


class UpdateFeaturesResponse(Response, key=57, versions=(0, 2), flexible=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None
    results: list[Result] = until(1, default=[])

    class Result(Struct):
        feature: String
        error_code: Int16
        error_message: String | None


class UnregisterBrokerRequest(Request, key=64, versions=(0, 0), flexible=0):
    """Forgets a broker that is gone."""

    broker_id: Int32


class UnregisterBrokerResponse(Response, key=64, versions=(0, 0), flexible=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None
