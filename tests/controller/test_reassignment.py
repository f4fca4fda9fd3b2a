"""Reassignments: what is refused, when one ends, and what becomes of leaders and in-sync sets."""

from random import Random

import pytest

from dohle.controller.reassignment import alter_partition_reassignments, list_partition_reassignments
from dohle.controller.topics import alter_configs, delete_topics
from dohle.model.errors import (
    InvalidReplicaAssignment,
    InvalidReplicationFactor,
    InvalidRequest,
    InvalidUpdateVersion,
    NoReassignmentInProgress,
    NotEnoughReplicas,
    OperationNotAttempted,
    ReassignmentInProgress,
    UnknownTopicOrPartition,
)
from dohle.model.ids import NO_NODE
from dohle.rpc.v1.admin_pb2 import (
    AlterConfigsRequest,
    AlterPartitionReassignmentsRequest,
    AlterTopicConfigs,
    ConfigEntry,
    DeleteTopicsRequest,
    ListPartitionReassignmentsRequest,
    WantedReassignment,
)
from tests.controller.decided_cluster import DecidedCluster


@pytest.fixture
def cluster() -> DecidedCluster:
    cluster = DecidedCluster(brokers=6)
    cluster.topic("t", [1, 2, 3], min_insync_replicas="2")
    return cluster


def test_a_partition_has_the_replicas_of_both_sides_until_every_target_is_in_sync(cluster):
    assert not cluster.reassign("t", [4, 5, 1]).code
    assert cluster.sets("t") == ((4, 5, 1, 2, 3), (4, 5), (2, 3))
    assert cluster.led("t") == (1, 0, (1, 2, 3))
    cluster.propose("t", [1, 2, 3, 4])
    assert cluster.sets("t") == ((4, 5, 1, 2, 3), (4, 5), (2, 3))
    answer = cluster.propose("t", [1, 2, 3, 4, 5])
    assert cluster.sets("t") == ((4, 5, 1), (), ())
    assert cluster.led("t") == (1, 1, (4, 5, 1))
    assert (answer.leader, answer.leader_epoch, list(answer.in_sync_replicas)) == (1, 1, [4, 5, 1])
    assert not list(cluster.image.reassigning)
    assert cluster.image.replica_count(2) == 0
    assert 2 not in cluster.image.hosted


def test_adding_alone_needs_no_new_leader_epoch(cluster):
    cluster.reassign("t", [1, 2, 3, 4])
    cluster.propose("t", [1, 2, 3, 4])
    assert cluster.led("t") == (1, 0, (1, 2, 3, 4))
    assert cluster.sets("t") == ((1, 2, 3, 4), (), ())


def test_fewer_replicas_take_one_change_and_a_new_leader_epoch(cluster):
    cluster.reassign("t", [2, 3])
    assert cluster.sets("t") == ((2, 3), (), ())
    assert cluster.led("t") == (2, 1, (2, 3))
    assert cluster.partition("t").partition_epoch == 1


def test_another_order_alone_moves_nothing_and_no_leader(cluster):
    cluster.reassign("t", [3, 2, 1])
    assert cluster.sets("t") == ((3, 2, 1), (), ())
    assert cluster.led("t") == (1, 0, (3, 2, 1))


def test_a_leader_that_goes_hands_over_in_the_change_that_ends_it(cluster):
    cluster.reassign("t", [4, 5, 6])
    cluster.propose("t", [1, 2, 3, 4, 5, 6])
    assert cluster.led("t") == (4, 1, (4, 5, 6))


def test_a_target_that_is_fenced_does_not_count_as_in_sync(cluster):
    cluster.reassign("t", [1, 2, 4])
    cluster.propose("t", [1, 2, 3])
    cluster.fence(2)
    cluster.propose("t", [1, 3, 4])
    cluster.beat(2)
    assert cluster.sets("t") == ((1, 2, 4, 3), (4,), (3,))
    cluster.propose("t", [1, 2, 3, 4])
    assert cluster.sets("t") == ((1, 2, 4), (), ())


