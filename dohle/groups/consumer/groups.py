"""ConsumerGroups: the KIP-848 groups of one shard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from dohle.groups.classic.group import ClassicGroup
from dohle.groups.classic.groups import ClassicGroups
from dohle.groups.consumer.classic_members import ClassicMembers
from dohle.groups.consumer.commands import (
    JOINING_EPOCH,
    LEAVING_EPOCH,
    STATIC_LEAVING_EPOCH,
    ConsumerDescribe,
    ConsumerGroupDescription,
    ConsumerHeartbeat,
    ConsumerMemberDescription,
    HeartbeatAnswer,
)
from dohle.groups.consumer.conversion import upgraded
from dohle.groups.consumer.group import ConsumerGroup, Member
from dohle.groups.consumer.membership import Memberships
from dohle.groups.consumer.progress import Progress
from dohle.groups.consumer.reconciliation import NEW_MEMBER, UNREVOKED, holds_all, partitions_of
from dohle.groups.consumer.targets import preferred_assignor
from dohle.groups.consumer.update import NOBODY, MemberUpdate
from dohle.groups.group import CONSUMER_PROTOCOL
from dohle.groups.outcome import Moment, Outcome, Reply, Ticket
from dohle.groups.rebalances import Cause
from dohle.groups.records import (
    ClassicGroupRecord,
    CurrentRecord,
    GroupEpochRecord,
    GroupRecord,
    MemberRecord,
    MemberSubscription,
    RegexRecord,
    TargetEpochRecord,
    TargetRecord,
)
from dohle.groups.state import ShardState
from dohle.model.error_tree import DohleError
from dohle.model.errors import InvalidRequest
from dohle.model.group_errors import (
    FencedMemberEpoch,
    GroupIdNotFound,
    UnreleasedInstanceId,
    UnsupportedAssignor,
)
from dohle.model.ids import id_text, new_id

T = TypeVar("T")


class ConsumerGroups:
    """Implements `Part`. Sessions, waiting and targets under way are this coordinator's own; all else is in records."""

    applies: tuple[type[GroupRecord], ...] = (
        GroupEpochRecord,
        MemberRecord,
        TargetEpochRecord,
        TargetRecord,
        CurrentRecord,
        RegexRecord,
    )

    def __init__(self, state: ShardState, classic: ClassicGroups) -> None:
        self._state = state
        self._classic = classic
        self._memberships = Memberships(state, classic)
        self._progress = Progress(state, self._memberships)
        self._known: dict[str, ConsumerGroup] = {}
        """Those too of which only a part of the records has been seen."""
        classic.in_consumer_groups = ClassicMembers(state, self._memberships, self._progress)

    # `Part`

    def apply(self, record: GroupRecord) -> None:
        group_id = record.group_id
        group = self._known.get(group_id)
        if group is None:
            group = self._known[group_id] = ConsumerGroup(group_id)
        existed = group.exists
        group.apply(record)
        if group.exists:
            self._state.groups[group_id] = group
        elif existed and self._state.groups.get(group_id) is group:
            del self._state.groups[group_id]
            self._state.rebalances.forget(group_id)
        if group.is_blank:
            del self._known[group_id]

    def begin(self, moment: Moment) -> Iterable[Outcome]:
        self._progress.regexes.topics_offset = self._state.image.next_offset
        for group in self._groups():
            group.has_checked_topics = False
            for member in group.members():
                self._memberships.renew_session(group.group_id, member, moment)
                if member.current.state == UNREVOKED and not member.is_classic:
                    self._memberships.limit_revocation(group.group_id, member, moment)
        return ()

    def topics_changed(self, moment: Moment) -> Iterable[Outcome]:
        """Groups look at the topics when the next of their members comes."""
        self._progress.regexes.topics_offset = self._state.image.next_offset
        for group in self._groups():
            group.has_checked_topics = False
        return ()

    def _groups(self) -> list[ConsumerGroup]:
        return [self._known[group_id] for group_id in sorted(self._known) if self._known[group_id].exists]

    # commands

    def heartbeat(self, request: ConsumerHeartbeat, ticket: Ticket, moment: Moment) -> Outcome:
        """Returns at once, with what the member is to have by now."""
        try:
            self._check(request)
            if request.member_epoch in (LEAVING_EPOCH, STATIC_LEAVING_EPOCH):
                return self._leave(request, ticket, moment)
            return self._beat(request, ticket, moment)
        except DohleError as error:
            return Outcome(replies={ticket: error})

    def describe(self, request: ConsumerDescribe, ticket: Ticket) -> Outcome:
        try:
            group = self._memberships.existing(request.group_id)
        except GroupIdNotFound as error:
            return Outcome(replies={ticket: error})
        description = ConsumerGroupDescription(
            group_id=group.group_id,
            state=group.state,
            epoch=group.epoch.epoch,
            target_epoch=group.target_epoch,
            assignor=preferred_assignor(group.subscriptions.values(), self._state.settings),
            members=tuple(_described(group, member) for member in group.members()),
        )
        return Outcome(replies={ticket: description})

    # a heartbeat

    def _check(self, request: ConsumerHeartbeat) -> None:
        for name, text in (("group", request.group_id), ("instance", request.instance_id), ("rack", request.rack)):
            if text == "":
                raise InvalidRequest(f"the {name} id is empty: leave it out, or give one")
        epoch = request.member_epoch
        if epoch < STATIC_LEAVING_EPOCH:
            raise InvalidRequest(f"member epoch {epoch} is below {STATIC_LEAVING_EPOCH}")
        if epoch != JOINING_EPOCH and not request.member_id:
            raise InvalidRequest("the member id is empty: give the one that the member joined with")
        if epoch == STATIC_LEAVING_EPOCH and request.instance_id is None:
            raise InvalidRequest(f"only a static member leaves with epoch {STATIC_LEAVING_EPOCH}: give its instance id")
        if epoch == JOINING_EPOCH:
            if request.rebalance_timeout_ms == -1:
                raise InvalidRequest("a member that joins has to give a rebalance time-out")
            if request.owned != ():
                raise InvalidRequest("a member that joins has no partitions: give an empty list of them")
            if request.topics is None and request.regex is None:
                raise InvalidRequest("a member that joins has to give topics or a regular expression")
        known = self._state.settings.consumer_assignors
        if request.assignor is not None and request.assignor not in known:
            raise UnsupportedAssignor(f"there is no assignor {request.assignor!r}: ask for one of {', '.join(known)}")

    def _beat(self, request: ConsumerHeartbeat, ticket: Ticket, moment: Moment) -> Outcome:
        group, first = self._group_to_join(request.group_id, moment, joins=request.member_epoch == JOINING_EPOCH)
        self._memberships.check_size(group, request.member_id)
        member_id = request.member_id or id_text(new_id(self._state.random))
        member, replaced = _member_of(group, request, member_id)
        update = MemberUpdate(self._state, self._progress.regexes, group, member, moment)
        if replaced is not None:
            update.take_place_of(replaced)
        had = partitions_of(update.member.current.assigned)
        self._progress.subscribe(update, _updated(update.member.subscription, request), moment)
        self._progress.advance(update, request.owned, moment)
        self._memberships.renew_session(group.group_id, update.member, moment)
        has = partitions_of(update.member.current.assigned)
        is_told = request.member_epoch == JOINING_EPOCH or request.tells_all or has != had
        answer = HeartbeatAnswer(
            member_id, update.member.epoch, self._progress.interval_ms(update), has if is_told else None
        )
        replies: dict[Ticket, Reply] = {ticket: answer}
        if first:
            replies.update(self._begin_for(group, moment))
        return self._memberships.outcome(group.group_id, (*first, *update.records), replies)

    # joining and leaving

    def _group_to_join(
        self, group_id: str, moment: Moment, *, joins: bool
    ) -> tuple[ConsumerGroup, Sequence[GroupRecord]]:
        """Returns the group, and what is to be written first where it is not yet one of this kind."""
        group = self._state.groups.get(group_id)
        if isinstance(group, ConsumerGroup) or not joins:
            return self._memberships.existing(group_id), ()
        if group is None:
            return ConsumerGroup(group_id), ()
        if group.state == "Empty":
            return ConsumerGroup(group_id), tuple(group.tombstones())
        assert isinstance(group, ClassicGroup), "there are two kinds of groups"
        self._check_upgrade(group)
        records = upgraded(group, self._state.image, moment.wall_ms)
        upgrade = ConsumerGroup(group_id)
        for record in records:
            if not isinstance(record, ClassicGroupRecord):
                upgrade.apply(record)
        return upgrade, records

    def _check_upgrade(self, group: ClassicGroup) -> None:
        settings, cannot = (
            self._state.settings,
            f"classic group {group.group_id} cannot become one of the consumer protocol",
        )
        if settings.consumer_migration_policy not in ("bidirectional", "upgrade"):
            raise GroupIdNotFound(f"{cannot}: group.consumer.migration.policy is {settings.consumer_migration_policy}")
        if group.protocol_type != CONSUMER_PROTOCOL:
            raise GroupIdNotFound(f"{cannot}: its members are no consumers")
        if len(group.members) > settings.consumer_max_size:
            raise GroupIdNotFound(
                f"{cannot}: it has {len(group.members)} members, and may have {settings.consumer_max_size}"
            )

    def _begin_for(self, group: ConsumerGroup, moment: Moment) -> Mapping[Ticket, Reply]:
        """Counts the sessions of a group that was a classic one; returns what those are told who wait in it."""
        for member in group.members():
            self._memberships.renew_session(group.group_id, member, moment)
        return self._classic.give_up(group.group_id, moment)

    def _leave(self, request: ConsumerHeartbeat, ticket: Ticket, moment: Moment) -> Outcome:
        group = self._memberships.existing(request.group_id)
        if request.instance_id is None:
            member = group.known_member(request.member_id)
        else:
            member = group.known_static_member(request.instance_id, request.member_id)
        answer = HeartbeatAnswer(request.member_id, request.member_epoch)
        if request.instance_id is not None and request.member_epoch == STATIC_LEAVING_EPOCH:
            current = replace(member.current, epoch=STATIC_LEAVING_EPOCH, pending_revocation=())
            record = CurrentRecord(group.group_id, member.member_id, current)
            return self._memberships.outcome(group.group_id, (record,), {ticket: answer})
        return self._memberships.fence(group, (member,), Cause.LEFT, moment, {ticket: answer})


