"""Starts of nodes whose logs take long to open."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dohle.cluster import node as starting
from dohle.cluster.node import Node
from dohle.storage.log_dirs import LogDirs
from dohle.testing.fixtures.simulated_cluster import SimulatedCluster

_OPENING_S = 10.0


class SlowLogDirs(LogDirs):
    @classmethod
    async def open(cls, *arguments: Any, **options: Any) -> LogDirs:
        await asyncio.sleep(_OPENING_S)
        return await LogDirs.open(*arguments, **options)


def node_of(world: SimulatedCluster, number: int) -> Node:
    process = world._world.machines[number].process
    assert process is not None
    assert process.node is not None
    return process.node


async def starts_beside_writes(world: SimulatedCluster, slow: int, other: int) -> None:
    topic = await world.topic("orders", replication_factor=3)
    async with world.producer() as producer:
        await producer.send_and_wait(topic, b"before")
        world.kill(slow)
        await producer.send_and_wait(topic, b"meanwhile")
        start = asyncio.ensure_future(world.start(slow))
        await world.advance(_OPENING_S / 2)
        node, metadata = node_of(world, slow), node_of(world, other).metadata
        assert node.broker is None, "its logs are open already"
        assert node.metadata is not None
        assert metadata is not None
        assert node.metadata.image == metadata.image
        await producer.send_and_wait(topic, b"later")
        await start
        await world.wait_healthy()
        steps = node.start_steps()
        assert steps["metadata"] < _OPENING_S / 2 < _OPENING_S <= steps["open"] <= steps["registered"]
        world.kill(other)  # what the first has taken over is enough to lead by
        await producer.send_and_wait(topic, b"after")


async def test_a_node_knows_the_metadata_long_before_its_logs_are_open(
    dohle_world: SimulatedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "LogDirs", SlowLogDirs)
    await starts_beside_writes(dohle_world, 2, 3)


@pytest.mark.dohle_world(nodes=6, controllers=3, apart=True)
async def test_so_does_a_broker_without_a_controller_beside_it(
    dohle_world: SimulatedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "LogDirs", SlowLogDirs)
    await starts_beside_writes(dohle_world, 4, 5)
