"""Forks: who makes them, what their replicas say, and when the topic is there or comes to nothing."""

import pytest

from dohle.controller.draining import drain_broker
from dohle.controller.forks import begin_fork, confirm_forks, settle_fork
from dohle.controller.topics import (
    TopicDefaults,
    alter_configs,
    create_partitions,
    create_topics,
    delete_topics,
)
from dohle.model.errors import (
    DohleError,
    InvalidPartitions,
    InvalidReplicaAssignment,
    InvalidRequest,
    InvalidTopic,
    LeaderNotAvailable,
    NotEnoughReplicas,
    OffsetOutOfRange,
    PolicyViolation,
    ReassignmentInProgress,
    StaleBrokerEpoch,
    TopicAlreadyExists,
    UnknownTopicOrPartition,
    UnsupportedVersion,
)
from dohle.model.metadata import UNSET
from dohle.rpc.v1.admin_pb2 import (
    AlterConfigsRequest,
    AlterTopicConfigs,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DrainBrokerRequest,
    ForkPoint,
    ForkTopicRequest,
    NewPartitions,
    NewTopic,
)
from dohle.rpc.v1.common_pb2 import Failure
from dohle.rpc.v1.controller_pb2 import ConfirmForksRequest, ForkedReplica
from tests.controller.decided_cluster import DecidedCluster

F = b"fork--of-16-byte"


@pytest.fixture
def cluster() -> DecidedCluster:
    one = DecidedCluster(brokers=4)
    one.topic("t", [1, 2, 3], [2, 3, 1], **{"min.insync.replicas": "2", "retention.ms": "-1"})
    return one


def begin(cluster, name="f", source="t", topic_id=F, **where):
    request = ForkTopicRequest(source=source, name=name, topic_id=topic_id, **where)
    return cluster.take(begin_fork(cluster.image, request))


def say(cluster, node_id, number=0, end=40, checksum=99, failure=None, leader_epoch=None, log_dir=None):
    source = cluster.image.topic_named("t").partitions[number]
    said = ForkedReplica(
        topic_id=F,
        partition=number,
        source_leader_epoch=source.leader_epoch if leader_epoch is None else leader_epoch,
        end=end,
        checked_from=30,
        checksum=checksum,
        failure=failure,
        log_dir=cluster.image.brokers[node_id].directory_id if log_dir is None else log_dir,
    )
    epoch = cluster.image.brokers[node_id].broker_epoch
    request = ConfirmForksRequest(broker_id=node_id, broker_epoch=epoch, replicas=[said])
    return cluster.take(confirm_forks(cluster.image, request))


def settle(cluster, *, gives_up=False):
    return cluster.take(settle_fork(cluster.image, F, gives_up=gives_up))


def all_say(cluster):
    for number, nodes in enumerate(([1, 2, 3], [2, 3, 1])):
        for node in nodes:
            say(cluster, node, number, end=40 + number)


def test_it_is_there_once_all_have_the_same_with_the_config_and_the_places_of_its_source(cluster):
    begin(cluster)
    since = cluster.image.forks[F].since
    assert settle(cluster) is None
    all_say(cluster)
    assert cluster.image.topic_named("f") is None
    ended = settle(cluster)
    assert (ended.failure, ended.ends) == (None, (40, 41))
    fork, source = cluster.image.topic_named("f"), cluster.image.topic_named("t")
    assert fork.overrides == source.overrides
    assert not cluster.image.forks
    for one, other in zip(fork.partitions, source.partitions, strict=True):
        assert one.assigned_replicas == one.in_sync_replicas == other.assigned_replicas
        assert one.leader == one.assigned_replicas[0]
        assert one.assigned_at == (since,) * 3


def test_its_first_leader_epoch_is_above_the_one_that_its_source_has_by_then(cluster):
    begin(cluster)
    all_say(cluster)
    cluster.fence(1)
    cluster.beat(1)
    before = cluster.partition("t").leader_epoch
    assert before > 0
    settle(cluster)
    assert cluster.partition("f").leader_epoch == before + 1


def test_asking_again_begins_nothing_and_says_whether_it_is_whole(cluster):
    assert not begin(cluster).whole
    assert not begin(cluster).whole
    assert len(cluster.image.forks) == 1
    all_say(cluster)
    settle(cluster)
    assert begin(cluster).whole


def test_the_first_word_is_that_of_the_leader_of_the_source_in_its_epoch(cluster):
    begin(cluster)
    say(cluster, 2)
    say(cluster, 1, leader_epoch=7)
    assert cluster.image.forks[F].partitions[0].end == UNSET
    say(cluster, 1)
    say(cluster, 2)
    partition = cluster.image.forks[F].partitions[0]
    assert (partition.end, partition.checked_from, partition.checksum) == (40, 30, 99)
    assert partition.confirmed == (1, 2)


