"""What clients hand to users: deliveries, records, and what there is to know of topics and nodes.

All of it is immutable and free of protobuf. Errors are those of `dohle.model.errors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from dohle.model.errors import DohleError
from dohle.model.ids import TopicPartition
from dohle.model.records import Headers
from dohle.runtime.network import Address

__all__ = ["Address", "Headers"]

NO_OFFSET = -1


class OffsetSpec(IntEnum):
    """What an offset is asked for by, in place of a time (Kafka's names and numbers)."""

    LATEST = -1
    """The high watermark: behind the last readable record."""
    EARLIEST = -2
    """Where the log begins."""
    MAX_TIMESTAMP = -3
    """The first of the records with the newest time (KIP-734)."""
    EARLIEST_LOCAL = -4
    """Where what lies on the brokers' own disks begins, which is all of it."""


class OffsetAndTimestamp(NamedTuple):
    """`offset` -1: there is no such record. `timestamp_ms` is the record's, -1 for a log's ends."""

    offset: int
    timestamp_ms: int


class CommittedOffset(NamedTuple):
    """What a group has committed in a partition: where it goes on, and what was noted with it."""

    offset: int
    metadata: str


class Delivery(NamedTuple):
    """Where a record ended up. `offset` is -1 where the broker does not tell: acks=0, or a write long ago repeated."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


class ConsumerRecord(NamedTuple):
    """One record as it was read. A named tuple, since consumers make hundreds of thousands of them a second."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int
    offset: int


@dataclass(frozen=True, slots=True)
class NewTopic:
    """A topic to create. `partitions` and `replication_factor` of None take the cluster's default.

    `assignments` places the replicas by hand, one tuple of node ids a partition, the preferred leader first; then both
    counts stay None.
    """

    name: str
    partitions: int | None = None
    replication_factor: int | None = None
    configs: Mapping[str, str] = field(default_factory=dict)
    assignments: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class ForkedTopic:
    """A topic that begins with what another one had. `ends`: by partition, where it was cut (exclusive); empty where
    another controller took over on the way."""

    name: str
    topic_id: bytes
    ends: Mapping[int, int]
    replication_factor: int


@dataclass(frozen=True, slots=True)
class CreatedTopic:
    """A topic as it was created."""

    name: str
    topic_id: bytes
    partitions: int
    replication_factor: int


@dataclass(frozen=True, slots=True)
class PartitionDescription:
    """One partition. `leader` is -1 while it has none.

    Eligible replicas may lead without being in sync (KIP-966). `last_known_leader` is -1 where there is a leader, and
    where it is not known or has lost its data.
    """

    partition: int
    leader: int
    leader_epoch: int
    partition_epoch: int
    assigned_replicas: tuple[int, ...]
    in_sync_replicas: tuple[int, ...]
    eligible_replicas: tuple[int, ...] = ()
    last_known_leader: int = -1


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """A topic and its partitions, by ascending number."""

    name: str
    topic_id: bytes
    partitions: tuple[PartitionDescription, ...]

    @property
    def replication_factor(self) -> int:
        return max((len(partition.assigned_replicas) for partition in self.partitions), default=0)


@dataclass(frozen=True, slots=True)
class TopicConfigEntry:
    """One configuration value. `type` and `doc` say what it is."""

    name: str
    value: str
    is_default: bool
    type: str
    doc: str


@dataclass(frozen=True, slots=True)
class EndpointDescription:
    """One door of a node."""

    listener: str
    address: Address
    security_protocol: str


@dataclass(frozen=True, slots=True)
class NodeDescription:
    """A registered broker. `leaders` and `replicas` count partitions."""

    node_id: int
    endpoints: tuple[EndpointDescription, ...]
    rack: str
    fenced: bool
    shutting_down: bool
    broker_epoch: int
    incarnation_id: bytes
    leaders: int
    replicas: int
    offline_log_dirs: int = 0
    offline_replicas: int = 0  # that lie there
    draining: bool = False  # it gets no new replicas

    @property
    def takes_replicas(self) -> bool:
        """Whether replicas can be moved to it now."""
        return not (self.fenced or self.shutting_down or self.draining)


@dataclass(frozen=True, slots=True)
class DrainedBroker:
    """What asking a broker to be drained came to, as the active controller knows."""

    changed: bool
    replicas: int  # that it still has


@dataclass(frozen=True, slots=True)
class VoterDescription:
    """A member of the controller quorum."""

    node_id: int
    directory_id: bytes
    address: Address


@dataclass(frozen=True, slots=True)
class QuorumReplica:
    """A controller with its data folder, as the active one knows it."""

    node_id: int
    directory_id: bytes
    address: Address
    durable_end: int | None  # of the metadata log on its disk; None: the active controller has not heard yet
    silent_ms: int  # since it last answered; -1: never, or not now


@dataclass(frozen=True, slots=True)
class QuorumDescription:
    """The controllers: who votes, and who follows without a vote."""

    leader_id: int  # -1: none is known
    term: int
    committed_end: int  # exclusive
    log_end: int
    voters: tuple[QuorumReplica, ...]
    learners: tuple[QuorumReplica, ...]


@dataclass(frozen=True, slots=True)
class NodeSupport:
    """Which metadata.version a broker or controller can work at. `role`: "broker", "voter", "learner" (without a vote).

    `metadata_versions` are the lowest and the highest; None where that is not known.
    """

    node_id: int
    role: str
    up: bool
    metadata_versions: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class FeatureDescription:
    """At which metadata.version the cluster works, and what stands in the way of the newest; "" if nothing does."""

    metadata_version: int
    newest_metadata_version: int
    obstacle: str
    nodes: tuple[NodeSupport, ...]


@dataclass(frozen=True, slots=True)
class UnhealthyPartition:
    """A partition that is under-replicated, under min.insync.replicas, or without a leader (-1)."""

    topic: str
    partition: int
    leader: int
    assigned_replicas: tuple[int, ...]
    in_sync_replicas: tuple[int, ...]
    min_insync_replicas: int
    eligible_replicas: tuple[int, ...] = ()
    last_known_leader: int = -1


@dataclass(frozen=True, slots=True)
class ClusterDescription:
    """The cluster as the answering node sees it. `controller_id` is -1 while no active controller is known."""

    cluster_id: str
    controller_id: int
    nodes: tuple[NodeDescription, ...]
    voters: tuple[VoterDescription, ...]
    metadata_version: int
    metadata_offset: int
    topics: int
    partitions: int
    unhealthy: tuple[UnhealthyPartition, ...]


@dataclass(frozen=True, slots=True)
class FollowerDescription:
    """What a leader knows of a follower. `durable_end` is -1 if it has not subscribed in this leader epoch."""

    node_id: int
    durable_end: int
    lag_ms: int  # the age of the oldest append that it has not durably acknowledged
    subscribed: bool


@dataclass(frozen=True, slots=True)
class ReplicaDescription:
    """One replica on a broker. `failure` says why it is neither served nor led from, if so; `refusal`, of a follower,
    why it has not taken what its leader sent last."""

    topic: str
    topic_id: bytes
    partition: int
    size_bytes: int
    log_start_offset: int
    log_end_offset: int
    durable_end: int
    high_watermark: int
    leads: bool
    failure: DohleError | None
    followers: tuple[FollowerDescription, ...] = ()  # if it leads
    bytes_in_per_s: float = 0.0  # what producers had appended here in the last two minutes
    bytes_out_per_s: float = 0.0  # what consumers have read here
    refusal: DohleError | None = None


@dataclass(frozen=True, slots=True)
class DeletedRecords:
    """`log_start_offset`: where the partition begins now; where nothing is deleted yet, where it begins before.

    `size_bytes`: of its leader's files, how many bytes go with the records: by whole segments.
    """

    log_start_offset: int
    before_offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class LogDirDescription:
    """One log folder of a broker."""

    path: str
    free_bytes: int
    replicas: tuple[ReplicaDescription, ...]
    failure: DohleError | None  # why it cannot be used
    directory_id: bytes = b""  # empty if that is not known
    strays: int = 0  # replicas that were set aside there, and are deleted after a while
    stray_bytes: int = 0
    lacks_room: str = ""  # why producers are refused there, and what to do; empty if they are not

    @property
    def size_bytes(self) -> int:
        """The sum of its replicas' sizes."""
        return sum(replica.size_bytes for replica in self.replicas)


@dataclass(frozen=True, slots=True)
class Shortage:
    """What a broker lacks: room, and what has rotted of its replicas."""

    directories: tuple[str, ...]  # why producers are refused in each of them, and what to do
    waiting: dict[TopicPartition, str]  # new replicas that lie nowhere yet, and why
    damaged: dict[TopicPartition, str] = field(
        default_factory=dict
    )  # what is not served of them, and what becomes of it


@dataclass(frozen=True, slots=True)
class LogDirMove:
    """A replica that goes, or went, from one log directory of a broker to another.

    `state`: "waiting", "copying", "done", "failed" or "cancelled". `size_bytes` grows with the log.
    """

    topic: str
    partition: int
    source: str
    target: str
    state: str
    copied_bytes: int
    size_bytes: int
    failure: DohleError | None

    @property
    def name(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)

    @property
    def is_over(self) -> bool:
        return self.state not in ("waiting", "copying")
