"""Scenarios of damage that a read finds: who leads, who is in sync, and what is filled anew (replication.md, 16)."""

from __future__ import annotations

from typing import Any

from dohle import Consumer
from dohle.broker.leading import NOBODY_ELSE
from dohle.model.errors import CorruptMessage, DohleError, RequestTimedOut
from dohle.model.ids import TopicPartition
from dohle.testing.clients.sim_client import seams_of
from dohle.testing.world.entries import Content
from dohle.testing.world.world import DATA
from tests.simulation.mutations.replication_scenarios import APART
from tests.simulation.mutations.stage import Stage, scenario_in
from tests.simulation.mutations.storage_scenarios import stops_cleanly

COUNT = 5


def rots(stage: Stage, node_id: int) -> None:
    """The last byte of the log of a node changes, on the device and in the page cache."""
    machine = stage.world.machines[node_id]
    content = machine.disk._find(f"{DATA}/t-0/{0:020d}.log")
    assert isinstance(content, Content)
    content.spoil(len(content.cached) - 2, 1)
    machine.note_rot(f"{DATA}/t-0")


def reads(stage: Stage, count: int) -> list[bytes | DohleError | None]:
    """Has a consumer read the topic from its beginning; returns at once what its values, or its failure, will be in."""
    process = stage.world.client("reader")
    found: list[bytes | DohleError | None] = []

    async def read() -> None:
        async with Consumer(stage.world.bootstrap, **seams_of(process)) as consumer:
            await consumer.assign(TopicPartition("t", 0))
            consumer.seek(TopicPartition("t", 0), 0)
            try:
                while len(found) < count:
                    found.extend(record.value for record in await consumer.batch())
            except DohleError as failure:
                found.append(failure)

    process.spawn(read(), "read")
    return found


def _is_sound(stage: Stage, node_id: int) -> bool:
    return stage.has_replicas(node_id) and stage.log(node_id).damage is None


def _is_aside(stage: Stage, node_id: int) -> bool:
    names = stage.world.machines[node_id].disk.list(DATA)
    return any(name.startswith("t-0.") and name.endswith("-stray") for name in names)


async def _in_order(stage: Stage, node_id: int, *, anew: bool = False) -> None:
    """Waits until a replica has been repaired in place, or filled `anew`, and is in sync."""
    await stage.until(lambda: _is_sound(stage, node_id), "the damaged replica is sound again")
    await stage.until(lambda: node_id in stage.partition().in_sync_replicas, "it is in sync")
    assert _is_aside(stage, node_id) == anew, "what was damaged is gone" if anew else "it was not repaired in place"
    mine, its = _batches(stage, stage.partition().leader), _batches(stage, node_id)
    both = min(len(mine), len(its))
    assert both, "one of them has nothing"
    assert mine[:both] == its[:both], "it has others than its leader"


def _batches(stage: Stage, node_id: int) -> bytes:
    disk = stage.world.machines[node_id].disk
    names = [name for name in disk.list(f"{DATA}/t-0") if name.endswith(".log")]
    return b"".join(disk.peek(f"{DATA}/t-0/{name}") for name in names)


@scenario_in(APART)
async def a_running_leaders_batch_rots(stage: Stage) -> None:
    await stage.make_topic()
    for _ in range(COUNT):
        await stage.written(1)
    leader, epoch = stage.partition().leader, stage.partition().leader_epoch
    rots(stage, leader)
    found = reads(stage, COUNT)
    await stage.at_once(lambda: stage.partition().leader != leader, "another leads")
    assert stage.partition().leader_epoch == epoch + 1, "it took more than one change"
    assert leader not in stage.partition().in_sync_replicas, "a damaged replica has stayed in sync"
    await stage.until(lambda: len(found) == COUNT, "everything is read")
    assert found == [b"0 x"] * COUNT, "it is not what was written"
    await stage.written(1)
    await _in_order(stage, leader)
    await stage.passes(1)


