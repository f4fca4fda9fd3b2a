"""ConsumerGroupHeartbeat and ConsumerGroupDescribe: groups whose coordinator assigns (KIP-848), and their offsets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dohle.kafka.messages.consumer_groups import (
    ConsumerGroupDescribeRequest,
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
)
from dohle.kafka.messages.groups import (
    DeleteGroupsRequest,
    DescribeGroupsRequest,
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    ListGroupsRequest,
    OffsetCommitRequest,
    OffsetFetchRequest,
)
from tests.differential.cases import Cases, all_versions
from tests.differential.cases.group_offsets import commit, delete, fetch, kept_of, simple_group
from tests.differential.cases.groups import INSTANCE, NOBODY, join, left, stable
from tests.differential.sides import Side

TIMEOUT_MS = 60_000
LEAVES, LEAVES_STATICALLY = -1, -2
OWN_ID = "AAAAAAAAAAAAAAAAAAAAAA"

BEAT = Cases(68)


@dataclass(frozen=True, slots=True)
class Member:
    """The only one of its group, which has all partitions of the kept topic."""

    group: str
    member_id: str
    epoch: int
    instance_id: str | None = None


def beat(side: Side, **how: Any) -> ConsumerGroupHeartbeatRequest:
    """What a member begins with, unless told otherwise."""
    fields = {
        "group_id": how.pop("group", None) or side.fresh("group"),
        "member_id": OWN_ID,
        "member_epoch": 0,
        "rebalance_timeout_ms": TIMEOUT_MS,
        "subscribed_topic_names": [kept_of(side)],
        "topic_partitions": [],
        **how,
    }
    return ConsumerGroupHeartbeatRequest(**fields)


def on(side: Side, member: Member, **how: Any) -> ConsumerGroupHeartbeatRequest:
    """What a member goes on with: nothing has changed."""
    fields = {
        "group": member.group,
        "member_id": member.member_id,
        "member_epoch": member.epoch,
        "instance_id": member.instance_id,
        "rebalance_timeout_ms": -1,
        "subscribed_topic_names": None,
        "topic_partitions": None,
        **how,
    }
    return beat(side, **fields)


def told(side: Side, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse:
    answer = side.ask(request, 1, ConsumerGroupHeartbeatResponse)
    assert answer.error_code == 0, (side.name, answer)
    return answer


def in_group(side: Side, **how: Any) -> Member:
    """A member that has been assigned all partitions, and has them."""
    request = beat(side, **how)
    answer = told(side, request)
    member = Member(request.group_id, OWN_ID, answer.member_epoch, request.instance_id)
    partitions = answer.assignment.topic_partitions if answer.assignment is not None else []
    owned = [
        ConsumerGroupHeartbeatRequest.TopicPartitions(topic_id=one.topic_id, partitions=one.partitions)
        for one in partitions
    ]
    answer = told(side, on(side, member, topic_partitions=owned))
    return Member(member.group, OWN_ID, answer.member_epoch, member.instance_id)


def gone(side: Side) -> Member:
    """One that has left its group, which is empty now."""
    member = in_group(side)
    told(side, on(side, member, member_epoch=LEAVES))
    return member


BEAT.good("joins", lambda side: beat(side), all_versions(68))
BEAT.good("joins without partitions to say", lambda side: beat(side, topic_partitions=[]), all_versions(68))
BEAT.good("joins without an id", lambda side: beat(side, member_id=""), [0])
BEAT.good("joins with a rack", lambda side: beat(side, rack_id="r"), all_versions(68))
BEAT.good("joins statically", lambda side: beat(side, instance_id=INSTANCE), all_versions(68))
BEAT.good(
    "joins by an expression", lambda side: beat(side, subscribed_topic_names=None, subscribed_topic_regex="none.*"), [1]
)
BEAT.good(
    "joins for a topic that is not there", lambda side: beat(side, subscribed_topic_names=["none"]), all_versions(68)
)
BEAT.good("joins for no topics", lambda side: beat(side, subscribed_topic_names=[]), all_versions(68))
BEAT.good("joins for two topics", lambda side: beat(side, subscribed_topic_names=[kept_of(side), side.kept()]))
for assignor in ("uniform", "range"):
    BEAT.good(f"asks for {assignor}", lambda side, name=assignor: beat(side, server_assignor=name), all_versions(68))
BEAT.good("joins a simple group", lambda side: beat(side, group=simple_group(side)), all_versions(68))
BEAT.good("joins an empty classic group", lambda side: beat(side, group=left(side).group), all_versions(68))
BEAT.good("joins an empty group", lambda side: beat(side, group=gone(side).group), all_versions(68))
BEAT.good("goes on", lambda side: on(side, in_group(side)), all_versions(68))
BEAT.good("joins again", lambda side: beat(side, group=in_group(side).group), all_versions(68))
BEAT.good("leaves", lambda side: on(side, in_group(side), member_epoch=LEAVES), all_versions(68))
BEAT.good(
    "leaves for a while",
    lambda side: on(side, in_group(side, instance_id=INSTANCE), member_epoch=LEAVES_STATICALLY),
    all_versions(68),
)
BEAT.good("subscribes to another", lambda side: on(side, in_group(side), subscribed_topic_names=[side.kept()]))
BEAT.bad("joins a group without a name", lambda side: beat(side, group_id=""), all_versions(68))
BEAT.bad("joins a group of blanks", lambda side: beat(side, group_id="  "), all_versions(68))
BEAT.bad("joins without an id, too new", lambda side: beat(side, member_id=""), [1])
BEAT.bad("goes on without an id", lambda side: beat(side, member_id="", member_epoch=3), all_versions(68))
BEAT.bad("joins without a time-out", lambda side: beat(side, rebalance_timeout_ms=-1), all_versions(68))
BEAT.bad("joins with partitions", lambda side: beat(side, topic_partitions=some(side)), all_versions(68))
BEAT.bad("joins without saying partitions", lambda side: beat(side, topic_partitions=None), all_versions(68))
BEAT.bad("joins without a subscription", lambda side: beat(side, subscribed_topic_names=None), all_versions(68))
BEAT.bad("an empty instance", lambda side: beat(side, instance_id=""), all_versions(68))
BEAT.bad("an empty rack", lambda side: beat(side, rack_id=""), all_versions(68))
BEAT.bad("an unknown assignor", lambda side: beat(side, server_assignor="none"), all_versions(68))
BEAT.bad("an empty assignor", lambda side: beat(side, server_assignor=""), all_versions(68))
BEAT.bad("an epoch of -3", lambda side: beat(side, member_epoch=-3), all_versions(68))
BEAT.bad(
    "leaves for a while without an instance", lambda side: beat(side, member_epoch=LEAVES_STATICALLY), all_versions(68)
)
BEAT.bad("no expression", lambda side: by_expression(side, "(none"), [1])
BEAT.bad("in no such group", lambda side: beat(side, member_epoch=3), all_versions(68))
BEAT.bad("leaves no such group", lambda side: beat(side, member_epoch=LEAVES), all_versions(68))
BEAT.bad("a stranger", lambda side: on(side, in_group(side), member_id=NOBODY), all_versions(68))
BEAT.bad(
    "a stranger leaves", lambda side: on(side, in_group(side), member_id=NOBODY, member_epoch=LEAVES), all_versions(68)
)
BEAT.bad("in an epoch to come", lambda side: on(side, in_group(side), member_epoch=99), all_versions(68))
BEAT.bad("who has left", lambda side: on(side, gone(side)), all_versions(68))
BEAT.bad(
    "another's instance",
    lambda side: beat(side, group=in_group(side, instance_id=INSTANCE).group, member_id=NOBODY, instance_id=INSTANCE),
    all_versions(68),
)
BEAT.bad("an unknown instance goes on", lambda side: on(side, in_group(side), instance_id=INSTANCE), all_versions(68))
BEAT.bad("partitions of no topic", lambda side: on(side, in_group(side), topic_partitions=None, member_epoch=2_000))


def by_expression(side: Side, regex: str) -> ConsumerGroupHeartbeatRequest:
    return beat(side, subscribed_topic_names=None, subscribed_topic_regex=regex)


def some(side: Side) -> list[ConsumerGroupHeartbeatRequest.TopicPartitions]:
    topic_id = side.id_of(kept_of(side))
    return [ConsumerGroupHeartbeatRequest.TopicPartitions(topic_id=topic_id, partitions=[0])]


DESCRIBE = Cases(69)


def describe(*groups: str, operations: bool = False) -> ConsumerGroupDescribeRequest:
    return ConsumerGroupDescribeRequest(group_ids=list(groups), include_authorized_operations=operations)


DESCRIBE.good("one member", lambda side: describe(in_group(side).group), all_versions(69))
DESCRIBE.good("a static member", lambda side: describe(in_group(side, instance_id=INSTANCE).group), all_versions(69))
DESCRIBE.good("a member with a rack", lambda side: describe(in_group(side, rack_id="r").group), all_versions(69))
DESCRIBE.good("an empty group", lambda side: describe(gone(side).group), all_versions(69))
DESCRIBE.good("two groups", lambda side: describe(in_group(side).group, gone(side).group), all_versions(69))
DESCRIBE.good("a group twice", lambda side: describe(*[in_group(side).group] * 2))
DESCRIBE.good("with operations", lambda side: describe(in_group(side).group, operations=True), all_versions(69))
DESCRIBE.good("none", lambda _: describe(), all_versions(69))
DESCRIBE.bad("no such group", lambda side: describe(side.fresh()), all_versions(69))
DESCRIBE.bad("a group without a name", lambda _: describe(""), all_versions(69))
DESCRIBE.bad("a simple group", lambda side: describe(simple_group(side)), all_versions(69))
DESCRIBE.bad("a classic group", lambda side: describe(stable(side).group), all_versions(69))
DESCRIBE.bad("one that is there and one that is not", lambda side: describe(in_group(side).group, side.fresh()))

COMMIT = Cases(8)
WITH_EPOCHS = [9, 10]


def commits(side: Side, member: Member, **how: Any) -> OffsetCommitRequest:
    fields = {
        "group": member.group,
        "member_id": member.member_id,
        "generation_id_or_member_epoch": member.epoch,
        **how,
    }
    return commit(side, (kept_of(side), 0, 5), **fields)


COMMIT.good("of an epoch", lambda side: commits(side, in_group(side)), WITH_EPOCHS)
COMMIT.good("nobody, to an empty group of epochs", lambda side: to_empty(side, gone(side)), all_versions(8))
COMMIT.bad("of an epoch, too old", lambda side: commits(side, in_group(side)), range(2, 9))
COMMIT.bad(
    "of a later epoch", lambda side: commits(side, in_group(side), generation_id_or_member_epoch=9), all_versions(8)
)
COMMIT.bad("of epoch 0", lambda side: commits(side, in_group(side), generation_id_or_member_epoch=0), WITH_EPOCHS)
COMMIT.bad("of no epoch", lambda side: commits(side, in_group(side), generation_id_or_member_epoch=-1), WITH_EPOCHS)
COMMIT.bad("a stranger in an epoch", lambda side: commits(side, in_group(side), member_id=NOBODY), all_versions(8))
COMMIT.bad("nobody, to epochs", lambda side: to_empty(side, in_group(side)), all_versions(8))
COMMIT.bad("who has left an epoch", lambda side: commits(side, gone(side)), all_versions(8))


def to_empty(side: Side, member: Member) -> OffsetCommitRequest:
    return commit(side, (kept_of(side), 0, 5), group=member.group)


FETCH = Cases(9)


def fetches(side: Side, member: Member, **how: Any) -> OffsetFetchRequest:
    fields = {"member_id": member.member_id, "member_epoch": member.epoch, **how}
    return fetch(side, [(kept_of(side), [0, 1])], member.group, **fields)


FETCH.good("in an epoch", lambda side: fetches(side, in_group(side)), WITH_EPOCHS)
FETCH.good("all in an epoch", lambda side: fetch(side, None, in_group(side).group), all_versions(9, 2))
FETCH.bad("in a later epoch", lambda side: fetches(side, in_group(side), member_epoch=9), WITH_EPOCHS)
FETCH.bad("a stranger in an epoch", lambda side: fetches(side, in_group(side), member_id=NOBODY), WITH_EPOCHS)
FETCH.bad("an id without an epoch", lambda side: fetches(side, in_group(side), member_epoch=-1), WITH_EPOCHS)
FETCH.bad("who has left an epoch", lambda side: fetches(side, gone(side)), WITH_EPOCHS)

OTHERS = {
    47: Cases(47),
    42: Cases(42),
    11: Cases(11),
    12: Cases(12),
    13: Cases(13),
    15: Cases(15),
    16: Cases(16),
}
OTHERS[47].good("of epochs, what nobody subscribes to", lambda side: delete(in_group(side).group, (side.kept(), 0)))
OTHERS[47].bad("of epochs, what members subscribe to", lambda side: delete(in_group(side).group, (kept_of(side), 0)))
OTHERS[42].good("an empty group of epochs", lambda side: DeleteGroupsRequest(groups_names=[gone(side).group]))
OTHERS[42].bad("a group of epochs with members", lambda side: DeleteGroupsRequest(groups_names=[in_group(side).group]))
OTHERS[11].good("an empty group of epochs", lambda side: join(side, gone(side).group), range(4))
OTHERS[11].good(
    "a group of epochs as a stranger", lambda side: join(side, in_group(side).group, NOBODY), all_versions(11)
)
OTHERS[11].bad("a group of epochs by no subscription", lambda side: unreadable(side, in_group(side)))
OTHERS[12].bad("in a group of epochs", lambda side: beats_classically(in_group(side)), all_versions(12))
OTHERS[13].bad("a group of epochs as a stranger", lambda side: leaves_classically(in_group(side), NOBODY), [3, 5])
OTHERS[15].good("a group of epochs", lambda side: DescribeGroupsRequest(groups=[in_group(side).group]), range(6))
OTHERS[15].bad("one of epochs", lambda side: DescribeGroupsRequest(groups=[in_group(side).group]), [6])
OTHERS[16].good("of epochs", lambda side: listed(in_group(side), types_filter=["consumer"]), [5])


def unreadable(side: Side, member: Member) -> JoinGroupRequest:
    return join(side, member.group, NOBODY, protocols=[JoinGroupRequest.Protocol(name="range", metadata=b"\1")])


def beats_classically(member: Member) -> HeartbeatRequest:
    return HeartbeatRequest(group_id=member.group, generation_id=member.epoch, member_id=member.member_id)


def leaves_classically(member: Member, member_id: str) -> LeaveGroupRequest:
    return LeaveGroupRequest(
        group_id=member.group, member_id=member_id, members=[LeaveGroupRequest.Member(member_id=member_id)]
    )


def listed(_member: Member, **how: Any) -> ListGroupsRequest:
    return ListGroupsRequest(**how)


ALL = (OTHERS[16], BEAT, DESCRIBE, COMMIT, FETCH, *[cases for key, cases in OTHERS.items() if key != 16])
