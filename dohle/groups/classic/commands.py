"""What members and operators ask of classic groups, and what they are answered.

A command is given to a driver, which calls it with the shard, a ticket and the moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from dohle.groups.outcome import Moment, Outcome, Ticket
from dohle.model.errors import DohleError

if TYPE_CHECKING:
    from dohle.groups.shard import GroupShard

Protocols: TypeAlias = tuple[tuple[str, bytes], ...]
"""What a member can do, best first: a name, which is there once, and what the leader is to know about the member."""

NO_MEMBER = ""
"""Who joins for the first time, and has no id yet."""


@dataclass(frozen=True, slots=True)
class Join:
    """Joins a group and waits for the others. Answered with Joined or NotJoined.

    `needs_member_id`: who comes without an id is given one, and has to join again with it (KIP-394).
    `can_skip_assignment`: a static leader that comes back understands that nothing is to be assigned (KIP-814).
    `reason`: what the client says about it (KIP-800).
    """

    group_id: str
    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    protocol_type: str
    protocols: Protocols
    session_timeout_ms: int
    rebalance_timeout_ms: int
    reason: str = ""
    needs_member_id: bool = True
    can_skip_assignment: bool = True

    @property
    def size_bytes(self) -> int:
        """What remembering the member takes, beside its id and what every member takes."""
        return len(self.client_id) + sum(len(name) + len(data) for name, data in self.protocols)

    def __call__(self, shard: GroupShard, ticket: Ticket, moment: Moment) -> Outcome:
        return shard.classic.join(self, ticket, moment)


@dataclass(frozen=True, slots=True)
class JoinedMember:
    """What the leader is told of one member: its bytes for the protocol that was chosen."""

    member_id: str
    instance_id: str | None
    metadata: bytes


@dataclass(frozen=True, slots=True)
class Joined:
    """`members` are for the leader alone. `skip_assignment`: it leads, and the assignment stands."""

    member_id: str
    generation: int
    protocol_type: str
    protocol: str | None
    leader: str
    members: tuple[JoinedMember, ...] = ()
    skip_assignment: bool = False


@dataclass(frozen=True, slots=True)
class NotJoined:
    """`member_id`: the one to join with again where the error is MemberIdRequired, and otherwise whose error it is."""

    error: DohleError
    member_id: str


@dataclass(frozen=True, slots=True)
class Sync:
    """Waits for the assignments, which the leader brings. Answered with Synced.

    `protocol_type` and `protocol` None: the client does not say. Errors: UnknownMember, FencedInstanceId,
    IllegalGeneration, InconsistentGroupProtocol, RebalanceInProgress, and why the assignment could not be written.
    """

    group_id: str
    member_id: str
    instance_id: str | None
    generation: int
    assignments: tuple[tuple[str, bytes], ...] = ()
    protocol_type: str | None = None
    protocol: str | None = None

    def __call__(self, shard: GroupShard, ticket: Ticket, moment: Moment) -> Outcome:
        return shard.classic.sync(self, ticket, moment)


@dataclass(frozen=True, slots=True)
class Synced:
    protocol_type: str
    protocol: str | None
    assignment: bytes


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Says that a member lives. Answered with None. Errors: UnknownMember, FencedInstanceId, IllegalGeneration,
    RebalanceInProgress."""

    group_id: str
    member_id: str
    instance_id: str | None
    generation: int

    def __call__(self, shard: GroupShard, ticket: Ticket, moment: Moment) -> Outcome:
        return shard.classic.heartbeat(self, ticket, moment)


@dataclass(frozen=True, slots=True)
class Leaver:
    """Who leaves. `member_id` "": whoever has the instance id."""

    member_id: str
    instance_id: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Leave:
    """Members leave. Answered with a DohleError or None for each of them, in their order."""

    group_id: str
    leavers: tuple[Leaver, ...]

    def __call__(self, shard: GroupShard, ticket: Ticket, moment: Moment) -> Outcome:
        return shard.classic.leave(self, ticket, moment)


@dataclass(frozen=True, slots=True)
class DescribedMember:
    """`metadata` is empty unless the group is stable."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    metadata: bytes
    assignment: bytes


@dataclass(frozen=True, slots=True)
class Description:
    """`protocol` is "" unless the group is stable."""

    group_id: str
    state: str
    protocol_type: str
    protocol: str
    members: tuple[DescribedMember, ...]


@dataclass(frozen=True, slots=True)
class Describe:
    """Describes a group. Answered with Description. Errors: GroupIdNotFound, also for a group that is no classic
    one."""

    group_id: str

    def __call__(self, shard: GroupShard, ticket: Ticket, moment: Moment) -> Outcome:
        return shard.classic.describe(self, ticket)
