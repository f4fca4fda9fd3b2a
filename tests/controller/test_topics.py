"""Topics: each of a command's topics succeeds or fails by itself, with an error that says what to do."""

import pytest

from dohle.controller.topics import (
    MOST_PARTITIONS,
    TopicDefaults,
    alter_configs,
    create_partitions,
    create_topics,
    delete_topics,
)
from dohle.model.errors import (
    InvalidConfig,
    InvalidPartitions,
    InvalidReplicaAssignment,
    InvalidReplicationFactor,
    InvalidRequest,
    InvalidTopic,
    PolicyViolation,
    TopicAlreadyExists,
    UnknownTopicOrPartition,
)
from dohle.model.internal_topics import OFFSETS_TOPIC
from dohle.rpc.v1.admin_pb2 import (
    AlterConfigsRequest,
    AlterTopicConfigs,
    ConfigEntry,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    NewPartitions,
    NewTopic,
    ReplicaAssignment,
)
from tests.controller.decided_cluster import DecidedCluster


@pytest.fixture
def cluster() -> DecidedCluster:
    return DecidedCluster(brokers=3)


def create(cluster, *topics, **options):
    request = CreateTopicsRequest(topics=topics, **options)
    return cluster.take(create_topics(cluster.image, request, defaults=TopicDefaults(), random=cluster.random)).topics


def new(name, partitions=2, replication_factor=2, configs=(), assignments=()):
    return NewTopic(
        name=name,
        partitions=partitions,
        replication_factor=replication_factor,
        configs=[ConfigEntry(name=key, value=value) for key, value in configs],
        assignments=[ReplicaAssignment(partition=number, replicas=nodes) for number, nodes in assignments],
    )


def test_an_attempt_that_is_repeated_knows_what_it_made(cluster):
    first, second, third = (bytes([number]) * 16 for number in (1, 2, 3))
    request = new("t", 3, 2)
    request.topic_ids.append(first)
    (made,) = create(cluster, request)
    assert made.topic_id == first == cluster.image.topic_named("t").topic_id
    request.topic_ids.append(second)
    (again,) = create(cluster, request)
    assert again == made
    stranger = new("t", 3, 2)
    stranger.topic_ids.append(third)
    (refused,) = create(cluster, stranger)
    assert refused.failure.code == TopicAlreadyExists.code


def test_what_an_attempt_made_and_somebody_deleted_is_made_with_another_id(cluster):
    first, second = b"1" * 16, b"2" * 16
    request = new("t", 3, 2)
    request.topic_ids.append(first)
    create(cluster, request)
    cluster.take(delete_topics(cluster.image, DeleteTopicsRequest(topics=["t"])))
    request.topic_ids.append(second)
    (made,) = create(cluster, request)
    assert made.topic_id == second


def test_ids_that_are_none_or_another_topics_are_refused(cluster):
    (other,) = create(cluster, new("other"))
    for topic_id in (b"short", other.topic_id):
        request = new("t")
        request.topic_ids.append(topic_id)
        (refused,) = create(cluster, request)
        assert refused.failure.code == InvalidRequest.code


def test_a_topic_gets_its_partitions_leaders_and_configuration(cluster):
    (created,) = create(cluster, new("t", 3, 2, [("min.insync.replicas", "2")]))
    topic = cluster.image.topic_named("t")
    assert (created.topic_id, created.partitions, created.replication_factor) == (topic.topic_id, 3, 2)
    assert topic.config.min_insync_replicas == 2
    assert dict(topic.overrides) == {"min.insync.replicas": "2"}
    assert sorted(partition.leader for partition in topic.partitions) == [1, 2, 3]
    for partition in topic.partitions:
        assert partition.in_sync_replicas == partition.assigned_replicas
        assert partition.leader == partition.assigned_replicas[0]
        assert len(partition.assigned_replicas) == 2


