from dohle.rpc.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListGroupsRequest(_message.Message):
    __slots__ = ("passed_on",)
    PASSED_ON_FIELD_NUMBER: _ClassVar[int]
    passed_on: bool
    def __init__(self, passed_on: _Optional[bool] = ...) -> None: ...

class ListGroupsResponse(_message.Message):
    __slots__ = ("groups", "silent")
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    SILENT_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedCompositeFieldContainer[ListedGroup]
    silent: _containers.RepeatedCompositeFieldContainer[SilentCoordinator]
    def __init__(self, groups: _Optional[_Iterable[_Union[ListedGroup, _Mapping]]] = ..., silent: _Optional[_Iterable[_Union[SilentCoordinator, _Mapping]]] = ...) -> None: ...

class SilentCoordinator(_message.Message):
    __slots__ = ("node_id", "failure")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    failure: _common_pb2.Failure
    def __init__(self, node_id: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ...) -> None: ...

class ListedGroup(_message.Message):
    __slots__ = ("group_id", "kind", "state", "protocol_type", "members", "coordinator", "lag_records", "lag_ms", "unknown_lags")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_TYPE_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_FIELD_NUMBER: _ClassVar[int]
    LAG_RECORDS_FIELD_NUMBER: _ClassVar[int]
    LAG_MS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_LAGS_FIELD_NUMBER: _ClassVar[int]
    group_id: str
    kind: str
    state: str
    protocol_type: str
    members: int
    coordinator: int
    lag_records: int
    lag_ms: int
    unknown_lags: int
    def __init__(self, group_id: _Optional[str] = ..., kind: _Optional[str] = ..., state: _Optional[str] = ..., protocol_type: _Optional[str] = ..., members: _Optional[int] = ..., coordinator: _Optional[int] = ..., lag_records: _Optional[int] = ..., lag_ms: _Optional[int] = ..., unknown_lags: _Optional[int] = ...) -> None: ...

class DescribeGroupsRequest(_message.Message):
    __slots__ = ("groups", "passed_on", "with_history")
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    PASSED_ON_FIELD_NUMBER: _ClassVar[int]
    WITH_HISTORY_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedScalarFieldContainer[str]
    passed_on: bool
    with_history: bool
    def __init__(self, groups: _Optional[_Iterable[str]] = ..., passed_on: _Optional[bool] = ..., with_history: _Optional[bool] = ...) -> None: ...

class DescribeGroupsResponse(_message.Message):
    __slots__ = ("groups",)
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedCompositeFieldContainer[DescribedGroup]
    def __init__(self, groups: _Optional[_Iterable[_Union[DescribedGroup, _Mapping]]] = ...) -> None: ...

class DescribedGroup(_message.Message):
    __slots__ = ("failure", "group_id", "kind", "state", "protocol_type", "coordinator", "assignor", "epoch", "members", "partitions", "rebalances", "empty_since_ms", "now_ms")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_TYPE_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_FIELD_NUMBER: _ClassVar[int]
    ASSIGNOR_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    REBALANCES_FIELD_NUMBER: _ClassVar[int]
    EMPTY_SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    NOW_MS_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    group_id: str
    kind: str
    state: str
    protocol_type: str
    coordinator: int
    assignor: str
    epoch: int
    members: _containers.RepeatedCompositeFieldContainer[DescribedMember]
    partitions: _containers.RepeatedCompositeFieldContainer[GroupPartition]
    rebalances: _containers.RepeatedCompositeFieldContainer[DescribedRebalance]
    empty_since_ms: int
    now_ms: int
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., group_id: _Optional[str] = ..., kind: _Optional[str] = ..., state: _Optional[str] = ..., protocol_type: _Optional[str] = ..., coordinator: _Optional[int] = ..., assignor: _Optional[str] = ..., epoch: _Optional[int] = ..., members: _Optional[_Iterable[_Union[DescribedMember, _Mapping]]] = ..., partitions: _Optional[_Iterable[_Union[GroupPartition, _Mapping]]] = ..., rebalances: _Optional[_Iterable[_Union[DescribedRebalance, _Mapping]]] = ..., empty_since_ms: _Optional[int] = ..., now_ms: _Optional[int] = ...) -> None: ...

class DescribedMember(_message.Message):
    __slots__ = ("member_id", "instance_id", "client_id", "client_host", "assigned", "epoch", "state", "leads")
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_HOST_FIELD_NUMBER: _ClassVar[int]
    ASSIGNED_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LEADS_FIELD_NUMBER: _ClassVar[int]
    member_id: str
    instance_id: str
    client_id: str
    client_host: str
    assigned: _containers.RepeatedCompositeFieldContainer[TopicPartitions]
    epoch: int
    state: str
    leads: bool
    def __init__(self, member_id: _Optional[str] = ..., instance_id: _Optional[str] = ..., client_id: _Optional[str] = ..., client_host: _Optional[str] = ..., assigned: _Optional[_Iterable[_Union[TopicPartitions, _Mapping]]] = ..., epoch: _Optional[int] = ..., state: _Optional[str] = ..., leads: _Optional[bool] = ...) -> None: ...

