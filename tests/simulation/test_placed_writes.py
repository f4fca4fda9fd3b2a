"""A partition is written with its offsets while leaders die: each record lies where it was, once, and no other one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from dohle.client.placed_writer import PlacedWriter
from dohle.model.batch import read_header
from dohle.model.errors import InvalidRequest, NotEnoughReplicas
from dohle.model.ids import TopicPartition
from dohle.model.placed import holes
from dohle.model.records import Record, encode_batch

START = 1000
STEP = 7  # of which the last two have no records
BATCHES = 80
END = START + BATCHES * STEP


def source_of(batches: list[bytes]) -> Callable[[int], AsyncIterator[bytes]]:
    async def source(offset: int) -> AsyncIterator[bytes]:
        for batch in batches:
            if read_header(batch).next_offset > offset:
                await asyncio.sleep(0.01)
                yield batch

    return source


def written() -> tuple[list[bytes], dict[int, bytes]]:
    batches = [*holes(0, START)]
    records: dict[int, bytes] = {}
    for base in range(START, END, STEP):
        values = {base + at: f"value of {base + at}".encode() for at in range(STEP - 2)}
        records |= values
        batches += [
            encode_batch([Record(None, value) for value in values.values()], base_offset=base),
            *holes(base + STEP - 2, base + STEP),
        ]
    return batches, records


async def read(world: Any, topic: str) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    async with world.consumer() as consumer:
        await consumer.assign(TopicPartition(topic, 0))
        await consumer.seek_to_beginning()
        while not found or max(found) < max(written()[1]):
            record = await anext(consumer)
            assert record.offset not in found
            found[record.offset] = record.value
    return found


@pytest.mark.dohle_world(seeds=range(5))
async def test_leaders_die_meanwhile(dohle_world: Any) -> None:
    topic = await dohle_world.topic("imported", configs={"min.insync.replicas": "2"})
    batches, records = written()
    heard: list[int] = []

    async def breaks() -> None:
        for _ in range(3):
            await asyncio.sleep(0.4)
            leader = await dohle_world.leader(topic)
            dohle_world.kill(leader)
            await asyncio.sleep(2)
            await dohle_world.start(leader)

    breaking = asyncio.ensure_future(breaks())
    async with PlacedWriter(dohle_world.bootstrap, patience_s=60) as writer:
        await writer.write(TopicPartition(topic, 0), source_of(batches), END, heard.append)
        await breaking
        assert heard == sorted(set(heard))
        assert heard[-1] == END
        # a second time nothing is left to do
        await writer.write(TopicPartition(topic, 0), source_of(batches), END, heard.append)
    assert await read(dohle_world, topic) == records
    async with dohle_world.producer() as producer:
        assert (await producer.send_and_wait(topic, b"after")).offset == END


@pytest.mark.dohle_world(seed=1)
async def test_a_partition_with_other_records_is_left_alone(dohle_world: Any) -> None:
    topic = await dohle_world.topic("taken")
    async with dohle_world.producer() as producer:
        await producer.send_and_wait(topic, b"mine")
    async with PlacedWriter(dohle_world.bootstrap, patience_s=60) as writer:
        with pytest.raises(InvalidRequest, match="holds something else"):
            await writer.write(TopicPartition(topic, 0), source_of(written()[0]), END, lambda _: None)


@pytest.mark.dohle_world(seed=1)
async def test_it_gives_up_where_nothing_moves(dohle_world: Any) -> None:
    topic = await dohle_world.topic("stuck", configs={"min.insync.replicas": "3"})
    leader = await dohle_world.leader(topic)
    dohle_world.kill(next(node for node in dohle_world.nodes if node != leader))
    await dohle_world.advance(10)
    async with PlacedWriter(dohle_world.bootstrap, patience_s=20) as writer:
        with pytest.raises(NotEnoughReplicas):
            await writer.write(TopicPartition(topic, 0), source_of(written()[0]), END, lambda _: None)
