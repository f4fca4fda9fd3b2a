"""How a member gets from what it holds to its target (KIP-848, "Reconciliation of the group").

A member is `STABLE` when it has all that it can have of some target; `UNREVOKED` while it has to confirm that it gave
partitions up, in the epoch that it is in; `UNRELEASED` when it has reached the target's epoch, and others still hold
some of its partitions. A partition that is taken from a member counts as held by it until it has confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, replace

from dohle.groups.records import Assignment, CurrentAssignment, HeldPartitions
from dohle.model.group_errors import FencedMemberEpoch
from dohle.model.ids import TopicId

STABLE = 0
UNREVOKED = 1
UNRELEASED = 2

NEW_MEMBER = CurrentAssignment(epoch=0, previous_epoch=-1, state=STABLE, assigned=(), pending_revocation=())
"""What a member has that has just come."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What a member is to reach: the target of an epoch, without what it does not subscribe to.

    `is_held`: whether some member holds this partition. `has_resubscribed`: the member has just changed what it
    subscribes to, and gives up at once what is no longer part of it.
    """

    epoch: int
    target: Assignment
    subscribed: Container[TopicId]
    is_held: Callable[[TopicId, int], bool]
    has_resubscribed: bool = False


def reconcile(current: CurrentAssignment, aim: Aim, owned: Assignment | None) -> CurrentAssignment:
    """Returns the member's next step, which may be where it is. `owned`: what it says that it has, None if nothing.

    Raises FencedMemberEpoch for a member in a state that this version does not know, unless it has nothing.
    """
    if current.state not in (STABLE, UNREVOKED, UNRELEASED):
        if owned is None or owned:
            raise FencedMemberEpoch("the member is in an unknown state: it has to give all up, and join again")
        return _next(current, aim.epoch, aim, owned)
    reached = current.state == STABLE and current.epoch == aim.epoch
    if reached or (current.state == UNREVOKED and _owns(owned, current.pending_revocation)):
        return _without_unsubscribed(current, aim, owned) if aim.has_resubscribed else current
    return _next(current, current.epoch, aim, owned)


def partitions_of(held: HeldPartitions) -> Assignment:
    return tuple([(topic_id, tuple([number for number, _ in numbers])) for topic_id, numbers in held])


def holds_all(held: HeldPartitions, owned: Assignment | None) -> bool:
    """Whether a member's own account says something, and nothing that is not in `held`."""
    if owned is None:
        return False
    numbers = {topic_id: dict(epochs) for topic_id, epochs in held}
    return all(number in numbers.get(topic_id, ()) for topic_id, owned_numbers in owned for number in owned_numbers)


def _owns(owned: Assignment | None, held: HeldPartitions) -> bool:
    """Whether the member may still have some of these: one that does not say might."""
    if owned is None:
        return True
    numbers = {topic_id: dict(epochs) for topic_id, epochs in held}
    return any(number in numbers.get(topic_id, ()) for topic_id, owned_numbers in owned for number in owned_numbers)


def _next(current: CurrentAssignment, epoch: int, aim: Aim, owned: Assignment | None) -> CurrentAssignment:
    had = {topic_id: dict(epochs) for topic_id, epochs in current.assigned}
    target = {topic_id: numbers for topic_id, numbers in aim.target if topic_id in aim.subscribed}
    giving_up = {topic_id: dict(epochs) for topic_id, epochs in current.pending_revocation}
    kept: dict[TopicId, dict[int, int]] = {}
    revoked: dict[TopicId, dict[int, int]] = {}
    for topic_id, epochs in had.items():
        wanted = set(target.get(topic_id, ()))
        kept[topic_id] = {number: since for number, since in epochs.items() if number in wanted}
        revoked[topic_id] = {number: since for number, since in epochs.items() if number not in wanted}
    pending = _held(revoked)
    if pending and _owns(owned, pending):
        return CurrentAssignment(epoch, current.epoch, UNREVOKED, _held(kept), pending)
    unreleased = False
    for topic_id, numbers in target.items():
        own = kept.setdefault(topic_id, {})
        for number in numbers:
            if number in own:
                continue
            # what the member itself was to give up, and has, is free for it
            if aim.is_held(topic_id, number) and number not in giving_up.get(topic_id, ()):
                unreleased = True
            else:
                own[number] = aim.epoch
    return CurrentAssignment(aim.epoch, current.epoch, UNRELEASED if unreleased else STABLE, _held(kept), ())


def _without_unsubscribed(current: CurrentAssignment, aim: Aim, owned: Assignment | None) -> CurrentAssignment:
    kept = tuple([held for held in current.assigned if held[0] in aim.subscribed])
    if len(kept) == len(current.assigned):
        return current
    revoked = {topic_id: dict(epochs) for topic_id, epochs in current.pending_revocation}
    for topic_id, epochs in current.assigned:
        if topic_id not in aim.subscribed:
            revoked.setdefault(topic_id, {}).update(epochs)
    pending = _held(revoked)
    if _owns(owned, pending):
        return CurrentAssignment(current.epoch, current.epoch, UNREVOKED, kept, pending)
    return replace(current, previous_epoch=current.epoch, assigned=kept)


def _held(partitions: Mapping[TopicId, Mapping[int, int]]) -> HeldPartitions:
    return tuple(
        [(topic_id, tuple(sorted(epochs.items()))) for topic_id, epochs in sorted(partitions.items()) if epochs]
    )


def held_since(assignment: Iterable[tuple[TopicId, Iterable[int]]], epoch: int) -> HeldPartitions:
    """Returns what a member holds that got all of it in this epoch."""
    return _held({topic_id: dict.fromkeys(numbers, epoch) for topic_id, numbers in assignment})
