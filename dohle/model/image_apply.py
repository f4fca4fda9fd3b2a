"""What each metadata record does to the cluster image: a pure function, the same on every node.

`apply_batch` is the unit in which metadata takes effect: one batch of the log, one new image. Whatever contradicts the
image is an error that is fatal to the node (CorruptLog): an image that skipped a record would no longer be the
cluster's. Whether a node can work at the levels in an image, it says itself (`check_levels`).

Cost: copying each topic's tuple of partitions once a batch, plus a few microseconds a record: what is wrong is put into
words only where something is, for thousands of partitions change at once when a broker dies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rpds import HashTrieMap, HashTrieSet

from dohle.model.errors import CorruptLog, InvalidConfig
from dohle.model.fork_draft import ForksDraft
from dohle.model.ids import NO_NODE, NodeId, PartitionKey, TopicId
from dohle.model.image import BrokerImage, ClusterImage, Hosted, PartitionImage
from dohle.model.metadata import (
    NOT_DRAINING,
    BrokerChange,
    BrokerDraining,
    EndFork,
    FeatureLevel,
    ForkedReplica,
    ForkTopic,
    GroupOverride,
    LogDirectories,
    MetadataRecord,
    NoOp,
    Partition,
    PartitionChange,
    ProducerIds,
    ReassignmentThrottle,
    RegisterBroker,
    RemoveTopic,
    ReplicasChange,
    Topic,
    TopicOverride,
    UnregisterBroker,
    Voters,
)
from dohle.model.topic_draft import Contradiction, TopicDraft, demand


def apply(image: ClusterImage, record: MetadataRecord, offset: int) -> ClusterImage:
    """Returns the image after the record at `offset`, which must be the image's next."""
    return apply_batch(image, (record,), offset)


def apply_batch(image: ClusterImage, records: Sequence[MetadataRecord], base_offset: int) -> ClusterImage:
    """Returns the image after the records from `base_offset` on, which must be the image's next offset."""
    if base_offset != image.next_offset:
        raise CorruptLog(f"metadata records at offset {base_offset}, but the image ends at {image.next_offset}")
    draft = _Draft(image)
    for offset, record in enumerate(records, base_offset):
        try:
            draft.apply(record, offset)
        except Contradiction as error:
            raise CorruptLog(f"metadata record {type(record).__name__} at offset {offset}: {error}") from error
    try:
        return draft.finish(base_offset + len(records))
    except InvalidConfig as error:
        raise CorruptLog(f"topic overrides in the metadata batch at offset {base_offset}: {error}") from error