@scenario_in(APART, log_scrub_interval_ms=10_000)
async def a_batch_rots_that_nobody_reads(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(COUNT)
    leader, follower = stage.partition().leader, stage.followers()[0]
    rots(stage, follower)
    await stage.until(lambda: follower not in stage.partition().in_sync_replicas, "the follower's rot is found")
    await _in_order(stage, follower)
    rots(stage, leader)
    await stage.at_once(lambda: stage.partition().leader != leader, "the leader's rot is found, and another leads")
    await _in_order(stage, leader)
    await stage.passes(1)


@scenario_in(APART, log_scrub_interval_ms=10_000)
async def a_sealed_segment_rots_under_its_page_cache(stage: Stage) -> None:
    await stage.make_topic({"segment.ms": "1000"})
    await stage.written(COUNT)
    await stage.passes(2)
    await stage.written(1)
    follower = stage.follower()
    machine = stage.world.machines[follower]
    content = machine.disk._find(f"{DATA}/t-0/{0:020d}.log")
    assert isinstance(content, Content)
    content.spoil(len(content.cached) - 2, 1, cached=False)
    machine.note_rot(f"{DATA}/t-0")
    await stage.until(lambda: follower not in stage.partition().in_sync_replicas, "what rots on the device is found")
    await _in_order(stage, follower)
    await stage.passes(1)


@scenario_in(APART, log_scrub_interval_ms=10_000)
async def power_goes_once_a_replica_was_repaired(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(COUNT)
    follower = stage.follower()
    rots(stage, follower)
    await stage.until(lambda: stage.log(follower).damage is not None, "the rot is found")
    await stage.at_once(lambda: stage.log(follower).damage is None, "it is repaired")
    stage.world.machines[follower].disk.faults.forgetful = True
    stage.world.lose_power(follower)
    stage.world.start(follower)
    await stage.until(lambda: stage.has_replicas(follower), "it is back")
    assert stage.log(follower).damage is None, f"it is damaged again: {stage.log(follower).damage}"
    await _in_order(stage, follower)
    await stage.passes(1)


async def _alone_and_damaged(stage: Stage) -> tuple[int, int]:
    """Returns a leader that found damage while the other member of the set of two was down, and that other one."""
    await stage.make_topic({"min.insync.replicas": "2"}, replicas=2)
    for _ in range(COUNT):
        await stage.written(1)
    leader, other = stage.partition().leader, stage.followers()[0]
    stage.world.kill(other)
    await stage.until(lambda: not stage.is_active(other), "the other one is fenced")
    rots(stage, leader)
    found = reads(stage, COUNT)
    await stage.until(lambda: len(found) == COUNT, "everything but the last is read")
    assert found[:-1] == [b"0 x"] * (COUNT - 1), "it is not what was written"
    assert isinstance(found[-1], CorruptMessage), f"{found[-1]} was read"
    assert NOBODY_ELSE in found[-1].message, "it was sent, damaged"
    return leader, other


@scenario_in(APART)
async def the_last_live_replica_is_damaged(stage: Stage) -> None:
    leader, other = await _alone_and_damaged(stage)
    await stage.passes(3)
    assert stage.partition().leader == leader, "nobody leads, though most could be read"
    stage.world.start(other)
    await stage.until(lambda: stage.partition().leader == other, "the other one leads")
    await _in_order(stage, leader)
    await stage.passes(1)


@scenario_in(APART)
async def a_damaged_leader_returns_as_a_follower(stage: Stage) -> None:
    leader, other = await _alone_and_damaged(stage)
    await stops_cleanly(stage, leader)  # so that the next start reads no records
    stage.world.start(other)
    await stage.until(lambda: stage.partition().leader == other, "the other one leads")
    client = stage.broker(other).controller
    call = client.call

    async def held_up(method: str, request: Any, **options: Any) -> Any:
        if method == "AlterPartitions":
            raise RequestTimedOut("for the scenario")
        return await call(method, request, **options)

    client.call = held_up  # type: ignore[method-assign]
    stage.world.start(leader)
    await stage.until(lambda: stage.has_replicas(leader), "the damaged one is back")
    for _ in range(100):
        await stage.passes(0.01)
        if leader in stage.partition().in_sync_replicas:
            assert stage.log(leader).damage is not None, "damage is forgotten"
            assert not _is_aside(stage, leader), "what counts is set aside"
    assert leader in stage.partition().in_sync_replicas, "nobody has been asked to take it out"
    client.call = call  # type: ignore[method-assign]
    await _in_order(stage, leader, anew=True)  # for what it lacks was never committed
    await stage.passes(1)


@scenario_in(APART)
async def a_push_is_damaged_on_its_way(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    follower = stage.follower()
    feed = stage.leading().replicas[stage.broker(follower).node_id].subscriber
    assert feed is not None
    push = feed.push  # type: ignore[attr-defined]
    feed.push = (
        lambda message, batches: push(  # type: ignore[attr-defined]
            message, batches[:-2] + bytes([batches[-2] ^ 1]) + batches[-1:] if batches else batches
        )
    )
    await stage.written(1)
    leader = stage.partition().leader
    await stage.until(lambda: stage.log(follower).durable_end == 2, "the follower has what comes next")
    path = f"{DATA}/t-0/{0:020d}.log"
    mine, its = (stage.world.machines[node_id].disk.peek(path) for node_id in (leader, follower))
    assert mine == its, "it has taken a batch that was damaged"