def _member_of(group: ConsumerGroup, request: ConsumerHeartbeat, member_id: str) -> tuple[Member, Member | None]:
    """Returns the member as it is, or as one that has just come, and the static one whose place it takes.

    Raises UnknownMember, FencedInstanceId, FencedMemberEpoch, UnreleasedInstanceId.
    """
    new = Member(member_id, NOBODY, NEW_MEMBER)
    joins = request.member_epoch == JOINING_EPOCH
    if request.instance_id is None:
        member = group.member(member_id) if joins else group.known_member(member_id)
    elif not joins:
        member = group.known_static_member(request.instance_id, member_id)
    else:
        static = group.static_member(request.instance_id)
        if static is not None and not static.is_classic and static.epoch != STATIC_LEAVING_EPOCH:
            raise UnreleasedInstanceId(
                f"instance id {request.instance_id} is in use by member {static.member_id}, which has not left"
            )
        if static is not None:
            return new, static
        member = group.member(member_id)
    if member is None:
        return new, None
    _check_epoch(member, request)
    return member, None


def _check_epoch(member: Member, request: ConsumerHeartbeat) -> None:
    """Takes the epoch before this one, too, from a member that has nothing but what it was given: it may not have got
    the answer that told it of the new one."""
    epoch = request.member_epoch
    if epoch in (JOINING_EPOCH, member.epoch):
        return
    is_one_behind = epoch < member.epoch and epoch == member.current.previous_epoch
    if is_one_behind and holds_all(member.current.assigned, request.owned):
        return
    raise FencedMemberEpoch(
        f"member epoch {epoch} is not {member.epoch}, the one of member {member.member_id}: it has to give all its "
        "partitions up, and join again"
    )