def test_without_counts_the_defaults_hold_and_never_more_replicas_than_brokers(cluster):
    (created,) = create(cluster, new("t", -1, -1))
    assert (created.partitions, created.replication_factor) == (1, 3)
    (created,) = create(DecidedCluster(brokers=2), new("t", -1, -1))
    assert created.replication_factor == 2


@pytest.mark.parametrize(
    ("topic", "error"),
    [
        (new(""), InvalidTopic),
        (new("no/slash"), InvalidTopic),
        (new("__cluster_metadata"), InvalidTopic),
        (new("old"), TopicAlreadyExists),
        (new("t", partitions=0), InvalidPartitions),
        (new("t", partitions=-2), InvalidPartitions),
        (new("t", partitions=MOST_PARTITIONS + 1), InvalidPartitions),
        (new("t", replication_factor=4), InvalidReplicationFactor),
        (new("t", replication_factor=0), InvalidReplicationFactor),
        (new("t", configs=[("retention.mss", "1")]), InvalidConfig),
        (new("t", configs=[("retention.ms", "soon")]), InvalidConfig),
        (new("t", configs=[("retention.ms", "1"), ("retention.ms", "2")]), InvalidConfig),
        (new("t", assignments=[(0, [1])]), InvalidRequest),
        (new("t", -1, -1, assignments=[(1, [1])]), InvalidReplicaAssignment),
        (new("t", -1, -1, assignments=[(0, [1]), (0, [2])]), InvalidReplicaAssignment),
        (new("t", -1, -1, assignments=[(0, [1, 1])]), InvalidReplicaAssignment),
        (new("t", -1, -1, assignments=[(0, [9])]), InvalidReplicaAssignment),
        (new("t", -1, -1, assignments=[(0, [])]), InvalidReplicaAssignment),
        (new("t", -1, -1, assignments=[(0, [1]), (1, [1, 2])]), InvalidReplicaAssignment),
        (new("t", -1, -1, assignments=[(0, [3])]), InvalidReplicaAssignment),
    ],
)
def test_a_topic_that_cannot_be_fails_alone(cluster, topic, error):
    cluster.topic("old", [1])
    cluster.fence(3)
    bad, good = create(cluster, topic, new("good"))
    assert bad.failure.code == error.code
    assert bad.failure.message
    assert not good.failure.code
    assert sorted(cluster.image.topic_ids) == ["good", "old"]


@pytest.mark.parametrize(
    ("there", "wanted", "error"),
    [
        ("a.b", "a_b", InvalidTopic),
        ("a_b.c", "a.b_c", InvalidTopic),
        ("._._._._._", "_._._._._.", InvalidTopic),  # more than are tried one by one
        ("a.b", "a.b", TopicAlreadyExists),
        ("a.b", "ab_", None),
        ("._._._._._", "._._._._.-", None),
    ],
)
def test_names_that_differ_in_dots_and_underscores_alone_are_one(cluster, there, wanted, error):
    create(cluster, new(there))
    [created] = create(cluster, new(wanted))
    assert created.failure.code == (error.code if error else 0)


def test_of_two_wrong_numbers_the_replication_factor_is_named(cluster):
    [created] = create(cluster, new("t", partitions=0, replication_factor=0))
    assert created.failure.code == InvalidReplicationFactor.code


def test_a_topic_that_is_only_validated_has_the_id_that_it_would_have(cluster):
    [created] = create(cluster, new("t"), validate_only=True)
    assert len(created.topic_id) == 16
    assert not cluster.image.topic_ids


def test_a_topic_named_twice_is_not_created_at_all(cluster):
    assert [created.failure.code for created in create(cluster, new("t"), new("t"))] == [InvalidRequest.code] * 2


def test_only_validating_creates_nothing(cluster):
    (created,) = create(cluster, new("t"), validate_only=True)
    assert (created.failure.code, created.partitions) == (0, 2)
    assert cluster.image.topic_named("t") is None


