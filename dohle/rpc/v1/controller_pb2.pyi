from dohle.rpc.v1 import admin_pb2 as _admin_pb2
from dohle.rpc.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FollowMetadataRequest(_message.Message):
    __slots__ = ("hello", "next_offset")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    NEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    hello: _common_pb2.Hello
    next_offset: int
    def __init__(self, hello: _Optional[_Union[_common_pb2.Hello, _Mapping]] = ..., next_offset: _Optional[int] = ...) -> None: ...

class FollowMetadataResponse(_message.Message):
    __slots__ = ("hello", "failure", "leader_id", "batches", "committed_end", "leader_host", "leader_port", "snapshot_end_offset")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_END_FIELD_NUMBER: _ClassVar[int]
    LEADER_HOST_FIELD_NUMBER: _ClassVar[int]
    LEADER_PORT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    hello: _common_pb2.Hello
    failure: _common_pb2.Failure
    leader_id: int
    batches: bytes
    committed_end: int
    leader_host: str
    leader_port: int
    snapshot_end_offset: int
    def __init__(self, hello: _Optional[_Union[_common_pb2.Hello, _Mapping]] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., leader_id: _Optional[int] = ..., batches: _Optional[bytes] = ..., committed_end: _Optional[int] = ..., leader_host: _Optional[str] = ..., leader_port: _Optional[int] = ..., snapshot_end_offset: _Optional[int] = ...) -> None: ...

class FetchSnapshotRequest(_message.Message):
    __slots__ = ("hello", "least_end_offset")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    LEAST_END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    hello: _common_pb2.Hello
    least_end_offset: int
    def __init__(self, hello: _Optional[_Union[_common_pb2.Hello, _Mapping]] = ..., least_end_offset: _Optional[int] = ...) -> None: ...

class FetchSnapshotResponse(_message.Message):
    __slots__ = ("hello", "end_offset", "term", "size_bytes", "batches")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    hello: _common_pb2.Hello
    end_offset: int
    term: int
    size_bytes: int
    batches: bytes
    def __init__(self, hello: _Optional[_Union[_common_pb2.Hello, _Mapping]] = ..., end_offset: _Optional[int] = ..., term: _Optional[int] = ..., size_bytes: _Optional[int] = ..., batches: _Optional[bytes] = ...) -> None: ...

class HeldReplica(_message.Message):
    __slots__ = ("topic_id", "partition", "last_epoch", "durable_end", "cut_bytes", "proven", "damaged", "log_dir")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    LAST_EPOCH_FIELD_NUMBER: _ClassVar[int]
    DURABLE_END_FIELD_NUMBER: _ClassVar[int]
    CUT_BYTES_FIELD_NUMBER: _ClassVar[int]
    PROVEN_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    LOG_DIR_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    partition: int
    last_epoch: int
    durable_end: int
    cut_bytes: int
    proven: bool
    damaged: bool
    log_dir: int
    def __init__(self, topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ..., last_epoch: _Optional[int] = ..., durable_end: _Optional[int] = ..., cut_bytes: _Optional[int] = ..., proven: _Optional[bool] = ..., damaged: _Optional[bool] = ..., log_dir: _Optional[int] = ...) -> None: ...

class RegisterBrokerRequest(_message.Message):
    __slots__ = ("hello", "endpoints", "rack", "held", "durable_metadata_offset", "clean_broker_epoch", "log_dirs", "offline_log_dirs")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    RACK_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    DURABLE_METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    CLEAN_BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    LOG_DIRS_FIELD_NUMBER: _ClassVar[int]
    OFFLINE_LOG_DIRS_FIELD_NUMBER: _ClassVar[int]
    hello: _common_pb2.Hello
    endpoints: _containers.RepeatedCompositeFieldContainer[_common_pb2.Endpoint]
    rack: str
    held: _containers.RepeatedCompositeFieldContainer[HeldReplica]
    durable_metadata_offset: int
    clean_broker_epoch: int
    log_dirs: _containers.RepeatedCompositeFieldContainer[RegisteredLogDir]
    offline_log_dirs: int
    def __init__(self, hello: _Optional[_Union[_common_pb2.Hello, _Mapping]] = ..., endpoints: _Optional[_Iterable[_Union[_common_pb2.Endpoint, _Mapping]]] = ..., rack: _Optional[str] = ..., held: _Optional[_Iterable[_Union[HeldReplica, _Mapping]]] = ..., durable_metadata_offset: _Optional[int] = ..., clean_broker_epoch: _Optional[int] = ..., log_dirs: _Optional[_Iterable[_Union[RegisteredLogDir, _Mapping]]] = ..., offline_log_dirs: _Optional[int] = ...) -> None: ...

