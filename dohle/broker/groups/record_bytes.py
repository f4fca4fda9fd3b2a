"""Coordinators' records as Kafka writes them to `__consumer_offsets`: each value in the version that Kafka 4.3 writes.

Every version that it reads is read. Kinds of records that this broker does not know (of share groups, of streams
groups, of later versions) are nobody's: they are passed over and stay in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct as Format
from typing import Any, Final, TypeVar

from dohle.broker.groups.offset_bytes import KIND, LEGACY_KIND, offset_bytes, offset_record
from dohle.broker.groups.rebalance_bytes import rebalance_messages, rebalance_record
from dohle.groups.records import (
    Assignment,
    ClassicGroupRecord,
    ClassicGroupState,
    ClassicMemberState,
    ClassicProtocols,
    CurrentAssignment,
    CurrentRecord,
    GroupEpoch,
    GroupEpochRecord,
    GroupRecord,
    HeldPartitions,
    MemberRecord,
    MemberSubscription,
    OffsetRecord,
    RebalanceRecord,
    RegexRecord,
    ResolvedRegex,
    TargetEpochRecord,
    TargetRecord,
)
from dohle.kafka.codec import decode, encode
from dohle.kafka.declaration import Message
from dohle.kafka.messages.group_records import (
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue,
    ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue,
    ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
    GroupMetadataKey,
    GroupMetadataValue,
    GroupRebalanceKey,
    GroupRebalanceValue,
)
from dohle.model.errors import CorruptMessage, DohleError
from dohle.model.ids import TopicId

K = TypeVar("K", bound=Message)
V = TypeVar("V", bound=Message)
Written = tuple[Message, Message | None, int]
"""Key, value, and the value's version."""

_INT16: Final = Format(">h")
_NO_TIME: Final = -1
_GROUP_VERSION: Final = 3


# to bytes


def encoded(record: GroupRecord) -> tuple[bytes, bytes | None]:
    """Returns key and value. Raises ValueError for what their schemas cannot say."""
    if isinstance(record, OffsetRecord):
        return offset_bytes(record)
    key, value, version = _WRITERS[type(record)](record)
    return _prefixed(key, key.API.key, 0), None if value is None else _prefixed(value, version, version)


def _prefixed(message: Message, prefix: int, version: int) -> bytes:
    return b"".join(encode(message, version, _INT16.pack(prefix)))


def _classic_group(record: ClassicGroupRecord) -> Written:
    key, value = GroupMetadataKey(group=record.group_id), record.value
    if value is None:
        return key, None, 0
    written = GroupMetadataValue(
        protocol_type=value.protocol_type,
        generation=value.generation,
        protocol=value.protocol,
        leader=value.leader,
        current_state_timestamp=value.changed_ms,
        members=[
            GroupMetadataValue.MemberMetadata(
                member_id=member.member_id,
                group_instance_id=member.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                rebalance_timeout=member.rebalance_timeout_ms,
                session_timeout=member.session_timeout_ms,
                subscription=member.subscription,
                assignment=member.assignment,
            )
            for member in value.members
        ],
    )
    return key, written, _GROUP_VERSION


def _group_epoch(record: GroupEpochRecord) -> Written:
    key, value = ConsumerGroupMetadataKey(group_id=record.group_id), record.value
    if value is None:
        return key, None, 0
    return key, ConsumerGroupMetadataValue(epoch=value.epoch, metadata_hash=value.metadata_hash), 0


def _member(record: MemberRecord) -> Written:
    key = ConsumerGroupMemberMetadataKey(group_id=record.group_id, member_id=record.member_id)
    value = record.value
    if value is None:
        return key, None, 0
    kind = ConsumerGroupMemberMetadataValue.ClassicMemberMetadata
    classic = None
    if value.classic is not None:
        protocols = [kind.ClassicProtocol(name=name, metadata=metadata) for name, metadata in value.classic.protocols]
        classic = kind(session_timeout_ms=value.classic.session_timeout_ms, supported_protocols=protocols)
    written = ConsumerGroupMemberMetadataValue(
        instance_id=value.instance_id,
        rack_id=value.rack,
        client_id=value.client_id,
        client_host=value.client_host,
        subscribed_topic_names=list(value.topics),
        subscribed_topic_regex=value.regex or "",  # as Kafka says that there is none
        rebalance_timeout_ms=value.rebalance_timeout_ms,
        server_assignor=value.assignor,
        classic_member_metadata=classic,
    )
    return key, written, 0


