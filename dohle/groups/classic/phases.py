"""Phases: how groups get from one generation to the next, who is waited for, and for how long."""

from __future__ import annotations

from functools import partial
from typing import Final

from dohle.groups.classic.commands import Joined, NotJoined, Synced
from dohle.groups.classic.group import ClassicGroup, ClassicMember, State
from dohle.groups.classic.newcomers import Newcomers
from dohle.groups.classic.turn import Turn
from dohle.groups.outcome import Moment, Outcome
from dohle.groups.rebalances import Cause, Rebalance
from dohle.groups.state import ShardState
from dohle.model.errors import DohleError
from dohle.model.group_errors import RebalanceInProgress, UnknownMember

NEW_MEMBER_JOIN_S: Final = 300.0
"""A member that never was told its id cannot show that it lives: this long it is waited for."""


class Phases:
    """The groups of `state`, and their timers: a session's for each member, one for joining, one for syncing."""

    def __init__(self, state: ShardState) -> None:
        self.newcomers = Newcomers()
        self._state = state

    # sessions

    def lives(self, group: ClassicGroup, member: ClassicMember, now_s: float, for_s: float | None = None) -> None:
        """The member's session counts anew from now; `for_s`: for another time than its own."""
        member.expires_s = now_s + (member.session_timeout_ms / 1000 if for_s is None else for_s)
        if member.checked_s is None or member.expires_s < member.checked_s:
            self._look_at(group, member)

    def _look_at(self, group: ClassicGroup, member: ClassicMember) -> None:
        member.checked_s = member.expires_s
        action = partial(self._session_over, group, member.member_id)
        self._state.timers.set(_session(group, member.member_id), member.expires_s, action)

    def awaits(self, group: ClassicGroup, member_id: str, session_ms: int, moment: Moment) -> None:
        """Somebody was given an id, and has the time of a session to come with it."""
        group.pending[member_id] = None
        action = partial(self._session_over, group, member_id)
        self._state.timers.set(_session(group, member_id), moment.now_s + session_ms / 1000, action)

    def _session_over(self, group: ClassicGroup, member_id: str, moment: Moment) -> Outcome:
        turn = Turn(moment)
        if member_id in group.pending:
            self.give_id_up(group, member_id, turn)
            return turn.outcome()
        member = group.members[member_id]
        member.checked_s = None
        if moment.now_s < member.expires_s:
            self._look_at(group, member)
        elif member.is_new or not (member_id in group.joining or member_id in group.syncing):
            self.remove(group, member_id, turn)
            if group.phase in (State.STABLE, State.COMPLETING):
                self.prepare(group, turn, Cause.SESSION_TIMED_OUT, member)
            else:
                self._state.rebalances.removed(group.group_id, member.who)
                if group.is_complete:
                    self.complete(group, turn)
        return turn.outcome()

    # members that go

    def remove(self, group: ClassicGroup, member_id: str, turn: Turn) -> None:
        """Removes a member, or one that was only given its id. If it waits it is told that it is none."""
        gone = UnknownMember(f"{member_id} is no member of group {group.group_id} any more: join again without an id")
        if (ticket := group.joining.get(member_id)) is not None:
            turn.reply(ticket, NotJoined(gone, ""))
        turn.reply(group.syncing.get(member_id), gone)
        group.remove(member_id)
        self._state.timers.cancel(_session(group, member_id))
        self.newcomers.settle((group.group_id, member_id))

    def give_id_up(self, group: ClassicGroup, member_id: str, turn: Turn) -> None:
        """Waits no longer for who was given the id."""
        self.remove(group, member_id, turn)
        if group.phase is State.PREPARING and group.is_complete:
            self.complete(group, turn)

    # joining

    def rebalance(
        self, group: ClassicGroup, turn: Turn, cause: Cause, member: ClassicMember | None, detail: str = ""
    ) -> None:
        """Begins a rebalance, or goes on with the one that is under way, for `member` has joined or left."""
        if group.can_prepare:
            self.prepare(group, turn, cause, member, detail)
            return
        self._note_join(group, member, turn.moment)
        if not group.is_initial and group.is_complete:
            self.complete(group, turn)

    def prepare(
        self, group: ClassicGroup, turn: Turn, cause: Cause, member: ClassicMember | None, detail: str = ""
    ) -> None:
        """Begins to wait for members: an empty group's for the initial delay, or else for those that there are."""
        moment = turn.moment
        if group.phase is State.COMPLETING:
            self.withdraw(group, turn, RebalanceInProgress(f"group {group.group_id} rebalances anew: join again"))
        group.unsynced.clear()
        self._state.timers.cancel(_sync(group))
        silent_s = None if member is None or member.seen_s is None else moment.now_s - member.seen_s
        who = None if member is None else member.who
        self._state.rebalances.begin(Rebalance(group.group_id, cause, who, moment.wall_ms, detail, silent_s))
        self._note_join(group, member, moment)
        group.is_initial = group.phase is State.EMPTY
        group.enter(State.PREPARING, moment.wall_ms)
        if group.is_initial:
            delay_s = self._state.settings.initial_rebalance_delay_ms / 1000
            self._fill(group, delay_s, max(group.rebalance_timeout_s - delay_s, 0), moment)
        elif group.is_complete:
            self.complete(group, turn)
        else:
            self._wait_for_all(group, moment)

    def _fill(self, group: ClassicGroup, delay_s: float, left_s: float, moment: Moment) -> None:
        action = partial(self._filled, group, delay_s, left_s)
        self._state.timers.set(_join(group), moment.now_s + delay_s, action)

    def _filled(self, group: ClassicGroup, delay_s: float, left_s: float, moment: Moment) -> Outcome:
        """The initial delay is over; it is extended for as long as others come, up to the rebalance time-out."""
        turn = Turn(moment)
        if group.has_grown and left_s > 0:
            group.has_grown = False
            initial_s = self._state.settings.initial_rebalance_delay_ms / 1000
            self._fill(group, min(initial_s, left_s), max(left_s - delay_s, 0), moment)
        else:
            self.complete(group, turn)
        return turn.outcome()

    def _wait_for_all(self, group: ClassicGroup, moment: Moment) -> None:
        action = partial(self._waited_enough, group)
        self._state.timers.set(_join(group), moment.now_s + group.rebalance_timeout_s, action)

    def _waited_enough(self, group: ClassicGroup, moment: Moment) -> Outcome:
        turn = Turn(moment)
        self.complete(group, turn)
        return turn.outcome()

    def _note_join(self, group: ClassicGroup, member: ClassicMember | None, moment: Moment) -> None:
        if member is not None and member.member_id in group.joining:
            self._state.rebalances.joined(group.group_id, member.who, moment.wall_ms)

    def complete(self, group: ClassicGroup, turn: Turn) -> None:
        """Ends the joining: who has not come goes, unless it is static; who has come is told of the generation."""
        moment = turn.moment
        self._state.timers.cancel(_join(group))
        for member in [*group.members.values()]:
            if member.member_id not in group.joining and member.instance_id is None:
                self._state.rebalances.removed(group.group_id, member.who)
                self.remove(group, member.member_id, turn)
        if group.members and not group.elect():
            self._wait_for_all(group, moment)  # until the sessions of all these static members are over
            return
        group.next_generation(moment.wall_ms)
        if not group.members:
            turn.write(group.record({}))
            self._state.rebalances.end(group.group_id, group.generation, 0, moment.wall_ms)
            return
        for member in group.members.values():
            if (ticket := group.joining.pop(member.member_id, None)) is not None:
                turn.reply(ticket, joined(group, member.member_id))
            self.lives(group, member, moment.now_s)
            member.is_new = False
            group.unsynced[member.member_id] = None
        action = partial(self._not_all_synced, group)
        self._state.timers.set(_sync(group), moment.now_s + group.rebalance_timeout_s, action)

    # syncing

    def synced(self, group: ClassicGroup, member: ClassicMember, now_s: float) -> None:
        """The member has asked for its assignment."""
        group.unsynced.pop(member.member_id, None)
        self.newcomers.settle((group.group_id, member.member_id))
        member.seen_s = now_s
        if not group.unsynced:
            self._state.timers.cancel(_sync(group))

    def _not_all_synced(self, group: ClassicGroup, moment: Moment) -> Outcome:
        turn = Turn(moment)
        missing = [group.members[member_id] for member_id in group.unsynced]
        for member in missing:
            self.remove(group, member.member_id, turn)
        if missing:
            count = len(missing)
            detail = "has joined, and not asked for its assignment" + (f"; {count - 1} others neither" * (count > 1))
            self.prepare(group, turn, Cause.POLL_TIMED_OUT, missing[0], detail)
        return turn.outcome()

    def assign(self, group: ClassicGroup, assignments: dict[str, bytes], turn: Turn) -> None:
        """Gives out what is committed: the group is stable."""
        for member in group.members.values():
            member.assignment = assignments.get(member.member_id, b"")
            if (ticket := group.syncing.pop(member.member_id, None)) is not None:
                turn.reply(ticket, Synced(group.protocol_type, group.protocol, member.assignment))
                # no session ended while it waited
                self.lives(group, member, turn.moment.now_s)
        group.enter(State.STABLE, turn.moment.wall_ms)
        self._state.rebalances.end(group.group_id, group.generation, len(group.members), turn.moment.wall_ms)

    def withdraw(self, group: ClassicGroup, turn: Turn, error: DohleError) -> None:
        """There is no assignment: all who wait for one are told why."""
        for member in group.members.values():
            member.assignment = b""
            if (ticket := group.syncing.pop(member.member_id, None)) is not None:
                turn.reply(ticket, error)
                self.lives(group, member, turn.moment.now_s)

    # groups that come and go as a whole

    def begin(self, group: ClassicGroup, now_s: float) -> None:
        """Begins to coordinate a group that was loaded, or made out of another kind: its sessions count from now."""
        for member in group.members.values():
            self.lives(group, member, now_s)

    def swap(self, group: ClassicGroup, old: ClassicMember, new: ClassicMember, now_s: float) -> None:
        """Another one is the static member now, and has a session of its own."""
        self._state.timers.cancel(_session(group, old.member_id))
        self.newcomers.settle((group.group_id, old.member_id))
        group.replace(old, new)
        new.checked_s = None
        self.lives(group, new, now_s)

    def give_up(self, group: ClassicGroup, turn: Turn) -> None:
        """Answers all who wait: the group goes on as another kind, and they are to join that."""
        error = RebalanceInProgress(f"group {group.group_id} changes to another protocol: join again")
        for member_id, ticket in group.joining.items():
            turn.reply(ticket, NotJoined(error, member_id))
        for ticket in group.syncing.values():
            turn.reply(ticket, error)
        group.joining.clear()
        group.syncing.clear()

    def forget(self, group: ClassicGroup) -> None:
        """The group is gone, with all its timers."""
        for member_id in (*group.members, *group.pending):
            self._state.timers.cancel(_session(group, member_id))
            self.newcomers.settle((group.group_id, member_id))
        self._state.timers.cancel(_join(group))
        self._state.timers.cancel(_sync(group))
        self._state.rebalances.forget(group.group_id)


def joined(group: ClassicGroup, member_id: str) -> Joined:
    """Returns what a member is told of the generation."""
    assert group.leader is not None, "it has members"
    return Joined(
        member_id,
        group.generation,
        group.protocol_type,
        group.protocol,
        group.leader,
        group.metadata() if member_id == group.leader else (),
    )


def _session(group: ClassicGroup, member_id: str) -> tuple[str, str, str]:
    return "classic session", group.group_id, member_id


def _join(group: ClassicGroup) -> tuple[str, str]:
    return "classic join", group.group_id


def _sync(group: ClassicGroup) -> tuple[str, str]:
    return "classic sync", group.group_id