@pytest.mark.parametrize("other", [{"end": 39}, {"checksum": 98}, {"failure": Failure(code=56, message="full")}])
def test_who_has_not_the_same_is_not_in_sync_and_fills(cluster, other):
    begin(cluster)
    all_say_but_three = [(1, 0), (2, 0), (2, 1), (1, 1)]
    for node, number in all_say_but_three:
        say(cluster, node, number)
    say(cluster, 3, 0, **other)
    say(cluster, 3, 1)
    assert settle(cluster).failure is None
    assert cluster.partition("f").in_sync_replicas == (1, 2)
    assert cluster.partition("f").assigned_replicas == (1, 2, 3)
    assert cluster.partition("f", 1).in_sync_replicas == (2, 3, 1)


def test_too_few_that_have_it_are_none(cluster):
    begin(cluster)
    say(cluster, 1, 0)
    say(cluster, 2, 1)
    for node, number in ((2, 0), (3, 0), (1, 1), (3, 1)):
        say(cluster, node, number, failure=Failure(code=56, message="full"))
    ended = settle(cluster)
    assert isinstance(ended.failure, NotEnoughReplicas)
    assert "t-0" in ended.failure.message
    assert cluster.image.topic_named("f") is None
    assert not cluster.image.forks


def test_the_dead_are_not_waited_for_once_it_is_cut(cluster):
    begin(cluster)
    cluster.fence(3)
    assert settle(cluster) is None
    for node, number in ((1, 0), (2, 0), (2, 1), (1, 1)):
        say(cluster, node, number)
    assert settle(cluster).failure is None
    assert cluster.partition("f").in_sync_replicas == (1, 2)


def test_what_was_said_before_a_restart_is_to_be_said_again(cluster):
    begin(cluster)
    all_say(cluster)
    cluster.start(2)
    assert cluster.image.forks[F].partitions[0].confirmed == (1, 3)
    assert settle(cluster) is None
    say(cluster, 2, 0)
    assert settle(cluster) is None
    say(cluster, 2, 1, end=41)
    assert settle(cluster).failure is None


def test_what_lies_in_a_directory_that_is_not_online_does_not_count(cluster):
    begin(cluster)
    say(cluster, 1, log_dir=b"some that failed")
    assert cluster.image.forks[F].partitions[0].end == UNSET


def test_it_is_given_up_when_nobody_says_where_it_is_cut(cluster):
    begin(cluster)
    assert isinstance(settle(cluster, gives_up=True).failure, LeaderNotAvailable)
    assert not cluster.image.forks


def test_those_who_stay_silent_are_not_waited_for_for_ever(cluster):
    begin(cluster)
    for node, number in ((1, 0), (2, 0), (2, 1), (3, 1)):
        say(cluster, node, number)
    assert settle(cluster) is None
    assert settle(cluster, gives_up=True).failure is None
    assert cluster.partition("f").in_sync_replicas == (1, 2)


def test_the_reason_of_the_one_who_cuts_ends_it(cluster):
    begin(cluster, offset=10_000)
    [ended] = say(cluster, 1, failure=Failure(code=OffsetOutOfRange.code, message="t-0 cannot be forked at 10000"))
    assert isinstance(ended.failure, OffsetOutOfRange)
    assert not cluster.image.forks
    assert say(cluster, 2) == []


def test_it_ends_with_its_source(cluster):
    begin(cluster)
    all_say(cluster)
    cluster.take(delete_topics(cluster.image, DeleteTopicsRequest(topics=["t"])))
    assert isinstance(settle(cluster).failure, UnknownTopicOrPartition)


def test_its_name_is_taken(cluster):
    begin(cluster)
    request = CreateTopicsRequest(topics=[NewTopic(name="f", partitions=1, replication_factor=1)])
    made = cluster.take(create_topics(cluster.image, request, defaults=TopicDefaults(), random=cluster.random))
    assert made.topics[0].failure.code == TopicAlreadyExists.code
    with pytest.raises(TopicAlreadyExists, match="being forked"):
        begin(cluster, topic_id=b"another-of-16byt")


def test_where_to_cut_is_noted_by_partition(cluster):
    begin(cluster, offset=5, points=[ForkPoint(partition=1, offset=7)])
    assert [one.wanted for one in cluster.image.forks[F].partitions] == [5, 7]


