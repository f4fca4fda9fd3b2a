"""`dohle cluster drain` beside others who change the same cluster: metadata that is decided, without nodes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dohle.cli import cluster_drain
from dohle.client import partition_changes
from dohle.client.admin import Admin
from dohle.client.drain import moves_away
from dohle.client.values import (
    ClusterDescription,
    DrainedBroker,
    NodeDescription,
    PartitionDescription,
    TopicConfigEntry,
    TopicDescription,
)
from dohle.controller.draining import drain_broker
from dohle.controller.reassignment import alter_partition_reassignments, list_partition_reassignments
from dohle.model.errors import BrokerNotAvailable, InvalidReplicaAssignment, InvalidRequest, ReassignmentInProgress
from dohle.model.ids import NodeId
from dohle.model.metadata import RemoveTopic
from dohle.rpc.v1 import admin_pb2
from tests.controller.decided_cluster import DecidedCluster


class DecidedAdmin(Admin):
    """Asks the decided cluster. Before each plan is decided one of `meanwhile` happens; moves arrive when looked at."""

    def __init__(self, cluster: DecidedCluster, *meanwhile: Callable[[], object]) -> None:
        super().__init__("nowhere:1")
        self.cluster = cluster
        self.meanwhile = list(meanwhile)

    async def drain_broker(self, node_id, *, cancel=False, validate_only=False):
        request = admin_pb2.DrainBrokerRequest(node_id=node_id, cancel=cancel, validate_only=validate_only)
        answer = self.cluster.take(drain_broker(self.cluster.image, request))
        return DrainedBroker(answer.changed, answer.replicas)

    async def alter_partition_reassignments(self, reassignments, *, throttle_bytes_per_s=None, validate_only=False):
        if self.meanwhile:
            self.meanwhile.pop(0)()
        wanted = [partition_changes.wanted_message(one) for one in reassignments]
        request = admin_pb2.AlterPartitionReassignmentsRequest(partitions=wanted, validate_only=validate_only)
        return partition_changes.outcomes(self.cluster.take(alter_partition_reassignments(self.cluster.image, request)))

    async def list_partition_reassignments(self):
        for key in sorted(self.cluster.image.reassigning):
            name = self.cluster.image.topics[key.topic_id].name
            assert key.partition == 0
            partition = self.cluster.partition(name)
            if partition.leader > 0 and all(map(self.cluster.image.is_active, partition.target_replicas)):
                active = [node for node in partition.assigned_replicas if self.cluster.image.is_active(node)]
                self.cluster.propose(name, active)
        request = admin_pb2.ListPartitionReassignmentsRequest()
        return partition_changes.ongoing(list_partition_reassignments(self.cluster.image, request).answer)

    async def describe_cluster(self):
        image = self.cluster.image
        nodes = [
            NodeDescription(
                one.node_id, (), one.rack, one.fenced, one.shutting_down, one.broker_epoch, one.incarnation_id, 0,
                image.replica_count(one.node_id), draining=one.draining,
            )
            for one in image.brokers_in_order()
        ]  # fmt: skip
        return ClusterDescription("c", 1, tuple(nodes), (), image.metadata_version, image.next_offset, 0, 0, ())

    async def list_topics(self):
        return [
            TopicDescription(
                topic.name,
                topic.topic_id,
                tuple(
                    PartitionDescription(
                        n,
                        one.leader,
                        one.leader_epoch,
                        one.partition_epoch,
                        one.assigned_replicas,
                        one.in_sync_replicas,
                    )
                    for n, one in enumerate(topic.partitions)
                ),
            )
            for topic in self.cluster.image.topics_in_order()
        ]

    async def describe_topics(self, names):
        return {topic.name: topic for topic in await self.list_topics() if topic.name in names}

    async def describe_configs(self, topic):
        config = self.cluster.image.topic_named(topic).config
        return [TopicConfigEntry("min.insync.replicas", str(config.min_insync_replicas), True, "", "")]


class DyingBrokers(DecidedAdmin):
    """Some brokers die as soon as the first moves have begun."""

    def __init__(self, cluster: DecidedCluster, *dying: int) -> None:
        super().__init__(cluster)
        self.dying = dying

    async def alter_partition_reassignments(self, reassignments, **options):
        outcomes = await super().alter_partition_reassignments(reassignments, **options)
        self.cluster.fence(*self.dying)
        self.dying = ()
        return outcomes


class ArrivingSlowly(DecidedAdmin):
    """What is on its way when it is looked at for the first time arrives after that."""

    looks = 0

    async def list_partition_reassignments(self):
        self.looks += 1
        if self.looks > 1:
            return await super().list_partition_reassignments()
        request = admin_pb2.ListPartitionReassignmentsRequest()
        return partition_changes.ongoing(list_partition_reassignments(self.cluster.image, request).answer)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(cluster_drain, "_LOOK_AGAIN_S", 0)


def cluster_of(brokers: int, **options: int) -> DecidedCluster:
    cluster = DecidedCluster(brokers=brokers, **options)
    for number in range(3):
        cluster.topic(f"t{number}", [1, 2, 3])
    return cluster


async def drained(admin: DecidedAdmin, node: int = 1) -> int:
    is_marked = await cluster_drain._mark(admin, node, dry_run=False, as_json=False)
    return await cluster_drain._drain(admin, node, None, patience_s=0, is_marked=is_marked, as_json=False)


async def test_what_changes_between_a_plan_and_its_decision_is_planned_again(capsys):
    cluster = cluster_of(6)
    admin = DecidedAdmin(
        cluster,
        lambda: cluster.propose("t0", [1, 2]),  # the plan is of an earlier partition epoch
        lambda: cluster.commit((RemoveTopic(cluster.image.topic_ids["t1"]),)),
        lambda: cluster.reassign("t2", [1, 2, 4]),
        lambda: cluster.fence(5),  # where it would go
    )
    assert await drained(admin) == 0
    assert not admin.meanwhile
    assert cluster.image.replica_count(NodeId(1)) == 0
    assert "broker 1 holds no replicas: it can be switched off" in capsys.readouterr().out


async def test_below_its_metadata_version_what_is_placed_meanwhile_is_moved_as_well(capsys):
    cluster = cluster_of(4, metadata_version=3)
    late = [lambda number=number: cluster.topic(f"late{number}", [1, 2, 3]) for number in range(10)]
    assert await drained(DecidedAdmin(cluster, *late)) == 0
    assert cluster.image.replica_count(NodeId(1)) == 0
    said = capsys.readouterr()
    assert "knows no draining brokers" in said.err
    assert "13 moved away" in said.out


async def test_what_is_on_its_way_already_is_waited_for_and_said_to_be(capsys):
    cluster = cluster_of(5)
    cluster.reassign("t0", [1, 2, 4])
    assert await drained(ArrivingSlowly(cluster)) == 0
    assert "1 partition of it on the way already, waited for first" in capsys.readouterr().out
    assert cluster.image.replica_count(NodeId(1)) == 0


async def test_what_would_move_is_not_said_before_what_is_on_its_way_has_arrived(capsys):
    cluster = cluster_of(4)
    cluster.reassign("t0", [2, 3, 4])  # until it has arrived it has four replicas, and nobody could take a fifth
    admin = ArrivingSlowly(cluster)
    with pytest.raises(ReassignmentInProgress, match="1 partition of broker 1 on the way, t0-0 first"):
        await cluster_drain._show_plan(admin, 1, as_json=False)
    assert await cluster_drain._show_plan(admin, 1, as_json=False) == 0
    assert "2 partitions would move; nothing was changed" in capsys.readouterr().out


async def test_where_nothing_is_left_to_go_to_the_reason_is_said():
    cluster = cluster_of(4)
    with pytest.raises(InvalidReplicaAssignment, match="only 2 brokers"):
        await drained(DecidedAdmin(cluster, lambda: cluster.fence(4)))
    assert cluster.image.is_draining(NodeId(1))


async def test_whom_a_move_will_wait_for_is_said(capsys):
    cluster = cluster_of(5)
    cluster.fence(2)
    admin = DecidedAdmin(cluster)
    await cluster_drain._tell_new(admin, await moves_away(admin, 1), set(), as_json=True)
    assert "3 partitions with replicas on brokers that are down (2)" in capsys.readouterr().err


async def test_who_takes_the_drain_back_elsewhere_ends_it():
    cluster = cluster_of(4)
    cancel = admin_pb2.DrainBrokerRequest(node_id=1, cancel=True)
    admin = DecidedAdmin(cluster, lambda: cluster.take(drain_broker(cluster.image, cancel)))
    with pytest.raises(InvalidRequest, match="meanwhile somebody let broker 1 take replicas again"):
        await drained(admin)


async def test_a_plan_that_is_refused_again_and_again_ends_it(capsys):
    cluster = cluster_of(4)
    turn = [lambda number=number: cluster.propose("t0", [1, 2, 3][: 2 + number % 2]) for number in range(100)]
    assert await drained(DecidedAdmin(cluster, *turn)) == 1
    assert "the plan is out of date" in capsys.readouterr().err


async def test_what_goes_to_a_broker_that_dies_is_taken_back_and_goes_elsewhere(capsys):
    cluster = cluster_of(5)
    assert await drained(DyingBrokers(cluster, 4)) == 0
    assert cluster.image.replica_count(NodeId(1)) == cluster.image.replica_count(NodeId(4)) == 0
    said = capsys.readouterr()
    assert "t0, t1" not in said.err
    assert "wait for broker 4, which is down" in said.err or "waits for broker 4, which is down" in said.err
    assert "taken back, to go elsewhere" in said.out
    assert "3 moved away from broker 1, 0 to go" in said.out


async def test_where_there_is_no_other_place_than_the_dead_one_nothing_is_taken_back():
    cluster = cluster_of(4)
    with pytest.raises(InvalidReplicaAssignment, match="wait for broker 4, which is down, and there is no other place"):
        await drained(DyingBrokers(cluster, 4))
    assert len(cluster.image.reassigning) == 3
    cluster.start(4)
    assert await drained(DecidedAdmin(cluster)) == 0


async def test_a_replica_that_stays_and_dies_ends_it_with_what_would_help():
    cluster = cluster_of(6)
    with pytest.raises(BrokerNotAvailable, match=r"broker 2, which is down.* drain broker 2 first"):
        await drained(DyingBrokers(cluster, 2))
    assert await drained(DecidedAdmin(cluster), node=2) == 0, "it takes the moves back itself, which wait for it alone"
    assert cluster.image.replica_count(NodeId(2)) == 0
    assert await drained(DecidedAdmin(cluster)) == 0


async def test_a_broker_that_dies_while_it_is_drained_is_drained_all_the_same():
    cluster = cluster_of(5)
    assert await drained(DyingBrokers(cluster, 1)) == 0
    assert cluster.image.replica_count(NodeId(1)) == 0


async def test_what_only_the_drained_broker_had_waits_for_it():
    cluster = DecidedCluster(brokers=3)
    cluster.topic("alone", [1])
    with pytest.raises(
        BrokerNotAvailable, match="alone-0 waits for a leader, of the brokers that were in sync last: 1"
    ):
        await drained(DyingBrokers(cluster, 1))
    cluster.start(1)
    assert await drained(DecidedAdmin(cluster)) == 0
