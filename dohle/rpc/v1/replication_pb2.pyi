from dohle.rpc.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FollowerMessage(_message.Message):
    __slots__ = ("opening", "subscriptions", "unsubscriptions", "acknowledgements", "received_push", "durable_push")
    OPENING_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    UNSUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGEMENTS_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_PUSH_FIELD_NUMBER: _ClassVar[int]
    DURABLE_PUSH_FIELD_NUMBER: _ClassVar[int]
    opening: FollowerOpening
    subscriptions: _containers.RepeatedCompositeFieldContainer[Subscription]
    unsubscriptions: _containers.RepeatedCompositeFieldContainer[Unsubscription]
    acknowledgements: _containers.RepeatedCompositeFieldContainer[Acknowledgement]
    received_push: int
    durable_push: int
    def __init__(self, opening: _Optional[_Union[FollowerOpening, _Mapping]] = ..., subscriptions: _Optional[_Iterable[_Union[Subscription, _Mapping]]] = ..., unsubscriptions: _Optional[_Iterable[_Union[Unsubscription, _Mapping]]] = ..., acknowledgements: _Optional[_Iterable[_Union[Acknowledgement, _Mapping]]] = ..., received_push: _Optional[int] = ..., durable_push: _Optional[int] = ...) -> None: ...

class FollowerOpening(_message.Message):
    __slots__ = ("hello", "broker_epoch")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    hello: _common_pb2.Hello
    broker_epoch: int
    def __init__(self, hello: _Optional[_Union[_common_pb2.Hello, _Mapping]] = ..., broker_epoch: _Optional[int] = ...) -> None: ...

class Subscription(_message.Message):
    __slots__ = ("topic_id", "partition", "leader_epoch", "subscription", "position", "last_epoch", "durable_end", "log_start_offset", "fills", "damaged", "disk", "durable_start")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    LEADER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    LAST_EPOCH_FIELD_NUMBER: _ClassVar[int]
    DURABLE_END_FIELD_NUMBER: _ClassVar[int]
    LOG_START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    FILLS_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    DISK_FIELD_NUMBER: _ClassVar[int]
    DURABLE_START_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    partition: int
    leader_epoch: int
    subscription: int
    position: int
    last_epoch: int
    durable_end: int
    log_start_offset: int
    fills: bool
    damaged: bool
    disk: int
    durable_start: int
    def __init__(self, topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ..., leader_epoch: _Optional[int] = ..., subscription: _Optional[int] = ..., position: _Optional[int] = ..., last_epoch: _Optional[int] = ..., durable_end: _Optional[int] = ..., log_start_offset: _Optional[int] = ..., fills: _Optional[bool] = ..., damaged: _Optional[bool] = ..., disk: _Optional[int] = ..., durable_start: _Optional[int] = ...) -> None: ...

class Unsubscription(_message.Message):
    __slots__ = ("topic_id", "partition", "subscription")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    partition: int
    subscription: int
    def __init__(self, topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ..., subscription: _Optional[int] = ...) -> None: ...

class Acknowledgement(_message.Message):
    __slots__ = ("topic_id", "partition", "durable_end", "durable_start")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    DURABLE_END_FIELD_NUMBER: _ClassVar[int]
    DURABLE_START_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    partition: int
    durable_end: int
    durable_start: int
    def __init__(self, topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ..., durable_end: _Optional[int] = ..., durable_start: _Optional[int] = ...) -> None: ...

class LeaderMessage(_message.Message):
    __slots__ = ("opening", "push_number", "pushes", "refusals", "backlogged")
    OPENING_FIELD_NUMBER: _ClassVar[int]
    PUSH_NUMBER_FIELD_NUMBER: _ClassVar[int]
    PUSHES_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    BACKLOGGED_FIELD_NUMBER: _ClassVar[int]
    opening: _common_pb2.Hello
    push_number: int
    pushes: _containers.RepeatedCompositeFieldContainer[Push]
    refusals: _containers.RepeatedCompositeFieldContainer[Refusal]
    backlogged: bool
    def __init__(self, opening: _Optional[_Union[_common_pb2.Hello, _Mapping]] = ..., push_number: _Optional[int] = ..., pushes: _Optional[_Iterable[_Union[Push, _Mapping]]] = ..., refusals: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., backlogged: _Optional[bool] = ...) -> None: ...

class Push(_message.Message):
    __slots__ = ("topic_id", "partition", "leader_epoch", "subscription", "batches", "high_watermark", "log_start_offset")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    LEADER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    HIGH_WATERMARK_FIELD_NUMBER: _ClassVar[int]
    LOG_START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    partition: int
    leader_epoch: int
    subscription: int
    batches: bytes
    high_watermark: int
    log_start_offset: int
    def __init__(self, topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ..., leader_epoch: _Optional[int] = ..., subscription: _Optional[int] = ..., batches: _Optional[bytes] = ..., high_watermark: _Optional[int] = ..., log_start_offset: _Optional[int] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("topic_id", "partition", "subscription", "failure", "diverging_epoch", "diverging_end_offset", "log_start_offset", "begin_anew")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    DIVERGING_EPOCH_FIELD_NUMBER: _ClassVar[int]
    DIVERGING_END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    LOG_START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    BEGIN_ANEW_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    partition: int
    subscription: int
    failure: _common_pb2.Failure
    diverging_epoch: int
    diverging_end_offset: int
    log_start_offset: int
    begin_anew: bool
    def __init__(self, topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ..., subscription: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., diverging_epoch: _Optional[int] = ..., diverging_end_offset: _Optional[int] = ..., log_start_offset: _Optional[int] = ..., begin_anew: _Optional[bool] = ...) -> None: ...

class ReadBatchesRequest(_message.Message):
    __slots__ = ("hello", "broker_epoch", "topic_id", "partition", "leader_epoch", "offset", "max_bytes")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    LEADER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    hello: _common_pb2.Hello
    broker_epoch: int
    topic_id: bytes
    partition: int
    leader_epoch: int
    offset: int
    max_bytes: int
    def __init__(self, hello: _Optional[_Union[_common_pb2.Hello, _Mapping]] = ..., broker_epoch: _Optional[int] = ..., topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ..., leader_epoch: _Optional[int] = ..., offset: _Optional[int] = ..., max_bytes: _Optional[int] = ...) -> None: ...

class ReadBatchesResponse(_message.Message):
    __slots__ = ("batches",)
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    batches: bytes
    def __init__(self, batches: _Optional[bytes] = ...) -> None: ...
