"""ConsumerGroup: one KIP-848 group, as its records say, and what follows from them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from dohle.groups.consumer.reconciliation import NEW_MEMBER, STABLE
from dohle.groups.group import CONSUMER
from dohle.groups.records import (
    Assignment,
    CurrentAssignment,
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
from dohle.model.errors import UnsupportedVersion
from dohle.model.group_errors import FencedInstanceId, IllegalGeneration, NonEmptyGroup, StaleMemberEpoch, UnknownMember
from dohle.model.ids import PartitionKey, TopicId

NO_EPOCH = GroupEpoch(epoch=0, metadata_hash=0)


class Member(NamedTuple):
    """A member, as the records have it."""

    member_id: str
    subscription: MemberSubscription
    current: CurrentAssignment

    @property
    def epoch(self) -> int:
        return self.current.epoch

    @property
    def is_classic(self) -> bool:
        """Whether it speaks the classic protocol."""
        return self.subscription.classic is not None


class ConsumerGroup:
    """Implements `Group`. Its state is a function of the last value of each record's key.

    `has_checked_topics`: whether the topics that there are have been compared with those of its epoch; not in records.
    """

    def __init__(self, group_id: str) -> None:
        self.group_id = group_id
        self.epoch = NO_EPOCH
        self.target_epoch = 0
        self.subscriptions: dict[str, MemberSubscription] = {}
        self.currents: dict[str, CurrentAssignment] = {}
        self.targets: dict[str, Assignment] = {}
        self.regexes: dict[str, ResolvedRegex] = {}
        self.static_members: dict[str, str] = {}
        self.topic_counts: dict[str, int] = {}
        self.regex_counts: dict[str, int] = {}
        self.has_checked_topics = False
        self._stable_counts: dict[int, int] = {}
        self._holders: dict[PartitionKey, str] | None = None

    # what the records say

    def apply(self, record: GroupRecord) -> None:
        match record:
            case GroupEpochRecord(value=epoch):
                self.epoch = epoch or NO_EPOCH
            case TargetEpochRecord(epoch=target_epoch):
                self.target_epoch = target_epoch or 0
            case MemberRecord(member_id=member_id, value=subscription):
                self._apply_member(member_id, subscription)
            case TargetRecord(member_id=member_id, value=target):
                _put(self.targets, member_id, target)
            case CurrentRecord(member_id=member_id, value=current):
                self._apply_current(member_id, current)
            case RegexRecord(regex=regex, value=resolved):
                _put(self.regexes, regex, resolved)
            case _:
                raise AssertionError(f"no record of a KIP-848 group: {record}")

    @property
    def exists(self) -> bool:
        """Whether there is such a group: the others of its records may come before the one that says so."""
        return self.epoch.epoch > 0

    @property
    def is_blank(self) -> bool:
        """Whether nothing is known of it."""
        return not (
            self.exists or self.target_epoch or self.subscriptions or self.currents or self.targets or self.regexes
        )

    def _apply_member(self, member_id: str, subscription: MemberSubscription | None) -> None:
        before = self.subscriptions.get(member_id)
        if before is not None:
            _count(self.topic_counts, before.topics, -1)
            _count(self.regex_counts, _regexes(before), -1)
            if before.instance_id is not None and self.static_members.get(before.instance_id) == member_id:
                del self.static_members[before.instance_id]
        _put(self.subscriptions, member_id, subscription)
        if subscription is not None:
            _count(self.topic_counts, subscription.topics, 1)
            _count(self.regex_counts, _regexes(subscription), 1)
            if subscription.instance_id is not None:
                self.static_members[subscription.instance_id] = member_id

    def _apply_current(self, member_id: str, current: CurrentAssignment | None) -> None:
        before = self.currents.get(member_id)
        if before is not None and before.state == STABLE:
            _count(self._stable_counts, (before.epoch,), -1)
        if current is not None and current.state == STABLE:
            _count(self._stable_counts, (current.epoch,), 1)
        _put(self.currents, member_id, current)
        if self._holders is not None:
            for key in _keys(before):
                if self._holders.get(key) == member_id:
                    del self._holders[key]
            for key in _keys(current):
                holder = self._holders.setdefault(key, member_id)
                assert holder == member_id, f"{key} of group {self.group_id} would be held by {holder} and {member_id}"

    # what follows from them

    def member(self, member_id: str) -> Member | None:
        subscription = self.subscriptions.get(member_id)
        if subscription is None:
            return None
        return Member(member_id, subscription, self.currents.get(member_id, NEW_MEMBER))

    def known_member(self, member_id: str) -> Member:
        """Raises UnknownMember if there is none of this id."""
        member = self.member(member_id)
        if member is None:
            raise UnknownMember(f"member {member_id} is not a member of group {self.group_id}")
        return member

    def members(self) -> Iterator[Member]:
        """Every member, by id."""
        for member_id in sorted(self.subscriptions):
            yield self.known_member(member_id)

    def static_member(self, instance_id: str) -> Member | None:
        member_id = self.static_members.get(instance_id)
        return None if member_id is None else self.known_member(member_id)

    def known_static_member(self, instance_id: str, member_id: str) -> Member:
        """Raises UnknownMember if there is no such static member, FencedInstanceId if it is another one now."""
        member = self.static_member(instance_id)
        if member is None:
            raise UnknownMember(f"group {self.group_id} has no static member {instance_id}")
        if member.member_id != member_id:
            raise FencedInstanceId(f"instance id {instance_id} is now in use by member {member.member_id}")
        return member

    def is_held(self, topic_id: TopicId, partition: int) -> bool:
        """Whether a member holds this partition, or has still to confirm that it gave it up."""
        if self._holders is None:  # while a log is read, an old record may stand beside a newer one of another member
            self._holders = {key: member_id for member_id in self.currents for key in _keys(self.currents[member_id])}
        return PartitionKey(topic_id, partition) in self._holders

    def is_waiting(self, member: Member) -> bool:
        """Whether a partition that the member is to have is still held by another."""
        had = {topic_id: dict(epochs) for topic_id, epochs in member.current.assigned}
        return any(
            number not in had.get(topic_id, ()) and self.is_held(topic_id, number)
            for topic_id, numbers in self.targets.get(member.member_id, ())
            for number in numbers
        )

    @property
    def is_reconciled(self) -> bool:
        """Whether every member has what the newest epoch gives it."""
        everybody = self._stable_counts.get(self.target_epoch, 0) == len(self.subscriptions)
        return everybody and self.epoch.epoch == self.target_epoch

    # `Group`

    @property
    def kind(self) -> str:
        return CONSUMER

    @property
    def state(self) -> str:
        if not self.exists:
            return "Dead"
        if not self.subscriptions:
            return "Empty"
        if self.epoch.epoch > self.target_epoch:
            return "Assigning"
        return "Stable" if self.is_reconciled else "Reconciling"

    @property
    def protocol_type(self) -> str:
        return "consumer"

    @property
    def is_simple(self) -> bool:
        return False

    @property
    def empty_since_ms(self) -> int | None:
        return None if self.subscriptions else -1

    def subscribes_to(self, topic: str) -> bool:
        return topic in self.topic_counts or any(
            regex in self.regex_counts and topic in resolved.topics for regex, resolved in self.regexes.items()
        )

    def check_commit(
        self,
        member_id: str,
        instance_id: str | None,
        epoch: int,
        partitions: Sequence[PartitionKey] = (),
        *,
        knows_epochs: bool,
    ) -> None:
        """Also raises UnsupportedVersion, where the client commits by a version that knows of no member epochs."""
        if epoch < 0 and not self.subscriptions:
            return  # whoever commits does not take part in the group
        member = self.known_member(member_id)
        if not (knows_epochs or member.is_classic):
            raise UnsupportedVersion("members of the consumer protocol commit by OffsetCommit 9 or later")
        if partitions and epoch < member.epoch:
            since = dict(_held(member.current))
            if all(key in since and since[key] <= epoch for key in partitions):
                return
        self._check_epoch(member, epoch)

    def committed(self, member_id: str, now_s: float) -> None:
        """Nothing: a member lives by its heartbeats alone."""

    def check_fetch(self, member_id: str | None, epoch: int) -> None:
        if member_id is None and epoch < 0:
            return
        self._check_epoch(self.known_member(member_id or ""), epoch)

    def _check_epoch(self, member: Member, epoch: int) -> None:
        if epoch == member.epoch:
            return
        if member.is_classic:
            raise IllegalGeneration(f"generation {epoch} is not {member.epoch}, the one of member {member.member_id}")
        raise StaleMemberEpoch(f"member epoch {epoch} is not {member.epoch}, the one of member {member.member_id}")

    def check_deletion(self) -> None:
        if self.subscriptions:
            raise NonEmptyGroup(f"group {self.group_id} has {len(self.subscriptions)} members")

    def tombstones(self) -> Iterable[GroupRecord]:
        yield from (CurrentRecord(self.group_id, member_id, None) for member_id in sorted(self.currents))
        yield from (TargetRecord(self.group_id, member_id, None) for member_id in sorted(self.targets))
        yield TargetEpochRecord(self.group_id, None)
        yield from (MemberRecord(self.group_id, member_id, None) for member_id in sorted(self.subscriptions))
        yield from (RegexRecord(self.group_id, regex, None) for regex in sorted(self.regexes))
        yield GroupEpochRecord(self.group_id, None)


K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def _put(mapping: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        mapping.pop(key, None)
    else:
        mapping[key] = value


def _count(counts: dict[K, int], keys: Iterable[K], by: int) -> None:
    """Counts, and keeps no zeros."""
    for key in keys:
        count = counts.get(key, 0) + by
        if count:
            counts[key] = count
        else:
            del counts[key]


def _regexes(subscription: MemberSubscription) -> tuple[str, ...]:
    return (subscription.regex,) if subscription.regex else ()


def _held(current: CurrentAssignment | None) -> Iterator[tuple[PartitionKey, int]]:
    """What a member holds, or has still to give up, and since which epoch."""
    if current is not None:
        for topic_id, epochs in (*current.assigned, *current.pending_revocation):
            for number, since in epochs:
                yield PartitionKey(topic_id, number), since


def _keys(current: CurrentAssignment | None) -> Iterator[PartitionKey]:
    return (key for key, _ in _held(current))
