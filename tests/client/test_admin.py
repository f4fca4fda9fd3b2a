"""The admin client against nodes that answer, refuse, and are gone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from dohle.client.admin import Admin
from dohle.client.partition_changes import ElectedLeader, Reassignment
from dohle.client.values import ConsumerRecord, CreatedTopic, DrainedBroker, NewTopic, Shortage, TopicConfigEntry
from dohle.model.errors import (
    BrokerNotAvailable,
    Closed,
    CoordinatorNotAvailable,
    DohleError,
    InvalidRequest,
    InvalidTopic,
    NetworkException,
    NotController,
    TopicAlreadyExists,
    UnknownTopicOrPartition,
)
from dohle.model.ids import TopicPartition
from dohle.rpc.grpc_network import GrpcNetwork
from dohle.rpc.methods import service
from dohle.rpc.v1 import admin_pb2, common_pb2, group_admin_pb2
from dohle.runtime.network import Address
from tests.client.fake_broker import TOPIC, Cluster, failure_of

ADMIN = admin_pb2.DESCRIPTOR.services_by_name["Admin"]
GROUP_ADMIN = group_admin_pb2.DESCRIPTOR.services_by_name["GroupAdmin"]


def answered(answer: Callable[[FakeAdmin, Any], Any]) -> Callable[[FakeAdmin, Any, object], Coroutine[Any, Any, Any]]:
    """Makes an rpc of FakeAdmin out of what it answers: the request is kept, and a refusal comes first."""

    async def rpc(node: FakeAdmin, request: Any, _context: object) -> Any:
        node.requests.append(request)
        if node.refusals:
            raise node.refusals.pop(0)
        return answer(node, request)

    return rpc


class FakeAdmin:
    """One node's Admin service. `refusals` are used up first; every request is kept."""

    def __init__(self, node: int) -> None:
        self.node = node
        self.refusals: list[DohleError] = []
        self.requests: list[object] = []

    @answered
    def describe_cluster(self, request):
        return admin_pb2.DescribeClusterResponse(
            cluster_id="c",
            controller_id=1,
            nodes=[
                admin_pb2.NodeDescription(
                    node_id=0,
                    endpoints=[common_pb2.Endpoint(listener="GRPC", host="h", port=7, security_protocol="PLAINTEXT")],
                )
            ],
            voters=[admin_pb2.VoterDescription(node_id=0, host="h", port=7)],
            unhealthy=[admin_pb2.PartitionHealth(topic="t", leader=-1, assigned_replicas=[0, 1], in_sync_replicas=[0])],
        )

    @answered
    def create_topics(self, request):
        return admin_pb2.CreateTopicsResponse(topics=[self._created(topic) for topic in request.topics])

    def _created(self, topic) -> admin_pb2.CreatedTopic:
        if topic.name == "old":
            return admin_pb2.CreatedTopic(name="old", failure=failure_of(TopicAlreadyExists("there is one")))
        return admin_pb2.CreatedTopic(name=topic.name, topic_id=b"i", partitions=topic.partitions, replication_factor=3)

    @answered
    def delete_topics(self, request):
        answers = [
            admin_pb2.DeletedTopic(name=name, failure=failure_of(UnknownTopicOrPartition()) if name != TOPIC else None)
            for name in request.topics
        ]
        return admin_pb2.DeleteTopicsResponse(topics=answers)

    @answered
    def fork_topic(self, request):
        if len(self.requests) % 2:
            return admin_pb2.ForkTopicResponse()
        ends = [admin_pb2.ForkPoint(partition=1, offset=7)]
        return admin_pb2.ForkTopicResponse(whole=True, ends=ends, replication_factor=3)

    @answered
    def create_partitions(self, request):
        return admin_pb2.CreatePartitionsResponse(topics=[admin_pb2.CreatedPartitions(topic=request.topics[0].topic)])

    @answered
    def describe_configs(self, request):
        configs = [
            admin_pb2.DescribedConfig(name=name, value="1", is_default=True, type="int", doc="d") for name in ("b", "a")
        ]
        return admin_pb2.DescribeConfigsResponse(topics=[admin_pb2.TopicConfigs(topic="t", configs=configs)])

    @answered
    def alter_configs(self, request):
        return admin_pb2.AlterConfigsResponse(
            topics=[admin_pb2.AlteredConfigs(topic="t", failure=failure_of(InvalidTopic("bad")))]
        )

    @answered
    def alter_partition_reassignments(self, request):
        outcomes = [
            admin_pb2.AlteredReassignment(topic=one.topic, partition=one.partition) for one in request.partitions
        ]
        for outcome in outcomes[1:]:
            outcome.failure.CopyFrom(failure_of(InvalidTopic("bad")))
        return admin_pb2.AlterPartitionReassignmentsResponse(partitions=outcomes)

    @answered
    def list_partition_reassignments(self, request):
        ongoing = admin_pb2.OngoingReassignment(topic="t", replicas=[4, 1], adding_replicas=[4], removing_replicas=[1])
        return admin_pb2.ListPartitionReassignmentsResponse(partitions=[ongoing], throttle_bytes_per_s=7)

    @answered
    def elect_leaders(self, request):
        return admin_pb2.ElectLeadersResponse(
            partitions=[admin_pb2.ElectedLeader(topic="t", partition=1, leader=2, leader_epoch=3)]
        )

    @answered
    def describe_partition_history(self, request):
        first = admin_pb2.PartitionStep(metadata_offset=5, time_ms=1000, leader=1, assigned_replicas=[1, 2])
        second = admin_pb2.PartitionStep(metadata_offset=9, time_ms=2000, leader=2, leader_epoch=1, fenced_brokers=[1])
        return admin_pb2.DescribePartitionHistoryResponse(steps=[first, second], now_ms=3000)

    @answered
    def describe_quorum(self, request):
        voter = admin_pb2.QuorumReplica(node_id=1, directory_id=bytes(16), host="here", port=7092)
        learner = admin_pb2.QuorumReplica(node_id=4, directory_id=bytes(16), host="there", port=7095)
        return admin_pb2.DescribeQuorumResponse(leader_id=1, term=3, log_end=9, voters=[voter], learners=[learner])

    @answered
    def add_voter(self, request):
        return admin_pb2.AddVoterResponse(changed=request.node_id == 4)

    @answered
    def remove_voter(self, request):
        return admin_pb2.RemoveVoterResponse()

    @answered
    def transfer_controller(self, request):
        return admin_pb2.TransferControllerResponse(leader_id=2 if request.node_id == -1 else request.node_id)

    @answered
    def drain_broker(self, request):
        return admin_pb2.DrainBrokerResponse(changed=not request.cancel, replicas=request.node_id)

    @answered
    def unregister_broker(self, request):
        return admin_pb2.UnregisterBrokerResponse()

    @answered
    def describe_features(self, request):
        broker, voter = admin_pb2.NODE_ROLE_BROKER, admin_pb2.NODE_ROLE_VOTER
        nodes = [
            admin_pb2.NodeSupport(node_id=1, role=broker, up=True, min_metadata_version=1, max_metadata_version=2),
            admin_pb2.NodeSupport(node_id=2, role=voter),
        ]
        return admin_pb2.DescribeFeaturesResponse(metadata_version=1, newest_metadata_version=2, nodes=nodes)

    @answered
    def update_features(self, request):
        wanted = request.metadata_version or 2
        return admin_pb2.UpdateFeaturesResponse(metadata_version=wanted, previous_metadata_version=1)

    @answered
    def describe_log_dirs(self, request):
        replica = admin_pb2.ReplicaDescription(topic="t", partition=1, size_bytes=9, leads=True)
        return admin_pb2.DescribeLogDirsResponse(
            node_id=self.node,
            log_dirs=[
                admin_pb2.LogDir(path=f"/data/{self.node}", free_bytes=5, replicas=[replica], lacks_room="5 bytes free")
            ],
            waiting=[admin_pb2.WaitingReplica(topic="new", partition=2, reason="full")],
            moves=[
                admin_pb2.LogDirMove(
                    topic="t", partition=1, state=admin_pb2.LOG_DIR_MOVE_STATE_COPYING, copied_bytes=3, size_bytes=9
                )
            ],
        )

    @answered
    def alter_replica_log_dirs(self, request):
        refused = common_pb2.Failure(code=InvalidRequest.code, message="already there")
        return admin_pb2.AlterReplicaLogDirsResponse(
            replicas=[
                admin_pb2.AlteredLogDir(
                    topic=one.topic, partition=one.partition, failure=refused if one.path == "/data/1" else None
                )
                for one in request.replicas
            ]
        )

    @answered
    def list_groups(self, request):
        return group_admin_pb2.ListGroupsResponse()

    @answered
    def describe_groups(self, request):
        return group_admin_pb2.DescribeGroupsResponse()

    @answered
    def alter_group_offsets(self, request):
        return group_admin_pb2.AlterGroupOffsetsResponse()

    @answered
    def remove_groups(self, request):
        return group_admin_pb2.RemoveGroupsResponse()