def test_replicas_are_placed_on_active_brokers_only(cluster):
    cluster.fence(2)
    create(cluster, new("t", 10, 2))
    assert {n for p in cluster.image.topic_named("t").partitions for n in p.assigned_replicas} == {1, 3}


def test_assigned_by_hand_a_replica_that_is_down_is_no_member_of_the_isr(cluster):
    cluster.fence(2)
    cluster.topic("t", [2, 1])
    assert cluster.led("t") == (1, 0, (1,))


def test_one_request_has_a_bound_on_its_partitions(cluster):
    first, second = create(cluster, new("a", MOST_PARTITIONS - 1, 1), new("b", 2, 1))
    assert not first.failure.code
    assert second.failure.code == InvalidPartitions.code


def test_a_topic_deleted_and_made_again_has_another_id(cluster):
    cluster.topic("t", [1, 2])
    old = cluster.image.topic_ids["t"]
    answer = cluster.take(delete_topics(cluster.image, DeleteTopicsRequest(topics=["t", "none"])))
    assert [deleted.failure.code for deleted in answer.topics] == [0, UnknownTopicOrPartition.code]
    assert answer.topics[0].topic_id == old
    assert list(cluster.image.replicas_of(1)) == []
    cluster.topic("t", [1, 2])
    assert cluster.image.topic_ids["t"] != old
    assert old not in cluster.image.topics


def grow(cluster, topic, total, **options):
    request = CreatePartitionsRequest(topics=[NewPartitions(topic=topic, total_count=total)], **options)
    return cluster.take(create_partitions(cluster.image, request, random=cluster.random)).topics[0].failure


def test_a_topic_grows_and_keeps_what_it_has(cluster):
    cluster.topic("t", [1, 2])
    before = cluster.partition("t")
    assert not grow(cluster, "t", 4).code
    topic = cluster.image.topic_named("t")
    assert topic.partitions[0] == before
    assert [len(partition.assigned_replicas) for partition in topic.partitions] == [2] * 4


@pytest.mark.parametrize(
    ("topic", "total", "error"),
    [
        ("none", 4, UnknownTopicOrPartition),
        ("t", 1, InvalidPartitions),
        ("t", 0, InvalidPartitions),
        ("t", MOST_PARTITIONS + 1, InvalidPartitions),
    ],
)
def test_a_topic_cannot_grow_like_this(cluster, topic, total, error):
    cluster.topic("t", [1, 2])
    assert grow(cluster, topic, total).code == error.code


def test_replicas_go_to_a_broker_that_is_down_only_for_want_of_others_and_begin_outside_the_isr(cluster):
    cluster.topic("t", [1, 2, 3])
    cluster.fence(3)
    assert not grow(cluster, "t", 5).code
    for number in range(1, 5):
        partition = cluster.partition("t", number)
        assert partition.assigned_replicas[2] == 3
        assert sorted(partition.in_sync_replicas) == [1, 2]
        assert partition.leader in (1, 2)


def by_hand(cluster, total, *assignments):
    added = [ReplicaAssignment(partition=number, replicas=nodes) for number, nodes in assignments]
    wanted = NewPartitions(topic="t", total_count=total, assignments=added)
    request = CreatePartitionsRequest(topics=[wanted])
    return cluster.take(create_partitions(cluster.image, request, random=cluster.random)).topics[0].failure


def test_partitions_that_are_added_may_be_placed_by_hand(cluster):
    cluster.topic("t", [1, 2])
    cluster.fence(3)
    assert not by_hand(cluster, 3, (1, [2, 1]), (2, [3, 1])).code
    assert cluster.partition("t", 1).assigned_replicas == (2, 1)
    assert cluster.partition("t", 2).assigned_replicas == (3, 1)
    assert cluster.partition("t", 2).in_sync_replicas == (1,)