class TopicPartitions(_message.Message):
    __slots__ = ("topic", "partitions")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    topic: str
    partitions: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, topic: _Optional[str] = ..., partitions: _Optional[_Iterable[int]] = ...) -> None: ...

class GroupPartition(_message.Message):
    __slots__ = ("topic", "partition", "committed_offset", "metadata", "commit_ms", "member_id", "failure", "log_start_offset", "high_watermark", "lag_records", "lag_ms")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_OFFSET_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    COMMIT_MS_FIELD_NUMBER: _ClassVar[int]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    LOG_START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    HIGH_WATERMARK_FIELD_NUMBER: _ClassVar[int]
    LAG_RECORDS_FIELD_NUMBER: _ClassVar[int]
    LAG_MS_FIELD_NUMBER: _ClassVar[int]
    topic: str
    partition: int
    committed_offset: int
    metadata: str
    commit_ms: int
    member_id: str
    failure: _common_pb2.Failure
    log_start_offset: int
    high_watermark: int
    lag_records: int
    lag_ms: int
    def __init__(self, topic: _Optional[str] = ..., partition: _Optional[int] = ..., committed_offset: _Optional[int] = ..., metadata: _Optional[str] = ..., commit_ms: _Optional[int] = ..., member_id: _Optional[str] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., log_start_offset: _Optional[int] = ..., high_watermark: _Optional[int] = ..., lag_records: _Optional[int] = ..., lag_ms: _Optional[int] = ...) -> None: ...

class DescribedRebalance(_message.Message):
    __slots__ = ("number", "cause", "who", "detail", "silent_ms", "began_ms", "ended_ms", "epoch", "members", "last", "last_ms", "removed", "more_removed")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    SILENT_MS_FIELD_NUMBER: _ClassVar[int]
    BEGAN_MS_FIELD_NUMBER: _ClassVar[int]
    ENDED_MS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    LAST_MS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    MORE_REMOVED_FIELD_NUMBER: _ClassVar[int]
    number: int
    cause: str
    who: RebalanceMember
    detail: str
    silent_ms: int
    began_ms: int
    ended_ms: int
    epoch: int
    members: int
    last: RebalanceMember
    last_ms: int
    removed: _containers.RepeatedCompositeFieldContainer[RebalanceMember]
    more_removed: int
    def __init__(self, number: _Optional[int] = ..., cause: _Optional[str] = ..., who: _Optional[_Union[RebalanceMember, _Mapping]] = ..., detail: _Optional[str] = ..., silent_ms: _Optional[int] = ..., began_ms: _Optional[int] = ..., ended_ms: _Optional[int] = ..., epoch: _Optional[int] = ..., members: _Optional[int] = ..., last: _Optional[_Union[RebalanceMember, _Mapping]] = ..., last_ms: _Optional[int] = ..., removed: _Optional[_Iterable[_Union[RebalanceMember, _Mapping]]] = ..., more_removed: _Optional[int] = ...) -> None: ...

class RebalanceMember(_message.Message):
    __slots__ = ("member_id", "instance_id", "client_id", "client_host")
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_HOST_FIELD_NUMBER: _ClassVar[int]
    member_id: str
    instance_id: str
    client_id: str
    client_host: str
    def __init__(self, member_id: _Optional[str] = ..., instance_id: _Optional[str] = ..., client_id: _Optional[str] = ..., client_host: _Optional[str] = ...) -> None: ...

class AlterGroupOffsetsRequest(_message.Message):
    __slots__ = ("group_id", "offsets", "validate_only", "passed_on")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    PASSED_ON_FIELD_NUMBER: _ClassVar[int]
    group_id: str
    offsets: _containers.RepeatedCompositeFieldContainer[NewGroupOffset]
    validate_only: bool
    passed_on: bool
    def __init__(self, group_id: _Optional[str] = ..., offsets: _Optional[_Iterable[_Union[NewGroupOffset, _Mapping]]] = ..., validate_only: _Optional[bool] = ..., passed_on: _Optional[bool] = ...) -> None: ...

class NewGroupOffset(_message.Message):
    __slots__ = ("topic", "partition", "offset")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    topic: str
    partition: int
    offset: int
    def __init__(self, topic: _Optional[str] = ..., partition: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class AlterGroupOffsetsResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RemoveGroupsRequest(_message.Message):
    __slots__ = ("groups", "passed_on", "validate_only")
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    PASSED_ON_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedScalarFieldContainer[str]
    passed_on: bool
    validate_only: bool
    def __init__(self, groups: _Optional[_Iterable[str]] = ..., passed_on: _Optional[bool] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class RemoveGroupsResponse(_message.Message):
    __slots__ = ("groups",)
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedCompositeFieldContainer[RemovedGroup]
    def __init__(self, groups: _Optional[_Iterable[_Union[RemovedGroup, _Mapping]]] = ...) -> None: ...

class RemovedGroup(_message.Message):
    __slots__ = ("group_id", "failure")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    group_id: str
    failure: _common_pb2.Failure
    def __init__(self, group_id: _Optional[str] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ...) -> None: ...
