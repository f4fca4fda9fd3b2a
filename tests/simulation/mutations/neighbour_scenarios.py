"""Scenarios of neighbours: what is slow, or far behind, holds up nobody else's acknowledgements.

What is compared are latencies in virtual time, of the same load before and after: nothing here depends on how fast the
machine is that plays it.
"""

from __future__ import annotations

from dohle import Producer
from dohle.client.values import NewTopic
from dohle.testing.clients.sim_client import seams_of
from dohle.testing.world.topology import Topology
from tests.simulation.mutations.stage import Stage, scenario_in

MOST_RATIO = 1.5
EACH_WAY = ((1, 2, 3), (2, 3, 1), (3, 1, 2), (1, 3, 2), (2, 1, 3), (3, 2, 1))
THREE = Topology.combined(3)


class Load:
    """A record every few milliseconds, to one partition after the other, each timed."""

    def __init__(self, stage: Stage, topic: str, partitions: int, pause_s: float) -> None:
        self._taken: list[tuple[int, float]] = []
        process = stage.world.client("steady")

        async def write() -> None:
            async with Producer(stage.world.bootstrap, **seams_of(process)) as producer:
                number = 0
                while True:
                    partition, began = number % partitions, process.clock.now()
                    receipt = await producer.send(topic, b"x" * 100, partition=partition)
                    receipt.add_done_callback(
                        lambda _, partition=partition, began=began: self._taken.append(
                            (partition, process.clock.now() - began)
                        )
                    )
                    number += 1
                    await process.clock.sleep(pause_s)

        process.spawn(write(), "write")

    def forget(self) -> None:
        """What `p99` gives begins here."""
        self._taken.clear()

    def p99(self, *without: int) -> float:
        """Returns that of what was acknowledged since the last word, but for some partitions."""
        taken, self._taken = self._taken, []
        latencies_s = sorted(took_s for partition, took_s in taken if partition not in without)
        assert len(latencies_s) >= 200, f"{len(latencies_s)} records are too few"
        return latencies_s[int(0.99 * (len(latencies_s) - 1))]


async def _one_log_is_slow(stage: Stage, node_id: int) -> None:
    await stage.asks(lambda admin: admin.create_topics([NewTopic("t", assignments=EACH_WAY)]))
    load = Load(stage, "t", 6, 0.005)
    await stage.passes(1)
    load.forget()
    await stage.passes(6)
    before_s = load.p99()
    machine = stage.world.machines[node_id]
    machine.disk.faults.slow_logs[f"{machine.config.data_dir}/t-0"] = 0.3
    await stage.passes(6)
    with_s = load.p99(0)
    assert with_s <= MOST_RATIO * before_s, f"p99 of the others: {before_s * 1000:.1f} ms, then {with_s * 1000:.1f}"


@scenario_in(THREE)
async def a_log_of_the_leader_is_slow(stage: Stage) -> None:
    await _one_log_is_slow(stage, 1)


@scenario_in(THREE)
async def a_log_of_a_follower_is_slow(stage: Stage) -> None:
    await _one_log_is_slow(stage, 2)


@scenario_in(THREE)
async def a_log_is_slow_where_each_is_late_now_and_then(stage: Stage) -> None:
    """Twelve partitions: more than may go by themselves are late before the slow one is, each for a moment."""
    await stage.asks(lambda admin: admin.create_topics([NewTopic("t", assignments=2 * EACH_WAY)]))
    load = Load(stage, "t", 12, 0.002)
    noise = stage.world.client("noise")

    async def be_late_in_turn() -> None:
        number = 0
        while True:
            number = number % 11 + 1
            for machine in stage.world.machines.values():
                machine.disk.faults.slow_logs[f"{machine.config.data_dir}/t-{number}"] = 0.06
            await noise.clock.sleep(0.01)
            for machine in stage.world.machines.values():
                machine.disk.faults.slow_logs.pop(f"{machine.config.data_dir}/t-{number}")
            await noise.clock.sleep(0.25)

    noise.spawn(be_late_in_turn(), "noise")
    await stage.passes(6)
    load.forget()
    await stage.passes(6)
    before_s = load.p99()
    machine = stage.world.machines[2]
    machine.disk.faults.slow_logs[f"{machine.config.data_dir}/t-0"] = 0.3
    await stage.passes(6)
    with_s = load.p99(0)
    assert with_s <= MOST_RATIO * before_s, f"p99 of the others: {before_s * 1000:.1f} ms, then {with_s * 1000:.1f}"


