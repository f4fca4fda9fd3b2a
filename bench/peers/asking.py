"""A blocking client of few words, for what surrounds a load: topics, where they lead, and where they end.

Every request goes over a connection of its own to a broker; the same code asks both peers.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from dohle.kafka.declaration import Request, Response
from dohle.kafka.framing import decode_response, encode_request
from dohle.kafka.messages.cluster import MetadataRequest, MetadataResponse
from dohle.kafka.messages.fetch import ListOffsetsRequest, ListOffsetsResponse
from dohle.kafka.messages.produce import ProduceRequest, ProduceResponse
from dohle.kafka.messages.topics import (
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
)
from dohle.model.records import Record, encode_batch

A = TypeVar("A", bound=Response)
HOST = "127.0.0.1"
PARTITIONS = 6
REPLICAS = 3
PATIENCE_S = 120.0
_ANSWER_S = 30.0
_LATEST = -1
_EXISTS = 36
_PRODUCE_BY_NAME = 9


class Refused(Exception):
    """A broker answered with an error."""


class NotInTime(Exception):
    """What was waited for did not come."""


@dataclass(frozen=True, slots=True)
class Partition:
    leader: int
    in_sync: int


def ask(port: int, request: Request, kind: type[A], version: int | None = None) -> A:
    """Asks the broker at this port, in the newest version by default. Raises OSError."""
    version = request.API.versions[-1] if version is None else version
    with socket.create_connection((HOST, port), _ANSWER_S) as connection, connection.makefile("rb") as file:
        connection.sendall(b"".join(encode_request(request, version, 1, "peers")))
        (size,) = struct.unpack(">i", _exactly(file.read, 4))
        return decode_response(kind, version, memoryview(_exactly(file.read, size)))[1]


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    data = read(size)
    if len(data) < size:
        raise ConnectionResetError("the broker closed the connection")
    return data


def until(what: str, is_so: Callable[[], bool], patience_s: float = PATIENCE_S, every_s: float = 0.05) -> None:
    """Returns once it is so; what breaks or is refused meanwhile is tried again: leaders move. Raises NotInTime."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, Refused):
            if is_so():
                return
        time.sleep(every_s)
    raise NotInTime(f"{what}: not so after {patience_s:g} s")


def brokers(port: int) -> dict[int, int]:
    """Returns the ports of the brokers that this one knows."""
    answer = ask(port, MetadataRequest(topics=[]), MetadataResponse)
    return {broker.node_id: broker.port for broker in answer.brokers}


def partitions(port: int, topic: str) -> dict[int, Partition]:
    """Returns the topic's partitions as this broker knows them; none before it knows any."""
    wanted = MetadataRequest(topics=[MetadataRequest.Topic(name=topic)], allow_auto_topic_creation=False)
    (found,) = ask(port, wanted, MetadataResponse).topics
    return {one.partition_index: Partition(one.leader_id, len(one.isr_nodes)) for one in found.partitions}


def is_whole(port: int, topic: str, count: int) -> bool:
    """Whether every partition has a leader and all its replicas in sync."""
    found = partitions(port, topic).values()
    return len(found) == count and all(one.leader >= 0 and one.in_sync == REPLICAS for one in found)


def create_topic(port: int, topic: str, configs: Mapping[str, str], count: int = PARTITIONS) -> None:
    """Raises Refused, but not for a topic that is there already: an earlier attempt may have made it."""
    kind = CreateTopicsRequest.Topic
    made = kind(
        name=topic,
        num_partitions=count,
        replication_factor=REPLICAS,
        assignments=[],
        configs=[kind.Config(name=name, value=value) for name, value in configs.items()],
    )
    (answer,) = ask(port, CreateTopicsRequest(topics=[made]), CreateTopicsResponse).topics
    if answer.error_code not in (0, _EXISTS):
        raise Refused(f"topic {topic} was not created: error {answer.error_code}, {answer.error_message}")


def delete_topic(port: int, topic: str) -> None:
    request = DeleteTopicsRequest(topics=[DeleteTopicsRequest.Topic(name=topic, topic_id=bytes(16))], timeout_ms=30_000)
    (answer,) = ask(port, request, DeleteTopicsResponse).responses
    if answer.error_code:
        raise Refused(f"topic {topic} was not deleted: error {answer.error_code}, {answer.error_message}")


def records_in(port: int, topic: str) -> int:
    """Returns the sum of the partitions' end offsets, each asked of its leader. Raises Refused."""
    ports = brokers(port)
    total = 0
    for number, partition in partitions(port, topic).items():
        kind = ListOffsetsRequest.Topic
        asked = kind(name=topic, partitions=[kind.Partition(partition_index=number, timestamp=_LATEST)])
        request = ListOffsetsRequest(replica_id=-1, topics=[asked])
        (answer,) = ask(ports[partition.leader], request, ListOffsetsResponse).topics[0].partitions
        if answer.error_code:
            raise Refused(f"no end offset of {topic}-{number}: error {answer.error_code}")
        total += answer.offset
    return total


def write(port: int, topic: str, number: int, value: bytes) -> bool:
    """Writes a record to the partition with acks=all; returns whether that was done."""
    found = partitions(port, topic).get(number)
    if found is None or found.leader < 0:
        return False
    batch = encode_batch([Record(key=None, value=value, timestamp_ms=int(time.time() * 1000))])
    kind = ProduceRequest.Topic
    data = [kind(name=topic, partition_data=[kind.Partition(index=number, records=memoryview(batch))])]
    request = ProduceRequest(acks=-1, timeout_ms=5000, topic_data=data)
    answer = ask(brokers(port)[found.leader], request, ProduceResponse, _PRODUCE_BY_NAME)
    return answer.responses[0].partition_responses[0].error_code == 0


def first_write(ports: list[int], topic: str) -> None:
    """Makes a topic of one partition and writes a record with acks=all, as soon as that can be done."""

    def created() -> bool:
        create_topic(ports[0], topic, {"min.insync.replicas": "2"}, 1)  # refused before all brokers have registered
        return True

    def written() -> bool:
        return write(ports[0], topic, 0, b"first")

    until("a topic can be made", created, every_s=0.01)
    until("a record can be written", written, every_s=0.01)
