"""ClassicGroups: the classic groups of one shard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Final, Protocol

from dohle.groups.classic.commands import (
    NO_MEMBER,
    Describe,
    DescribedMember,
    Description,
    Heartbeat,
    Join,
    Leave,
    Leaver,
    NotJoined,
    Sync,
    Synced,
)
from dohle.groups.classic.group import ClassicGroup, ClassicMember, State
from dohle.groups.classic.joins import Joins
from dohle.groups.classic.phases import Phases
from dohle.groups.classic.turn import Turn
from dohle.groups.group import CONSUMER, Group
from dohle.groups.outcome import NOTHING, Moment, Outcome, Reply, Ticket
from dohle.groups.rebalances import Cause, Rebalance, Who
from dohle.groups.records import ClassicGroupRecord, GroupRecord
from dohle.groups.state import ShardState
from dohle.model.errors import DohleError
from dohle.model.group_errors import (
    GroupIdNotFound,
    InconsistentGroupProtocol,
    InvalidSessionTimeout,
    RebalanceInProgress,
    UnknownMember,
)

_POLL_TIMED_OUT: Final = "poll timeout"
"""What clients say that leave because their poll took too long."""


class ClassicMembers(Protocol):
    """What answers members of the classic protocol in KIP-848 groups."""

    def join(self, join: Join, ticket: Ticket, moment: Moment) -> Outcome: ...

    def sync(self, sync: Sync, ticket: Ticket, moment: Moment) -> Outcome: ...

    def heartbeat(self, heartbeat: Heartbeat, ticket: Ticket, moment: Moment) -> Outcome: ...

    def leave(self, leave: Leave, ticket: Ticket, moment: Moment) -> Outcome: ...


class ClassicGroups:
    """A part of a shard. `in_consumer_groups` is asked about members of groups that are KIP-848 ones and not empty."""

    applies: tuple[type[GroupRecord], ...] = (ClassicGroupRecord,)

    def __init__(self, state: ShardState) -> None:
        self.in_consumer_groups: ClassicMembers | None = None
        self._state = state
        self._phases = Phases(state)
        self._joins = Joins(state, self._phases)
        self._begun = False
        self._new: dict[str, ClassicGroup] = {}
        """Groups that are about to be written for the first time."""

    # as a part

    def apply(self, record: GroupRecord) -> None:
        """While coordinating, a group's record only repeats what it is, unless it makes or ends one."""
        assert isinstance(record, ClassicGroupRecord)
        known = self._state.groups.get(record.group_id)
        if record.value is None:
            if isinstance(known, ClassicGroup):
                del self._state.groups[record.group_id]
                self._phases.forget(known)
        elif (new := self._new.pop(record.group_id, None)) is not None:
            self._state.groups[record.group_id] = new
        elif not self._begun or not isinstance(known, ClassicGroup):
            self._state.groups[record.group_id] = ClassicGroup.of_record(record.group_id, record.value)

    def begin(self, moment: Moment) -> Iterator[Outcome]:
        self._begun = True
        most = self._state.settings.max_size
        for group in [*self._state.groups.values()]:
            if isinstance(group, ClassicGroup):
                self._phases.begin(group, moment.now_s)
                if most and len(group.members) > most:
                    turn = Turn(moment)
                    detail = f"{len(group.members)} members are more than group.max.size ({most})"
                    self._phases.prepare(group, turn, Cause.COORDINATOR, None, detail)
                    yield turn.outcome()

    def topics_changed(self, moment: Moment) -> Iterable[Outcome]:
        return ()  # its members watch their topics themselves

    # commands

    def join(self, join: Join, ticket: Ticket, moment: Moment) -> Outcome:
        turn = Turn(moment)
        least, most = self._state.settings.min_session_timeout_ms, self._state.settings.max_session_timeout_ms
        if not least <= join.session_timeout_ms <= most:
            error = InvalidSessionTimeout(
                f"session.timeout.ms is {join.session_timeout_ms}: set it to {least} (group.min.session.timeout.ms) to"
                f" {most} (group.max.session.timeout.ms)"
            )
            turn.reply(ticket, NotJoined(error, join.member_id))
            return turn.outcome()
        group = self._state.groups.get(join.group_id)
        if isinstance(group, ClassicGroup):
            self._joins.join(group, join, ticket, turn)
        elif group is not None and group.empty_since_ms is None:
            return self._join_consumer_group(join, ticket, turn)
        elif join.member_id == NO_MEMBER:
            self._join_new_group(group, join, ticket, turn)
        else:
            turn.reply(ticket, NotJoined(_no_group(join.group_id), join.member_id))
        return turn.outcome()

    def _join_consumer_group(self, join: Join, ticket: Ticket, turn: Turn) -> Outcome:
        if self.in_consumer_groups is not None:
            return self.in_consumer_groups.join(join, ticket, turn.moment)
        error = InconsistentGroupProtocol(f"group {join.group_id} has members of group.protocol=consumer")
        turn.reply(ticket, NotJoined(error, NO_MEMBER))
        return turn.outcome()

    def _join_new_group(self, former: Group | None, join: Join, ticket: Ticket, turn: Turn) -> None:
        """Makes a group, which takes the place of an empty KIP-848 one."""
        group = ClassicGroup(join.group_id, turn.moment.wall_ms)
        empty = group.record({})
        self._joins.join(group, join, ticket, turn)
        if group.members or group.pending:
            self._new[join.group_id] = group
            turn.write(*(() if former is None else former.tombstones()), empty, then=partial(self._made, group))

    def _made(self, group: ClassicGroup, error: DohleError | None, moment: Moment) -> Outcome:
        if self._new.get(group.group_id) is not group:
            return NOTHING
        assert error is not None, "what is committed was applied before"
        del self._new[group.group_id]
        turn = Turn(moment)
        for member_id, ticket in group.joining.items():
            turn.reply(ticket, NotJoined(error, member_id))
        self._phases.forget(group)
        return turn.outcome()

    def sync(self, sync: Sync, ticket: Ticket, moment: Moment) -> Outcome:
        group = self._state.groups.get(sync.group_id)
        if not isinstance(group, ClassicGroup):
            others = self._consumer_groups(group)
            return _refused(ticket, _no_group(sync.group_id)) if others is None else others.sync(sync, ticket, moment)
        try:
            group.check_generation(sync.member_id, sync.instance_id, sync.generation)
            _check_protocol(group, sync)
            if group.phase is State.PREPARING:
                raise RebalanceInProgress(f"group {group.group_id} rebalances: join again")
        except DohleError as error:
            return _refused(ticket, error)
        turn = Turn(moment)
        member = group.members[sync.member_id]
        self._phases.synced(group, member, moment.now_s)
        if group.phase is State.STABLE:
            turn.reply(ticket, Synced(group.protocol_type, group.protocol, member.assignment))
            return turn.outcome()
        turn.reply(group.syncing.get(sync.member_id), RebalanceInProgress(f"{sync.member_id} has asked again"))
        group.syncing[sync.member_id] = ticket
        if sync.member_id == group.leader:
            assignments = dict(sync.assignments)
            turn.write(group.record(assignments), then=partial(self._assigned, group, sync.generation, assignments))
        return turn.outcome()

    def _assigned(
        self,
        group: ClassicGroup,
        generation: int,
        assignments: dict[str, bytes],
        error: DohleError | None,
        moment: Moment,
    ) -> Outcome:
        """The leader's assignment is committed, or it is not; unless the group has gone on since."""
        if group.phase is not State.COMPLETING or group.generation != generation or self._is_gone(group):
            return NOTHING
        turn = Turn(moment)
        if error is None:
            self._phases.assign(group, assignments, turn)
        else:
            self._phases.withdraw(group, turn, error)
            detail = f"the assignment could not be written: {error.message}"
            self._phases.prepare(group, turn, Cause.COORDINATOR, None, detail)
        return turn.outcome()

    def heartbeat(self, heartbeat: Heartbeat, ticket: Ticket, moment: Moment) -> Outcome:
        group = self._state.groups.get(heartbeat.group_id)
        if not isinstance(group, ClassicGroup):
            others = self._consumer_groups(group)
            if others is not None:
                return others.heartbeat(heartbeat, ticket, moment)
            return _refused(ticket, _no_group(heartbeat.group_id))
        try:
            group.check_generation(heartbeat.member_id, heartbeat.instance_id, heartbeat.generation)
        except DohleError as error:
            return _refused(ticket, error)
        self._phases.lives(group, group.members[heartbeat.member_id], moment.now_s)
        if group.phase is State.PREPARING:
            return _refused(ticket, RebalanceInProgress(f"group {group.group_id} rebalances: join again"))
        return Outcome(replies={ticket: None})

    def leave(self, leave: Leave, ticket: Ticket, moment: Moment) -> Outcome:
        group = self._state.groups.get(leave.group_id)
        turn = Turn(moment)
        if not isinstance(group, ClassicGroup):
            others = self._consumer_groups(group)
            if others is not None:
                return others.leave(leave, ticket, moment)
            turn.reply(ticket, (_no_group(leave.group_id),) * len(leave.leavers))
            return turn.outcome()
        gone: list[tuple[Leaver, ClassicMember | None]] = []
        errors: list[DohleError | None] = []
        for leaver in leave.leavers:
            try:
                gone.append((leaver, self._leaves(group, leaver, turn)))
                errors.append(None)
            except DohleError as error:
                errors.append(error)
        turn.reply(ticket, tuple(errors))
        if gone and group.phase is not State.EMPTY:
            leaver, member = gone[0]
            cause = Cause.POLL_TIMED_OUT if _POLL_TIMED_OUT in leaver.reason else Cause.LEFT
            self._phases.rebalance(group, turn, cause, member, leaver.reason)
        return turn.outcome()

    def _leaves(self, group: ClassicGroup, leaver: Leaver, turn: Turn) -> ClassicMember | None:
        """Removes who leaves; None: it was only given its id. Raises UnknownMember or FencedInstanceId."""
        member_id = leaver.member_id
        if member_id == NO_MEMBER and leaver.instance_id is not None:
            member_id = group.instances.get(leaver.instance_id, NO_MEMBER)
        if member_id not in group.pending:
            group.check_member(member_id, leaver.instance_id)
        member = group.members.get(member_id)
        self._phases.remove(group, member_id, turn)
        return member

    def describe(self, describe: Describe, ticket: Ticket) -> Outcome:
        group = self._state.groups.get(describe.group_id)
        if group is None and self._state.group(describe.group_id) is not None:
            return Outcome(replies={ticket: Description(describe.group_id, State.EMPTY.value, "", "", ())})
        if not isinstance(group, ClassicGroup):
            return _refused(ticket, GroupIdNotFound(_not_classic(describe.group_id, group)))
        protocol = group.protocol if group.phase is State.STABLE else None
        members = tuple(
            DescribedMember(
                member.member_id,
                member.instance_id,
                member.client_id,
                member.client_host,
                member.metadata(protocol),
                member.assignment,
            )
            for member in group.members.values()
        )
        description = Description(group.group_id, group.state, group.protocol_type, protocol or "", members)
        return Outcome(replies={ticket: description})

    # groups that change their kind

    def give_up(self, group_id: str, moment: Moment) -> Mapping[Ticket, Reply]:
        """Returns what all are answered who wait in a group that is about to become a KIP-848 one."""
        group = self._state.groups[group_id]
        assert isinstance(group, ClassicGroup)
        turn = Turn(moment)
        self._phases.give_up(group, turn)
        return turn.replies

    def take_over(self, group_id: str, moment: Moment, cause: Cause, who: Who | None, detail: str = "") -> Outcome:
        """Begins to coordinate a group whose first classic record was just applied, made out of a KIP-848 one: its
        members have to join."""
        group = self._state.groups[group_id]
        assert isinstance(group, ClassicGroup)
        turn = Turn(moment)
        self._state.rebalances.begin(Rebalance(group_id, cause, who, moment.wall_ms, detail))
        self._phases.begin(group, moment.now_s)
        if group.can_prepare:  # a member that came already has begun it
            self._phases.prepare(group, turn, cause, None)
        return turn.outcome()

    def _consumer_groups(self, group: Group | None) -> ClassicMembers | None:
        return self.in_consumer_groups if group is not None and group.kind == CONSUMER else None

    def _is_gone(self, group: ClassicGroup) -> bool:
        return self._state.groups.get(group.group_id) is not group


def _check_protocol(group: ClassicGroup, sync: Sync) -> None:
    for said, known in ((sync.protocol_type, group.protocol_type), (sync.protocol, group.protocol)):
        if said is not None and known is not None and said != known:
            raise InconsistentGroupProtocol(f"group {group.group_id} has {known}, not {said}: join again")


def _not_classic(group_id: str, group: Group | None) -> str:
    return f"Group {group_id} not found." if group is None else f"Group {group_id} is not a classic group."


def _no_group(group_id: str) -> UnknownMember:
    return UnknownMember(f"there is no group {group_id}: join it without a member id")


def _refused(ticket: Ticket, error: DohleError) -> Outcome:
    return Outcome(replies={ticket: error})
