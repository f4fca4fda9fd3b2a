"""Joins: who may join a group, as whom, and what that sets off."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from dohle.groups.classic.commands import Join, Joined, NotJoined, Protocols
from dohle.groups.classic.group import ClassicGroup, ClassicMember, State
from dohle.groups.classic.phases import NEW_MEMBER_JOIN_S, Phases, joined
from dohle.groups.classic.turn import Turn
from dohle.groups.group import CONSUMER_PROTOCOL
from dohle.groups.outcome import NOTHING, Moment, Outcome, Ticket
from dohle.groups.rebalances import Cause
from dohle.groups.state import ShardState
from dohle.groups.subscription import decode_subscription
from dohle.model.errors import DohleError, UnknownServerError
from dohle.model.group_errors import (
    FencedInstanceId,
    GroupMaxSizeReached,
    InconsistentGroupProtocol,
    MemberIdRequired,
    RebalanceInProgress,
)
from dohle.model.ids import RandomBytes, new_id


class Joins:
    """Joins to groups that are there, or about to be."""

    def __init__(self, state: ShardState, phases: Phases) -> None:
        self._state = state
        self._phases = phases

    def join(self, group: ClassicGroup, join: Join, ticket: Ticket, turn: Turn) -> None:
        """Answers the join, or lets it wait for the others."""
        if not self._has_room(group, join.member_id):
            self._phases.remove(group, join.member_id, turn)
            turn.reply(ticket, NotJoined(GroupMaxSizeReached(), ""))
        elif not group.supports(join.protocol_type, join.protocols):
            turn.reply(ticket, NotJoined(_inconsistent(group, join), join.member_id))
        elif join.member_id:
            self._join_again(group, join, ticket, turn)
        else:
            self._join_first(group, join, ticket, turn)

    def _has_room(self, group: ClassicGroup, member_id: str) -> bool:
        """Whether `group.max.size` lets it in. While members join, those count that have come: so a group that is too
        large gets rid of the last ones."""
        most = self._state.settings.max_size
        if not most or group.phase is State.EMPTY:
            return True
        if group.phase is State.PREPARING:
            return member_id in group.joining or len(group.joining) < most
        return member_id in group.members or len(group.members) < most

    # who has no id yet

    def _join_first(self, group: ClassicGroup, join: Join, ticket: Ticket, turn: Turn) -> None:
        member_id = f"{join.client_id if join.instance_id is None else join.instance_id}-{_uuid(self._state.random)}"
        owner = None if join.instance_id is None else group.instances.get(join.instance_id)
        if owner is not None:
            self._replace(group, group.members[owner], join, member_id, ticket, turn)
        elif join.instance_id is None and join.needs_member_id:
            self._give_id(group, join, member_id, ticket, turn)
        else:
            self._add(group, join, member_id, ticket, turn)

    def _give_id(self, group: ClassicGroup, join: Join, member_id: str, ticket: Ticket, turn: Turn) -> None:
        variable_bytes = len(member_id)
        if not self._makes_room(variable_bytes, turn):
            turn.reply(ticket, NotJoined(_too_many(), ""))
            return
        self._phases.newcomers.come((group.group_id, member_id), variable_bytes, is_pending=True)
        self._phases.awaits(group, member_id, join.session_timeout_ms, turn.moment)
        turn.reply(ticket, NotJoined(MemberIdRequired(), member_id))

    def _makes_room(self, variable_bytes: int, turn: Turn) -> bool:
        """Takes back ids that nobody has come with, the oldest first, until there is room for one more newcomer."""
        while (oldest := self._phases.newcomers.makes_room(variable_bytes)) is not None:
            group_id, member_id = oldest
            group = self._state.groups[group_id]
            assert isinstance(group, ClassicGroup), "newcomers are of classic groups"
            self._phases.give_id_up(group, member_id, turn)
        return self._phases.newcomers.fits(variable_bytes)

    def _add(self, group: ClassicGroup, join: Join, member_id: str, ticket: Ticket, turn: Turn) -> None:
        variable_bytes = (
            len(member_id) + len(join.client_id) + sum(len(name) + len(data) for name, data in join.protocols)
        )
        self._phases.newcomers.settle((group.group_id, member_id))
        if not self._makes_room(variable_bytes, turn):
            self._phases.remove(group, member_id, turn)
            turn.reply(ticket, NotJoined(_too_many(), ""))
            return
        self._phases.newcomers.come((group.group_id, member_id), variable_bytes, is_pending=False)
        member = ClassicMember(
            member_id=member_id,
            instance_id=join.instance_id,
            client_id=join.client_id,
            client_host=join.client_host,
            protocols=join.protocols,
            session_timeout_ms=join.session_timeout_ms,
            rebalance_timeout_ms=join.rebalance_timeout_ms,
            is_new=True,
        )
        group.has_grown |= group.phase is State.PREPARING and group.is_initial
        group.add(member, join.protocol_type)
        self._phases.lives(group, member, turn.moment.now_s, NEW_MEMBER_JOIN_S)
        self._wait(group, member, ticket, turn, Cause.JOINED, join.reason)

    # who has one

    def _join_again(self, group: ClassicGroup, join: Join, ticket: Ticket, turn: Turn) -> None:
        if join.member_id in group.pending:
            if join.instance_id is None:
                self._add(group, join, join.member_id, ticket, turn)
            else:
                error = UnknownServerError(
                    f"{join.member_id} was given to a member that is not static: join without an id"
                )
                turn.reply(ticket, NotJoined(error, join.member_id))
            return
        try:
            group.check_member(join.member_id, join.instance_id)
        except DohleError as error:
            turn.reply(ticket, NotJoined(error, join.member_id))
            return
        member = group.members[join.member_id]
        leads = group.leader == member.member_id
        is_same = member.protocols == join.protocols
        if (group.phase is State.COMPLETING and is_same) or (group.phase is State.STABLE and is_same and not leads):
            # it has not heard of this generation: a leader is needed that asks for another
            turn.reply(ticket, joined(group, member.member_id))
            return
        cause = _cause_of(group, member, join.protocols)
        group.change(member, join.protocols, join.session_timeout_ms, join.rebalance_timeout_ms)
        self._wait(group, member, ticket, turn, cause, join.reason)

    def _wait(
        self, group: ClassicGroup, member: ClassicMember, ticket: Ticket, turn: Turn, cause: Cause, reason: str
    ) -> None:
        self._takes_place(group, member, ticket, turn)
        self._phases.rebalance(group, turn, cause, member, reason)
        member.seen_s = turn.moment.now_s

    def _takes_place(self, group: ClassicGroup, member: ClassicMember, ticket: Ticket, turn: Turn) -> None:
        """Lets the member wait with this ticket; an earlier one of its own is answered."""
        if (earlier := group.joining.get(member.member_id)) is not None:
            error = RebalanceInProgress(f"{member.member_id} has asked again to join group {group.group_id}")
            turn.reply(earlier, NotJoined(error, member.member_id))
        group.joining[member.member_id] = ticket

    # static members that come back without their id

    def _replace(
        self, group: ClassicGroup, old: ClassicMember, join: Join, member_id: str, ticket: Ticket, turn: Turn
    ) -> None:
        """The newer one is the static member, and the older one is fenced (KIP-345). A stable group stays so."""
        led = group.leader
        new = replace(
            old,
            member_id=member_id,
            protocols=join.protocols,
            session_timeout_ms=join.session_timeout_ms,
            rebalance_timeout_ms=join.rebalance_timeout_ms,
            is_new=False,
            seen_s=turn.moment.now_s,
        )
        self._fence(group, old, turn)
        self._phases.swap(group, old, new, turn.moment.now_s)
        group.joining[member_id] = ticket
        if group.phase is State.STABLE and group.select_protocol() == group.protocol:
            answer = joined(group, member_id)
            if join.can_skip_assignment:
                answer = replace(answer, skip_assignment=group.leader == member_id)
            else:  # it must not take itself for the leader, whose assignment nobody would ask for
                answer = replace(answer, leader=led or "", members=())
            kept = {one.member_id: one.assignment for one in group.members.values()}
            turn.write(group.record(kept), then=partial(self._replaced, group, old, new, ticket, answer))
            return
        self._phases.rebalance(group, turn, _cause_of(group, old, join.protocols), new, join.reason)

    def _fence(self, group: ClassicGroup, old: ClassicMember, turn: Turn) -> None:
        fenced = FencedInstanceId(f"another member has come as {old.instance_id} to group {group.group_id}")
        if (ticket := group.joining.get(old.member_id)) is not None:
            turn.reply(ticket, NotJoined(fenced, old.member_id))
        turn.reply(group.syncing.get(old.member_id), fenced)

    def _replaced(
        self,
        group: ClassicGroup,
        old: ClassicMember,
        new: ClassicMember,
        ticket: Ticket,
        answer: Joined,
        error: DohleError | None,
        moment: Moment,
    ) -> Outcome:
        """The new id is written down, or it is not and the old one stands."""
        waits = group.joining.get(new.member_id) == ticket
        if not waits or group.phase is not State.STABLE or group.generation != answer.generation:
            return NOTHING  # a rebalance has begun since, which answers it
        turn = Turn(moment)
        del group.joining[new.member_id]
        if error is None:
            turn.reply(ticket, answer)
        else:
            turn.reply(ticket, NotJoined(error, ""))
            self._phases.swap(group, new, old, moment.now_s)
        return turn.outcome()


def _cause_of(group: ClassicGroup, member: ClassicMember, protocols: Protocols) -> Cause:
    """Returns why a member that joins again wants another assignment: for other topics, or for other reasons."""
    if protocols == member.protocols:
        return Cause.REASSIGNED
    if group.protocol_type != CONSUMER_PROTOCOL:
        return Cause.SUBSCRIPTION_CHANGED
    try:  # a cooperative member brings what it has, which is another thing each time
        topics = [sorted(decode_subscription(brought[0][1]).topics) for brought in (member.protocols, protocols)]
    except ValueError:
        return Cause.SUBSCRIPTION_CHANGED
    return Cause.REASSIGNED if topics[0] == topics[1] else Cause.SUBSCRIPTION_CHANGED


def _inconsistent(group: ClassicGroup, join: Join) -> InconsistentGroupProtocol:
    offered = ", ".join(name for name, _ in join.protocols) or "nothing"
    return InconsistentGroupProtocol(
        f"the members of group {group.group_id} ({group.protocol_type or 'no type'}) have no protocol in common with"
        f" {offered} ({join.protocol_type or 'no type'}): give all of them one that all support"
    )


def _too_many() -> GroupMaxSizeReached:
    return GroupMaxSizeReached("too many members have joined groups here and not gone on: try again later")


def _uuid(random: RandomBytes) -> str:
    text = new_id(random).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
