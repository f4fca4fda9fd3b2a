"""Node: a controller, a broker or both, assembled out of one configuration and the seams to the world outside.

Order at the start: the directories are locked and known to be this node's; the metadata log is recovered; the services
listen; only then the quorum is joined, so that whoever hears of this node reaches it. While the controller votes, and
the metadata is read and followed, the partitions' logs are opened, which takes seconds where there are thousands; the
broker, and its services, are as good as not there until then. It takes the image over that is known by that time, and
registers last. The stop goes the other way, after a controlled shutdown; whatever came up is taken down, also when a
start is cut short.

Runs in the simulator as it is: what belongs to a real process (signals, logging, HTTP) is in `process`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random
from typing import Protocol

from dohle.broker.broker import Broker, BrokerSettings
from dohle.broker.compaction import CompactionSettings
from dohle.broker.controller_client import ControllerClient
from dohle.broker.metadata_follower import MetadataFollower
from dohle.broker.replicas import LISTENER
from dohle.cluster.config import NodeConfig
from dohle.cluster.directories import Directories, open_directories
from dohle.cluster.group_config import coordinator_settings
from dohle.controller.leader_balance import BalanceTerms
from dohle.controller.part import ControllerPart
from dohle.controller.snapshot_taker import SnapshotConfig
from dohle.controller.topics import TopicDefaults
from dohle.listeners.admin_service import AdminService
from dohle.listeners.broker_service import BrokerService
from dohle.listeners.group_admin_service import GroupAdminService
from dohle.listeners.groups_service import GroupsService
from dohle.model.ids import IncarnationId, NodeId, new_id
from dohle.model.metadata import SUPPORTED_FEATURES, Endpoint, FeatureRange
from dohle.raft.config import RaftConfig
from dohle.rpc.identity import NodeIdentity
from dohle.rpc.late_service import LateService
from dohle.rpc.node_service import NodeService
from dohle.rpc.v1 import admin_pb2, broker_pb2, group_admin_pb2, groups_pb2, replication_pb2
from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk
from dohle.runtime.network import Address, Network, Service
from dohle.runtime.tasks import OnFailure, Tasks, cancel
from dohle.runtime.workers import Workers
from dohle.storage.log_dirs import LogDirs

log = logging.getLogger(__name__)

HTTP_LISTENER = "HTTP"
EXTERNAL_LISTENER = "GRPC@EXTERNAL"
"""The gRPC services once more, for clients that know the nodes by other addresses; registered as no network's name."""
SECURITY_PROTOCOL = "PLAINTEXT"
_OF_BROKER = (
    replication_pb2.DESCRIPTOR.services_by_name["Replication"],
    broker_pb2.DESCRIPTOR.services_by_name["Broker"],
    admin_pb2.DESCRIPTOR.services_by_name["Admin"],
    group_admin_pb2.DESCRIPTOR.services_by_name["GroupAdmin"],
    groups_pb2.DESCRIPTOR.services_by_name["Groups"],
)
_STOP_GRACE_S = 0.2
"""How long rpcs may take to end by themselves once the broker has handed its leaderships over."""


@dataclass(frozen=True, slots=True)
class Seams:
    """The world outside of one node."""

    clock: Clock
    disk: Disk
    network: Network
    random: Random
    workers: Workers


class Door(Protocol):
    """Another way for clients to the broker, beside the gRPC services: what its owner makes for the real world."""

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """What clients and other nodes are told of it, once it is bound."""
        ...

    async def bind(self) -> None:
        """Takes its ports without listening yet. Raises ConfigurationError if one is in use."""
        ...

    async def open(self, broker: Broker) -> None:
        """Begins to answer, out of a broker that has registered."""
        ...

    async def close(self) -> None: ...


