"""A coordinator in memory: groups by KIP-848 in its simplest form, and their offsets.

Its topics are those of the fake cluster. Members get equal shares in the order of their ids; a partition goes to the
next one only when the former has said that it does not have it any more, has left, or was fenced.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dohle.model.errors import CoordinatorNotAvailable, DohleError
from dohle.model.group_errors import (
    FencedMemberEpoch,
    InvalidRegularExpression,
    NotCoordinator,
    StaleMemberEpoch,
    UnknownMember,
    UnreleasedInstanceId,
)
from dohle.rpc.methods import service
from dohle.rpc.v1 import groups_pb2
from dohle.runtime.network import RequestContext, Service
from tests.client.fake_broker import Cluster, failure_of

GROUPS = groups_pb2.DESCRIPTOR.services_by_name["Groups"]

Key = tuple[bytes, int]


@dataclass
class Member:
    instance_id: str | None
    epoch: int = 0
    topics: list[str] = field(default_factory=list)
    held: set[Key] = field(default_factory=set)  # it was told to have, and has not said that it has not
    told: set[Key] | None = None
    away: bool = False  # a static member that will be back


@dataclass
class Groups:
    """What the coordinators of a cluster share, as they would their log."""

    cluster: Cluster
    node: int = 0  # who coordinates
    heartbeat_interval_ms: int = 50
    epoch: int = 0
    members: dict[str, Member] = field(default_factory=dict)
    offsets: dict[tuple[str, int], tuple[int, str]] = field(default_factory=dict)
    commits: list[dict[tuple[str, int], int]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    sequences: dict[bytes, int] = field(default_factory=dict)

    def fence(self, member_id: str) -> None:
        del self.members[member_id]
        self.epoch += 1

    def member(self, member_id: str, epoch: int, error: type[DohleError]) -> Member:
        member = self.members.get(member_id)
        if member is None:
            raise UnknownMember
        if member.epoch != epoch:
            raise error
        return member

    def target(self, member_id: str) -> set[Key]:
        names = sorted({name for member in self.members.values() for name in member.topics})
        found: set[Key] = set()
        for name in names:
            takers = sorted(one for one, member in self.members.items() if name in member.topics)
            numbers = range(len(self.cluster.topics.get(name, ())))
            if member_id in takers:
                mine = takers.index(member_id)
                found |= {(self.cluster.ids[name], number) for number in numbers if number % len(takers) == mine}
        return found

    def commit(self, request) -> None:
        if request.member_id:
            self.member(request.member_id, request.member_epoch, StaleMemberEpoch)
        if request.sequence <= self.sequences.get(request.committer_id, 0):
            raise StaleMemberEpoch("late")
        self.sequences[request.committer_id] = request.sequence
        self.commits.append({(one.topic, one.partition): one.offset for one in request.offsets})
        for one in request.offsets:
            self.offsets[one.topic, one.partition] = (one.offset, one.metadata)


class FakeCoordinator:
    """One broker's door to the groups. `faults` are raised first, one for each heartbeat, `commit_faults` for each
    commit; `lost_answers` commits take effect without an answer."""

    def __init__(self, groups: Groups, node: int) -> None:
        self.groups = groups
        self.node = node
        self.faults: list[DohleError] = []
        self.commit_faults: list[DohleError] = []
        self.lost_answers = 0
        self.heartbeats: list[groups_pb2.GroupHeartbeatRequest] = []

    def service(self) -> Service:
        return service(GROUPS, self)

    def _check(self, faults: list[DohleError]) -> None:
        if faults:
            raise faults.pop(0)
        if self.node != self.groups.node:
            raise NotCoordinator

    async def find_coordinator(self, request, context: RequestContext) -> groups_pb2.FindCoordinatorResponse:
        address = self.groups.cluster.addresses.get(self.groups.node)
        if address is None:
            raise CoordinatorNotAvailable
        return groups_pb2.FindCoordinatorResponse(node_id=self.groups.node, host=address.host, port=address.port)

    async def group_heartbeat(self, request, context: RequestContext) -> groups_pb2.GroupHeartbeatResponse:
        self.heartbeats.append(request)
        self._check(self.faults)
        groups = self.groups
        if request.member_epoch < 0:
            return self._left(request)
        if request.member_epoch == 0:
            member = self._joined(request)
        else:
            member = groups.member(request.member_id, request.member_epoch, FencedMemberEpoch)
        if request.HasField("topics"):
            if request.topic_regex.startswith("("):
                raise InvalidRegularExpression("missing )")
            if member.topics != list(request.topics.names):
                member.topics = list(request.topics.names)
                groups.epoch += 1
        if request.HasField("owned"):
            owned = {(topic.topic_id, number) for topic in request.owned.topics for number in topic.partitions}
            member.held &= owned | (groups.target(request.member_id) & (member.told or set()))
        return self._answer(request.member_id, member, everything=request.HasField("topics"))

    def _joined(self, request) -> Member:
        groups = self.groups
        instance_id = request.instance_id if request.HasField("instance_id") else None
        for member_id, known in list(groups.members.items()):
            if instance_id is not None and known.instance_id == instance_id and member_id != request.member_id:
                if not known.away:
                    raise UnreleasedInstanceId
                groups.events.append("back")
                groups.members[request.member_id] = groups.members.pop(member_id)
                known.away = False
                known.told = None
                return known
        groups.events.append("joined")
        groups.epoch += 1
        return groups.members.setdefault(request.member_id, Member(instance_id))

    def _left(self, request) -> groups_pb2.GroupHeartbeatResponse:
        member = self.groups.members.get(request.member_id)
        if member is None:
            raise UnknownMember
        if request.member_epoch == -2:
            member.away = True
            member.held.clear()
            self.groups.events.append("away")
        else:
            self.groups.fence(request.member_id)
            self.groups.events.append("left")
        return groups_pb2.GroupHeartbeatResponse(member_id=request.member_id, member_epoch=request.member_epoch)

    def _answer(self, member_id: str, member: Member, *, everything: bool) -> groups_pb2.GroupHeartbeatResponse:
        groups = self.groups
        target = groups.target(member_id)
        others = {key for one, other in groups.members.items() if one != member_id for key in other.held}
        if member.held <= target:
            member.epoch = groups.epoch
            member.held |= target - others
        told = member.held & target
        response = groups_pb2.GroupHeartbeatResponse(
            member_id=member_id, member_epoch=member.epoch or 1, heartbeat_interval_ms=groups.heartbeat_interval_ms
        )
        member.epoch = response.member_epoch
        if told != member.told or everything:
            member.told = told
            names = {topic_id: name for name, topic_id in groups.cluster.ids.items()}
            response.assignment.SetInParent()
            for topic_id in sorted({key[0] for key in told}):
                numbers = sorted(number for one, number in told if one == topic_id)
                response.assignment.topics.add(topic_id=topic_id, name=names[topic_id], partitions=numbers)
        return response

    async def commit_offsets(self, request, context: RequestContext) -> groups_pb2.CommitOffsetsResponse:
        self._check(self.commit_faults)
        self.groups.commit(request)
        if self.lost_answers:
            self.lost_answers -= 1
            raise NotCoordinator
        known = self.groups.cluster.topics
        response = groups_pb2.CommitOffsetsResponse()
        for one in request.offsets:
            committed = response.partitions.add(topic=one.topic, partition=one.partition)
            if one.topic not in known:
                committed.failure.CopyFrom(failure_of(CoordinatorNotAvailable()))
        return response

    async def fetch_offsets(self, request, context: RequestContext) -> groups_pb2.FetchOffsetsResponse:
        self._check([])
        if request.member_id:
            self.groups.member(request.member_id, request.member_epoch, StaleMemberEpoch)
        response = groups_pb2.FetchOffsetsResponse()
        for one in request.partitions:
            offset, metadata = self.groups.offsets.get((one.topic, one.partition), (-1, ""))
            response.partitions.add(topic=one.topic, partition=one.partition, offset=offset, metadata=metadata)
        return response
