"""Clients of a cluster that is in trouble: what the SDK owes them."""

from __future__ import annotations

import pytest

from dohle.testing.fixtures.simulated_cluster import SimulatedCluster


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
