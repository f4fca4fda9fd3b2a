"""Members of the classic protocol in KIP-848 groups: they join, sync and beat as ever, and their generation is their
member epoch. Each follows on its own: nobody waits for the others, and nobody leads."""

from __future__ import annotations

from dohle.groups.classic.commands import Heartbeat, Join, Joined, Leave, Leaver, NotJoined, Sync, Synced
from dohle.groups.consumer.conversion import assignment_bytes, classic_protocols, ids_of
from dohle.groups.consumer.group import ConsumerGroup, Member
from dohle.groups.consumer.membership import JOIN, SYNC, Memberships
from dohle.groups.consumer.progress import Progress
from dohle.groups.consumer.reconciliation import NEW_MEMBER, UNRELEASED, UNREVOKED
from dohle.groups.consumer.update import NOBODY, MemberUpdate
from dohle.groups.group import CONSUMER_PROTOCOL
from dohle.groups.outcome import NOTHING, Moment, Outcome, Ticket
from dohle.groups.rebalances import Cause
from dohle.groups.records import ClassicProtocols, MemberSubscription
from dohle.groups.state import ShardState
from dohle.groups.subscription import Subscription, decode_subscription
from dohle.model.errors import DohleError
from dohle.model.group_errors import (
    IllegalGeneration,
    InconsistentGroupProtocol,
    MemberIdRequired,
    RebalanceInProgress,
    UnknownMember,
)
from dohle.model.ids import id_text, new_id


class ClassicMembers:
    """What `ClassicGroups` leaves to KIP-848 groups."""

    def __init__(self, state: ShardState, memberships: Memberships, progress: Progress) -> None:
        self._state = state
        self._memberships = memberships
        self._progress = progress

    def join(self, join: Join, ticket: Ticket, moment: Moment) -> Outcome:
        member_id = join.member_id or id_text(new_id(self._state.random))
        try:
            return self._join(self._memberships.existing(join.group_id), join, member_id, ticket, moment)
        except MemberIdRequired as error:
            return Outcome(replies={ticket: NotJoined(error, member_id)})
        except DohleError as error:
            return Outcome(replies={ticket: NotJoined(error, join.member_id)})

    def _join(self, group: ConsumerGroup, join: Join, member_id: str, ticket: Ticket, moment: Moment) -> Outcome:
        self._memberships.check_size(group, member_id)
        subscription = _checked_subscription(group, join)
        if join.needs_member_id and not join.member_id and join.instance_id is None:
            raise MemberIdRequired(f"join again as {member_id}")
        member, replaced = _member_of(group, join, member_id)
        update = MemberUpdate(self._state, self._progress.regexes, group, member, moment)
        if replaced is not None:
            update.take_place_of(replaced)
        self._progress.subscribe(update, _updated(update.member.subscription, join, subscription), moment)
        owned = ids_of(subscription.owned, self._state.image)
        downgrades = replaced is not None and self._memberships.can_downgrade(group, (replaced,), come=1)
        if downgrades:
            update.reconcile(owned)
        else:
            self._progress.advance(update, owned, moment)
        member = update.member
        joined = Joined(member_id, member.epoch, CONSUMER_PROTOCOL, classic_protocols(member)[0][0], leader="")
        if downgrades:
            assert replaced is not None, "the static member whose place is taken was the last of the other protocol"
            return self._memberships.downgrade(group, (replaced,), member, Cause.JOINED, moment, {ticket: joined})

        def has_joined(error: DohleError | None, now: Moment) -> Outcome:
            if error is None:
                self._memberships.in_time(JOIN, group.group_id, member_id)
                self._memberships.renew_session(group.group_id, member, now)
                self._memberships.limit_sync(group.group_id, member, now)
            return NOTHING

        return self._memberships.outcome(group.group_id, update.records, {ticket: joined}, then=has_joined)

    def sync(self, sync: Sync, ticket: Ticket, moment: Moment) -> Outcome:
        try:
            group = self._memberships.existing(sync.group_id)
            member = _classic_member(group, sync.member_id, sync.instance_id)
            _check_generation(member, sync.generation)
            protocol = classic_protocols(member)[0][0]
            for said, known in ((sync.protocol_type, CONSUMER_PROTOCOL), (sync.protocol, protocol)):
                if said is not None and said != known:
                    raise InconsistentGroupProtocol(f"member {member.member_id} joined with {known}, not {said}")
            if group.epoch.epoch > member.epoch and member.current.state != UNREVOKED:
                self._memberships.limit_join(group.group_id, member, moment)
                raise RebalanceInProgress(f"group {group.group_id} rebalances: join again")
        except DohleError as error:
            return Outcome(replies={ticket: error})

        def has_synced(error: DohleError | None, now: Moment) -> Outcome:
            if error is None:
                self._memberships.in_time(SYNC, group.group_id, member.member_id)
                self._memberships.renew_session(group.group_id, member, now)
            return NOTHING

        synced = Synced(CONSUMER_PROTOCOL, protocol, assignment_bytes(member, self._state.image))
        return Outcome(replies={ticket: synced}, then=has_synced)

    def heartbeat(self, heartbeat: Heartbeat, ticket: Ticket, moment: Moment) -> Outcome:
        try:
            group = self._memberships.existing(heartbeat.group_id)
            member = _classic_member(group, heartbeat.member_id, heartbeat.instance_id)
            _check_generation(member, heartbeat.generation)
            self._memberships.renew_session(group.group_id, member, moment)
            if _has_to_join(group, member):
                self._memberships.limit_join(group.group_id, member, moment)
                raise RebalanceInProgress(f"group {group.group_id} rebalances: join again")
        except DohleError as error:
            return Outcome(replies={ticket: error})
        return Outcome(replies={ticket: None})

    def leave(self, leave: Leave, ticket: Ticket, moment: Moment) -> Outcome:
        try:
            group = self._memberships.existing(leave.group_id)
        except DohleError as error:
            return Outcome(replies={ticket: (error,) * len(leave.leavers)})
        members: dict[str, Member] = {}
        errors: list[DohleError | None] = []
        for leaver in leave.leavers:
            try:
                member = _leaving(group, leaver)
            except DohleError as error:
                errors.append(error)
            else:
                members[member.member_id] = member
                errors.append(None)
        replies = {ticket: tuple(errors)}
        if not members:
            return Outcome(replies=replies)
        return self._memberships.fence(group, tuple(members.values()), Cause.LEFT, moment, replies)


