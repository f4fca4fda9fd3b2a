"""The simulated clients do enough, in every way that a mix can ask for, and their history can be judged."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from dohle import Admin
from dohle.testing.clients.reader import Wish
from dohle.testing.clients.remaker import Remaker
from dohle.testing.clients.sim_client import seams_of
from dohle.testing.clients.workload import Mix, Workload
from dohle.testing.history.checker import judge
from dohle.testing.history.operations import Assign, Outcome, Poll, Send
from dohle.testing.invariants.rare import Rare
from dohle.testing.world.topology import Topology
from dohle.testing.world.world import World

DURATION_S = 30

MIX = Mix(
    partitions=3,
    segment_ms=500,
    writers=3,
    keys_each=6,
    records_per_s=40,
    largest_burst=10,
    linger_ms=(0, 5, 50),
    compressions=("none", "lz4", "zstd"),
    delivery_timeouts_ms=(5_000, 20_000, 120_000),
    readers=tuple(wish.value for wish in Wish),
    housekeeping_every_s=2,
)
DRAINS = ("drain", "move", "empty", "cancel", "unregister")


def test_clients_write_read_in_every_way_and_see_to_topics():
    world = World("workload")
    workload = Workload(world, MIX)

    async def script():
        await world.format()
        for node_id in world.machines:
            world.start(node_id)
        await world.all_ready()
        workload.start()
        await world.clock.sleep(DURATION_S)
        await workload.stop()
        await workload.read_all()

    world.run(script())
    world.end()
    assert world.bugs == []
    history = workload.history
    verdict = judge(history.operations)
    assert verdict.anomalies == ()
    assert history.acknowledged == len(history.sends) >= 20 * DURATION_S
    assert {send.log for send in history.sends} == {"t-0", "t-1", "t-2"}
    writers = Counter(op.process for op in history.operations if isinstance(op.micro[0], Send))
    assert sorted(writers) == ["writer0", "writer1", "writer2"]
    records = Counter[str]()
    starts = set()
    for operation in history.operations:
        assert operation.outcome is Outcome.OK
        for micro in operation.micro:
            if isinstance(micro, Poll):
                records[operation.process] += sum(map(len, micro.records.values()))
            elif isinstance(micro, Assign):
                starts.update(micro.starts.values())
    assert records["reader0"] > history.acknowledged / 2
    assert records["final reader"] == history.acknowledged
    assert min(records.values()) > 100
    assert {None, 0} < starts, "some keep their position, some begin at 0, and some elsewhere"
    assert workload.housekeeper is not None
    assert sorted(workload.housekeeper.done) == ["create", "delete", "describe", "ends"]


def test_every_mix_asks_for_twenty_operations_a_second():
    for seed in range(100):
        mix = Mix.drawn(Random(seed))
        assert mix.records_per_s >= 20
        assert mix.readers
        assert mix == Mix.drawn(Random(seed))


def test_once_it_is_calm_nobody_begins_to_move_anything_and_the_minimum_is_what_it_was():
    world = World("calm", Topology.combined(5))
    workload = Workload(world, replace(MIX, writers=1, operating_every_s=0.5, changes_the_minimum=True))
    done = Counter[str]()

    async def script():
        await world.format()
        for node_id in world.machines:
            world.start(node_id)
        await world.all_ready()
        workload.start()
        await world.until(
            lambda: workload.operator is not None and workload.operator.done["change minimum"] > 2, 60, ""
        )
        world.is_calm = True
        await world.clock.sleep(4)
        done.update(workload.operator.done)
        await world.clock.sleep(4)
        async with Admin(world.bootstrap, **seams_of(world.director)) as admin:
            values = {entry.name: entry.value for entry in await admin.describe_configs("t")}
        assert int(values["min.insync.replicas"]) == world.topology.min_in_sync_replicas
        await workload.stop()

    world.run(script())
    world.end()
    assert world.bugs == []
    assert workload.operator.done == done


def test_brokers_are_drained_forgotten_and_come_back_while_topics_come_and_go():
    world = World("drains", Topology.of(5, 3, apart=False))
    workload = Workload(world, replace(MIX, writers=1, draining_every_s=1.0))

    async def script():
        await world.format()
        for node_id in world.machines:
            world.start(node_id)
        await world.all_ready()
        workload.start()
        await world.until(
            lambda: workload.drainer is not None and min(workload.drainer.done[name] for name in DRAINS) > 0, 300, ""
        )
        world.is_calm = True
        await world.until(world.nobody_is_serviced, 10, "nobody is at a machine any more")
        await workload.stop()

    with Rare() as rare:
        world.run(script())
    world.end()
    assert world.bugs == []
    assert rare.counts["a broker is drained"] == workload.drainer.done["drain"]
    assert rare.counts["a broker is forgotten"] == workload.drainer.done["unregister"]
    assert rare.counts["new replicas are placed beside a draining broker"] > 0


def remade(seconds: float) -> Workload:
    """A topic is made again and again, in a calm world."""
    world = World("remade")
    workload = Workload(world, replace(MIX, writers=1, readers=(), remakes_a_topic=True))

    async def script():
        await world.format()
        for node_id in world.machines:
            world.start(node_id)
        await world.all_ready()
        workload.start()
        await world.clock.sleep(seconds)
        await workload.stop()

    try:
        world.run(script())
    finally:
        world.end()
    assert world.bugs == []
    return workload


def test_a_topic_that_is_made_again_shows_what_was_written_to_it_and_to_none_before():
    remaker = remade(20).remaker
    assert remaker is not None
    assert len(remaker.lives) >= 3
    assert remaker.read >= 20


def test_a_record_of_an_earlier_life_is_noticed(monkeypatch):
    fill = Remaker._fill
    monkeypatch.setattr(Remaker, "_fill", lambda self, life: fill(self, max(0, life - 1)))
    with pytest.raises(
        AssertionError, match=r"again was made again, as number 1 of 1, and shows .* written to number 0"
    ):
        remade(20)
