from dohle.rpc.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ElectionType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ELECTION_TYPE_PREFERRED: _ClassVar[ElectionType]
    ELECTION_TYPE_UNCLEAN: _ClassVar[ElectionType]

class LogDirMoveState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOG_DIR_MOVE_STATE_UNSPECIFIED: _ClassVar[LogDirMoveState]
    LOG_DIR_MOVE_STATE_WAITING: _ClassVar[LogDirMoveState]
    LOG_DIR_MOVE_STATE_COPYING: _ClassVar[LogDirMoveState]
    LOG_DIR_MOVE_STATE_DONE: _ClassVar[LogDirMoveState]
    LOG_DIR_MOVE_STATE_FAILED: _ClassVar[LogDirMoveState]
    LOG_DIR_MOVE_STATE_CANCELLED: _ClassVar[LogDirMoveState]

class NodeRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NODE_ROLE_UNSPECIFIED: _ClassVar[NodeRole]
    NODE_ROLE_BROKER: _ClassVar[NodeRole]
    NODE_ROLE_VOTER: _ClassVar[NodeRole]
    NODE_ROLE_LEARNER: _ClassVar[NodeRole]
ELECTION_TYPE_PREFERRED: ElectionType
ELECTION_TYPE_UNCLEAN: ElectionType
LOG_DIR_MOVE_STATE_UNSPECIFIED: LogDirMoveState
LOG_DIR_MOVE_STATE_WAITING: LogDirMoveState
LOG_DIR_MOVE_STATE_COPYING: LogDirMoveState
LOG_DIR_MOVE_STATE_DONE: LogDirMoveState
LOG_DIR_MOVE_STATE_FAILED: LogDirMoveState
LOG_DIR_MOVE_STATE_CANCELLED: LogDirMoveState
NODE_ROLE_UNSPECIFIED: NodeRole
NODE_ROLE_BROKER: NodeRole
NODE_ROLE_VOTER: NodeRole
NODE_ROLE_LEARNER: NodeRole

class DescribeClusterRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeClusterResponse(_message.Message):
    __slots__ = ("cluster_id", "controller_id", "nodes", "voters", "metadata_version", "metadata_offset", "topics", "partitions", "unhealthy")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    CONTROLLER_ID_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    VOTERS_FIELD_NUMBER: _ClassVar[int]
    METADATA_VERSION_FIELD_NUMBER: _ClassVar[int]
    METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    UNHEALTHY_FIELD_NUMBER: _ClassVar[int]
    cluster_id: str
    controller_id: int
    nodes: _containers.RepeatedCompositeFieldContainer[NodeDescription]
    voters: _containers.RepeatedCompositeFieldContainer[VoterDescription]
    metadata_version: int
    metadata_offset: int
    topics: int
    partitions: int
    unhealthy: _containers.RepeatedCompositeFieldContainer[PartitionHealth]
    def __init__(self, cluster_id: _Optional[str] = ..., controller_id: _Optional[int] = ..., nodes: _Optional[_Iterable[_Union[NodeDescription, _Mapping]]] = ..., voters: _Optional[_Iterable[_Union[VoterDescription, _Mapping]]] = ..., metadata_version: _Optional[int] = ..., metadata_offset: _Optional[int] = ..., topics: _Optional[int] = ..., partitions: _Optional[int] = ..., unhealthy: _Optional[_Iterable[_Union[PartitionHealth, _Mapping]]] = ...) -> None: ...

class NodeDescription(_message.Message):
    __slots__ = ("node_id", "endpoints", "rack", "fenced", "shutting_down", "broker_epoch", "incarnation_id", "leaders", "replicas", "offline_log_dirs", "offline_replicas", "draining")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    RACK_FIELD_NUMBER: _ClassVar[int]
    FENCED_FIELD_NUMBER: _ClassVar[int]
    SHUTTING_DOWN_FIELD_NUMBER: _ClassVar[int]
    BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_ID_FIELD_NUMBER: _ClassVar[int]
    LEADERS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    OFFLINE_LOG_DIRS_FIELD_NUMBER: _ClassVar[int]
    OFFLINE_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    endpoints: _containers.RepeatedCompositeFieldContainer[_common_pb2.Endpoint]
    rack: str
    fenced: bool
    shutting_down: bool
    broker_epoch: int
    incarnation_id: bytes
    leaders: int
    replicas: int
    offline_log_dirs: int
    offline_replicas: int
    draining: bool
    def __init__(self, node_id: _Optional[int] = ..., endpoints: _Optional[_Iterable[_Union[_common_pb2.Endpoint, _Mapping]]] = ..., rack: _Optional[str] = ..., fenced: _Optional[bool] = ..., shutting_down: _Optional[bool] = ..., broker_epoch: _Optional[int] = ..., incarnation_id: _Optional[bytes] = ..., leaders: _Optional[int] = ..., replicas: _Optional[int] = ..., offline_log_dirs: _Optional[int] = ..., offline_replicas: _Optional[int] = ..., draining: _Optional[bool] = ...) -> None: ...

