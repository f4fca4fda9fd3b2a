"""A cluster that exists only as its metadata: decisions are committed at once, and every image is checked."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from dohle.controller.brokers import ShutdownSteps, fence_brokers, heartbeat
from dohle.controller.decision import MOST_CHANGES, Decision
from dohle.controller.election_counts import ElectionCounts
from dohle.controller.eligible import remembers
from dohle.controller.isr import IsrProposals
from dohle.controller.leader_elections import wanted_elections
from dohle.controller.reassignment import alter_partition_reassignments
from dohle.controller.registration import register_broker
from dohle.controller.topics import TopicDefaults, create_topics
from dohle.model.ids import NO_NODE, ClusterId, DirectoryId, NodeId, PartitionKey
from dohle.model.image import EMPTY_IMAGE, ClusterImage, PartitionImage
from dohle.model.image_apply import apply_batch
from dohle.model.metadata import (
    METADATA_VERSION,
    NEWEST_METADATA_VERSION,
    MetadataRecord,
    Voter,
    bootstrap_records,
)
from dohle.model.metadata_forms import decode_record, encode_record
from dohle.rpc.v1 import admin_pb2
from dohle.rpc.v1.admin_pb2 import (
    AlterPartitionReassignmentsRequest,
    ConfigEntry,
    CreateTopicsRequest,
    ElectedLeader,
    ElectionOf,
    ElectLeadersRequest,
    NewTopic,
    ReplicaAssignment,
    WantedReassignment,
)
from dohle.rpc.v1.common_pb2 import Endpoint, Failure, FeatureRange, Hello
from dohle.rpc.v1.controller_pb2 import (
    AlteredPartition,
    AlterPartition,
    AlterPartitionsRequest,
    HeartbeatRequest,
    HeartbeatResponse,
    HeldReplica,
    IsrMember,
    RegisterBrokerRequest,
)

CLUSTER_ID = ClusterId("AAAAAAAAAAAAAAAAAAAAAA")
VOTER = Voter(NodeId(1), DirectoryId(bytes(16)), "here", 7092)


class DecidedCluster:
    """What the active controller would hold, without one."""

    def __init__(
        self,
        brokers: int = 0,
        racks: tuple[str, ...] = ("",),
        metadata_version: int = NEWEST_METADATA_VERSION,
    ) -> None:
        self.random = Random(7)
        self.image = EMPTY_IMAGE
        self.log: list[MetadataRecord] = []
        self.alarms: list[str] = []
        self.counts = ElectionCounts()
        self.directories: dict[int, bytes] = {}
        self.starts = 0
        self._leaders: dict[tuple[PartitionKey, int], NodeId] = {}
        self.commit(bootstrap_records(CLUSTER_ID, (VOTER,), metadata_version))
        for node_id in range(1, brokers + 1):
            self.start(node_id, rack=racks[(node_id - 1) % len(racks)])

    def commit(self, records: tuple[MetadataRecord, ...]) -> None:
        version = self.image.metadata_version if self.log else NEWEST_METADATA_VERSION
        decoded = [decode_record(encode_record(record, version)) for record in records]
        self.counts.count(self.image, decoded)
        before, self.image = self.image, apply_batch(self.image, decoded, self.image.next_offset)
        self.log.extend(decoded)
        self._check(before)

    def take(self, decision: Decision[Any]) -> Any:
        self.commit(decision.records)
        self.alarms.extend(decision.alarms)
        return decision.answer

    def carry_out(self, decide: Callable[[ClusterImage], Decision[Any]]) -> Any:
        """Takes one step after the other."""
        while (decision := decide(self.image)).more:
            self.take(decision)
        return self.take(decision)

    def registration(self, node_id: int, **changes: Any) -> RegisterBrokerRequest:
        """A registration of a broker that stopped uncleanly, holds everything, and has fsynced all of it."""
        self.starts += 1
        hello = Hello(
            cluster_id=CLUSTER_ID,
            node_id=node_id,
            incarnation_id=self.starts.to_bytes(16, "big"),
            directory_id=self.directories.setdefault(node_id, bytes([node_id] * 16)),
            features=[FeatureRange(name=METADATA_VERSION, min_level=1, max_level=NEWEST_METADATA_VERSION)],
        )
        request = RegisterBrokerRequest(
            hello=hello,
            endpoints=[Endpoint(listener="GRPC", host="here", port=7000 + node_id, security_protocol="PLAINTEXT")],
            held=[self.held(key) for key, _ in self.image.replicas_of(NodeId(node_id))],
            durable_metadata_offset=self.image.next_offset,
            clean_broker_epoch=-1,
        )
        for name, value in changes.items():
            if name == "held":
                del request.held[:]
                request.held.extend(value)
            else:
                setattr(request, name, value)
        return request

    def held(self, key: PartitionKey, **changes: Any) -> HeldReplica:
        whole = {"last_epoch": 0, "durable_end": 100, "proven": True}
        return HeldReplica(topic_id=key.topic_id, partition=key.partition, **{**whole, **changes})

    def register(self, node_id: int, **changes: Any) -> int:
        answer = self.take(register_broker(self.image, self.registration(node_id, **changes), previous_gone=True))
        return int(answer.broker_epoch)

    def beat(self, node_id: int, **wants: bool) -> HeartbeatResponse:
        epoch = self.image.brokers[NodeId(node_id)].broker_epoch
        request = HeartbeatRequest(broker_epoch=epoch, metadata_offset=self.image.next_offset, **wants)
        answer: HeartbeatResponse = self.take(heartbeat(self.image, NodeId(node_id), request))
        if request.wants_shutdown:
            self.carry_out(ShutdownSteps(self.image, self.image.brokers[NodeId(node_id)], MOST_CHANGES).next)
            answer.may_shut_down = True
        return answer

    def start(self, node_id: int, **changes: Any) -> None:
        self.register(node_id, **changes)
        self.beat(node_id)

    def fence(self, *node_ids: int) -> None:
        self.take(fence_brokers(self.image, [NodeId(node_id) for node_id in node_ids]))

    def topic(self, name: str, *replicas: list[int], **configs: str) -> None:
        """Creates a topic with these replicas by partition; configs with underscores for dots."""
        topic = NewTopic(
            name=name,
            partitions=-1,
            replication_factor=-1,
            configs=[ConfigEntry(name=key.replace("_", "."), value=value) for key, value in configs.items()],
            assignments=[ReplicaAssignment(partition=n, replicas=nodes) for n, nodes in enumerate(replicas)],
        )
        request = CreateTopicsRequest(topics=[topic])
        answer = self.take(create_topics(self.image, request, defaults=TopicDefaults(), random=self.random))
        assert not answer.topics[0].failure.code, answer

    def key(self, name: str, number: int = 0) -> PartitionKey:
        return PartitionKey(self.image.topic_ids[name], number)

    def partition(self, name: str, number: int = 0) -> PartitionImage:
        partition = self.image.partition(self.key(name, number))
        assert partition is not None
        return partition

    def led(self, name: str, number: int = 0) -> tuple[int, int, tuple[int, ...]]:
        """Returns (leader, leader epoch, ISR)."""
        partition = self.partition(name, number)
        return partition.leader, partition.leader_epoch, partition.in_sync_replicas

    def proposal(self, name: str, isr: list[int], number: int = 0, **changes: Any) -> AlterPartitionsRequest:
        key, partition = self.key(name, number), self.partition(name, number)
        entry = AlterPartition(
            topic_id=key.topic_id,
            partition=key.partition,
            leader_epoch=partition.leader_epoch,
            partition_epoch=partition.partition_epoch,
            in_sync_replicas=[IsrMember(broker_id=n, broker_epoch=self._epoch(n)) for n in isr],
        )
        entry.damaged_replicas.extend(changes.pop("damaged", []))
        leader = changes.pop("broker_id", partition.leader)
        leader_broker_epoch = changes.pop("broker_epoch", self._epoch(leader))
        for field, value in changes.items():
            setattr(entry, field, value)
        return AlterPartitionsRequest(broker_id=leader, broker_epoch=leader_broker_epoch, partitions=[entry])

    def propose(self, name: str, isr: list[int], **changes: Any) -> AlteredPartition:
        answer = self.carry_out(IsrProposals(self.proposal(name, isr, **changes)).next)
        altered: AlteredPartition = answer.partitions[0]
        return altered

    def reassign(self, name: str, replicas: list[int] | None, number: int = 0, **changes: Any) -> Failure:
        """Asks for other replicas of a partition; None takes what runs back."""
        wanted = WantedReassignment(
            topic=name, partition=number, replicas=replicas, cancel=replicas is None, partition_epoch=-1
        )
        throttle = changes.pop("throttle", None)
        for field, value in changes.items():
            setattr(wanted, field, value)
        request = AlterPartitionReassignmentsRequest(partitions=[wanted], throttle_bytes_per_s=throttle)
        failure: Failure = self.take(alter_partition_reassignments(self.image, request)).partitions[0].failure
        return failure

    def sets(self, name: str, number: int = 0) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Returns (assigned, adding, removing replicas)."""
        partition = self.partition(name, number)
        return partition.assigned_replicas, partition.adding_replicas, partition.removing_replicas

    def elect(self, name: str, *, unclean: bool = False, number: int = 0) -> ElectedLeader:
        kind = admin_pb2.ELECTION_TYPE_UNCLEAN if unclean else admin_pb2.ELECTION_TYPE_PREFERRED
        request = ElectLeadersRequest(election_type=kind, partitions=[ElectionOf(topic=name, partitions=[number])])
        answer: ElectedLeader = self.carry_out(wanted_elections(request).next).partitions[0]
        return answer

    def replayed(self) -> ClusterImage:
        """The image that a node has which applies the same records in other portions."""
        image = EMPTY_IMAGE
        for record in self.log:
            image = apply_batch(image, [record], image.next_offset)
        return image

    def _epoch(self, node_id: int) -> int:
        broker = self.image.brokers.get(NodeId(node_id))
        return -1 if broker is None else broker.broker_epoch

    def _check(self, before: ClusterImage) -> None:
        hosted: dict[int, list[PartitionKey]] = {}
        for topic in self.image.topics_in_order():
            earlier = before.topics.get(topic.topic_id)
            for number, partition in enumerate(topic.partitions):
                key = PartitionKey(topic.topic_id, number)
                for node in partition.assigned_replicas:
                    hosted.setdefault(node, []).append(key)
                self._check_partition(key, partition)
                assert not partition.eligible_replicas or len(partition.in_sync_replicas) < topic.effective_min_insync(
                    number
                )
                if earlier is not None and number < len(earlier.partitions):
                    was = earlier.partitions[number]
                    gone = not set(was.assigned_replicas) <= set(partition.assigned_replicas)
                    assert partition.leader_epoch == was.leader_epoch + (partition.leader != was.leader or gone)
                    assert partition.partition_epoch == was.partition_epoch + (partition != was)
                    alone = partition.in_sync_replicas == (partition.leader,) and not was.is_reassigning
                    if alone and partition.leader not in (*was.in_sync_replicas, *was.eligible_replicas):
                        assert topic.config.unclean_leader_election_enable
                    if not remembers(self.image):
                        assert not partition.eligible_replicas
                        assert partition.last_known_leader == NO_NODE
        for node in self.image.brokers_in_order():
            assert [key for key, _ in self.image.replicas_of(node.node_id)] == sorted(hosted.get(node.node_id, []))

    def _check_partition(self, key: PartitionKey, partition: PartitionImage) -> None:
        members = partition.in_sync_replicas
        assert partition.is_reassigning == (key in self.image.reassigning)
        assert partition.replication_factor > 0
        assert partition.target_replicas
        assert members == tuple(node for node in partition.assigned_replicas if node in members)
        assert members
        assert {doubt.node_id for doubt in partition.doubts} <= set(members)
        assert not set(partition.eligible_replicas) & set(members)
        assert set(partition.eligible_replicas) <= set(partition.assigned_replicas)
        if partition.leader == NO_NODE:
            return
        assert partition.last_known_leader == NO_NODE
        leader = self.image.brokers[partition.leader]
        assert partition.leader in members
        assert not partition.doubts
        assert not leader.fenced
        assert self._leaders.setdefault((key, partition.leader_epoch), leader.node_id) == leader.node_id