class Nodes:
    def __init__(self) -> None:
        self.cluster = Cluster(brokers=2)
        self.admins = [FakeAdmin(0), FakeAdmin(1)]

    def client(self, **options) -> Admin:
        return Admin(self.cluster.bootstrap, **{"request_timeout_ms": 3000, **options})


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes()
    network = GrpcNetwork(client_id="nodes")
    for node, (broker, admin) in enumerate(zip(made.cluster.brokers, made.admins, strict=True)):
        services = [broker.service(), service(ADMIN, admin), service(GROUP_ADMIN, admin)]
        server = await network.serve(Address("127.0.0.1", 0), services, listener="GRPC")
        made.cluster.servers[node], made.cluster.addresses[node] = server, server.address
    yield made
    for server in made.cluster.servers.values():
        await server.stop(0)
    await network.close()


async def test_topics_are_created_each_with_its_own_outcome(nodes: Nodes) -> None:
    async with nodes.client() as admin:
        outcomes = await admin.create_topics([NewTopic("new", partitions=6), NewTopic("old")])
        assert outcomes["new"] == CreatedTopic("new", b"i", 6, 3)
        assert isinstance(outcomes["old"], TopicAlreadyExists)
        with pytest.raises(TopicAlreadyExists, match="there is one"):
            await admin.create_topic("old", configs={"flush.messages": "5"}, validate_only=True)
    asked = nodes.admins[0].requests[-1]
    assert asked.validate_only
    assert (asked.topics[0].partitions, asked.topics[0].replication_factor) == (-1, -1)
    assert [(entry.name, entry.value) for entry in asked.topics[0].configs] == [("flush.messages", "5")]


