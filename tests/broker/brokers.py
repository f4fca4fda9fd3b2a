"""Whole brokers in one process, in virtual time, on disks and a network in memory, with a controller of one node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

from dohle.broker.broker import Broker, BrokerSettings
from dohle.broker.controller_client import ControllerClient
from dohle.broker.leading import Leading
from dohle.broker.metadata_follower import MetadataFollower
from dohle.listeners.broker_service import BrokerService
from dohle.model.batch import HEADER_BYTES, read_header
from dohle.model.ids import ClusterId, DirectoryId, IncarnationId, NodeId, PartitionKey, TopicPartition, new_id
from dohle.model.metadata import SUPPORTED_FEATURES, Endpoint
from dohle.rpc.identity import NodeIdentity
from dohle.rpc.methods import service
from dohle.rpc.v1 import broker_pb2, replication_pb2
from dohle.runtime.network import Address
from dohle.runtime.tasks import Tasks
from dohle.storage.log import Log
from dohle.storage.log_dirs import LogDirs
from tests.broker import one_controller
from tests.broker.logs import CLUSTER, PATH, TOPIC_ID, open_dirs
from tests.broker.one_controller import OneController
from tests.broker.slow_disk import SlowDisk
from tests.broker.slow_network import SlowNetwork
from tests.broker.virtual_time import VirtualClock
from tests.controller.memory_network import World

KEY = PartitionKey(TOPIC_ID, 0)
BROKER = broker_pb2.DESCRIPTOR.services_by_name["Broker"]
REPLICATION = replication_pb2.DESCRIPTOR.services_by_name["Replication"]


T = TypeVar("T")


class InlineWorkers:
    """CPU work on the loop."""

    async def run(self, work: Callable[[], T]) -> T:
        return work()

    async def aside(self, make: Callable[[], object]) -> InlineAside:
        return InlineAside(make())

    def close(self) -> None: ...


class InlineAside:
    """The value is here."""

    def __init__(self, value: object) -> None:
        self._value = value

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        return work(self._value, *arguments)

    async def close(self) -> None: ...


class Node:
    """A broker's machine: the disk stays, processes come and go."""

    def __init__(self, cluster: Cluster, node_id: int) -> None:
        self.cluster = cluster
        self.node_id = NodeId(node_id)
        self.name = f"broker-{node_id}"
        self.address = Address(self.name, 7092)
        self.disk = SlowDisk(cluster.random, cluster.disk_s)
        self.running: Broker | None = None
        self.dirs: LogDirs | None = None
        self._tasks: Tasks | None = None

    @property
    def broker(self) -> Broker:
        assert self.running is not None
        return self.running

    async def start(self) -> None:
        cluster = self.cluster
        self.disk.locked.clear()
        self._tasks = Tasks(f"{self.name} storage", cluster.failures.append)
        self.dirs = await open_dirs(self.disk, self._tasks, self.node_id, cluster.paths)
        identity = NodeIdentity(
            ClusterId(CLUSTER),
            self.node_id,
            IncarnationId(new_id(cluster.random)),
            DirectoryId(bytes([self.node_id]) * 16),
            SUPPORTED_FEATURES,
        )
        network = SlowNetwork(cluster.world.network(self.name), cluster.random, cluster.network_s)
        settings = BrokerSettings(
            endpoints=(
                Endpoint("GRPC", *self.address, "PLAINTEXT"),
                Endpoint("KAFKA", self.name, 9092, "PLAINTEXT"),
            ),
            rack=f"rack{self.node_id}" if cluster.racked else "",
            replica_lag_time_max_ms=cluster.lag_ms,
        )
        clock, random = VirtualClock(), Random(cluster.random.random())
        voters = {one_controller.NODE: one_controller.ADDRESS}
        metadata = MetadataFollower(ControllerClient(voters, network, clock, random), identity, network, clock)
        self._tasks.spawn(metadata.run(), "metadata")
        self.running = Broker(
            identity,
            settings,
            self.dirs,
            metadata,
            clock=clock,
            disk=self.disk,
            network=network,
            random=random,
            workers=InlineWorkers(),
            on_failure=cluster.failures.append,
        )
        services = [
            service(REPLICATION, self.running.replication_service),
            service(BROKER, BrokerService(self.running, self._tasks)),
        ]
        await network.serve(self.address, services, listener="GRPC")
        await self.running.start()

    async def kill(self, *, power: bool = False) -> None:
        """The process ends at once; with `power` the machine's as well, and what was not synced is in doubt."""
        broker, self.running = self.broker, None
        self.cluster.world.kill(self.name)
        crashed = self.disk.crash(self.cluster.random) if power else None
        await broker._tasks.close()
        assert self._tasks is not None
        await self._tasks.close()
        if crashed is not None:
            self.disk = crashed

    async def stop(self) -> None:
        """The controlled shutdown."""
        broker, self.running = self.broker, None
        await broker.leave()
        await broker.stop()
        self.cluster.world.kill(self.name)
        assert self.dirs is not None
        await self.dirs.close(broker_epoch=broker.membership.broker_epoch)
        assert self._tasks is not None
        await self._tasks.close()

    def log(self, key: PartitionKey = KEY) -> Log:
        return self.broker.replicas.partitions[key].log

    def leading(self, key: PartitionKey = KEY) -> Leading | None:
        """Returns the role of leader if this broker believes that it has it."""
        partition = None if self.running is None else self.running.replicas.partitions.get(key)
        return partition.role if partition is not None and isinstance(partition.role, Leading) else None

    def synced_bytes(self, name: TopicPartition) -> bytes:
        """Returns what a loss of power would leave of a log of one segment for certain."""
        content = self.disk.durable_files.get(f"{PATH}/{name.topic}-{name.partition}/{0:020d}.log")
        return bytes(content.durable) if content is not None else b""


