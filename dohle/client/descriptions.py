"""Descriptions: between the messages of the Admin service and the values that users see."""

from __future__ import annotations

from dohle.client.values import (
    ClusterDescription,
    CreatedTopic,
    EndpointDescription,
    FeatureDescription,
    FollowerDescription,
    LogDirDescription,
    LogDirMove,
    NewTopic,
    NodeDescription,
    NodeSupport,
    PartitionDescription,
    QuorumDescription,
    QuorumReplica,
    ReplicaDescription,
    TopicConfigEntry,
    TopicDescription,
    UnhealthyPartition,
    VoterDescription,
)
from dohle.model.errors import DohleError, error_for
from dohle.rpc.v1 import admin_pb2, broker_pb2, common_pb2
from dohle.runtime.network import Address

_DEFAULT_COUNT = -1


def error_in(failure: common_pb2.Failure) -> DohleError | None:
    """Returns the error that `failure` stands for, None for success."""
    return error_for(failure.code, failure.message) if failure.code else None


def new_topic_message(topic: NewTopic) -> admin_pb2.NewTopic:
    return admin_pb2.NewTopic(
        name=topic.name,
        partitions=_DEFAULT_COUNT if topic.partitions is None else topic.partitions,
        replication_factor=_DEFAULT_COUNT if topic.replication_factor is None else topic.replication_factor,
        configs=[admin_pb2.ConfigEntry(name=name, value=value) for name, value in topic.configs.items()],
        assignments=[
            admin_pb2.ReplicaAssignment(partition=number, replicas=replicas)
            for number, replicas in enumerate(topic.assignments)
        ],
    )


def created_topic(created: admin_pb2.CreatedTopic) -> CreatedTopic | DohleError:
    return error_in(created.failure) or CreatedTopic(
        created.name, created.topic_id, created.partitions, created.replication_factor
    )


def topic(described: broker_pb2.TopicMetadata) -> TopicDescription:
    partitions = [
        PartitionDescription(
            partition=entry.partition,
            leader=entry.leader,
            leader_epoch=entry.leader_epoch,
            partition_epoch=entry.partition_epoch,
            assigned_replicas=tuple(entry.assigned_replicas),
            in_sync_replicas=tuple(entry.in_sync_replicas),
            eligible_replicas=tuple(entry.eligible_replicas),
            last_known_leader=entry.last_known_leader if entry.HasField("last_known_leader") else -1,
        )
        for entry in described.partitions
    ]
    return TopicDescription(
        described.name, described.topic_id, tuple(sorted(partitions, key=lambda entry: entry.partition))
    )


def config_entry(entry: admin_pb2.DescribedConfig) -> TopicConfigEntry:
    return TopicConfigEntry(entry.name, entry.value, entry.is_default, entry.type, entry.doc)


def cluster(described: admin_pb2.DescribeClusterResponse) -> ClusterDescription:
    return ClusterDescription(
        cluster_id=described.cluster_id,
        controller_id=described.controller_id,
        nodes=tuple(_node(node) for node in described.nodes),
        voters=tuple(
            VoterDescription(voter.node_id, voter.directory_id, Address(voter.host, voter.port))
            for voter in described.voters
        ),
        metadata_version=described.metadata_version,
        metadata_offset=described.metadata_offset,
        topics=described.topics,
        partitions=described.partitions,
        unhealthy=tuple(
            UnhealthyPartition(
                topic=entry.topic,
                partition=entry.partition,
                leader=entry.leader,
                assigned_replicas=tuple(entry.assigned_replicas),
                in_sync_replicas=tuple(entry.in_sync_replicas),
                min_insync_replicas=entry.min_insync_replicas,
                eligible_replicas=tuple(entry.eligible_replicas),
                last_known_leader=entry.last_known_leader if entry.HasField("last_known_leader") else -1,
            )
            for entry in described.unhealthy
        ),
    )