class _Draft:
    """An image while a batch changes it."""

    def __init__(self, image: ClusterImage) -> None:
        self._cluster_id = image.cluster_id
        self._voters = image.voters
        self._features = image.features
        self._next_producer_id = image.next_producer_id
        self._brokers = image.brokers
        self._topics = image.topics
        self._topic_ids = image.topic_ids
        self._hosted = image.hosted
        self._touched: dict[TopicId, TopicDraft] = {}
        self._assigned: dict[NodeId, dict[TopicId, list[int]]] = {}  # by this batch, to new partitions
        self._reassigning = image.reassigning
        self._reassignment_bytes_per_s = image.reassignment_bytes_per_s
        self._forks = ForksDraft(image.forks)
        self._group_overrides = image.group_overrides

    def apply(self, record: MetadataRecord, offset: int) -> None:
        match record:
            case PartitionChange():
                self._change_partition(record)
            case Partition():
                self._add_partition(record, offset)
            case ReplicasChange():
                self._change_replicas(record, offset)
            case RegisterBroker():
                self._register_broker(record, offset)
            case BrokerChange():
                self._change_broker(record)
            case BrokerDraining(node_id, draining):
                self._drain_broker(node_id, offset if draining else NOT_DRAINING)
            case UnregisterBroker(node_id, broker_epoch):
                self._unregister_broker(node_id, broker_epoch)
            case LogDirectories():
                self._change_log_dirs(record)
            case Topic():
                self._add_topic(record, offset)
            case RemoveTopic(topic_id):
                self._remove_topic(topic_id)
            case TopicOverride():
                self._override(record)
            case GroupOverride():
                self._override_group(record)
            case ProducerIds(_, _, next_producer_id):
                demand(next_producer_id > self._next_producer_id, f"ids below {self._next_producer_id} are given away")
                self._next_producer_id = next_producer_id
            case FeatureLevel(name, level):
                self._finalise(name, level)
            case Voters(cluster_id, voters):
                demand(self._cluster_id in (None, cluster_id), f"this is cluster {self._cluster_id}, not {cluster_id}")
                self._cluster_id = cluster_id
                self._voters = voters
            case ForkTopic():
                self._fork_topic(record, offset)
            case ForkedReplica():
                self._forks.note(record)
            case EndFork(topic_id):
                self._forks.end(topic_id)
            case ReassignmentThrottle(bytes_per_s):
                self._reassignment_bytes_per_s = bytes_per_s
            case NoOp():
                pass
            case _:
                raise Contradiction("such a record stands in snapshots alone")

    def finish(self, next_offset: int) -> ClusterImage:
        topics = self._topics
        for topic_id, draft in self._touched.items():
            topics = topics.insert(topic_id, draft.finish())
        hosted = self._hosted
        for node_id, assigned in self._assigned.items():
            of_node = hosted.get(node_id) or HashTrieMap()
            for topic_id, numbers in assigned.items():
                if numbers:
                    of_node = of_node.insert(topic_id, tuple(sorted([*of_node.get(topic_id, ()), *numbers])))
            hosted = _with_hosted(hosted, node_id, of_node)
        return ClusterImage(
            next_offset,
            self._cluster_id,
            self._voters,
            self._features,
            self._next_producer_id,
            self._brokers,
            topics,
            self._topic_ids,
            hosted,
            self._reassigning,
            self._reassignment_bytes_per_s,
            self._forks.forks,
            self._group_overrides,
        )

    def _topic(self, topic_id: TopicId) -> TopicDraft:
        draft = self._touched.get(topic_id)
        if draft is None:
            topic = self._topics.get(topic_id)
            if topic is None:
                raise Contradiction("there is no topic of this id")
            draft = self._touched[topic_id] = TopicDraft.of(topic)
        return draft

    def _register_broker(self, record: RegisterBroker, offset: int) -> None:
        previous = self._brokers.get(record.node_id)
        broker = BrokerImage(
            node_id=record.node_id,
            broker_epoch=offset,
            incarnation_id=record.incarnation_id,
            directory_id=record.directory_id,
            endpoints=record.endpoints,
            rack=record.rack,
            features=record.features,
            fenced=True,
            shutting_down=False,
            has_served=False,
            draining_since=NOT_DRAINING if previous is None else previous.draining_since,
        )
        self._brokers = self._brokers.insert(record.node_id, broker)
        self._forks.forget(record.node_id)

    def _change_broker(self, record: BrokerChange) -> None:
        broker = self._registered(record.node_id, record.broker_epoch)
        changed = replace(
            broker,
            fenced=record.fenced,
            shutting_down=record.shutting_down,
            has_served=broker.has_served or not record.fenced,
        )
        self._brokers = self._brokers.insert(record.node_id, changed)

    def _drain_broker(self, node_id: NodeId, since: int) -> None:
        broker = self._brokers.get(node_id)
        if broker is None:
            raise Contradiction(f"broker {node_id} is not registered")
        self._brokers = self._brokers.insert(node_id, replace(broker, draining_since=since))

    def _change_log_dirs(self, record: LogDirectories) -> None:
        changed = replace(
            self._registered(record.node_id, record.broker_epoch),
            log_dirs=record.online,
            offline_log_dirs=record.offline,
            offline_replicas=HashTrieSet(record.offline_replicas),
        )
        self._brokers = self._brokers.insert(record.node_id, changed)
        self._forks.forget(record.node_id)

    def _forget_offline(self, node_id: NodeId, key: PartitionKey) -> None:
        """The broker has no such replica any more: what may lie in its failed directory is nobody's."""
        broker = self._brokers.get(node_id)
        if broker is not None and key in broker.offline_replicas:
            changed = replace(broker, offline_replicas=broker.offline_replicas.remove(key))
            self._brokers = self._brokers.insert(node_id, changed)

    def _unregister_broker(self, node_id: NodeId, broker_epoch: int) -> None:
        self._registered(node_id, broker_epoch)
        assigned = node_id in self._hosted or any(self._assigned.get(node_id, {}).values())
        demand(not assigned, f"replicas are assigned to broker {node_id}")
        self._brokers = self._brokers.remove(node_id)

    def _registered(self, node_id: NodeId, broker_epoch: int) -> BrokerImage:
        broker = self._brokers.get(node_id)
        if broker is None or broker.broker_epoch != broker_epoch:
            raise Contradiction(f"broker {node_id} is not registered with epoch {broker_epoch}")
        return broker

    def _add_topic(self, record: Topic, offset: int) -> None:
        demand(record.topic_id not in self._topics and record.topic_id not in self._touched, "the topic id is in use")
        demand(record.name not in self._topic_ids, f"topic {record.name} exists")
        self._forks.check_name(record.topic_id, record.name)
        self._touched[record.topic_id] = TopicDraft(record.topic_id, record.name, offset)
        self._topic_ids = self._topic_ids.insert(record.name, record.topic_id)

    def _fork_topic(self, record: ForkTopic, offset: int) -> None:
        demand(record.topic_id not in self._topics and record.topic_id not in self._touched, "the topic id is in use")
        demand(record.name not in self._topic_ids, f"topic {record.name} exists")
        demand(len(record.partitions) == len(self._topic(record.source_id).partitions), "the source has others")
        for partition in record.partitions:
            self._check_assigned(partition.assigned_replicas)
        self._forks.begin(record, offset)

    def _remove_topic(self, topic_id: TopicId) -> None:
        topic = self._topic(topic_id)
        del self._touched[topic_id]
        self._topics = self._topics.discard(topic_id)
        self._topic_ids = self._topic_ids.remove(topic.name)
        for node_id in sorted({node for partition in topic.partitions for node in partition.assigned_replicas}):
            hosted = self._hosted.get(node_id)
            if hosted is not None:
                self._hosted = _with_hosted(self._hosted, node_id, hosted.discard(topic_id))
            self._assigned.get(node_id, {}).pop(topic_id, None)
        for number, partition in enumerate(topic.partitions):
            if partition.is_reassigning:
                self._reassigning = self._reassigning.discard(PartitionKey(topic_id, number))
            for node_id in partition.assigned_replicas:
                self._forget_offline(node_id, PartitionKey(topic_id, number))

    def _add_partition(self, record: Partition, offset: int) -> None:
        topic = self._topic(record.topic_id)
        assigned = record.assigned_replicas
        if record.partition != len(topic.partitions):
            raise Contradiction(f"partition {len(topic.partitions)} is the next")
        self._check_assigned(assigned)
        isr = _members(record.in_sync_replicas, record.leader, assigned)
        since = self._forks.since(record.topic_id, offset)
        partition = PartitionImage(assigned, isr, record.leader, 0, 0, (since,) * len(assigned))
        topic.partitions.append(partition)
        for node_id in assigned:
            self._assigned.setdefault(node_id, {}).setdefault(record.topic_id, []).append(record.partition)

    def _change_partition(self, record: PartitionChange) -> None:
        before = self._partition_before(record)
        self._put(
            record,
            before,
            assigned_replicas=before.assigned_replicas,
            assigned_at=before.assigned_at,
            adding_replicas=before.adding_replicas,
            removing_replicas=before.removing_replicas,
        )

    def _change_replicas(self, record: ReplicasChange, offset: int) -> None:
        before = self._partition_before(record)
        assigned = record.assigned_replicas
        adding, removing = set(record.adding_replicas), set(record.removing_replicas)
        self._check_assigned(assigned)
        demand(not adding & removing, f"{adding & removing} are both added and removed")
        demand(adding < set(assigned), f"{adding} are added to the replicas {assigned}")
        demand(removing < set(assigned), f"{removing} are removed from the replicas {assigned}")
        gone = [node for node in before.assigned_replicas if node not in assigned]
        demand(not gone or record.leader_epoch > before.leader_epoch, f"{gone} go without a new leader epoch")
        since = dict(zip(before.assigned_replicas, before.assigned_at, strict=True))
        self._put(
            record,
            before,
            assigned_replicas=assigned,
            assigned_at=tuple([since.get(node, offset) for node in assigned]),
            adding_replicas=record.adding_replicas,
            removing_replicas=record.removing_replicas,
        )
        key = PartitionKey(record.topic_id, record.partition)
        runs = bool(adding or removing)
        self._reassigning = self._reassigning.insert(key) if runs else self._reassigning.discard(key)
        for node_id in gone:
            self._rehost(node_id, key, hosts=False)
            self._forget_offline(node_id, key)
        for node_id in assigned:
            if node_id not in since:
                self._rehost(node_id, key, hosts=True)

    def _check_assigned(self, assigned: tuple[NodeId, ...]) -> None:
        if len(set(assigned)) != len(assigned):
            raise Contradiction(f"the replicas {assigned} are not distinct")
        unknown = [node for node in assigned if node not in self._brokers]
        if unknown:
            raise Contradiction(f"brokers {unknown} are not registered")

    def _partition_before(self, record: PartitionChange | ReplicasChange) -> PartitionImage:
        partitions = self._topic(record.topic_id).partitions
        if not 0 <= record.partition < len(partitions):
            raise Contradiction(f"there is no partition {record.partition}")
        before = partitions[record.partition]
        if record.partition_epoch != before.partition_epoch + 1:
            raise Contradiction(f"partition epoch {record.partition_epoch} does not follow {before.partition_epoch}")
        least_epoch = before.leader_epoch + (record.leader != before.leader)
        if record.leader_epoch < least_epoch:
            raise Contradiction(f"leader epoch {record.leader_epoch} is less than {least_epoch}")
        return before

    def _put(
        self,
        record: PartitionChange | ReplicasChange,
        before: PartitionImage,
        *,
        assigned_replicas: tuple[NodeId, ...],
        assigned_at: tuple[int, ...],
        adding_replicas: tuple[NodeId, ...],
        removing_replicas: tuple[NodeId, ...],
    ) -> None:
        isr = _members(record.in_sync_replicas, record.leader, assigned_replicas)
        demand(not record.doubts or record.leader == NO_NODE, "there are doubts beside a leader")
        demand(all(doubt.node_id in isr for doubt in record.doubts), "a doubt is about no member of the ISR")
        _check_eligible(record, isr, assigned_replicas)
        self._touched[record.topic_id].partitions[record.partition] = PartitionImage(
            assigned_replicas=assigned_replicas,
            in_sync_replicas=isr,
            leader=record.leader,
            leader_epoch=record.leader_epoch,
            partition_epoch=record.partition_epoch,
            assigned_at=assigned_at,
            doubts=record.doubts,
            adding_replicas=adding_replicas,
            removing_replicas=removing_replicas,
            eligible_replicas=record.eligible_replicas,
            last_known_leader=record.last_known_leader,
            proven_replicas=record.proven_replicas,
        )

    def _rehost(self, node_id: NodeId, key: PartitionKey, *, hosts: bool) -> None:
        fresh = self._assigned.get(node_id, {}).get(key.topic_id, [])
        if not hosts and key.partition in fresh:
            fresh.remove(key.partition)
            return
        of_node = self._hosted.get(node_id) or HashTrieMap()
        numbers = set(of_node.get(key.topic_id, ()))
        numbers = numbers | {key.partition} if hosts else numbers - {key.partition}
        topic_id, numbers_in_order = key.topic_id, tuple(sorted(numbers))
        of_node = of_node.insert(topic_id, numbers_in_order) if numbers else of_node.discard(topic_id)
        self._hosted = _with_hosted(self._hosted, node_id, of_node)

    def _override(self, record: TopicOverride) -> None:
        topic = self._topic(record.topic_id)
        overrides = {**topic.overrides, record.name: record.value}
        topic.overrides = {name: value for name, value in sorted(overrides.items()) if value is not None}
        topic.config = None

    def _override_group(self, record: GroupOverride) -> None:
        changed = {**self._group_overrides.get(record.group_id, {}), record.name: record.value}
        values = {name: value for name, value in sorted(changed.items()) if value is not None}
        overrides = self._group_overrides
        self._group_overrides = (
            overrides.insert(record.group_id, values) if values else overrides.discard(record.group_id)
        )

    def _finalise(self, name: str, level: int) -> None:
        self._features = dict(sorted({**self._features, name: level}.items()))


