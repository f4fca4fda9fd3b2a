"""What commits, expiry, listings and deletions ask of a group, whichever protocol its members speak."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from dohle.groups.records import GroupRecord
from dohle.model.ids import PartitionKey

CLASSIC = "Classic"
CONSUMER = "Consumer"
"""Kinds of groups, as people are told them by Kafka's tools; its protocol has them in small letters."""
CONSUMER_PROTOCOL = "consumer"
"""The protocol type of classic groups whose members' subscriptions and assignments can be read."""


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

    def check_commit(
        self,
        member_id: str,
        instance_id: str | None,
        epoch: int,
        partitions: Sequence[PartitionKey] = (),
        *,
        knows_epochs: bool,
    ) -> None:
        """Raises what a commit with that generation or member epoch is refused with. `knows_epochs`: the client speaks
        OffsetCommit 9 or later, which brought member epochs; a member of KIP-848 has to (else UnsupportedVersion).
        `partitions`: what is committed. A member of KIP-848 may do so with an earlier epoch, if it has held them all
        since that one or longer (KIP-1251)."""
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
