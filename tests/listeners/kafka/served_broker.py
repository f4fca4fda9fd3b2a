"""A broker whose APIs are asked as a connection asks them: each request and answer goes through the codec."""

from __future__ import annotations

from random import Random
from typing import Any, TypeVar

from dohle.kafka.declaration import Request, Response
from dohle.kafka.framing import decode_request, decode_response, encode_request, encode_response
from dohle.listeners.byte_budget import ByteBudget
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.broker_configs import BrokerConfig
from dohle.listeners.kafka.clients import Clients
from dohle.listeners.kafka.served import ServedSettings, served_apis
from dohle.model.topic_config import ConfigType
from dohle.runtime.network import Address
from tests.broker.brokers import Cluster, Node

A = TypeVar("A", bound=Response)

OWN = (
    BrokerConfig("num.partitions", ConfigType.INT, "4", "1", "Partitions of a new topic."),
    BrokerConfig("node.id", ConfigType.INT, "2", "2", "This node."),
    BrokerConfig("broker.rack", ConfigType.STRING, None, None, "Where it stands."),
)


class ServedBroker:
    """One broker of a cluster in memory."""

    def __init__(self, cluster: Cluster, node: Node) -> None:
        self.cluster = cluster
        self.node = node
        self.apis = served_apis(
            node.broker, ByteBudget(1 << 20), Clients(10, node.broker.now, Random(1)), ServedSettings(configs=OWN)
        )

    @classmethod
    async def started(cls, node_id: int = 2) -> ServedBroker:
        cluster = await Cluster.started()
        return cls(cluster, cluster.nodes[node_id])

    async def ask(self, request: Request, kind: type[A], version: int | None = None) -> A:
        """Returns the answer in that version, or in the newest."""
        version = request.API.versions[-1] if version is None else version
        caller = Caller("test", version, Address("client", 1), Address("here", 9092))
        frame = memoryview(b"".join(encode_request(request, version, 7, "test"))[4:])
        _, received = decode_request(type(request), version, frame)
        answer = self.apis[request.API.key].answer
        assert answer is not None
        response: Any = await answer(received, caller)
        frame = memoryview(b"".join(encode_response(response, version, 7))[4:])
        correlation_id, decoded = decode_response(kind, version, frame)
        assert correlation_id == 7
        return decoded

    @property
    def operated(self) -> list[str]:
        """What was passed on to the active controller so far."""
        return [method for method, _ in self.cluster.controller.operated]
