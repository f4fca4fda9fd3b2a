"""The SDK against real nodes: what goes in comes out, by every road."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

import dohle.sync
from dohle import Admin, Consumer, Producer
from dohle.client.values import NewTopic
from dohle.model import errors
from dohle.model.ids import TopicPartition
from tests.integration.clusters import healthy

TEXT = b"the quick brown jackdaw " * 40


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_every_codec_end_to_end(trio, codec):
    topic = f"codec-{codec}"
    async with Admin(trio.bootstrap) as admin:
        await admin.create_topic(topic, partitions=1)
        async with Producer(trio.bootstrap, compression=codec, linger_ms=20) as producer:
            receipts = [await producer.send(topic, b"%d" % number + TEXT) for number in range(200)]
            assert [(await receipt).offset for receipt in receipts] == list(range(200))
        async with Consumer(trio.bootstrap) as consumer:
            await consumer.assign(topic)
            records = []
            while len(records) < 200:
                records += await consumer.batch(200, 5000)
        assert [record.value for record in records] == [b"%d" % number + TEXT for number in range(200)]
        leader = (await admin.describe_topic(topic)).partitions[0].leader
        folders = await admin.describe_log_dirs(leader)
        size = next(replica.size_bytes for replica in folders[0].replicas if replica.topic == topic)
        assert (size < 200 * len(TEXT) / 4) == (codec != "none")


async def test_a_topic_may_compress_by_itself(trio):
    async with Admin(trio.bootstrap) as admin:
        await admin.create_topic("recompressed", partitions=1, configs={"compression.type": "zstd"})
        async with Producer(trio.bootstrap) as producer:
            assert (await producer.send_and_wait("recompressed", TEXT * 10, key=b"k")).offset == 0
        async with Consumer(trio.bootstrap) as consumer:
            await consumer.assign("recompressed")
            record = await anext(consumer)
    assert (record.key, record.value) == (b"k", TEXT * 10)


async def test_nulls_empties_headers_and_timestamps(trio):
    async with Admin(trio.bootstrap) as admin:
        await admin.create_topic("odd", partitions=1)
    cases = [
        (None, None, ()),
        (b"", b"", ()),
        (None, b"v", (("a", b"1"), ("a", None), ("ü", b""))),
        (b"k", None, ()),
        (bytes(range(256)), bytes(1000), (("h", bytes(300)),)),
    ]
    async with Producer(trio.bootstrap) as producer:
        for number, (key, value, headers) in enumerate(cases):
            await producer.send_and_wait("odd", value, key=key, headers=headers, timestamp_ms=1000 + number)
    async with Consumer(trio.bootstrap) as consumer:
        await consumer.assign("odd")
        found = [await anext(consumer) for _ in cases]
    assert [(record.key, record.value, record.headers) for record in found] == cases
    assert [record.timestamp_ms for record in found] == [1000, 1001, 1002, 1003, 1004]


async def test_records_of_nearly_a_mebibyte(trio):
    async with Admin(trio.bootstrap) as admin:
        await admin.create_topic("large", partitions=2, configs={"max.message.bytes": str(4 << 20)})
    values = [bytes([number]) * ((1 << 20) - 200) for number in range(12)]
    async with Producer(trio.bootstrap) as producer:
        receipts = [await producer.send("large", value, key=value[:1]) for value in values]
        for receipt in receipts:
            await receipt
    async with Producer(trio.bootstrap, max_request_bytes=4 << 20) as producer:
        values.append(b"x" * (3 << 20))
        await producer.send_and_wait("large", values[-1])
    async with Consumer(trio.bootstrap, partition_max_bytes=64 << 10, max_bytes=64 << 10) as consumer:
        await consumer.assign("large")
        found = [(await anext(consumer)).value for _ in values]
    assert sorted(map(_digest, found)) == sorted(map(_digest, values))


def _digest(value):
    return hashlib.sha256(value).hexdigest()


async def test_seeking_by_time_offset_and_ends(trio):
    async with Admin(trio.bootstrap) as admin:
        await admin.create_topic("times", partitions=1)
    partition = TopicPartition("times", 0)
    async with Producer(trio.bootstrap) as producer:
        for number in range(50):
            await producer.send("times", b"%d" % number, timestamp_ms=10_000 + number * 100)
    async with Consumer(trio.bootstrap, auto_offset_reset="none") as consumer:
        await consumer.assign(partition)
        for time_ms, expected in ((0, 0), (10_000, 0), (10_001, 1), (12_000, 20), (12_050, 21), (14_900, 49)):
            await consumer.seek_to_time(time_ms)
            assert (await anext(consumer)).offset == expected, time_ms
        await consumer.seek_to_time(99_999)
        assert await consumer.position(partition) == 50
        assert await consumer.batch(timeout_ms=100) == []
        await consumer.seek_to_beginning()
        assert (await anext(consumer)).offset == 0
        consumer.seek(partition, 30)
        assert [record.offset for record in await consumer.batch(5)] == [30, 31, 32, 33, 34]
        consumer.pause(partition)
        assert await consumer.batch(timeout_ms=200) == []
        consumer.resume(partition)
        assert (await anext(consumer)).offset == 35
        assert await consumer.beginning_offsets() == {partition: 0}
        assert await consumer.end_offsets() == {partition: 50}


async def test_admin_calls_change_what_they_say(trio):
    async with Admin(trio.bootstrap) as admin:
        checked = await admin.create_topic("admin", partitions=2, validate_only=True)
        assert (checked.partitions, checked.replication_factor) == (2, 3)
        with pytest.raises(errors.UnknownTopicOrPartition):
            await admin.describe_topic("admin")
        outcomes = await admin.create_topics(
            [
                NewTopic("admin", 2, 3, {"retention.ms": "1000"}),
                NewTopic("a/b"),
                NewTopic("placed", assignments=((3, 1),)),
            ]
        )
        assert isinstance(outcomes["a/b"], errors.InvalidTopic)
        placed = (await _described(admin, "placed")).partitions[0]
        assert (placed.assigned_replicas, placed.leader) == ((3, 1), 3)
        with pytest.raises(errors.TopicAlreadyExists):
            await admin.create_topic("admin")
        await admin.alter_configs("admin", {"min.insync.replicas": "2"}, remove=["retention.ms"])
        await _until_set(admin, {"min.insync.replicas": "2"})
        with pytest.raises(errors.InvalidConfig, match=r"min\.insync\.replicas"):
            await admin.alter_configs("admin", {"min.insync.replica": "2"})
        await admin.create_partitions("admin", 5)
        await _described(admin, "admin", partitions=5)
        with pytest.raises(errors.InvalidPartitions):
            await admin.create_partitions("admin", 3)
        async with Producer(trio.bootstrap) as producer:
            for partition in range(5):
                assert (await producer.send_and_wait("admin", b"v", partition=partition)).partition == partition
        folders = await admin.describe_log_dirs(2)
        held = {replica.partition: replica for replica in folders[0].replicas if replica.topic == "admin"}
        assert sorted(held) == [0, 1, 2, 3, 4]
        assert all(replica.log_end_offset == 1 and replica.failure is None for replica in held.values())
        await admin.delete_topic("admin")
        with pytest.raises(errors.UnknownTopicOrPartition):
            await admin.delete_topic("admin")
        names = [topic.name for topic in await admin.list_topics()]
        assert "placed" in names
        assert "admin" not in names


def test_the_synchronous_twins(trio):
    with dohle.sync.Admin(trio.bootstrap) as admin:
        admin.create_topic("twins", partitions=2)
        assert len(admin.describe_topic("twins").partitions) == 2
        with pytest.raises(errors.TopicAlreadyExists):
            admin.create_topic("twins")
    with dohle.sync.Producer(trio.bootstrap, linger_ms=5) as producer:
        deliveries = [producer.send("twins", b"%d" % number, key=b"%d" % (number % 7)) for number in range(100)]
        assert producer.send_and_wait("twins", b"last", key=b"0").offset >= 0
        producer.flush()
        assert all(delivery.result(1).offset >= 0 for delivery in deliveries)
    with dohle.sync.Consumer(trio.bootstrap) as consumer:
        consumer.assign("twins")
        found = []
        while len(found) < 101:
            found += consumer.batch(50, 5000)
        assert {record.value for record in found} == {b"%d" % number for number in range(100)} | {b"last"}
        consumer.seek_to_beginning()
        assert next(consumer).offset == 0
        assert sum(consumer.end_offsets().values()) == 101


async def test_a_consumer_and_a_producer_go_on_across_a_change_of_leader(trio):
    async with Admin(trio.bootstrap) as admin:
        await admin.create_topic("handover", partitions=1, configs={"min.insync.replicas": "2"})
        led_by = (await admin.describe_topic("handover")).partitions[0].leader
    async with Consumer(trio.bootstrap) as consumer, Producer(trio.bootstrap) as producer:
        await consumer.assign("handover")
        for number in range(60):
            if number == 20:
                await asyncio.to_thread(trio.kill, led_by)
            if number == 40:
                await asyncio.to_thread(trio.up, led_by)
            began = time.monotonic()
            await producer.send_and_wait("handover", b"%d" % number)
            record = await anext(consumer)
            assert (record.offset, record.value) == (number, b"%d" % number)
            assert time.monotonic() - began < 30
    await healthy(trio.bootstrap)


async def test_a_topic_deleted_and_made_again_under_a_running_producer(trio):
    async with Admin(trio.bootstrap) as admin, Producer(trio.bootstrap) as producer:
        await admin.create_topic("phoenix", partitions=1)
        assert (await producer.send_and_wait("phoenix", b"old")).offset == 0
        await admin.delete_topic("phoenix")
        await admin.create_topic("phoenix", partitions=1)
        assert (await producer.send_and_wait("phoenix", b"new")).offset == 0
        async with Consumer(trio.bootstrap) as consumer:
            await consumer.assign("phoenix")
            assert (await anext(consumer)).value == b"new"


def test_health_and_reflection_answer(trio):
    with grpc.insecure_channel(f"127.0.0.1:{trio.port(1)}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        services = ProtoReflectionDescriptorDatabase(channel).get_services()
        for name in ("Broker", "Admin", "Replication", "Raft", "Controller", "Node"):
            assert f"dohle.v1.{name}" in services
            answer = health.Check(health_pb2.HealthCheckRequest(service=f"dohle.v1.{name}"), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        whole = health.Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert whole.status == health_pb2.HealthCheckResponse.SERVING


async def _described(admin, topic, partitions=1):
    """What a change brought about; nodes hear of it one after the other, and any of them may answer."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(errors.UnknownTopicOrPartition):
                found = await admin.describe_topic(topic)
                if len(found.partitions) >= partitions:
                    return found
            await asyncio.sleep(0.01)


async def _until_set(admin, wanted):
    async with asyncio.timeout(20):
        while {one.name: one.value for one in await admin.describe_configs("admin") if not one.is_default} != wanted:
            await asyncio.sleep(0.01)
