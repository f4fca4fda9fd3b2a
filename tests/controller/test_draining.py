"""Draining: who may be drained, what a broker that is gets no more, and when it ends."""

import pytest

from dohle.controller.brokers import unregister_broker
from dohle.controller.draining import drain_broker
from dohle.controller.leader_elections import balancing_elections
from dohle.controller.topics import TopicDefaults, create_partitions, create_topics
from dohle.model.errors import (
    BrokerIdNotRegistered,
    InvalidReplicaAssignment,
    InvalidReplicationFactor,
    PreferredLeaderNotAvailable,
    UnsupportedVersion,
)
from dohle.rpc.v1.admin_pb2 import (
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DrainBrokerRequest,
    NewPartitions,
    NewTopic,
    ReplicaAssignment,
    UnregisterBrokerRequest,
)
from tests.controller.decided_cluster import DecidedCluster


@pytest.fixture
def cluster() -> DecidedCluster:
    return DecidedCluster(brokers=5)


def drain(cluster, node_id, **wants):
    answer = cluster.take(drain_broker(cluster.image, DrainBrokerRequest(node_id=node_id, **wants)))
    return answer.changed, answer.replicas


def made(cluster, name, partitions=20, replication_factor=3, **wants):
    topic = NewTopic(name=name, partitions=partitions, replication_factor=replication_factor, **wants)
    request = CreateTopicsRequest(topics=[topic])
    return cluster.take(create_topics(cluster.image, request, defaults=TopicDefaults(), random=cluster.random)).topics[
        0
    ]


def holders(cluster, name):
    return {node for one in cluster.image.topic_named(name).partitions for node in one.assigned_replicas}


def test_a_draining_broker_gets_no_replica_of_a_new_topic(cluster):
    assert drain(cluster, 2) == (True, 0)
    made(cluster, "t")
    assert holders(cluster, "t") == {1, 3, 4, 5}


def test_a_draining_broker_gets_no_replica_of_new_partitions(cluster):
    made(cluster, "t", partitions=1)
    drain(cluster, 2)
    before = cluster.image.replica_count(2)
    wanted = CreatePartitionsRequest(topics=[NewPartitions(topic="t", total_count=30)])
    cluster.take(create_partitions(cluster.image, wanted, random=cluster.random))
    assert cluster.image.replica_count(2) == before


def test_one_that_is_down_stands_in_for_one_that_is_missing_unless_it_drains(cluster):
    drain(cluster, 2)
    cluster.fence(1, 2, 3)
    made(cluster, "t")
    assert 2 not in holders(cluster, "t")
    assert {1, 3} & holders(cluster, "t")


def test_too_few_brokers_that_take_replicas_are_named_with_those_that_drain(cluster):
    drain(cluster, 4)
    drain(cluster, 5)
    failure = made(cluster, "t", replication_factor=4).failure
    assert failure.code == InvalidReplicationFactor.code
    assert "which is 3" in failure.message
    assert "[4, 5] are being drained" in failure.message
    assert not made(cluster, "t", replication_factor=3).failure.code


def test_a_default_replication_factor_is_not_lowered_without_a_word():
    cluster = DecidedCluster(brokers=3)
    drain(cluster, 3)
    assert made(cluster, "t", replication_factor=-1).failure.code == InvalidReplicationFactor.code


def test_replicas_assigned_by_hand_are_refused(cluster):
    drain(cluster, 2)
    by_hand = [ReplicaAssignment(partition=0, replicas=[1, 2])]
    failure = made(cluster, "t", partitions=-1, replication_factor=-1, assignments=by_hand).failure
    assert failure.code == InvalidReplicaAssignment.code
    assert "being drained, and get no new replicas: [2]" in failure.message


def test_a_reassignment_to_it_is_refused_and_what_it_has_may_stay_in_one(cluster):
    cluster.topic("t", [1, 2, 3])
    drain(cluster, 2)
    drain(cluster, 4)
    failure = cluster.reassign("t", [1, 2, 4])
    assert failure.code == InvalidReplicaAssignment.code
    assert "being drained, and get no new replicas, [4]: choose among [3, 5]" in failure.message
    assert not cluster.reassign("t", [1, 2, 5]).code


def test_a_move_that_has_begun_ends_or_is_taken_back(cluster):
    cluster.topic("t", [1, 2, 3])
    cluster.reassign("t", [1, 2, 4])
    drain(cluster, 4)
    drain(cluster, 3)
    cluster.reassign("t", None)
    assert cluster.sets("t")[0] == (1, 2, 3)
    cluster.reassign("t", [1, 2, 5])
    cluster.propose("t", [1, 2, 3, 5])
    assert cluster.sets("t")[0] == (1, 2, 5)


