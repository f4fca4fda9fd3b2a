"""The image's questions, and what applying a record refuses."""

import pytest

from dohle.model.errors import CorruptLog
from dohle.model.ids import NO_NODE, PartitionKey
from dohle.model.image import EMPTY_IMAGE
from dohle.model.image_apply import apply, apply_batch
from dohle.model.metadata import (
    OLDEST_METADATA_VERSION,
    BrokerChange,
    BrokerDraining,
    Doubt,
    EndFork,
    Endpoint,
    FeatureLevel,
    ForkedPartition,
    ForkedReplica,
    ForkTopic,
    LogDirectories,
    NoOp,
    Partition,
    PartitionChange,
    ProducerIds,
    RegisterBroker,
    RemoveTopic,
    Topic,
    TopicOverride,
    Voters,
)
from dohle.model.topic_config import DEFAULTS

T = b"topic-of-16-byte"


def broker(node_id):
    doors = (Endpoint("GRPC", "here", 7000 + node_id, "PLAINTEXT"),)
    return RegisterBroker(node_id, bytes(16), bytes([node_id] * 16), doors, "", ())


def unfenced(node_id, broker_epoch):
    return BrokerChange(node_id, broker_epoch, fenced=False, shutting_down=False)


START = (
    Voters("cluster", ()),
    broker(1),
    broker(2),
    unfenced(1, 1),
    unfenced(2, 2),
    Topic(T, "t"),
    Partition(T, 0, (1, 2), (1, 2), 1),
    Partition(T, 1, (2, 1), (2, 1), 2),
)


@pytest.fixture
def image():
    return apply_batch(EMPTY_IMAGE, START, 0)


def after(image, *records):
    return apply_batch(image, records, image.next_offset)


def test_an_image_does_not_change_when_records_are_applied_to_it(image):
    changed = after(image, PartitionChange(T, 0, 2, 1, 1, (2,), ()), RemoveTopic(T), broker(3))
    assert image == apply_batch(EMPTY_IMAGE, START, 0)
    assert changed != image
    assert 3 not in image.brokers


def test_a_batch_is_the_same_as_its_records_one_by_one(image):
    one_by_one = EMPTY_IMAGE
    for offset, record in enumerate(START):
        one_by_one = apply(one_by_one, record, offset)
    assert one_by_one == image


def test_topic_and_replica_questions(image):
    assert image.topic_named("t").created_at == 5
    assert image.topic_named("none") is None
    assert image.topic_named("t").config is DEFAULTS
    assert image.partition(PartitionKey(T, 1)).assigned_at == (7, 7)
    assert image.partition(PartitionKey(T, 2)) is None
    assert image.partition(PartitionKey(T, -1)) is None
    assert image.partition(PartitionKey(bytes(16), 0)) is None
    assert [key for key, _ in image.replicas_of(2)] == [PartitionKey(T, 0), PartitionKey(T, 1)]
    assert [key for key, _ in image.led_by(2)] == [PartitionKey(T, 1)]
    assert image.replica_count(2) == 2
    assert image.replica_count(9) == 0
    assert list(image.replicas_of(9)) == []


def test_the_leaders_door_is_found_by_its_listener(image):
    partition = image.partition(PartitionKey(T, 1))
    assert image.leader_endpoint(partition, "GRPC").port == 7002
    assert image.leader_endpoint(partition, "KAFKA") is None
    leaderless = after(image, PartitionChange(T, 1, NO_NODE, 1, 1, (2, 1), ()))
    assert leaderless.leader_endpoint(leaderless.partition(PartitionKey(T, 1)), "GRPC") is None


def test_health_counts_live_members_and_the_effective_minimum(image):
    assert list(image.unhealthy_partitions()) == []
    sick = after(
        image,
        BrokerChange(2, 2, fenced=True, shutting_down=False),
        PartitionChange(T, 1, NO_NODE, 1, 1, (2, 1), ()),
        TopicOverride(T, "min.insync.replicas", "3"),
    )
    first, second = sick.unhealthy_partitions()
    assert (str(first.name), first.leaderless, first.under_replicated, first.under_min_insync) == (
        "t-0",
        False,
        True,
        True,
    )
    assert first.min_insync_replicas == 2
    assert first.live_in_sync_replicas == (1,)
    assert second.leaderless


def test_a_registration_replaces_the_one_before_and_is_fenced(image):
    again = after(image, broker(1)).brokers[1]
    assert (again.broker_epoch, again.fenced, again.shutting_down) == (len(START), True, False)


def test_an_override_taken_back_is_gone(image):
    overridden = after(image, TopicOverride(T, "retention.ms", "5"), TopicOverride(T, "flush.messages", "9"))
    assert list(overridden.topic_named("t").overrides) == ["flush.messages", "retention.ms"]
    assert overridden.topic_named("t").config.retention_ms == 5
    back = after(overridden, TopicOverride(T, "retention.ms", None), TopicOverride(T, "flush.messages", None))
    assert back.topics[T] == image.topics[T]


def test_a_topic_made_and_removed_in_one_batch_leaves_nothing(image):
    other = bytes(16)
    changed = after(image, Topic(other, "u"), Partition(other, 0, (1,), (1,), 1), RemoveTopic(other), NoOp())
    assert changed.topics == image.topics
    assert changed.topic_ids == image.topic_ids
    assert changed.replica_count(1) == 2


