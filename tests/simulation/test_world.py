"""What the simulated world does to nodes, seen by clients."""

from __future__ import annotations

import asyncio
import re

import pytest

from dohle import Admin, Consumer, Producer
from dohle.testing.clients.sim_client import seams_of
from dohle.testing.world.process import SimProcess
from dohle.testing.world.scheduler import SimulationStuck
from dohle.testing.world.topology import NodePlan, Topology
from dohle.testing.world.world import World


async def started(world: World) -> None:
    await world.format()
    for node_id in world.machines:
        world.start(node_id)
    await world.all_ready()


async def make_topic(world: World) -> None:
    admin_process = world.client("admin")
    made: list[None] = []

    async def make() -> None:
        async with Admin(world.bootstrap, **seams_of(admin_process)) as admin:
            await admin.create_topic("t", partitions=1, replication_factor=3)
        made.append(None)

    admin_process.spawn(make(), "make")
    await world.until(lambda: bool(made), 5, "the topic is made")


def test_a_cluster_starts_within_a_simulated_second_and_few_events() -> None:
    world = World(1)
    world.run(started(world))
    assert world.scheduler.now < 1.0
    assert world.scheduler.events < 900  # some 50 us each: who tests with a cluster waits 50 ms for it at the most
    world.end()


def test_a_consumer_outlives_a_restart_during_which_one_node_alone_knows_no_topics() -> None:
    world = World(1)
    read: dict[int, bytes | None] = {}  # by offset

    async def consume() -> None:
        async with Consumer(world.bootstrap, **seams_of(reader)) as consumer:
            await consumer.assign("t")
            async for record in consumer:
                read[record.offset] = record.value

    async def produce() -> None:
        async with Producer(world.bootstrap, **seams_of(writer)) as producer:
            for number in range(2):
                await producer.send_and_wait("t", b"%d" % number)
                await writer.clock.sleep(1.0)

    async def script() -> None:
        await started(world)
        await make_topic(world)
        writer.spawn(produce(), "produce")
        reader.spawn(consume(), "consume")
        await world.until(lambda: len(read) == 1, 5, "the first record is read")
        for node_id in world.machines:
            world.lose_power(node_id)
        world.start(1)
        await world.clock.sleep(30)
        world.start(2)
        world.start(3)
        await world.until(lambda: len(read) == 2, 30, "the second record is read")

    reader, writer = world.client("reader"), world.client("writer")
    world.run(script())
    assert read == {0: b"0", 1: b"1"}
    assert not world.bugs
    world.end()


def test_a_world_that_waits_for_nothing_is_a_deadlock_that_names_who_waits() -> None:
    world = World(1)

    async def forever() -> None:
        await asyncio.Event().wait()

    dead = world.client("dead")
    dead.spawn(forever(), "gone")
    world.client("alive").spawn(forever(), "waits")

    async def script() -> None:
        await world.clock.sleep(1.0)
        dead.loop.kill()
        await forever()

    with pytest.raises(SimulationStuck, match=r"a deadlock at 1.000: no timer") as stuck:
        world.run(script())
    waiting = str(stuck.value)
    assert re.search(r"director:\n  director/script: .* script > test_world.py:\d+ forever > ", waiting)
    assert re.search(r"alive:\n  alive/waits: .*test_world.py:\d+ forever > ", waiting)
    assert "gone" not in waiting
    world.end()


def test_a_loop_that_never_rests_is_cut_by_the_event_budget() -> None:
    world = World(1, event_budget=1000)

    async def spin() -> None:
        while True:
            await world.clock.sleep(0)

    with pytest.raises(SimulationStuck, match="never rests, at last in director"):
        world.run(spin())
    world.end()


def test_a_killed_process_runs_nothing_more() -> None:
    world = World(1)
    ended: list[str] = []

    async def live() -> None:
        try:
            await client.clock.sleep(5)
        finally:
            ended.append("cleaned up")

    async def script() -> None:
        client.spawn(live(), "live")
        await world.clock.sleep(1)
        client.loop.kill()
        await world.clock.sleep(10)

    client = world.client("client")
    world.run(script())
    assert not ended


def test_a_machine_is_harmed_until_somebody_has_seen_to_it() -> None:
    world = World(1, Topology((NodePlan(1, True, False), NodePlan(2, False, True)), 1, 1))
    machine = world.machines[2]

    async def script() -> None:
        await started(world)
        assert not machine.harmed
        world.kill(2)
        machine.disk.wipe()
        assert machine.harmed
        await world.format_anew(2)
        assert not machine.harmed
        machine.disk.make_folder("data/t-0")
        machine.note_rot("data/t-0")
        assert machine.rots("data/t-0")
        machine.disk.delete("data/t-0")
        assert not machine.rots("data/t-0")
        machine.disk.make_folder("data/t-0")
        assert not machine.rots("data/t-0"), "it is another one"

    world.run(script())
    world.end()


def test_a_drifting_clock_and_its_timers_run_at_their_own_rate() -> None:
    world = World(1)
    woke: list[tuple[float, float]] = []

    async def wait() -> None:
        before = process.clock.now()
        await process.clock.sleep(10.5)
        woke.append((process.clock.now() - before, world.scheduler.now))

    async def script() -> None:
        process.spawn(wait(), "wait")
        await world.until(lambda: bool(woke), 11, "it wakes")

    process = SimProcess("fast", "fast", world.fabric, world.random("fast"), world.bugs.append, clock_rate=1.05)
    world.run(script())
    assert woke[0] == pytest.approx((10.5, 10.0), abs=1e-3)
    assert woke[0][0] >= 10.5, "a timer never finds that it is not due yet"
    world.end()
