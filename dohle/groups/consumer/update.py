"""MemberUpdate: what follows when a member joins, changes, or just says that it lives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dohle.groups.consumer.group import ConsumerGroup, Member
from dohle.groups.consumer.reconciliation import Aim, reconcile
from dohle.groups.consumer.regexes import Regexes, Resolving
from dohle.groups.consumer.subscribed import metadata_hash, subscribed_topics, topic_ids
from dohle.groups.consumer.targets import TargetJob, begin_target, target_records
from dohle.groups.outcome import Moment
from dohle.groups.records import (
    Assignment,
    CurrentRecord,
    GroupEpoch,
    GroupEpochRecord,
    GroupRecord,
    MemberRecord,
    MemberSubscription,
    RegexRecord,
    ResolvedRegex,
    TargetEpochRecord,
    TargetRecord,
)
from dohle.groups.state import ShardState


class MemberUpdate:
    """Gathers `records`, in Kafka's order, and keeps what the group will be with them; `group` itself stays as it is.

    First `subscribe`, which may begin a new group epoch; then `assign`, which makes its target; then `reconcile`.
    `member` is the member as it will be. `replaced`: the static member whose place it takes, under a new id.
    `job`: a target that is large, and is yet to be made; `resolving`: regular expressions that are yet to be looked up.
    """

    def __init__(
        self, state: ShardState, regexes: Regexes, group: ConsumerGroup, member: Member, moment: Moment
    ) -> None:
        self.records: list[GroupRecord] = []
        self.group = group
        self.member = member
        self.replaced: Member | None = None
        self.epoch = group.epoch.epoch
        self.target_epoch = group.target_epoch
        self.has_resubscribed = False
        self.job: TargetJob | None = None
        self.resolving: Resolving | None = None
        self._target = group.targets.get(member.member_id, ())
        self._state = state
        self._regexes = regexes
        self._resolved: Mapping[str, ResolvedRegex] = group.regexes
        self._moment = moment

    def take_place_of(self, replaced: Member) -> None:
        """The member has the instance id of another, whose partitions and target become its own."""
        group_id, member_id = self.group.group_id, self.member.member_id
        self.replaced = replaced
        self.member = Member(member_id, replaced.subscription, replace(replaced.current, epoch=0, previous_epoch=0))
        self._target = self.group.targets.get(replaced.member_id, ())
        self.records += removal(group_id, replaced.member_id)
        self.records += (
            MemberRecord(group_id, member_id, self.member.subscription),
            TargetRecord(group_id, member_id, self._target),
            CurrentRecord(group_id, member_id, self.member.current),
        )

    def subscribe(self, subscription: MemberSubscription) -> bool:
        """Takes what the member is now. Returns whether a new group epoch begins.

        Raises InvalidRegularExpression.
        """
        group, before = self.group, self.member.subscription
        if subscription != before or before == NOBODY:
            self.records.append(MemberRecord(group.group_id, self.member.member_id, subscription))
            self.member = self.member._replace(subscription=subscription)
        resolution = self._regexes.resolve(group, before, subscription, self._moment)
        self.resolving = resolution.job
        for regex, resolved in sorted(resolution.known.items()):
            self.records.append(RegexRecord(group.group_id, regex, resolved))
        self._resolved = _with(group.regexes, resolution.known)
        renamed, other_regex = subscription.topics != before.topics, subscription.regex != before.regex
        self.has_resubscribed = renamed or other_regex
        is_clear = not subscription.regex or subscription.regex in self._resolved
        begins = self.epoch == 0 or renamed or (other_regex and is_clear) or differ(group.regexes, resolution.known)
        if begins or not group.has_checked_topics:
            known = group.member(self.member.member_id) or self.replaced
            left = () if known is None else (known.subscription,)
            names = subscribed_topics(group, left, subscription, self._resolved)
            now = metadata_hash(self._state.image, names)
            begins = begins or now != group.epoch.metadata_hash
            if begins:
                self._begin_epoch(now)
        return begins

    def assign(self) -> None:
        """Makes the target of the newest group epoch, if there is none yet; of a large group it only begins to."""
        if self.epoch <= self.target_epoch:
            return
        group, member_id = self.group, self.member.member_id
        members, previous = dict(group.subscriptions), dict(group.targets)
        if self.replaced is not None:
            del members[self.replaced.member_id]
            previous[member_id] = previous.pop(self.replaced.member_id, ())
        members[member_id] = self.member.subscription
        job = begin_target(self._state.image, self._state.settings, self.epoch, members, self._resolved, previous)
        if not job.is_small:
            self._put_off(job)
            return
        target = job.run()
        self.records += target_records(group.group_id, self.epoch, previous, target, self._moment.wall_ms)
        self.target_epoch, self._target = self.epoch, target[member_id]

    def reconcile(self, owned: Assignment | None) -> None:
        """Lets the member go as far as it can. Raises FencedMemberEpoch where its state is not known."""
        member = self.member
        subscribed = topic_ids(member.subscription, self._resolved, self._state.image)
        aim = Aim(self.target_epoch, self._target, subscribed, self.group.is_held, self.has_resubscribed)
        current = reconcile(member.current, aim, owned)
        if current != member.current:
            self.records.append(CurrentRecord(self.group.group_id, member.member_id, current))
            self.member = member._replace(current=current)

    def _begin_epoch(self, now: int) -> None:
        self.epoch += 1
        self.records.append(GroupEpochRecord(self.group.group_id, GroupEpoch(self.epoch, now)))

    def _put_off(self, job: TargetJob) -> None:
        if self.target_epoch == 0:  # a member cannot be told epoch 0, so that there is a target in which nobody has any
            group_id = self.group.group_id
            self.records.append(TargetRecord(group_id, self.member.member_id, ()))
            self.records.append(TargetEpochRecord(group_id, self.epoch, self._moment.wall_ms))
            self.target_epoch = self.epoch
            latest = next(r.value for r in reversed(self.records) if isinstance(r, GroupEpochRecord))
            assert latest is not None, "a group that has no target yet has just been made"
            self._begin_epoch(latest.metadata_hash)
            job.epoch = self.epoch
        self.job = job


NOBODY = MemberSubscription(
    instance_id=None,
    rack=None,
    client_id="",
    client_host="",
    topics=(),
    regex=None,
    rebalance_timeout_ms=-1,
    assignor=None,
)
"""What is known of a member that has just come."""


def removal(group_id: str, member_id: str) -> tuple[GroupRecord, ...]:
    """Returns the records that end a member."""
    return (
        CurrentRecord(group_id, member_id, None),
        TargetRecord(group_id, member_id, None),
        MemberRecord(group_id, member_id, None),
    )


def _with(
    regexes: Mapping[str, ResolvedRegex], known: Mapping[str, ResolvedRegex | None]
) -> Mapping[str, ResolvedRegex]:
    if not known:
        return regexes
    return {regex: resolved for regex, resolved in {**regexes, **known}.items() if resolved is not None}


def differ(regexes: Mapping[str, ResolvedRegex], known: Mapping[str, ResolvedRegex | None]) -> bool:
    """Whether an expression means other topics than it did."""
    return any(
        resolved is not None and _topics(regexes.get(regex)) != resolved.topics for regex, resolved in known.items()
    )


def _topics(resolved: ResolvedRegex | None) -> tuple[str, ...]:
    return resolved.topics if resolved is not None else ()
