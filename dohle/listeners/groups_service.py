"""The Groups service over gRPC: what members of groups ask of their coordinator."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from dohle.broker.broker import Broker
from dohle.groups.consumer.commands import ConsumerHeartbeat, HeartbeatAnswer
from dohle.groups.offsets import Commit, FetchedOffset, FetchOffsets, OffsetToCommit
from dohle.groups.outcome import Moment, Outcome, Ticket
from dohle.groups.records import Assignment
from dohle.groups.shard import GroupShard
from dohle.listeners.broker_service import failure
from dohle.listeners.kafka.addresses import client_host
from dohle.model.errors import (
    CoordinatorNotAvailable,
    DohleError,
    InvalidRequest,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from dohle.model.group_errors import OffsetMetadataTooLarge, StaleMemberEpoch, UnstableOffsetCommit
from dohle.model.ids import TopicId
from dohle.rpc.v1 import groups_pb2
from dohle.runtime.network import RequestContext, host_of

_MOST_COMMITTERS: Final = 100_000
_MOST_COMMITTER_BYTES: Final = 16
_OF_A_PARTITION: Final = (UnknownTopicOrPartition, UnknownTopicId, OffsetMetadataTooLarge, UnstableOffsetCommit)
"""What can be wrong with one partition; all else is wrong with who asks."""


class GroupsService:
    """Translates, and keeps commits of one committer in their order."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._sequences: OrderedDict[bytes, int] = OrderedDict()  # of each committer the last one, the latest last

    async def find_coordinator(
        self, request: groups_pb2.FindCoordinatorRequest, context: RequestContext
    ) -> groups_pb2.FindCoordinatorResponse:
        node_id = await self._broker.groups.coordinator(request.group_id)
        broker = self._broker.image.brokers.get(node_id)
        endpoint = None if broker is None else broker.endpoint(context.listener)
        if endpoint is None:
            raise CoordinatorNotAvailable(f"node {node_id}, which coordinates the group, cannot be reached yet")
        return groups_pb2.FindCoordinatorResponse(node_id=node_id, host=endpoint.host, port=endpoint.port)

    async def group_heartbeat(
        self, request: groups_pb2.GroupHeartbeatRequest, context: RequestContext
    ) -> groups_pb2.GroupHeartbeatResponse:
        told = request.HasField
        command = ConsumerHeartbeat(
            request.group_id,
            request.member_id,
            request.member_epoch,
            instance_id=request.instance_id if told("instance_id") else None,
            rack=request.rack if told("rack") else None,
            rebalance_timeout_ms=request.rebalance_timeout_ms,
            topics=tuple(request.topics.names) if told("topics") else None,
            regex=request.topic_regex if told("topic_regex") else None,
            assignor=request.assignor if told("assignor") else None,
            owned=_assignment(request.owned) if told("owned") else None,
            client_id=context.client_id,
            client_host=client_host(host_of(context.address)),
        )
        answer: HeartbeatAnswer = await self._broker.groups.ask(request.group_id, command)
        response = groups_pb2.GroupHeartbeatResponse(
            member_id=answer.member_id,
            member_epoch=answer.member_epoch,
            heartbeat_interval_ms=answer.heartbeat_interval_ms,
        )
        if answer.assignment is not None:
            response.assignment.SetInParent()
            response.assignment.topics.extend(self._named(answer.assignment))
        return response

    async def commit_offsets(
        self, request: groups_pb2.CommitOffsetsRequest, context: RequestContext
    ) -> groups_pb2.CommitOffsetsResponse:
        if len(request.committer_id) > _MOST_COMMITTER_BYTES or any(one.offset < 0 for one in request.offsets):
            raise InvalidRequest("a committer's id has 16 bytes at the most, and an offset is 0 or more")
        commit = Commit(
            request.group_id,
            tuple(
                OffsetToCommit(
                    TopicId(one.topic_id) if one.topic_id else one.topic,
                    one.partition,
                    one.offset,
                    one.leader_epoch,
                    one.metadata,
                )
                for one in request.offsets
            ),
            member_id=request.member_id,
            instance_id=request.instance_id if request.HasField("instance_id") else None,
            epoch=request.member_epoch,
        )

        def in_order(shard: GroupShard, ticket: Ticket, moment: Moment) -> Outcome:
            """Checked where it takes effect: what came late, behind a later one, would take that one back."""
            if not self._is_next(request.committer_id, request.sequence):
                return Outcome(replies={ticket: StaleMemberEpoch("a later commit of the same client is there already")})
            return commit(shard, ticket, moment)

        errors: tuple[DohleError | None, ...] = await self._broker.groups.ask(request.group_id, in_order)
        for error in errors:
            if error is not None and not isinstance(error, _OF_A_PARTITION):
                raise error
        return groups_pb2.CommitOffsetsResponse(
            partitions=[
                groups_pb2.CommittedPartition(
                    topic=one.topic, partition=one.partition, failure=None if error is None else failure(error)
                )
                for one, error in zip(request.offsets, errors, strict=True)
            ]
        )

    async def fetch_offsets(
        self, request: groups_pb2.FetchOffsetsRequest, context: RequestContext
    ) -> groups_pb2.FetchOffsetsResponse:
        command = FetchOffsets(
            request.group_id,
            tuple(
                (TopicId(one.topic_id) if one.topic_id else one.topic, (one.partition,)) for one in request.partitions
            ),
            member_id=request.member_id or None,
            epoch=request.member_epoch,
            require_stable=True,
        )
        fetched: tuple[FetchedOffset, ...] = await self._broker.groups.ask(request.group_id, command)
        return groups_pb2.FetchOffsetsResponse(
            partitions=[
                groups_pb2.FetchedOffset(
                    topic=asked.topic,
                    partition=asked.partition,
                    failure=None if one.error is None else failure(one.error),
                    offset=-1 if one.value is None else one.value.offset,
                    leader_epoch=-1 if one.value is None else one.value.leader_epoch,
                    metadata="" if one.value is None else one.value.metadata,
                )
                for asked, one in zip(request.partitions, fetched, strict=True)
            ]
        )

    def _is_next(self, committer_id: bytes, sequence: int) -> bool:
        if not committer_id:
            return True  # it does not say, and has itself to see to the order
        if sequence <= self._sequences.get(committer_id, 0):
            return False
        self._sequences[committer_id] = sequence
        self._sequences.move_to_end(committer_id)
        if len(self._sequences) > _MOST_COMMITTERS:
            self._sequences.popitem(last=False)
        return True

    def _named(self, assignment: Assignment) -> list[groups_pb2.GroupTopic]:
        """Returns an assignment with the topics' names; one that is deleted by now is left out."""
        topics = self._broker.image.topics
        return [
            groups_pb2.GroupTopic(topic_id=topic_id, name=topic.name, partitions=partitions)
            for topic_id, partitions in assignment
            if (topic := topics.get(topic_id)) is not None
        ]


def _assignment(told: groups_pb2.GroupAssignment) -> Assignment:
    return tuple(sorted((TopicId(topic.topic_id), tuple(sorted(topic.partitions))) for topic in told.topics))
