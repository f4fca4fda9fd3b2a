"""ListGroups and DeleteGroups: the groups that this broker coordinates, of both protocols."""

from __future__ import annotations

from dataclasses import dataclass

from dohle.broker.broker import Broker
from dohle.groups.offsets import DeleteGroup, ListGroups
from dohle.kafka.messages.groups import (
    DeleteGroupsRequest,
    DeleteGroupsResponse,
    ListGroupsRequest,
    ListGroupsResponse,
)
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.topics_known import wire_code
from dohle.model.errors import DohleError


@dataclass(frozen=True, slots=True)
class GroupLists:
    """Groups as a whole."""

    broker: Broker

    async def list(self, request: ListGroupsRequest, caller: Caller) -> ListGroupsResponse:
        command = ListGroups(tuple(request.states_filter), tuple(request.types_filter))
        try:
            shards = await self.broker.groups.ask_each(command)
        except DohleError as error:
            return ListGroupsResponse(error_code=wire_code(error), groups=[])
        listed = sorted([group for groups in shards for group in groups], key=lambda group: group.group_id)
        groups = [
            ListGroupsResponse.Group(
                group_id=group.group_id,
                protocol_type=group.protocol_type,
                group_state=group.state,
                group_type=group.kind.lower(),
            )
            for group in listed
        ]
        return ListGroupsResponse(error_code=0, groups=groups)

    async def delete(self, request: DeleteGroupsRequest, caller: Caller) -> DeleteGroupsResponse:
        results = [
            DeleteGroupsResponse.Result(group_id=group_id, error_code=await self._delete(group_id))
            for group_id in dict.fromkeys(request.groups_names)
        ]
        return DeleteGroupsResponse(results=results)

    async def _delete(self, group_id: str) -> int:
        try:
            await self.broker.groups.ask(group_id, DeleteGroup(group_id), may_be_empty=True)
        except DohleError as error:
            return wire_code(error)
        return 0
