from dohle.rpc.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RaftEnvelope(_message.Message):
    __slots__ = ("hello", "messages", "host", "port", "first_batch_crc", "voters")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    FIRST_BATCH_CRC_FIELD_NUMBER: _ClassVar[int]
    VOTERS_FIELD_NUMBER: _ClassVar[int]
    hello: _common_pb2.Hello
    messages: _containers.RepeatedCompositeFieldContainer[RaftMessage]
    host: str
    port: int
    first_batch_crc: int
    voters: _containers.RepeatedCompositeFieldContainer[RaftVoterAddress]
    def __init__(self, hello: _Optional[_Union[_common_pb2.Hello, _Mapping]] = ..., messages: _Optional[_Iterable[_Union[RaftMessage, _Mapping]]] = ..., host: _Optional[str] = ..., port: _Optional[int] = ..., first_batch_crc: _Optional[int] = ..., voters: _Optional[_Iterable[_Union[RaftVoterAddress, _Mapping]]] = ...) -> None: ...

class RaftVoterAddress(_message.Message):
    __slots__ = ("host", "port")
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    host: str
    port: int
    def __init__(self, host: _Optional[str] = ..., port: _Optional[int] = ...) -> None: ...

class RaftMessage(_message.Message):
    __slots__ = ("append_request", "append_accepted", "append_rejected", "vote_request", "vote_response", "timeout_now", "snapshot_offer")
    APPEND_REQUEST_FIELD_NUMBER: _ClassVar[int]
    APPEND_ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    APPEND_REJECTED_FIELD_NUMBER: _ClassVar[int]
    VOTE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    VOTE_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_NOW_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_OFFER_FIELD_NUMBER: _ClassVar[int]
    append_request: RaftAppendRequest
    append_accepted: RaftAppendAccepted
    append_rejected: RaftAppendRejected
    vote_request: RaftVoteRequest
    vote_response: RaftVoteResponse
    timeout_now: RaftTimeoutNow
    snapshot_offer: RaftSnapshotOffer
    def __init__(self, append_request: _Optional[_Union[RaftAppendRequest, _Mapping]] = ..., append_accepted: _Optional[_Union[RaftAppendAccepted, _Mapping]] = ..., append_rejected: _Optional[_Union[RaftAppendRejected, _Mapping]] = ..., vote_request: _Optional[_Union[RaftVoteRequest, _Mapping]] = ..., vote_response: _Optional[_Union[RaftVoteResponse, _Mapping]] = ..., timeout_now: _Optional[_Union[RaftTimeoutNow, _Mapping]] = ..., snapshot_offer: _Optional[_Union[RaftSnapshotOffer, _Mapping]] = ...) -> None: ...

class RaftAppendRequest(_message.Message):
    __slots__ = ("term", "prev_offset", "prev_term", "batches", "commit_offset", "round")
    TERM_FIELD_NUMBER: _ClassVar[int]
    PREV_OFFSET_FIELD_NUMBER: _ClassVar[int]
    PREV_TERM_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    COMMIT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    term: int
    prev_offset: int
    prev_term: int
    batches: bytes
    commit_offset: int
    round: int
    def __init__(self, term: _Optional[int] = ..., prev_offset: _Optional[int] = ..., prev_term: _Optional[int] = ..., batches: _Optional[bytes] = ..., commit_offset: _Optional[int] = ..., round: _Optional[int] = ...) -> None: ...

class RaftAppendAccepted(_message.Message):
    __slots__ = ("term", "round", "matched_end_offset", "durable_end_offset")
    TERM_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    MATCHED_END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    DURABLE_END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    term: int
    round: int
    matched_end_offset: int
    durable_end_offset: int
    def __init__(self, term: _Optional[int] = ..., round: _Optional[int] = ..., matched_end_offset: _Optional[int] = ..., durable_end_offset: _Optional[int] = ...) -> None: ...

class RaftAppendRejected(_message.Message):
    __slots__ = ("term", "round", "prev_offset", "conflict_term", "conflict_end_offset")
    TERM_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    PREV_OFFSET_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_TERM_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    term: int
    round: int
    prev_offset: int
    conflict_term: int
    conflict_end_offset: int
    def __init__(self, term: _Optional[int] = ..., round: _Optional[int] = ..., prev_offset: _Optional[int] = ..., conflict_term: _Optional[int] = ..., conflict_end_offset: _Optional[int] = ...) -> None: ...

class RaftSnapshotOffer(_message.Message):
    __slots__ = ("term", "end_offset", "snapshot_term", "round")
    TERM_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_TERM_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    term: int
    end_offset: int
    snapshot_term: int
    round: int
    def __init__(self, term: _Optional[int] = ..., end_offset: _Optional[int] = ..., snapshot_term: _Optional[int] = ..., round: _Optional[int] = ...) -> None: ...

class RaftVoteRequest(_message.Message):
    __slots__ = ("term", "pre_vote", "last_term", "log_end_offset", "transfer")
    TERM_FIELD_NUMBER: _ClassVar[int]
    PRE_VOTE_FIELD_NUMBER: _ClassVar[int]
    LAST_TERM_FIELD_NUMBER: _ClassVar[int]
    LOG_END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_FIELD_NUMBER: _ClassVar[int]
    term: int
    pre_vote: bool
    last_term: int
    log_end_offset: int
    transfer: bool
    def __init__(self, term: _Optional[int] = ..., pre_vote: _Optional[bool] = ..., last_term: _Optional[int] = ..., log_end_offset: _Optional[int] = ..., transfer: _Optional[bool] = ...) -> None: ...

class RaftVoteResponse(_message.Message):
    __slots__ = ("term", "election_term", "pre_vote", "granted")
    TERM_FIELD_NUMBER: _ClassVar[int]
    ELECTION_TERM_FIELD_NUMBER: _ClassVar[int]
    PRE_VOTE_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    term: int
    election_term: int
    pre_vote: bool
    granted: bool
    def __init__(self, term: _Optional[int] = ..., election_term: _Optional[int] = ..., pre_vote: _Optional[bool] = ..., granted: _Optional[bool] = ...) -> None: ...

class RaftTimeoutNow(_message.Message):
    __slots__ = ("term",)
    TERM_FIELD_NUMBER: _ClassVar[int]
    term: int
    def __init__(self, term: _Optional[int] = ...) -> None: ...
