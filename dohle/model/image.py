"""The cluster image: everything that the metadata log has said up to an offset.

An image is a value. Frozen dataclasses and persistent maps share what did not change, so keeping an old image costs
little, and whoever holds one sees a single moment. Persistent maps iterate in another order in every process: walk an
image only through the methods here, which go in key order.

How records change an image is in `dohle.model.image_apply`; the rules by which they are chosen are the controller's.

Invariants, checked by `apply`: the ISR is a part of the assigned replicas, in their order, and never empty; the leader
is in the ISR, or there is none; doubts are about members of the ISR, and only while there is no leader; what a
reassignment adds and removes is assigned, and something remains either way; the eligible replicas are assigned, in that
order, and no members of the ISR.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from rpds import HashTrieMap, HashTrieSet

from dohle.model.ids import (
    NO_NODE,
    ClusterId,
    DirectoryId,
    IncarnationId,
    NodeId,
    PartitionKey,
    TopicId,
    TopicPartition,
)
from dohle.model.metadata import (
    METADATA_VERSION,
    NOT_DRAINING,
    OLDEST_METADATA_VERSION,
    Doubt,
    Endpoint,
    FeatureRange,
    ForkedPartition,
    Voter,
)
from dohle.model.topic_config import TopicConfig


@dataclass(frozen=True, slots=True)
class BrokerImage:
    """A broker, as its current incarnation registered it."""

    node_id: NodeId
    broker_epoch: int  # the offset of its registration
    incarnation_id: IncarnationId
    directory_id: DirectoryId
    endpoints: tuple[Endpoint, ...]
    rack: str
    features: tuple[FeatureRange, ...]
    fenced: bool
    shutting_down: bool
    has_served: bool  # unfenced at some time since that registration
    draining_since: int = NOT_DRAINING  # metadata offset from which on it gets no new replicas
    log_dirs: tuple[DirectoryId, ...] = ()  # that it can use; empty: the one that it registered with
    offline_log_dirs: tuple[DirectoryId, ...] = ()  # that it had and cannot use
    offline_replicas: HashTrieSet[PartitionKey] = HashTrieSet()  # those that lie there  # noqa: RUF009

    @property
    def online_log_dirs(self) -> tuple[DirectoryId, ...]:
        """The log directories that it can use."""
        return self.log_dirs or (self.directory_id,)

    @property
    def active(self) -> bool:
        """Whether it may become a leader or join an ISR."""
        return not self.fenced and not self.shutting_down

    @property
    def draining(self) -> bool:
        """Whether it is being emptied: it gets no new replicas, and leads only what nobody else can."""
        return self.draining_since != NOT_DRAINING

    def endpoint(self, listener: str) -> Endpoint | None:
        """Returns its door of that name."""
        return next((endpoint for endpoint in self.endpoints if endpoint.listener == listener), None)


@dataclass(frozen=True, slots=True)
class PartitionImage:
    """A partition's replicas and who leads them."""

    assigned_replicas: tuple[NodeId, ...]  # the preferred leader first
    in_sync_replicas: tuple[NodeId, ...]  # in the order of the assigned ones
    leader: NodeId  # NO_NODE while none can lead
    leader_epoch: int
    partition_epoch: int
    assigned_at: tuple[int, ...]  # metadata offset of each replica's assignment
    doubts: tuple[Doubt, ...] = ()  # by node id
    adding_replicas: tuple[NodeId, ...] = ()  # of the assigned ones: by a reassignment that has not ended
    removing_replicas: tuple[NodeId, ...] = ()
    eligible_replicas: tuple[NodeId, ...] = ()  # no members, and have all below the watermark (KIP-966)
    last_known_leader: NodeId = NO_NODE  # who led last, while nobody does; NO_NODE also where its data is lost
    proven_replicas: tuple[NodeId, ...] = ()  # of the doubtful: those that fsynced all that they acknowledged

    @property
    def is_reassigning(self) -> bool:
        """Whether a reassignment has not ended yet; one that only orders the replicas anew ends as it begins."""
        return bool(self.adding_replicas or self.removing_replicas)

    @property
    def target_replicas(self) -> tuple[NodeId, ...]:
        """The replicas as they will be when no reassignment runs any more."""
        if not self.removing_replicas:
            return self.assigned_replicas
        return tuple([node for node in self.assigned_replicas if node not in self.removing_replicas])

    @property
    def replication_factor(self) -> int:
        """How many replicas there have to be: those that are being added do not count until all of them have joined."""
        return len(self.assigned_replicas) - len(self.adding_replicas)

    def doubt_about(self, node_id: NodeId) -> Doubt | None:
        """Returns why this member may not lead like any other, if so."""
        return next((doubt for doubt in self.doubts if doubt.node_id == node_id), None)


