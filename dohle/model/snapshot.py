"""Snapshots of the cluster image (KIP-630): everything that the metadata log says below an offset, as few records.

A snapshot is a run of record batches like the log's, so that one decoder reads both: offsets from 0 on without a gap,
the epoch of each is the term of the last change in it, and their forms are those of the image's finalised
metadata.version. `SnapshotHeader` comes first, with the voters; then feature
levels, brokers, topics with their overrides and partitions; `SnapshotFooter` comes last and counts the records.

Keeps: the image read back is equal to the one that was written. Every byte is guarded: by a batch's CRC, by the order
of offsets and the term (which the CRC does not cover), or by the footer, without which the end is missing. Both ways
work in pieces of a few milliseconds; who has an event loop to keep turning waits between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from operator import attrgetter

from rpds import HashTrieMap, HashTrieSet

from dohle.model.batch import Bytes, PartialBatch, split_batches
from dohle.model.errors import CorruptLog, CorruptMessage, InvalidConfig, UnsupportedVersion
from dohle.model.ids import ClusterId, NodeId, PartitionKey, SnapshotId, TopicId
from dohle.model.image import BrokerImage, ClusterImage, ForkImage, PartitionImage, TopicImage
from dohle.model.metadata import (
    BrokerState,
    FeatureLevel,
    ForkState,
    GroupOverride,
    LogDirectories,
    MetadataRecord,
    PartitionState,
    SnapshotFooter,
    SnapshotHeader,
    TopicOverride,
    TopicState,
)
from dohle.model.metadata_batch import MetadataBatch, decode_metadata, encode_metadata
from dohle.model.snapshot_names import config_of

SUFFIX = ".checkpoint"
RECORDS_A_BATCH = 256
_CRC_SINCE = 2  # of metadata.version

_broker_values = attrgetter(*[field.name for field in fields(BrokerState)])
_fork_values = attrgetter(*[field.name for field in fields(ForkState)])
_partition_values = attrgetter(*[field.name for field in fields(PartitionState)[2:]])


def file_name_of(snapshot: SnapshotId) -> str:
    """Returns the name of its file, as Kafka writes it."""
    return f"{snapshot.end_offset:020d}-{snapshot.term:010d}{SUFFIX}"


def parse_file_name(name: str) -> SnapshotId | None:
    """Returns which snapshot's file has this name, None where it is none's."""
    end_offset, dash, term = name.removesuffix(SUFFIX).partition("-")
    if not (dash and end_offset.isdecimal() and term.isdecimal()):
        return None
    found = SnapshotId(int(end_offset), int(term))
    return found if file_name_of(found) == name else None


def snapshot_records(image: ClusterImage, term: int, first_batch_crc: int) -> Iterator[MetadataRecord]:
    """Yields all records of the snapshot of `image`, whose last change is of `term`, but for the footer."""
    assert image.cluster_id is not None, "an image without a cluster is worth no snapshot"
    yield SnapshotHeader(
        image.next_offset,
        term,
        image.cluster_id,
        image.voters,
        image.next_producer_id,
        image.reassignment_bytes_per_s,
        first_batch_crc if image.metadata_version >= _CRC_SINCE else 0,
    )
    for name, level in sorted(image.features.items()):
        yield FeatureLevel(name, level)
    for broker in image.brokers_in_order():
        yield BrokerState(*_broker_values(broker))
        if broker.log_dirs:
            replicas = tuple(sorted(broker.offline_replicas))
            yield LogDirectories(
                broker.node_id, broker.broker_epoch, broker.log_dirs, broker.offline_log_dirs, replicas
            )
    for topic in image.topics_in_order():
        yield TopicState(topic.topic_id, topic.name, topic.created_at)
        for key, value in topic.overrides.items():
            yield TopicOverride(topic.topic_id, key, value)
        for number, partition in enumerate(topic.partitions):
            yield PartitionState(topic.topic_id, number, *_partition_values(partition))
    for fork in image.forks_in_order():
        yield ForkState(*_fork_values(fork))
    for group_id, overrides in image.overridden_groups():
        for key, value in overrides.items():
            yield GroupOverride(group_id, key, value)


def encode_snapshot(image: ClusterImage, term: int, first_batch_crc: int = 0) -> Iterator[bytes]:
    """Yields the batches of a snapshot, in order; the same bytes for the same image on every node that knows the CRC of
    the log's first batch, which tells this cluster's logs from those that were formatted with other first voters."""
    count, version = 0, image.metadata_version
    gathered: list[MetadataRecord] = []
    for record in snapshot_records(image, term, first_batch_crc):
        gathered.append(record)
        if len(gathered) == RECORDS_A_BATCH:
            yield encode_metadata(gathered, metadata_version=version, base_offset=count, term=term, timestamp_ms=0)
            count += len(gathered)
            gathered = []
    gathered.append(SnapshotFooter(count + len(gathered)))
    yield encode_metadata(gathered, metadata_version=version, base_offset=count, term=term, timestamp_ms=0)


class SnapshotReader:
    """Reads one snapshot, piece by piece: `feed` what comes, step through what it yields, and `finish`.

    `source` says where it comes from, for the CorruptLog that every damage raises, with the byte where it lies.
    """

    def __init__(self, snapshot_id: SnapshotId, source: str) -> None:
        self.snapshot_id = snapshot_id
        self.first_batch_crc = 0  # as the header says; 0 where it does not
        self.damaged_at = 0  # the byte where it cannot be read on, once that was raised
        self._source = source
        self._rest = b""
        self._position = 0  # of what is left, in the whole
        self._records = 0
        self._is_whole = False
        self._image = _ImageDraft()

    def feed(self, data: Bytes) -> Iterator[None]:
        """Takes the next bytes; yields after each batch that they complete."""
        self._rest += data
        at = 0
        try:
            for position, header in split_batches(self._rest):
                at = position
                _demand(
                    header.base_offset == self._records and header.partition_leader_epoch == self.snapshot_id.term,
                    f"a batch of offset {header.base_offset} and term {header.partition_leader_epoch} is out of place",
                )
                self._take(next(decode_metadata(self._rest[position : position + header.size_bytes])))
                at = position + header.size_bytes
                yield
        except PartialBatch:
            pass  # the rest is to come
        except (CorruptMessage, CorruptLog, _Contradiction) as error:
            raise self._damage(str(error), at) from error
        except UnsupportedVersion as error:
            self.damaged_at = self._position + at
            raise UnsupportedVersion(
                f"the snapshot {self._source} cannot be read from byte {self.damaged_at} on: {error.message}"
            ) from error
        self._rest = self._rest[at:]
        self._position += at

    def finish(self) -> ClusterImage:
        """Returns the image, once all bytes were fed."""
        if self._rest or not self._is_whole:
            raise self._damage("it ends there, before its footer", 0)
        return self._image.finish()

    def _take(self, batch: MetadataBatch) -> None:
        for record in batch.records:
            _demand(not self._is_whole, "there are records behind the footer")
            match record:
                case SnapshotHeader(end_offset, term, first_batch_crc=crc):
                    _demand(self._records == 0, "a second header")
                    _demand((end_offset, term) == self.snapshot_id, f"it is of offset {end_offset} and term {term}")
                    self.first_batch_crc = crc
                case SnapshotFooter(count):
                    _demand(count == self._records, f"{self._records} records where {count} were counted")
                    self._is_whole = True
                case _:
                    _demand(self._records > 0, "the header is missing")
            self._image.take(record)
            self._records += 1

    def _damage(self, reason: str, position: int) -> CorruptLog:
        self.damaged_at = self._position + position
        return CorruptLog(f"the snapshot {self._source} is damaged at byte {self.damaged_at}: {reason}")


class _Contradiction(Exception):
    """A record does not fit those before it."""


def _demand(condition: bool, complaint: str) -> None:
    if not condition:
        raise _Contradiction(complaint)


class _ImageDraft:
    """An image while its snapshot is read."""

    def __init__(self) -> None:
        self._header: SnapshotHeader | None = None
        self._features: dict[str, int] = {}
        self._brokers: HashTrieMap[NodeId, BrokerImage] = HashTrieMap()
        self._topics: HashTrieMap[TopicId, TopicImage] = HashTrieMap()
        self._topic_ids: HashTrieMap[str, TopicId] = HashTrieMap()
        self._hosted: dict[NodeId, dict[TopicId, list[int]]] = {}
        self._reassigning: HashTrieSet[PartitionKey] = HashTrieSet()
        self._forks: HashTrieMap[TopicId, ForkImage] = HashTrieMap()
        self._group_overrides: HashTrieMap[str, Mapping[str, str]] = HashTrieMap()
        self._topic: TopicState | None = None
        self._overrides: dict[str, str] = {}
        self._partitions: list[PartitionImage] = []

    def take(self, record: MetadataRecord) -> None:
        match record:
            case PartitionState():
                self._add_partition(record)
            case TopicState():
                self._end_topic()
                self._topic = record
            case TopicOverride(topic_id, name, value):
                _demand(self._topic is not None and topic_id == self._topic.topic_id, "an override without its topic")
                assert value is not None
                self._overrides[name] = value
            case BrokerState():
                broker = BrokerImage(*_broker_values(record))
                self._brokers = self._brokers.insert(broker.node_id, broker)
            case LogDirectories():
                self._add_log_dirs(record)
            case ForkState():
                self._forks = self._forks.insert(record.topic_id, ForkImage(*_fork_values(record)))
            case GroupOverride(group_id, name, value):
                assert value is not None
                before = self._group_overrides.get(group_id, {})
                self._group_overrides = self._group_overrides.insert(group_id, {**before, name: value})
            case FeatureLevel(name, level):
                self._features[name] = level
            case SnapshotHeader():
                self._header = record
            case SnapshotFooter():
                self._end_topic()
            case _:
                raise _Contradiction(f"a record {type(record).__name__}, which stands in the log alone")

    def _add_log_dirs(self, record: LogDirectories) -> None:
        broker = self._brokers.get(record.node_id)
        if broker is None or broker.broker_epoch != record.broker_epoch:
            raise _Contradiction(f"log directories of broker {record.node_id} without the broker")
        changed = replace(
            broker,
            log_dirs=record.online,
            offline_log_dirs=record.offline,
            offline_replicas=HashTrieSet(record.offline_replicas),
        )
        self._brokers = self._brokers.insert(record.node_id, changed)

    def _add_partition(self, record: PartitionState) -> None:
        _demand(self._topic is not None and record.topic_id == self._topic.topic_id, "a partition without its topic")
        _demand(record.partition == len(self._partitions), f"partition {len(self._partitions)} is the next")
        partition = PartitionImage(*_partition_values(record))
        if partition.in_sync_replicas == partition.assigned_replicas:  # mostly; one tuple for both saves memory
            partition = replace(partition, in_sync_replicas=partition.assigned_replicas)
        self._partitions.append(partition)
        if partition.is_reassigning:
            self._reassigning = self._reassigning.insert(PartitionKey(record.topic_id, record.partition))
        for node_id in partition.assigned_replicas:
            self._hosted.setdefault(node_id, {}).setdefault(record.topic_id, []).append(record.partition)

    def _end_topic(self) -> None:
        if (topic := self._topic) is None:
            return
        try:
            config = config_of(topic.name, self._overrides)
        except InvalidConfig as error:
            raise _Contradiction(f"overrides of topic {topic.name}: {error}") from error
        image = TopicImage(
            topic.topic_id, topic.name, topic.created_at, tuple(self._partitions), self._overrides, config
        )
        self._topics = self._topics.insert(topic.topic_id, image)
        self._topic_ids = self._topic_ids.insert(topic.name, topic.topic_id)
        self._topic, self._overrides, self._partitions = None, {}, []

    def finish(self) -> ClusterImage:
        header = self._header
        assert header is not None, "a footer comes after the header"
        hosted: HashTrieMap[NodeId, HashTrieMap[TopicId, tuple[int, ...]]] = HashTrieMap()
        for node_id, topics in self._hosted.items():
            hosted = hosted.insert(
                node_id, HashTrieMap({topic_id: tuple(numbers) for topic_id, numbers in topics.items()})
            )
        return ClusterImage(
            next_offset=header.end_offset,
            cluster_id=ClusterId(header.cluster_id),
            voters=header.voters,
            features=self._features,
            next_producer_id=header.next_producer_id,
            brokers=self._brokers,
            topics=self._topics,
            topic_ids=self._topic_ids,
            hosted=hosted,
            reassigning=self._reassigning,
            reassignment_bytes_per_s=header.reassignment_bytes_per_s,
            forks=self._forks,
            group_overrides=self._group_overrides,
        )
