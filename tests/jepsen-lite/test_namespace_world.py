"""Worlds of namespaces and disks, for real."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from dohle import Admin, Producer
from dohle.cluster.local import NodeFailed
from dohle.testing.chaos.world import LinkRule
from jepsen_lite import namespace_world
from jepsen_lite.namespace_world import NamespaceWorld, why_not
from jepsen_lite.packet_faults import Loss
from jepsen_lite.uninterrupted import uninterrupted
from tests.machine.commands import runs
from tests.means import lacks

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("world")
    if reason := why_not(made):
        lacks("root", reason)
    return made


async def test_a_world_is_made_broken_healed_and_taken_away(folder):
    world = NamespaceWorld(folder / "run")
    try:
        await world.begin()
        nodes_are_the_installed_wheel_with_a_network_and_a_disk_of_their_own(world)
        async with Admin(world.bootstrap("dohle")) as admin, Producer(world.bootstrap("dohle")) as producer:
            await admin.create_topic("topic", partitions=1, replication_factor=3)
            await producer.send_and_wait("topic", b"before")
            leader = (await admin.describe_topic("topic")).partitions[0].leader
            follower = next(node for node in world.nodes if node != leader)
            await packets_get_lost(world, leader, follower, producer)
            await a_leader_is_cut_off(world, leader, admin)
            world.pause(follower)
            world.kill(leader)
            assert world.pid(leader) is None
            assert world.pid(follower) is not None
            await world.heal()
            await producer.send_and_wait("topic", b"after")
            await world.stop(follower)
            assert world.pid(follower) is None
            await world.start(follower)
        await a_node_that_does_not_start_says_why(world)
    finally:
        await world.end()
    assert not any(world.data_folder(node).is_mount() for node in world.nodes)
    assert all(world.disks[node].image.exists() for node in world.nodes)
    await world.end()


def nodes_are_the_installed_wheel_with_a_network_and_a_disk_of_their_own(world):
    own = os.stat("/proc/self/ns/net").st_ino
    spaces = {os.stat(f"/proc/{world.pid(node)}/ns/net").st_ino for node in world.nodes}
    assert len(spaces | {own}) == 4
    for node in world.nodes:
        assert world.data_folder(node).is_mount()
        assert Path(f"/proc/{world.pid(node)}/cmdline").read_text().split("\0")[:4] == [*world.program]
    where = runs(world.program[0], "-I", "-c", "import dohle; print(dohle.__file__)").stdout
    assert Path(where.strip()).is_relative_to(world.folder / "installed")
    for address in world.bootstrap("kafka").split(","):
        host, port = address.split(":")
        socket.create_connection((host, int(port)), 10).close()


async def packets_get_lost(world, leader, follower, producer):
    loss = Loss(world, {"links": [[leader, follower], [follower, leader]], "loss": 0.5})
    await loss.begin()
    async with asyncio.timeout(60):
        while world.links.counts().dropped_packets < 3:
            await producer.send_and_wait("topic", b"while packets get lost")
    await loss.heal()
    await loss.heal()
    assert (await loss.effect()).count >= 3


async def a_leader_is_cut_off(world, leader, admin):
    for other in world.nodes:
        if other != leader:
            await world.links.set(leader, other, LinkRule(cut=True))
    async with asyncio.timeout(60):
        while (await admin.describe_topic("topic")).partitions[0].leader in (leader, -1):
            await asyncio.sleep(0.1)


async def a_node_that_does_not_start_says_why(world):
    world.kill(2)
    world.config_file(2).write_text("node_id = no")
    with pytest.raises(NodeFailed, match=r"node 2 ended while starting(?s:.*)2\.toml"):
        await world.start(2)
    assert world.pid(2) is None


@pytest.mark.parametrize("steps", [1, 3, 4])
async def test_a_begin_that_is_cancelled_leaves_nothing_behind(folder, steps, monkeypatch):
    """After so many of its steps."""
    world = NamespaceWorld(folder / f"cancelled-{steps}")
    began = asyncio.ensure_future(world.begin())
    done = 0

    async def counted(work, *args):
        nonlocal done
        done += 1
        if done == steps:
            began.cancel()
        return await uninterrupted(work, *args)

    monkeypatch.setattr(namespace_world, "uninterrupted", counted)
    with pytest.raises(asyncio.CancelledError):
        await began
    await world.end()
    assert not any(world.data_folder(node).is_mount() for node in world.nodes)
    assert str(world.folder) not in runs("losetup", "--list").stdout
