"""Compaction across brokers: replicas that compact by themselves have the same last record of each key."""

from __future__ import annotations

import asyncio

import pytest

from dohle.broker.leading import ACKS_ALL
from dohle.model.batch import split_batches
from dohle.model.errors import InvalidRecord
from dohle.model.records import Record, decode_records, encode_batch
from tests.broker.brokers import KEY, Cluster, Node
from tests.broker.logs import TOPIC_ID
from tests.broker.virtual_time import in_virtual_time

COMPACTED = {
    "cleanup.policy": "compact",
    "index.interval.bytes": "0",
    "segment.index.bytes": "16",
    "delete.retention.ms": "100000",
}
NO_TIME_MS = 1_000_000


async def write(node: Node, key: str, value: str | None) -> None:
    records = [Record(key.encode(), None if value is None else value.encode(), (), NO_TIME_MS)]
    future = await node.broker.produce(KEY, encode_batch(records), ACKS_ALL, 60.0)
    assert future is not None
    await future


async def compacted(**overrides: str) -> tuple[Cluster, Node]:
    cluster = await Cluster.started()
    cluster.controller.topic(TOPIC_ID, [[1, 2, 3]], overrides={**COMPACTED, **overrides})
    leader = await cluster.led()
    for number in range(20):
        await write(leader, "abc"[number % 3], str(number))
    await cluster.healed()
    await asyncio.sleep(2)  # the recovery points are written
    return cluster, leader


def running(cluster: Cluster) -> list[Node]:
    return [node for node in cluster.nodes.values() if node.running is not None]


async def check(cluster: Cluster) -> None:
    for node in running(cluster):
        await node.broker.compaction.check()


async def records(node: Node) -> list[Record]:
    log, found = node.log(), list[Record]()
    offset = log.log_start_offset
    while offset < log.log_end_offset:
        batches = await log.read(offset, 1000, up_to=log.log_end_offset)
        for at, header in split_batches(batches):
            found += decode_records(batches, at)
            offset = header.next_offset
    return found


async def last_values(node: Node) -> dict[bytes | None, bytes | None]:
    return {record.key: record.value for record in await records(node)}


@in_virtual_time
async def test_every_replica_keeps_each_keys_last_record_at_its_offset() -> None:
    cluster, leader = await compacted()
    before = await last_values(leader)
    await check(cluster)
    for node in running(cluster):
        assert await last_values(node) == before
        assert len(await records(node)) < 20
        assert node.log().log_end_offset == 20
        assert node.broker.compaction.failures == 0
    await write(leader, "a", "anew")
    await cluster.healed()
    assert all([(await last_values(node))[b"a"] == b"anew" for node in running(cluster)])
    assert not cluster.failures


@in_virtual_time
async def test_a_follower_that_was_away_catches_up_through_what_is_gone() -> None:
    cluster, leader = await compacted()
    away = next(node for node in cluster.nodes.values() if node is not leader)
    await away.kill()
    for number in range(20, 40):
        await write(await cluster.led(), "abc"[number % 3], str(number))
    await asyncio.sleep(2)
    await check(cluster)
    leader = await cluster.led()
    await away.start()
    await cluster.healed()
    assert away.log().log_end_offset == 40
    assert away.log().epochs.entries == leader.log().epochs.entries
    assert await last_values(away) == await last_values(leader)
    assert not cluster.failures


@in_virtual_time
async def test_a_tombstone_stays_while_a_replica_may_not_know_it() -> None:
    cluster, leader = await compacted(**{"delete.retention.ms": "1000"})
    away = next(node for node in cluster.nodes.values() if node is not leader)
    await away.kill()
    await write(await cluster.led(), "a", None)
    for number in range(10):
        await write(await cluster.led(), "b", str(number))
    await asyncio.sleep(2)
    await check(cluster)
    for _ in range(2):
        await asyncio.sleep(10)
        for number in range(10):
            await write(await cluster.led(), "b", str(number))
        await asyncio.sleep(2)
        await check(cluster)
    assert (await last_values(await cluster.led()))[b"a"] is None, "its horizon has passed, and it is there"
    await away.start()
    await cluster.healed()
    assert (await last_values(away))[b"a"] is None, "else it would have the former value for ever"
    for _ in range(2):
        for number in range(10):
            await write(await cluster.led(), "b", str(number))
        await asyncio.sleep(2)
        await check(cluster)
    assert b"a" not in await last_values(await cluster.led())
    assert not cluster.failures


@in_virtual_time
async def test_records_without_a_key_are_refused() -> None:
    _, leader = await compacted()
    with pytest.raises(InvalidRecord, match="no key"):
        await leader.broker.produce(KEY, encode_batch([Record(None, b"x", (), NO_TIME_MS)]), ACKS_ALL, 60.0)