def _updated(before: MemberSubscription, request: ConsumerHeartbeat) -> MemberSubscription:
    def or_before(value: T | None, old: T) -> T:
        return old if value is None else value

    return MemberSubscription(
        instance_id=or_before(request.instance_id, before.instance_id),
        rack=or_before(request.rack, before.rack),
        client_id=request.client_id,
        client_host=request.client_host,
        topics=before.topics if request.topics is None else tuple(sorted(set(request.topics))),
        regex=before.regex if request.regex is None else request.regex or None,
        rebalance_timeout_ms=(
            before.rebalance_timeout_ms if request.rebalance_timeout_ms == -1 else request.rebalance_timeout_ms
        ),
        assignor=or_before(request.assignor, before.assignor),
    )


def _described(group: ConsumerGroup, member: Member) -> ConsumerMemberDescription:
    subscription = member.subscription
    return ConsumerMemberDescription(
        member_id=member.member_id,
        instance_id=subscription.instance_id,
        rack=subscription.rack,
        epoch=member.epoch,
        client_id=subscription.client_id,
        client_host=subscription.client_host,
        topics=subscription.topics,
        regex=subscription.regex,
        assignment=partitions_of(member.current.assigned),
        target=group.targets.get(member.member_id, ()),
        is_classic=member.is_classic,
    )
