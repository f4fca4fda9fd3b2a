"""Clients of a cluster that is in trouble: what the SDK owes them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from dohle.runtime.network import Address, Method
from dohle.testing.fixtures.simulated_cluster import SimulatedCluster


class CountingNetwork:
    """The test's network, which counts the streams to each address, and the calls of each method."""

    def __init__(self, world: SimulatedCluster) -> None:
        self.streams: Counter[Address] = Counter()
        self.calls: Counter[str] = Counter()
        self._network = world.seams("counting", None, None, None).network

    def stream(self, address: Address, method: Method[Any, Any], **options: Any) -> Any:
        self.streams[address] += 1
        return self._network.stream(address, method, **options)

    async def call(self, address: Address, method: Method[Any, Any], request: Any, **options: Any) -> Any:
        self.calls[method.path.rpartition("/")[2]] += 1
        return await self._network.call(address, method, request, **options)


@pytest.mark.dohle_world(seeds=range(4), time_limit_s=200)
async def test_producers_find_the_successor_of_a_leader_that_only_clients_still_reach(
    dohle_world: SimulatedCluster,
) -> None:
    topic = await dohle_world.topic("orders", configs={"min.insync.replicas": "2"})
    async with dohle_world.producer(delivery_timeout_ms=30_000) as producer:
        await producer.send_and_wait(topic, b"before")
        dohle_world.partition(await dohle_world.leader(topic), from_clients=False)
        assert (await producer.send_and_wait(topic, b"after")).offset == 1
        async with dohle_world.producer(delivery_timeout_ms=30_000) as late:  # it needs a producer id as well
            assert (await late.send_and_wait(topic, b"later")).offset == 2


async def test_a_broker_that_died_is_not_dialled_for_each_partition(dohle_world: SimulatedCluster) -> None:
    topic = await dohle_world.topic("orders", partitions=24)
    network = CountingNetwork(dohle_world)
    async with (
        dohle_world.producer(network=network, delivery_timeout_ms=30_000) as producer,
        dohle_world.consumer(network=network) as consumer,
    ):
        await consumer.assign(topic)
        await asyncio.gather(*[producer.send_and_wait(topic, b"before", partition=number) for number in range(24)])
        while await consumer.batch(24, 500):
            pass
        network.streams.clear()
        dohle_world.kill(await dohle_world.leader(topic))
        await asyncio.gather(*[producer.send_and_wait(topic, b"after", partition=number) for number in range(24)])
    assert max(network.streams.values()) < 24, f"eight partitions were led there: {network.streams}"


async def test_a_leader_that_is_slow_to_answer_is_asked_about_less_and_less(dohle_world: SimulatedCluster) -> None:
    topic = await dohle_world.topic("orders")
    network, clock = CountingNetwork(dohle_world), asyncio.get_running_loop().time
    async with dohle_world.producer(network=network) as producer:
        await producer.send_and_wait(topic, b"before")
        network.calls.clear()
        dohle_world.slow_disk(*dohle_world.nodes, factor=20_000)
        began = clock()
        await producer.send_and_wait(topic, b"after")
    assert 0 < network.calls["Metadata"] < 3 * (clock() - began), network.calls
