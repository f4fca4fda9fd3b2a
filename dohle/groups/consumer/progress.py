"""Progress: how a member's change leads to a target and towards it, in slices where that takes long."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Final

from dohle.groups.consumer.group import ConsumerGroup
from dohle.groups.consumer.membership import REVOCATION, Memberships, who
from dohle.groups.consumer.reconciliation import NEW_MEMBER, UNRELEASED, UNREVOKED
from dohle.groups.consumer.regexes import Regexes, Resolving
from dohle.groups.consumer.subscribed import metadata_hash, subscribed_topics
from dohle.groups.consumer.targets import TargetJob, late_target_records
from dohle.groups.consumer.update import MemberUpdate, differ
from dohle.groups.outcome import NOTHING, Moment, Outcome
from dohle.groups.rebalances import Cause
from dohle.groups.records import (
    Assignment,
    GroupEpoch,
    GroupEpochRecord,
    GroupRecord,
    MemberSubscription,
    RegexRecord,
    ResolvedRegex,
)
from dohle.groups.state import ShardState

_WAITING_INTERVAL_MS: Final = 200
"""How soon a member is to come again that waits for others: what they give up is its own that much sooner."""
_BEATS_PER_S: Final = 500
"""How many members that wait may come in a second, in one group: in a larger one each waits longer."""
_SLICE_S: Final = 0.001


class Progress:
    """`regexes` are those of the shard; targets that are being made are this coordinator's own."""

    def __init__(self, state: ShardState, memberships: Memberships) -> None:
        self.regexes = Regexes(state)
        self._state = state
        self._memberships = memberships
        self._targets: dict[str, TargetJob] = {}

    def subscribe(self, update: MemberUpdate, subscription: MemberSubscription, moment: Moment) -> bool:
        """Lets a member subscribe. Returns whether that begins a new group epoch."""
        group_id = update.group.group_id
        begins = update.subscribe(subscription)
        if begins:
            cause = Cause.SUBSCRIPTION_CHANGED if update.has_resubscribed else Cause.TOPICS_CHANGED
            if update.member.current is NEW_MEMBER or update.replaced is not None:
                cause = Cause.JOINED
            self._memberships.note(group_id, cause, update.member, moment)
        if update.resolving is not None and _regex(group_id) not in self._state.timers:
            self._look_up(group_id, update.resolving, moment)
        return begins

    def advance(self, update: MemberUpdate, owned: Assignment | None, moment: Moment) -> None:
        """Makes the target, if none is being made, and brings the member nearer to it."""
        group_id, before = update.group.group_id, update.member.current
        if group_id not in self._targets:
            update.assign()
            if update.job is not None:
                self._targets[group_id] = update.job
                self._in_slices(_target(group_id), lambda now: self._make(group_id, now), moment)
        update.reconcile(owned)
        member = update.member
        if member.current == before or member.is_classic:
            return
        if member.current.state == UNREVOKED:
            self._memberships.limit_revocation(group_id, member, moment)
        else:
            self._memberships.in_time(REVOCATION, group_id, member.member_id)
            if before.state == UNREVOKED:
                self._state.rebalances.joined(group_id, who(member), moment.wall_ms)

    def interval_ms(self, update: MemberUpdate) -> int:
        """Returns when the member is to come again; sooner while it waits for others, or for its target."""
        interval_ms = self._state.beats(update.group.group_id).interval_ms
        waits = update.member.current.state == UNRELEASED or update.epoch > update.target_epoch
        if not waits and update.resolving is None:
            return interval_ms
        many_ms = len(update.group.subscriptions) * 1000 // _BEATS_PER_S
        return min(interval_ms, max(_WAITING_INTERVAL_MS, many_ms))

    # in slices

    def _in_slices(self, name: Hashable, step: Callable[[Moment], Outcome], moment: Moment) -> None:
        self._state.timers.set(name, moment.now_s + _SLICE_S, step)

    def _make(self, group_id: str, moment: Moment) -> Outcome:
        job = self._targets[group_id]
        target = job.step()
        if target is None:
            self._in_slices(_target(group_id), lambda now: self._make(group_id, now), moment)
            return NOTHING
        del self._targets[group_id]
        group = self._state.groups.get(group_id)
        if not isinstance(group, ConsumerGroup) or not group.target_epoch < job.epoch <= group.epoch.epoch:
            return NOTHING  # what it was made for was not written, or is gone
        return self._memberships.outcome(group_id, tuple(late_target_records(group, job, target, moment.wall_ms)))

    def _look_up(self, group_id: str, job: Resolving, moment: Moment) -> None:
        def step(now: Moment) -> Outcome:
            try:
                next(job)
            except StopIteration as end:
                return self._found(group_id, end.value, now)
            self._look_up(group_id, job, now)
            return NOTHING

        self._in_slices(_regex(group_id), step, moment)

    def _found(self, group_id: str, resolved: Mapping[str, ResolvedRegex], moment: Moment) -> Outcome:
        group = self._state.groups.get(group_id)
        if not isinstance(group, ConsumerGroup):
            return NOTHING
        known = {regex: meaning for regex, meaning in sorted(resolved.items()) if regex in group.regex_counts}
        records: list[GroupRecord] = [RegexRecord(group_id, regex, meaning) for regex, meaning in known.items()]
        names = subscribed_topics(group, (), None, {**group.regexes, **known})
        now = metadata_hash(self._state.image, names)
        if now != group.epoch.metadata_hash or differ(group.regexes, known):
            records.append(GroupEpochRecord(group_id, GroupEpoch(group.epoch.epoch + 1, now)))
            self._memberships.note(group_id, Cause.TOPICS_CHANGED, None, moment)
        return self._memberships.outcome(group_id, records)


def _target(group_id: str) -> Hashable:
    return ("target", group_id)


def _regex(group_id: str) -> Hashable:
    return ("regex", group_id)
