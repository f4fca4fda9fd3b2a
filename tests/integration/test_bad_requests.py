"""What clients may ask and must be refused: each with its own error, which says what is wrong, and no harm done."""

from __future__ import annotations

import asyncio
import time

import grpc
import pytest

from dohle import Admin, Consumer, Producer
from dohle.model import errors
from dohle.model.ids import TopicPartition
from dohle.rpc.v1 import broker_pb2
from tests.integration.load import read_all, write_some
from tests.integration.raw import RawBroker, a_batch

UNASKED_S = 15
"""What a command waits that is not told how long."""


@pytest.fixture(scope="module")
def _made():
    return set()


@pytest.fixture
def topic(trio, _made):
    """A topic of three partitions at replication factor 3, min.insync.replicas 2."""
    if not _made:
        _made.add("strict")
        trio.done("topic", "create", "strict", "-p", "3", "-r", "3", "-c", "min.insync.replicas=2")
    return "strict"


@pytest.fixture
def leader(trio, topic):
    with RawBroker(trio.port(trio.partition(topic).leader)) as broker:
        yield broker


@pytest.fixture
def follower(trio, topic):
    led_by = trio.partition(topic).leader
    with RawBroker(trio.port(next(node for node in trio.node_ids if node != led_by))) as broker:
        yield broker


FIRST = TopicPartition("strict", 0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("topic create spaces%in%it", "spaces in it"),
        ("topic create ..", ".."),
        (f"topic create {'x' * 250}", "249"),
        ("topic create wide -r 4", "replication factor 4"),
        ("topic create none -p 0", "0"),
        ("topic create strict", "strict"),
        ("topic create odd -c min.insync.replica=2", "did you mean min.insync.replicas?"),
        ("topic create odd -c min.insync.replicas=many", "many"),
        ("topic create odd -c min.insync.replicas=0", "min.insync.replicas"),
        ("topic config strict --set compression.type=best", "best"),
        ("topic add-partitions strict 2", "3"),
        ("topic describe nowhere", "nowhere"),
        ("topic delete nowhere --yes", "nowhere"),
        ("produce strict -p 9", "9"),
        ("consume strict -p 9", "strict has no partition 9: it has 0 to 2"),
    ],
)
def test_commands_name_what_is_wrong_in_one_line(trio, topic, arguments, complaint):
    words = [word.replace("%", " ") for word in arguments.split()]
    said = trio.refused(*words, stdin="x\n")
    assert complaint in said
    assert said.startswith("dohle: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", ["consume strict --from nowhere", "produce strict --acks 2", "topic creat x", "-x"]
)
def test_wrong_usage_is_exit_code_2(trio, arguments):
    assert "Error" in trio.refused(*arguments.split(), code=2)


async def test_the_sdk_raises_for_what_is_not_there(trio, topic):
    async with Producer(trio.bootstrap, max_block_ms=2000) as producer:
        with pytest.raises(errors.UnknownTopicOrPartition, match="nowhere") as caught:
            await producer.send("nowhere", b"x")
        assert caught.value.definite
        with pytest.raises(errors.UnknownTopicOrPartition, match="9"):
            await producer.send(topic, b"x", partition=9)
    async with Consumer(trio.bootstrap, request_timeout_ms=2000, auto_offset_reset="none") as consumer:
        with pytest.raises(errors.UnknownTopicOrPartition, match="nowhere"):
            await consumer.assign("nowhere")
        await consumer.assign(TopicPartition(topic, 0))
        consumer.seek(TopicPartition(topic, 0), 1_000_000)
        with pytest.raises(errors.OffsetOutOfRange):
            await anext(consumer)
    async with Admin(trio.bootstrap) as admin:
        with pytest.raises(errors.InvalidReplicationFactor, match="3"):
            await admin.create_topic("wide", replication_factor=7)
        with pytest.raises(errors.InvalidTopic):
            await admin.create_topic("a/b")
        with pytest.raises(errors.BrokerNotAvailable, match="node 9"):
            await admin.describe_log_dirs(9)


async def test_a_record_that_is_too_large_is_refused_by_the_client_and_by_the_topic(trio, topic):
    async with Admin(trio.bootstrap) as admin:
        await admin.create_topic("small", partitions=1, configs={"max.message.bytes": "10000"})
    async with Producer(trio.bootstrap) as producer:
        with pytest.raises(errors.MessageTooLarge, match="max_request_bytes"):
            await producer.send(topic, bytes(2 << 20))
        with pytest.raises(errors.MessageTooLarge, match=r"max\.message\.bytes is 10000") as caught:
            await producer.send_and_wait("small", bytes(20_000))
        assert caught.value.definite
        assert (await producer.send_and_wait("small", bytes(5000))).offset == 0


def test_a_damaged_batch_is_refused_and_nothing_is_written(leader, topic):
    before = leader.produce(FIRST, a_batch())
    damaged = bytearray(a_batch(b"damaged"))
    damaged[-2] ^= 1
    assert isinstance(leader.produce(FIRST, bytes(damaged)), errors.CorruptMessage)
    for bad in (b"", a_batch()[:-5], a_batch() + a_batch(), bytes(200)):
        assert isinstance(leader.produce(FIRST, bad), errors.InvalidRecord), bad
    assert leader.produce(FIRST, a_batch()) == before + 1


def test_a_message_with_a_huge_declared_length_is_refused(leader, topic):
    huge = bytearray(a_batch())
    huge[8:12] = (2**31 - 1).to_bytes(4, "big")
    assert isinstance(leader.produce(FIRST, bytes(huge)), errors.InvalidRecord)
    with pytest.raises(grpc.RpcError) as caught:
        leader.produce(FIRST, bytes(200 << 20))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert isinstance(leader.produce(FIRST, a_batch()), int)