class Cluster:
    """Brokers by node id, and their controller."""

    def __init__(self, seed: int = 1, *, disk_s: float = 0.002, network_s: float = 0.001, lag_ms: int = 10_000) -> None:
        self.random = Random(seed)
        self.disk_s, self.network_s, self.lag_ms = disk_s, network_s, lag_ms
        self.racked = False  # each broker in a rack of its own
        self.paths: Sequence[str] = (PATH,)  # each broker's log directories
        self.world = World()
        self.failures: list[BaseException] = self.world.failures
        self.controller = OneController()
        self.nodes: dict[int, Node] = {}

    @classmethod
    async def started(
        cls,
        *nodes: int,
        seed: int = 1,
        disk_s: float = 0.002,
        network_s: float = 0.001,
        lag_ms: int = 10_000,
        racked: bool = False,
        paths: Sequence[str] = (PATH,),
    ) -> Cluster:
        self = cls(seed, disk_s=disk_s, network_s=network_s, lag_ms=lag_ms)
        self.racked, self.paths = racked, paths
        await self.world.network("controller").serve(
            one_controller.ADDRESS, [self.controller.service()], listener="GRPC"
        )
        for node_id in nodes or (1, 2, 3):
            self.nodes[node_id] = Node(self, node_id)
            await self.nodes[node_id].start()
        await until(lambda: all(not broker.fenced for broker in self.controller.image.brokers_in_order()))
        return self

    def leader(self, key: PartitionKey = KEY) -> Node:
        return self.nodes[self.controller.leader(key)]

    def isr(self, key: PartitionKey = KEY) -> tuple[int, ...]:
        partition = self.controller.image.partition(key)
        assert partition is not None
        return partition.in_sync_replicas

    async def led(self, key: PartitionKey = KEY) -> Node:
        """Waits until the leader of the truth leads; returns it."""

        def leads() -> bool:
            truth = self.controller.image.partition(key)
            assert truth is not None
            leading = self.leader(key).leading(key) if truth.leader != -1 else None
            return leading is not None and leading.leader_epoch == truth.leader_epoch

        await until(leads)
        return self.leader(key)

    async def healed(self, key: PartitionKey = KEY) -> None:
        """Waits until all replicas are in sync and have everything."""
        partition = self.controller.image.partition(key)
        assert partition is not None
        everybody = set(partition.assigned_replicas)

        def whole() -> bool:
            logs = [node.log(key) for node in self.nodes.values() if key in node.broker.replicas.partitions]
            end = logs[0].log_end_offset
            return (
                set(self.isr(key)) == everybody
                and len(logs) == len(everybody)
                and all((log.log_end_offset, log.high_watermark, log.durable_end) == (end, end, end) for log in logs)
            )

        await until(whole, 30.0)


async def until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    """Waits until `condition` holds; virtual time, so that waiting costs nothing."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.001)


def prefix_bytes(data: bytes, end_offset: int) -> bytes:
    """Returns the batches below `end_offset` at the start of a log's bytes."""
    position = 0
    while position + HEADER_BYTES <= len(data):
        header = read_header(data, position)
        if header.next_offset > end_offset:
            break
        position += header.size_bytes
    return data[:position]