@pytest.mark.parametrize(
    ("wants", "error"),
    [
        ({"name": "t"}, TopicAlreadyExists),
        ({"name": "no/name"}, InvalidTopic),
        ({"source": "nothing"}, UnknownTopicOrPartition),
        ({"topic_id": b"short"}, InvalidRequest),
        ({"offset": -1}, InvalidRequest),
        ({"timestamp_ms": -5}, InvalidRequest),
        ({"timestamp_ms": 5, "offset": 1}, InvalidRequest),
        ({"points": [ForkPoint(partition=2, offset=7)]}, InvalidPartitions),
    ],
)
def test_what_cannot_be_asked_for_is_refused(cluster, wants, error):
    with pytest.raises(error):
        begin(cluster, **wants)


def test_nothing_is_forked_onto_a_broker_that_drains_or_from_one_that_does_not_lead(cluster):
    cluster.take(drain_broker(cluster.image, DrainBrokerRequest(node_id=3)))
    with pytest.raises(InvalidReplicaAssignment, match="drained"):
        begin(cluster)
    cluster.take(drain_broker(cluster.image, DrainBrokerRequest(node_id=3, cancel=True)))
    cluster.reassign("t", [2, 3, 4])
    with pytest.raises(ReassignmentInProgress):
        begin(cluster)
    cluster.reassign("t", None)
    cluster.fence(1, 2, 3)
    with pytest.raises(LeaderNotAvailable):
        begin(cluster)


def test_a_cluster_at_an_older_version_is_told_what_to_do():
    cluster = DecidedCluster(brokers=3, metadata_version=4)
    cluster.topic("t", [1, 2, 3])
    with pytest.raises(UnsupportedVersion, match="features upgrade"):
        begin(cluster)


def test_an_earlier_incarnation_says_nothing(cluster):
    begin(cluster)
    request = ConfirmForksRequest(broker_id=1, broker_epoch=cluster.image.brokers[1].broker_epoch)
    cluster.start(1)
    with pytest.raises(StaleBrokerEpoch):
        confirm_forks(cluster.image, request)
    assert issubclass(StaleBrokerEpoch, DohleError)


def test_a_snapshot_retains_all_and_takes_no_change_and_what_is_restored_has_its_sources_config(cluster):
    cluster.topic("c", [1, 2, 3], **{"cleanup.policy": "compact", "retention.ms": "5"})
    begin(cluster, name="__snapshot.s", source="c")
    for node in (1, 2, 3):
        said = ForkedReplica(topic_id=F, end=4, checked_from=4, log_dir=cluster.image.brokers[node].directory_id)
        epoch = cluster.image.brokers[node].broker_epoch
        request = ConfirmForksRequest(broker_id=node, broker_epoch=epoch, replicas=[said])
        cluster.take(confirm_forks(cluster.image, request))
    assert settle(cluster).failure is None
    snapshot, source = cluster.image.topic_named("__snapshot.s"), cluster.image.topic_named("c")
    assert (snapshot.config.cleanup_policy, snapshot.config.retention_ms) == (("delete",), -1)
    assert snapshot.overrides == source.overrides
    changes = AlterConfigsRequest(topics=[AlterTopicConfigs(topic="__snapshot.s", remove=["retention.ms"])])
    refused = cluster.take(alter_configs(cluster.image, changes)).topics[0].failure
    assert refused.code == PolicyViolation.code
    more = CreatePartitionsRequest(topics=[NewPartitions(topic="__snapshot.s", total_count=5)])
    refused = cluster.take(create_partitions(cluster.image, more, random=cluster.random)).topics[0].failure
    assert refused.code == PolicyViolation.code
    begin(cluster, name="again", source="__snapshot.s", topic_id=b"another-of-16byt")
    assert cluster.image.forks[b"another-of-16byt"].source_id == snapshot.topic_id


@pytest.mark.parametrize("where", [{"offset": 3}, {"timestamp_ms": 5}, {"points": [ForkPoint(partition=0, offset=3)]}])
def test_a_compacted_topic_is_forked_as_it_is_and_not_as_it_was(cluster, where):
    cluster.topic("c", [1, 2, 3], **{"cleanup.policy": "compact,delete"})
    with pytest.raises(InvalidRequest, match=r"c is compacted.*: fork it as it is now, or a snapshot"):
        begin(cluster, source="c", **where)
    begin(cluster, source="c")
    assert F in cluster.image.forks


def test_names_of_snapshots_are_for_snapshots(cluster):
    request = CreateTopicsRequest(topics=[NewTopic(name="__snapshot.s", partitions=1, replication_factor=1)])
    made = cluster.take(create_topics(cluster.image, request, defaults=TopicDefaults(), random=cluster.random))
    assert made.topics[0].failure.code == InvalidTopic.code
