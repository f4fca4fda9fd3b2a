"""How a target assignment is made: at once for most groups, in slices where a group is large."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from dohle.groups.assignors import ASSIGNORS
from dohle.groups.assignors.plan import Assigning, Subscription
from dohle.groups.consumer.group import ConsumerGroup
from dohle.groups.consumer.subscribed import topic_ids
from dohle.groups.records import (
    Assignment,
    GroupRecord,
    MemberSubscription,
    ResolvedRegex,
    TargetEpochRecord,
    TargetRecord,
)
from dohle.groups.settings import GroupSettings
from dohle.model.ids import TopicId
from dohle.model.image import ClusterImage

_AT_ONCE: Final = 1000
"""Members and partitions in sum, up to which a target is made without a rest: a few milliseconds."""


@dataclass(slots=True)
class TargetJob:
    """A target that is being made, of the members and topics of one group epoch."""

    epoch: int
    assigning: Assigning
    members: Mapping[str, MemberSubscription]
    is_small: bool

    def step(self) -> dict[str, Assignment] | None:
        """Does a slice; returns the target by member if that was the last one."""
        try:
            next(self.assigning)
        except StopIteration as end:
            target: dict[str, Assignment] = end.value
            return target
        return None

    def run(self) -> dict[str, Assignment]:
        """Does all that is left."""
        while (target := self.step()) is None:
            pass
        return target


def begin_target(
    image: ClusterImage,
    settings: GroupSettings,
    epoch: int,
    members: Mapping[str, MemberSubscription],
    regexes: Mapping[str, ResolvedRegex],
    previous: Mapping[str, Assignment],
) -> TargetJob:
    known: dict[tuple[tuple[str, ...], str | None], frozenset[TopicId]] = {}
    subscriptions: dict[str, Subscription] = {}
    for member_id, member in members.items():
        key = (member.topics, member.regex)
        if key not in known:
            known[key] = topic_ids(member, regexes, image)
        subscriptions[member_id] = Subscription(known[key], member.instance_id)
    subscribed = frozenset[TopicId]().union(*known.values())
    sizes = {topic_id: len(image.topics[topic_id].partitions) for topic_id in sorted(subscribed)}
    assignor = ASSIGNORS[preferred_assignor(members.values(), settings)]
    size = len(members) + sum(sizes.values())
    return TargetJob(epoch, assignor(subscriptions, sizes, dict(previous)), dict(members), size <= _AT_ONCE)


def preferred_assignor(members: Iterable[MemberSubscription], settings: GroupSettings) -> str:
    """Returns the one that most members ask for, the default if none asks for any."""
    votes: dict[str, int] = {}
    for member in members:
        if member.assignor is not None and member.assignor in settings.consumer_assignors:
            votes[member.assignor] = votes.get(member.assignor, 0) + 1
    if not votes:
        return settings.consumer_assignors[0]
    return max(sorted(votes), key=votes.__getitem__)


def target_records(
    group_id: str, epoch: int, before: Mapping[str, Assignment], target: Mapping[str, Assignment], wall_ms: int
) -> Iterator[GroupRecord]:
    """Yields what differs, and last that the target is whole."""
    for member_id in sorted(target):
        if before.get(member_id) != target[member_id]:
            yield TargetRecord(group_id, member_id, target[member_id])
    yield TargetEpochRecord(group_id, epoch, wall_ms)


def late_target_records(
    group: ConsumerGroup, job: TargetJob, target: Mapping[str, Assignment], wall_ms: int
) -> Iterator[GroupRecord]:
    """Yields the same for a target that took a while: members have gone since, and static ones have a new id."""
    of_now: dict[str, Assignment] = {}
    for member_id, assignment in target.items():
        instance_id = job.members[member_id].instance_id
        now = group.static_members.get(instance_id, member_id) if instance_id is not None else member_id
        if now in group.subscriptions:
            of_now[now] = assignment
    return target_records(group.group_id, job.epoch, group.targets, of_now, wall_ms)