def _target_epoch(record: TargetEpochRecord) -> Written:
    key = ConsumerGroupTargetAssignmentMetadataKey(group_id=record.group_id)
    if record.epoch is None:
        return key, None, 0
    written = ConsumerGroupTargetAssignmentMetadataValue(
        assignment_epoch=record.epoch, assignment_timestamp=max(record.assigned_ms, 0)
    )
    return key, written, 0


def _target(record: TargetRecord) -> Written:
    key = ConsumerGroupTargetAssignmentMemberKey(group_id=record.group_id, member_id=record.member_id)
    if record.value is None:
        return key, None, 0
    kind = ConsumerGroupTargetAssignmentMemberValue.TopicPartition
    written = ConsumerGroupTargetAssignmentMemberValue(
        topic_partitions=[kind(topic_id=topic, partitions=list(partitions)) for topic, partitions in record.value]
    )
    return key, written, 0


def _current(record: CurrentRecord) -> Written:
    key = ConsumerGroupCurrentMemberAssignmentKey(group_id=record.group_id, member_id=record.member_id)
    value = record.value
    if value is None:
        return key, None, 0
    kind = ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions

    def listed(held: HeldPartitions) -> list[ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions]:
        return [
            kind(
                topic_id=topic,
                partitions=[partition for partition, _ in partitions],
                assignment_epochs=[epoch for _, epoch in partitions],
            )
            for topic, partitions in held
        ]

    written = ConsumerGroupCurrentMemberAssignmentValue(
        member_epoch=value.epoch,
        previous_member_epoch=value.previous_epoch,
        state=value.state,
        assigned_partitions=listed(value.assigned),
        partitions_pending_revocation=listed(value.pending_revocation),
    )
    return key, written, 0


def _regex(record: RegexRecord) -> Written:
    key = ConsumerGroupRegularExpressionKey(group_id=record.group_id, regular_expression=record.regex)
    value = record.value
    if value is None:
        return key, None, 0
    written = ConsumerGroupRegularExpressionValue(
        topics=list(value.topics), version=value.metadata_offset, timestamp=value.resolved_ms
    )
    return key, written, 0


def _rebalance(record: RebalanceRecord) -> Written:
    return *rebalance_messages(record), 0


_WRITERS: Final[dict[type[GroupRecord], Callable[[Any], Written]]] = {
    ClassicGroupRecord: _classic_group,
    GroupEpochRecord: _group_epoch,
    MemberRecord: _member,
    TargetEpochRecord: _target_epoch,
    TargetRecord: _target,
    CurrentRecord: _current,
    RegexRecord: _regex,
    RebalanceRecord: _rebalance,
}


# from bytes


def decoded(key: bytes, value: bytes | None) -> GroupRecord | None:
    """Returns the record; None for one of a kind that is not known here. Raises CorruptMessage."""
    if len(key) < _INT16.size or (value is not None and len(value) < _INT16.size):
        raise CorruptMessage(f"a coordinator's record has a key or a value of less than {_INT16.size} bytes")
    (kind,) = _INT16.unpack_from(key)
    read = _READERS.get(kind)
    try:
        return None if read is None else read(key, value)
    except DohleError as error:
        raise CorruptMessage(f"a coordinator's record of kind {kind}: {error.message}") from error


def _key(kind: type[K], key: bytes) -> K:
    return decode(kind, 0, memoryview(key), _INT16.size)[0]


def _value(kind: type[V], value: bytes | None) -> V | None:
    """None: a tombstone."""
    if value is None:
        return None
    (version,) = _INT16.unpack_from(value)
    if version not in kind.API.versions:
        raise CorruptMessage(f"a value of version {version}; versions up to {kind.API.versions[-1]} are known")
    return decode(kind, version, memoryview(value), _INT16.size)[0]


def _read_classic_group(key: bytes, value: bytes | None) -> ClassicGroupRecord:
    group_id, said = _key(GroupMetadataKey, key).group, _value(GroupMetadataValue, value)
    if said is None:
        return ClassicGroupRecord(group_id, None)
    members = tuple(
        ClassicMemberState(
            member.member_id,
            member.group_instance_id,
            member.client_id,
            member.client_host,
            # version 0 had none: the session's time-out was both
            member.session_timeout if member.rebalance_timeout == _NO_TIME else member.rebalance_timeout,
            member.session_timeout,
            member.subscription,
            member.assignment,
        )
        for member in said.members
    )
    return ClassicGroupRecord(
        group_id,
        ClassicGroupState(
            said.protocol_type, said.generation, said.protocol, said.leader, said.current_state_timestamp, members
        ),
    )


def _read_group_epoch(key: bytes, value: bytes | None) -> GroupEpochRecord:
    group_id, said = _key(ConsumerGroupMetadataKey, key).group_id, _value(ConsumerGroupMetadataValue, value)
    return GroupEpochRecord(group_id, None if said is None else GroupEpoch(said.epoch, said.metadata_hash))