@pytest.mark.parametrize(
    ("total", "assignments", "error"),
    [
        (1, [(1, [1, 2])], InvalidPartitions),
        (3, [(1, [1, 2])], InvalidReplicaAssignment),
        (2, [(1, [1, 2]), (2, [1, 2])], InvalidReplicaAssignment),
        (2, [(1, [1])], InvalidReplicaAssignment),
        (2, [(1, [])], InvalidReplicaAssignment),
        (2, [(1, [1, 1])], InvalidReplicaAssignment),
        (2, [(1, [1, 9])], InvalidReplicaAssignment),
        (2, [(1, [3, 4])], InvalidReplicaAssignment),
    ],
)
def test_partitions_cannot_be_placed_like_this(cluster, total, assignments, error):
    cluster.topic("t", [1, 2])
    cluster.start(4)
    cluster.fence(3, 4)
    before = cluster.image
    assert by_hand(cluster, total, *assignments).code == error.code
    assert cluster.image == before


def test_a_topic_that_is_another_one_is_neither_deleted_nor_grown(cluster):
    cluster.topic("t", [1, 2])
    topic_id, other = cluster.image.topic_ids["t"], bytes(16)
    request = DeleteTopicsRequest(topics=["t"], topic_ids=[other])
    assert cluster.take(delete_topics(cluster.image, request)).topics[0].failure.code == UnknownTopicOrPartition.code
    wanted = NewPartitions(topic="t", total_count=3, topic_id=other)
    decided = create_partitions(cluster.image, CreatePartitionsRequest(topics=[wanted]), random=cluster.random)
    assert decided.answer.topics[0].failure.code == UnknownTopicOrPartition.code
    assert not decided.records
    with pytest.raises(InvalidRequest):
        delete_topics(cluster.image, DeleteTopicsRequest(topics=["t"], topic_ids=[topic_id, other]))
    request = DeleteTopicsRequest(topics=["t"], topic_ids=[topic_id])
    assert not cluster.take(delete_topics(cluster.image, request)).topics[0].failure.code


def test_a_topic_cannot_grow_while_no_broker_is_available(cluster):
    cluster.topic("t", [1, 2, 3])
    cluster.fence(1, 2, 3)
    assert grow(cluster, "t", 2).code == InvalidReplicationFactor.code
    cluster.beat(3)
    assert not grow(cluster, "t", 2, validate_only=True).code
    assert len(cluster.image.topic_named("t").partitions) == 1


def alter(cluster, topic, settings=(), remove=(), **options):
    entries = [ConfigEntry(name=name, value=value) for name, value in settings]
    request = AlterConfigsRequest(topics=[AlterTopicConfigs(topic=topic, set=entries, remove=remove)], **options)
    return cluster.take(alter_configs(cluster.image, request)).topics[0].failure


def test_overrides_are_set_and_taken_back(cluster):
    cluster.topic("t", [1], retention_ms="5")
    assert not alter(cluster, "t", [("min.insync.replicas", "2")], ["retention.ms", "segment.ms"]).code
    topic = cluster.image.topic_named("t")
    assert dict(topic.overrides) == {"min.insync.replicas": "2"}
    assert topic.config.min_insync_replicas == 2
    end = cluster.image.next_offset
    alter(cluster, "t", [("min.insync.replicas", "2")], ["retention.ms"])
    assert cluster.image.next_offset == end


@pytest.mark.parametrize(
    ("settings", "remove", "error"),
    [
        ([("segment.bytes", "1")], [], InvalidConfig),
        ([("segmant.bytes", "1")], [], InvalidConfig),
        ([], ["segmant.bytes"], InvalidConfig),
        ([("retention.ms", "1")], ["retention.ms"], InvalidConfig),
        ([("min.compaction.lag.ms", "100"), ("max.compaction.lag.ms", "10")], [], InvalidConfig),
    ],
)
def test_a_configuration_that_cannot_be_changes_nothing(cluster, settings, remove, error):
    cluster.topic("t", [1], retention_ms="5")
    assert alter(cluster, "t", [("cleanup.policy", "compact"), *settings], remove).code == error.code
    assert dict(cluster.image.topic_named("t").overrides) == {"retention.ms": "5"}


