"""What brokers write to `__consumer_offsets`: keys and values, each behind an int16.

Before a key that is its kind (`key` below), before a value its version. Kinds that only Kafka's share groups and
streams groups write are not here. `ConsumerGroupPartitionMetadata` is no longer written, since Kafka 4.1. The last one
is Dohle's own, and so far from Kafka's numbers that Kafka passes it over as one of a later version.
"""

from __future__ import annotations

from dohle.kafka.declaration import (
    NO_UUID,
    Bytes,
    Float64,
    Int8,
    Int32,
    Int64,
    Message,
    String,
    Struct,
    Uuid,
    since,
    tagged,
    within,
)


class LegacyOffsetCommitKey(Message, key=0):
    """Of versions before 0.9."""

    group: String
    topic: String
    partition: Int32


class LegacyOffsetCommitValue(Message, key=0):
    offset: Int64
    metadata: String
    commit_timestamp: Int64


class OffsetCommitKey(Message, key=1):
    """An offset of a group; also of kind 0."""

    group: String
    topic: String
    partition: Int32


class OffsetCommitValue(Message, key=1, versions=(0, 4), flexible=4):
    offset: Int64
    leader_epoch: Int32 = since(3, default=-1)
    metadata: String
    commit_timestamp: Int64
    expire_timestamp: Int64 = within(1, 1, default=-1)
    topic_id: Uuid = tagged(0, 4, default=NO_UUID)


class GroupMetadataKey(Message, key=2):
    """A group of the classic protocol."""

    group: String


class GroupMetadataValue(Message, key=2, versions=(0, 4), flexible=4):
    protocol_type: String
    generation: Int32
    protocol: String | None
    leader: String | None
    current_state_timestamp: Int64 = since(2, default=-1)
    members: list[MemberMetadata]

    class MemberMetadata(Struct):
        member_id: String
        group_instance_id: String | None = since(3, default=None, nullable=3)
        client_id: String
        client_host: String
        rebalance_timeout: Int32 = since(1, default=-1)
        session_timeout: Int32
        subscription: Bytes
        assignment: Bytes


class ConsumerGroupMetadataKey(Message, key=3):
    """A KIP-848 group."""

    group_id: String


class ConsumerGroupMetadataValue(Message, key=3, flexible=0):
    epoch: Int32
    metadata_hash: Int64 = tagged(0, 0, default=0)


class ConsumerGroupPartitionMetadataKey(Message, key=4):
    """Topics that a KIP-848 group subscribes to, as they were."""

    group_id: String


class ConsumerGroupPartitionMetadataValue(Message, key=4, flexible=0):
    topics: list[TopicMetadata]

    class TopicMetadata(Struct):
        topic_id: Uuid
        topic_name: String
        num_partitions: Int32
        partition_metadata: list[PartitionMetadata]

        class PartitionMetadata(Struct):
            partition: Int32
            racks: list[String]


class ConsumerGroupMemberMetadataKey(Message, key=5):
    """What a member of a KIP-848 group has said of itself."""

    group_id: String
    member_id: String


class ConsumerGroupMemberMetadataValue(Message, key=5, flexible=0):
    instance_id: String | None
    rack_id: String | None
    client_id: String
    client_host: String
    subscribed_topic_names: list[String]
    subscribed_topic_regex: String | None
    rebalance_timeout_ms: Int32 = -1
    server_assignor: String | None
    classic_member_metadata: ClassicMemberMetadata | None = tagged(0, 0, default=None, says_null=True)

    class ClassicMemberMetadata(Struct):
        session_timeout_ms: Int32
        supported_protocols: list[ClassicProtocol]

        class ClassicProtocol(Struct):
            name: String
            metadata: Bytes


class ConsumerGroupTargetAssignmentMetadataKey(Message, key=6):
    """For which epoch a KIP-848 group has a target."""

    group_id: String


class ConsumerGroupTargetAssignmentMetadataValue(Message, key=6, flexible=0):
    assignment_epoch: Int32
    assignment_timestamp: Int64 = tagged(0, 0, default=0)


class ConsumerGroupTargetAssignmentMemberKey(Message, key=7):
    """What a member is to have."""

    group_id: String
    member_id: String


class ConsumerGroupTargetAssignmentMemberValue(Message, key=7, flexible=0):
    topic_partitions: list[TopicPartition]

    class TopicPartition(Struct):
        topic_id: Uuid
        partitions: list[Int32]


class ConsumerGroupCurrentMemberAssignmentKey(Message, key=8):
    """What a member has."""

    group_id: String
    member_id: String


class ConsumerGroupCurrentMemberAssignmentValue(Message, key=8, flexible=0):
    member_epoch: Int32
    previous_member_epoch: Int32
    state: Int8
    assigned_partitions: list[TopicPartitions]
    partitions_pending_revocation: list[TopicPartitions]

    class TopicPartitions(Struct):
        topic_id: Uuid
        partitions: list[Int32]
        assignment_epochs: list[Int32] | None = tagged(0, 0, default=[])


class ConsumerGroupRegularExpressionKey(Message, key=16):
    """Which topics a regular expression of a KIP-848 group means."""

    group_id: String
    regular_expression: String


class ConsumerGroupRegularExpressionValue(Message, key=16, flexible=0):
    topics: list[String]
    version: Int64
    timestamp: Int64


class GroupRebalanceKey(Message, key=20_001):
    """One of the last rebalances of a group. Dohle's own."""

    group_id: String
    place: Int32


class GroupRebalanceValue(Message, key=20_001, flexible=0):
    """-1: not known, or not yet."""

    number: Int64
    cause: String
    who: Who | None
    began_ms: Int64
    detail: String
    silent_s: Float64
    epoch: Int32
    ended_ms: Int64
    last: Who | None
    last_ms: Int64
    removed: list[Who]
    more_removed: Int32
    members: Int32

    class Who(Struct):
        member_id: String
        instance_id: String | None
        client_id: String
        client_host: String