def test_it_ends_when_the_last_target_is_unfenced_that_stayed_in_the_isr_for_want_of_others(cluster):
    cluster.topic("u", [1, 2], min_insync_replicas="2")
    cluster.reassign("u", [2, 4])
    cluster.fence(2)
    cluster.propose("u", [1, 2, 4])
    assert cluster.sets("u") == ((2, 4, 1), (4,), (1,))
    cluster.beat(2)
    assert cluster.sets("u") == ((2, 4), (), ())
    assert cluster.led("u") == (2, 1, (2, 4))


def test_what_is_added_does_not_count_for_the_minimum_until_all_of_it_is_there(cluster):
    cluster.topic("one", [1], min_insync_replicas="2")
    cluster.reassign("one", [1, 2, 3])
    assert cluster.image.topic_named("one").effective_min_insync(0) == 1
    assert not [health for health in cluster.image.unhealthy_partitions() if health.name.topic == "one"]
    cluster.propose("one", [1, 2])
    assert cluster.image.topic_named("one").effective_min_insync(0) == 1
    cluster.propose("one", [1, 2, 3])
    assert cluster.image.topic_named("one").effective_min_insync(0) == 2


def test_cancelling_removes_what_was_added_and_begins_a_new_epoch(cluster):
    cluster.reassign("t", [1, 4, 5])
    cluster.propose("t", [1, 2, 3, 4])
    assert not cluster.reassign("t", None).code
    assert cluster.sets("t") == ((1, 2, 3), (), ())
    assert cluster.led("t") == (1, 1, (1, 2, 3))
    assert cluster.image.replica_count(4) == 0
    assert cluster.reassign("t", None).code == NoReassignmentInProgress.code


def test_cancelling_moves_leadership_back_to_a_replica_that_stays(cluster):
    cluster.reassign("t", [4, 5, 6])
    cluster.propose("t", [1, 2, 4])
    cluster.propose("t", [1, 4])
    cluster.fence(1)
    cluster.beat(1)
    assert cluster.led("t") == (4, 1, (4, 1))
    cluster.propose("t", [4, 1, 2])
    assert not cluster.reassign("t", None).code
    assert cluster.led("t") == (1, 2, (1, 2))


def test_cancelling_is_refused_while_too_few_of_the_others_are_in_sync(cluster):
    cluster.reassign("t", [4, 5, 6])
    cluster.propose("t", [1, 4])
    before = cluster.partition("t")
    assert cluster.reassign("t", None).code == NotEnoughReplicas.code
    assert cluster.partition("t") == before


def test_a_replica_that_a_cancel_removes_does_not_lead_even_uncleanly(cluster):
    cluster.topic("one", [2])
    cluster.fence(2)
    allowed = ConfigEntry(name="unclean.leader.election.enable", value="true")
    request = AlterConfigsRequest(topics=[AlterTopicConfigs(topic="one", set=[allowed])])
    cluster.take(alter_configs(cluster.image, request))
    assert not cluster.reassign("one", [1]).code
    assert not cluster.reassign("one", None).code
    assert cluster.sets("one") == ((2,), (), ())
    assert cluster.led("one")[0] == NO_NODE


def test_the_same_again_is_no_conflict_and_changes_nothing(cluster):
    cluster.reassign("t", [1, 4])
    before = cluster.image
    assert not cluster.reassign("t", [1, 4]).code
    assert cluster.image == before