def _with_hosted(hosted: Hosted, node_id: NodeId, topics: HashTrieMap[TopicId, tuple[int, ...]]) -> Hosted:
    """Returns `hosted` with these replicas of a node; one with none is not there, so that equal images are equal."""
    return hosted.insert(node_id, topics) if topics else hosted.discard(node_id)


def _members(isr: tuple[NodeId, ...], leader: NodeId, assigned: tuple[NodeId, ...]) -> tuple[NodeId, ...]:
    """Returns the ISR after checking it; the very tuple of the assigned replicas if they are equal, to save memory."""
    demand(len(isr) > 0, "the ISR is empty")
    if leader not in (NO_NODE, *isr):
        raise Contradiction(f"the leader {leader} is not in the ISR {isr}")
    if isr == assigned:
        return assigned
    if isr != tuple([node for node in assigned if node in isr]):
        raise Contradiction(f"the ISR {isr} does not follow {assigned}")
    return isr


def _check_eligible(
    record: PartitionChange | ReplicasChange, isr: tuple[NodeId, ...], assigned: tuple[NodeId, ...]
) -> None:
    eligible, last = record.eligible_replicas, record.last_known_leader
    if not eligible and last == NO_NODE and not record.proven_replicas:
        return
    demand(not set(eligible) & set(isr), f"the eligible replicas {eligible} are in the ISR {isr}")
    demand(
        eligible == tuple([node for node in assigned if node in eligible]),
        f"the eligible replicas {eligible} do not follow {assigned}",
    )
    demand(last == NO_NODE or record.leader == NO_NODE, f"{last} is the last known leader, and {record.leader} leads")
    demand(last == NO_NODE or last in assigned, f"the last known leader, {last}, is no replica")
    doubtful = [doubt.node_id for doubt in record.doubts if not doubt.lost]
    demand(all(node in doubtful for node in record.proven_replicas), "what is proven is of nobody with a doubt")