def test_who_does_not_lead_refuses_to_write_and_to_read(follower, topic):
    assert isinstance(follower.produce(FIRST, a_batch()), errors.NotLeaderOrFollower)
    assert isinstance(follower.fetch(FIRST, 0), errors.NotLeaderOrFollower)


def test_unknown_topic_ids_and_partitions_are_told_apart(leader, topic):
    assert isinstance(leader.produce(FIRST, a_batch(), topic_id=bytes(range(16))), errors.UnknownTopicId)
    unknown = leader.produce(TopicPartition("strict", 77), a_batch(), topic_id=leader.topic_id("strict"))
    assert isinstance(unknown, errors.UnknownTopicId | errors.UnknownTopicOrPartition)


def test_a_stale_or_future_leader_epoch_is_refused(leader, trio, topic):
    leader.produce(FIRST, a_batch())
    epoch = leader.leader_epoch(FIRST)
    assert isinstance(leader.fetch(FIRST, 0, leader_epoch=epoch), bytes)
    assert isinstance(leader.fetch(FIRST, 0, leader_epoch=epoch + 1), errors.UnknownLeaderEpoch)
    if epoch == 0:
        node = trio.partition(topic).leader
        trio.down(node)
        trio.up(node)
        trio.until_healthy()
    with RawBroker(trio.port(trio.partition(topic).leader)) as current:
        epoch = current.leader_epoch(FIRST)
        assert epoch > 0
        assert isinstance(current.fetch(FIRST, 0, leader_epoch=epoch - 1), errors.FencedLeaderEpoch)


def test_offsets_outside_of_the_log_are_refused(leader, topic):
    end = leader.produce(FIRST, a_batch()) + 1
    assert isinstance(leader.fetch(FIRST, end + 1000), errors.OffsetOutOfRange)
    assert leader.fetch(FIRST, end) == b""


def test_sequences_are_checked_and_duplicates_answered_with_the_first_offset(leader, topic):
    producer_id = leader.unary("InitProducerId", broker_pb2.InitProducerIdRequest()).producer_id

    def write(sequence, **more):
        return leader.produce(FIRST, a_batch(producer_id=producer_id, sequence=sequence, **more))

    first = write(0)
    assert isinstance(first, int)
    assert write(0) == first
    assert isinstance(write(2), errors.OutOfOrderSequenceNumber)
    assert write(1) == first + 1
    assert write(0, producer_epoch=1) == first + 2
    assert isinstance(write(2), errors.InvalidProducerEpoch)


def test_unknown_acks_are_refused(leader, topic):
    refused = leader.produce(FIRST, a_batch(), acks=2)
    assert isinstance(refused, errors.InvalidRequiredAcks)
    assert isinstance(leader.produce(FIRST, a_batch(), acks=1), int)


def test_too_few_in_sync_replicas_and_no_majority(fresh_trio):
    """Two of three nodes are gone: nothing is acknowledged, and who asks hears why in the time that was set."""
    cluster = fresh_trio
    cluster.done("topic", "create", "strict", "-p", "1", "-r", "3", "-c", "min.insync.replicas=2")
    written = asyncio.run(write_some(cluster.bootstrap, "strict", 20))
    survivor = cluster.partition("strict").leader
    others = [node for node in cluster.node_ids if node != survivor]
    for node in others:
        cluster.kill(node)

    async def write():
        async with Producer(cluster.bootstrap, delivery_timeout_ms=4000, request_timeout_ms=1500) as producer:
            await producer.send_and_wait("strict", b"late")

    began = time.monotonic()
    with pytest.raises(
        (
            errors.DeliveryTimedOut,
            errors.NotEnoughReplicas,
            errors.NotEnoughReplicasAfterAppend,
            errors.BrokerNotAvailable,  # nothing was sent, for want of a leader or of a producer id
        )
    ) as caught:
        asyncio.run(write())
    assert time.monotonic() - began < 30
    assert caught.value.message
    with RawBroker(cluster.port(survivor)) as broker:
        refused = broker.produce(FIRST, a_batch(), timeout_ms=1500)
        assert isinstance(
            refused, errors.RequestTimedOut | errors.NotEnoughReplicas | errors.NotEnoughReplicasAfterAppend
        )
        assert isinstance(broker.produce(FIRST, a_batch(), acks=1), int)
    began = time.monotonic()
    complaint = cluster.refused("topic", "create", "more", "--timeout", "3")
    assert "controller" in complaint
    assert time.monotonic() - began < UNASKED_S
    status = cluster.dohle("status", "--timeout", "5")
    assert status.returncode == 1

    cluster.up()
    cluster.until_healthy()
    values = list(asyncio.run(read_all(cluster.bootstrap, "strict")).values())
    assert [value for value in values if value in written] == written
    assert values.count(b"late") <= 1
    assert caught.value.definite is False or b"late" not in values


def test_a_cluster_that_is_not_there_is_named_in_the_time_that_was_set(trio):
    began = time.monotonic()
    complaint = trio.refused("topic", "list", "-b", "localhost:1", "--timeout", "2")
    assert "localhost:1" in complaint
    assert time.monotonic() - began < UNASKED_S
    for address in ("nonsense", "host:port", "localhost:99999"):
        complaint = trio.refused("status", "-b", address, "--timeout", "1")
        assert address in complaint
        assert complaint.count("\n") == 1
