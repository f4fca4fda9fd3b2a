"""Snapshots: the image comes back as it was, the same on every node, and no byte of it may be another."""

from __future__ import annotations

import dataclasses
import random

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dohle.model.batch import split_batches
from dohle.model.errors import CorruptLog
from dohle.model.group_config import GROUP_KEYS
from dohle.model.ids import NO_NODE, SnapshotId
from dohle.model.image import EMPTY_IMAGE, BrokerImage, ClusterImage, ForkImage, PartitionImage
from dohle.model.image_apply import apply_batch
from dohle.model.metadata import (
    METADATA_VERSION,
    NEWEST_METADATA_VERSION,
    BrokerChange,
    BrokerDraining,
    BrokerState,
    Doubt,
    Endpoint,
    FeatureLevel,
    ForkedPartition,
    ForkedReplica,
    ForkState,
    ForkTopic,
    GroupOverride,
    LogDirectories,
    Partition,
    PartitionChange,
    PartitionState,
    ProducerIds,
    ReassignmentThrottle,
    RegisterBroker,
    RemoveTopic,
    ReplicasChange,
    Topic,
    TopicOverride,
    Voter,
    Voters,
)
from dohle.model.records import decode_records
from dohle.model.snapshot import SnapshotReader, encode_snapshot, file_name_of, parse_file_name

NODES = (1, 2, 3)


def read(data, snapshot_id, chunk=None):
    reader = SnapshotReader(snapshot_id, "here")
    for at in range(0, len(data), chunk or len(data)):
        for _ in reader.feed(data[at : at + (chunk or len(data))]):
            pass
    return reader.finish()


def written(image, term=3):
    return b"".join(encode_snapshot(image, term)), SnapshotId(image.next_offset, term)


def grown(rng, steps):
    """An image with everything in it that records can bring about."""
    image = apply_batch(EMPTY_IMAGE, (Voters("c", (Voter(1, b"d" * 16, "here", 7092),)),), 0)
    image = apply_batch(image, (FeatureLevel(METADATA_VERSION, NEWEST_METADATA_VERSION), FeatureLevel("other", 2)), 1)

    def after(*records):
        return apply_batch(image, records, image.next_offset)

    for node in NODES:
        doors = (Endpoint("GRPC", "here", 7000 + node, "PLAINTEXT"),)
        image = after(RegisterBroker(node, bytes(16), bytes([node] * 16), doors, f"rack{node}", ()))
    for step in range(steps):
        match rng.randrange(12):
            case 0:
                topic_id = rng.randbytes(16)
                replicas = tuple(rng.sample(NODES, rng.randint(1, 3)))
                partitions = [Partition(topic_id, n, replicas, replicas, replicas[0]) for n in range(rng.randint(1, 5))]
                image = after(Topic(topic_id, f"t{step}"), *partitions)
            case 1 if image.topic_ids:
                topic = rng.choice(list(image.topics_in_order()))
                number = rng.randrange(len(topic.partitions))
                found = topic.partitions[number]
                isr = found.assigned_replicas[: rng.randint(1, len(found.assigned_replicas))]
                leader = rng.choice((NO_NODE, *isr))
                doubts = (Doubt(isr[0], 3, 40, rng.random() < 0.5),) if leader == NO_NODE else ()
                eligible = found.assigned_replicas[len(isr) :]
                proven = tuple(doubt.node_id for doubt in doubts if not doubt.lost)
                last = rng.choice(isr) if leader == NO_NODE else NO_NODE
                epochs = (found.leader_epoch + 1, found.partition_epoch + 1)
                known = (isr, doubts, eligible, last, proven)
                image = after(PartitionChange(topic.topic_id, number, leader, *epochs, *known))
            case 2 if image.topic_ids:
                topic = rng.choice(list(image.topics_in_order()))
                image = after(TopicOverride(topic.topic_id, "segment.bytes", str(rng.randint(1 << 20, 1 << 21))))
            case 3 if len(image.topic_ids) > 1:
                image = after(RemoveTopic(rng.choice(list(image.topics_in_order())).topic_id))
            case 4:
                broker = image.brokers[rng.choice(NODES)]
                image = after(BrokerChange(broker.node_id, broker.broker_epoch, rng.random() < 0.5, rng.random() < 0.5))
            case 5 if image.topic_ids:
                image = after(_moved(rng, rng.choice(list(image.topics_in_order()))))
            case 6:
                image = after(BrokerDraining(rng.choice(NODES), rng.random() < 0.5))
            case 9 if image.topic_ids:
                topic = rng.choice(list(image.topics_in_order()))
                parts = tuple(ForkedPartition(one.assigned_replicas, rng.randrange(-1, 9)) for one in topic.partitions)
                image = after(ForkTopic(rng.randbytes(16), f"f{step}", topic.topic_id, -1, parts))
            case 10 if image.forks:
                fork = rng.choice(list(image.forks_in_order()))
                node, part = rng.choice(fork.partitions[0].assigned_replicas), fork.partitions[0]
                said = (part.end, 0, part.checksum) if part.end >= 0 else (7, 0, 99)
                said = said if part.end < 0 or rng.random() < 0.5 else (-1, -1, 0)
                image = after(ForkedReplica(fork.topic_id, 0, node, *said))
            case 11:
                value = rng.choice((None, str(rng.randrange(5000, 9000))))
                image = after(GroupOverride(f"g{rng.randrange(4)}", rng.choice(sorted(GROUP_KEYS)), value))
            case 7:
                image = after(ReassignmentThrottle(rng.randrange(1 << 20)))
            case _:
                image = after(ProducerIds(1, 2, image.next_producer_id + 1000))
    return image