async def test_topics_are_listed_described_and_deleted(nodes: Nodes) -> None:
    async with nodes.client() as admin:
        assert [topic.name for topic in await admin.list_topics()] == [TOPIC]
        described = await admin.describe_topic(TOPIC)
        assert (described.partitions[0].leader, described.replication_factor) == (0, 1)
        with pytest.raises(UnknownTopicOrPartition):
            await admin.describe_topic("nope")
        await admin.delete_topic(TOPIC)
        with pytest.raises(UnknownTopicOrPartition):
            await admin.delete_topic("nope")


async def test_configs_are_described_by_name_and_a_refused_change_raises(nodes: Nodes) -> None:
    async with nodes.client() as admin:
        assert await admin.describe_configs("t") == [
            TopicConfigEntry(name, "1", True, "int", "d") for name in ("a", "b")
        ]
        with pytest.raises(InvalidTopic, match="bad"):
            await admin.alter_configs("t", {"a": "2"}, remove=["b"])
        await admin.create_partitions("t", 12)
    assert list(nodes.admins[0].requests[1].topics[0].remove) == ["b"]
    assert nodes.admins[0].requests[2].topics[0].total_count == 12


async def test_the_cluster_and_one_nodes_log_dirs_are_described(nodes: Nodes) -> None:
    async with nodes.client() as admin:
        cluster = await admin.describe_cluster()
        assert cluster.nodes[0].endpoints[0].address == Address("h", 7)
        assert cluster.unhealthy[0].in_sync_replicas == (0,)
        [log_dir] = await admin.describe_log_dirs(1)
        assert await admin.describe_shortage(1) == Shortage(("5 bytes free",), {TopicPartition("new", 2): "full"})
        assert (log_dir.path, log_dir.failure, log_dir.replicas[0].leads) == ("/data/1", None, True)
        with pytest.raises(BrokerNotAvailable, match="node 7"):
            await admin.describe_log_dirs(7)


