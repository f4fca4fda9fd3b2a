"""A Side: one of the two brokers, what is sent to it and what came back, and what there is on it.

Requests go out byte by byte as a case says. Behind them goes a probe, a request that each broker answers at once: what
comes before its answer is what the case was answered, and if nothing comes then nothing was meant to. So no time-out
decides anything but that a broker hangs.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from dohle.kafka.declaration import Request, Response
from dohle.kafka.framing import decode_response, encode_request
from dohle.kafka.messages.cluster import ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse
from dohle.kafka.messages.fetch import FetchRequest, FetchResponse
from dohle.kafka.messages.groups import (
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    ListGroupsRequest,
    ListGroupsResponse,
)
from dohle.kafka.messages.produce import (
    InitProducerIdRequest,
    InitProducerIdResponse,
    ProduceRequest,
    ProduceResponse,
)
from dohle.kafka.messages.topics import CreateTopicsRequest, CreateTopicsResponse

PATIENCE_S = 30.0
_SILENCE_S = 4.0
_PROBE_ID = 0x7FFF0001

A = TypeVar("A", bound=Response)


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that are sent as they are. `ends`: nothing more will come, and the client says so.

    `answer`: the API and the version in which an answer, if there is one, is read.
    """

    data: bytes
    ends: bool = False
    answer: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Later:
    """A request for what has become of those before it: asked again until both brokers agree, or for a while.

    Kafka's broker answers a change before it has heard of it itself.
    """

    request: Request
    version: int


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back: frames without their lengths, and what became of the connection: open, closed, or silent."""

    frames: list[bytes]
    state: str


@dataclass(slots=True)
class Side:
    """One broker at `port`. Topics have the same names on both sides, and ids of their own."""

    name: str
    port: int
    prefix: str
    topic_ids: dict[bytes, str] = field(default_factory=dict)
    served: dict[int, tuple[int, int]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _kept: dict[object, str] = field(default_factory=dict)
    _asking: Connection | None = None

    def open(self) -> None:
        """Looks for what is served. Raises AssertionError unless the broker answers soon."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self.ask(ApiVersionsRequest(), 0, ApiVersionsResponse)
            metadata = self.ask(MetadataRequest(topics=[]), 4, MetadataResponse)
            ids = self.ask(
                InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1), 0, InitProducerIdResponse
            )
            found = self.ask(FindCoordinatorRequest(coordinator_keys=[""]), 4, FindCoordinatorResponse)
            groups = self.ask(ListGroupsRequest(), 0, ListGroupsResponse)
            codes = ids.error_code, found.coordinators[0].error_code, groups.error_code
            if metadata.brokers and metadata.controller_id >= 0 and not any(codes):
                break
            assert time.monotonic() < deadline, f"{self.name} has no broker: {metadata}"
            time.sleep(0.05)
        self.served = {one.api_key: (one.min_version, one.max_version) for one in answer.api_keys}

    def close(self) -> None:
        if self._asking is not None:
            self._asking.close()
            self._asking = None

    def hear(self, sent: Sequence[bytes], *, ends: bool) -> Heard:
        """Sends it on a connection of its own, and returns what was answered before the probe."""
        with contextlib.closing(Connection(self.port)) as connection:
            return connection.hear(sent, ends=ends)

    def ask(self, request: Request, version: int, kind: type[A]) -> A:
        """Asks for what a case needs, and nobody compares."""
        if self._asking is None:
            self._asking = Connection(self.port)
        return self._asking.ask(request, version, kind)

    # what there is

    def fresh(self, what: str = "new") -> str:
        """Returns a name that no topic has, the same one on both sides."""
        return f"{self.prefix}-{what}-{next(self._numbers)}"

    def topic(self, what: str = "t", *, partitions: int = 1, batches: Sequence[bytes] = (), **configs: str) -> str:
        """Returns the name of a new topic that is led, with `batches` in its partition 0."""
        name = self.fresh(what)
        asked = CreateTopicsRequest.Topic(
            name=name,
            num_partitions=partitions,
            replication_factor=1,
            assignments=[],
            configs=[
                CreateTopicsRequest.Topic.Config(name=key.replace("_", "."), value=value)
                for key, value in configs.items()
            ],
        )
        created = self.ask(CreateTopicsRequest(topics=[asked], timeout_ms=20_000), 7, CreateTopicsResponse).topics[0]
        assert created.error_code == 0, (self.name, created)
        self.topic_ids[created.topic_id] = name
        self.until(lambda: self._is_led(name, created.topic_id, partitions), f"{name} is led")
        for batch in batches:
            self.append(created.topic_id, batch)
        return name

    def kept(self, *batches: bytes, partitions: int = 1) -> str:
        """The same, of one that is there for all cases that change nothing of it."""
        wanted = batches, partitions
        if wanted not in self._kept:
            self._kept[wanted] = self.topic("kept", partitions=partitions, batches=batches)
        return self._kept[wanted]

    def id_of(self, name: str) -> bytes:
        """Returns the id of a topic that `topic` made."""
        return next(topic_id for topic_id, known in self.topic_ids.items() if known == name)

    def append(self, topic_id: bytes, batch: bytes) -> None:
        partition = ProduceRequest.Topic.Partition(index=0, records=memoryview(batch))
        topic = ProduceRequest.Topic(topic_id=topic_id, partition_data=[partition])
        request = ProduceRequest(acks=-1, timeout_ms=20_000, topic_data=[topic])
        [answer] = self.ask(request, 13, ProduceResponse).responses[0].partition_responses
        assert answer.error_code == 0, (self.name, answer)

    def _is_led(self, name: str, topic_id: bytes, partitions: int) -> bool:
        """Whether the broker not only tells of all partitions but also serves them."""
        asked = MetadataRequest(topics=[MetadataRequest.Topic(name=name)], allow_auto_topic_creation=False)
        [told] = self.ask(asked, 12, MetadataResponse).topics
        if len(told.partitions) != partitions or any(one.error_code for one in told.partitions):
            return False
        wanted = [
            FetchRequest.Topic.Partition(partition=number, fetch_offset=0, partition_max_bytes=1)
            for number in range(partitions)
        ]
        fetch = FetchRequest(
            max_wait_ms=0, min_bytes=0, topics=[FetchRequest.Topic(topic_id=topic_id, partitions=wanted)]
        )
        [read] = self.ask(fetch, 15, FetchResponse).responses
        return not any(one.error_code for one in read.partitions)

    def until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, f"{self.name}: not within {PATIENCE_S} s: {what}"
            time.sleep(0.005)


