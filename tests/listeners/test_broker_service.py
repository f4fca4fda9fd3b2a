"""What clients say and hear over the Broker and Admin services, on brokers in memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dohle.listeners import produce_stream
from dohle.listeners.admin_service import AdminService
from dohle.listeners.broker_service import BrokerService
from dohle.model.errors import (
    CorruptMessage,
    InvalidRequest,
    NetworkException,
    NotEnoughReplicas,
    NotLeaderOrFollower,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from dohle.model.ids import PartitionKey, TopicId
from dohle.model.topic_config import TOPIC_KEYS
from dohle.rpc.v1 import admin_pb2, broker_pb2
from dohle.runtime.network import RequestContext
from dohle.runtime.tasks import Tasks
from tests.broker.brokers import Cluster, Node
from tests.broker.logs import TOPIC_ID, batch
from tests.broker.virtual_time import in_virtual_time

CONTEXT = RequestContext("User:ANONYMOUS", "GRPC", "client", "memory")


class ClientStream:
    """The client's end of a stream; what it sends waits in `requests`, and `taking` lets answers through."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[Any] = asyncio.Queue()
        self.answers: asyncio.Queue[Any] = asyncio.Queue()
        self.taking = asyncio.Event()
        self.taking.set()
        self.received = 0

    async def send(self, message: Any) -> None:
        await self.taking.wait()
        self.answers.put_nowait(message)

    async def receive(self) -> Any:
        message = await self.requests.get()
        if isinstance(message, Exception):
            raise message
        self.received += 1
        return message

    def close(self) -> None:
        raise AssertionError("services leave their streams to the server")


class Service:
    """A broker that leads the topic's partition, and its services."""

    def __init__(self, cluster: Cluster, node: Node) -> None:
        self.cluster, self.node = cluster, node
        self.tasks = Tasks("service", cluster.failures.append)
        self.broker_service = BrokerService(node.broker, self.tasks)
        self.admin = AdminService(node.broker, node.disk)

    @classmethod
    async def new(cls, *nodes: int, min_insync: int = 1) -> Service:
        cluster = await Cluster.started(*(nodes or (1,)))
        cluster.controller.topic(TOPIC_ID, [list(nodes or (1,))], overrides={"min.insync.replicas": str(min_insync)})
        return cls(cluster, await cluster.led())

    def producing(self) -> tuple[ClientStream, asyncio.Task[None]]:
        stream = ClientStream()
        return stream, asyncio.ensure_future(self.broker_service.produce(stream, CONTEXT))

    async def fetch(self, **request: Any) -> broker_pb2.FetchResponse:
        stream = ClientStream()
        task = asyncio.ensure_future(self.broker_service.fetch(stream, CONTEXT))
        stream.requests.put_nowait(broker_pb2.FetchRequest(**request))
        response: broker_pb2.FetchResponse = await stream.answers.get()
        stream.requests.put_nowait(None)
        await task
        return response


def asked(
    data: bytes, *, correlation: int = 1, acks: int = -1, topic_id: bytes = TOPIC_ID
) -> broker_pb2.ProduceRequest:
    partition = broker_pb2.ProducePartition(topic_id=topic_id, partition=0, batch=data)
    return broker_pb2.ProduceRequest(correlation=correlation, acks=acks, timeout_ms=5000, partitions=[partition])


async def answers(stream: ClientStream, count: int) -> list[broker_pb2.ProducedPartition]:
    found: list[broker_pb2.ProducedPartition] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found.extend((await stream.answers.get()).partitions)
    return found


@in_virtual_time
async def test_batches_are_appended_in_order_and_answers_gather() -> None:
    service = await Service.new()
    stream, _ = service.producing()
    for number in range(10):
        stream.requests.put_nowait(asked(batch(2), correlation=number))
    produced = await answers(stream, 10)
    assert [(one.correlation, one.base_offset, one.failure.code) for one in produced] == [
        (number, 2 * number, 0) for number in range(10)
    ]