def quorum(described: admin_pb2.DescribeQuorumResponse) -> QuorumDescription:
    return QuorumDescription(
        leader_id=described.leader_id,
        term=described.term,
        committed_end=described.committed_end,
        log_end=described.log_end,
        voters=tuple(_quorum_replica(replica) for replica in described.voters),
        learners=tuple(_quorum_replica(replica) for replica in described.learners),
    )


_ROLES = {
    admin_pb2.NODE_ROLE_BROKER: "broker",
    admin_pb2.NODE_ROLE_VOTER: "voter",
    admin_pb2.NODE_ROLE_LEARNER: "learner",
}


def features(described: admin_pb2.DescribeFeaturesResponse) -> FeatureDescription:
    return FeatureDescription(
        metadata_version=described.metadata_version,
        newest_metadata_version=described.newest_metadata_version,
        obstacle=described.obstacle,
        nodes=tuple(
            NodeSupport(
                node.node_id,
                _ROLES.get(node.role, "?"),
                node.up,
                (node.min_metadata_version, node.max_metadata_version) if node.max_metadata_version else None,
            )
            for node in described.nodes
        ),
    )


def _quorum_replica(replica: admin_pb2.QuorumReplica) -> QuorumReplica:
    address = Address(replica.host, replica.port)
    durable_end = replica.durable_end if replica.durable_end >= 0 else None
    return QuorumReplica(replica.node_id, replica.directory_id, address, durable_end, replica.silent_ms)


def _node(node: admin_pb2.NodeDescription) -> NodeDescription:
    return NodeDescription(
        node_id=node.node_id,
        endpoints=tuple(
            EndpointDescription(endpoint.listener, Address(endpoint.host, endpoint.port), endpoint.security_protocol)
            for endpoint in node.endpoints
        ),
        rack=node.rack,
        fenced=node.fenced,
        shutting_down=node.shutting_down,
        broker_epoch=node.broker_epoch,
        incarnation_id=node.incarnation_id,
        leaders=node.leaders,
        replicas=node.replicas,
        offline_log_dirs=node.offline_log_dirs,
        offline_replicas=node.offline_replicas,
        draining=node.draining,
    )


def log_dir(described: admin_pb2.LogDir) -> LogDirDescription:
    return LogDirDescription(
        path=described.path,
        free_bytes=described.free_bytes,
        replicas=tuple(_replica(replica) for replica in described.replicas),
        failure=error_in(described.failure),
        directory_id=described.directory_id,
        strays=described.strays,
        stray_bytes=described.stray_bytes,
        lacks_room=described.lacks_room,
    )


def log_dir_move(described: admin_pb2.LogDirMove) -> LogDirMove:
    state = admin_pb2.LogDirMoveState.Name(described.state)
    return LogDirMove(
        topic=described.topic,
        partition=described.partition,
        source=described.source_path,
        target=described.target_path,
        state=state.removeprefix("LOG_DIR_MOVE_STATE_").lower(),
        copied_bytes=described.copied_bytes,
        size_bytes=described.size_bytes,
        failure=error_in(described.failure),
    )


def _replica(replica: admin_pb2.ReplicaDescription) -> ReplicaDescription:
    return ReplicaDescription(
        topic=replica.topic,
        topic_id=replica.topic_id,
        partition=replica.partition,
        size_bytes=replica.size_bytes,
        log_start_offset=replica.log_start_offset,
        log_end_offset=replica.log_end_offset,
        durable_end=replica.durable_end,
        high_watermark=replica.high_watermark,
        leads=replica.leads,
        failure=error_in(replica.failure),
        refusal=error_in(replica.refusal),
        followers=tuple(
            FollowerDescription(one.node_id, one.durable_end, one.lag_ms, one.subscribed) for one in replica.followers
        ),
        bytes_in_per_s=replica.bytes_in_per_s,
        bytes_out_per_s=replica.bytes_out_per_s,
    )