def _read_member(key: bytes, value: bytes | None) -> MemberRecord:
    of, said = _key(ConsumerGroupMemberMetadataKey, key), _value(ConsumerGroupMemberMetadataValue, value)
    if said is None:
        return MemberRecord(of.group_id, of.member_id, None)
    classic = None
    if said.classic_member_metadata is not None:
        protocols = tuple((one.name, one.metadata) for one in said.classic_member_metadata.supported_protocols)
        classic = ClassicProtocols(said.classic_member_metadata.session_timeout_ms, protocols)
    return MemberRecord(
        of.group_id,
        of.member_id,
        MemberSubscription(
            said.instance_id,
            said.rack_id,
            said.client_id,
            said.client_host,
            tuple(said.subscribed_topic_names),
            said.subscribed_topic_regex or None,
            said.rebalance_timeout_ms,
            said.server_assignor,
            classic,
        ),
    )


def _read_target_epoch(key: bytes, value: bytes | None) -> TargetEpochRecord:
    group_id = _key(ConsumerGroupTargetAssignmentMetadataKey, key).group_id
    said = _value(ConsumerGroupTargetAssignmentMetadataValue, value)
    if said is None:
        return TargetEpochRecord(group_id, None)
    return TargetEpochRecord(group_id, said.assignment_epoch, said.assignment_timestamp or _NO_TIME)


def _read_target(key: bytes, value: bytes | None) -> TargetRecord:
    of = _key(ConsumerGroupTargetAssignmentMemberKey, key)
    said = _value(ConsumerGroupTargetAssignmentMemberValue, value)
    assignment = None if said is None else _assignment((one.topic_id, one.partitions) for one in said.topic_partitions)
    return TargetRecord(of.group_id, of.member_id, assignment)


def _read_current(key: bytes, value: bytes | None) -> CurrentRecord:
    of = _key(ConsumerGroupCurrentMemberAssignmentKey, key)
    said = _value(ConsumerGroupCurrentMemberAssignmentValue, value)
    if said is None:
        return CurrentRecord(of.group_id, of.member_id, None)
    return CurrentRecord(
        of.group_id,
        of.member_id,
        CurrentAssignment(
            said.member_epoch,
            said.previous_member_epoch,
            said.state,
            _held(said.assigned_partitions, said.member_epoch),
            _held(said.partitions_pending_revocation, said.member_epoch),
        ),
    )


def _assignment(topics: Iterable[tuple[bytes, list[int]]]) -> Assignment:
    """Kafka writes topics and partitions in the order of its hash maps."""
    return tuple(sorted((TopicId(topic), tuple(sorted(partitions))) for topic, partitions in topics if partitions))


def _held(topics: list[ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions], member_epoch: int) -> HeldPartitions:
    """Versions before 4.3 did not say since when a member has what it has: that is as good as now."""
    return tuple(
        sorted(
            (
                TopicId(one.topic_id),
                tuple(
                    sorted(
                        zip(one.partitions, one.assignment_epochs, strict=True)
                        if one.assignment_epochs
                        else ((partition, member_epoch) for partition in one.partitions)
                    )
                ),
            )
            for one in topics
            if one.partitions
        )
    )


def _read_regex(key: bytes, value: bytes | None) -> RegexRecord:
    of = _key(ConsumerGroupRegularExpressionKey, key)
    said = _value(ConsumerGroupRegularExpressionValue, value)
    resolved = None if said is None else ResolvedRegex(tuple(said.topics), said.version, said.timestamp)
    return RegexRecord(of.group_id, of.regular_expression, resolved)


def _read_rebalance(key: bytes, value: bytes | None) -> RebalanceRecord:
    return rebalance_record(_key(GroupRebalanceKey, key), _value(GroupRebalanceValue, value))


_READERS: Final[dict[int, Callable[[bytes, bytes | None], GroupRecord]]] = {
    LEGACY_KIND: offset_record,
    KIND: offset_record,
    GroupMetadataKey.API.key: _read_classic_group,
    ConsumerGroupMetadataKey.API.key: _read_group_epoch,
    ConsumerGroupMemberMetadataKey.API.key: _read_member,
    ConsumerGroupTargetAssignmentMetadataKey.API.key: _read_target_epoch,
    ConsumerGroupTargetAssignmentMemberKey.API.key: _read_target,
    ConsumerGroupCurrentMemberAssignmentKey.API.key: _read_current,
    ConsumerGroupRegularExpressionKey.API.key: _read_regex,
    GroupRebalanceKey.API.key: _read_rebalance,
}
