"""Which nodes a client asks for metadata, while some are down."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from dohle.client.metadata_cache import MetadataCache
from dohle.client.seams import Seams
from dohle.model.errors import NetworkException
from dohle.rpc.v1 import broker_pb2
from dohle.runtime.network import Address
from dohle.runtime.tasks import Tasks
from tests.broker.virtual_time import VirtualClock, in_virtual_time

NODES = [Address(name, 1) for name in "abc"]


class Network:
    """Answers for who is not `down`."""

    def __init__(self) -> None:
        self.down = {NODES[0]}
        self.asked: list[Address] = []

    async def call(self, address: Address, *_: Any, **__: Any) -> broker_pb2.MetadataResponse:
        self.asked.append(address)
        await asyncio.sleep(0.001)
        if address in self.down:
            raise NetworkException(f"{address} refused the connection")
        return broker_pb2.MetadataResponse()


def _cache(network: Network) -> MetadataCache:
    failures: list[BaseException] = []
    seams = Seams(network, VirtualClock(), Random(1), owns_network=False)  # type: ignore[arg-type]
    return MetadataCache(NODES, seams, Tasks("client", failures.append))


@in_virtual_time
async def test_a_node_that_is_down_is_dialled_once_a_second_while_others_answer() -> None:
    network = Network()
    cache = _cache(network)
    clock = VirtualClock()
    began = clock.now()
    while clock.now() < began + 10.0:
        assert await cache.any_node(5.0) in NODES[1:]
        await clock.sleep(0.05)
    assert 5 <= network.asked.count(NODES[0]) <= 11
    assert min(network.asked.count(node) for node in NODES[1:]) > 20, "those that answer are asked in turn"


@in_virtual_time
async def test_a_node_that_was_down_is_asked_at_once_when_no_other_answers() -> None:
    network = Network()
    cache = _cache(network)
    clock = VirtualClock()
    assert await cache.any_node(5.0) == NODES[1]
    network.down = set(NODES[1:])
    began = clock.now()
    assert await cache.any_node(5.0) == NODES[0]
    assert clock.now() - began < 0.1
