"""Voters and make-believe brokers in one process, on real files and a network in memory."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from dohle.controller.controller_service import CONTROLLER
from dohle.controller.format import format_controller, format_joining_controller
from dohle.controller.part import ControllerPart
from dohle.controller.topics import TopicDefaults
from dohle.model.errors import DohleError
from dohle.model.ids import ClusterId, DirectoryId, IncarnationId, NodeId, new_id
from dohle.model.image import BrokerImage
from dohle.model.metadata import SUPPORTED_FEATURES, Voter
from dohle.raft.config import RaftConfig
from dohle.rpc.identity import NodeIdentity
from dohle.rpc.methods import methods_of
from dohle.rpc.node_service import NodeService
from dohle.rpc.v1 import admin_pb2, common_pb2, controller_pb2
from dohle.runtime.clock import LoopClock
from dohle.runtime.disk import File
from dohle.runtime.files import RealDisk
from dohle.runtime.network import Address, Lane, Server
from dohle.runtime.tasks import Tasks, cancel
from tests.controller.memory_network import World

CLUSTER = ClusterId("test-cluster-abcdefghi")
METHODS = methods_of(CONTROLLER)
DEFAULTS = TopicDefaults()


async def until(condition: Callable[[], Any], timeout_s: float = 8.0) -> float:
    """Waits until `condition` holds; returns how long that took."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.002)
    return loop.time() - start


class GatedDisk(RealDisk):
    """A disk whose syncs wait while `gate` is closed: those of files whose path ends in one of `endings`."""

    def __init__(self, *endings: str) -> None:
        super().__init__(2)
        self.gate = asyncio.Event()
        self.gate.set()
        self._endings = endings

    async def sync(
        self, files: Sequence[File], folders: Sequence[str] = (), synced: Callable[[File], None] | None = None
    ) -> None:
        if any(file.path.endswith(self._endings) for file in files):
            await self.gate.wait()
        await super().sync(files, folders, synced)


class TestVoter:
    __test__ = False

    def __init__(self, cluster: Cluster, node_id: int, directory_id: DirectoryId) -> None:
        self.cluster = cluster
        self.node_id = NodeId(node_id)
        self.name = f"voter-{node_id}"
        self.address = Address("voter", node_id)
        self.directory_id = directory_id
        self.folder = cluster.path / self.name
        self.disk = GatedDisk(".log", "quorum-state.tmp")
        self.bootstrap: list[Address] | None = None
        self.running: ControllerPart | None = None
        self.identity: NodeIdentity | None = None
        self._server: Server | None = None

    @property
    def part(self) -> ControllerPart:
        assert self.running is not None
        return self.running

    @property
    def log_bytes(self) -> bytes:
        return (self.folder / "__cluster_metadata-0" / f"{0:020d}.log").read_bytes()

    async def format(self, voters: Sequence[Voter]) -> None:
        self.folder.mkdir()
        await format_controller(
            self.disk,
            LoopClock(),
            str(self.folder),
            cluster_id=CLUSTER,
            voters=voters,
            on_failure=self.cluster.failures.append,
        )

    async def format_to_join(self) -> None:
        self.folder.mkdir()
        await format_joining_controller(
            self.disk, LoopClock(), str(self.folder), on_failure=self.cluster.failures.append
        )

    async def wipe(self) -> None:
        """Gives it an empty disk, formatted to join; it does not run."""
        shutil.rmtree(self.folder)
        self.directory_id = DirectoryId(new_id(self.cluster.random))
        await self.format_to_join()

    async def start(self) -> None:
        cluster = self.cluster
        incarnation = IncarnationId(new_id(cluster.random))
        identity = NodeIdentity(CLUSTER, self.node_id, incarnation, self.directory_id, SUPPORTED_FEATURES)
        self.identity = identity
        network = cluster.world.network(self.name)
        self.running = await ControllerPart.open(
            identity,
            str(self.folder),
            disk=self.disk,
            clock=LoopClock(),
            network=network,
            random=Random(cluster.random.random()),
            defaults=DEFAULTS,
            on_failure=cluster.failures.append,
            raft=cluster.raft,
            address=self.address,
            bootstrap=(
                [voter.address for voter in cluster.voters if voter is not self]
                if self.bootstrap is None
                else self.bootstrap
            ),
            session_timeout_ms=cluster.session_timeout_ms,
        )
        services = [*self.part.services, NodeService(identity).service()]
        self._server = await network.serve(self.address, services, listener="GRPC")
        await self.part.start()

    async def kill(self) -> None:
        """Ends the process as kill -9 does: nothing is closed cleanly, connections break, its port refuses."""
        part, self.running = self.part, None
        self.disk.gate.set()
        self.cluster.world.kill(self.name)
        await part.detector.close()
        await part.doubtful_elections.close()
        await part._tasks.close()
        part.quorum._closed = True
        await part.quorum._tasks.close()
        await part.quorum._log_tasks.close()
        part.quorum._resign()

    async def stop(self) -> None:
        part, self.running = self.part, None
        self.disk.gate.set()
        self.cluster.world.kill(self.name)
        await part.close()