class VoterDescription(_message.Message):
    __slots__ = ("node_id", "directory_id", "host", "port")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    directory_id: bytes
    host: str
    port: int
    def __init__(self, node_id: _Optional[int] = ..., directory_id: _Optional[bytes] = ..., host: _Optional[str] = ..., port: _Optional[int] = ...) -> None: ...

class PartitionHealth(_message.Message):
    __slots__ = ("topic", "partition", "leader", "assigned_replicas", "in_sync_replicas", "min_insync_replicas", "eligible_replicas", "last_known_leader")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    ASSIGNED_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    IN_SYNC_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    MIN_INSYNC_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    ELIGIBLE_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    LAST_KNOWN_LEADER_FIELD_NUMBER: _ClassVar[int]
    topic: str
    partition: int
    leader: int
    assigned_replicas: _containers.RepeatedScalarFieldContainer[int]
    in_sync_replicas: _containers.RepeatedScalarFieldContainer[int]
    min_insync_replicas: int
    eligible_replicas: _containers.RepeatedScalarFieldContainer[int]
    last_known_leader: int
    def __init__(self, topic: _Optional[str] = ..., partition: _Optional[int] = ..., leader: _Optional[int] = ..., assigned_replicas: _Optional[_Iterable[int]] = ..., in_sync_replicas: _Optional[_Iterable[int]] = ..., min_insync_replicas: _Optional[int] = ..., eligible_replicas: _Optional[_Iterable[int]] = ..., last_known_leader: _Optional[int] = ...) -> None: ...

class CreateTopicsRequest(_message.Message):
    __slots__ = ("topics", "validate_only", "timeout_ms")
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    topics: _containers.RepeatedCompositeFieldContainer[NewTopic]
    validate_only: bool
    timeout_ms: int
    def __init__(self, topics: _Optional[_Iterable[_Union[NewTopic, _Mapping]]] = ..., validate_only: _Optional[bool] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class NewTopic(_message.Message):
    __slots__ = ("name", "partitions", "replication_factor", "configs", "assignments", "topic_ids")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    REPLICATION_FACTOR_FIELD_NUMBER: _ClassVar[int]
    CONFIGS_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENTS_FIELD_NUMBER: _ClassVar[int]
    TOPIC_IDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    partitions: int
    replication_factor: int
    configs: _containers.RepeatedCompositeFieldContainer[ConfigEntry]
    assignments: _containers.RepeatedCompositeFieldContainer[ReplicaAssignment]
    topic_ids: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, name: _Optional[str] = ..., partitions: _Optional[int] = ..., replication_factor: _Optional[int] = ..., configs: _Optional[_Iterable[_Union[ConfigEntry, _Mapping]]] = ..., assignments: _Optional[_Iterable[_Union[ReplicaAssignment, _Mapping]]] = ..., topic_ids: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ReplicaAssignment(_message.Message):
    __slots__ = ("partition", "replicas")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    partition: int
    replicas: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, partition: _Optional[int] = ..., replicas: _Optional[_Iterable[int]] = ...) -> None: ...

class ConfigEntry(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class CreateTopicsResponse(_message.Message):
    __slots__ = ("topics", "metadata_offset")
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    topics: _containers.RepeatedCompositeFieldContainer[CreatedTopic]
    metadata_offset: int
    def __init__(self, topics: _Optional[_Iterable[_Union[CreatedTopic, _Mapping]]] = ..., metadata_offset: _Optional[int] = ...) -> None: ...

class CreatedTopic(_message.Message):
    __slots__ = ("name", "failure", "topic_id", "partitions", "replication_factor")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    REPLICATION_FACTOR_FIELD_NUMBER: _ClassVar[int]
    name: str
    failure: _common_pb2.Failure
    topic_id: bytes
    partitions: int
    replication_factor: int
    def __init__(self, name: _Optional[str] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., topic_id: _Optional[bytes] = ..., partitions: _Optional[int] = ..., replication_factor: _Optional[int] = ...) -> None: ...

class DeleteTopicsRequest(_message.Message):
    __slots__ = ("topics", "timeout_ms", "topic_ids")
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    TOPIC_IDS_FIELD_NUMBER: _ClassVar[int]
    topics: _containers.RepeatedScalarFieldContainer[str]
    timeout_ms: int
    topic_ids: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, topics: _Optional[_Iterable[str]] = ..., timeout_ms: _Optional[int] = ..., topic_ids: _Optional[_Iterable[bytes]] = ...) -> None: ...

class DeleteTopicsResponse(_message.Message):
    __slots__ = ("topics", "metadata_offset")
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    topics: _containers.RepeatedCompositeFieldContainer[DeletedTopic]
    metadata_offset: int
    def __init__(self, topics: _Optional[_Iterable[_Union[DeletedTopic, _Mapping]]] = ..., metadata_offset: _Optional[int] = ...) -> None: ...

