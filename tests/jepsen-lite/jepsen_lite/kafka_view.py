"""KafkaView: what a cluster says of itself by Kafka's protocol; whoever answers first is believed."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from typing import TypeVar

from dohle.kafka.declaration import Request, Response
from dohle.kafka.framing import decode_response, encode_request
from dohle.kafka.messages.cluster import MetadataRequest, MetadataResponse
from dohle.kafka.messages.quorum import DescribeQuorumRequest, DescribeQuorumResponse
from dohle.kafka.messages.topics import CreateTopicsRequest, CreateTopicsResponse
from dohle.model.errors import BrokerNotAvailable, DohleError
from dohle.testing.chaos.view import ClusterState, ClusterView, PartitionState
from dohle.testing.chaos.workload import Topic

A = TypeVar("A", bound=Response)
_ANSWER_S = 3.0
_CREATE_PATIENCE_S = 60.0
_RETRY_S = 0.3
_EXISTS = 36
_METADATA_TOPIC = "__cluster_metadata"
_BROKEN = (OSError, EOFError, TimeoutError)


class Refused(DohleError):
    """A broker answered with an error."""


class KafkaView(ClusterView):
    """`bootstrap`: host:port, separated by commas. A connection for each question."""

    def __init__(self, bootstrap: str, nodes: int) -> None:
        self._line = [(host, int(port)) for host, _, port in (one.rpartition(":") for one in bootstrap.split(","))]
        self._replicas = min(3, nodes)

    async def __aenter__(self) -> KafkaView:
        return self

    async def __aexit__(self, *failure: object) -> None:
        pass

    async def create_topic(self, name: str, topic: Topic) -> None:
        """Raises Refused if it cannot be made for a minute: brokers register after they listen."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _CREATE_PATIENCE_S
        while True:
            try:
                await self._create_topic(name, topic)
                return
            except DohleError:
                if loop.time() > deadline:
                    raise
            await asyncio.sleep(_RETRY_S)

    async def _create_topic(self, name: str, topic: Topic) -> None:
        kind = CreateTopicsRequest.Topic
        made = kind(
            name=name,
            num_partitions=topic.partitions,
            replication_factor=self._replicas,
            assignments=[],
            configs=[kind.Config(name=key, value=value) for key, value in topic.configs.items()],
        )
        (answer,) = (await self._ask(CreateTopicsRequest(topics=[made]), CreateTopicsResponse)).topics
        if answer.error_code not in (0, _EXISTS):
            raise Refused(f"topic {name} was not created: error {answer.error_code}, {answer.error_message}")

    async def state(self) -> ClusterState | None:
        try:
            found = await self._ask(MetadataRequest(topics=None, allow_auto_topic_creation=False), MetadataResponse)
            controller = await self._controller()
        except DohleError:
            return None
        partitions = {name: state for topic in found.topics for name, state in _partitions(topic)}
        return ClusterState(controller, tuple(sorted(broker.node_id for broker in found.brokers)), partitions)

    async def _controller(self) -> int:
        """Metadata names any broker, where the controller is none of them."""
        kind = DescribeQuorumRequest.Topic
        asked = kind(topic_name=_METADATA_TOPIC, partitions=[kind.Partition(partition_index=0)])
        answer = await self._ask(DescribeQuorumRequest(topics=[asked]), DescribeQuorumResponse)
        if answer.error_code:
            return -1
        return answer.topics[0].partitions[0].leader_id

    async def _ask(self, request: Request, kind: type[A]) -> A:
        """Asks one after the other, first who answered last. Raises BrokerNotAvailable if nobody answers."""
        for address in list(self._line):
            try:
                async with asyncio.timeout(_ANSWER_S):
                    return await _answer(address, request, kind)
            except _BROKEN:
                self._line.remove(address)
                self._line.append(address)
        raise BrokerNotAvailable("no broker answers")


async def _answer(address: tuple[str, int], request: Request, kind: type[A]) -> A:
    version = request.API.versions[-1]
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(b"".join(encode_request(request, version, 1, "jepsen-lite")))
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        return decode_response(kind, version, memoryview(await reader.readexactly(size)))[1]
    finally:
        writer.close()


def _partitions(topic: MetadataResponse.Topic) -> Iterator[tuple[str, PartitionState]]:
    for one in topic.partitions:
        state = PartitionState(one.leader_id, one.leader_epoch, tuple(one.isr_nodes), tuple(one.replica_nodes))
        yield f"{topic.name}-{one.partition_index}", state
