"""A client that says whatever it is told to, in Kafka's protocol: one connection, by the codec's client side."""

from __future__ import annotations

import socket
import struct
from typing import TypeVar

from dohle.kafka.declaration import Request, Response
from dohle.kafka.framing import decode_response, encode_request
from dohle.kafka.messages import api
from dohle.kafka.messages.cluster import MetadataRequest, MetadataResponse
from dohle.kafka.messages.fetch import FetchRequest, FetchResponse
from dohle.kafka.messages.produce import ProduceRequest, ProduceResponse
from dohle.model.errors import NotLeaderOrFollower, UnknownTopicId, UnknownTopicOrPartition
from tests.integration.clusters import Cluster, until

A = TypeVar("A", bound=Response)
PATIENCE_S = 20.0
FIRST_BY_ID = 13
"""The version of Produce and Fetch from which on topics are named by their ids."""


class RawKafka:
    """A connection to one broker."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection((host, port), PATIENCE_S)
        self._file = self._socket.makefile("rb")
        self._sent = 0

    def __enter__(self) -> RawKafka:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, request: Request, version: int) -> int:
        """Returns the correlation id."""
        self._sent += 1
        self._socket.sendall(b"".join(encode_request(request, version, self._sent, "raw")))
        return self._sent

    def send_bytes(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self, kind: type[A], version: int) -> A:
        (size,) = struct.unpack(">i", self._exactly(4))
        _, response = decode_response(kind, version, memoryview(self._exactly(size)))
        return response

    def ask(self, request: Request, version: int, kind: type[A]) -> A:
        self.send(request, version)
        return self.receive(kind, version)

    def ask_newest(self, request: Request, kind: type[A]) -> A:
        return self.ask(request, request.API.versions[-1], kind)

    def is_closed(self) -> bool:
        try:
            return self._file.read(1) == b""
        except ConnectionError:
            return True

    def _exactly(self, count: int) -> bytes:
        data = self._file.read(count)
        assert len(data) == count, "the broker closed the connection"
        return data

    # what tests ask most

    def topic(self, name: str) -> MetadataResponse.Topic:
        request = MetadataRequest(topics=[MetadataRequest.Topic(name=name)], allow_auto_topic_creation=False)
        return self.ask(request, 13, MetadataResponse).topics[0]

    def produce(
        self, topic: str, batch: bytes | None, *, version: int = 13, acks: int = -1, topic_id: bytes | None = None
    ) -> ProduceResponse.Topic.Partition:
        known = topic_id or self.topic(topic).topic_id
        response = self.ask(produce_request(topic, known, batch, acks=acks), version, ProduceResponse)
        return response.responses[0].partition_responses[0]

    def fetch(self, topic: str, offset: int, *, version: int = 18, **how: object) -> FetchResponse.Topic.Partition:
        return self.fetched(topic, offset, version=version, **how).responses[0].partitions[0]

    def fetched(self, topic: str, offset: int, *, version: int = 18, **how: object) -> FetchResponse:
        request = fetch_request(topic, self.topic(topic).topic_id, offset, **how)
        return self.ask(request, version, FetchResponse)


def leader_of(cluster: Cluster, topic: str) -> RawKafka:
    """Returns a connection to who leads partition 0, once it does: it may hear of that later than others."""
    connection = RawKafka(cluster.kafka_port(cluster.partition(topic).leader))
    not_yet = (UnknownTopicOrPartition.code, NotLeaderOrFollower.code, UnknownTopicId.code)
    until(lambda: connection.fetch(topic, 0, max_wait_ms=0).error_code not in not_yet, f"{topic} is led")
    return connection


def produce_request(topic: str, topic_id: bytes, batch: bytes | None, *, acks: int = -1) -> ProduceRequest:
    records = None if batch is None else memoryview(batch)
    partition = ProduceRequest.Topic.Partition(index=0, records=records)
    data = ProduceRequest.Topic(name=topic, topic_id=topic_id, partition_data=[partition])
    return ProduceRequest(acks=acks, timeout_ms=10_000, topic_data=[data])


def fetch_request(
    topic: str,
    topic_id: bytes,
    offset: int,
    *,
    max_wait_ms: int = 200,
    min_bytes: int = 1,
    max_bytes: int = 1 << 20,
    partition_max_bytes: int = 1 << 20,
    rack_id: str = "",
    session_id: int = 0,
    session_epoch: int = -1,
    isolation_level: int = 0,
    leader_epoch: int = -1,
) -> FetchRequest:
    partition = FetchRequest.Topic.Partition(
        partition=0, fetch_offset=offset, partition_max_bytes=partition_max_bytes, current_leader_epoch=leader_epoch
    )
    return FetchRequest(
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        rack_id=rack_id,
        session_id=session_id,
        session_epoch=session_epoch,
        isolation_level=isolation_level,
        topics=[FetchRequest.Topic(topic=topic, topic_id=topic_id, partitions=[partition])],
    )


def data_of(partition: FetchResponse.Topic.Partition) -> bytes:
    """Returns the batches."""
    return b"".join(bytes(piece) for piece in partition.records or [])


def versions_of(key: int) -> range:
    return api(key)[0].API.versions
