"""AlterPartitions: every check of the rule, in its order."""

import pytest

from dohle.controller.isr import IsrProposals
from dohle.model.errors import (
    FencedLeaderEpoch,
    IneligibleReplica,
    InvalidRequest,
    InvalidUpdateVersion,
    NotController,
    OperationNotAttempted,
    StaleBrokerEpoch,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from tests.controller.decided_cluster import DecidedCluster


@pytest.fixture
def cluster() -> DecidedCluster:
    cluster = DecidedCluster(brokers=4)
    cluster.topic("t", [1, 2, 3])
    return cluster


def test_the_isr_shrinks_and_grows_as_the_leader_proposes(cluster):
    answer = cluster.propose("t", [1, 3])
    assert (answer.failure.code, answer.leader, answer.leader_epoch, answer.partition_epoch) == (0, 1, 0, 1)
    assert list(answer.in_sync_replicas) == [1, 3]
    cluster.propose("t", [3, 2, 1])
    assert cluster.led("t") == (1, 0, (1, 2, 3))


def test_proposing_what_holds_already_changes_nothing(cluster):
    answer = cluster.propose("t", [1, 2, 3])
    assert (answer.failure.code, answer.partition_epoch) == (0, 0)


def test_a_stale_broker_epoch_comes_first(cluster):
    cluster.start(4)
    request = cluster.proposal("t", [1], broker_id=4, broker_epoch=2, leader_epoch=9)
    with pytest.raises(StaleBrokerEpoch):
        IsrProposals(request).next(cluster.image)


@pytest.mark.parametrize(
    ("isr", "changes", "error"),
    [
        ([9], {"leader_epoch": 2, "partition_epoch": 0, "broker_id": 4}, NotController),
        ([9], {"leader_epoch": 0, "partition_epoch": 2, "broker_id": 4}, NotController),
        ([9], {"leader_epoch": 0, "partition_epoch": 0, "broker_id": 4}, FencedLeaderEpoch),
        ([9], {"partition_epoch": 0, "broker_id": 4}, InvalidRequest),
        ([9], {"partition_epoch": 0}, InvalidUpdateVersion),
        ([2, 4], {}, InvalidRequest),
        ([2, 2], {}, InvalidRequest),
        ([3], {}, InvalidRequest),
        ([], {}, InvalidRequest),
        ([9], {"topic_id": bytes(16)}, UnknownTopicId),
        ([9], {"partition": 5}, UnknownTopicOrPartition),
        ([9], {"partition": -1}, UnknownTopicOrPartition),
    ],
)
def test_the_checks_come_in_their_order(cluster, isr, changes, error):
    cluster.fence(1)
    cluster.beat(1)
    assert cluster.led("t") == (2, 1, (2, 3))
    answer = cluster.propose("t", isr, **changes)
    assert answer.failure.code == error.code
    assert cluster.led("t") == (2, 1, (2, 3))


@pytest.mark.parametrize("state", ["fenced", "shutting down", "another epoch"])
def test_a_replica_joins_only_alive_and_as_the_leader_knows_it(cluster, state):
    cluster.propose("t", [1, 2])
    request = cluster.proposal("t", [1, 2, 3])
    if state == "fenced":
        cluster.fence(3)
    elif state == "shutting down":
        cluster.beat(3, wants_shutdown=True)
    else:
        cluster.start(3)
    answer = cluster.carry_out(IsrProposals(request).next).partitions[0]
    assert answer.failure.code == IneligibleReplica.code
    assert cluster.propose("t", [1, 2, 3]).failure.code == (0 if state == "another epoch" else IneligibleReplica.code)


def test_a_member_that_is_down_is_no_obstacle_for_another_to_join(cluster):
    cluster.topic("u", [1, 2, 3], min_insync_replicas="2")
    cluster.fence(3)
    cluster.fence(2)
    cluster.beat(3)
    assert cluster.led("u") == (1, 0, (1, 2))
    assert not cluster.propose("u", [1, 2, 3]).failure.code
    assert not cluster.propose("u", [1, 3]).failure.code
    assert cluster.led("u") == (1, 0, (1, 3))


def test_nobody_leaves_over_lag_below_the_effective_minimum(cluster):
    cluster.topic("u", [1, 2], min_insync_replicas="3")
    assert cluster.propose("u", [1]).failure.code == OperationNotAttempted.code
    assert cluster.led("u") == (1, 0, (1, 2))


def test_a_leader_that_shuts_down_hands_over_to_who_joins(cluster):
    cluster.propose("t", [1])
    cluster.beat(1, wants_shutdown=True)
    answer = cluster.propose("t", [1, 2])
    assert (answer.leader, answer.leader_epoch) == (2, 1)


def test_many_proposals_are_decided_in_steps_and_each_is_answered(cluster):
    cluster.topic("u", *[[1, 2]] * 5)
    request = cluster.proposal("u", [1])
    for number in (1, 2, 1, 3, 4):
        request.partitions.extend(cluster.proposal("u", [1], number=number).partitions)
    proposals, batches, more = IsrProposals(request, most=2), [], True
    while more:
        decision = proposals.next(cluster.image)
        more = decision.more
        answers = cluster.take(decision).partitions
        batches.append([record.partition for record in decision.records])
    assert batches == [[0, 1], [2], [3, 4]]
    assert [answer.partition for answer in answers] == [0, 1, 2, 1, 3, 4]
    assert [answer.failure.code for answer in answers] == [0, 0, 0, InvalidRequest.code, 0, 0]


def test_a_leader_that_registers_again_between_two_steps_proposes_nothing_more(cluster):
    cluster.topic("u", [1, 2], [1, 2])
    request = cluster.proposal("u", [1])
    request.partitions.extend(cluster.proposal("u", [1], number=1).partitions)
    proposals = IsrProposals(request, most=1)
    cluster.take(proposals.next(cluster.image))
    cluster.start(1)
    with pytest.raises(StaleBrokerEpoch):
        proposals.next(cluster.image)


def test_one_bad_proposal_does_not_spoil_another(cluster):
    cluster.topic("u", [1, 2])
    request = cluster.proposal("t", [2])
    request.partitions.extend(cluster.proposal("u", [1]).partitions)
    request.partitions.extend(cluster.proposal("u", [1, 2]).partitions)
    answers = cluster.carry_out(IsrProposals(request).next).partitions
    assert [answer.failure.code for answer in answers] == [InvalidRequest.code, 0, InvalidRequest.code]
    assert cluster.led("u") == (1, 0, (1,))


def test_a_damaged_leader_is_followed_by_another_member_in_the_same_record(cluster):
    cluster.topic("u", [1, 2, 3], min_insync_replicas="3")
    answer = cluster.propose("u", [2, 3], damaged=[1])
    assert (answer.failure.code, answer.leader, answer.leader_epoch, answer.partition_epoch) == (0, 2, 1, 1)
    assert cluster.led("u") == (2, 1, (2, 3))


def test_a_damaged_leader_stays_while_no_other_member_can_lead(cluster):
    cluster.topic("u", [1, 2], min_insync_replicas="2")
    cluster.fence(2)
    assert cluster.propose("u", [2], damaged=[1]).failure.code == OperationNotAttempted.code
    assert cluster.propose("u", [3], damaged=[1]).failure.code == InvalidRequest.code
    assert cluster.propose("u", [], damaged=[1]).failure.code == OperationNotAttempted.code
    assert cluster.led("u") == (1, 0, (1, 2))
    cluster.beat(2)
    assert not cluster.propose("u", [2], damaged=[1]).failure.code
    assert cluster.led("u") == (2, 1, (2,))


def test_a_damaged_follower_leaves_whatever_the_minimum_is(cluster):
    cluster.topic("u", [1, 2], min_insync_replicas="2")
    assert not cluster.propose("u", [1], damaged=[2]).failure.code
    assert cluster.led("u") == (1, 0, (1,))


def test_who_only_lags_does_not_leave_with_the_damaged(cluster):
    cluster.topic("u", [1, 2, 3], min_insync_replicas="2")
    assert cluster.propose("u", [1], damaged=[2]).failure.code == OperationNotAttempted.code
    assert cluster.led("u") == (1, 0, (1, 2, 3))