def _moved(rng, topic):
    """A reassignment of one of the topic's partitions, or its taking back."""
    number = rng.randrange(len(topic.partitions))
    found = topic.partitions[number]
    adding = tuple(node for node in NODES if node not in found.assigned_replicas)
    if found.is_reassigning or not adding:
        adding = ()
    assigned = (*adding, *found.assigned_replicas)
    removing = found.assigned_replicas if adding else ()
    epochs = (found.leader_epoch + 1, found.partition_epoch + 1)
    return ReplicasChange(
        topic.topic_id, number, assigned, adding, removing, NO_NODE, *epochs, found.in_sync_replicas, ()
    )


@settings(max_examples=50)
@given(st.integers(), st.integers(0, 60), st.sampled_from((1, 7, 100, 4096, 1 << 20)))
def test_an_image_comes_back_as_it_was_however_the_bytes_come_in(seed, steps, chunk):
    image = grown(random.Random(seed), steps)
    data, snapshot_id = written(image)
    assert read(data, snapshot_id, chunk) == image


def test_an_image_that_forgot_everything_comes_back_as_it_was():
    """A topic moves from broker to broker, and goes: no trace of it is left where it was."""
    image = grown(random.Random(1), 0)
    topic = b"t" * 16
    image = apply_batch(image, (Topic(topic, "t"), Partition(topic, 0, (1,), (1,), 1)), image.next_offset)
    moves = (
        ReplicasChange(topic, 0, (2, 1), (2,), (1,), 1, 1, 1, (1,), ()),
        PartitionChange(topic, 0, 1, 1, 2, (2, 1), ()),
        ReplicasChange(topic, 0, (2,), (), (), 2, 2, 3, (2,), ()),
        RemoveTopic(topic),
    )
    for record in moves:
        image = apply_batch(image, (record,), image.next_offset)
        assert read(*written(image)) == image


def test_an_image_goes_on_from_a_snapshot_as_it_would_have(image):
    again = read(*written(image))
    records = (Topic(b"n" * 16, "new"), Partition(b"n" * 16, 0, (1,), (1,), 1))
    assert apply_batch(again, records, again.next_offset) == apply_batch(image, records, image.next_offset)


@pytest.fixture
def image():
    return grown(random.Random(5), 200)


