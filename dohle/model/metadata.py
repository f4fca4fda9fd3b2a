"""Metadata records: what the controllers' log says, each a value with a type and a version.

A change is one batch of records, which takes effect as a whole; `dohle.model.image_apply` says what each of them does.
The log's first record is `Voters`. Types from 101 on are states: they stand in snapshots (`dohle.model.snapshot`),
never in the log.

What a later metadata.version adds stands at the end of a record and has a default, which means "as before": it is
what a record has that was written before that version was finalised, and what the controller keeps to until then.

What is not here: how records are written (`dohle.model.metadata_forms`), and the batches around them
(`dohle.model.metadata_batch`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from dohle.model.errors import UnsupportedVersion
from dohle.model.ids import NO_NODE, ClusterId, DirectoryId, IncarnationId, NodeId, PartitionKey, TopicId

METADATA_VERSION = "metadata.version"
"""The feature whose level says which metadata records may be written."""

OLDEST_METADATA_VERSION = 1
"""The lowest metadata.version that this software reads and writes."""

NEWEST_METADATA_VERSION = 6
"""The highest one, at which new clusters are formatted.

2: brokers are unregistered (`UnregisterBroker`); eligible leader replicas, and who led last (KIP-966); snapshots keep
the CRC of the log's first batch.
3: a broker's log directories, of which some may fail (`LogDirectories`).
4: brokers drain: they get no new replicas (`BrokerDraining`).
5: topics are forked (`ForkTopic`).
6: groups have a configuration of their own (`GroupOverride`).
"""

LOG_DIRECTORIES_VERSION = 3
"""The metadata.version from which on brokers have several log directories, of which some may fail."""

DRAINING_VERSION = 4
"""The metadata.version from which on brokers drain."""

FORKS_VERSION = 5
"""The metadata.version from which on topics are forked."""

GROUP_CONFIGS_VERSION = 6
"""The metadata.version from which on groups have a configuration of their own."""

UNSET = -1
"""In place of an offset or a time of a fork: none, or none yet."""

NOT_DRAINING = -1
"""In place of the metadata offset from which on a broker drains."""


class Endpoint(NamedTuple):
    """One door of a node."""

    listener: str
    host: str
    port: int
    security_protocol: str


class FeatureRange(NamedTuple):
    """The levels of a feature that a node can work at, both inclusive."""

    name: str
    min_level: int
    max_level: int


GROUP_VERSION = "group.version"
"""The feature whose level 1 says that groups of the consumer protocol are served (KIP-848). Nobody finalises it: it is
there as soon as every broker supports it."""

SUPPORTED_FEATURES = (
    FeatureRange(METADATA_VERSION, OLDEST_METADATA_VERSION, NEWEST_METADATA_VERSION),
    FeatureRange(GROUP_VERSION, 0, 1),
)
"""What this software says in every hello and registration."""


class Voter(NamedTuple):
    """A controller with a vote: a node together with the data folder that it was formatted with."""

    node_id: NodeId
    directory_id: DirectoryId
    host: str
    port: int


UNKNOWN_END = -1
"""The durable end of a lost replica whose directory was not there: what it holds nobody can say."""


class Doubt(NamedTuple):
    """Why a member of the ISR may not lead like any other: what it registered with after its process or disk failed.

    Doubts last only until they are settled: by a member without one, who then leads while the doubtful leave the ISR;
    or once every member has one, by comparing their ends. A `lost` one never leads: its data is missing, damaged or in
    a directory that has failed, and it is a member only because it is the last.
    """

    node_id: NodeId
    last_epoch: int  # leader epoch of the replica's last batch; -1 if it is empty
    durable_end: int  # exclusive
    lost: bool


class ForkedPartition(NamedTuple):
    """A partition of a fork that is being made.

    The leader of the source says first where it was cut, and by what the others are compared: the checksum of the
    headers in [`checked_from`, `end`).
    """

    assigned_replicas: tuple[NodeId, ...]  # as the source has them: they lie where its files are
    wanted: int  # to be cut at the batch border at or below this offset; UNSET: as late as can be
    end: int = UNSET  # where it was cut (exclusive)
    checked_from: int = UNSET
    checksum: int = 0
    confirmed: tuple[NodeId, ...] = ()  # have it, the same, durably
    unable: tuple[NodeId, ...] = ()  # have said that they cannot have it


@dataclass(frozen=True, slots=True)
class FeatureLevel:
    """A feature's finalised level, which every node works at."""

    name: str
    level: int


@dataclass(frozen=True, slots=True)
class Voters:
    """Which cluster this is and who votes in it."""

    cluster_id: ClusterId
    voters: tuple[Voter, ...]