def test_only_validating_a_configuration_changes_nothing(cluster):
    cluster.topic("t", [1])
    assert not alter(cluster, "t", [("retention.ms", "5")], validate_only=True).code
    assert dict(cluster.image.topic_named("t").overrides) == {}
    assert alter(cluster, "none").code == UnknownTopicOrPartition.code


def change(cluster, **fields):
    entries = {
        name: [ConfigEntry(name=key, value=value) for key, value in entries]
        for name, entries in fields.items()
        if name != "replace"
    }
    wanted = AlterTopicConfigs(topic="t", replace=fields.get("replace", False), **entries)
    return cluster.take(alter_configs(cluster.image, AlterConfigsRequest(topics=[wanted]))).topics[0].failure


def test_a_whole_configuration_is_replaced(cluster):
    cluster.topic("t", [1], retention_ms="5", segment_ms="7")
    assert not change(cluster, replace=True, set=[("retention.ms", "6"), ("min.insync.replicas", "2")]).code
    assert dict(cluster.image.topic_named("t").overrides) == {"retention.ms": "6", "min.insync.replicas": "2"}
    assert not change(cluster, replace=True).code
    assert dict(cluster.image.topic_named("t").overrides) == {}


def test_lists_get_more_and_less(cluster):
    cluster.topic("t", [1])
    overrides = cluster.image.topic_named("t").overrides
    assert "cleanup.policy" not in overrides
    assert not change(cluster, append=[("cleanup.policy", "compact, delete")]).code
    assert cluster.image.topic_named("t").overrides["cleanup.policy"] == "delete,compact"
    assert not change(cluster, subtract=[("cleanup.policy", "delete")]).code
    assert cluster.image.topic_named("t").overrides["cleanup.policy"] == "compact"
    for field in ("append", "subtract"):
        assert change(cluster, **{field: [("retention.ms", "1")]}).code == InvalidConfig.code
        assert change(cluster, **{field: [("nothing.like.it", "1")]}).code == InvalidConfig.code


def test_what_keeps_groups_offsets_stays_as_it_must_be(cluster):
    compact = (("cleanup.policy", "compact"),)
    (refused,) = create(cluster, new(OFFSETS_TOPIC))
    assert refused.failure.code == InvalidConfig.code
    assert "cleanup.policy is compact" in refused.failure.message
    (made,) = create(cluster, new(OFFSETS_TOPIC, configs=compact))
    assert not made.failure.code
    (deleted,) = cluster.take(delete_topics(cluster.image, DeleteTopicsRequest(topics=[OFFSETS_TOPIC]))).topics
    assert deleted.failure.code == PolicyViolation.code
    grown = CreatePartitionsRequest(topics=[NewPartitions(topic=OFFSETS_TOPIC, total_count=9)])
    (answer,) = cluster.take(create_partitions(cluster.image, grown, random=cluster.random)).topics
    assert answer.failure.code == InvalidPartitions.code
    for change in (
        AlterTopicConfigs(topic=OFFSETS_TOPIC, set=[ConfigEntry(name="cleanup.policy", value="compact,delete")]),
        AlterTopicConfigs(topic=OFFSETS_TOPIC, remove=["cleanup.policy"]),
        AlterTopicConfigs(topic=OFFSETS_TOPIC, replace=True),
    ):
        (answer,) = cluster.take(alter_configs(cluster.image, AlterConfigsRequest(topics=[change]))).topics
        assert answer.failure.code == InvalidConfig.code
    topic = cluster.image.topic_named(OFFSETS_TOPIC)
    assert len(topic.partitions) == 2
    assert topic.config.cleanup_policy == ("compact",)