class Cluster:
    """`voters` are formatted, not started."""

    def __init__(self, path: Path, *, session_timeout_ms: int = 3000) -> None:
        self.path = path
        self.world = World()
        self.random = Random(7)
        self.raft = RaftConfig()
        self.session_timeout_ms = session_timeout_ms
        self.failures: list[BaseException] = []
        self.voters: list[TestVoter] = []
        self.brokers: list[TestBroker] = []

    async def make(self, count: int) -> None:
        self.voters = [TestVoter(self, n, DirectoryId(new_id(self.random))) for n in range(1, count + 1)]
        described = [Voter(v.node_id, v.directory_id, v.address.host, v.address.port) for v in self.voters]
        for voter in self.voters:
            await voter.format(described)

    async def start(self, count: int) -> TestVoter:
        await self.make(count)
        for voter in self.voters:
            await voter.start()
        return await self.leader()

    async def join(self, bootstrap: list[Address] | None = None) -> TestVoter:
        """Starts one more controller without a vote; `bootstrap` is whom its configuration names, if not all."""
        voter = TestVoter(self, len(self.voters) + 1, DirectoryId(new_id(self.random)))
        voter.bootstrap = bootstrap
        self.voters.append(voter)
        await voter.format_to_join()
        await voter.start()
        return voter

    @property
    def running(self) -> list[TestVoter]:
        return [voter for voter in self.voters if voter.running is not None]

    def active(self, besides: TestVoter | None = None) -> TestVoter | None:
        active = [v for v in self.running if v is not besides and v.part.controller.is_active]
        return max(active, key=lambda voter: voter.part.quorum.term, default=None)

    async def leader(self, besides: TestVoter | None = None) -> TestVoter:
        await until(lambda: self.active(besides))
        found = self.active(besides)
        assert found is not None
        return found

    async def agreed(self) -> None:
        """Waits until every running voter has applied all that the leader has."""
        leader = await self.leader()
        await until(lambda: len({v.part.controller.committed.next_offset for v in self.running}) == 1)
        images = [voter.part.controller.committed for voter in self.running]
        assert all(image == leader.part.controller.committed for image in images)

    async def close(self) -> None:
        for broker in self.brokers:
            await broker.tasks.close()
        for voter in self.running:
            await voter.stop()
        await self.world.tasks.close()
        for voter in self.voters:
            voter.disk.close()
        assert self.failures == []
        assert self.world.failures == []


class TestBroker:
    __test__ = False

    def __init__(self, cluster: Cluster, node_id: int) -> None:
        self.cluster = cluster
        self.node_id = NodeId(node_id)
        self.name = f"broker-{node_id}"
        self.address = Address("broker", node_id)
        self.directory_id = DirectoryId(new_id(cluster.random))
        self.network = cluster.world.network(self.name)
        self.tasks = Tasks(self.name, cluster.failures.append)
        self.answers: list[controller_pb2.HeartbeatResponse] = []
        self.epoch = -1
        self.beating = asyncio.Event()
        self.beating.set()
        self._server: Server | None = None
        cluster.brokers.append(self)
        self.restart()

    def restart(self) -> None:
        """A new incarnation, which does not listen yet."""
        incarnation = IncarnationId(new_id(self.cluster.random))
        self.identity = NodeIdentity(CLUSTER, self.node_id, incarnation, self.directory_id, SUPPORTED_FEATURES)

    async def listen(self) -> None:
        services = [NodeService(self.identity).service()]
        self._server = await self.network.serve(self.address, services, listener="GRPC")

    def kill(self) -> None:
        self.cluster.world.kill(self.name)

    async def call(self, method: str, request: Any) -> Any:
        leader = await self.cluster.leader()
        return await self.network.call(leader.address, METHODS[method], request, lane=Lane.CONTROL, timeout_s=5)

    async def register(self) -> int:
        response = await self.call(
            "RegisterBroker",
            controller_pb2.RegisterBrokerRequest(
                hello=self.identity.hello(),
                endpoints=[
                    common_pb2.Endpoint(listener="GRPC", host=self.address.host, port=self.address.port),
                ],
                clean_broker_epoch=-1,
            ),
        )
        self.epoch = response.broker_epoch
        return self.epoch

    async def join(self) -> None:
        """Listens, registers, and beats until it is unfenced, and on."""
        await self.listen()
        await self.register()
        self.tasks.spawn(self.beat(), "beat")
        await until(lambda: not self.image.fenced)

    @property
    def image(self) -> BrokerImage:
        active = self.cluster.active()
        assert active is not None
        return active.part.controller.committed.brokers[self.node_id]

    @property
    def fenced(self) -> bool:
        active = self.cluster.active()
        return active is not None and self.image.fenced

    async def beat(self) -> None:
        """Beats every 50 ms to whoever is active; goes to the next one when the stream breaks."""
        while True:
            leader = await self.cluster.leader()
            stream = self.network.stream(leader.address, METHODS["Heartbeat"], lane=Lane.CONTROL)
            listening = self.tasks.spawn(self._listen(stream), "answers")
            try:
                hello = self.identity.hello()
                while True:
                    await self.beating.wait()
                    await stream.send(
                        controller_pb2.HeartbeatRequest(
                            hello=hello, broker_epoch=self.epoch, metadata_offset=self.epoch + 1
                        )
                    )
                    await asyncio.sleep(0.05)
                    if listening.done():
                        break
            except DohleError:
                await asyncio.sleep(0.05)
            finally:
                stream.close()
                await cancel(listening)

    async def _listen(self, stream: Any) -> None:
        try:
            while (answer := await stream.receive()) is not None:
                self.answers.append(answer)
        except DohleError:
            pass


def new_topic(name: str, partitions: int = 1, replication_factor: int = 1) -> admin_pb2.CreateTopicsRequest:
    topic = admin_pb2.NewTopic(name=name, partitions=partitions, replication_factor=replication_factor)
    return admin_pb2.CreateTopicsRequest(topics=[topic])