@dataclass(frozen=True, slots=True)
class TopicImage:
    """A topic with its partitions and configuration."""

    topic_id: TopicId
    name: str
    created_at: int  # metadata offset
    partitions: tuple[PartitionImage, ...]  # by their number
    overrides: Mapping[str, str]  # what differs from the defaults, in key order
    config: TopicConfig

    def effective_min_insync(self, partition: int) -> int:
        """Returns how many replicas acks=all wants in sync: never more than there are."""
        return min(self.config.min_insync_replicas, self.partitions[partition].replication_factor)


@dataclass(frozen=True, slots=True)
class ForkImage:
    """A topic that is being forked from another, and is no topic yet: its name is taken, and nobody sees it."""

    topic_id: TopicId
    name: str
    source_id: TopicId
    timestamp_ms: int  # or UNSET
    partitions: tuple[ForkedPartition, ...]  # by their number
    since: int  # metadata offset; what its replicas have made they have made since


@dataclass(frozen=True, slots=True)
class PartitionHealth:
    """A partition that lacks something."""

    name: TopicPartition
    partition: PartitionImage
    min_insync_replicas: int  # the effective one
    live_in_sync_replicas: tuple[NodeId, ...]

    @property
    def leaderless(self) -> bool:
        return self.partition.leader == NO_NODE

    @property
    def under_replicated(self) -> bool:
        return len(self.live_in_sync_replicas) < self.partition.replication_factor

    @property
    def under_min_insync(self) -> bool:
        return len(self.live_in_sync_replicas) < self.min_insync_replicas


Hosted: TypeAlias = "HashTrieMap[NodeId, HashTrieMap[TopicId, tuple[int, ...]]]"
"""Each broker's replicas, by partition number."""