class Node:
    """One start of one node. `on_failure` is told of what it cannot go on after; its owner then stops it.

    `features` are the levels that it says it supports, and keeps to.
    """

    def __init__(
        self,
        config: NodeConfig,
        seams: Seams,
        *,
        on_failure: OnFailure,
        features: tuple[FeatureRange, ...] = SUPPORTED_FEATURES,
        doors: Sequence[Door] = (),
    ) -> None:
        self.config = config
        self.features = features
        self.identity: NodeIdentity | None = None
        self.controller: ControllerPart | None = None
        self.metadata: MetadataFollower | None = None
        self.broker: Broker | None = None
        self.failure: BaseException | None = None
        self.started_at = seams.clock.now()
        self._quorum_at: float | None = None
        self._open_at: float | None = None
        self._ready_at: float | None = None
        self._seams = seams
        self._on_failure = on_failure
        self._doors = doors
        self._tasks = Tasks(f"node {config.node_id}", self._fail)
        self._parts = AsyncExitStack()  # what is up, to be taken down in the opposite order
        self._serving = AsyncExitStack()  # what ends before any part does

    async def start(self) -> None:
        """Returns once the node takes part in its cluster, which waits for a controller if there is none.

        Raises DataFolderError, ConfigurationError, CorruptLog or StorageFailure, saying what to do. `stop` is due
        whatever happens here.
        """
        config, seams = self.config, self._seams
        directories = await open_directories(seams.disk, config)
        folder = directories.metadata
        self._parts.callback(directories.close)
        self._parts.push_async_callback(self._tasks.close)
        self.identity = NodeIdentity(
            folder.cluster_id,
            NodeId(config.node_id),
            IncarnationId(new_id(seams.random)),
            folder.directory_id,
            self.features,
        )
        services = [NodeService(self.identity).service()]
        if config.is_controller:
            self.controller = await self._open_controller(self.identity)
            self._parts.push_async_callback(self.controller.close)
            services += self.controller.services
        rpcs_of_broker = [LateService(descriptor, f"node {config.node_id} is starting") for descriptor in _OF_BROKER]
        if config.is_broker:
            services += [late.service for late in rpcs_of_broker]
        for door in self._doors:
            self._serving.push_async_callback(door.close)
            await door.bind()
        await self._serve(config.grpc_address, services, LISTENER)
        if config.external_grpc is not None:
            await self._serve(config.external_grpc[0], services, EXTERNAL_LISTENER)
        self._serving.push_async_callback(self._leave)
        self._serving.push_async_callback(self._hand_over)
        log.info("node %d of cluster %s listens on %s", config.node_id, folder.cluster_id, config.grpc_address)
        if self.controller is not None:
            await self.controller.start()
            self._quorum_at = seams.clock.now()
        if config.is_broker:
            self.metadata = self._follow_metadata(self.identity)
            self.broker = await self._open_broker(self.identity, directories, self.metadata)
            self._open_at = seams.clock.now()
            for late, implementation in zip(rpcs_of_broker, self._served_by(self.broker), strict=True):
                late.begin(implementation)
            await self.broker.start()
            for door in self._doors:
                await door.open(self.broker)

    async def wait_until_ready(self) -> None:
        """Returns once this node serves: unfenced, if it is a broker."""
        if self.broker is not None:
            await self.broker.membership.serving.wait()
        self._ready_at = self._seams.clock.now()

    def start_steps(self) -> dict[str, float]:
        """Returns how many seconds after the beginning of its start this node had come how far, as far as it has."""
        metadata, broker = self.metadata, self.broker
        reached = {
            "quorum": self._quorum_at,
            "metadata": None if metadata is None else metadata.current_at,
            "open": self._open_at,
            "registered": None if broker is None else broker.registered_at,
            "roles": None if broker is None else broker.acting_at,
            "ready": self._ready_at,
        }
        return {step: at - self.started_at for step, at in reached.items() if at is not None}

    def unready_reason(self) -> str | None:
        """Returns why this node does not serve clients at the moment; None if it does."""
        if self.failure is not None:
            return f"failed: {self.failure}"
        if self.broker is not None:
            return self._broker_unready_reason(self.broker)
        if self.controller is None or self.config.is_broker:
            return "starting"
        return "no active controller is known" if self.controller.quorum.leader_id < 0 else None

    def _broker_unready_reason(self, broker: Broker) -> str | None:
        membership = broker.membership
        if not membership.fenced:
            return None
        if broker.metadata.controller_id < 0:
            return (
                "no active controller is known yet" if membership.broker_epoch < 0 else "no active controller is known"
            )
        return "not registered with the controller yet" if membership.broker_epoch < 0 else "fenced by the controller"

    async def stop(self) -> None:
        """Hands over what can be handed over, and closes everything cleanly unless the node has failed."""
        try:
            await self._serving.aclose()
        finally:
            await self._parts.aclose()

    async def _serve(self, address: Address, services: Sequence[Service], listener: str) -> None:
        server = await self._seams.network.serve(address, services, listener=listener)
        self._serving.push_async_callback(server.stop, _STOP_GRACE_S)

    def _endpoints(self) -> tuple[Endpoint, ...]:
        config = self.config
        host = config.reachable_host
        external = () if config.external_grpc is None else (config.external_grpc[1],)
        return (
            Endpoint(LISTENER, *config.reachable_address, SECURITY_PROTOCOL),
            Endpoint(HTTP_LISTENER, host, config.http_port, SECURITY_PROTOCOL),
            *(Endpoint(EXTERNAL_LISTENER, told.host, told.port, SECURITY_PROTOCOL) for told in external),
            *(endpoint for door in self._doors for endpoint in door.endpoints),
        )

    async def _open_controller(self, identity: NodeIdentity) -> ControllerPart:
        config, seams = self.config, self._seams
        return await ControllerPart.open(
            identity,
            config.metadata_directory,
            disk=seams.disk,
            clock=seams.clock,
            network=seams.network,
            random=seams.random,
            defaults=TopicDefaults(config.default_partitions, config.default_replication_factor),
            on_failure=self._fail,
            raft=RaftConfig(
                heartbeat_interval_ms=config.raft_heartbeat_interval_ms,
                election_timeout_min_ms=config.raft_election_timeout_min_ms,
                election_timeout_max_ms=config.raft_election_timeout_max_ms,
            ),
            address=config.reachable_address,
            bootstrap=[voter.address for voter in config.controllers if voter.node_id != config.node_id],
            session_timeout_ms=config.session_timeout_ms,
            balance=BalanceTerms(
                config.leader_imbalance_check_interval_ms / 1000,
                config.leader_imbalance_per_broker_percentage,
            ),
            snapshots=SnapshotConfig(
                max_bytes_between=config.metadata_log_max_record_bytes_between_snapshots,
                max_interval_ms=config.metadata_log_max_snapshot_interval_ms,
                segment_bytes=config.metadata_log_segment_bytes,
            ),
        )

    def _follow_metadata(self, identity: NodeIdentity) -> MetadataFollower:
        """Begins to follow, with what this node's own controller knows if it has one."""
        config, seams = self.config, self._seams
        voters = {NodeId(voter.node_id): voter.address for voter in config.controllers}
        client = ControllerClient(voters, seams.network, seams.clock, seams.random)
        metadata = MetadataFollower(client, identity, seams.network, seams.clock)

        async def follow() -> None:
            if self.controller is not None:
                await metadata.begin_with(await self.controller.controller.own_log_applied())
            await metadata.run()

        self._parts.push_async_callback(cancel, self._tasks.spawn(follow(), "metadata"))
        return metadata

    async def _open_broker(
        self, identity: NodeIdentity, directories: Directories, metadata: MetadataFollower
    ) -> Broker:
        config, seams = self.config, self._seams
        logs = await LogDirs.open(
            seams.disk,
            seams.clock,
            directories.logs,
            self._tasks,
            on_failure=self._fail,
            producer_expiration_ms=config.producer_id_expiration_ms,
            stray_retention_ms=config.stray_retention_ms,
            offline=directories.offline,
            essential=config.metadata_directory if config.is_controller else None,
        )
        self._parts.push_async_callback(self._close_logs, logs)
        broker = Broker(
            identity,
            BrokerSettings(
                endpoints=self._endpoints(),
                rack=config.rack,
                heartbeat_interval_ms=config.heartbeat_interval_ms,
                session_timeout_ms=config.session_timeout_ms,
                replica_lag_time_max_ms=config.replica_lag_time_max_ms,
                reads_by_rack=config.replica_selector == "rack",
                fill_bytes_per_s=config.replica_fill_bytes_per_s,
                retention_check_interval_ms=config.log_retention_check_interval_ms,
                scrub_interval_ms=config.log_scrub_interval_ms,
                scrub_bytes_per_s=config.log_scrub_bytes_per_s,
                compaction=CompactionSettings(
                    backoff_ms=config.log_cleaner_backoff_ms,
                    bytes_per_s=config.log_cleaner_io_max_bytes_per_second,
                    memory_bytes=config.log_cleaner_dedupe_buffer_size,
                ),
                groups=coordinator_settings(config),
            ),
            logs,
            metadata,
            clock=seams.clock,
            disk=seams.disk,
            network=seams.network,
            random=seams.random,
            workers=seams.workers,
            on_failure=self._fail,
        )
        self._parts.push_async_callback(broker.stop)
        return broker

    def _served_by(self, broker: Broker) -> tuple[object, ...]:
        """Returns what implements the services in `_OF_BROKER`."""
        return (
            broker.replication_service,
            BrokerService(broker, self._tasks),
            AdminService(broker, self._seams.disk),
            GroupAdminService(broker, self._seams.network, self._seams.clock),
            GroupsService(broker),
        )

    async def _hand_over(self) -> None:
        if self.controller is not None and self.failure is None:
            await self.controller.hand_over()

    async def _leave(self) -> None:
        if self.broker is not None and self.failure is None:  # else the sooner others see it gone, the sooner they lead
            await self.broker.leave()

    async def _close_logs(self, logs: LogDirs) -> None:
        assert self.broker is not None, "logs are closed after their broker, which was made right after them"
        await logs.close(clean=self.failure is None, broker_epoch=self.broker.membership.broker_epoch)

    def _fail(self, failure: BaseException) -> None:
        if self.failure is None:
            self.failure = failure
            self._on_failure(failure)
