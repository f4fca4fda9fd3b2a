"""JoinGroup, SyncGroup, Heartbeat, LeaveGroup, DescribeGroups, and what members do with offsets: the classic protocol.

Groups have one member each: who waits for others is not answered, and a connection with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dohle.groups.subscription import MemberAssignment, Subscription, encode_assignment, encode_subscription
from dohle.kafka.messages.groups import (
    DeleteGroupsRequest,
    DescribeGroupsRequest,
    FindCoordinatorRequest,
    HeartbeatRequest,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupRequest,
    LeaveGroupResponse,
    ListGroupsRequest,
    OffsetCommitRequest,
    OffsetFetchRequest,
    SyncGroupRequest,
    SyncGroupResponse,
)
from tests.differential.cases import Cases, all_versions
from tests.differential.cases.group_offsets import commit, delete, fetch, kept_of, simple_group
from tests.differential.sides import Side

SESSION_MS = 600_000
NOBODY = "nobody"
INSTANCE = "instance"
SINCE_INSTANCES = {11: 5, 14: 3, 12: 3, 13: 3, 8: 7}


@dataclass(frozen=True, slots=True)
class Member:
    """The only one of its group."""

    group: str
    member_id: str
    generation: int
    instance_id: str | None = None


def subscription(side: Side) -> bytes:
    return encode_subscription(Subscription((kept_of(side),)), 1)


def join(side: Side, group: str | None = None, member_id: str = "", **how: Any) -> JoinGroupRequest:
    names = how.pop("names", ("range",))
    fields = {
        "group_id": side.fresh("group") if group is None else group,
        "session_timeout_ms": SESSION_MS,
        "rebalance_timeout_ms": SESSION_MS,
        "protocol_type": "consumer",
        "protocols": [JoinGroupRequest.Protocol(name=name, metadata=subscription(side)) for name in names],
        **how,
    }
    return JoinGroupRequest(member_id=member_id, **fields)


def joined(side: Side, instance_id: str | None = None, **how: Any) -> Member:
    """A member of a new group that has joined, and not synchronised: the group completes its rebalance."""
    request = join(side, group_instance_id=instance_id, **how)
    answer = side.ask(request, 3 if instance_id is None else 5, JoinGroupResponse)
    assert answer.error_code == 0, (side.name, answer)
    return Member(request.group_id, answer.member_id, answer.generation_id, instance_id)


def sync(member: Member, **how: Any) -> SyncGroupRequest:
    assignments = [SyncGroupRequest.Assignment(member_id=member.member_id, assignment=how.pop("assignment", b"mine"))]
    fields = {
        "group_id": member.group,
        "generation_id": member.generation,
        "member_id": member.member_id,
        "group_instance_id": member.instance_id,
        "protocol_type": "consumer",
        "protocol_name": "range",
        "assignments": assignments,
        **how,
    }
    return SyncGroupRequest(**fields)


def stable(side: Side, instance_id: str | None = None, **how: Any) -> Member:
    """The only member of a stable group."""
    member = joined(side, instance_id, **how)
    assignment = encode_assignment(MemberAssignment(((kept_of(side), (0,)),)), 1)
    answer = side.ask(sync(member, assignment=assignment), 3, SyncGroupResponse)
    assert answer.error_code == 0, (side.name, answer)
    return member


def left(side: Side) -> Member:
    """One that has left its group, which is empty now."""
    member = stable(side)
    one = LeaveGroupRequest.Member(member_id=member.member_id)
    answer = side.ask(LeaveGroupRequest(group_id=member.group, member_id="", members=[one]), 3, LeaveGroupResponse)
    assert (answer.error_code, answer.members[0].error_code) == (0, 0), (side.name, answer)
    return member


def instances(key: int) -> list[int]:
    return all_versions(key, SINCE_INSTANCES[key])


# finding coordinators

FIND = Cases(10)


def find(*keys: str) -> FindCoordinatorRequest:
    return FindCoordinatorRequest(key=keys[0], key_type=0, coordinator_keys=list(keys))


FIND.good("of a group", lambda side: find(side.fresh("group")), all_versions(10))
FIND.good("of two groups", lambda side: find(side.fresh("group"), side.fresh("group")), [4, 5, 6])
FIND.good("of a group without a name", lambda _: find(""), all_versions(10))

# joining

JOIN = Cases(11)
BEFORE_IDS = range(4)
"""Versions in which a member joins without an id and is in."""

JOIN.good("alone", lambda side: join(side), BEFORE_IDS)
JOIN.good("with two protocols", lambda side: join(side, names=("roundrobin", "range")), BEFORE_IDS)
JOIN.good("of another protocol type", lambda side: join(side, protocol_type="connect"), BEFORE_IDS)
JOIN.good("a simple group", lambda side: join(side, simple_group(side)), BEFORE_IDS)
JOIN.good("a group that is empty", lambda side: join(side, left(side).group), BEFORE_IDS)
JOIN.good("metadata that is no subscription", lambda side: join(side, protocols=[protocol("range", b"\1")]), BEFORE_IDS)
JOIN.good("the shortest session", lambda side: join(side, session_timeout_ms=6000), BEFORE_IDS)
JOIN.good("a static member", lambda side: join(side, group_instance_id=INSTANCE), instances(11))
JOIN.good("again", lambda side: again(side, joined(side)), all_versions(11))
JOIN.good("again when stable", lambda side: again(side, stable(side)), all_versions(11))
JOIN.good("again with one more", lambda side: again(side, stable(side), names=("sticky", "range")), all_versions(11))
JOIN.good(
    "a static member again",
    lambda side: join(side, stable(side, INSTANCE).group, group_instance_id=INSTANCE),
    [5, 8, 9],
)
JOIN.bad("again with others", lambda side: again(side, stable(side), names=("x", "y")), all_versions(11))
JOIN.bad("without an id", lambda side: join(side), range(4, 10))
JOIN.bad("a stable group without an id", lambda side: join(side, stable(side).group), range(4, 10))
JOIN.bad("as a stranger", lambda side: join(side, member_id=NOBODY), all_versions(11))
JOIN.bad("a stable group as a stranger", lambda side: join(side, stable(side).group, NOBODY), all_versions(11))
JOIN.bad("an empty group as a stranger", lambda side: join(side, left(side).group, NOBODY), all_versions(11))
JOIN.bad("a group without a name", lambda side: join(side, ""), all_versions(11))
JOIN.bad("too short a session", lambda side: join(side, session_timeout_ms=5999), all_versions(11))
JOIN.bad("too long a session", lambda side: join(side, session_timeout_ms=1_800_001), all_versions(11))
JOIN.bad("a negative session", lambda side: join(side, session_timeout_ms=-1))
JOIN.bad("no protocols", lambda side: join(side, protocols=[]), all_versions(11))
JOIN.bad("no protocol type", lambda side: join(side, protocol_type=""), all_versions(11))
JOIN.bad("no protocols, to a stable group", lambda side: join(side, stable(side).group, protocols=[]), all_versions(11))
JOIN.bad("another protocol type", lambda side: join(side, stable(side).group, protocol_type="x"), all_versions(11))
JOIN.bad("no protocol of the others", lambda side: join(side, stable(side).group, names=("x",)), all_versions(11))
JOIN.bad(
    "another static member's instance",
    lambda side: join(side, stable(side, INSTANCE).group, NOBODY, group_instance_id=INSTANCE),
    instances(11),
)
JOIN.bad(
    "an unknown static member with an id",
    lambda side: join(side, stable(side).group, NOBODY, group_instance_id=INSTANCE),
    instances(11),
)


def protocol(name: str, metadata: bytes) -> JoinGroupRequest.Protocol:
    return JoinGroupRequest.Protocol(name=name, metadata=metadata)


def again(side: Side, member: Member, **how: Any) -> JoinGroupRequest:
    return join(side, member.group, member.member_id, **how)


# assignments

SYNC = Cases(14)
SINCE_NAMES = 5

SYNC.good("the leader", lambda side: sync(joined(side)), all_versions(14))
SYNC.good("again", lambda side: sync(stable(side)), all_versions(14))
SYNC.good("without assignments", lambda side: sync(joined(side), assignments=[]), all_versions(14))
SYNC.good("an empty assignment", lambda side: sync(joined(side), assignment=b""))
SYNC.good("a static member", lambda side: sync(joined(side, INSTANCE)), instances(14))
SYNC.good("for members that there are not", lambda side: sync(joined(side), assignments=of_nobody()))
SYNC.good(
    "without the protocol's names", lambda side: sync(joined(side), protocol_type=None, protocol_name=None), range(5)
)
SYNC.bad("in another generation", lambda side: sync(joined(side), generation_id=9), all_versions(14))
SYNC.bad("in no generation", lambda side: sync(joined(side), generation_id=-1), all_versions(14))
SYNC.bad("as a stranger", lambda side: sync(joined(side), member_id=NOBODY), all_versions(14))
SYNC.bad("without an id", lambda side: sync(joined(side), member_id=""), all_versions(14))
SYNC.bad("no such group", lambda side: sync(Member(side.fresh(), NOBODY, 1)), all_versions(14))
SYNC.bad("a simple group", lambda side: sync(Member(simple_group(side), NOBODY, 1)), all_versions(14))
SYNC.bad("an empty group", lambda side: sync(left(side)), all_versions(14))
SYNC.bad("a group without a name", lambda side: sync(joined(side), group_id=""), all_versions(14))
SYNC.bad("of another protocol", lambda side: sync(joined(side), protocol_name="x"), [SINCE_NAMES])
SYNC.bad("of another protocol type", lambda side: sync(joined(side), protocol_type="x"), [SINCE_NAMES])
SYNC.bad("without the names", lambda side: sync(joined(side), protocol_type=None, protocol_name=None), [SINCE_NAMES])
SYNC.bad("an unknown instance", lambda side: sync(joined(side), group_instance_id=NOBODY), instances(14))
SYNC.bad("another's instance", lambda side: sync(joined(side, INSTANCE), member_id=NOBODY), instances(14))


def of_nobody() -> list[SyncGroupRequest.Assignment]:
    return [SyncGroupRequest.Assignment(member_id=NOBODY, assignment=b"x")]


# heartbeats

BEAT = Cases(12)


def beat(member: Member, **how: Any) -> HeartbeatRequest:
    fields = {
        "group_id": member.group,
        "generation_id": member.generation,
        "member_id": member.member_id,
        "group_instance_id": member.instance_id,
        **how,
    }
    return HeartbeatRequest(**fields)


BEAT.good("a member", lambda side: beat(stable(side)), all_versions(12))
BEAT.good("before its assignment", lambda side: beat(joined(side)), all_versions(12))
BEAT.good("a static member", lambda side: beat(stable(side, INSTANCE)), instances(12))
BEAT.good("twice", lambda side: [beat(member := stable(side)), beat(member)])
BEAT.bad("in another generation", lambda side: beat(stable(side), generation_id=9), all_versions(12))
BEAT.bad("in no generation", lambda side: beat(stable(side), generation_id=-1), all_versions(12))
BEAT.bad("a stranger", lambda side: beat(stable(side), member_id=NOBODY), all_versions(12))
BEAT.bad("without an id", lambda side: beat(stable(side), member_id=""), all_versions(12))
BEAT.bad("in no such group", lambda side: beat(Member(side.fresh(), NOBODY, 1)), all_versions(12))
BEAT.bad("in a simple group", lambda side: beat(Member(simple_group(side), NOBODY, 1)), all_versions(12))
BEAT.bad("in an empty group", lambda side: beat(left(side)), all_versions(12))
BEAT.bad("in a group without a name", lambda side: beat(stable(side), group_id=""), all_versions(12))
BEAT.bad("an unknown instance", lambda side: beat(stable(side), group_instance_id=NOBODY), instances(12))
BEAT.bad("another's instance", lambda side: beat(stable(side, INSTANCE), member_id=NOBODY), instances(12))

# leaving

LEAVE = Cases(13)
SEVERAL = range(3, 6)


def leave(group: str, *members: tuple[str, str | None]) -> LeaveGroupRequest:
    several = [LeaveGroupRequest.Member(member_id=one, group_instance_id=instance) for one, instance in members]
    return LeaveGroupRequest(group_id=group, member_id=members[0][0] if members else "", members=several)


def leaves(member: Member) -> LeaveGroupRequest:
    return leave(member.group, (member.member_id, member.instance_id))


LEAVE.good("a member", lambda side: leaves(stable(side)), all_versions(13))
LEAVE.good("before its assignment", lambda side: leaves(joined(side)), all_versions(13))
LEAVE.good("a static member", lambda side: leaves(stable(side, INSTANCE)), SEVERAL)
LEAVE.good("an instance", lambda side: leave(stable(side, INSTANCE).group, ("", INSTANCE)), SEVERAL)
LEAVE.good("nobody", lambda side: leave(stable(side).group), SEVERAL)
LEAVE.bad("a stranger", lambda side: leave(stable(side).group, (NOBODY, None)), all_versions(13))
LEAVE.bad("no such group", lambda side: leave(side.fresh(), (NOBODY, None)), all_versions(13))
LEAVE.bad("a simple group", lambda side: leave(simple_group(side), (NOBODY, None)), all_versions(13))
LEAVE.bad("again", lambda side: leaves(left(side)), all_versions(13))
LEAVE.bad("without an id", lambda side: leave(stable(side).group, ("", None)), all_versions(13))
LEAVE.bad("an unknown instance", lambda side: leave(stable(side).group, ("", NOBODY)), SEVERAL)
LEAVE.bad("another's instance", lambda side: leave(stable(side, INSTANCE).group, (NOBODY, INSTANCE)), SEVERAL)
LEAVE.bad("a group without a name", lambda _: leave("", (NOBODY, None)), all_versions(13))
LEAVE.bad("one member and a stranger", lambda side: with_stranger(stable(side)), SEVERAL)


def with_stranger(member: Member) -> LeaveGroupRequest:
    return leave(member.group, (NOBODY, None), (member.member_id, None))


# descriptions

DESCRIBE = Cases(15)
BEFORE_NOT_FOUND = range(6)


def describe(*groups: str, **how: Any) -> DescribeGroupsRequest:
    return DescribeGroupsRequest(groups=list(groups), **how)


GROUPS: dict[str, Callable[[Side], str]] = {
    "stable": lambda side: stable(side).group,
    "completing its rebalance": lambda side: joined(side).group,
    "with a static member": lambda side: stable(side, INSTANCE).group,
    "empty": lambda side: left(side).group,
    "simple": lambda side: simple_group(side),
    "of another protocol": lambda side: joined(side, protocol_type="connect").group,
}
for name, group in GROUPS.items():
    DESCRIBE.good(name, lambda side, group=group: describe(group(side)), all_versions(15))
DESCRIBE.good("one that there is not", lambda side: describe(side.fresh()), BEFORE_NOT_FOUND)
DESCRIBE.good("none", lambda _: describe(), all_versions(15))
DESCRIBE.good("a group twice", lambda side: describe(*[stable(side).group] * 2))
DESCRIBE.good(
    "with operations", lambda side: describe(stable(side).group, include_authorized_operations=True), [3, 4, 5, 6]
)
DESCRIBE.good("one without a name", lambda _: describe(""), BEFORE_NOT_FOUND)
DESCRIBE.good("one without a name and another", lambda side: describe("", stable(side).group), BEFORE_NOT_FOUND)
DESCRIBE.bad("no such group", lambda side: describe(side.fresh()), [6])
DESCRIBE.bad("without a name", lambda _: describe(""), [6])
DESCRIBE.bad("without a name and another", lambda side: describe("", stable(side).group), [6])
DESCRIBE.bad("several that there are not", lambda side: describe(side.fresh(), "", side.fresh()), [6])
DESCRIBE.bad("one that is there and one that is not", lambda side: describe(side.fresh(), stable(side).group), [6])
DESCRIBE.bad("one that is deleted", lambda side: deleted_and_described(left(side)), [6])


def deleted_and_described(member: Member) -> list[Any]:
    return [DeleteGroupsRequest(groups_names=[member.group]), describe(member.group)]


# members' offsets

COMMIT = Cases(8)


def commits(side: Side, member: Member, **how: Any) -> OffsetCommitRequest:
    fields = {
        "group": member.group,
        "member_id": member.member_id,
        "generation_id_or_member_epoch": member.generation,
        "group_instance_id": member.instance_id,
        **how,
    }
    return commit(side, (kept_of(side), 0, 5), **fields)


COMMIT.good("a member", lambda side: commits(side, stable(side)), all_versions(8))
COMMIT.good("a static member", lambda side: commits(side, stable(side, INSTANCE)), instances(8))
COMMIT.good("nobody, to an empty group", lambda side: commit(side, (kept_of(side), 0, 5), group=left(side).group))
COMMIT.bad("before its assignment", lambda side: commits(side, joined(side)), all_versions(8))
COMMIT.bad("nobody", lambda side: commit(side, (kept_of(side), 0, 5), group=stable(side).group), all_versions(8))
COMMIT.bad("nobody, before an assignment", lambda side: commit(side, (kept_of(side), 0, 5), group=joined(side).group))
COMMIT.bad("a stranger", lambda side: commits(side, stable(side), member_id=NOBODY), all_versions(8))
COMMIT.bad(
    "in another generation", lambda side: commits(side, stable(side), generation_id_or_member_epoch=9), all_versions(8)
)
COMMIT.bad(
    "in no generation", lambda side: commits(side, stable(side), generation_id_or_member_epoch=-1), all_versions(8)
)
COMMIT.bad("who has left", lambda side: commits(side, left(side)), all_versions(8))
COMMIT.bad("an unknown instance", lambda side: commits(side, stable(side), group_instance_id=NOBODY), instances(8))
COMMIT.bad("another's instance", lambda side: commits(side, stable(side, INSTANCE), member_id=NOBODY), instances(8))

FETCH = Cases(9)
FETCH.good("of members", lambda side: fetch(side, [(kept_of(side), [0])], stable(side).group), all_versions(9))
FETCH.good(
    "as a member",
    lambda side: fetch(
        side, [(kept_of(side), [0])], (one := stable(side)).group, member_id=one.member_id, member_epoch=1
    ),
    [9, 10],
)
FETCH.good(
    "as a stranger",
    lambda side: fetch(side, [(kept_of(side), [0])], stable(side).group, member_id=NOBODY, member_epoch=7),
    [9, 10],
)
FETCH.good("before an assignment", lambda side: fetch(side, None, joined(side).group), [2, 7, 10])


def fetches(side: Side, member: Member) -> OffsetFetchRequest:
    topics = [(kept_of(side), [0])]
    return fetch(side, topics, member.group, member_id=member.member_id, member_epoch=member.generation)


DELETE = Cases(47)
DELETE.good("what nobody subscribes to", lambda side: delete(stable(side).group, (side.kept(), 0)))
DELETE.good("of an empty group", lambda side: delete(left(side).group, (kept_of(side), 0)))
DELETE.bad("what members subscribe to", lambda side: delete(stable(side).group, (kept_of(side), 0), (side.kept(), 0)))
DELETE.bad("before an assignment", lambda side: delete(joined(side).group, (kept_of(side), 0)))
DELETE.bad("of another protocol", lambda side: delete(joined(side, protocol_type="connect").group, (kept_of(side), 0)))
DELETE.bad(
    "of members whose subscriptions cannot be read",
    lambda side: delete(stable(side, protocols=[protocol("range", b"\1")]).group, (side.kept(), 0)),
)

END = Cases(42)
END.good("an empty group", lambda side: DeleteGroupsRequest(groups_names=[left(side).group]), all_versions(42))
END.bad("a group with members", lambda side: DeleteGroupsRequest(groups_names=[stable(side).group]), all_versions(42))
END.bad("before an assignment", lambda side: DeleteGroupsRequest(groups_names=[joined(side).group]), all_versions(42))

LIST = Cases(16)
LIST.good("stable ones", lambda side: listed(side, stable(side), states_filter=["Stable"]), [4, 5])
LIST.good(
    "those that complete a rebalance",
    lambda side: listed(side, joined(side), states_filter=["CompletingRebalance"]),
    [4, 5],
)


def listed(_side: Side, _member: Member, **how: Any) -> ListGroupsRequest:
    return ListGroupsRequest(**how)


ALL = (LIST, FIND, JOIN, SYNC, BEAT, LEAVE, DESCRIBE, COMMIT, FETCH, DELETE, END)
"""Listings come first, while none of the groups that they list is about to lose a member to its session's end."""
