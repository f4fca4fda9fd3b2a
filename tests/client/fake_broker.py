"""A cluster in memory: the Broker service's methods on plain lists of batches, with a leader's sequence checks.

Faults are told to it: answers that never come, connections that break before or after the append, leaders that move.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

from dohle.model.batch import read_header
from dohle.model.errors import (
    DohleError,
    NetworkException,
    NotLeaderOrFollower,
    OffsetOutOfRange,
    OutOfOrderSequenceNumber,
    UnknownTopicOrPartition,
)
from dohle.model.records import Record, decode_records, encode_batch
from dohle.rpc.methods import service
from dohle.rpc.v1 import broker_pb2
from dohle.rpc.v1.common_pb2 import Failure
from dohle.runtime.network import Address, RequestContext, Server, Service

BROKER = broker_pb2.DESCRIPTOR.services_by_name["Broker"]
TOPIC = "numbers"


def failure_of(error: DohleError) -> Failure:
    return Failure(code=error.code, message=error.message)


@dataclass
class Partition:
    """One partition's log, shared by all brokers: a new leader has everything that the old one wrote."""

    leader: int = 0
    leader_epoch: int = 0
    log: list[tuple[int, bytes]] = field(default_factory=list)  # base offset and batch as stored
    log_start_offset: int = 0
    log_end_offset: int = 0
    named: dict[str, int] = field(default_factory=dict)  # by rack: the replica that its leader names to readers there
    produced: dict[tuple[int, int], deque[tuple[int, int, int]]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=5))
    )  # (producer id, epoch) -> (base sequence, last sequence, base offset)

    def append(self, batch: bytes) -> int:
        header = read_header(batch)
        if header.is_idempotent:
            known = self.produced[header.producer_id, header.producer_epoch]
            for base_sequence, last_sequence, base_offset in known:
                if (base_sequence, last_sequence) == (header.base_sequence, header.last_sequence):
                    return base_offset
            expected = known[-1][1] + 1 if known else 0
            if header.base_sequence != expected:
                raise OutOfOrderSequenceNumber(f"sequence {header.base_sequence} where {expected} is next")
            known.append((header.base_sequence, header.last_sequence, self.log_end_offset))
        base_offset = self.log_end_offset
        self.log.append((base_offset, base_offset.to_bytes(8, "big") + batch[8:]))
        self.log_end_offset += header.record_count
        return base_offset

    def records(self) -> list[Record]:
        return [record for _, batch in self.log for record in decode_records(batch)]

    def values(self) -> list[bytes | None]:
        return [record.value for record in self.records()]


class Cluster:
    """What the brokers share: topics, and which addresses they have."""

    def __init__(self, brokers: int = 1, partitions: int = 1) -> None:
        self.topics = {TOPIC: [Partition(leader=number % brokers) for number in range(partitions)]}
        self.ids = {TOPIC: b"t" * 16}
        self.brokers = [FakeBroker(self, node) for node in range(brokers)]
        self.addresses: dict[int, Address] = {}
        self.servers: dict[int, Server] = {}
        self.next_producer_id = 1000
        self.metadata_requests = 0
        self.groups: Any = None  # what it has of consumer groups, if anything
        self.coordinators: list[Any] = []

    @property
    def bootstrap(self) -> list[str]:
        return [str(self.addresses[node]) for node in sorted(self.addresses)]

    def partition(self, topic_id: bytes, number: int) -> Partition:
        for name, known in self.ids.items():
            if known == topic_id and 0 <= number < len(self.topics[name]):
                return self.topics[name][number]
        raise UnknownTopicOrPartition

    def elect(self, number: int, leader: int) -> None:
        partition = self.topics[TOPIC][number]
        partition.leader = leader
        partition.leader_epoch += 1

    def fill(self, number: int, values: list[bytes], *, each: int = 10, timestamp_ms: int = 1000) -> None:
        """Appends records in batches of `each`; their timestamps count up from `timestamp_ms`."""
        partition = self.topics[TOPIC][number]
        for start in range(0, len(values), each):
            records = [
                Record(key=None, value=value, timestamp_ms=timestamp_ms + start + index)
                for index, value in enumerate(values[start : start + each])
            ]
            partition.append(encode_batch(records))