class DeletedTopic(_message.Message):
    __slots__ = ("name", "failure", "topic_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    failure: _common_pb2.Failure
    topic_id: bytes
    def __init__(self, name: _Optional[str] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., topic_id: _Optional[bytes] = ...) -> None: ...

class ForkTopicRequest(_message.Message):
    __slots__ = ("source", "name", "timestamp_ms", "offset", "points", "timeout_ms", "topic_id")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_MS_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    source: str
    name: str
    timestamp_ms: int
    offset: int
    points: _containers.RepeatedCompositeFieldContainer[ForkPoint]
    timeout_ms: int
    topic_id: bytes
    def __init__(self, source: _Optional[str] = ..., name: _Optional[str] = ..., timestamp_ms: _Optional[int] = ..., offset: _Optional[int] = ..., points: _Optional[_Iterable[_Union[ForkPoint, _Mapping]]] = ..., timeout_ms: _Optional[int] = ..., topic_id: _Optional[bytes] = ...) -> None: ...

class ForkPoint(_message.Message):
    __slots__ = ("partition", "offset")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    partition: int
    offset: int
    def __init__(self, partition: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class ForkTopicResponse(_message.Message):
    __slots__ = ("whole", "ends", "replication_factor", "metadata_offset")
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    ENDS_FIELD_NUMBER: _ClassVar[int]
    REPLICATION_FACTOR_FIELD_NUMBER: _ClassVar[int]
    METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    whole: bool
    ends: _containers.RepeatedCompositeFieldContainer[ForkPoint]
    replication_factor: int
    metadata_offset: int
    def __init__(self, whole: _Optional[bool] = ..., ends: _Optional[_Iterable[_Union[ForkPoint, _Mapping]]] = ..., replication_factor: _Optional[int] = ..., metadata_offset: _Optional[int] = ...) -> None: ...

class CreatePartitionsRequest(_message.Message):
    __slots__ = ("topics", "validate_only", "timeout_ms")
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    topics: _containers.RepeatedCompositeFieldContainer[NewPartitions]
    validate_only: bool
    timeout_ms: int
    def __init__(self, topics: _Optional[_Iterable[_Union[NewPartitions, _Mapping]]] = ..., validate_only: _Optional[bool] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class NewPartitions(_message.Message):
    __slots__ = ("topic", "total_count", "assignments", "topic_id")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENTS_FIELD_NUMBER: _ClassVar[int]
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    topic: str
    total_count: int
    assignments: _containers.RepeatedCompositeFieldContainer[ReplicaAssignment]
    topic_id: bytes
    def __init__(self, topic: _Optional[str] = ..., total_count: _Optional[int] = ..., assignments: _Optional[_Iterable[_Union[ReplicaAssignment, _Mapping]]] = ..., topic_id: _Optional[bytes] = ...) -> None: ...

class CreatePartitionsResponse(_message.Message):
    __slots__ = ("topics", "metadata_offset")
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    topics: _containers.RepeatedCompositeFieldContainer[CreatedPartitions]
    metadata_offset: int
    def __init__(self, topics: _Optional[_Iterable[_Union[CreatedPartitions, _Mapping]]] = ..., metadata_offset: _Optional[int] = ...) -> None: ...

class CreatedPartitions(_message.Message):
    __slots__ = ("topic", "failure")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    topic: str
    failure: _common_pb2.Failure
    def __init__(self, topic: _Optional[str] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ...) -> None: ...

class DescribeConfigsRequest(_message.Message):
    __slots__ = ("topics",)
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    topics: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, topics: _Optional[_Iterable[str]] = ...) -> None: ...

class DescribeConfigsResponse(_message.Message):
    __slots__ = ("topics",)
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    topics: _containers.RepeatedCompositeFieldContainer[TopicConfigs]
    def __init__(self, topics: _Optional[_Iterable[_Union[TopicConfigs, _Mapping]]] = ...) -> None: ...

class TopicConfigs(_message.Message):
    __slots__ = ("topic", "failure", "configs")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    CONFIGS_FIELD_NUMBER: _ClassVar[int]
    topic: str
    failure: _common_pb2.Failure
    configs: _containers.RepeatedCompositeFieldContainer[DescribedConfig]
    def __init__(self, topic: _Optional[str] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., configs: _Optional[_Iterable[_Union[DescribedConfig, _Mapping]]] = ...) -> None: ...

class DescribedConfig(_message.Message):
    __slots__ = ("name", "value", "is_default", "type", "doc")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DOC_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    is_default: bool
    type: str
    doc: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ..., is_default: _Optional[bool] = ..., type: _Optional[str] = ..., doc: _Optional[str] = ...) -> None: ...

class AlterConfigsRequest(_message.Message):
    __slots__ = ("topics", "validate_only", "timeout_ms", "groups")
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    topics: _containers.RepeatedCompositeFieldContainer[AlterTopicConfigs]
    validate_only: bool
    timeout_ms: int
    groups: _containers.RepeatedCompositeFieldContainer[AlterGroupConfigs]
    def __init__(self, topics: _Optional[_Iterable[_Union[AlterTopicConfigs, _Mapping]]] = ..., validate_only: _Optional[bool] = ..., timeout_ms: _Optional[int] = ..., groups: _Optional[_Iterable[_Union[AlterGroupConfigs, _Mapping]]] = ...) -> None: ...

class AlterGroupConfigs(_message.Message):
    __slots__ = ("group", "set", "remove", "replace")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    group: str
    set: _containers.RepeatedCompositeFieldContainer[ConfigEntry]
    remove: _containers.RepeatedScalarFieldContainer[str]
    replace: bool
    def __init__(self, group: _Optional[str] = ..., set: _Optional[_Iterable[_Union[ConfigEntry, _Mapping]]] = ..., remove: _Optional[_Iterable[str]] = ..., replace: _Optional[bool] = ...) -> None: ...

class AlterTopicConfigs(_message.Message):
    __slots__ = ("topic", "set", "remove", "replace", "append", "subtract")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    APPEND_FIELD_NUMBER: _ClassVar[int]
    SUBTRACT_FIELD_NUMBER: _ClassVar[int]
    topic: str
    set: _containers.RepeatedCompositeFieldContainer[ConfigEntry]
    remove: _containers.RepeatedScalarFieldContainer[str]
    replace: bool
    append: _containers.RepeatedCompositeFieldContainer[ConfigEntry]
    subtract: _containers.RepeatedCompositeFieldContainer[ConfigEntry]
    def __init__(self, topic: _Optional[str] = ..., set: _Optional[_Iterable[_Union[ConfigEntry, _Mapping]]] = ..., remove: _Optional[_Iterable[str]] = ..., replace: _Optional[bool] = ..., append: _Optional[_Iterable[_Union[ConfigEntry, _Mapping]]] = ..., subtract: _Optional[_Iterable[_Union[ConfigEntry, _Mapping]]] = ...) -> None: ...

class AlterConfigsResponse(_message.Message):
    __slots__ = ("topics", "groups", "metadata_offset")
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    topics: _containers.RepeatedCompositeFieldContainer[AlteredConfigs]
    groups: _containers.RepeatedCompositeFieldContainer[AlteredGroupConfigs]
    metadata_offset: int
    def __init__(self, topics: _Optional[_Iterable[_Union[AlteredConfigs, _Mapping]]] = ..., groups: _Optional[_Iterable[_Union[AlteredGroupConfigs, _Mapping]]] = ..., metadata_offset: _Optional[int] = ...) -> None: ...

class AlteredConfigs(_message.Message):
    __slots__ = ("topic", "failure")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    topic: str
    failure: _common_pb2.Failure
    def __init__(self, topic: _Optional[str] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ...) -> None: ...

class AlteredGroupConfigs(_message.Message):
    __slots__ = ("group", "failure")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    group: str
    failure: _common_pb2.Failure
    def __init__(self, group: _Optional[str] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ...) -> None: ...

class AlterPartitionReassignmentsRequest(_message.Message):
    __slots__ = ("partitions", "throttle_bytes_per_s", "validate_only", "timeout_ms", "each_by_itself", "keep_replication_factor", "replace")
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    THROTTLE_BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    EACH_BY_ITSELF_FIELD_NUMBER: _ClassVar[int]
    KEEP_REPLICATION_FACTOR_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    partitions: _containers.RepeatedCompositeFieldContainer[WantedReassignment]
    throttle_bytes_per_s: int
    validate_only: bool
    timeout_ms: int
    each_by_itself: bool
    keep_replication_factor: bool
    replace: bool
    def __init__(self, partitions: _Optional[_Iterable[_Union[WantedReassignment, _Mapping]]] = ..., throttle_bytes_per_s: _Optional[int] = ..., validate_only: _Optional[bool] = ..., timeout_ms: _Optional[int] = ..., each_by_itself: _Optional[bool] = ..., keep_replication_factor: _Optional[bool] = ..., replace: _Optional[bool] = ...) -> None: ...

class WantedReassignment(_message.Message):
    __slots__ = ("topic", "partition", "replicas", "cancel", "partition_epoch")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    PARTITION_EPOCH_FIELD_NUMBER: _ClassVar[int]
    topic: str
    partition: int
    replicas: _containers.RepeatedScalarFieldContainer[int]
    cancel: bool
    partition_epoch: int
    def __init__(self, topic: _Optional[str] = ..., partition: _Optional[int] = ..., replicas: _Optional[_Iterable[int]] = ..., cancel: _Optional[bool] = ..., partition_epoch: _Optional[int] = ...) -> None: ...

class AlterPartitionReassignmentsResponse(_message.Message):
    __slots__ = ("partitions", "metadata_offset")
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    partitions: _containers.RepeatedCompositeFieldContainer[AlteredReassignment]
    metadata_offset: int
    def __init__(self, partitions: _Optional[_Iterable[_Union[AlteredReassignment, _Mapping]]] = ..., metadata_offset: _Optional[int] = ...) -> None: ...

class AlteredReassignment(_message.Message):
    __slots__ = ("topic", "partition", "failure")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    topic: str
    partition: int
    failure: _common_pb2.Failure
    def __init__(self, topic: _Optional[str] = ..., partition: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ...) -> None: ...

class ListPartitionReassignmentsRequest(_message.Message):
    __slots__ = ("timeout_ms",)
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    timeout_ms: int
    def __init__(self, timeout_ms: _Optional[int] = ...) -> None: ...

class ListPartitionReassignmentsResponse(_message.Message):
    __slots__ = ("partitions", "throttle_bytes_per_s")
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    THROTTLE_BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    partitions: _containers.RepeatedCompositeFieldContainer[OngoingReassignment]
    throttle_bytes_per_s: int
    def __init__(self, partitions: _Optional[_Iterable[_Union[OngoingReassignment, _Mapping]]] = ..., throttle_bytes_per_s: _Optional[int] = ...) -> None: ...

class OngoingReassignment(_message.Message):
    __slots__ = ("topic", "partition", "partition_epoch", "leader", "replicas", "adding_replicas", "removing_replicas", "in_sync_replicas")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    PARTITION_EPOCH_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    ADDING_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    REMOVING_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    IN_SYNC_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    topic: str
    partition: int
    partition_epoch: int
    leader: int
    replicas: _containers.RepeatedScalarFieldContainer[int]
    adding_replicas: _containers.RepeatedScalarFieldContainer[int]
    removing_replicas: _containers.RepeatedScalarFieldContainer[int]
    in_sync_replicas: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, topic: _Optional[str] = ..., partition: _Optional[int] = ..., partition_epoch: _Optional[int] = ..., leader: _Optional[int] = ..., replicas: _Optional[_Iterable[int]] = ..., adding_replicas: _Optional[_Iterable[int]] = ..., removing_replicas: _Optional[_Iterable[int]] = ..., in_sync_replicas: _Optional[_Iterable[int]] = ...) -> None: ...

