"""The GroupAdmin service over gRPC: a group's coordinator answers, whichever broker is asked.

Who is asked finds the coordinator in the metadata and passes the question on, once; while a coordinator changes, or
loads, it asks again for some seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from dohle.broker.broker import Broker
from dohle.broker.groups.lags import NO_OFFSET, Lag, Position
from dohle.broker.replicas import LISTENER
from dohle.groups.rebalances import Who
from dohle.groups.records import CommittedOffset, KeptRebalance
from dohle.groups.standing import (
    DescribeStanding,
    ListStandings,
    RemoveGroup,
    ResetOffsets,
    ShortStanding,
    Standing,
    StandingMember,
)
from dohle.listeners.broker_service import failure
from dohle.model.errors import CoordinatorNotAvailable, DohleError, InvalidRequest, error_for
from dohle.model.group_errors import GroupIdNotFound, InvalidGroupId
from dohle.model.ids import NO_NODE, NodeId, TopicPartition
from dohle.model.image import TopicImage
from dohle.model.internal_topics import OFFSETS_TOPIC
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import group_admin_pb2
from dohle.runtime.clock import Clock
from dohle.runtime.network import Address, Lane, Network, RequestContext

T = TypeVar("T")

_METHODS: Final = methods_of(group_admin_pb2.DESCRIPTOR.services_by_name["GroupAdmin"])
_CALL_S: Final = 3.0
_PATIENCE_S: Final = 4.0
"""For a coordinator that changes or loads: less than clients give one node for its answer."""
_PAUSE_S: Final = 0.1
_MOST_GROUPS: Final = 100
"""That are described or deleted by one request."""


class GroupAdminService:
    """What an operator asks of groups through this broker."""

    def __init__(self, broker: Broker, network: Network, clock: Clock) -> None:
        self._broker = broker
        self._network = network
        self._clock = clock

    async def list_groups(
        self, request: group_admin_pb2.ListGroupsRequest, _context: RequestContext
    ) -> group_admin_pb2.ListGroupsResponse:
        if request.passed_on:
            return group_admin_pb2.ListGroupsResponse(groups=await self._listed())
        response = group_admin_pb2.ListGroupsResponse()
        leaders = self._coordinators()
        answers = await asyncio.gather(*(self._listed_by(node) for node in leaders))
        for node, answer in zip(leaders, answers, strict=True):
            if isinstance(answer, DohleError):
                response.silent.add(node_id=node, failure=failure(answer))
            else:
                response.groups.extend(answer)
        return response

    async def describe_groups(
        self, request: group_admin_pb2.DescribeGroupsRequest, _context: RequestContext
    ) -> group_admin_pb2.DescribeGroupsResponse:
        async def describe(group_id: str) -> group_admin_pb2.DescribedGroup:
            return await self._described(group_id, with_history=request.with_history)

        async def elsewhere(address: Address, group_id: str) -> group_admin_pb2.DescribedGroup:
            passed = group_admin_pb2.DescribeGroupsRequest(
                groups=[group_id], with_history=request.with_history, passed_on=True
            )
            answer: group_admin_pb2.DescribeGroupsResponse = await self._call(address, "DescribeGroups", passed)
            return answer.groups[0]

        async def one(group_id: str) -> group_admin_pb2.DescribedGroup:
            try:
                return await self._at_coordinator(group_id, describe, elsewhere, passed_on=request.passed_on)
            except DohleError as error:
                return group_admin_pb2.DescribedGroup(group_id=group_id, failure=failure(error))

        return group_admin_pb2.DescribeGroupsResponse(groups=await asyncio.gather(*map(one, _few(request.groups))))

    async def alter_group_offsets(
        self, request: group_admin_pb2.AlterGroupOffsetsRequest, _context: RequestContext
    ) -> group_admin_pb2.AlterGroupOffsetsResponse:
        for one in request.offsets:
            if one.offset < 0:
                raise InvalidRequest(f"{one.topic}-{one.partition} cannot be reset to {one.offset}: offsets begin at 0")
        offsets = tuple((TopicPartition(one.topic, one.partition), one.offset) for one in request.offsets)

        async def reset(group_id: str) -> group_admin_pb2.AlterGroupOffsetsResponse:
            await self._broker.groups.ask(group_id, ResetOffsets(group_id, offsets, request.validate_only))
            return group_admin_pb2.AlterGroupOffsetsResponse()

        async def elsewhere(address: Address, _group_id: str) -> group_admin_pb2.AlterGroupOffsetsResponse:
            passed = group_admin_pb2.AlterGroupOffsetsRequest()
            passed.CopyFrom(request)
            passed.passed_on = True
            answer: group_admin_pb2.AlterGroupOffsetsResponse = await self._call(address, "AlterGroupOffsets", passed)
            return answer

        if self._topic() is None and not request.passed_on:
            await self._broker.groups.coordinator(request.group_id)  # which makes it
        return await self._at_coordinator(request.group_id, reset, elsewhere, passed_on=request.passed_on)

    async def remove_groups(
        self, request: group_admin_pb2.RemoveGroupsRequest, _context: RequestContext
    ) -> group_admin_pb2.RemoveGroupsResponse:
        async def remove(group_id: str) -> group_admin_pb2.RemovedGroup:
            await self._broker.groups.ask(group_id, RemoveGroup(group_id, request.validate_only))
            return group_admin_pb2.RemovedGroup(group_id=group_id)

        async def elsewhere(address: Address, group_id: str) -> group_admin_pb2.RemovedGroup:
            passed = group_admin_pb2.RemoveGroupsRequest(
                groups=[group_id], passed_on=True, validate_only=request.validate_only
            )
            answer: group_admin_pb2.RemoveGroupsResponse = await self._call(address, "RemoveGroups", passed)
            return answer.groups[0]

        async def one(group_id: str) -> group_admin_pb2.RemovedGroup:
            try:
                return await self._at_coordinator(group_id, remove, elsewhere, passed_on=request.passed_on)
            except DohleError as error:
                return group_admin_pb2.RemovedGroup(group_id=group_id, failure=failure(error))

        return group_admin_pb2.RemoveGroupsResponse(groups=await asyncio.gather(*map(one, _few(request.groups))))

    # finding the coordinator

    async def _at_coordinator(
        self,
        group_id: str,
        here: Callable[[str], Awaitable[T]],
        elsewhere: Callable[[Address, str], Awaitable[T]],
        *,
        passed_on: bool,
    ) -> T:
        """Returns what the group's coordinator answers, `here` or `elsewhere`; asks again what time may heal."""
        if not group_id:
            raise InvalidGroupId("the group's id is empty: give it a name")
        if passed_on:
            return await here(group_id)
        deadline = self._broker.now() + _PATIENCE_S
        while True:
            try:
                node = self._coordinator(group_id)
                if node == self._broker.node_id:
                    return await here(group_id)
                return _checked(await elsewhere(self._address(node), group_id))
            except DohleError as error:
                if not error.retriable or self._broker.now() >= deadline:
                    raise
            await self._clock.sleep(_PAUSE_S)

    def _topic(self) -> TopicImage | None:
        return self._broker.image.topic_named(OFFSETS_TOPIC)

    def _coordinator(self, group_id: str) -> NodeId:
        """Raises GroupIdNotFound where there is no group at all, CoordinatorNotAvailable."""
        topic = self._topic()
        if topic is None:
            raise GroupIdNotFound(f"there is no group {group_id}")
        number = self._broker.groups.partition_of(group_id)
        leader = topic.partitions[number].leader
        if leader == NO_NODE:
            raise CoordinatorNotAvailable(
                f"{OFFSETS_TOPIC}-{number} has no leader: nobody coordinates group {group_id}"
            )
        return leader

    def _coordinators(self) -> list[NodeId]:
        """Returns who leads partitions of the groups' topic, NO_NODE among them if some have no leader."""
        topic = self._topic()
        return [] if topic is None else sorted({partition.leader for partition in topic.partitions})

    def _address(self, node: NodeId) -> Address:
        broker = self._broker.image.brokers.get(node)
        endpoint = None if broker is None or broker.fenced else broker.endpoint(LISTENER)
        if endpoint is None:
            raise CoordinatorNotAvailable(f"broker {node}, which coordinates it, cannot be reached")
        return Address(endpoint.host, endpoint.port)

    async def _call(self, address: Address, method: str, request: Any) -> Any:
        return await self._network.call(address, _METHODS[method], request, lane=Lane.CLIENT, timeout_s=_CALL_S)

    # lists

    async def _listed_by(self, node: NodeId) -> Sequence[group_admin_pb2.ListedGroup] | DohleError:
        """Returns the groups that a broker coordinates, or what keeps them from being known."""
        try:
            if node == NO_NODE:
                raise CoordinatorNotAvailable(f"some partitions of {OFFSETS_TOPIC} have no leader")
            if node == self._broker.node_id:
                return await self._listed()
            request = group_admin_pb2.ListGroupsRequest(passed_on=True)
            answer = await self._call(self._address(node), "ListGroups", request)
        except DohleError as error:
            return error
        return list(answer.groups)

    async def _listed(self) -> list[group_admin_pb2.ListedGroup]:
        shards: list[list[ShortStanding]] = await self._broker.groups.ask_each(ListStandings())
        return [self._listing(one) for shard in shards for one in shard]

    def _listing(self, one: ShortStanding) -> group_admin_pb2.ListedGroup:
        found = self._broker.group_lags.by_group.get(one.group_id, {})
        lags = [lag for lag in found.values() if isinstance(lag, Lag) and lag.records is not None]
        now_ms = self._broker.wall_ms()
        ages = [age for lag in lags if (age := lag.age_ms(now_ms)) is not None]
        return group_admin_pb2.ListedGroup(
            group_id=one.group_id,
            kind=one.kind,
            state=one.state,
            protocol_type=one.protocol_type,
            members=one.members,
            coordinator=self._broker.node_id,
            lag_records=sum(lag.records or 0 for lag in lags) if lags else None,
            lag_ms=max(ages, default=None),
            unknown_lags=len(found) - len(lags),
        )

    # descriptions

    async def _described(self, group_id: str, *, with_history: bool) -> group_admin_pb2.DescribedGroup:
        standing: Standing = await self._broker.groups.ask(group_id, DescribeStanding(group_id))
        holders = {name: one.who.member_id for one in standing.members for name in one.assigned or ()}
        committed = dict(standing.offsets)
        names = sorted({*committed, *holders})
        positions = {name: Position(name, committed[name].offset if name in committed else NO_OFFSET) for name in names}
        measured = await self._broker.group_lags.measure(list(positions.values()))
        now_ms = self._broker.wall_ms()
        described = group_admin_pb2.DescribedGroup(
            group_id=group_id,
            kind=standing.kind,
            state=standing.state,
            protocol_type=standing.protocol_type,
            coordinator=self._broker.node_id,
            assignor=standing.assignor,
            epoch=standing.epoch,
            members=[_member(one) for one in standing.members],
            partitions=[
                _partition(name, committed.get(name), holders.get(name, ""), measured[positions[name]], now_ms)
                for name in names
            ],
            empty_since_ms=standing.empty_since_ms,
            now_ms=now_ms,
        )
        if with_history:
            described.rebalances.extend(_rebalance(kept) for kept in standing.rebalances)
            if standing.under_way is not None:
                number = standing.rebalances[-1].number + 1 if standing.rebalances else 0
                described.rebalances.append(_rebalance(KeptRebalance(number, standing.under_way)))
        return described