class FakeBroker:
    """One broker. `answering` cleared keeps its produce answers back; `faults` are used up one for each batch.

    Partitions in `lagging` are appended to and never answered.
    """

    def __init__(self, cluster: Cluster, node: int) -> None:
        self.cluster = cluster
        self.node = node
        self.answering = asyncio.Event()
        self.answering.set()
        self.faults: deque[DohleError | str] = deque()
        self.lagging: set[int] = set()
        self.produce_requests = 0
        self.produce_streams = 0
        self.fetches: list[broker_pb2.FetchRequest] = []
        self.refusal: DohleError | None = None  # of readers of what another leads
        self.rots = False  # what it reads of what another leads
        self.in_doubt = False
        self.appended = asyncio.Event()

    def service(self) -> Service:
        return service(BROKER, self)

    async def delete_records(
        self, request: broker_pb2.DeleteRecordsRequest, context: RequestContext
    ) -> broker_pb2.DeleteRecordsResponse:
        return broker_pb2.DeleteRecordsResponse()

    async def describe_positions(
        self, request: broker_pb2.DescribePositionsRequest, context: RequestContext
    ) -> broker_pb2.DescribePositionsResponse:
        return broker_pb2.DescribePositionsResponse()

    async def produce(self, stream, context: RequestContext) -> None:
        self.produce_streams += 1
        while (request := await stream.receive()) is not None:
            self.produce_requests += 1
            answers = [self._write(request.correlation, entry) for entry in request.partitions]
            self.appended.set()
            self.appended = asyncio.Event()
            await self.answering.wait()
            if any(answer is None or (answer.failure.code and not request.acks) for answer in answers):
                raise NetworkException("the connection broke")
            answers = [answer for answer in answers if answer.partition not in self.lagging]
            if request.acks and answers:
                await stream.send(broker_pb2.ProduceResponse(partitions=answers))

    def _write(self, correlation: int, entry) -> broker_pb2.ProducedPartition | None:
        answer = broker_pb2.ProducedPartition(
            correlation=correlation, topic_id=entry.topic_id, partition=entry.partition, base_offset=-1
        )
        fault = self.faults.popleft() if self.faults else None
        if fault == "lose request":
            return None
        try:
            if isinstance(fault, DohleError):
                raise fault
            partition = self._led(entry.topic_id, entry.partition)
            answer.base_offset = partition.append(entry.batch)
            answer.log_append_time_ms = -1
        except DohleError as error:
            answer.failure.CopyFrom(failure_of(error))
        return None if fault == "lose answer" else answer

    def _led(self, topic_id: bytes, number: int) -> Partition:
        partition = self.cluster.partition(topic_id, number)
        if partition.leader != self.node:
            raise NotLeaderOrFollower
        return partition

    async def fetch(self, stream, context: RequestContext) -> None:
        while (request := await stream.receive()) is not None:
            self.fetches.append(request)
            await stream.send(await self._fetched(request))

    async def _fetched(self, request: broker_pb2.FetchRequest) -> broker_pb2.FetchResponse:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + request.max_wait_ms / 1000
        while True:
            found = [
                entry
                for entry in map(self._read, request.partitions)
                if entry.batches or entry.failure.code or entry.HasField("preferred_read_replica")
            ]
            if found or loop.time() >= deadline:
                return broker_pb2.FetchResponse(
                    correlation=request.correlation, partitions=found, in_doubt=self.in_doubt
                )
            await asyncio.sleep(0.005)

    def _read(self, entry) -> broker_pb2.FetchedPartition:
        answer = broker_pb2.FetchedPartition(topic_id=entry.topic_id, partition=entry.partition)
        try:
            partition = self._read_here(entry)
            if not partition.log_start_offset <= entry.fetch_offset <= partition.log_end_offset:
                raise OffsetOutOfRange
        except DohleError as error:
            answer.failure.CopyFrom(failure_of(error))
            return answer
        chosen: list[bytes] = []
        size = 0
        for base_offset, batch in partition.log:
            if base_offset + read_header(batch).record_count > entry.fetch_offset:
                if chosen and size + len(batch) > entry.max_bytes:
                    break
                chosen.append(batch)
                size += len(batch)
        if self.rots and chosen and partition.leader != self.node:
            chosen[-1] = chosen[-1][:-1] + bytes([chosen[-1][-1] ^ 1])
        answer.batches = b"".join(chosen)
        answer.high_watermark = partition.log_end_offset
        answer.log_start_offset = partition.log_start_offset
        if partition.leader == self.node and entry.rack in partition.named:
            answer.preferred_read_replica = partition.named[entry.rack]
        return answer

    def _read_here(self, entry) -> Partition:
        partition = self.cluster.partition(entry.topic_id, entry.partition)
        if self.refusal is not None and partition.leader != self.node:
            raise self.refusal
        if entry.rack and partition.named.get(entry.rack) == self.node:
            return partition
        return self._led(entry.topic_id, entry.partition)

    async def list_offsets(self, request, context: RequestContext) -> broker_pb2.ListOffsetsResponse:
        return broker_pb2.ListOffsetsResponse(partitions=[self._listed(entry) for entry in request.partitions])

    def _listed(self, entry) -> broker_pb2.ListedOffset:
        answer = broker_pb2.ListedOffset(topic_id=entry.topic_id, partition=entry.partition, offset=-1)
        try:
            partition = self._led(entry.topic_id, entry.partition)
        except DohleError as error:
            answer.failure.CopyFrom(failure_of(error))
            return answer
        match entry.timestamp_ms:
            case -1:
                answer.offset = partition.log_end_offset
            case -2:
                answer.offset = partition.log_start_offset
            case -3:
                newest = max(partition.records(), key=lambda r: (r.timestamp_ms, -r.offset))
                answer.offset, answer.timestamp_ms = newest.offset, newest.timestamp_ms
            case at:
                answer.offset = next((r.offset for r in partition.records() if r.timestamp_ms >= at), -1)
        return answer

    async def init_producer_id(self, request, context: RequestContext) -> broker_pb2.InitProducerIdResponse:
        self.cluster.next_producer_id += 1
        return broker_pb2.InitProducerIdResponse(producer_id=self.cluster.next_producer_id, producer_epoch=0)

    async def metadata(self, request, context: RequestContext) -> broker_pb2.MetadataResponse:
        self.cluster.metadata_requests += 1
        names = sorted(self.cluster.topics) if request.all_topics else list(request.topics)
        return broker_pb2.MetadataResponse(
            cluster_id="c",
            controller_id=0,
            nodes=[
                broker_pb2.NodeMetadata(node_id=node, host=address.host, port=address.port)
                for node, address in sorted(self.cluster.addresses.items())
            ],
            topics=[self._topic(name) for name in names],
        )

    def _topic(self, name: str) -> broker_pb2.TopicMetadata:
        if name not in self.cluster.topics:
            return broker_pb2.TopicMetadata(name=name, failure=failure_of(UnknownTopicOrPartition()))
        return broker_pb2.TopicMetadata(
            name=name,
            topic_id=self.cluster.ids[name],
            partitions=[
                broker_pb2.PartitionMetadata(
                    partition=number,
                    leader=partition.leader,
                    leader_epoch=partition.leader_epoch,
                    assigned_replicas=[partition.leader],
                    in_sync_replicas=[partition.leader],
                )
                for number, partition in enumerate(self.cluster.topics[name])
            ],
        )
