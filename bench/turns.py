"""Changes of many partitions: what they ask of the active controller, and how long its event loop stands still for one.

    python -m bench.turns [PARTITIONS]

One voter with three make-believe brokers, which speak gRPC with it, in one process; 9,000 partitions of three replicas
by default, so that each broker leads 3,000. Said are the round trips of whoever asked, the CPU time of the process for
each partition that changed, and the longest turn of the loop, by CPU time too, which a busy machine does not spoil.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from random import Random

from dohle.cli.output import print_table
from dohle.controller.controller_service import CONTROLLER
from dohle.controller.format import format_controller
from dohle.controller.part import ControllerPart
from dohle.controller.topics import TopicDefaults
from dohle.model.ids import ClusterId, DirectoryId, IncarnationId, NodeId, new_id
from dohle.model.image import ClusterImage
from dohle.model.metadata import SUPPORTED_FEATURES, Voter
from dohle.raft.config import RaftConfig
from dohle.rpc.grpc_network import GrpcNetwork
from dohle.rpc.identity import NodeIdentity
from dohle.rpc.methods import methods_of
from dohle.rpc.node_service import NodeService
from dohle.rpc.v1 import admin_pb2, common_pb2, controller_pb2
from dohle.runtime.clock import LoopClock
from dohle.runtime.files import RealDisk
from dohle.runtime.network import Address, Lane, Stream
from dohle.runtime.tasks import turn

PARTITIONS = 9000
PARTITIONS_A_TOPIC = 1000
BROKERS = 3
_A_REQUEST = 1000  # in-sync sets that a leader asks about at once
_CLUSTER = ClusterId("b" * 22)
_METHODS = methods_of(CONTROLLER)
_PATIENCE_S = 120.0
_BEAT_S = 0.2


class CountedLoop(asyncio.SelectorEventLoop):
    """An event loop that knows its longest turn, in CPU time: what it waits for costs none."""

    longest_s = 0.0

    def _run_once(self) -> None:
        began = time.process_time()
        super()._run_once()  # type: ignore[misc]  # the one place where a turn begins and ends
        self.longest_s = max(self.longest_s, time.process_time() - began)


Beats = Stream[controller_pb2.HeartbeatRequest, controller_pb2.HeartbeatResponse]


class Bench:
    """The voter, and what its make-believe brokers ask of it."""

    def __init__(self, part: ControllerPart, network: GrpcNetwork, address: Address, random: Random) -> None:
        self.part = part
        self.round_trips = 0
        self._network = network
        self._address = address
        self._random = random
        self._epochs: dict[int, int] = {}
        self._hellos: dict[int, common_pb2.Hello] = {}
        self._beating: dict[int, asyncio.Task[None]] = {}
        self._streams: dict[int, Beats] = {}
        self._answers: dict[int, controller_pb2.HeartbeatResponse] = {}
        self._wishes: dict[int, controller_pb2.HeartbeatRequest] = {}

    @property
    def image(self) -> ClusterImage:
        return self.part.controller.committed

    async def ask(self, method: str, request: object) -> object:
        self.round_trips += 1
        return await self._network.call(
            self._address, _METHODS[method], request, lane=Lane.CONTROL, timeout_s=_PATIENCE_S
        )

    async def start(self, node_id: int) -> None:
        """Registers an incarnation that is empty-handed but sound, and beats until it is unfenced, and on."""
        if (before := self._beating.pop(node_id, None)) is not None:
            before.cancel()
            self._streams.pop(node_id).close()
            await self.until(lambda: self.image.brokers[NodeId(node_id)].fenced)
        directory = DirectoryId(bytes([node_id]) * 16)
        incarnation = IncarnationId(new_id(self._random))
        hello = NodeIdentity(_CLUSTER, NodeId(node_id), incarnation, directory, SUPPORTED_FEATURES).hello()
        door = common_pb2.Endpoint(listener="GRPC", host=self._address.host, port=self._address.port)
        registered = await self.ask(
            "RegisterBroker",
            controller_pb2.RegisterBrokerRequest(hello=hello, endpoints=[door], clean_broker_epoch=-1),
        )
        assert isinstance(registered, controller_pb2.RegisterBrokerResponse)
        self._hellos[node_id], self._epochs[node_id] = hello, registered.broker_epoch
        self._wishes[node_id] = controller_pb2.HeartbeatRequest()
        self._streams[node_id] = self._network.stream(self._address, _METHODS["Heartbeat"], lane=Lane.CONTROL)
        self._beating[node_id] = asyncio.ensure_future(self._beat(node_id))
        await self.until(lambda: not self.image.brokers[NodeId(node_id)].fenced)

    async def _beat(self, node_id: int) -> None:
        stream = self._streams[node_id]
        listening = asyncio.ensure_future(self._listen(node_id, stream))
        try:
            while True:
                beat = controller_pb2.HeartbeatRequest(
                    hello=self._hellos[node_id], broker_epoch=self._epochs[node_id], metadata_offset=1 << 40
                )
                beat.MergeFrom(self._wishes[node_id])
                self.round_trips += beat.wants_shutdown
                await stream.send(beat)
                await asyncio.sleep(_BEAT_S)
        finally:
            listening.cancel()

    async def _listen(self, node_id: int, stream: Beats) -> None:
        while (answer := await stream.receive()) is not None:
            self._answers[node_id] = answer

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - what is looked at sets no event
                await asyncio.sleep(0.001)

    # what is measured

    async def leaves(self) -> None:
        await self._wants(controller_pb2.HeartbeatRequest(wants_shutdown=True), lambda answer: answer.may_shut_down)

    async def asks_to_be_fenced(self) -> None:
        wish = controller_pb2.HeartbeatRequest(wants_shutdown=True, wants_fence=True)
        await self._wants(wish, lambda answer: answer.fenced)

    async def _wants(
        self, wish: controller_pb2.HeartbeatRequest, granted: Callable[[controller_pb2.HeartbeatResponse], bool]
    ) -> None:
        """Broker 1 beats with its wish at once, and on, until the answer says that it is granted."""
        stream = self._streams[1]
        self._wishes[1] = wish
        beat = controller_pb2.HeartbeatRequest(broker_epoch=self._epochs[1], metadata_offset=1 << 40)
        beat.MergeFrom(wish)
        self.round_trips += 1
        await stream.send(beat)
        await self.until(lambda: granted(self._answers[1]))

    async def comes_back(self) -> None:
        await self.start(1)

    async def joins(self) -> None:
        """The leaders have broker 1 join wherever it is not in sync."""
        requests: dict[int, list[controller_pb2.AlterPartition]] = {}
        replicas = list(self.image.replicas_of(NodeId(1)))
        members = [
            controller_pb2.IsrMember(broker_id=node, broker_epoch=epoch) for node, epoch in sorted(self._epochs.items())
        ]
        for number, (key, partition) in enumerate(replicas):
            await turn(number, every=100)  # what the bench does itself is no turn of the controller's
            if 1 not in partition.in_sync_replicas:
                proposal = controller_pb2.AlterPartition(
                    topic_id=key.topic_id,
                    partition=key.partition,
                    leader_epoch=partition.leader_epoch,
                    partition_epoch=partition.partition_epoch,
                    in_sync_replicas=members,
                )
                requests.setdefault(partition.leader, []).append(proposal)
        for leader, proposals in requests.items():
            for first in range(0, len(proposals), _A_REQUEST):
                await self.ask(
                    "AlterPartitions",
                    controller_pb2.AlterPartitionsRequest(
                        broker_id=leader,
                        broker_epoch=self._epochs[leader],
                        partitions=proposals[first : first + _A_REQUEST],
                    ),
                )

    async def leads_again(self) -> None:
        """Elects the preferred leaders until no partition is led by another."""
        while any(one.leader != one.assigned_replicas[0] for _, one in self.image.replicas_of(NodeId(1))):
            await self.ask("ElectLeaders", admin_pb2.ElectLeadersRequest())

    async def dies(self) -> None:
        self._beating.pop(1).cancel()
        self._streams.pop(1).close()
        await self.until(lambda: self.image.brokers[NodeId(1)].fenced)

    def epochs(self) -> int:
        return sum(one.partition_epoch for topic in self.image.topics_in_order() for one in topic.partitions)

    def close(self) -> None:
        for task in self._beating.values():
            task.cancel()


async def make(bench: Bench, partitions: int) -> None:
    for node_id in range(1, BROKERS + 1):
        await bench.start(node_id)
    for first in range(0, partitions, PARTITIONS_A_TOPIC):
        numbers = range(first, min(first + PARTITIONS_A_TOPIC, partitions))
        replicas = [[1 + (number + at) % BROKERS for at in range(BROKERS)] for number in numbers]
        topic = admin_pb2.NewTopic(
            name=f"many-{first}",
            partitions=-1,
            replication_factor=-1,
            assignments=[admin_pb2.ReplicaAssignment(partition=at, replicas=one) for at, one in enumerate(replicas)],
        )
        await bench.ask("CreateTopics", admin_pb2.CreateTopicsRequest(topics=[topic]))


async def measured(bench: Bench, what: str, work: Callable[[], Awaitable[None]]) -> tuple[str, ...]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, CountedLoop)
    await asyncio.sleep(0.5)
    gc.collect()
    gc.freeze()  # as a node does with what stays: a full collection would be the longest turn
    await asyncio.sleep(0)
    epochs, round_trips, began, cpu = bench.epochs(), bench.round_trips, time.monotonic(), time.process_time()
    loop.longest_s = 0.0
    await work()
    longest_s, took, cpu = loop.longest_s, time.monotonic() - began, time.process_time() - cpu
    changed = bench.epochs() - epochs
    return (
        what,
        f"{changed:,}",
        str(bench.round_trips - round_trips),
        f"{took:.2f}",
        f"{cpu * 1e6 / changed:.0f}" if changed else "",
        f"{longest_s * 1000:.0f}",
    )


async def run(partitions: int) -> list[tuple[str, ...]]:
    random, disk, clock = Random(8), RealDisk(), LoopClock()
    failures: list[BaseException] = []
    with socket.create_server(("127.0.0.1", 0)) as found:
        address = Address("127.0.0.1", found.getsockname()[1])
    voter = Voter(NodeId(9), DirectoryId(new_id(random)), *address)
    identity = NodeIdentity(_CLUSTER, NodeId(9), IncarnationId(new_id(random)), voter.directory_id, SUPPORTED_FEATURES)
    network = GrpcNetwork(client_id="bench")
    with tempfile.TemporaryDirectory(prefix="dohle-turns-") as folder:
        await format_controller(disk, clock, folder, cluster_id=_CLUSTER, voters=[voter], on_failure=failures.append)
        part = await ControllerPart.open(
            identity,
            folder,
            disk=disk,
            clock=clock,
            network=network,
            random=random,
            defaults=TopicDefaults(),
            on_failure=failures.append,
            raft=RaftConfig(),
            address=address,
        )
        server = await network.serve(address, [*part.services, NodeService(identity).service()], listener="GRPC")
        await part.start()
        bench = Bench(part, network, address, random)
        await bench.until(lambda: part.controller.is_active)
        await make(bench, partitions)
        rows = [
            await measured(bench, "broker 1 shuts down", bench.leaves),
            await measured(bench, "it asks to be fenced", bench.asks_to_be_fenced),
            await measured(bench, "it comes back", bench.comes_back),
            await measured(bench, "it joins the in-sync sets", bench.joins),
            await measured(bench, "preferred leaders are elected", bench.leads_again),
            await measured(bench, "broker 1 dies", bench.dies),
        ]
        bench.close()
        await server.stop(0)
        await part.close()
        await network.close()
    disk.close()
    assert not failures, failures
    return rows


def main(arguments: Sequence[str]) -> int:
    partitions = int(arguments[0]) if arguments else PARTITIONS
    with asyncio.Runner(loop_factory=CountedLoop) as runner:
        rows = runner.run(run(partitions))
    print_table(("WHAT", "PARTITIONS CHANGED", "ROUND TRIPS", "TOOK, S", "CPU A CHANGE, US", "LONGEST TURN, MS"), rows)
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
