"""What clients of real processes did and saw is written down, read back and judged by the simulator's own checker."""

from __future__ import annotations

import asyncio

from dohle import Admin, Consumer, Producer
from dohle.cli.demo_history import DemoHistory
from dohle.cli.flights import Flight
from dohle.testing.history.checker import judge
from dohle.testing.history.history_lines import read_lines
from dohle.testing.history.operations import Outcome
from tests.integration.clusters import healthy

COUNT = 3000


async def test_the_history_of_a_run_in_which_a_leader_is_killed_is_sound(trio, tmp_path, say):
    notes = DemoHistory("noted", 3)
    async with Admin(trio.bootstrap) as admin:
        await admin.create_topic("noted", partitions=3, replication_factor=3, configs={"min.insync.replicas": "2"})
    leader = (await asyncio.to_thread(trio.partition, "noted")).leader
    async with Producer(trio.bootstrap, linger_ms=2) as producer:
        for number in range(COUNT):
            if number == COUNT // 2:
                await asyncio.to_thread(trio.kill, leader)
            flight = Flight(b"C%d" % (number % 16), b"%d,%d" % (number, number * 7))
            operation = notes.sends(flight)
            notes.follow(operation, await producer.send("noted", flight.value, key=flight.carrier))
    await asyncio.to_thread(trio.up, leader)
    await healthy(trio.bootstrap)
    async with Consumer(trio.bootstrap) as consumer:
        await consumer.assign("noted")
        left = sum((await consumer.end_offsets()).values())
        notes.reads_all()
        async with asyncio.timeout(60):
            async for batch in consumer.batches():
                notes.polled(batch)
                left -= len(list(batch.records()))
                if not left:
                    break

    file = tmp_path / "history.jsonl"
    file.write_text("".join(f"{line}\n" for line in notes.lines()))
    with file.open() as lines:
        history = read_lines(lines)
    verdict = judge(history.operations)
    assert verdict.anomalies == ()
    assert history.acknowledged == COUNT
    assert verdict.consume_counts == {1: COUNT}
    say(f"{len(history.operations)} operations")

    lied = next(operation for operation in history.operations if operation.outcome is Outcome.OK)
    lied.outcome = Outcome.FAIL
    assert [anomaly.name for anomaly in judge(history.operations).anomalies] == ["aborted read (G1a)"]