async def test_replicas_move_between_the_directories_of_the_broker_that_is_named(nodes: Nodes) -> None:
    async with nodes.client() as admin:
        first, second = TopicPartition("t", 0), TopicPartition("t", 1)
        outcomes = await admin.alter_replica_log_dirs(1, {first: "/data/1", second: None})
        assert isinstance(outcomes[first], InvalidRequest)
        assert outcomes[second] is None
        [move] = await admin.describe_log_dir_moves(1)
        assert (move.name, move.state, move.copied_bytes, move.is_over) == (second, "copying", 3, False)
    assert not [one for one in nodes.admins[0].requests if isinstance(one, admin_pb2.AlterReplicaLogDirsRequest)]


async def test_a_change_that_was_certainly_refused_is_repeated_elsewhere(nodes: Nodes) -> None:
    nodes.admins[0].refusals.append(NotController())
    async with nodes.client() as admin:
        await admin.create_topic("new")
    assert [len(admin.requests) for admin in nodes.admins] == [1, 1]


async def test_a_change_that_may_have_happened_is_not_repeated_but_a_question_is(nodes: Nodes) -> None:
    nodes.admins[0].refusals.append(NetworkException("the connection broke"))
    async with nodes.client() as admin:
        with pytest.raises(NetworkException) as caught:
            await admin.create_topic("new")
        assert not caught.value.definite
        nodes.admins[0].refusals.append(NetworkException("again"))
        assert (await admin.describe_cluster()).cluster_id == "c"


async def test_a_groups_offsets_are_set_again_unless_nobody_knows_the_topic(nodes: Nodes) -> None:
    nodes.admins[0].refusals.append(CoordinatorNotAvailable())
    async with nodes.client() as admin:
        await admin.alter_group_offsets("g", {(TOPIC, 0): 1})
        assert [len(node.requests) for node in nodes.admins] == [1, 1]
        nodes.admins[1].refusals.append(UnknownTopicOrPartition())
        with pytest.raises(UnknownTopicOrPartition):
            await admin.alter_group_offsets("g", {("nowhere", 0): 1})
    assert [len(node.requests) for node in nodes.admins] == [1, 2]


async def test_a_node_that_is_gone_is_passed_over(nodes: Nodes) -> None:
    await nodes.cluster.servers[0].stop(0)
    async with nodes.client() as admin:
        await admin.create_topic("new")
    assert len(nodes.admins[1].requests) == 1


async def test_a_cluster_that_is_gone_is_an_error_that_names_who_was_asked(nodes: Nodes) -> None:
    for server in nodes.cluster.servers.values():
        await server.stop(0)
    admin = nodes.client(request_timeout_ms=100)
    with pytest.raises(BrokerNotAvailable, match="is the cluster up"):
        await admin.list_topics()
    await admin.close()
    with pytest.raises(Closed):
        await admin.list_topics()


def test_the_clients_are_at_hand_in_the_package() -> None:
    import dohle

    assert dohle.Admin is Admin
    assert dohle.ConsumerRecord is ConsumerRecord
    with pytest.raises(AttributeError):
        dohle.Nothing  # noqa: B018


