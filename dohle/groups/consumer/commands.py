"""What members of KIP-848 groups ask, and what they are answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dohle.groups.outcome import Moment, Outcome, Ticket
from dohle.groups.records import Assignment

if TYPE_CHECKING:
    from dohle.groups.shard import GroupShard

JOINING_EPOCH = 0
LEAVING_EPOCH = -1
STATIC_LEAVING_EPOCH = -2


@dataclass(frozen=True, slots=True)
class ConsumerHeartbeat:
    """Joins, says what has changed, and leaves. Answered with HeartbeatAnswer.

    None, and -1 of the time-out, stand for what is as it was. `member_epoch`: the one that it was told last,
    JOINING_EPOCH, LEAVING_EPOCH, or STATIC_LEAVING_EPOCH: a static member that will be back. `member_id` "": it is
    given one. `owned`: what it has, of what it was told. `regex` "": none any more.

    Errors: InvalidRequest, UnsupportedAssignor, InvalidRegularExpression, GroupIdNotFound, GroupMaxSizeReached,
    UnknownMember, FencedMemberEpoch, FencedInstanceId, UnreleasedInstanceId.
    """

    group_id: str
    member_id: str
    member_epoch: int
    instance_id: str | None = None
    rack: str | None = None
    rebalance_timeout_ms: int = -1
    topics: tuple[str, ...] | None = None
    regex: str | None = None
    assignor: str | None = None
    owned: Assignment | None = None
    client_id: str = ""
    client_host: str = ""

    @property
    def tells_all(self) -> bool:
        """Whether nothing is left out: such a member wants to be told its whole assignment, too."""
        subscribes = self.topics is not None or self.regex is not None
        return self.rebalance_timeout_ms != -1 and subscribes and self.owned is not None

    def __call__(self, shard: GroupShard, ticket: Ticket, moment: Moment) -> Outcome:
        return shard.consumer.heartbeat(self, ticket, moment)


@dataclass(frozen=True, slots=True)
class HeartbeatAnswer:
    """`assignment` None: it is as it was."""

    member_id: str
    member_epoch: int
    heartbeat_interval_ms: int = 0
    assignment: Assignment | None = None


@dataclass(frozen=True, slots=True)
class ConsumerMemberDescription:
    """`is_classic`: it speaks the classic protocol."""

    member_id: str
    instance_id: str | None
    rack: str | None
    epoch: int
    client_id: str
    client_host: str
    topics: tuple[str, ...]
    regex: str | None
    assignment: Assignment
    target: Assignment
    is_classic: bool


@dataclass(frozen=True, slots=True)
class ConsumerGroupDescription:
    """`state` as of `Group`; members by their ids."""

    group_id: str
    state: str
    epoch: int
    target_epoch: int
    assignor: str
    members: tuple[ConsumerMemberDescription, ...]


@dataclass(frozen=True, slots=True)
class ConsumerDescribe:
    """Describes a group. Answered with ConsumerGroupDescription. Errors: GroupIdNotFound, also for a group of another
    kind."""

    group_id: str

    def __call__(self, shard: GroupShard, ticket: Ticket, moment: Moment) -> Outcome:
        return shard.consumer.describe(self, ticket)