class ElectLeadersRequest(_message.Message):
    __slots__ = ("election_type", "partitions", "timeout_ms")
    ELECTION_TYPE_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    election_type: ElectionType
    partitions: _containers.RepeatedCompositeFieldContainer[ElectionOf]
    timeout_ms: int
    def __init__(self, election_type: _Optional[_Union[ElectionType, str]] = ..., partitions: _Optional[_Iterable[_Union[ElectionOf, _Mapping]]] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class ElectionOf(_message.Message):
    __slots__ = ("topic", "partitions")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    topic: str
    partitions: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, topic: _Optional[str] = ..., partitions: _Optional[_Iterable[int]] = ...) -> None: ...

class ElectLeadersResponse(_message.Message):
    __slots__ = ("partitions", "metadata_offset")
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    partitions: _containers.RepeatedCompositeFieldContainer[ElectedLeader]
    metadata_offset: int
    def __init__(self, partitions: _Optional[_Iterable[_Union[ElectedLeader, _Mapping]]] = ..., metadata_offset: _Optional[int] = ...) -> None: ...

class ElectedLeader(_message.Message):
    __slots__ = ("topic", "partition", "failure", "leader", "leader_epoch")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    LEADER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    topic: str
    partition: int
    failure: _common_pb2.Failure
    leader: int
    leader_epoch: int
    def __init__(self, topic: _Optional[str] = ..., partition: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., leader: _Optional[int] = ..., leader_epoch: _Optional[int] = ...) -> None: ...