class RegisteredLogDir(_message.Message):
    __slots__ = ("directory_id", "durable_metadata_offset", "clean_broker_epoch")
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    DURABLE_METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    CLEAN_BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    directory_id: bytes
    durable_metadata_offset: int
    clean_broker_epoch: int
    def __init__(self, directory_id: _Optional[bytes] = ..., durable_metadata_offset: _Optional[int] = ..., clean_broker_epoch: _Optional[int] = ...) -> None: ...

class FailLogDirsRequest(_message.Message):
    __slots__ = ("broker_id", "broker_epoch", "log_dirs", "replicas")
    BROKER_ID_FIELD_NUMBER: _ClassVar[int]
    BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    LOG_DIRS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    broker_id: int
    broker_epoch: int
    log_dirs: _containers.RepeatedScalarFieldContainer[bytes]
    replicas: _containers.RepeatedCompositeFieldContainer[HeldReplica]
    def __init__(self, broker_id: _Optional[int] = ..., broker_epoch: _Optional[int] = ..., log_dirs: _Optional[_Iterable[bytes]] = ..., replicas: _Optional[_Iterable[_Union[HeldReplica, _Mapping]]] = ...) -> None: ...

class FailLogDirsResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ConfirmForksRequest(_message.Message):
    __slots__ = ("broker_id", "broker_epoch", "replicas")
    BROKER_ID_FIELD_NUMBER: _ClassVar[int]
    BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    broker_id: int
    broker_epoch: int
    replicas: _containers.RepeatedCompositeFieldContainer[ForkedReplica]
    def __init__(self, broker_id: _Optional[int] = ..., broker_epoch: _Optional[int] = ..., replicas: _Optional[_Iterable[_Union[ForkedReplica, _Mapping]]] = ...) -> None: ...

class ForkedReplica(_message.Message):
    __slots__ = ("topic_id", "partition", "source_leader_epoch", "end", "checked_from", "checksum", "failure", "log_dir")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_LEADER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    CHECKED_FROM_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    LOG_DIR_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    partition: int
    source_leader_epoch: int
    end: int
    checked_from: int
    checksum: int
    failure: _common_pb2.Failure
    log_dir: bytes
    def __init__(self, topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ..., source_leader_epoch: _Optional[int] = ..., end: _Optional[int] = ..., checked_from: _Optional[int] = ..., checksum: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., log_dir: _Optional[bytes] = ...) -> None: ...

class ConfirmForksResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RegisterBrokerResponse(_message.Message):
    __slots__ = ("broker_epoch",)
    BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    broker_epoch: int
    def __init__(self, broker_epoch: _Optional[int] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("hello", "broker_epoch", "metadata_offset", "wants_fence", "wants_shutdown")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    WANTS_FENCE_FIELD_NUMBER: _ClassVar[int]
    WANTS_SHUTDOWN_FIELD_NUMBER: _ClassVar[int]
    hello: _common_pb2.Hello
    broker_epoch: int
    metadata_offset: int
    wants_fence: bool
    wants_shutdown: bool
    def __init__(self, hello: _Optional[_Union[_common_pb2.Hello, _Mapping]] = ..., broker_epoch: _Optional[int] = ..., metadata_offset: _Optional[int] = ..., wants_fence: _Optional[bool] = ..., wants_shutdown: _Optional[bool] = ...) -> None: ...

class HeartbeatResponse(_message.Message):
    __slots__ = ("failure", "fenced", "may_shut_down", "leader_id")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    FENCED_FIELD_NUMBER: _ClassVar[int]
    MAY_SHUT_DOWN_FIELD_NUMBER: _ClassVar[int]
    LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    fenced: bool
    may_shut_down: bool
    leader_id: int
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., fenced: _Optional[bool] = ..., may_shut_down: _Optional[bool] = ..., leader_id: _Optional[int] = ...) -> None: ...