@pytest.mark.parametrize(
    ("replicas", "changes", "error", "says"),
    [
        ([1, 9], {}, InvalidReplicaAssignment, "not registered, [9]"),
        ([1, 5], {}, InvalidReplicaAssignment, "fenced or shutting down, [5]"),
        ([4, 4], {}, InvalidReplicaAssignment, "twice"),
        ([], {}, InvalidReplicaAssignment, "at least 2"),
        ([4], {}, InvalidReplicaAssignment, "at least 2"),
        ([1, 2], {"topic": "none"}, UnknownTopicOrPartition, "no topic none"),
        ([1, 2], {"partition": 1}, UnknownTopicOrPartition, "no partition 1"),
        ([1, 2], {"partition": -1}, UnknownTopicOrPartition, "no partition -1"),
        ([1, 2], {"partition_epoch": 3}, InvalidUpdateVersion, "out of date"),
        (None, {}, NoReassignmentInProgress, "not being reassigned"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(cluster, replicas, changes, error, says):
    cluster.fence(5)
    before = cluster.image
    failure = cluster.reassign("t", replicas, **changes)
    assert failure.code == error.code
    assert says in failure.message
    assert cluster.image == before


def test_another_reassignment_of_the_same_partition_waits_or_takes_its_place_after_a_cancel(cluster):
    cluster.reassign("t", [1, 4])
    failure = cluster.reassign("t", [1, 5])
    assert failure.code == ReassignmentInProgress.code
    assert "[1, 4]" in failure.message


def test_a_replica_that_stays_may_be_fenced(cluster):
    cluster.fence(2)
    assert not cluster.reassign("t", [1, 2, 4]).code


def test_a_plan_begins_as_a_whole_or_not_at_all(cluster):
    cluster.topic("u", [1, 2, 3])
    good = WantedReassignment(topic="t", replicas=[1, 2, 4], partition_epoch=-1)
    bad = WantedReassignment(topic="u", replicas=[1, 9], partition_epoch=-1)
    answer = cluster.take(
        alter_partition_reassignments(cluster.image, AlterPartitionReassignmentsRequest(partitions=[good, bad]))
    )
    assert [one.failure.code for one in answer.partitions] == [
        OperationNotAttempted.code,
        InvalidReplicaAssignment.code,
    ]
    assert cluster.sets("t") == ((1, 2, 3), (), ())
    twice = alter_partition_reassignments(cluster.image, AlterPartitionReassignmentsRequest(partitions=[good, good]))
    assert [one.failure.code for one in twice.answer.partitions] == [InvalidRequest.code] * 2


def test_a_plan_that_is_only_checked_changes_nothing(cluster):
    wanted = WantedReassignment(topic="t", replicas=[1, 4], partition_epoch=-1)
    request = AlterPartitionReassignmentsRequest(partitions=[wanted], validate_only=True)
    decision = alter_partition_reassignments(cluster.image, request)
    assert not decision.records
    assert not decision.answer.partitions[0].failure.code


def test_a_throttle_lasts_as_long_as_what_it_was_set_for(cluster):
    cluster.topic("u", [1, 2, 3])
    cluster.reassign("t", [1, 2, 4], throttle=1000)
    assert cluster.image.reassignment_bytes_per_s == 1000
    cluster.reassign("u", [1, 2, 4])
    assert cluster.image.reassignment_bytes_per_s == 1000
    cluster.reassign("t", [1, 2, 4], throttle=0)
    assert cluster.image.reassignment_bytes_per_s == 0
    cluster.reassign("t", [1, 2, 4], throttle=500)
    cluster.reassign("t", None)
    cluster.reassign("u", None)
    cluster.reassign("t", [1, 2, 5])
    assert cluster.image.reassignment_bytes_per_s == 0


def test_what_runs_is_listed_and_a_deleted_topic_is_not(cluster):
    cluster.reassign("t", [4, 1], throttle=9)
    decision = list_partition_reassignments(cluster.image, ListPartitionReassignmentsRequest())
    assert not decision.records
    assert decision.answer.throttle_bytes_per_s == 9
    (ongoing,) = decision.answer.partitions
    assert (ongoing.topic, ongoing.partition, ongoing.leader) == ("t", 0, 1)
    assert (list(ongoing.adding_replicas), list(ongoing.removing_replicas)) == ([4], [2, 3])
    cluster.take(delete_topics(cluster.image, DeleteTopicsRequest(topics=["t"])))
    assert not list(cluster.image.reassigning)
    assert cluster.image.replica_count(4) == 0


def test_a_replica_that_comes_again_is_a_new_one(cluster):
    first = cluster.partition("t").assigned_at
    cluster.reassign("t", [1, 2])
    cluster.reassign("t", [1, 2, 3])
    assert cluster.partition("t").assigned_at[:2] == first[:2]
    assert cluster.partition("t").assigned_at[2] > first[2]
    assert cluster.partition("t").leader != NO_NODE


def replaced(cluster, replicas, **options):
    wanted = WantedReassignment(topic="t", replicas=replicas, partition_epoch=-1)
    request = AlterPartitionReassignmentsRequest(partitions=[wanted], replace=True, **options)
    return cluster.take(alter_partition_reassignments(cluster.image, request)).partitions[0].failure


def test_what_runs_may_go_elsewhere_and_what_it_added_there_is_given_up(cluster):
    cluster.reassign("t", [1, 4, 5])
    cluster.propose("t", [1, 2, 3, 4])
    at = cluster.partition("t").assigned_at
    assert not replaced(cluster, [1, 5, 6]).code
    assert cluster.sets("t") == ((1, 5, 6, 2, 3), (5, 6), (2, 3))
    assert cluster.partition("t").in_sync_replicas == (1, 2, 3)
    assert cluster.partition("t").leader_epoch == 1
    assert cluster.partition("t").assigned_at[1] == at[2]  # broker 5 goes on where it is
    assert cluster.image.replica_count(4) == 0
    cluster.propose("t", [1, 5, 6, 2, 3])
    assert cluster.sets("t") == ((1, 5, 6), (), ())


def test_back_to_where_it_was_is_a_cancel_in_other_words(cluster):
    cluster.reassign("t", [4, 5, 6])
    assert not replaced(cluster, [3, 2, 1]).code
    assert cluster.sets("t") == ((3, 2, 1), (), ())


def test_what_runs_goes_elsewhere_only_if_enough_stay_in_sync(cluster):
    cluster.reassign("t", [4, 5, 6])
    cluster.propose("t", [1, 4])
    assert replaced(cluster, [2, 3, 5]).code == NotEnoughReplicas.code
    assert cluster.sets("t") == ((4, 5, 6, 1, 2, 3), (4, 5, 6), (1, 2, 3))


def test_another_number_of_replicas_is_refused_where_it_is_to_stay(cluster):
    assert replaced(cluster, [1, 2], keep_replication_factor=True).code == InvalidReplicationFactor.code
    assert not replaced(cluster, [1, 2, 4], keep_replication_factor=True).code
    assert not replaced(cluster, [1, 5, 6], keep_replication_factor=True).code
    assert replaced(cluster, [1, 2, 3, 4], keep_replication_factor=True).code == InvalidReplicationFactor.code


def test_parts_that_stand_by_themselves_begin_whatever_is_refused_beside_them(cluster):
    good = WantedReassignment(topic="t", replicas=[1, 2, 4], partition_epoch=-1)
    bad = WantedReassignment(topic="t", partition=7, replicas=[1, 2, 4], partition_epoch=-1)
    request = AlterPartitionReassignmentsRequest(partitions=[bad, good], each_by_itself=True)
    answer = cluster.take(alter_partition_reassignments(cluster.image, request))
    assert [one.failure.code for one in answer.partitions] == [UnknownTopicOrPartition.code, 0]
    assert cluster.sets("t") == ((1, 2, 4, 3), (4,), (3,))


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_asked_for_in_whatever_order_ends_where_it_was_sent_last(cluster, seed):
    random = Random(seed)
    for _ in range(12):
        targets = random.sample(range(1, 7), random.randint(2, 4))
        refused = replaced(cluster, targets).code
        partition = cluster.partition("t")
        if not refused:
            assert partition.target_replicas == tuple(targets)
        members = set(partition.in_sync_replicas)
        members |= {node for node in partition.assigned_replicas if random.random() < 0.4}
        cluster.propose("t", sorted(members))  # the cluster checks every image
    if cluster.partition("t").is_reassigning:
        wanted = cluster.partition("t").target_replicas
        cluster.propose("t", sorted(cluster.partition("t").assigned_replicas))
        assert cluster.sets("t") == (wanted, (), ())