class DrainBrokerRequest(_message.Message):
    __slots__ = ("node_id", "cancel", "validate_only", "timeout_ms")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    cancel: bool
    validate_only: bool
    timeout_ms: int
    def __init__(self, node_id: _Optional[int] = ..., cancel: _Optional[bool] = ..., validate_only: _Optional[bool] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class DrainBrokerResponse(_message.Message):
    __slots__ = ("changed", "replicas", "metadata_offset")
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    changed: bool
    replicas: int
    metadata_offset: int
    def __init__(self, changed: _Optional[bool] = ..., replicas: _Optional[int] = ..., metadata_offset: _Optional[int] = ...) -> None: ...

class UnregisterBrokerRequest(_message.Message):
    __slots__ = ("node_id", "timeout_ms")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    timeout_ms: int
    def __init__(self, node_id: _Optional[int] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class UnregisterBrokerResponse(_message.Message):
    __slots__ = ("metadata_offset",)
    METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    metadata_offset: int
    def __init__(self, metadata_offset: _Optional[int] = ...) -> None: ...

class DescribePartitionHistoryRequest(_message.Message):
    __slots__ = ("topic", "partition", "most_changes", "timeout_ms", "as_known")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    MOST_CHANGES_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    AS_KNOWN_FIELD_NUMBER: _ClassVar[int]
    topic: str
    partition: int
    most_changes: int
    timeout_ms: int
    as_known: bool
    def __init__(self, topic: _Optional[str] = ..., partition: _Optional[int] = ..., most_changes: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., as_known: _Optional[bool] = ...) -> None: ...

class DescribePartitionHistoryResponse(_message.Message):
    __slots__ = ("failure", "steps", "read_from_offset", "now_ms", "known_end", "known_at_ms")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    READ_FROM_OFFSET_FIELD_NUMBER: _ClassVar[int]
    NOW_MS_FIELD_NUMBER: _ClassVar[int]
    KNOWN_END_FIELD_NUMBER: _ClassVar[int]
    KNOWN_AT_MS_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    steps: _containers.RepeatedCompositeFieldContainer[PartitionStep]
    read_from_offset: int
    now_ms: int
    known_end: int
    known_at_ms: int
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., steps: _Optional[_Iterable[_Union[PartitionStep, _Mapping]]] = ..., read_from_offset: _Optional[int] = ..., now_ms: _Optional[int] = ..., known_end: _Optional[int] = ..., known_at_ms: _Optional[int] = ...) -> None: ...

class PartitionStep(_message.Message):
    __slots__ = ("metadata_offset", "time_ms", "leader", "leader_epoch", "partition_epoch", "in_sync_replicas", "assigned_replicas", "adding_replicas", "removing_replicas", "fenced_brokers", "unfenced_brokers", "shutting_down_brokers", "registered_brokers", "doubtful_brokers", "eligible_replicas", "last_known_leader", "offline_brokers")
    METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    LEADER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    PARTITION_EPOCH_FIELD_NUMBER: _ClassVar[int]
    IN_SYNC_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    ASSIGNED_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    ADDING_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    REMOVING_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    FENCED_BROKERS_FIELD_NUMBER: _ClassVar[int]
    UNFENCED_BROKERS_FIELD_NUMBER: _ClassVar[int]
    SHUTTING_DOWN_BROKERS_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_BROKERS_FIELD_NUMBER: _ClassVar[int]
    DOUBTFUL_BROKERS_FIELD_NUMBER: _ClassVar[int]
    ELIGIBLE_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    LAST_KNOWN_LEADER_FIELD_NUMBER: _ClassVar[int]
    OFFLINE_BROKERS_FIELD_NUMBER: _ClassVar[int]
    metadata_offset: int
    time_ms: int
    leader: int
    leader_epoch: int
    partition_epoch: int
    in_sync_replicas: _containers.RepeatedScalarFieldContainer[int]
    assigned_replicas: _containers.RepeatedScalarFieldContainer[int]
    adding_replicas: _containers.RepeatedScalarFieldContainer[int]
    removing_replicas: _containers.RepeatedScalarFieldContainer[int]
    fenced_brokers: _containers.RepeatedScalarFieldContainer[int]
    unfenced_brokers: _containers.RepeatedScalarFieldContainer[int]
    shutting_down_brokers: _containers.RepeatedScalarFieldContainer[int]
    registered_brokers: _containers.RepeatedScalarFieldContainer[int]
    doubtful_brokers: _containers.RepeatedScalarFieldContainer[int]
    eligible_replicas: _containers.RepeatedScalarFieldContainer[int]
    last_known_leader: int
    offline_brokers: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, metadata_offset: _Optional[int] = ..., time_ms: _Optional[int] = ..., leader: _Optional[int] = ..., leader_epoch: _Optional[int] = ..., partition_epoch: _Optional[int] = ..., in_sync_replicas: _Optional[_Iterable[int]] = ..., assigned_replicas: _Optional[_Iterable[int]] = ..., adding_replicas: _Optional[_Iterable[int]] = ..., removing_replicas: _Optional[_Iterable[int]] = ..., fenced_brokers: _Optional[_Iterable[int]] = ..., unfenced_brokers: _Optional[_Iterable[int]] = ..., shutting_down_brokers: _Optional[_Iterable[int]] = ..., registered_brokers: _Optional[_Iterable[int]] = ..., doubtful_brokers: _Optional[_Iterable[int]] = ..., eligible_replicas: _Optional[_Iterable[int]] = ..., last_known_leader: _Optional[int] = ..., offline_brokers: _Optional[_Iterable[int]] = ...) -> None: ...

