"""Consumers that read from followers in their rack, and what becomes of them when those or their leader go."""

from __future__ import annotations

import asyncio
import urllib.request

import pytest

from dohle import Admin, Consumer, Producer

RACKS = ("north", "south", "west")


@pytest.fixture
def racked_trio(make_cluster):
    """Three nodes, each in a rack of its own."""
    cluster = make_cluster(racks=RACKS)
    cluster.up()
    cluster.until_healthy()
    return cluster


def bytes_read_from_follower(cluster, node_id):
    """Returns how many bytes this node has given to consumers of what it only follows."""
    port = cluster.local.state.node(node_id).http_port
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    name = "dohle_fetched_follower_bytes_total "
    return next(float(line.removeprefix(name)) for line in lines if line.startswith(name))


async def test_a_follower_in_the_rack_is_read_until_it_dies_and_again_when_it_is_back(racked_trio):
    async with (
        Admin(racked_trio.bootstrap) as admin,
        Producer(racked_trio.bootstrap) as producer,
    ):
        await admin.create_topic("near", partitions=1, configs={"min.insync.replicas": "2"})
        partition = (await admin.describe_topic("near")).partitions[0]
        near = next(node for node in partition.in_sync_replicas if node != partition.leader)
        async with Consumer(racked_trio.bootstrap, rack=RACKS[near - 1], max_wait_ms=100) as consumer:
            await consumer.assign("near")
            assert await _goes_through(producer, consumer, 0) == list(range(100))
            assert await _goes_through(producer, consumer, 100) == list(range(100, 200))
            assert bytes_read_from_follower(racked_trio, near) > 0

            racked_trio.kill(near)
            assert await _goes_through(producer, consumer, 200) == list(range(200, 300))
            racked_trio.up(near)
            await asyncio.to_thread(racked_trio.until_healthy)
            for start in range(300, 3000, 100):
                assert await _goes_through(producer, consumer, start) == list(range(start, start + 100))
                if bytes_read_from_follower(racked_trio, near) > 0:
                    break
                await asyncio.sleep(0.3)
            else:
                pytest.fail("the follower that came back is not read again")

            with racked_trio.paused(near):
                assert await _goes_through(producer, consumer, start + 100) == list(range(start + 100, start + 200))


async def test_a_leader_that_ends_sends_its_readers_to_nobody_any_more(racked_trio):
    async with (
        Admin(racked_trio.bootstrap) as admin,
        Producer(racked_trio.bootstrap) as producer,
    ):
        await admin.create_topic("far", partitions=1, configs={"min.insync.replicas": "2"})
        partition = (await admin.describe_topic("far")).partitions[0]
        near = next(node for node in partition.in_sync_replicas if node != partition.leader)
        async with Consumer(racked_trio.bootstrap, rack=RACKS[near - 1], max_wait_ms=100) as consumer:
            await consumer.assign("far")
            for start in range(0, 500, 100):
                assert await _goes_through(producer, consumer, start) == list(range(start, start + 100))
                if start == 200:
                    racked_trio.kill(partition.leader)


async def _goes_through(producer, consumer, start):
    """Writes a hundred records; returns what of them is read, by number."""
    for receipt in [await producer.send(_topic(consumer), b"%d" % number) for number in range(start, start + 100)]:
        await receipt
    read = []
    async with asyncio.timeout(20):
        while len(read) < 100:
            read += [int(record.value) for record in await consumer.batch(100 - len(read), 5000)]
    return read


def _topic(consumer):
    return consumer.assignment()[0].topic