@dataclass(frozen=True, slots=True)
class ClusterImage:
    """The whole cluster, as of the records below `next_offset`."""

    next_offset: int
    cluster_id: ClusterId | None  # None only before the log's first record
    voters: tuple[Voter, ...]
    features: Mapping[str, int]  # finalised levels, in key order
    next_producer_id: int
    brokers: HashTrieMap[NodeId, BrokerImage]
    topics: HashTrieMap[TopicId, TopicImage]
    topic_ids: HashTrieMap[str, TopicId]
    hosted: Hosted
    reassigning: HashTrieSet[PartitionKey]
    reassignment_bytes_per_s: int  # what each broker sends at most to replicas that are being added; 0: no bound
    forks: HashTrieMap[TopicId, ForkImage] = HashTrieMap()  # that are being made  # noqa: RUF009
    group_overrides: HashTrieMap[str, Mapping[str, str]] = HashTrieMap()  # of groups that have any  # noqa: RUF009

    @property
    def metadata_version(self) -> int:
        """The finalised level of metadata.version: what it brings may be used, what later ones bring may not."""
        return self.features.get(METADATA_VERSION, OLDEST_METADATA_VERSION)

    def all_support(self, feature: str, level: int) -> bool:
        """Whether every registered broker can work at this level of the feature."""
        return all(
            any(known.name == feature and known.min_level <= level <= known.max_level for known in broker.features)
            for broker in self.brokers.values()
        )

    def topic_named(self, name: str) -> TopicImage | None:
        """Returns the topic that has this name now."""
        topic_id = self.topic_ids.get(name)
        return None if topic_id is None else self.topics[topic_id]

    def partition(self, key: PartitionKey) -> PartitionImage | None:
        """Returns the partition, if the topic exists and has that many."""
        topic = self.topics.get(key.topic_id)
        if topic is None or not 0 <= key.partition < len(topic.partitions):
            return None
        return topic.partitions[key.partition]

    def brokers_in_order(self) -> Iterator[BrokerImage]:
        """Every registered broker, by node id."""
        for node_id in sorted(self.brokers):
            yield self.brokers[node_id]

    def topics_in_order(self) -> Iterator[TopicImage]:
        """Every topic, by name."""
        for name in sorted(self.topic_ids):
            yield self.topics[self.topic_ids[name]]

    def forks_in_order(self) -> Iterator[ForkImage]:
        """Every fork that is being made, by topic id."""
        for topic_id in sorted(self.forks):
            yield self.forks[topic_id]

    def overridden_groups(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Every group with values of its own, by id; the values in key order."""
        for group_id in sorted(self.group_overrides):
            yield group_id, self.group_overrides[group_id]

    def is_active(self, node_id: NodeId) -> bool:
        """Whether this broker may become a leader or join an ISR."""
        broker = self.brokers.get(node_id)
        return broker is not None and broker.active

    def is_draining(self, node_id: NodeId) -> bool:
        """Whether this broker is being emptied."""
        broker = self.brokers.get(node_id)
        return broker is not None and broker.draining

    def is_offline(self, node_id: NodeId, key: PartitionKey) -> bool:
        """Whether this replica lies in a directory that its broker cannot use: it neither leads nor joins an ISR."""
        broker = self.brokers.get(node_id)
        return broker is not None and key in broker.offline_replicas

    def replicas_of(self, node_id: NodeId) -> Iterator[tuple[PartitionKey, PartitionImage]]:
        """Every partition that is assigned to this broker, by topic id and number."""
        hosted = self.hosted.get(node_id)
        if hosted is None:
            return
        for topic_id in sorted(hosted):
            partitions = self.topics[topic_id].partitions
            for number in hosted[topic_id]:
                yield PartitionKey(topic_id, number), partitions[number]

    def led_by(self, node_id: NodeId) -> Iterator[tuple[PartitionKey, PartitionImage]]:
        """Every partition that this broker leads, by topic id and number; walks all that it holds."""
        return ((key, partition) for key, partition in self.replicas_of(node_id) if partition.leader == node_id)

    def replica_count(self, node_id: NodeId) -> int:
        """Returns how many partitions are assigned to this broker."""
        hosted = self.hosted.get(node_id)
        return 0 if hosted is None else sum(len(numbers) for numbers in hosted.values())

    def preferred_leader(self, partition: PartitionImage) -> NodeId:
        """Returns the first of its replicas; one on a broker that drains only if there are no others."""
        for node in partition.assigned_replicas:
            if not self.is_draining(node):
                return node
        return partition.assigned_replicas[0]

    def leader_endpoint(self, partition: PartitionImage, listener: str) -> Endpoint | None:
        """Returns the leader's door of that name; None without a leader or without such a door."""
        broker = self.brokers.get(partition.leader)
        return None if broker is None else broker.endpoint(listener)

    def live_in_sync(self, partition: PartitionImage) -> tuple[NodeId, ...]:
        """Returns the members of the ISR that count as in sync: fenced ones stay members, but do not count."""
        return tuple([node for node in partition.in_sync_replicas if not self.brokers[node].fenced])

    def unhealthy_partitions(self) -> Iterator[PartitionHealth]:
        """Every partition without a leader, or with fewer live in-sync replicas than assigned ones, by name."""
        for topic in self.topics_in_order():
            for number, partition in enumerate(topic.partitions):
                live = self.live_in_sync(partition)
                if partition.leader == NO_NODE or len(live) < partition.replication_factor:
                    name = TopicPartition(topic.name, number)
                    yield PartitionHealth(name, partition, topic.effective_min_insync(number), live)


EMPTY_IMAGE = ClusterImage(
    next_offset=0,
    cluster_id=None,
    voters=(),
    features={},
    next_producer_id=0,
    brokers=HashTrieMap(),
    topics=HashTrieMap(),
    topic_ids=HashTrieMap(),
    hosted=HashTrieMap(),
    reassigning=HashTrieSet(),
    reassignment_bytes_per_s=0,
)