@in_virtual_time
async def test_each_failure_is_told_by_its_code_and_the_stream_goes_on() -> None:
    service = await Service.new()
    stream, _ = service.producing()
    damaged = bytearray(batch())
    damaged[-1] ^= 1
    stream.requests.put_nowait(asked(bytes(damaged)))
    stream.requests.put_nowait(asked(batch(), topic_id=b"no such topic.16"))
    stream.requests.put_nowait(asked(batch()))
    produced = await answers(stream, 3)
    assert [one.failure.code for one in produced] == [CorruptMessage.code, UnknownTopicId.code, 0]
    assert [one.base_offset for one in produced] == [-1, -1, 0]


@in_virtual_time
async def test_too_few_replicas_and_the_wrong_leader_are_told() -> None:
    service = await Service.new(1, 2, min_insync=2)
    other = Service(service.cluster, service.cluster.nodes[2])
    stream, _ = other.producing()
    stream.requests.put_nowait(asked(batch()))
    assert (await answers(stream, 1))[0].failure.code == NotLeaderOrFollower.code
    service.cluster.controller.held.add(2)
    service.cluster.controller.fence(2)
    await asyncio.sleep(0.1)
    stream, _ = service.producing()
    stream.requests.put_nowait(asked(batch()))
    assert (await answers(stream, 1))[0].failure.code == NotEnoughReplicas.code


@in_virtual_time
async def test_without_acknowledgements_there_is_no_answer_and_a_failure_ends_the_stream() -> None:
    service = await Service.new()
    stream, task = service.producing()
    stream.requests.put_nowait(asked(batch(), acks=0))
    await asyncio.sleep(0.1)
    assert service.node.log().log_end_offset == 1
    assert stream.answers.empty()
    stream.requests.put_nowait(asked(b"garbage", acks=0))
    with pytest.raises(Exception, match="batch"):
        await task


@in_virtual_time
async def test_a_flood_is_held_back_until_it_is_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(produce_stream, "STREAM_BYTES", 8 * produce_stream.LEAST_BYTES)
    service = await Service.new()
    stream, _ = service.producing()
    service.node.disk.gate.clear()
    for number in range(100):
        stream.requests.put_nowait(asked(batch(), correlation=number))
    await asyncio.sleep(1.0)
    assert service.node.log().log_end_offset == 8
    service.node.disk.gate.set()
    assert len(await answers(stream, 100)) == 100


@in_virtual_time
async def test_a_producer_that_takes_no_answers_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(produce_stream, "STREAM_BYTES", 8 * produce_stream.LEAST_BYTES)
    service = await Service.new()
    stream, _ = service.producing()
    stream.taking.clear()
    for number in range(100):
        stream.requests.put_nowait(asked(batch(), correlation=number))
    await asyncio.sleep(1.0)
    assert service.node.log().log_end_offset == 8
    stream.taking.set()
    assert len(await answers(stream, 100)) == 100


@in_virtual_time
async def test_a_stream_that_breaks_gives_back_what_it_held_of_the_brokers_budget() -> None:
    service = await Service.new()
    budget = service.broker_service._budget
    stream, task = service.producing()
    service.node.disk.gate.clear()
    stream.requests.put_nowait(asked(batch(size=5000)))
    await asyncio.sleep(0.1)
    assert budget._taken > 5000
    stream.requests.put_nowait(NetworkException("gone"))
    with pytest.raises(NetworkException):
        await task
    service.node.disk.gate.set()
    await asyncio.sleep(0.1)
    assert budget._taken == 0
    assert not service.cluster.failures


@in_virtual_time
async def test_a_fetch_tells_those_with_data_or_a_failure_else_all() -> None:
    service = await Service.new()
    stream, _ = service.producing()
    known = broker_pb2.FetchPartition(topic_id=TOPIC_ID, fetch_offset=0, max_bytes=1000, current_leader_epoch=-1)
    empty = await service.fetch(correlation=7, max_wait_ms=200, min_bytes=1, max_bytes=1000, partitions=[known])
    assert (empty.correlation, len(empty.partitions), empty.partitions[0].batches) == (7, 1, b"")
    stream.requests.put_nowait(asked(batch()))
    await answers(stream, 1)
    unknown = broker_pb2.FetchPartition(topic_id=b"no such topic.16", max_bytes=1000, current_leader_epoch=-1)
    told = await service.fetch(max_wait_ms=200, min_bytes=1, max_bytes=1000, partitions=[unknown, known])
    assert [one.failure.code for one in told.partitions] == [UnknownTopicId.code, 0]
    assert told.partitions[1].high_watermark == 1