class Connection:
    """One connection to a broker."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, request: Request, version: int, kind: type[A]) -> A:
        self._socket.sendall(b"".join(encode_request(request, version, 1, "differential")))
        frame = self._frame()
        assert frame is not None, f"a connection was closed over {request}"
        return decode_response(kind, version, memoryview(frame))[1]

    def hear(self, sent: Sequence[bytes], *, ends: bool) -> Heard:
        probe = [] if ends else encode_request(MetadataRequest(topics=[]), 1, _PROBE_ID, "probe")
        with contextlib.suppress(ConnectionError):  # it was closed while this was still sending
            self._socket.sendall(b"".join([*sent, *probe]))
            if ends:
                self._socket.shutdown(socket.SHUT_WR)
        frames: list[bytes] = []
        self._socket.settimeout(_SILENCE_S)
        try:
            while (frame := self._frame()) is not None:
                if frame[:4] == struct.pack(">i", _PROBE_ID):
                    return Heard(frames, "open")
                frames.append(frame)
        except TimeoutError:
            return Heard(frames, "silent")
        return Heard(frames, "closed")

    def _frame(self) -> bytes | None:
        """Returns the next frame; None if the connection was closed."""
        try:
            head = self._file.read(4)
            if len(head) < 4:
                return None
            (size,) = struct.unpack(">i", head)
            frame = self._file.read(size)
        except ConnectionError:
            return None
        return frame if len(frame) == size else None
