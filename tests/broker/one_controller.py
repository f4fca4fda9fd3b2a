"""A controller of one node: the decisions of the real one, without a quorum, fencing only when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from dohle.controller.brokers import (
    ShutdownSteps,
    allocate_producer_ids,
    fence_brokers,
    heartbeat,
    unregister_broker,
)
from dohle.controller.decision import MOST_CHANGES, Decision
from dohle.controller.failed_dirs import fail_log_dirs
from dohle.controller.features import update_features
from dohle.controller.forks import EndedFork, begin_fork, confirm_forks, settle_fork
from dohle.controller.isr import IsrProposals
from dohle.controller.leader_elections import wanted_elections
from dohle.controller.reassignment import alter_partition_reassignments, list_partition_reassignments
from dohle.controller.registration import register_broker
from dohle.controller.topics import TopicDefaults, alter_configs, create_partitions, create_topics, delete_topics
from dohle.model.errors import DohleError, NetworkException
from dohle.model.ids import ClusterId, NodeId, PartitionKey, TopicId
from dohle.model.image import EMPTY_IMAGE, ClusterImage
from dohle.model.image_apply import apply_batch
from dohle.model.metadata import (
    NEWEST_METADATA_VERSION,
    MetadataRecord,
    Partition,
    RemoveTopic,
    Topic,
    TopicOverride,
    Voter,
    bootstrap_records,
)
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
        self.operated: list[tuple[str, Any]] = []  # what operators asked for
        self.lost_answers: dict[str, int] = {}  # by rpc: so many of the next answers
        self.quorum = admin_pb2.DescribeQuorumResponse(leader_id=NODE)
        self.random = Random(1)
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

    async def operate(self, method: str, request: Any) -> Any:
        """Carries out what an operator asked for; of `lost_answers` the first so many with that are never sent."""
        self.operated.append((method, request))
        answer = self._operated(method, request)
        if "metadata_offset" in answer.DESCRIPTOR.fields_by_name:
            answer.metadata_offset = self.image.next_offset
        if self.lost_answers.get(method, 0):
            self.lost_answers[method] -= 1
            raise NetworkException("the answer is lost")
        return answer

    def _operated(self, method: str, request: Any) -> Any:
        match method:
            case "CreateTopics":
                decided: Any = create_topics(
                    self.image, request, defaults=TopicDefaults(replication_factor=1), random=self.random
                )
            case "CreatePartitions":
                decided = create_partitions(self.image, request, random=self.random)
            case "ElectLeaders":
                return self._carry_out(wanted_elections(request).next)
            case "UpdateFeatures":
                decided = update_features(self.image, request, {}, NEWEST_METADATA_VERSION)
            case "DescribeQuorum":
                return self.quorum
            case "AddVoter" | "RemoveVoter":
                return {"AddVoter": admin_pb2.AddVoterResponse, "RemoveVoter": admin_pb2.RemoveVoterResponse}[method]()
            case _:
                decided = _DECISIONS[method](self.image, request)
        return self._decide(decided)


_DECISIONS: Mapping[str, Callable[[ClusterImage, Any], Decision[Any]]] = {
    "DeleteTopics": delete_topics,
    "AlterConfigs": alter_configs,
    "UnregisterBroker": unregister_broker,
    "AlterPartitionReassignments": alter_partition_reassignments,
    "ListPartitionReassignments": list_partition_reassignments,
}


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
        return await self._controller.operate("CreateTopics", request)

    async def delete_topics(self, request: Any, _context: object) -> Any:
        return await self._controller.operate("DeleteTopics", request)

    async def create_partitions(self, request: Any, _context: object) -> Any:
        return await self._controller.operate("CreatePartitions", request)

    async def alter_configs(self, request: Any, _context: object) -> Any:
        return await self._controller.operate("AlterConfigs", request)

    async def elect_leaders(self, request: Any, _context: object) -> Any:
        return await self._controller.operate("ElectLeaders", request)

    async def unregister_broker(self, request: Any, _context: object) -> Any:
        return await self._controller.operate("UnregisterBroker", request)

    async def alter_partition_reassignments(self, request: Any, _context: object) -> Any:
        return await self._controller.operate("AlterPartitionReassignments", request)

    async def list_partition_reassignments(self, request: Any, _context: object) -> Any:
        return await self._controller.operate("ListPartitionReassignments", request)

    async def update_features(self, request: Any, _context: object) -> Any:
        return await self._controller.operate("UpdateFeatures", request)

    async def describe_quorum(self, request: Any, _context: object) -> Any:
        return await self._controller.operate("DescribeQuorum", request)

    async def add_voter(self, request: Any, _context: object) -> Any:
        return await self._controller.operate("AddVoter", request)

    async def remove_voter(self, request: Any, _context: object) -> Any:
        return await self._controller.operate("RemoveVoter", request)

    async def fork_topic(self, request: Any, _context: object) -> Any:
        raise AssertionError(f"no broker here passes this on: {request}")

    drain_broker = describe_partition_history = transfer_controller = describe_features = fork_topic

    async def fetch_snapshot(self, stream: Any, context: object) -> None:
        await self._controller.fetch_snapshot(stream, context)