@in_virtual_time
async def test_offsets_producer_ids_and_metadata_are_told() -> None:
    service = await Service.new()
    stream, _ = service.producing()
    stream.requests.put_nowait(asked(batch(5)))
    await answers(stream, 1)
    wanted = [
        broker_pb2.ListOffsetsPartition(topic_id=TOPIC_ID, timestamp_ms=timestamp, current_leader_epoch=-1)
        for timestamp in (-1, -2, 1_000_000, 2_000_000, -3, -4, -5, -6)
    ]
    listed = await service.broker_service.list_offsets(broker_pb2.ListOffsetsRequest(partitions=wanted), CONTEXT)
    assert [one.offset for one in listed.partitions] == [5, 0, 0, -1, 0, 0, -1, -1]
    assert [one.timestamp_ms for one in listed.partitions][:2] == [-1, -1]
    assert [one.failure.code for one in listed.partitions] == [0] * 7 + [InvalidRequest.code]
    ids = [
        (await service.broker_service.init_producer_id(broker_pb2.InitProducerIdRequest(), CONTEXT)).producer_id
        for _ in range(1001)
    ]
    assert len(set(ids)) == 1001
    metadata = await service.broker_service.metadata(broker_pb2.MetadataRequest(topics=["t", "no"]), CONTEXT)
    assert [topic.failure.code for topic in metadata.topics] == [0, UnknownTopicOrPartition.code]
    assert metadata.topics[0].partitions[0].leader == 1
    assert [(node.node_id, node.port) for node in metadata.nodes] == [(1, 7092)]


@in_virtual_time
async def test_an_operator_sees_the_cluster_its_configuration_and_its_folders() -> None:
    service = await Service.new(1, 2, min_insync=2)
    cluster = await service.admin.describe_cluster(admin_pb2.DescribeClusterRequest(), CONTEXT)
    assert [(node.node_id, node.fenced) for node in cluster.nodes] == [(1, False), (2, False)]
    assert not cluster.unhealthy
    configs = await service.admin.describe_configs(admin_pb2.DescribeConfigsRequest(topics=["t", "no"]), CONTEXT)
    described = {config.name: config for config in configs.topics[0].configs}
    assert set(described) == set(TOPIC_KEYS)
    minimum = described["min.insync.replicas"]
    assert (minimum.value, minimum.is_default, minimum.type) == ("2", False, "int")
    assert configs.topics[1].failure.code == UnknownTopicOrPartition.code
    folders = await service.admin.describe_log_dirs(admin_pb2.DescribeLogDirsRequest(), CONTEXT)
    assert [(one.topic, one.leads) for one in folders.log_dirs[0].replicas] == [("t", True)]


@in_virtual_time
async def test_an_operator_sees_what_lacks_room() -> None:
    service = await Service.new(1)
    folder = service.node.broker.log_dirs.folders[0]
    folder.headroom.is_low = True
    service.node.broker.replicas.unmade[PartitionKey(TopicId(bytes(16)), 3)] = ("new", 3)
    service.node.broker.replicas.why_unmade = "the disk is full"
    asked = admin_pb2.DescribeLogDirsRequest(omit_replicas=True)
    found = await service.admin.describe_log_dirs(asked, CONTEXT)
    assert "storage_min_free_bytes" in found.log_dirs[0].lacks_room
    assert not found.log_dirs[0].replicas
    assert [(one.topic, one.partition, one.reason) for one in found.waiting] == [("new", 3, "the disk is full")]


async def test_a_directory_that_has_vanished_hides_no_other_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    service = await Service.new(1)

    def gone(path: str) -> int:
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr(service.node.disk, "free_bytes", gone)
    [folder] = (await service.admin.describe_log_dirs(admin_pb2.DescribeLogDirsRequest(), CONTEXT)).log_dirs
    assert "does not answer: No such file or directory" in folder.failure.message
    assert [(one.topic, one.leads) for one in folder.replicas] == [("t", True)]