@dataclass(frozen=True, slots=True)
class RegisterBroker:
    """A new incarnation of a broker; fenced at first. This record's offset is its broker epoch."""

    node_id: NodeId
    incarnation_id: IncarnationId
    directory_id: DirectoryId
    endpoints: tuple[Endpoint, ...]
    rack: str
    features: tuple[FeatureRange, ...]


@dataclass(frozen=True, slots=True)
class BrokerChange:
    """A broker's state, both flags as they are from now on."""

    node_id: NodeId
    broker_epoch: int
    fenced: bool
    shutting_down: bool


@dataclass(frozen=True, slots=True)
class UnregisterBroker:
    """A broker that is gone for good; no replica was assigned to it any more."""

    node_id: NodeId
    broker_epoch: int


@dataclass(frozen=True, slots=True)
class BrokerDraining:
    """A broker drains from now on, or no longer: it gets no new replicas. Outlives its registrations.

    Since metadata.version 4.
    """

    node_id: NodeId
    draining: bool


@dataclass(frozen=True, slots=True)
class LogDirectories:
    """A broker's log directories as they are from now on, where they are not the one that it registered with alone.

    Since metadata.version 3. Its replicas that lie in one that it cannot use neither lead nor join an ISR.
    """

    node_id: NodeId
    broker_epoch: int
    online: tuple[DirectoryId, ...]
    offline: tuple[DirectoryId, ...]  # those it had before and cannot use
    offline_replicas: tuple[PartitionKey, ...]  # in order


@dataclass(frozen=True, slots=True)
class Topic:
    """A new topic, without partitions and overrides yet."""

    topic_id: TopicId
    name: str


@dataclass(frozen=True, slots=True)
class Partition:
    """A topic's next partition, in leader epoch 0 and partition epoch 0."""

    topic_id: TopicId
    partition: int
    assigned_replicas: tuple[NodeId, ...]  # the preferred leader first
    in_sync_replicas: tuple[NodeId, ...]
    leader: NodeId