class DescribeLogDirsRequest(_message.Message):
    __slots__ = ("omit_replicas",)
    OMIT_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    omit_replicas: bool
    def __init__(self, omit_replicas: _Optional[bool] = ...) -> None: ...

class DescribeLogDirsResponse(_message.Message):
    __slots__ = ("node_id", "log_dirs", "moves", "waiting")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    LOG_DIRS_FIELD_NUMBER: _ClassVar[int]
    MOVES_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    log_dirs: _containers.RepeatedCompositeFieldContainer[LogDir]
    moves: _containers.RepeatedCompositeFieldContainer[LogDirMove]
    waiting: _containers.RepeatedCompositeFieldContainer[WaitingReplica]
    def __init__(self, node_id: _Optional[int] = ..., log_dirs: _Optional[_Iterable[_Union[LogDir, _Mapping]]] = ..., moves: _Optional[_Iterable[_Union[LogDirMove, _Mapping]]] = ..., waiting: _Optional[_Iterable[_Union[WaitingReplica, _Mapping]]] = ...) -> None: ...

class WaitingReplica(_message.Message):
    __slots__ = ("topic", "partition", "reason")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    topic: str
    partition: int
    reason: str
    def __init__(self, topic: _Optional[str] = ..., partition: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class LogDir(_message.Message):
    __slots__ = ("path", "failure", "free_bytes", "replicas", "directory_id", "strays", "stray_bytes", "lacks_room")
    PATH_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    STRAYS_FIELD_NUMBER: _ClassVar[int]
    STRAY_BYTES_FIELD_NUMBER: _ClassVar[int]
    LACKS_ROOM_FIELD_NUMBER: _ClassVar[int]
    path: str
    failure: _common_pb2.Failure
    free_bytes: int
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaDescription]
    directory_id: bytes
    strays: int
    stray_bytes: int
    lacks_room: str
    def __init__(self, path: _Optional[str] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., free_bytes: _Optional[int] = ..., replicas: _Optional[_Iterable[_Union[ReplicaDescription, _Mapping]]] = ..., directory_id: _Optional[bytes] = ..., strays: _Optional[int] = ..., stray_bytes: _Optional[int] = ..., lacks_room: _Optional[str] = ...) -> None: ...

