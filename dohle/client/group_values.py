"""What there is to know of consumer groups, for people who look after them."""

from __future__ import annotations

from dataclasses import dataclass

from dohle.model.errors import DohleError
from dohle.model.ids import TopicPartition


@dataclass(frozen=True, slots=True)
class GroupListing:
    """One group, as its coordinator lists it. Its lag is as it was measured some seconds ago, None where it has not
    been: records in the sum of all partitions, milliseconds the most of any; `unknown_lags`: partitions without."""

    group_id: str
    kind: str
    state: str
    protocol_type: str
    members: int
    coordinator: int
    lag_records: int | None
    lag_ms: int | None
    unknown_lags: int


@dataclass(frozen=True, slots=True)
class GroupListings:
    """`silent`: by node, why a coordinator's groups are not among these; -1 stands for what nobody coordinates."""

    groups: tuple[GroupListing, ...]
    silent: dict[int, DohleError]


@dataclass(frozen=True, slots=True)
class MemberDescription:
    """`instance_id` "": a dynamic member. `epoch` -1: of the classic protocol. `state`: in words, "" where it is as the
    group is. `leads`: it shares the partitions out."""

    member_id: str
    instance_id: str
    client_id: str
    client_host: str
    assigned: tuple[TopicPartition, ...]
    epoch: int
    state: str
    leads: bool


@dataclass(frozen=True, slots=True)
class GroupPartitionDescription:
    """A partition that a group has committed an offset of, or that one of its members has.

    `committed_offset` None: nothing is committed. `member_id` "": nobody has it. `error`: why its leader does not tell
    where it ends; then what follows is None. `lag_ms`: how old the next record to read is, 0 if there is none, None
    where that is not known.
    """

    name: TopicPartition
    committed_offset: int | None
    metadata: str
    commit_ms: int
    member_id: str
    error: DohleError | None
    log_start_offset: int | None
    high_watermark: int | None
    lag_records: int | None
    lag_ms: int | None


@dataclass(frozen=True, slots=True)
class RebalanceMember:
    """A member as it was when a group rebalanced."""

    member_id: str
    instance_id: str
    client_id: str
    client_host: str


@dataclass(frozen=True, slots=True)
class RebalanceDescription:
    """One rebalance of a group. Times are in milliseconds since 1970.

    `cause`: in words. `who` None: no member set it off. `detail`: what the client gave as its reason; "" if nothing.
    `silent_ms`: for how long the member had then neither joined nor committed, None where that is not known.
    `ended_ms` None: it is under way. `last`: who was the last to come, at `last_ms`. `removed`: who did not come in
    time, of whom `more_removed` are not named. `epoch`: the generation that it led to, -1 while it is under way.
    """

    number: int
    cause: str
    who: RebalanceMember | None
    detail: str
    silent_ms: int | None
    began_ms: int
    ended_ms: int | None
    epoch: int
    members: int
    last: RebalanceMember | None
    last_ms: int | None
    removed: tuple[RebalanceMember, ...]
    more_removed: int


@dataclass(frozen=True, slots=True)
class GroupDescription:
    """One group. `assignor` "": not known. `epoch`: its generation, or its epoch by KIP-848. `empty_since_ms` -1: it
    has members, or that is not known. `now_ms`: the coordinator's time. `rebalances`: the oldest first."""

    group_id: str
    kind: str
    state: str
    protocol_type: str
    coordinator: int
    assignor: str
    epoch: int
    members: tuple[MemberDescription, ...]
    partitions: tuple[GroupPartitionDescription, ...]
    rebalances: tuple[RebalanceDescription, ...]
    empty_since_ms: int
    now_ms: int
