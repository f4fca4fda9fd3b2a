"""How groups stand, for those who look after them: who is in one, who has what, what is committed, what happened.

Commands, each of which a driver calls with the shard, a ticket and the moment. What changes a group is refused while it
has members, by name: whoever resets the offsets of a group that runs would be overruled by its next commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dohle.groups.classic.group import ClassicGroup
from dohle.groups.consumer.group import ConsumerGroup
from dohle.groups.consumer.group import Member as ConsumerMember
from dohle.groups.consumer.reconciliation import UNRELEASED, UNREVOKED, partitions_of
from dohle.groups.consumer.targets import preferred_assignor
from dohle.groups.group import Group
from dohle.groups.offsets import Commit, DeleteGroup, OffsetToCommit
from dohle.groups.outcome import Moment, Outcome, Ticket
from dohle.groups.rebalances import Rebalance, Who
from dohle.groups.records import Assignment, CommittedOffset, KeptRebalance
from dohle.groups.subscription import decode_assignment
from dohle.model.errors import DohleError
from dohle.model.group_errors import GroupIdNotFound, NonEmptyGroup
from dohle.model.ids import TopicPartition
from dohle.model.image import ClusterImage

if TYPE_CHECKING:
    from dohle.groups.shard import GroupShard

_MOST_NAMED: Final = 5
NO_EPOCH: Final = -1


@dataclass(frozen=True, slots=True)
class StandingMember:
    """`assigned` None: nobody but the members can read it. `epoch` NO_EPOCH: of the classic protocol. `state`: in
    words, "" where there is nothing to say. `leads`: it shares the partitions out."""

    who: Who
    assigned: tuple[TopicPartition, ...] | None
    epoch: int
    state: str
    leads: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """One group. `assignor` "": not known. `epoch`: the generation, or the group's epoch. `empty_since_ms` -1: it has
    members, or that is not known. `rebalances`: the oldest first; `under_way`: what has not ended."""

    group_id: str
    kind: str
    state: str
    protocol_type: str
    assignor: str
    epoch: int
    members: tuple[StandingMember, ...]
    offsets: tuple[tuple[TopicPartition, CommittedOffset], ...]
    empty_since_ms: int
    rebalances: tuple[KeptRebalance, ...]
    under_way: Rebalance | None


@dataclass(frozen=True, slots=True)
class ShortStanding:
    group_id: str
    kind: str
    state: str
    protocol_type: str
    members: int


@dataclass(frozen=True, slots=True)
class DescribeStanding:
    """Answered with Standing. Errors: GroupIdNotFound."""

    group_id: str

    def __call__(self, shard: GroupShard, ticket: Ticket, _moment: Moment) -> Outcome:
        group = shard.state.group(self.group_id)
        return Outcome(replies={ticket: _not_found(self.group_id) if group is None else _standing(shard, group)})


@dataclass(frozen=True, slots=True)
class ListStandings:
    """Answered with a list of ShortStanding, by id."""

    def __call__(self, shard: GroupShard, ticket: Ticket, _moment: Moment) -> Outcome:
        return Outcome(replies={ticket: short_standings(shard)})


def short_standings(shard: GroupShard) -> list[ShortStanding]:
    """Returns all groups of a shard, by id."""
    groups = [shard.state.group(group_id) for group_id in shard.state.group_ids()]
    return [
        ShortStanding(group.group_id, group.kind, group.state, group.protocol_type, _member_count(group))
        for group in groups
        if group is not None
    ]


@dataclass(frozen=True, slots=True)
class ListOffsets:
    """Answered with the offsets of all groups, by group: a tuple of (partition, offset) for each."""

    def __call__(self, shard: GroupShard, ticket: Ticket, _moment: Moment) -> Outcome:
        offsets = shard.state.offsets
        found = {
            group_id: tuple(
                [
                    (TopicPartition(topic, number), value.offset)
                    for topic, partitions in offsets.of(group_id).items()
                    for number, value in partitions.items()
                ]
            )
            for group_id in offsets.group_ids()
        }
        return Outcome(replies={ticket: found})


@dataclass(frozen=True, slots=True)
class ResetOffsets:
    """Sets what a group goes on from. Answered with None. All or nothing: NonEmptyGroup, UnknownTopicOrPartition.

    A group that is not there is made so. `validate_only`: changes nothing.
    """

    group_id: str
    offsets: tuple[tuple[TopicPartition, int], ...]
    validate_only: bool = False

    def __call__(self, shard: GroupShard, ticket: Ticket, moment: Moment) -> Outcome:
        refusal = _refusal(shard.state.group(self.group_id), "its offsets cannot be reset")
        if refusal is not None:
            return Outcome(replies={ticket: refusal})
        offsets = tuple([OffsetToCommit(name.topic, name.partition, offset) for name, offset in self.offsets])
        committed = shard.offsets.commit(Commit(self.group_id, offsets), ticket, moment)
        errors: Sequence[DohleError | None] = committed.replies[ticket]
        failed = next((error for error in errors if error is not None), None)
        if failed is not None or self.validate_only:
            return Outcome(replies={ticket: failed})
        return Outcome(committed.records, {ticket: None})


@dataclass(frozen=True, slots=True)
class RemoveGroup:
    """Ends a group without members. Answered with None. Errors: GroupIdNotFound, NonEmptyGroup."""

    group_id: str
    validate_only: bool = False

    def __call__(self, shard: GroupShard, ticket: Ticket, _moment: Moment) -> Outcome:
        group = shard.state.group(self.group_id)
        refusal = _not_found(self.group_id) if group is None else _refusal(group, "it cannot be deleted")
        if refusal is not None or self.validate_only:
            return Outcome(replies={ticket: refusal})
        return shard.offsets.delete_group(DeleteGroup(self.group_id), ticket)


def _not_found(group_id: str) -> DohleError:
    return GroupIdNotFound(f"there is no group {group_id}")


def _refusal(group: Group | None, what: str) -> DohleError | None:
    """Returns why nothing may be changed: who is in the group."""
    members = [] if group is None else _whos(group)
    if not members:
        return None
    assert group is not None
    named = ", ".join(
        f"{who.instance_id or who.member_id} ({who.client_id} at {who.client_host.removeprefix('/')})"
        for who in members[:_MOST_NAMED]
    )
    others = f" and {len(members) - _MOST_NAMED} more" if len(members) > _MOST_NAMED else ""
    return NonEmptyGroup(
        f"group {group.group_id} is {group.state} and has members, so {what}: stop {named}{others} first"
    )


def _member_count(group: Group) -> int:
    match group:
        case ClassicGroup():
            return len(group.members)
        case ConsumerGroup():
            return len(group.subscriptions)
        case _:
            return 0


def _whos(group: Group) -> list[Who]:
    match group:
        case ClassicGroup():
            return [member.who for member in group.members.values()]
        case ConsumerGroup():
            return [_who(member) for member in group.members()]
        case _:
            return []


def _who(member: ConsumerMember) -> Who:
    said = member.subscription
    return Who(member.member_id, said.instance_id, said.client_id, said.client_host)


def _standing(shard: GroupShard, group: Group) -> Standing:
    members: Iterable[StandingMember] = ()
    assignor, epoch = "", NO_EPOCH
    match group:
        case ClassicGroup():
            members = _classic_members(group)
            assignor, epoch = group.protocol or "", group.generation
        case ConsumerGroup():
            members = [_consumer_member(member, shard.state.image) for member in group.members()]
            assignor = preferred_assignor(group.subscriptions.values(), shard.state.settings)
            epoch = group.epoch.epoch
        case _:
            pass
    offsets = [
        (TopicPartition(topic, number), value)
        for topic, partitions in shard.state.offsets.of(group.group_id).items()
        for number, value in partitions.items()
    ]
    return Standing(
        group.group_id,
        group.kind,
        group.state,
        group.protocol_type,
        assignor,
        epoch,
        tuple(members),
        tuple(sorted(offsets, key=lambda one: one[0])),
        NO_EPOCH if group.empty_since_ms is None else group.empty_since_ms,
        tuple(shard.history.of(group.group_id)),
        shard.state.rebalances.under_way(group.group_id),
    )


def _classic_members(group: ClassicGroup) -> Iterable[StandingMember]:
    for member in group.members.values():
        try:
            topics = decode_assignment(member.assignment).partitions
        except ValueError:
            assigned = None
        else:
            assigned = tuple(sorted(TopicPartition(topic, number) for topic, numbers in topics for number in numbers))
        state = ""
        if group.state == "PreparingRebalance" and member.member_id not in group.joining:
            state = "has not joined again yet"
        elif group.state == "CompletingRebalance" and member.member_id in group.unsynced:
            state = "has not asked for its assignment yet"
        yield StandingMember(member.who, assigned, NO_EPOCH, state, member.member_id == group.leader)


def _consumer_member(member: ConsumerMember, image: ClusterImage) -> StandingMember:
    current = member.current
    state = {UNREVOKED: "has still to give partitions up", UNRELEASED: "waits for others' partitions"}.get(
        current.state, ""
    )
    assigned = _named(partitions_of(current.assigned), image)
    return StandingMember(_who(member), assigned, member.epoch, state, leads=False)


def _named(assignment: Assignment, image: ClusterImage) -> tuple[TopicPartition, ...]:
    """Returns the partitions by the names of their topics, without those that are gone."""
    named = [
        TopicPartition(topic.name, number)
        for topic_id, numbers in assignment
        if (topic := image.topics.get(topic_id)) is not None
        for number in numbers
    ]
    return tuple(sorted(named))