class LogDirMove(_message.Message):
    __slots__ = ("topic", "partition", "source_path", "target_path", "state", "copied_bytes", "size_bytes", "failure")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_PATH_FIELD_NUMBER: _ClassVar[int]
    TARGET_PATH_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    COPIED_BYTES_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    topic: str
    partition: int
    source_path: str
    target_path: str
    state: LogDirMoveState
    copied_bytes: int
    size_bytes: int
    failure: _common_pb2.Failure
    def __init__(self, topic: _Optional[str] = ..., partition: _Optional[int] = ..., source_path: _Optional[str] = ..., target_path: _Optional[str] = ..., state: _Optional[_Union[LogDirMoveState, str]] = ..., copied_bytes: _Optional[int] = ..., size_bytes: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ...) -> None: ...

class AlterReplicaLogDirsRequest(_message.Message):
    __slots__ = ("replicas", "validate_only")
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    replicas: _containers.RepeatedCompositeFieldContainer[WantedLogDir]
    validate_only: bool
    def __init__(self, replicas: _Optional[_Iterable[_Union[WantedLogDir, _Mapping]]] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class WantedLogDir(_message.Message):
    __slots__ = ("topic", "partition", "path")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    topic: str
    partition: int
    path: str
    def __init__(self, topic: _Optional[str] = ..., partition: _Optional[int] = ..., path: _Optional[str] = ...) -> None: ...

class AlterReplicaLogDirsResponse(_message.Message):
    __slots__ = ("replicas",)
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    replicas: _containers.RepeatedCompositeFieldContainer[AlteredLogDir]
    def __init__(self, replicas: _Optional[_Iterable[_Union[AlteredLogDir, _Mapping]]] = ...) -> None: ...

class AlteredLogDir(_message.Message):
    __slots__ = ("topic", "partition", "failure")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    topic: str
    partition: int
    failure: _common_pb2.Failure
    def __init__(self, topic: _Optional[str] = ..., partition: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ...) -> None: ...

class ReplicaDescription(_message.Message):
    __slots__ = ("topic", "topic_id", "partition", "size_bytes", "log_start_offset", "log_end_offset", "durable_end", "high_watermark", "leads", "failure", "followers", "bytes_in_per_s", "bytes_out_per_s", "refusal")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOG_START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    LOG_END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    DURABLE_END_FIELD_NUMBER: _ClassVar[int]
    HIGH_WATERMARK_FIELD_NUMBER: _ClassVar[int]
    LEADS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    FOLLOWERS_FIELD_NUMBER: _ClassVar[int]
    BYTES_IN_PER_S_FIELD_NUMBER: _ClassVar[int]
    BYTES_OUT_PER_S_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    topic: str
    topic_id: bytes
    partition: int
    size_bytes: int
    log_start_offset: int
    log_end_offset: int
    durable_end: int
    high_watermark: int
    leads: bool
    failure: _common_pb2.Failure
    followers: _containers.RepeatedCompositeFieldContainer[FollowerDescription]
    bytes_in_per_s: float
    bytes_out_per_s: float
    refusal: _common_pb2.Failure
    def __init__(self, topic: _Optional[str] = ..., topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ..., size_bytes: _Optional[int] = ..., log_start_offset: _Optional[int] = ..., log_end_offset: _Optional[int] = ..., durable_end: _Optional[int] = ..., high_watermark: _Optional[int] = ..., leads: _Optional[bool] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., followers: _Optional[_Iterable[_Union[FollowerDescription, _Mapping]]] = ..., bytes_in_per_s: _Optional[float] = ..., bytes_out_per_s: _Optional[float] = ..., refusal: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ...) -> None: ...

class FollowerDescription(_message.Message):
    __slots__ = ("node_id", "durable_end", "lag_ms", "subscribed")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DURABLE_END_FIELD_NUMBER: _ClassVar[int]
    LAG_MS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBED_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    durable_end: int
    lag_ms: int
    subscribed: bool
    def __init__(self, node_id: _Optional[int] = ..., durable_end: _Optional[int] = ..., lag_ms: _Optional[int] = ..., subscribed: _Optional[bool] = ...) -> None: ...

class DescribeQuorumRequest(_message.Message):
    __slots__ = ("timeout_ms", "as_known")
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    AS_KNOWN_FIELD_NUMBER: _ClassVar[int]
    timeout_ms: int
    as_known: bool
    def __init__(self, timeout_ms: _Optional[int] = ..., as_known: _Optional[bool] = ...) -> None: ...

class DescribeQuorumResponse(_message.Message):
    __slots__ = ("leader_id", "term", "committed_end", "log_end", "voters", "learners")
    LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_END_FIELD_NUMBER: _ClassVar[int]
    LOG_END_FIELD_NUMBER: _ClassVar[int]
    VOTERS_FIELD_NUMBER: _ClassVar[int]
    LEARNERS_FIELD_NUMBER: _ClassVar[int]
    leader_id: int
    term: int
    committed_end: int
    log_end: int
    voters: _containers.RepeatedCompositeFieldContainer[QuorumReplica]
    learners: _containers.RepeatedCompositeFieldContainer[QuorumReplica]
    def __init__(self, leader_id: _Optional[int] = ..., term: _Optional[int] = ..., committed_end: _Optional[int] = ..., log_end: _Optional[int] = ..., voters: _Optional[_Iterable[_Union[QuorumReplica, _Mapping]]] = ..., learners: _Optional[_Iterable[_Union[QuorumReplica, _Mapping]]] = ...) -> None: ...

class QuorumReplica(_message.Message):
    __slots__ = ("node_id", "directory_id", "host", "port", "durable_end", "silent_ms")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    DURABLE_END_FIELD_NUMBER: _ClassVar[int]
    SILENT_MS_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    directory_id: bytes
    host: str
    port: int
    durable_end: int
    silent_ms: int
    def __init__(self, node_id: _Optional[int] = ..., directory_id: _Optional[bytes] = ..., host: _Optional[str] = ..., port: _Optional[int] = ..., durable_end: _Optional[int] = ..., silent_ms: _Optional[int] = ...) -> None: ...

class AddVoterRequest(_message.Message):
    __slots__ = ("node_id", "timeout_ms", "directory_id")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    timeout_ms: int
    directory_id: bytes
    def __init__(self, node_id: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., directory_id: _Optional[bytes] = ...) -> None: ...

class AddVoterResponse(_message.Message):
    __slots__ = ("changed", "metadata_offset")
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    changed: bool
    metadata_offset: int
    def __init__(self, changed: _Optional[bool] = ..., metadata_offset: _Optional[int] = ...) -> None: ...

class RemoveVoterRequest(_message.Message):
    __slots__ = ("node_id", "timeout_ms", "directory_id")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    timeout_ms: int
    directory_id: bytes
    def __init__(self, node_id: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., directory_id: _Optional[bytes] = ...) -> None: ...

class RemoveVoterResponse(_message.Message):
    __slots__ = ("changed", "metadata_offset")
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    changed: bool
    metadata_offset: int
    def __init__(self, changed: _Optional[bool] = ..., metadata_offset: _Optional[int] = ...) -> None: ...

class TransferControllerRequest(_message.Message):
    __slots__ = ("node_id", "timeout_ms")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    timeout_ms: int
    def __init__(self, node_id: _Optional[int] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class TransferControllerResponse(_message.Message):
    __slots__ = ("leader_id",)
    LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    leader_id: int
    def __init__(self, leader_id: _Optional[int] = ...) -> None: ...

class DescribeFeaturesRequest(_message.Message):
    __slots__ = ("timeout_ms",)
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    timeout_ms: int
    def __init__(self, timeout_ms: _Optional[int] = ...) -> None: ...

class DescribeFeaturesResponse(_message.Message):
    __slots__ = ("metadata_version", "newest_metadata_version", "obstacle", "nodes")
    METADATA_VERSION_FIELD_NUMBER: _ClassVar[int]
    NEWEST_METADATA_VERSION_FIELD_NUMBER: _ClassVar[int]
    OBSTACLE_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    metadata_version: int
    newest_metadata_version: int
    obstacle: str
    nodes: _containers.RepeatedCompositeFieldContainer[NodeSupport]
    def __init__(self, metadata_version: _Optional[int] = ..., newest_metadata_version: _Optional[int] = ..., obstacle: _Optional[str] = ..., nodes: _Optional[_Iterable[_Union[NodeSupport, _Mapping]]] = ...) -> None: ...

class NodeSupport(_message.Message):
    __slots__ = ("node_id", "role", "up", "min_metadata_version", "max_metadata_version")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    UP_FIELD_NUMBER: _ClassVar[int]
    MIN_METADATA_VERSION_FIELD_NUMBER: _ClassVar[int]
    MAX_METADATA_VERSION_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    role: NodeRole
    up: bool
    min_metadata_version: int
    max_metadata_version: int
    def __init__(self, node_id: _Optional[int] = ..., role: _Optional[_Union[NodeRole, str]] = ..., up: _Optional[bool] = ..., min_metadata_version: _Optional[int] = ..., max_metadata_version: _Optional[int] = ...) -> None: ...

class UpdateFeaturesRequest(_message.Message):
    __slots__ = ("metadata_version", "validate_only", "timeout_ms")
    METADATA_VERSION_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    metadata_version: int
    validate_only: bool
    timeout_ms: int
    def __init__(self, metadata_version: _Optional[int] = ..., validate_only: _Optional[bool] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class UpdateFeaturesResponse(_message.Message):
    __slots__ = ("metadata_version", "previous_metadata_version", "metadata_offset")
    METADATA_VERSION_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_METADATA_VERSION_FIELD_NUMBER: _ClassVar[int]
    METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    metadata_version: int
    previous_metadata_version: int
    metadata_offset: int
    def __init__(self, metadata_version: _Optional[int] = ..., previous_metadata_version: _Optional[int] = ..., metadata_offset: _Optional[int] = ...) -> None: ...