def test_the_state_outlives_restarts_and_ends_by_word_or_with_the_registration(cluster):
    drain(cluster, 4)
    since = cluster.image.brokers[4].draining_since
    cluster.fence(4)
    cluster.start(4)
    assert cluster.image.brokers[4].draining_since == since
    assert drain(cluster, 4) == (False, 0)
    assert cluster.image.brokers[4].draining_since == since
    assert drain(cluster, 4, cancel=True) == (True, 0)
    assert drain(cluster, 4, cancel=True) == (False, 0)
    assert not cluster.image.is_draining(4)
    drain(cluster, 4)
    cluster.fence(4)
    cluster.take(unregister_broker(cluster.image, UnregisterBrokerRequest(node_id=4)))
    cluster.start(4)
    assert not cluster.image.is_draining(4)


def test_it_leads_only_what_nobody_else_can(cluster):
    cluster.topic("t", [2, 1, 3])
    cluster.topic("u", [1, 2, 3])
    drain(cluster, 2)
    assert cluster.led("t") == (2, 0, (2, 1, 3))  # until it goes or is asked to
    cluster.fence(1)
    assert cluster.led("u")[0] == 3
    cluster.fence(3)
    assert cluster.led("u")[0] == 2


def test_it_is_nobodys_preferred_leader_where_there_is_another(cluster):
    cluster.topic("t", [2, 1, 3])
    cluster.topic("alone", [2])
    drain(cluster, 2)
    assert len(cluster.carry_out(balancing_elections(10).next).partitions) == 1
    assert cluster.led("t") == (1, 1, (2, 1, 3))
    assert cluster.led("alone")[0] == 2
    drain(cluster, 2, cancel=True)
    assert cluster.elect("t").leader == 2
    drain(cluster, 2)
    cluster.fence(1)
    assert cluster.elect("t").failure.code == PreferredLeaderNotAvailable.code


def test_a_drain_that_would_leave_too_few_brokers_is_refused_before_anything_changes(cluster):
    cluster.topic("t", [1, 2, 3])
    drain(cluster, 4)
    drain(cluster, 5)
    with pytest.raises(
        InvalidReplicaAssignment, match=r"t-0 has 3.*only 2 brokers.*\[4, 5\] drain already.*start another"
    ):
        drain(cluster, 1)
    assert not cluster.image.is_draining(1)
    drain(cluster, 5, cancel=True)
    cluster.fence(5)
    with pytest.raises(InvalidReplicaAssignment, match="only 2 brokers are available"):
        drain(cluster, 1)


def test_a_replica_that_is_down_stays_where_it_is(cluster):
    cluster.topic("t", [1, 2, 3])
    cluster.fence(2)
    assert drain(cluster, 1) == (True, 1)


def test_the_last_brokers_of_a_rack_are_not_drained_where_the_minimum_needs_it():
    cluster = DecidedCluster(brokers=5, racks=("a", "b"))  # 1, 3 and 5 stand in a, 2 and 4 in b
    cluster.topic("t", [1, 2, 3], min_insync_replicas="2")
    cluster.topic("u", [1, 4], min_insync_replicas="1")
    assert drain(cluster, 4) == (True, 1)
    with pytest.raises(InvalidReplicaAssignment, match=r"last one of its rack, b, that can have t-0.*in 1 racks"):
        drain(cluster, 2)
    drain(cluster, 4, cancel=True)
    assert drain(cluster, 2) == (True, 1)


def test_what_is_on_its_way_elsewhere_stands_in_no_ones_way(cluster):
    cluster.topic("t", [1, 2, 3])
    cluster.reassign("t", [4, 2, 3])
    cluster.fence(5)
    assert drain(cluster, 1) == (True, 1)


def test_a_dry_run_changes_nothing_and_an_unknown_broker_is_named(cluster):
    assert drain(cluster, 1, validate_only=True) == (True, 0)
    assert not cluster.image.is_draining(1)
    with pytest.raises(BrokerIdNotRegistered, match="no broker 9: there are 1, 2, 3, 4, 5"):
        drain(cluster, 9)


def test_a_cluster_of_an_older_metadata_version_knows_no_draining_brokers():
    cluster = DecidedCluster(brokers=2, metadata_version=3)
    with pytest.raises(UnsupportedVersion, match=r"draining state.*needs metadata.version 4.*works at 3"):
        drain(cluster, 2)
