"""A broker: what it offers to the listeners, and its life from registration to controlled shutdown.

Order at the start (rule 12): follow metadata silently, from before there are logs to make a broker of; register, saying
what the folders hold; once the image is past that registration, act on the difference; only then ask to be unfenced.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dohle.broker.compaction import Compaction, CompactionSettings
from dohle.broker.deletions import Deletions
from dohle.broker.dir_moves import DirMoves
from dohle.broker.failed_dirs import FailedDirs
from dohle.broker.forks import Forks
from dohle.broker.groups.coordinator import CoordinatorSettings, GroupCoordinator
from dohle.broker.groups.lags import GroupLags, OffsetsOfGroups, Position
from dohle.broker.isr_changes import IsrChanges
from dohle.broker.membership import Membership
from dohle.broker.metadata_follower import MetadataFollower
from dohle.broker.positions import Positions
from dohle.broker.producer_ids import ProducerIds
from dohle.broker.readers import Readers
from dohle.broker.reads import Reads
from dohle.broker.replicas import ROOM_RETRY_S, Replicas
from dohle.broker.replication_service import ReplicationService
from dohle.broker.retention import Retention
from dohle.broker.scrubber import Scrubber
from dohle.broker.surroundings import Surroundings
from dohle.broker.traffic import Traffic
from dohle.broker.waiting import Produced
from dohle.groups.standing import ListOffsets
from dohle.model.batch import Bytes
from dohle.model.codecs import Codec
from dohle.model.errors import DohleError
from dohle.model.ids import NodeId, PartitionKey, TopicPartition, new_id
from dohle.model.image import ClusterImage
from dohle.model.internal_topics import OFFSETS_TOPIC, check_not_internal
from dohle.model.metadata import (
    BrokerChange,
    Endpoint,
    Partition,
    PartitionChange,
    RegisterBroker,
    RemoveTopic,
    ReplicasChange,
    TopicOverride,
)
from dohle.model.metadata_batch import MetadataBatch
from dohle.model.produced import validate_produced_batch
from dohle.model.recompression import recompressed, wanted_codec
from dohle.model.snapshot_names import check_writable
from dohle.model.topic_config import TopicConfig
from dohle.rpc.identity import NodeIdentity
from dohle.rpc.v1 import common_pb2, controller_pb2
from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk
from dohle.runtime.network import Network
from dohle.runtime.tasks import OnFailure, Tasks
from dohle.runtime.workers import Workers
from dohle.storage.log_dirs import LogDirs
from dohle.storage.log_folder import LogFolder
from dohle.storage.room import DiskFull

log = logging.getLogger(__name__)

TICK_S = 0.25


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """What an operator sets. `endpoints` are what clients and other nodes are told."""

    endpoints: tuple[Endpoint, ...]
    rack: str = ""
    heartbeat_interval_ms: int = 200
    session_timeout_ms: int = 3000
    replica_lag_time_max_ms: int = 10_000
    reads_by_rack: bool = True
    fill_bytes_per_s: int = 64 << 20
    retention_check_interval_ms: int = 300_000
    scrub_interval_ms: int = 0  # never
    scrub_bytes_per_s: int = 10 << 20
    compaction: CompactionSettings = field(default_factory=CompactionSettings)
    groups: CoordinatorSettings = field(default_factory=CoordinatorSettings)


class Broker:
    """One incarnation. `on_failure` is told of what the broker cannot go on after."""

    def __init__(
        self,
        identity: NodeIdentity,
        settings: BrokerSettings,
        dirs: LogDirs,
        metadata: MetadataFollower,
        *,
        clock: Clock,
        disk: Disk,
        network: Network,
        random: random.Random,
        workers: Workers,
        on_failure: OnFailure,
    ) -> None:
        self.traffic = Traffic()
        self._settings = settings
        self._workers = workers
        self._tasks = Tasks(f"broker {identity.node_id}", on_failure)
        self._surroundings = Surroundings(identity, clock, disk, network, random, self._tasks)
        self.log_dirs = dirs
        self.metadata = metadata
        self.controller = metadata.controller
        interval_s, session_s = settings.heartbeat_interval_ms / 1000, settings.session_timeout_ms / 1000
        self.membership = Membership(self._surroundings, self.controller, interval_s, session_s)
        self.membership.metadata_offset = metadata.image.next_offset
        metadata.on_batches = self._metadata_moved
        isr_changes = self.isr_changes = IsrChanges(identity.node_id, self._broker_epoch_of, self.controller, clock)
        self._failed_dirs = FailedDirs(
            self._surroundings, self.controller, lambda: self.membership.broker_epoch, self._take_offline
        )
        dirs.on_offline = self._failed_dirs.failed
        lag_s, fill_rate = settings.replica_lag_time_max_ms / 1000, settings.fill_bytes_per_s
        self.replicas = Replicas(self._surroundings, dirs, self._failed_dirs, isr_changes, lag_s, fill_rate)
        self.forks = Forks(
            self._surroundings, dirs, self.replicas, self.controller, lambda: self.membership.broker_epoch
        )
        self.dir_moves = DirMoves(self._surroundings, dirs, self.replicas, settings.fill_bytes_per_s)
        readers = Readers(self.replicas, self.membership, clock, settings.rack, by_rack=settings.reads_by_rack)
        self.reads = Reads(self.replicas, readers, clock, self.traffic)
        self.positions = Positions(self.replicas, clock)
        self.deletions = Deletions(self.replicas, clock)
        self.retention = Retention(
            self._surroundings, dirs, self.replicas, self.membership, settings.retention_check_interval_ms / 1000
        )
        self.scrubber = Scrubber(
            clock,
            self.replicas,
            self.traffic,
            interval_s=settings.scrub_interval_ms / 1000,
            bytes_per_s=settings.scrub_bytes_per_s,
        )
        self.compaction = Compaction(
            self._surroundings, dirs, self.replicas, self.membership, metadata, workers, settings.compaction
        )
        self.producer_ids = ProducerIds(identity.node_id, lambda: self.membership.broker_epoch, self.controller)
        self.groups = GroupCoordinator(
            settings.groups,
            self._surroundings,
            self.replicas,
            self.membership,
            metadata,
            workers,
            self.ask_controller,
        )
        self.group_lags = GroupLags(self._surroundings, self.positions, lambda: self.image, self._group_offsets)
        self.replication_service = ReplicationService(self._surroundings, self.replicas)
        self._past_registration = asyncio.Event()
        self._active = False
        self.registered_at: float | None = None  # when the image was past this registration
        self.acting_at: float | None = None  # when every replica had its role

    @property
    def node_id(self) -> NodeId:
        return self._surroundings.me

    @property
    def image(self) -> ClusterImage:
        """The newest metadata; the replicas follow within the same turn unless a folder must be made."""
        return self.metadata.image

    @property
    def knows_cluster(self) -> bool:
        """Whether the image is past this broker's own registration; an earlier one lacks what exists already."""
        return 0 <= self.membership.broker_epoch < self.image.next_offset

    def _broker_epoch_of(self, node_id: NodeId) -> int:
        broker = self.image.brokers.get(node_id)
        return -1 if broker is None else broker.broker_epoch

    def now(self) -> float:
        """The monotonic time by which lags are told."""
        return self._surroundings.clock.now()

    def wall_ms(self) -> int:
        """The time of day in ms, by which people are told when something was."""
        return self._surroundings.clock.wall_ms()

    def metadata_lag_s(self) -> float:
        """Returns for how long metadata may have been committed that this broker does not know."""
        silent_s = self.membership.unanswered_s if self.membership.in_doubt else 0.0  # a stream may hang and not break
        return max(self.metadata.lag_s(), silent_s)

    # what clients ask

    async def produce(
        self, key: PartitionKey, batch: Bytes, acks: int, timeout_s: float, *, keeps_offset: bool = False
    ) -> asyncio.Future[Produced] | None:
        """Appends `batch` and returns its acknowledgement; None for acks=0. Raises what `Leading.append` raises.

        Waits only where the topic stores another codec than the batch has, or the log is just being exchanged.
        """
        try:
            partition = self.replicas.partition(key)
            check_writable(partition.name.topic)
            check_not_internal(partition.name.topic)
            leading = partition.leading()
            codec = wanted_codec(leading.log.config)
            if codec is not None and not keeps_offset:
                batch = await self._in_codec(batch, codec, leading.log.config)
                partition = self.replicas.partition(key)
                leading = partition.leading()
            if partition.exchanged is not None:
                await partition.may_append()
                leading = self.replicas.partition(key).leading()
            now = self._surroundings.clock.now()
            wall_ms = self.wall_ms()
            future = leading.append(batch, acks, now + timeout_s, now, wall_ms, keeps_offset=keeps_offset)
        except DohleError:
            self.traffic.refused_batches += 1
            raise
        self.traffic.produced_batches += 1
        self.traffic.produced_bytes += len(batch)
        partition.bytes_in.count(len(batch), now)
        return future

    async def _in_codec(self, batch: Bytes, codec: Codec, config: TopicConfig) -> Bytes:
        header = validate_produced_batch(batch, config, self.wall_ms())
        if header.codec == codec:
            return batch
        return await self._workers.run(partial(recompressed, batch, codec))

    async def ask_controller(
        self, method: str, request: Any, *, timeout_s: float, on_lost: Callable[[], None] = lambda: None
    ) -> Any:
        """Passes an operator's request on to the active controller and returns its answer.

        An attempt without an answer may have been taken: `on_lost` is told of it. Where it was to make topics the next
        one knows them by their ids; each has ids of its own, for what it made may be deleted by the time of the next.
        """

        def draw_topic_ids() -> None:
            if method == "CreateTopics":
                for topic in request.topics:
                    topic.topic_ids.append(new_id(self._surroundings.random))

        return await self.controller.call(method, request, timeout_s=timeout_s, prepare=draw_topic_ids, on_lost=on_lost)

    async def _group_offsets(self) -> OffsetsOfGroups:
        """Returns what the groups that are coordinated here go on from. Raises what `ask_each` does."""
        if self.image.topic_named(OFFSETS_TOPIC) is None:  # to look is no reason to make it
            return {}
        shards: list[Mapping[str, Sequence[tuple[TopicPartition, int]]]] = await self.groups.ask_each(ListOffsets())
        return {
            group_id: [Position(name, offset) for name, offset in offsets]
            for shard in shards
            for group_id, offsets in shard.items()
        }

    # life

    async def start(self) -> None:
        """Returns once registered and acting; `membership.serving` is set when the controller has unfenced it."""
        await self.membership.register(await self._registration(), timeout_s=None)
        self._tasks.spawn(self._failed_dirs.run(), "failed directories")
        await self._past_registration_reached()
        self.registered_at = self.now()
        await self.log_dirs.findings_reported()
        while not await self._begin_to_act():
            await self._surroundings.clock.sleep(ROOM_RETRY_S)
        self.acting_at = self.now()
        self._tasks.spawn(self.isr_changes.run(), "in-sync sets")
        self._tasks.spawn(self.forks.run(), "forks")
        self._tasks.spawn(self._tick(), "tick")
        self.membership.ready()
        self._tasks.spawn(self.membership.run(), "heartbeats")
        self._tasks.spawn(self.retention.run(), "retention")
        if self._settings.scrub_interval_ms:
            self._tasks.spawn(self.scrubber.run(), "scrubbing")
        self._tasks.spawn(self.compaction.run(), "compaction")
        if self.groups.settings.lag_interval_ms:
            self._tasks.spawn(self.group_lags.run(self.groups.settings.lag_interval_ms / 1000), "lags of groups")

    async def _begin_to_act(self) -> bool:
        """Returns whether the replicas are as the image says, and that is noted: not while there is no room for it."""
        async with self.replicas.acting:
            acted_on = self.image
            await self.replicas.act(acted_on, None)
            if self.replicas.unmade:
                return False
            try:
                # a folder that served and says less was wiped
                await self.log_dirs.put_metadata_offset(acted_on.next_offset)
            except DiskFull as error:
                log.error("this broker cannot begin before there is room: %s", error)
                return False
            await self._failed_dirs.reported()  # of directories that do not have it
            self.forks.find()
            self.forks.look()
            self._active = True
            return True

    async def _take_offline(self, folder: LogFolder) -> None:
        async with self.replicas.acting:
            await self.replicas.take_offline(folder)

    async def _registration(self) -> controller_pb2.RegisterBrokerRequest:
        offsets = await self.log_dirs.metadata_offsets()
        log_dirs = [
            controller_pb2.RegisteredLogDir(
                directory_id=folder.directory_id,
                durable_metadata_offset=offset,
                clean_broker_epoch=folder.previous_broker_epoch,
            )
            for folder, offset in offsets.items()
        ]
        return controller_pb2.RegisterBrokerRequest(
            hello=self._surroundings.identity.hello(),
            endpoints=[
                common_pb2.Endpoint(
                    listener=endpoint.listener,
                    host=endpoint.host,
                    port=endpoint.port,
                    security_protocol=endpoint.security_protocol,
                )
                for endpoint in self._settings.endpoints
            ],
            rack=self._settings.rack,
            held=self.replicas.held(list(offsets)),
            durable_metadata_offset=max(one.durable_metadata_offset for one in log_dirs),
            clean_broker_epoch=self.log_dirs.previous_broker_epoch,
            log_dirs=log_dirs,
            offline_log_dirs=len(self.log_dirs.offline),
        )

    async def _past_registration_reached(self) -> None:
        if self.image.next_offset <= self.membership.broker_epoch:
            await self._past_registration.wait()

    async def _metadata_moved(self, image: ClusterImage, batches: list[MetadataBatch] | None) -> None:
        """`batches` None: the image is a snapshot's, and anything may be new in it."""
        self.membership.metadata_offset = image.next_offset
        if 0 <= self.membership.broker_epoch < image.next_offset:
            self._past_registration.set()
        async with self.replicas.acting:
            if not self._active:
                return
            changed, brokers_changed = (None, True) if batches is None else self._touched(batches)
            await self.forks.drop_ended(image)
            await self.replicas.act(image, changed)
            self.groups.metadata_moved(batches)
            self.forks.look()
            if brokers_changed:
                await self.replicas.brokers_changed()

    def _touched(self, batches: list[MetadataBatch]) -> tuple[list[PartitionKey], bool]:
        """Returns the partitions whose replicas here may have to change, in the records' order, and whether any
        broker's state did."""
        touched: dict[PartitionKey, None] = {}
        brokers_changed = False
        for batch in batches:
            for record in batch.records:
                match record:
                    case Partition() | PartitionChange() | ReplicasChange():
                        touched[PartitionKey(record.topic_id, record.partition)] = None
                    case RemoveTopic() | TopicOverride():
                        of_topic = [key for key in self.replicas.partitions if key.topic_id == record.topic_id]
                        touched.update(dict.fromkeys(of_topic))
                    case RegisterBroker() | BrokerChange():
                        brokers_changed = True
                    case _:
                        pass
        return list(touched), brokers_changed

    async def _tick(self) -> None:
        while True:
            await self._surroundings.clock.sleep(TICK_S)
            await self.replicas.tick()

    async def leave(self) -> None:
        """The controlled shutdown: leaderships are handed over while this broker still serves."""
        if self._active:
            await self.membership.leave()

    async def stop(self) -> None:
        """Ends every role and task. The folder is the owner's to close."""
        async with self.replicas.acting:
            self._active = False
            self.log_dirs.on_offline = None  # what fails from now on the next start finds
            await self.dir_moves.close()
            await self.replicas.close()
        await self._tasks.close()