@pytest.mark.parametrize(
    "record",
    [
        Voters("another", ()),
        unfenced(3, 1),
        unfenced(1, 9),
        BrokerDraining(9, True),
        Topic(T, "u"),
        Topic(bytes(16), "t"),
        RemoveTopic(bytes(16)),
        TopicOverride(bytes(16), "retention.ms", "5"),
        ProducerIds(1, 1, 0),
        Partition(T, 3, (1,), (1,), 1),
        Partition(T, 2, (1, 1), (1,), 1),
        Partition(T, 2, (1, 9), (1,), 1),
        Partition(T, 2, (1, 2), (), NO_NODE),
        PartitionChange(T, 9, 1, 0, 1, (1,), ()),
        PartitionChange(T, 0, 1, 0, 2, (1,), ()),
        PartitionChange(T, 0, 1, 0, 0, (1,), ()),
        PartitionChange(T, 0, 2, 0, 1, (2,), ()),
        PartitionChange(T, 0, 2, 1, 1, (1,), ()),
        PartitionChange(T, 0, 1, 0, 1, (2, 1), ()),
        PartitionChange(T, 0, 1, 0, 1, (1, 3), ()),
        PartitionChange(T, 0, 1, 0, 1, (1, 2), (Doubt(2, 0, 0, False),)),
        PartitionChange(T, 0, NO_NODE, 1, 1, (1,), (Doubt(2, 0, 0, False),)),
        PartitionChange(T, 0, 1, 0, 1, (1, 2), (), (2,)),
        PartitionChange(T, 0, 1, 0, 1, (1,), (), (3,)),
        PartitionChange(T, 0, 1, 0, 1, (1,), (), (), 1),
        PartitionChange(T, 0, NO_NODE, 1, 1, (1,), (), (), 3),
        PartitionChange(T, 0, NO_NODE, 1, 1, (1,), (), (), NO_NODE, (1,)),
        PartitionChange(T, 0, NO_NODE, 1, 1, (1,), (Doubt(1, 0, 0, True),), (), NO_NODE, (1,)),
    ],
)
def test_a_record_that_contradicts_the_image_is_fatal(image, record):
    with pytest.raises(CorruptLog, match=f"{type(record).__name__} at offset {len(START)}"):
        apply(image, record, image.next_offset)


def test_an_override_that_cannot_be_is_fatal(image):
    with pytest.raises(CorruptLog, match=r"offset 8: retention\.ms"):
        after(image, TopicOverride(T, "retention.ms", "soon"))


def test_records_out_of_order_are_fatal(image):
    with pytest.raises(CorruptLog, match="ends at 8"):
        apply(image, NoOp(), 9)


def test_a_feature_level_is_the_last_that_was_said(image):
    assert image.metadata_version == OLDEST_METADATA_VERSION
    image = after(after(image, FeatureLevel("metadata.version", 2)), FeatureLevel("another", 7))
    assert dict(image.features) == {"another": 7, "metadata.version": 2}
    assert image.metadata_version == 2


F = b"fork--of-16-byte"
FORK = ForkTopic(F, "f", T, -1, (ForkedPartition((1, 2), -1), ForkedPartition((2, 1), 40)))


def test_a_fork_is_no_topic_before_it_is_whole_and_its_replicas_are_there_since_it_began(image):
    since = image.next_offset
    image = after(image, FORK)
    assert image.topic_named("f") is None
    assert F not in image.topics
    image = after(image, ForkedReplica(F, 0, 1, 30, 20, 99), ForkedReplica(F, 0, 2, -1, -1, 0))
    assert image.forks[F].partitions[0] == ForkedPartition((1, 2), -1, 30, 20, 99, (1,), (2,))
    partitions = (Partition(F, 0, (1, 2), (1,), 1), PartitionChange(F, 0, 1, 4, 1, (1,), ()))
    image = after(image, Topic(F, "f"), *partitions, EndFork(F))
    assert not image.forks
    assert image.topic_named("f").partitions[0].leader_epoch == 4
    assert image.topic_named("f").partitions[0].assigned_at == (since, since)


@pytest.mark.parametrize("change", [broker(1), LogDirectories(1, 1, (bytes(16),), (b"o" * 16,), ())])
def test_what_a_replica_said_of_a_fork_holds_for_its_registration_and_directories(image, change):
    image = after(image, FORK, ForkedReplica(F, 0, 1, 30, 20, 99), ForkedReplica(F, 0, 2, 30, 20, 99))
    image = after(image, change)
    assert image.forks[F].partitions[0] == ForkedPartition((1, 2), -1, 30, 20, 99, (2,), ())
    image = after(image, ForkedReplica(F, 0, 1, 30, 20, 99))
    assert image.forks[F].partitions[0].confirmed == (2, 1)


@pytest.mark.parametrize(
    "records",
    [
        (Topic(b"another-of-16byt", "f"),),
        (ForkTopic(b"another-of-16byt", "f", T, -1, FORK.partitions),),
        (ForkTopic(b"another-of-16byt", "t", T, -1, FORK.partitions),),
        (ForkTopic(b"another-of-16byt", "g", T, -1, FORK.partitions[:1]),),
        (ForkTopic(b"another-of-16byt", "g", F, -1, FORK.partitions),),
        (ForkedReplica(F, 2, 1, 30, 20, 99),),
        (ForkedReplica(F, 0, 3, 30, 20, 99),),
        (ForkedReplica(F, 0, 1, -1, -1, 0),),
        (ForkedReplica(F, 0, 1, 30, 20, 99), ForkedReplica(F, 0, 2, 31, 20, 99)),
        (ForkedReplica(F, 0, 1, 30, 20, 99), ForkedReplica(F, 0, 2, 30, 20, 98)),
        (EndFork(T),),
    ],
)
def test_forks_that_contradict_the_image_are_refused(image, records):
    with pytest.raises(CorruptLog):
        after(after(image, FORK), *records)
