"""JoinGroup, SyncGroup, Heartbeat, LeaveGroup and DescribeGroups: groups whose leader assigns.

A JoinGroup or SyncGroup waits for other members, and its connection's later answers wait behind it. They are worked on
all the same: a LeaveGroup reaches the coordinator, and ends the wait.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from dohle.broker.broker import Broker
from dohle.groups.classic.commands import (
    Describe,
    Description,
    Heartbeat,
    Join,
    Joined,
    Leave,
    Leaver,
    NotJoined,
    Sync,
    Synced,
)
from dohle.kafka.messages.groups import (
    DescribeGroupsRequest,
    DescribeGroupsResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupRequest,
    LeaveGroupResponse,
    SyncGroupRequest,
    SyncGroupResponse,
)
from dohle.listeners.kafka.acls import GROUP_OPERATIONS
from dohle.listeners.kafka.addresses import client_host
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.topics_known import wire_code
from dohle.model.errors import DohleError
from dohle.model.group_errors import (
    CoordinatorLoadInProgress,
    GroupIdNotFound,
    InconsistentGroupProtocol,
    InvalidGroupId,
)

_FIRST_JOIN_WITH_REBALANCE_TIMEOUT: Final = 1
_FIRST_JOIN_WITH_HANDSHAKE: Final = 4
_FIRST_JOIN_WITHOUT_NAME: Final = 7
_FIRST_JOIN_WITH_SKIPPING: Final = 9
_FIRST_SYNC_WITH_PROTOCOL: Final = 5
_FIRST_LEAVE_OF_SEVERAL: Final = 3
_FIRST_DESCRIPTION_OF_NONE: Final = 6
_DEAD: Final = "Dead"
_NOT_ASKED: Final = -(1 << 31)
_NOBODY: Final = ""


@dataclass(frozen=True, slots=True)
class ClassicGroupApis:
    """Members of these groups, and who looks at them."""

    broker: Broker

    async def join(self, request: JoinGroupRequest, caller: Caller) -> JoinGroupResponse:
        try:
            told: Joined | NotJoined = await self.broker.groups.ask(request.group_id, _join(request, caller))
        except InvalidGroupId as error:
            told = NotJoined(error, request.member_id)
        except DohleError as error:
            told = NotJoined(error, _NOBODY)
        if isinstance(told, NotJoined):
            return JoinGroupResponse(
                error_code=wire_code(told.error),
                protocol_name=None if caller.api_version >= _FIRST_JOIN_WITHOUT_NAME else "",
                leader=_NOBODY,
                member_id=told.member_id,
                members=[],
            )
        return JoinGroupResponse(
            error_code=0,
            generation_id=told.generation,
            protocol_type=told.protocol_type,
            protocol_name=told.protocol,
            leader=told.leader,
            skip_assignment=told.skip_assignment,
            member_id=told.member_id,
            members=[
                JoinGroupResponse.Member(
                    member_id=member.member_id, group_instance_id=member.instance_id, metadata=member.metadata
                )
                for member in told.members
            ],
        )

    async def sync(self, request: SyncGroupRequest, caller: Caller) -> SyncGroupResponse:
        command = Sync(
            request.group_id,
            request.member_id,
            request.group_instance_id,
            request.generation_id,
            tuple([(one.member_id, bytes(one.assignment)) for one in request.assignments]),
            request.protocol_type,
            request.protocol_name,
        )
        try:
            if caller.api_version >= _FIRST_SYNC_WITH_PROTOCOL and None in (command.protocol_type, command.protocol):
                raise InconsistentGroupProtocol("SyncGroup says which protocol and type of it the member has")
            told: Synced = await self.broker.groups.ask(request.group_id, command)
        except DohleError as error:
            return SyncGroupResponse(error_code=wire_code(error), assignment=b"")
        return SyncGroupResponse(
            error_code=0, protocol_type=told.protocol_type, protocol_name=told.protocol, assignment=told.assignment
        )

    async def heartbeat(self, request: HeartbeatRequest, _caller: Caller) -> HeartbeatResponse:
        command = Heartbeat(request.group_id, request.member_id, request.group_instance_id, request.generation_id)
        try:
            await self.broker.groups.ask(request.group_id, command)
        except CoordinatorLoadInProgress:
            return HeartbeatResponse(error_code=0)  # the member lives, and its session counts from the load
        except DohleError as error:
            return HeartbeatResponse(error_code=wire_code(error))
        return HeartbeatResponse(error_code=0)

    async def leave(self, request: LeaveGroupRequest, caller: Caller) -> LeaveGroupResponse:
        leavers = _leavers(request, caller)
        try:
            told: Iterable[DohleError | None] = await self.broker.groups.ask(
                request.group_id, Leave(request.group_id, leavers)
            )
        except DohleError as error:
            return LeaveGroupResponse(error_code=wire_code(error), members=[])
        codes = [0 if error is None else wire_code(error) for error in told]
        if caller.api_version < _FIRST_LEAVE_OF_SEVERAL:
            return LeaveGroupResponse(error_code=codes[0], members=[])
        members = [
            LeaveGroupResponse.Member(member_id=leaver.member_id, group_instance_id=leaver.instance_id, error_code=code)
            for leaver, code in zip(leavers, codes, strict=True)
        ]
        return LeaveGroupResponse(error_code=0, members=members)

    async def describe(self, request: DescribeGroupsRequest, caller: Caller) -> DescribeGroupsResponse:
        groups = [await self._described(group_id, request, caller) for group_id in request.groups]
        return DescribeGroupsResponse(groups=groups)

    async def _described(
        self, group_id: str, request: DescribeGroupsRequest, caller: Caller
    ) -> DescribeGroupsResponse.Group:
        described = DescribeGroupsResponse.Group(
            error_code=0,
            group_id=group_id,
            group_state="",
            protocol_type="",
            protocol_data="",
            members=[],
            authorized_operations=GROUP_OPERATIONS if request.include_authorized_operations else _NOT_ASKED,
        )
        try:
            group: Description = await self.broker.groups.ask(group_id, Describe(group_id), may_be_empty=True)
        except GroupIdNotFound as error:
            described.group_state = _DEAD
            if caller.api_version >= _FIRST_DESCRIPTION_OF_NONE:
                described.error_code, described.error_message = wire_code(error), error.message
                described.authorized_operations = _NOT_ASKED
            return described
        except DohleError as error:
            described.error_code, described.error_message = wire_code(error), error.message
            described.authorized_operations = _NOT_ASKED
            return described
        described.group_state, described.protocol_type = group.state, group.protocol_type
        described.protocol_data = group.protocol
        described.members = [
            DescribeGroupsResponse.Group.Member(
                member_id=member.member_id,
                group_instance_id=member.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                member_metadata=member.metadata,
                member_assignment=member.assignment,
            )
            for member in group.members
        ]
        return described


def _join(request: JoinGroupRequest, caller: Caller) -> Join:
    protocols: dict[str, bytes] = {}
    for one in request.protocols:
        protocols.setdefault(one.name, bytes(one.metadata))
    version = caller.api_version
    has_timeout = version >= _FIRST_JOIN_WITH_REBALANCE_TIMEOUT
    return Join(
        group_id=request.group_id,
        member_id=request.member_id,
        instance_id=request.group_instance_id,
        client_id=caller.client_id or "",
        client_host=client_host(caller.address.host),
        protocol_type=request.protocol_type,
        protocols=tuple(protocols.items()),
        session_timeout_ms=request.session_timeout_ms,
        rebalance_timeout_ms=request.rebalance_timeout_ms if has_timeout else request.session_timeout_ms,
        reason=request.reason or "",
        needs_member_id=version >= _FIRST_JOIN_WITH_HANDSHAKE,
        can_skip_assignment=version >= _FIRST_JOIN_WITH_SKIPPING,
    )


def _leavers(request: LeaveGroupRequest, caller: Caller) -> tuple[Leaver, ...]:
    if caller.api_version < _FIRST_LEAVE_OF_SEVERAL:
        return (Leaver(request.member_id),)
    return tuple([Leaver(one.member_id, one.group_instance_id, one.reason or "") for one in request.members])
