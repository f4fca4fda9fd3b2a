"""A controller of one node: the decisions of the real one, without a quorum, fencing only when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dohle.controller.brokers import ShutdownSteps, allocate_producer_ids, fence_brokers, heartbeat
from dohle.controller.decision import MOST_CHANGES, Decision
from dohle.controller.failed_dirs import fail_log_dirs
from dohle.controller.forks import EndedFork, begin_fork, confirm_forks, settle_fork
from dohle.controller.isr import IsrProposals
from dohle.controller.registration import register_broker
from dohle.model.errors import DohleError
from dohle.model.ids import ClusterId, NodeId, PartitionKey, TopicId
from dohle.model.image import EMPTY_IMAGE, ClusterImage
from dohle.model.image_apply import apply_batch
from dohle.model.metadata import MetadataRecord, Partition, RemoveTopic, Topic, TopicOverride, Voter, bootstrap_records
from dohle.model.metadata_batch import encode_metadata
from dohle.model.snapshot import encode_snapshot
from dohle.rpc.methods import service
from dohle.rpc.v1 import admin_pb2, common_pb2, controller_pb2
from dohle.runtime.network import Address, Service
from tests.broker.logs import CLUSTER

ADDRESS = Address("controller", 1)
NODE = NodeId(1)


class OneController:
    """What brokers ask of the active controller; `image` is the truth."""

    def __init__(self) -> None:
        self.is_silent = False  # heartbeats are not answered
        self.image: ClusterImage = EMPTY_IMAGE
        self.held: set[int] = set()  # brokers that stay fenced for now
        self.snapshots_sent = 0
        self.ended_forks: list[EndedFork] = []
        self.refusals: list[DohleError] = []  # of those who come to follow
        self.hold_back = False  # what is committed is not told to brokers that follow
        self._log_start = 0
        self._batches: list[tuple[int, bytes]] = []
        self._grew: list[asyncio.Event] = []
        self.commit(*bootstrap_records(ClusterId(CLUSTER), (Voter(NODE, bytes(16), *ADDRESS),)))  # type: ignore[arg-type]

    def service(self) -> Service:
        descriptor = controller_pb2.DESCRIPTOR.services_by_name["Controller"]
        return service(descriptor, _Asked(self))

    def commit(self, *records: MetadataRecord) -> int:
        """Returns the offset of the first."""
        offset = self.image.next_offset
        if records:
            self.image = apply_batch(self.image, records, offset)
            version = self.image.metadata_version
            batch = encode_metadata(records, metadata_version=version, base_offset=offset, term=1, timestamp_ms=0)
            self._batches.append((offset, batch))
            self._wake()
        return offset

    def _wake(self) -> None:
        for event in self._grew if not self.hold_back else ():
            event.set()

    def _decide(self, decision: Decision[Any]) -> Any:
        self.commit(*decision.records)
        return decision.answer

    def _carry_out(self, decide: Callable[[ClusterImage], Decision[Any]]) -> Any:
        while (decision := decide(self.image)).more:
            self._decide(decision)
        return self._decide(decision)

    # what a test does

    def topic(
        self,
        topic_id: TopicId,
        replicas: Sequence[Sequence[int]],
        *,
        name: str = "t",
        isr: Sequence[int] | None = None,
        first: Sequence[MetadataRecord] = (),
        overrides: Mapping[str, str] | None = None,
    ) -> None:
        """Makes a topic; the first replica of each partition leads."""
        self.commit(
            *first,
            Topic(topic_id, name),
            *(TopicOverride(topic_id, key, value) for key, value in (overrides or {}).items()),
            *(
                Partition(
                    topic_id,
                    number,
                    tuple(NodeId(node) for node in nodes),
                    tuple(NodeId(node) for node in nodes if isr is None or node in isr),
                    NodeId(nodes[0]),
                )
                for number, nodes in enumerate(replicas)
            ),
        )

    def fork(self, request: admin_pb2.ForkTopicRequest) -> None:
        self._decide(begin_fork(self.image, request))

    def remove(self, topic_id: TopicId) -> None:
        self.commit(RemoveTopic(topic_id))

    def fence(self, *nodes: int) -> None:
        """Fences brokers, as when their sessions end; their heartbeats unfence them unless they are held."""
        self.commit(*fence_brokers(self.image, [NodeId(node) for node in nodes]).records)

    def leader(self, key: PartitionKey) -> int:
        partition = self.image.partition(key)
        assert partition is not None
        return partition.leader

    # what brokers ask

    async def follow_metadata(self, stream: Any, _context: object) -> None:
        request = await stream.receive()
        if self.refusals:
            raise self.refusals.pop()
        offset, grew = request.next_offset, asyncio.Event()
        self._grew.append(grew)
        try:
            hello: common_pb2.Hello | None = common_pb2.Hello(cluster_id=CLUSTER, node_id=NODE)
            while True:
                if offset < self._log_start:
                    await stream.send(
                        controller_pb2.FollowMetadataResponse(leader_id=NODE, snapshot_end_offset=self._log_start)
                    )
                    return
                data = b"".join(batch for base, batch in self._batches if base >= offset)
                offset = self.image.next_offset
                grew.clear()
                await stream.send(
                    controller_pb2.FollowMetadataResponse(
                        hello=hello, leader_id=NODE, batches=data, committed_end=offset
                    )
                )
                hello = None
                await grew.wait()
        finally:
            self._grew.remove(grew)

    def cut_log(self) -> None:
        """From now on, what was so far stands in a snapshot alone."""
        self._log_start = self.image.next_offset
        self._batches.clear()

    async def fetch_snapshot(self, stream: Any, _context: object) -> None:
        await stream.receive()
        self.snapshots_sent += 1
        batches = b"".join(encode_snapshot(self.image, 1))
        await stream.send(
            controller_pb2.FetchSnapshotResponse(
                hello=common_pb2.Hello(cluster_id=CLUSTER, node_id=NODE),
                end_offset=self.image.next_offset,
                term=1,
                size_bytes=len(batches),
                batches=batches,
            )
        )

    async def heartbeat(self, stream: Any, _context: object) -> None:
        node_id = NodeId(-1)
        while (request := await stream.receive()) is not None:
            if request.HasField("hello"):
                node_id = NodeId(request.hello.node_id)
            if not self.is_silent:
                await stream.send(self.beat(node_id, request))

    def beat(self, node_id: NodeId, request: controller_pb2.HeartbeatRequest) -> controller_pb2.HeartbeatResponse:
        answer: controller_pb2.HeartbeatResponse = self._decide(
            heartbeat(self.image, node_id, request, may_unfence=node_id not in self.held)
        )
        if request.wants_shutdown:
            self._carry_out(ShutdownSteps(self.image, self.image.brokers[node_id], MOST_CHANGES).next)
            answer.may_shut_down = True
        return answer

    async def register_broker(self, request: Any, _context: object) -> Any:
        return self._decide(register_broker(self.image, request, previous_gone=True))

    async def alter_partitions(self, request: Any, _context: object) -> Any:
        return self._carry_out(IsrProposals(request).next)

    async def fail_log_dirs(self, request: Any, _context: object) -> Any:
        return self._decide(fail_log_dirs(self.image, request))

    async def confirm_forks(self, request: Any, _context: object) -> Any:
        self.ended_forks += self._decide(confirm_forks(self.image, request))
        for topic_id in sorted(self.image.forks):
            ended = self._decide(settle_fork(self.image, topic_id, gives_up=False))
            self.ended_forks += [] if ended is None else [ended]
        return controller_pb2.ConfirmForksResponse()

    async def allocate_producer_ids(self, request: Any, _context: object) -> Any:
        return self._decide(allocate_producer_ids(self.image, request))


class _Asked:
    """The service: it looks the rpcs up at each call, so that a test may put others in their place."""

    def __init__(self, controller: OneController) -> None:
        self._controller = controller

    async def follow_metadata(self, stream: Any, context: object) -> None:
        await self._controller.follow_metadata(stream, context)

    async def heartbeat(self, stream: Any, context: object) -> None:
        await self._controller.heartbeat(stream, context)

    async def register_broker(self, request: Any, context: object) -> Any:
        return await self._controller.register_broker(request, context)

    async def alter_partitions(self, request: Any, context: object) -> Any:
        return await self._controller.alter_partitions(request, context)

    async def fail_log_dirs(self, request: Any, context: object) -> Any:
        return await self._controller.fail_log_dirs(request, context)

    async def confirm_forks(self, request: Any, context: object) -> Any:
        return await self._controller.confirm_forks(request, context)

    async def allocate_producer_ids(self, request: Any, context: object) -> Any:
        return await self._controller.allocate_producer_ids(request, context)

    async def create_topics(self, request: Any, _context: object) -> Any:
        raise AssertionError(f"no broker here passes an operator's request on: {request}")

    fork_topic = delete_topics = create_partitions = alter_configs = create_topics
    alter_partition_reassignments = list_partition_reassignments = create_topics
    elect_leaders = unregister_broker = drain_broker = describe_partition_history = create_topics
    describe_quorum = add_voter = remove_voter = transfer_controller = create_topics
    describe_features = update_features = create_topics

    async def fetch_snapshot(self, stream: Any, context: object) -> None:
        await self._controller.fetch_snapshot(stream, context)