def _checked(answer: T) -> T:
    """Returns the answer. Raises what it says went wrong, where it speaks of one group."""
    refused = getattr(answer, "failure", None)
    if refused is not None and refused.code:
        raise error_for(refused.code, refused.message)
    return answer


def _few(groups: Sequence[str]) -> Sequence[str]:
    if len(groups) > _MOST_GROUPS:
        raise InvalidRequest(f"{len(groups)} groups at once: ask for at most {_MOST_GROUPS}")
    return list(dict.fromkeys(groups))


def _member(one: StandingMember) -> group_admin_pb2.DescribedMember:
    by_topic: dict[str, list[int]] = {}
    for topic, number in one.assigned or ():
        by_topic.setdefault(topic, []).append(number)
    state = one.state
    if one.assigned is None:
        state = f"{state}; its assignment can be read by its clients alone".removeprefix("; ")
    return group_admin_pb2.DescribedMember(
        member_id=one.who.member_id,
        instance_id=one.who.instance_id or "",
        client_id=one.who.client_id,
        client_host=one.who.client_host,
        assigned=[group_admin_pb2.TopicPartitions(topic=topic, partitions=by_topic[topic]) for topic in by_topic],
        epoch=one.epoch,
        state=state,
        leads=one.leads,
    )


def _partition(
    name: TopicPartition, committed: CommittedOffset | None, member_id: str, lag: Lag | DohleError, now_ms: int
) -> group_admin_pb2.GroupPartition:
    described = group_admin_pb2.GroupPartition(
        topic=name.topic,
        partition=name.partition,
        committed_offset=None if committed is None else committed.offset,
        metadata="" if committed is None else committed.metadata,
        commit_ms=-1 if committed is None else committed.commit_ms,
        member_id=member_id,
        log_start_offset=-1,
        high_watermark=-1,
    )
    if isinstance(lag, DohleError):
        described.failure.CopyFrom(failure(lag))
        return described
    described.log_start_offset, described.high_watermark = lag.log_start_offset, lag.high_watermark
    if lag.records is not None:
        described.lag_records = lag.records
    age_ms = lag.age_ms(now_ms)
    if age_ms is not None:
        described.lag_ms = age_ms
    return described


def _rebalance(kept: KeptRebalance) -> group_admin_pb2.DescribedRebalance:
    one = kept.rebalance
    return group_admin_pb2.DescribedRebalance(
        number=kept.number,
        cause=one.cause.value,
        who=_who(one.who),
        detail=one.detail,
        silent_ms=None if one.silent_s is None else round(one.silent_s * 1000),
        began_ms=one.began_ms,
        ended_ms=one.ended_ms,
        epoch=one.epoch,
        members=one.members,
        last=_who(one.last),
        last_ms=one.last_ms,
        removed=[who for member in one.removed if (who := _who(member)) is not None],
        more_removed=kept.more_removed,
    )


def _who(who: Who | None) -> group_admin_pb2.RebalanceMember | None:
    if who is None:
        return None
    return group_admin_pb2.RebalanceMember(
        member_id=who.member_id,
        instance_id=who.instance_id or "",
        client_id=who.client_id,
        client_host=who.client_host,
    )
