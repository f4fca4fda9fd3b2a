"""Who is a member for how long: sessions, time-outs, and what is written when a member is no more."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Final

from dohle.groups.classic.groups import ClassicGroups
from dohle.groups.consumer.conversion import downgraded
from dohle.groups.consumer.group import ConsumerGroup, Member
from dohle.groups.consumer.reconciliation import UNREVOKED
from dohle.groups.consumer.subscribed import metadata_hash, subscribed_topics
from dohle.groups.consumer.update import removal
from dohle.groups.outcome import NOTHING, Moment, Outcome, Reply, Ticket
from dohle.groups.rebalances import Cause, Rebalance, Who
from dohle.groups.records import GroupEpoch, GroupEpochRecord, GroupRecord, RegexRecord
from dohle.groups.state import ShardState
from dohle.model.errors import DohleError
from dohle.model.group_errors import GroupIdNotFound, GroupMaxSizeReached

_RETRY_S: Final = 0.5

SESSION = "consumer session"
REVOCATION = "revocation"
JOIN = "join of a classic member"
SYNC = "sync of a classic member"
_KINDS: Final = (SESSION, REVOCATION, JOIN, SYNC)
"""What a member has to do in time."""

Then = Callable[[DohleError | None, Moment], Outcome]


class Memberships:
    """Keeps the time of members, and gathers outcomes. `groups` holds those of other kinds, too."""

    def __init__(self, state: ShardState, classic: ClassicGroups) -> None:
        self._state = state
        self._classic = classic

    def existing(self, group_id: str) -> ConsumerGroup:
        """Raises GroupIdNotFound if there is no such group of this kind."""
        group = self._state.groups.get(group_id)
        if group is None:
            raise GroupIdNotFound(f"there is no group {group_id}")
        if not isinstance(group, ConsumerGroup):
            raise GroupIdNotFound(f"group {group_id} is not one of the consumer protocol")
        return group

    def check_size(self, group: ConsumerGroup, member_id: str) -> None:
        """Raises GroupMaxSizeReached for one more in a group that is full."""
        most = self._state.settings.consumer_max_size
        if len(group.subscriptions) >= most and member_id not in group.subscriptions:
            raise GroupMaxSizeReached(f"group {group.group_id} has {most} members, which is the most that it may have")

    # time

    def renew_session(self, group_id: str, member: Member, moment: Moment) -> None:
        classic = member.subscription.classic
        timeout_ms = self._state.beats(group_id).session_timeout_ms if classic is None else classic.session_timeout_ms
        self._limit(SESSION, group_id, member.member_id, moment.now_s + timeout_ms / 1000, Cause.SESSION_TIMED_OUT)

    def limit_revocation(self, group_id: str, member: Member, moment: Moment) -> None:
        """Gives the member until its rebalance time-out to confirm what it gives up."""
        at_s = moment.now_s + member.subscription.rebalance_timeout_ms / 1000
        self._limit(REVOCATION, group_id, member.member_id, at_s, Cause.POLL_TIMED_OUT, epoch=member.epoch)

    def limit_join(self, group_id: str, member: Member, moment: Moment) -> None:
        """Gives a classic member, which is told that the group rebalances, as long to join again; counted once."""
        if _name(JOIN, group_id, member.member_id) not in self._state.timers:
            at_s = moment.now_s + member.subscription.rebalance_timeout_ms / 1000
            self._limit(JOIN, group_id, member.member_id, at_s, Cause.POLL_TIMED_OUT)

    def limit_sync(self, group_id: str, member: Member, moment: Moment) -> None:
        """Gives a classic member, which has joined, as long to fetch its assignment."""
        at_s = moment.now_s + member.subscription.rebalance_timeout_ms / 1000
        self._limit(SYNC, group_id, member.member_id, at_s, Cause.POLL_TIMED_OUT)

    def in_time(self, kind: str, group_id: str, member_id: str) -> None:
        """The member has done what it had to."""
        self._state.timers.cancel(_name(kind, group_id, member_id))

    def _limit(
        self, kind: str, group_id: str, member_id: str, at_s: float, cause: Cause, *, epoch: int | None = None
    ) -> None:
        action = partial(self._time_out, group_id, member_id, cause, epoch)
        self._state.timers.set(_name(kind, group_id, member_id), at_s, action)

    def _time_out(self, group_id: str, member_id: str, cause: Cause, epoch: int | None, moment: Moment) -> Outcome:
        """Fences a member; one that should have left `epoch` only if it is still there."""
        group = self._state.groups.get(group_id)
        if not isinstance(group, ConsumerGroup) or (member := group.member(member_id)) is None:
            return NOTHING
        if epoch is not None and (member.epoch != epoch or member.current.state != UNREVOKED):
            return NOTHING
        return self.fence(group, (member,), cause, moment)

    # the end of memberships

    def fence(
        self,
        group: ConsumerGroup,
        members: Sequence[Member],
        cause: Cause,
        moment: Moment,
        replies: Mapping[Ticket, Reply] | None = None,
    ) -> Outcome:
        """Removes members: what they held is free for others. A group in which all others are of the classic protocol
        becomes a classic one, where that is allowed."""
        for member in members:
            self.note(group.group_id, cause, member, moment)
            if cause is not Cause.LEFT:
                self._state.rebalances.removed(group.group_id, who(member))
        if self.can_downgrade(group, members):
            return self.downgrade(group, members, None, cause, moment, replies or {})
        return self.outcome(group.group_id, self._without(group, members), replies or {}, members)

    def _without(self, group: ConsumerGroup, members: Sequence[Member]) -> list[GroupRecord]:
        group_id = group.group_id
        records = [record for member in members for record in removal(group_id, member.member_id)]
        left = [member.subscription for member in members]
        regexes = dict(group.regexes)
        for regex in sorted({subscription.regex for subscription in left if subscription.regex}):
            leavers = sum(subscription.regex == regex for subscription in left)
            if leavers == group.regex_counts[regex] and regex in regexes:
                del regexes[regex]
                records.append(RegexRecord(group_id, regex, None))
        names = subscribed_topics(group, left, None, regexes)
        epoch = GroupEpoch(group.epoch.epoch + 1, metadata_hash(self._state.image, names))
        records.append(GroupEpochRecord(group_id, epoch))
        return records

    def can_downgrade(self, group: ConsumerGroup, left: Sequence[Member], *, come: int = 0) -> bool:
        """Whether the group becomes a classic one when these have left: all others are of that protocol, and the last
        of this one is among those who leave. `come`: how many of the classic protocol take their place."""
        if all(member.is_classic for member in left):
            return False
        gone = {member.member_id for member in left}
        remaining = [each for member_id, each in group.subscriptions.items() if member_id not in gone]
        size, settings = len(remaining) + come, self._state.settings
        return (
            settings.consumer_migration_policy in ("bidirectional", "downgrade")
            and size > 0
            and (not settings.max_size or size <= settings.max_size)
            and all(each.classic is not None for each in remaining)
        )

    def downgrade(
        self,
        group: ConsumerGroup,
        left: Sequence[Member],
        come: Member | None,
        cause: Cause,
        moment: Moment,
        replies: Mapping[Ticket, Reply],
    ) -> Outcome:
        """Makes a classic group of it; its members are told to join again."""
        records = downgraded(group, left, come, self._state.image, moment.wall_ms)
        whoever = who(left[0])

        def take_over(error: DohleError | None, now: Moment) -> Outcome:
            if error is not None or group.group_id not in self._state.groups:
                return NOTHING
            return self._classic.take_over(group.group_id, now, cause, whoever, "the last consumer of KIP-848 has left")

        return self.outcome(group.group_id, records, replies, left, then=take_over)

    # what is written, and what people are told

    def outcome(
        self,
        group_id: str,
        records: Sequence[GroupRecord],
        replies: Mapping[Ticket, Reply] | None = None,
        left: Sequence[Member] = (),
        then: Then | None = None,
    ) -> Outcome:
        """Returns the outcome of these records; `left`: whose membership they end, and `then`: what comes after."""
        if not records and then is None:
            return Outcome(replies=replies or {})

        def written(error: DohleError | None, moment: Moment) -> Outcome:
            group = self._state.groups.get(group_id)
            for member in left:
                if error is None:
                    if isinstance(group, ConsumerGroup) and group.member(member.member_id) is not None:
                        continue  # it is back already, with time limits of its own
                    for kind in _KINDS:
                        self.in_time(kind, group_id, member.member_id)
                else:  # its time is over all the same, as soon as that can be written
                    retry_s = moment.now_s + _RETRY_S
                    self._limit(SESSION, group_id, member.member_id, retry_s, Cause.SESSION_TIMED_OUT)
            if error is None:
                self._note_end(group_id, moment)
            return NOTHING if then is None else then(error, moment)

        return Outcome(tuple(records), replies or {}, written)

    def note(self, group_id: str, cause: Cause, member: Member | None, moment: Moment) -> None:
        whoever = None if member is None else who(member)
        self._state.rebalances.begin(Rebalance(group_id, cause, whoever, moment.wall_ms))

    def _note_end(self, group_id: str, moment: Moment) -> None:
        group = self._state.groups.get(group_id)
        if isinstance(group, ConsumerGroup) and (group.is_reconciled or not group.subscriptions):
            self._state.rebalances.end(group_id, group.epoch.epoch, len(group.subscriptions), moment.wall_ms)


def who(member: Member) -> Who:
    subscription = member.subscription
    return Who(member.member_id, subscription.instance_id, subscription.client_id, subscription.client_host)


def _name(kind: str, group_id: str, member_id: str) -> Hashable:
    return (kind, group_id, member_id)
