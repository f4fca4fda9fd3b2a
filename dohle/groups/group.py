"""What commits, expiry, listings and deletions ask of a group, whichever protocol its members speak."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from dohle.groups.records import GroupRecord

CLASSIC = "Classic"
CONSUMER = "Consumer"
"""Kinds of groups, as Kafka's ListGroups names them."""


class Group(Protocol):
    """One group. `state` is Kafka's name: Empty, PreparingRebalance, CompletingRebalance, Stable, Dead; of a KIP-848
    group Empty, Assigning, Reconciling, Stable, Dead."""

    @property
    def group_id(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def state(self) -> str: ...

    @property
    def protocol_type(self) -> str:
        """ "" where no member has named one."""
        ...

    @property
    def is_simple(self) -> bool:
        """Whether it is there for its offsets alone, and never had members."""
        ...

    @property
    def empty_since_ms(self) -> int | None:
        """By the wall clock; None as long as it has members, -1 where that is not known."""
        ...

    def subscribes_to(self, topic: str) -> bool:
        """Whether a member does, as far as subscriptions can be read: offsets of such a topic neither expire nor are
        deleted. True for a group whose members' subscriptions cannot be read."""
        ...

    def check_commit(self, member_id: str, instance_id: str | None, epoch: int, *, by_topic_id: bool) -> None:
        """Raises what a commit with that generation or member epoch is refused with; `by_topic_id`: the client knows
        StaleMemberEpoch, which came with that version."""
        ...

    def committed(self, member_id: str, now_s: float) -> None:
        """A member has committed, which shows that it lives."""
        ...

    def check_fetch(self, member_id: str | None, epoch: int) -> None:
        """Raises what a read of offsets is refused with."""
        ...

    def check_deletion(self) -> None:
        """Raises NonEmptyGroup, or GroupIdNotFound for one that is dead."""
        ...

    def tombstones(self) -> Iterable[GroupRecord]:
        """Returns the records that end it; those of its offsets are not among them."""
        ...