async def test_reassignments_begin_each_with_its_outcome_and_are_listed(nodes: Nodes) -> None:
    async with nodes.client() as admin:
        plan = [Reassignment("t", 0, (1, 2), partition_epoch=4), Reassignment("t", 1, None)]
        outcomes = await admin.alter_partition_reassignments(plan, throttle_bytes_per_s=0)
        assert outcomes["t", 0] is None
        assert isinstance(outcomes["t", 1], InvalidTopic)
        await admin.alter_partition_reassignments(plan, validate_only=True)
        listed = await admin.list_partition_reassignments()
    first, second, _ = nodes.admins[0].requests
    assert [(one.cancel, one.partition_epoch) for one in first.partitions] == [(False, 4), (True, -1)]
    assert (first.HasField("throttle_bytes_per_s"), second.HasField("throttle_bytes_per_s")) == (True, False)
    assert listed.throttle_bytes_per_s == 7
    assert (listed.reassignments[0].name, listed.reassignments[0].target_replicas) == (("t", 0), (4,))


async def test_voters_are_described_added_removed_and_take_over(nodes: Nodes) -> None:
    async with nodes.client() as admin:
        quorum = await admin.describe_quorum()
        assert ([voter.node_id for voter in quorum.voters], [one.node_id for one in quorum.learners]) == ([1], [4])
        assert await admin.add_voter(4)
        assert not await admin.add_voter(1)
        await admin.remove_voter(1)
        assert (await admin.transfer_controller(), await admin.transfer_controller(3)) == (2, 3)


async def test_features_are_described_and_raised(nodes: Nodes) -> None:
    async with nodes.client() as admin:
        described = await admin.describe_features()
        shown = [(node.role, node.metadata_versions) for node in described.nodes]
        assert shown == [("broker", (1, 2)), ("voter", None)]
        assert await admin.update_features() == (1, 2)
        assert await admin.update_features(3, validate_only=True) == (1, 3)
    assert nodes.admins[0].requests[-1].validate_only


async def test_leaders_are_elected_and_a_partitions_history_is_told(nodes: Nodes) -> None:
    async with nodes.client() as admin:
        assert await admin.elect_leaders({"t": [1]}) == {("t", 1): ElectedLeader(2, 3)}
        history = await admin.describe_partition_history("t", 0)
    assert [step.assigned_replicas for step in history.steps] == [(1, 2), (1, 2)]
    assert history.steps[1].fenced_brokers == (1,)


async def test_a_broker_is_drained_and_is_not(nodes: Nodes) -> None:
    async with nodes.client() as admin:
        assert await admin.drain_broker(5) == DrainedBroker(changed=True, replicas=5)
        assert await admin.drain_broker(5, cancel=True) == DrainedBroker(changed=False, replicas=5)


async def test_a_fork_is_asked_for_until_it_is_whole_and_is_the_same_one(nodes: Nodes) -> None:
    async with nodes.client() as admin:
        made = await admin.fork_topic("t", "f", offsets={1: 9})
        assert (made.name, made.ends, made.replication_factor) == ("f", {1: 7}, 3)
        await admin.snapshot_topic("t", "s", timestamp_ms=5)
        await admin.restore_topic("s", "r")
    asked = [request for fake in nodes.admins for request in fake.requests]
    assert len({request.topic_id for request in asked}) == 3
    assert all(request.topic_id == made.topic_id for request in asked if request.name == "f")
    assert {(request.source, request.name) for request in asked} == {
        ("t", "f"),
        ("t", "__snapshot.s"),
        ("__snapshot.s", "r"),
    }
    assert [request.timestamp_ms for request in asked if request.HasField("timestamp_ms")] in ([5], [5, 5])


async def test_a_broker_is_unregistered(nodes: Nodes) -> None:
    async with nodes.client() as admin:
        await admin.unregister_broker(5)
    asked = [request for fake in nodes.admins for request in fake.requests]
    assert [request.node_id for request in asked] == [5]