def _checked_subscription(group: ConsumerGroup, join: Join) -> Subscription:
    """Raises InconsistentGroupProtocol for one who brings nothing that all other classic members support."""
    classic = [dict(each.classic.protocols) for each in group.subscriptions.values() if each.classic is not None]
    common = any(all(name in protocols for protocols in classic) for name, _ in join.protocols)
    if join.protocol_type != CONSUMER_PROTOCOL or not common:
        raise InconsistentGroupProtocol(f"no protocol that is offered is one of all members of group {group.group_id}")
    try:
        return decode_subscription(join.protocols[0][1])
    except ValueError as error:
        raise InconsistentGroupProtocol(f"what is offered is no consumer's subscription: {error}") from error


def _member_of(group: ConsumerGroup, join: Join, member_id: str) -> tuple[Member, Member | None]:
    """Returns the member as it is, or as one that has just come, and the static one whose place it takes."""
    if join.instance_id is None:
        return group.member(member_id) or Member(member_id, NOBODY, NEW_MEMBER), None
    if join.member_id:
        return group.known_static_member(join.instance_id, member_id), None
    return Member(member_id, NOBODY, NEW_MEMBER), group.static_member(join.instance_id)


def _updated(before: MemberSubscription, join: Join, subscription: Subscription) -> MemberSubscription:
    return MemberSubscription(
        instance_id=join.instance_id if join.instance_id is not None else before.instance_id,
        rack=subscription.rack or before.rack,
        client_id=join.client_id,
        client_host=join.client_host,
        topics=tuple(sorted(set(subscription.topics))),
        regex=None,
        rebalance_timeout_ms=join.rebalance_timeout_ms if join.rebalance_timeout_ms >= 0 else join.session_timeout_ms,
        assignor=before.assignor,
        classic=ClassicProtocols(join.session_timeout_ms, join.protocols),
    )


def _has_to_join(group: ConsumerGroup, member: Member) -> bool:
    """Whether the group has gone on, or the member has to give something up, or what it waits for is free."""
    state = member.current.state
    is_free = state == UNRELEASED and not group.is_waiting(member)
    return member.epoch < group.epoch.epoch or state == UNREVOKED or is_free


def _check_generation(member: Member, generation: int) -> None:
    if generation != member.epoch:
        raise IllegalGeneration(f"generation {generation} is not {member.epoch}, the one of member {member.member_id}")


def _classic_member(group: ConsumerGroup, member_id: str, instance_id: str | None) -> Member:
    member = group.known_member(member_id) if instance_id is None else group.known_static_member(instance_id, member_id)
    if not member.is_classic:
        raise UnknownMember(f"member {member_id} is not of the classic protocol")
    return member


def _leaving(group: ConsumerGroup, leaver: Leaver) -> Member:
    member_id = leaver.member_id
    if leaver.instance_id is not None and not member_id:
        member_id = group.static_members.get(leaver.instance_id, "")
    return _classic_member(group, member_id, leaver.instance_id)