@dataclass(frozen=True, slots=True)
class PartitionChange:
    """All of a partition's changing state, as it is from now on."""

    topic_id: TopicId
    partition: int
    leader: NodeId  # NO_NODE while none can lead
    leader_epoch: int
    partition_epoch: int  # the one before, plus 1
    in_sync_replicas: tuple[NodeId, ...]
    doubts: tuple[Doubt, ...]
    eligible_replicas: tuple[NodeId, ...] = ()
    last_known_leader: NodeId = NO_NODE
    proven_replicas: tuple[NodeId, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplicasChange:
    """As PartitionChange, and the partition's replicas besides: a reassignment begins, ends or is taken back (KIP-455).

    While it runs the assigned replicas are its targets, in their order, and behind them those that it removes.
    """

    topic_id: TopicId
    partition: int
    assigned_replicas: tuple[NodeId, ...]  # the preferred leader first
    adding_replicas: tuple[NodeId, ...]
    removing_replicas: tuple[NodeId, ...]
    leader: NodeId  # NO_NODE while none can lead
    leader_epoch: int  # a new one wherever a replica goes
    partition_epoch: int  # the one before, plus 1
    in_sync_replicas: tuple[NodeId, ...]
    doubts: tuple[Doubt, ...]
    eligible_replicas: tuple[NodeId, ...] = ()
    last_known_leader: NodeId = NO_NODE
    proven_replicas: tuple[NodeId, ...] = ()


@dataclass(frozen=True, slots=True)
class ReassignmentThrottle:
    """How many bytes a second each broker sends, from now on, to replicas that reassignments add; 0: no bound."""

    bytes_per_s: int


@dataclass(frozen=True, slots=True)
class RemoveTopic:
    """The topic is deleted, with all that belongs to it."""

    topic_id: TopicId


@dataclass(frozen=True, slots=True)
class TopicOverride:
    """A topic's own value of a configuration key; None takes it back to the default."""

    topic_id: TopicId
    name: str
    value: str | None


@dataclass(frozen=True, slots=True)
class ProducerIds:
    """All producer ids below `next_producer_id` are given away, the last block of them to this broker."""

    node_id: NodeId
    broker_epoch: int
    next_producer_id: int


@dataclass(frozen=True, slots=True)
class ForkTopic:
    """A fork begins: the replicas of `source_id` are to make it. Nobody else sees it. Since metadata.version 5.

    Partitions have their source's numbers. With a time, each is cut before the first record that is not older.
    """

    topic_id: TopicId
    name: str
    source_id: TopicId
    timestamp_ms: int  # or UNSET
    partitions: tuple[ForkedPartition, ...]


@dataclass(frozen=True, slots=True)
class ForkedReplica:
    """What one replica of a fork has; the first one of a partition, from the source's leader, says where it is cut."""

    topic_id: TopicId
    partition: int
    node_id: NodeId
    end: int  # UNSET: it cannot have it
    checked_from: int
    checksum: int


@dataclass(frozen=True, slots=True)
class EndFork:
    """A fork is no longer being made: in the batch that makes the topic, or else it came to nothing."""

    topic_id: TopicId


@dataclass(frozen=True, slots=True)
class GroupOverride:
    """A group's own value of a configuration key; None takes it back to the brokers'. Since metadata.version 6.

    The group need not exist. In a snapshot each value that is set is one such record."""

    group_id: str
    name: str
    value: str | None


@dataclass(frozen=True, slots=True)
class NoOp:
    """What a new leader of the quorum appends first."""


@dataclass(frozen=True, slots=True)
class SnapshotHeader:
    """A snapshot's first record: what the image is outside its brokers and topics. All that follows is part of it."""

    end_offset: int  # of the metadata log: everything below is in the snapshot
    term: int  # of the last batch below it
    cluster_id: ClusterId
    voters: tuple[Voter, ...]
    next_producer_id: int
    reassignment_bytes_per_s: int
    first_batch_crc: int = 0  # of the metadata log; 0 where it is not known


@dataclass(frozen=True, slots=True)
class BrokerState:
    """A broker in a snapshot: every field of the image's broker."""

    node_id: NodeId
    broker_epoch: int
    incarnation_id: IncarnationId
    directory_id: DirectoryId
    endpoints: tuple[Endpoint, ...]
    rack: str
    features: tuple[FeatureRange, ...]
    fenced: bool
    shutting_down: bool
    has_served: bool
    draining_since: int = NOT_DRAINING


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic in a snapshot; its overrides and its partitions, in their order, are the records that follow."""

    topic_id: TopicId
    name: str
    created_at: int


@dataclass(frozen=True, slots=True)
class PartitionState:
    """A partition in a snapshot: its topic, its number, and every field of the image's partition."""

    topic_id: TopicId
    partition: int
    assigned_replicas: tuple[NodeId, ...]
    in_sync_replicas: tuple[NodeId, ...]
    leader: NodeId
    leader_epoch: int
    partition_epoch: int
    assigned_at: tuple[int, ...]
    doubts: tuple[Doubt, ...]
    adding_replicas: tuple[NodeId, ...]
    removing_replicas: tuple[NodeId, ...]
    eligible_replicas: tuple[NodeId, ...] = ()
    last_known_leader: NodeId = NO_NODE
    proven_replicas: tuple[NodeId, ...] = ()


@dataclass(frozen=True, slots=True)
class ForkState:
    """A fork in a snapshot, that is being made: every field of the image's."""

    topic_id: TopicId
    name: str
    source_id: TopicId
    timestamp_ms: int
    partitions: tuple[ForkedPartition, ...]
    since: int


@dataclass(frozen=True, slots=True)
class SnapshotFooter:
    """A snapshot's last record: without it the file was cut."""

    records: int  # before this one


MetadataRecord: TypeAlias = (
    FeatureLevel
    | Voters
    | RegisterBroker
    | BrokerChange
    | Topic
    | Partition
    | PartitionChange
    | RemoveTopic
    | TopicOverride
    | ProducerIds
    | NoOp
    | ReplicasChange
    | ReassignmentThrottle
    | LogDirectories
    | UnregisterBroker
    | BrokerDraining
    | ForkTopic
    | ForkedReplica
    | EndFork
    | GroupOverride
    | SnapshotHeader
    | BrokerState
    | TopicState
    | PartitionState
    | ForkState
    | SnapshotFooter
)


def check_levels(levels: Mapping[str, int], supported: Sequence[FeatureRange], node: str) -> None:
    """Raises UnsupportedVersion if a node that supports these ranges cannot work where these levels are finalised."""
    for name, level in levels.items():
        found = next((feature for feature in supported if feature.name == name), None)
        if found is None or not found.min_level <= level <= found.max_level:
            known = "nothing of it" if found is None else f"{found.min_level} to {found.max_level}"
            raise UnsupportedVersion(
                f"the cluster works at {name} {level}; {node} knows {known}: run it with software that knows {level}"
            )


def bootstrap_records(
    cluster_id: ClusterId, voters: tuple[Voter, ...], metadata_version: int = NEWEST_METADATA_VERSION
) -> tuple[MetadataRecord, ...]:
    """Returns the records of the metadata log's first batch, which formatting a cluster's first controllers writes."""
    return (Voters(cluster_id, voters), FeatureLevel(METADATA_VERSION, metadata_version))
