"""Groups that change from one protocol to the other while their members go on (KIP-848, "Online migration").

A group keeps its members, what they hold and its epoch. Nothing is begun here: who coordinates it afterwards does that.
"""

from __future__ import annotations

from collections.abc import Sequence

from dohle.groups.classic.group import ClassicGroup, ClassicMember
from dohle.groups.consumer.group import ConsumerGroup, Member
from dohle.groups.consumer.reconciliation import STABLE, held_since, partitions_of
from dohle.groups.group import CONSUMER_PROTOCOL
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
    MemberRecord,
    MemberSubscription,
    TargetEpochRecord,
    TargetRecord,
)
from dohle.groups.subscription import (
    NEWEST_VERSION,
    MemberAssignment,
    TopicPartitions,
    decode_assignment,
    decode_subscription,
    encode_assignment,
)
from dohle.model.group_errors import GroupIdNotFound
from dohle.model.ids import PartitionKey, TopicId
from dohle.model.image import ClusterImage


def upgraded(group: ClassicGroup, image: ClusterImage, wall_ms: int) -> list[GroupRecord]:
    """Returns the records that make a KIP-848 group of a classic one, whose members stay in it by their protocol.

    Raises GroupIdNotFound where a member's bytes cannot be read.
    """
    members: dict[str, MemberSubscription] = {}
    targets: dict[str, Assignment] = {}
    given: set[PartitionKey] = set()
    for member in group.members.values():
        try:
            members[member.member_id] = _subscription(group, member)
            assigned = ids_of(decode_assignment(member.assignment).partitions, image)
        except ValueError as error:
            raise GroupIdNotFound(
                f"classic group {group.group_id} cannot become one of the consumer protocol: what member "
                f"{member.member_id} brings is no consumer's: {error}"
            ) from error
        targets[member.member_id] = _not_given(assigned, given)
    group_id, epoch = group.group_id, max(group.generation, 1)
    currents = {
        member_id: CurrentAssignment(epoch, epoch, STABLE, held_since(targets[member_id], epoch), ())
        for member_id in members
    }
    return [
        *group.tombstones(),
        *(MemberRecord(group_id, member_id, member) for member_id, member in members.items()),
        GroupEpochRecord(group_id, GroupEpoch(epoch, metadata_hash=0)),
        *(TargetRecord(group_id, member_id, target) for member_id, target in targets.items()),
        TargetEpochRecord(group_id, epoch, wall_ms),
        *(CurrentRecord(group_id, member_id, current) for member_id, current in currents.items()),
    ]


def downgraded(
    group: ConsumerGroup, left: Sequence[Member], come: Member | None, image: ClusterImage, wall_ms: int
) -> list[GroupRecord]:
    """Returns the records that make a classic group of one whose members are all of that protocol but `left`; `come`
    is in their place."""
    gone = {member.member_id for member in left}
    members = [member for member in group.members() if member.member_id not in gone]
    if come is not None:
        members.append(come)
    protocol = _common_protocol(members)
    state = ClassicGroupState(
        protocol_type=CONSUMER_PROTOCOL,
        generation=group.epoch.epoch,
        protocol=protocol,
        leader=members[0].member_id,
        changed_ms=wall_ms,
        members=tuple(_classic_state(member, protocol, image) for member in members),
    )
    return [*group.tombstones(), ClassicGroupRecord(group.group_id, state)]


def classic_protocols(member: Member) -> tuple[tuple[str, bytes], ...]:
    assert member.subscription.classic is not None, "a member of the classic protocol brings protocols"
    return member.subscription.classic.protocols


def assignment_bytes(member: Member, image: ClusterImage) -> bytes:
    """Returns what a member of the classic protocol is told that it has, in the version of what it brings."""
    _, metadata = classic_protocols(member)[0]
    version = min(max(int.from_bytes(metadata[:2], "big", signed=True), 0), NEWEST_VERSION)
    named = tuple(
        (topic.name, numbers)
        for topic_id, numbers in partitions_of(member.current.assigned)
        if (topic := image.topics.get(topic_id)) is not None
    )
    return encode_assignment(MemberAssignment(named), version)


def ids_of(partitions: TopicPartitions, image: ClusterImage) -> Assignment:
    """Returns those of topics that exist."""
    numbers_of: dict[TopicId, set[int]] = {}
    for name, numbers in partitions:
        topic_id = image.topic_ids.get(name)
        if topic_id is not None:
            numbers_of.setdefault(topic_id, set()).update(numbers)
    return tuple((topic_id, tuple(sorted(numbers))) for topic_id, numbers in sorted(numbers_of.items()) if numbers)


def _not_given(assignment: Assignment, given: set[PartitionKey]) -> Assignment:
    """Leaves out what another member has, too: a leader may have given a partition to two."""
    free: list[tuple[TopicId, tuple[int, ...]]] = []
    for topic_id, numbers in assignment:
        own = tuple(number for number in numbers if PartitionKey(topic_id, number) not in given)
        given.update(PartitionKey(topic_id, number) for number in own)
        if own:
            free.append((topic_id, own))
    return tuple(free)


def _subscription(group: ClassicGroup, member: ClassicMember) -> MemberSubscription:
    protocols = dict(member.protocols)
    name = group.protocol if group.protocol in protocols else next(iter(protocols))
    assert name is not None, "a name that is among them"
    subscription = decode_subscription(protocols[name])
    return MemberSubscription(
        instance_id=member.instance_id,
        rack=subscription.rack or None,
        client_id=member.client_id,
        client_host=member.client_host,
        topics=tuple(sorted(set(subscription.topics))),
        regex=None,
        rebalance_timeout_ms=member.rebalance_timeout_ms,
        assignor=None,
        classic=ClassicProtocols(member.session_timeout_ms, member.protocols),
    )


def _common_protocol(members: Sequence[Member]) -> str:
    """Returns what all support: the first that the first member names."""
    others = [dict(classic_protocols(member)) for member in members]
    names = [name for name, _ in classic_protocols(members[0])]
    return next((name for name in names if all(name in protocols for protocols in others)), names[0])


def _classic_state(member: Member, protocol: str, image: ClusterImage) -> ClassicMemberState:
    classic, subscription = member.subscription.classic, member.subscription
    assert classic is not None, "all that remain are of the classic protocol"
    protocols = dict(classic.protocols)
    return ClassicMemberState(
        member_id=member.member_id,
        instance_id=subscription.instance_id,
        client_id=subscription.client_id,
        client_host=subscription.client_host,
        rebalance_timeout_ms=subscription.rebalance_timeout_ms,
        session_timeout_ms=classic.session_timeout_ms,
        subscription=protocols.get(protocol, next(iter(protocols.values()))),
        assignment=assignment_bytes(member, image),
    )