def test_no_byte_of_a_snapshot_may_be_another(image):
    data, snapshot_id = written(grown(random.Random(5), 20))
    for at in range(len(data)):
        bad = bytearray(data)
        bad[at] ^= 1 << at % 8
        with pytest.raises(CorruptLog, match=r"the snapshot here is damaged at byte \d+"):
            read(bytes(bad), snapshot_id)


def test_a_snapshot_that_is_cut_anywhere_is_refused(image):
    data, snapshot_id = written(image)
    for end in range(0, len(data), 61):
        with pytest.raises(CorruptLog, match="it ends there, before its footer"):
            read(data[:end], snapshot_id) if end else SnapshotReader(snapshot_id, "here").finish()


def test_a_snapshot_under_another_name_is_refused(image):
    data, snapshot_id = written(image)
    with pytest.raises(CorruptLog):
        read(data, snapshot_id._replace(end_offset=snapshot_id.end_offset + 1))
    with pytest.raises(CorruptLog):
        read(data, snapshot_id._replace(term=4))
    with pytest.raises(CorruptLog):
        read(data + data, snapshot_id)


def test_damage_is_named_with_the_byte_where_its_batch_begins():
    image = grown(random.Random(5), 0)
    many = [Partition(b"m" * 16, number, NODES, NODES, 1) for number in range(300)]
    image = apply_batch(image, (Topic(b"m" * 16, "many"), *many), image.next_offset)
    batches = list(encode_snapshot(image, 3))
    assert len(batches) > 1
    bad = bytearray(b"".join(batches))
    bad[len(batches[0]) + 100] ^= 1
    with pytest.raises(CorruptLog, match=f"at byte {len(batches[0])}: the batch of offset 256 is damaged: its CRC"):
        read(bytes(bad), SnapshotId(image.next_offset, 3), chunk=50)


def test_states_name_every_field_of_the_image():
    def names(kind):
        return [field.name for field in dataclasses.fields(kind)]

    assert [*names(BrokerState), "log_dirs", "offline_log_dirs", "offline_replicas"] == names(BrokerImage)
    assert names(LogDirectories)[2:] == ["online", "offline", "offline_replicas"]
    assert names(PartitionState)[2:] == names(PartitionImage)
    assert names(ClusterImage) == [
        *("next_offset", "cluster_id", "voters", "features", "next_producer_id", "brokers", "topics"),
        *("topic_ids", "hosted", "reassigning", "reassignment_bytes_per_s", "forks", "group_overrides"),
    ]
    assert names(ForkState) == names(ForkImage)


def test_a_snapshot_keeps_the_crc_of_the_first_batch_once_the_cluster_works_at_a_version_that_knows_it():
    for version, kept in ((1, 0), (2, 77)):
        image = dataclasses.replace(grown(random.Random(1), 0), features={METADATA_VERSION: version})
        data = b"".join(encode_snapshot(image, 3, 77))
        reader = SnapshotReader(SnapshotId(image.next_offset, 3), "here")
        list(reader.feed(data))
        assert reader.finish() == image
        assert reader.first_batch_crc == kept
        versions = {msgpack.unpackb(record.value)[1] for record in records_of(data)}
        assert max(versions) == version


def records_of(data):
    return [record for position, _ in split_batches(data) for record in decode_records(data, position)]


def test_a_state_in_the_log_is_a_corrupt_log(image):
    with pytest.raises(CorruptLog, match="in snapshots alone"):
        apply_batch(image, (PartitionState(b"t" * 16, 0, (1,), (1,), 1, 0, 0, (3,), (), (), ()),), image.next_offset)


def test_names_are_kafkas():
    assert file_name_of(SnapshotId(123, 4)) == "00000000000000000123-0000000004.checkpoint"
    assert parse_file_name("00000000000000000123-0000000004.checkpoint") == SnapshotId(123, 4)
    for other in ("123-4.checkpoint", "00000000000000000123.snapshot", "quorum-state", "x.checkpoint", ""):
        assert parse_file_name(other) is None
