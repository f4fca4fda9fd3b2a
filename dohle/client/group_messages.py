"""Between the messages of the GroupAdmin service and the values that users see."""

from __future__ import annotations

from collections.abc import Mapping

from dohle.client.descriptions import error_in
from dohle.client.group_values import (
    GroupDescription,
    GroupListing,
    GroupListings,
    GroupPartitionDescription,
    MemberDescription,
    RebalanceDescription,
    RebalanceMember,
)
from dohle.model.errors import DohleError, UnknownTopicOrPartition
from dohle.model.ids import TopicPartition
from dohle.rpc.v1 import group_admin_pb2


def listings(answer: group_admin_pb2.ListGroupsResponse) -> GroupListings:
    silent = {one.node_id: error_in(one.failure) for one in answer.silent}
    return GroupListings(
        tuple(sorted(map(_listing, answer.groups), key=lambda one: one.group_id)),
        {node_id: error for node_id, error in sorted(silent.items()) if error is not None},
    )


def descriptions(answer: group_admin_pb2.DescribeGroupsResponse) -> dict[str, GroupDescription | DohleError]:
    return {one.group_id: error_in(one.failure) or _description(one) for one in answer.groups}


def new_offsets(
    group: str, offsets: Mapping[TopicPartition, int] | Mapping[tuple[str, int], int], *, validate_only: bool
) -> group_admin_pb2.AlterGroupOffsetsRequest:
    return group_admin_pb2.AlterGroupOffsetsRequest(
        group_id=group,
        offsets=[
            group_admin_pb2.NewGroupOffset(topic=topic, partition=partition, offset=offset)
            for (topic, partition), offset in sorted(offsets.items())
        ],
        validate_only=validate_only,
    )


def may_heal(failure: DohleError) -> bool:
    """Whether to set offsets again: not where nobody knows a topic, for whom the node that was asked has waited."""
    return failure.retriable and not isinstance(failure, UnknownTopicOrPartition)


def _listing(one: group_admin_pb2.ListedGroup) -> GroupListing:
    return GroupListing(
        one.group_id,
        one.kind,
        one.state,
        one.protocol_type,
        one.members,
        one.coordinator,
        one.lag_records if one.HasField("lag_records") else None,
        one.lag_ms if one.HasField("lag_ms") else None,
        one.unknown_lags,
    )


def _description(one: group_admin_pb2.DescribedGroup) -> GroupDescription:
    return GroupDescription(
        group_id=one.group_id,
        kind=one.kind,
        state=one.state,
        protocol_type=one.protocol_type,
        coordinator=one.coordinator,
        assignor=one.assignor,
        epoch=one.epoch,
        members=tuple(_member(member) for member in one.members),
        partitions=tuple(_partition(partition) for partition in one.partitions),
        rebalances=tuple(_rebalance(rebalance) for rebalance in one.rebalances),
        empty_since_ms=one.empty_since_ms,
        now_ms=one.now_ms,
    )


def _member(one: group_admin_pb2.DescribedMember) -> MemberDescription:
    return MemberDescription(
        one.member_id,
        one.instance_id,
        one.client_id,
        one.client_host,
        tuple(TopicPartition(topic.topic, number) for topic in one.assigned for number in topic.partitions),
        one.epoch,
        one.state,
        one.leads,
    )


def _partition(one: group_admin_pb2.GroupPartition) -> GroupPartitionDescription:
    error = error_in(one.failure)
    return GroupPartitionDescription(
        name=TopicPartition(one.topic, one.partition),
        committed_offset=one.committed_offset if one.HasField("committed_offset") else None,
        metadata=one.metadata,
        commit_ms=one.commit_ms,
        member_id=one.member_id,
        error=error,
        log_start_offset=one.log_start_offset if error is None else None,
        high_watermark=one.high_watermark if error is None else None,
        lag_records=one.lag_records if one.HasField("lag_records") else None,
        lag_ms=one.lag_ms if one.HasField("lag_ms") else None,
    )


def _rebalance(one: group_admin_pb2.DescribedRebalance) -> RebalanceDescription:
    return RebalanceDescription(
        number=one.number,
        cause=one.cause,
        who=_rebalance_member(one.who) if one.HasField("who") else None,
        detail=one.detail,
        silent_ms=one.silent_ms if one.HasField("silent_ms") else None,
        began_ms=one.began_ms,
        ended_ms=one.ended_ms if one.HasField("ended_ms") else None,
        epoch=one.epoch,
        members=one.members,
        last=_rebalance_member(one.last) if one.HasField("last") else None,
        last_ms=one.last_ms if one.HasField("last_ms") else None,
        removed=tuple(_rebalance_member(member) for member in one.removed),
        more_removed=one.more_removed,
    )


def _rebalance_member(one: group_admin_pb2.RebalanceMember) -> RebalanceMember:
    return RebalanceMember(one.member_id, one.instance_id, one.client_id, one.client_host)