@scenario_in(THREE)
async def a_follower_is_far_behind(stage: Stage) -> None:
    """Every link passes 60 MB a second: a megabyte on its way would be 17 ms in which nothing else gets through."""
    bulk = ((1, 2, 3), (2, 1, 3), (3, 1, 2))
    await stage.asks(
        lambda admin: admin.create_topics([NewTopic("t", assignments=EACH_WAY), NewTopic("bulk", assignments=bulk)])
    )
    for machine in stage.world.machines.values():
        stage.world.links.throttle(machine.name, 60e6)
    load = Load(stage, "t", 6, 0.001)
    await stage.passes(1)
    load.forget()
    await stage.passes(3)
    before_s = load.p99()
    behind = next(node_id for node_id in stage.world.machines if not stage.leads_quorum(node_id))
    stage.world.kill(behind)
    await _fill(stage, [number for number, replicas in enumerate(bulk) if replicas[0] != behind])
    await stage.until(lambda: not _all_in_sync(stage, "bulk"), "it is out")
    stage.world.start(behind)
    await stage.until(lambda: _all_in_sync(stage, "t"), "the others are in sync before what is far behind is")
    load.forget()
    began = stage.world.scheduler.now
    await stage.until(lambda: _all_in_sync(stage, "bulk"), "all is in sync")
    assert stage.world.scheduler.now - began < 5.0
    with_s = load.p99()
    assert with_s <= MOST_RATIO * before_s, f"p99 of the others: {before_s * 1000:.1f} ms, then {with_s * 1000:.1f}"


@scenario_in(THREE)
async def a_follower_is_far_behind_what_is_written_fast(stage: Stage) -> None:
    """Three megabytes a second are written, of eight that a node can send: with long rests it would never catch up."""
    bulk = ((1, 2, 3),)
    await stage.asks(
        lambda admin: admin.create_topics([NewTopic("t", assignments=EACH_WAY), NewTopic("bulk", assignments=bulk)])
    )
    behind = next(node_id for node_id in (2, 3) if not stage.leads_quorum(node_id))
    stage.world.kill(behind)
    await _fill(stage, [0], records=500, batch_bytes=262_144)
    for machine in stage.world.machines.values():
        stage.world.links.throttle(machine.name, 8e6)
    Load(stage, "t", 6, 0.01)
    process = stage.world.client("writer")

    async def write() -> None:
        async with Producer(stage.world.bootstrap, batch_bytes=262_144, linger_ms=200, **seams_of(process)) as producer:
            while True:
                await producer.send("bulk", b"x" * 16_000, partition=0)
                await process.clock.sleep(0.0055)

    process.spawn(write(), "write")
    await stage.until(lambda: not _all_in_sync(stage, "bulk"), "it is out")
    stage.world.start(behind)
    await stage.until(lambda: _all_in_sync(stage, "bulk"), "it has caught up", 30.0)


async def _fill(stage: Stage, partitions: list[int], records: int = 2000, batch_bytes: int = 16_384) -> None:
    process, done = stage.world.client("filler"), list[None]()

    async def fill() -> None:
        async with Producer(stage.world.bootstrap, batch_bytes=batch_bytes, **seams_of(process)) as producer:
            for number in range(records):
                await producer.send("bulk", b"x" * 16_000, partition=partitions[number % len(partitions)])
        done.append(None)

    process.spawn(fill(), "fill")
    await stage.until(lambda: bool(done), "it is written", 60.0)


def _all_in_sync(stage: Stage, name: str) -> bool:
    topic = next(topic for topic in stage.topics() if topic.name == name)
    return all(len(one.in_sync_replicas) == 3 for one in topic.partitions)
