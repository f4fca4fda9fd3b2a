"""What a coordinator writes to `__consumer_offsets`: values by key, of which the latest of each key counts.

These are Kafka's records in Dohle's words; their bytes are made where they are appended. A value None is a tombstone.
The state after a load is a function of the last value of each key, in whatever order the keys come: a load may leave
out what a later record of the same key replaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from dohle.groups.rebalances import Rebalance
from dohle.model.ids import TopicId

Assignment: TypeAlias = tuple[tuple[TopicId, tuple[int, ...]], ...]
"""Partitions by topic, both ascending, no topic without partitions."""

HeldPartitions: TypeAlias = tuple[tuple[TopicId, tuple[tuple[int, int], ...]], ...]
"""As an `Assignment`, each partition with the member epoch at which its holder got it (KIP-1251)."""


@dataclass(frozen=True, slots=True)
class CommittedOffset:
    """`leader_epoch` -1: the client did not say. `expire_ms` -1: it goes by the group's retention, as all new ones do.
    `topic_id` None: committed by name alone."""

    offset: int
    leader_epoch: int
    metadata: str
    commit_ms: int
    expire_ms: int = -1
    topic_id: TopicId | None = None


@dataclass(frozen=True, slots=True)
class OffsetRecord:
    group_id: str
    topic: str
    partition: int
    value: CommittedOffset | None


@dataclass(frozen=True, slots=True)
class ClassicMemberState:
    """`subscription` and `assignment` are the members' own bytes."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    session_timeout_ms: int
    subscription: bytes
    assignment: bytes


@dataclass(frozen=True, slots=True)
class ClassicGroupState:
    """`changed_ms`: when it got into its state, by the wall clock; -1 where an old version did not say."""

    protocol_type: str
    generation: int
    protocol: str | None
    leader: str | None
    changed_ms: int
    members: tuple[ClassicMemberState, ...]


@dataclass(frozen=True, slots=True)
class ClassicGroupRecord:
    group_id: str
    value: ClassicGroupState | None


@dataclass(frozen=True, slots=True)
class GroupEpoch:
    """`metadata_hash`: of the topics that are subscribed to, as they were then; 0 where there are none."""

    epoch: int
    metadata_hash: int


@dataclass(frozen=True, slots=True)
class GroupEpochRecord:
    """A KIP-848 group. Its tombstone is the group's end."""

    group_id: str
    value: GroupEpoch | None


@dataclass(frozen=True, slots=True)
class ClassicProtocols:
    """Of a member of the classic protocol in a KIP-848 group: its session, and what it brings by protocol."""

    session_timeout_ms: int
    protocols: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class MemberSubscription:
    """`topics` ascending. `regex` None: by names alone. `assignor` None: whichever the group takes."""

    instance_id: str | None
    rack: str | None
    client_id: str
    client_host: str
    topics: tuple[str, ...]
    regex: str | None
    rebalance_timeout_ms: int
    assignor: str | None
    classic: ClassicProtocols | None = None


@dataclass(frozen=True, slots=True)
class MemberRecord:
    group_id: str
    member_id: str
    value: MemberSubscription | None


@dataclass(frozen=True, slots=True)
class TargetEpochRecord:
    """The epoch for which there is a target assignment, and when it was made by the wall clock."""

    group_id: str
    epoch: int | None
    assigned_ms: int = -1


@dataclass(frozen=True, slots=True)
class TargetRecord:
    """What a member is to have."""

    group_id: str
    member_id: str
    value: Assignment | None


@dataclass(frozen=True, slots=True)
class CurrentAssignment:
    """What a member has, and what it has still to give up. `state` is Kafka's number: 0 stable, 1 unrevoked partitions,
    2 unreleased partitions, 127 unknown."""

    epoch: int
    previous_epoch: int
    state: int
    assigned: HeldPartitions
    pending_revocation: HeldPartitions


@dataclass(frozen=True, slots=True)
class CurrentRecord:
    group_id: str
    member_id: str
    value: CurrentAssignment | None


@dataclass(frozen=True, slots=True)
class ResolvedRegex:
    """Which topics a regular expression meant, at which metadata offset, and when by the wall clock."""

    topics: tuple[str, ...]
    metadata_offset: int
    resolved_ms: int


@dataclass(frozen=True, slots=True)
class RegexRecord:
    group_id: str
    regex: str
    value: ResolvedRegex | None


@dataclass(frozen=True, slots=True)
class KeptRebalance:
    """`number`: how many of the group came before it. `more_removed`: how many of those are not named."""

    number: int
    rebalance: Rebalance
    more_removed: int = 0


@dataclass(frozen=True, slots=True)
class RebalanceRecord:
    """Dohle's own: one of the last rebalances of a group. `place` is its number modulo how many are kept."""

    group_id: str
    place: int
    value: KeptRebalance | None


GroupRecord: TypeAlias = (
    OffsetRecord
    | ClassicGroupRecord
    | GroupEpochRecord
    | MemberRecord
    | TargetEpochRecord
    | TargetRecord
    | CurrentRecord
    | RegexRecord
    | RebalanceRecord
)
