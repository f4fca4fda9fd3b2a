"""ConsumerGroupHeartbeat and ConsumerGroupDescribe: groups whose coordinator assigns (KIP-848)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from dohle.broker.broker import Broker
from dohle.groups.consumer.commands import (
    ConsumerDescribe,
    ConsumerGroupDescription,
    ConsumerHeartbeat,
    ConsumerMemberDescription,
    HeartbeatAnswer,
)
from dohle.groups.records import Assignment
from dohle.kafka.messages.consumer_groups import (
    ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse,
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
)
from dohle.listeners.kafka.acls import GROUP_OPERATIONS
from dohle.listeners.kafka.addresses import client_host
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.topics_known import wire_code
from dohle.model.errors import DohleError, InvalidRequest
from dohle.model.ids import TopicId

_FIRST_WITH_OWN_IDS: Final = 1
"""The version from which on members make their ids themselves (KIP-1082)."""
_NOT_ASKED: Final = -(1 << 31)
_CLASSIC: Final = 0
_CONSUMER: Final = 1

_Described = ConsumerGroupDescribeResponse.Group
_Member = _Described.Member
_Partitions = ConsumerGroupDescribeResponse.TopicPartitions


@dataclass(frozen=True, slots=True)
class ConsumerGroupApis:
    """Members of these groups, and who looks at them."""

    broker: Broker

    async def heartbeat(self, request: ConsumerGroupHeartbeatRequest, caller: Caller) -> ConsumerGroupHeartbeatResponse:
        try:
            command = _heartbeat(request, caller)
            answer: HeartbeatAnswer = await self.broker.groups.ask(request.group_id, command)
        except DohleError as error:
            return ConsumerGroupHeartbeatResponse(
                error_code=wire_code(error), error_message=error.message, member_epoch=0, heartbeat_interval_ms=0
            )
        response = ConsumerGroupHeartbeatResponse(
            error_code=0,
            member_id=answer.member_id,
            member_epoch=answer.member_epoch,
            heartbeat_interval_ms=answer.heartbeat_interval_ms,
        )
        if answer.assignment is not None:
            response.assignment = ConsumerGroupHeartbeatResponse.Assignment(
                topic_partitions=[
                    ConsumerGroupHeartbeatResponse.TopicPartitions(topic_id=topic_id, partitions=list(numbers))
                    for topic_id, numbers in answer.assignment
                ]
            )
        return response

    async def describe(self, request: ConsumerGroupDescribeRequest, _caller: Caller) -> ConsumerGroupDescribeResponse:
        operations = GROUP_OPERATIONS if request.include_authorized_operations else _NOT_ASKED
        groups = [await self._described(group_id, operations) for group_id in request.group_ids]
        return ConsumerGroupDescribeResponse(groups=groups)

    async def _described(self, group_id: str, operations: int) -> _Described:
        try:
            group: ConsumerGroupDescription = await self.broker.groups.ask(group_id, ConsumerDescribe(group_id))
        except DohleError as error:
            return _Described(
                error_code=wire_code(error),
                error_message=error.message,
                group_id=group_id,
                group_state="",
                group_epoch=0,
                assignment_epoch=0,
                assignor_name="",
                members=[],
            )
        return _Described(
            error_code=0,
            group_id=group_id,
            group_state=group.state,
            group_epoch=group.epoch,
            assignment_epoch=group.target_epoch,
            assignor_name=group.assignor,
            members=[self._member(member) for member in group.members],
            authorized_operations=operations,
        )

    def _member(self, member: ConsumerMemberDescription) -> _Member:
        return _Member(
            member_id=member.member_id,
            instance_id=member.instance_id,
            rack_id=member.rack,
            member_epoch=member.epoch,
            client_id=member.client_id,
            client_host=member.client_host,
            subscribed_topic_names=list(member.topics),
            subscribed_topic_regex=member.regex or "",
            assignment=ConsumerGroupDescribeResponse.Assignment(topic_partitions=self._named(member.assignment)),
            target_assignment=ConsumerGroupDescribeResponse.Assignment(topic_partitions=self._named(member.target)),
            member_type=_CLASSIC if member.is_classic else _CONSUMER,
        )

    def _named(self, assignment: Assignment) -> list[_Partitions]:
        """Leaves out topics that are gone."""
        topics = self.broker.image.topics
        return [
            _Partitions(topic_id=topic_id, topic_name=topic.name, partitions=list(numbers))
            for topic_id, numbers in assignment
            if (topic := topics.get(topic_id)) is not None
        ]


def _heartbeat(request: ConsumerGroupHeartbeatRequest, caller: Caller) -> ConsumerHeartbeat:
    if not request.group_id.strip():
        raise InvalidRequest("the group id is empty: give it a name")
    if caller.api_version >= _FIRST_WITH_OWN_IDS and not request.member_id:
        raise InvalidRequest("the member id is empty: a member makes its own")
    topics, owned = request.subscribed_topic_names, request.topic_partitions
    return ConsumerHeartbeat(
        group_id=request.group_id,
        member_id=request.member_id,
        member_epoch=request.member_epoch,
        instance_id=request.instance_id,
        rack=request.rack_id,
        rebalance_timeout_ms=request.rebalance_timeout_ms,
        topics=None if topics is None else tuple(topics),
        regex=request.subscribed_topic_regex,
        assignor=request.server_assignor,
        owned=None if owned is None else _assignment(owned),
        client_id=caller.client_id or "",
        client_host=client_host(caller.address.host),
    )


def _assignment(partitions: Iterable[ConsumerGroupHeartbeatRequest.TopicPartitions]) -> Assignment:
    numbers: dict[TopicId, set[int]] = {}
    for topic in partitions:
        numbers.setdefault(TopicId(topic.topic_id), set()).update(topic.partitions)
    return tuple([(topic_id, tuple(sorted(numbers[topic_id]))) for topic_id in sorted(numbers) if numbers[topic_id]])