class AlterPartitionsRequest(_message.Message):
    __slots__ = ("broker_id", "broker_epoch", "partitions")
    BROKER_ID_FIELD_NUMBER: _ClassVar[int]
    BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    broker_id: int
    broker_epoch: int
    partitions: _containers.RepeatedCompositeFieldContainer[AlterPartition]
    def __init__(self, broker_id: _Optional[int] = ..., broker_epoch: _Optional[int] = ..., partitions: _Optional[_Iterable[_Union[AlterPartition, _Mapping]]] = ...) -> None: ...

class AlterPartition(_message.Message):
    __slots__ = ("topic_id", "partition", "leader_epoch", "partition_epoch", "in_sync_replicas", "damaged_replicas")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    LEADER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    PARTITION_EPOCH_FIELD_NUMBER: _ClassVar[int]
    IN_SYNC_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    partition: int
    leader_epoch: int
    partition_epoch: int
    in_sync_replicas: _containers.RepeatedCompositeFieldContainer[IsrMember]
    damaged_replicas: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ..., leader_epoch: _Optional[int] = ..., partition_epoch: _Optional[int] = ..., in_sync_replicas: _Optional[_Iterable[_Union[IsrMember, _Mapping]]] = ..., damaged_replicas: _Optional[_Iterable[int]] = ...) -> None: ...

class IsrMember(_message.Message):
    __slots__ = ("broker_id", "broker_epoch")
    BROKER_ID_FIELD_NUMBER: _ClassVar[int]
    BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    broker_id: int
    broker_epoch: int
    def __init__(self, broker_id: _Optional[int] = ..., broker_epoch: _Optional[int] = ...) -> None: ...

class AlterPartitionsResponse(_message.Message):
    __slots__ = ("partitions",)
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    partitions: _containers.RepeatedCompositeFieldContainer[AlteredPartition]
    def __init__(self, partitions: _Optional[_Iterable[_Union[AlteredPartition, _Mapping]]] = ...) -> None: ...

class AlteredPartition(_message.Message):
    __slots__ = ("topic_id", "partition", "failure", "leader", "leader_epoch", "partition_epoch", "in_sync_replicas", "min_insync_replicas")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    LEADER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    PARTITION_EPOCH_FIELD_NUMBER: _ClassVar[int]
    IN_SYNC_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    MIN_INSYNC_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    partition: int
    failure: _common_pb2.Failure
    leader: int
    leader_epoch: int
    partition_epoch: int
    in_sync_replicas: _containers.RepeatedScalarFieldContainer[int]
    min_insync_replicas: int
    def __init__(self, topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., leader: _Optional[int] = ..., leader_epoch: _Optional[int] = ..., partition_epoch: _Optional[int] = ..., in_sync_replicas: _Optional[_Iterable[int]] = ..., min_insync_replicas: _Optional[int] = ...) -> None: ...

class AllocateProducerIdsRequest(_message.Message):
    __slots__ = ("broker_id", "broker_epoch")
    BROKER_ID_FIELD_NUMBER: _ClassVar[int]
    BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    broker_id: int
    broker_epoch: int
    def __init__(self, broker_id: _Optional[int] = ..., broker_epoch: _Optional[int] = ...) -> None: ...

class AllocateProducerIdsResponse(_message.Message):
    __slots__ = ("first_producer_id", "count")
    FIRST_PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    first_producer_id: int
    count: int
    def __init__(self, first_producer_id: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...
