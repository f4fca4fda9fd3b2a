"""Scenarios of compaction: of each key its last record is there, whatever strikes, on every replica."""

from __future__ import annotations

from dohle import Producer
from dohle.client.producer import Delivery
from dohle.model.batch import split_batches
from dohle.model.records import decode_records
from dohle.storage.log import Log
from dohle.testing.clients.sim_client import seams_of
from dohle.testing.world.disk import Moment
from tests.simulation.mutations.reassignment_scenarios import to
from tests.simulation.mutations.replication_scenarios import comes_back
from tests.simulation.mutations.stage import Stage, scenario
from tests.simulation.mutations.voter_scenarios import comes_back_wiped

_KEYS = 5
_CONFIGS = {
    "cleanup.policy": "compact",
    "min.insync.replicas": "2",
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "4000",
    "file.delete.delay.ms": "500",
}

Values = dict[bytes | None, tuple[int, bytes | None]]
"""By key, the offset and value of its last record."""


async def _writes(stage: Stage, expected: Values, count: int, *, deletes: bytes | None = None) -> None:
    """Writes so many records, each a batch of its own, and notes what is acknowledged."""
    process = stage.world.client(f"keyed-{len(expected)}-{stage.world.scheduler.now}")
    written: list[tuple[bytes, bytes | None, Delivery]] = []

    async def write() -> None:
        async with Producer(stage.world.bootstrap, request_timeout_ms=60_000, **seams_of(process)) as producer:
            for number in range(count):
                key = b"key-%d" % (number % _KEYS)
                value = None if key == deletes else b"%d at %d" % (number, int(stage.world.scheduler.now * 1000))
                written.append((key, value, await producer.send_and_wait("t", value, key=key)))
                await process.clock.sleep(0.03)

    process.spawn(write(), "write")
    await stage.until(lambda: len(written) == count, "everything is acknowledged", 60.0)
    expected.update({key: (delivery.offset, value) for key, value, delivery in written})
    await stage.passes(2.0)  # followers hear of the watermark, and recovery points are written


async def _last_values(log: Log) -> Values:
    found: Values = {}
    offset = log.log_start_offset
    while offset < log.log_end_offset:
        batches = await log.read(offset, 1 << 20, up_to=log.log_end_offset)
        for at, header in split_batches(batches):
            found.update({record.key: (record.offset, record.value) for record in decode_records(batches, at)})
            offset = header.next_offset
    return found


def _compacts(stage: Stage, node_id: int) -> list[bool]:
    """Has a broker compact what is due; the list that it returns has an entry once that is done."""
    process, done = stage.world.machines[node_id].process, list[bool]()
    assert process is not None

    async def compact() -> None:
        await stage.broker(node_id).compaction.check()
        done.append(True)

    process.spawn(compact(), "compact")
    return done


async def _all_compact(stage: Stage) -> None:
    for node_id in stage.world.machines:
        done = _compacts(stage, node_id)
        await stage.until(lambda done=done: bool(done), "it is compacted")  # type: ignore[misc]
        assert stage.broker(node_id).compaction.failures == 0


async def _agree(stage: Stage, expected: Values) -> None:
    """Every replica has each key's last record; a key that was deleted may be gone."""
    await stage.passes(1.0)
    for node_id in stage.world.machines:
        found = await _last_values(stage.log(node_id))
        assert all(place[1] is None or found.get(key) == place for key, place in expected.items()), (
            f"node {node_id} has {found}, and {expected} was acknowledged"
        )
        wrong = {key: found[key] for key in found if found[key] != expected[key]}
        assert not wrong, f"node {node_id} has {wrong}, which was overwritten by {expected}"
    stage.looks_at_disks()
    await stage.compares()


@scenario
async def power_goes_at_each_step_of_a_swap(stage: Stage) -> None:
    await stage.make_topic(_CONFIGS)
    expected: Values = {}
    struck = 0
    for step in range(12):
        await _writes(stage, expected, 20)
        node_id = stage.follower()
        disk, left = stage.world.machines[node_id].disk, step

        def strike(node_id: int = node_id) -> None:
            nonlocal left, struck
            if left:
                left -= 1
                stage.world.machines[node_id].disk.faults.traps.append((Moment.SWAP, strike))
                return
            struck += 1
            stage.world.lose_power(node_id)

        disk.faults.traps.append((Moment.SWAP, strike))
        before = struck
        done = _compacts(stage, node_id)
        await stage.until(lambda: bool(done) or struck > before, "it is compacted, or not", 60.0)  # noqa: B023
        disk.faults.traps.clear()
        if struck > before:
            await stage.passes(0.5)
            stage.world.start(node_id)
            await comes_back(stage, node_id)
        await _agree(stage, expected)
    assert struck > 3, "the moments came"
    await _all_compact(stage)
    await _agree(stage, expected)


@scenario
async def leaders_change_between_compactions(stage: Stage) -> None:
    """Who was away catches up through what is gone; tombstones delete on every replica, and stay deleted."""
    await stage.make_topic(_CONFIGS)
    expected: Values = {}
    await _writes(stage, expected, 30)
    for round_ in range(3):
        away = stage.follower()
        stage.world.kill(away)
        await _writes(stage, expected, 20, deletes=b"key-1" if round_ == 1 else None)
        for node_id in stage.world.machines:
            if node_id != away:
                _compacts(stage, node_id)
        await stage.passes(6.0)
        for _ in range(2):
            await _writes(stage, expected, 1)  # of another key, so that there is something to compact
            await _writes(stage, expected, 1)
            for node_id in stage.world.machines:
                if node_id != away:
                    _compacts(stage, node_id)
            await stage.passes(6.0)
        stage.world.start(away)
        await comes_back(stage, away)
        await _agree(stage, expected)
        leader = stage.partition().leader
        stage.world.lose_power(leader)
        await stage.until(lambda leader=leader: stage.partition().leader not in (leader, -1), "another leads")  # type: ignore[misc]
        stage.world.start(leader)
        await comes_back(stage, leader)
        await _all_compact(stage)
        await _agree(stage, expected)


@scenario
async def a_tombstone_stays_until_its_horizon(stage: Stage) -> None:
    await stage.make_topic({**_CONFIGS, "delete.retention.ms": "60000"})
    expected: Values = {}
    await _writes(stage, expected, 10)
    await _writes(stage, expected, 10, deletes=b"key-4")
    for _ in range(3):
        await _writes(stage, expected, 4)
        expected.update(await _last_values(stage.log(stage.partition().leader)))
        await _all_compact(stage)
    for node_id in stage.world.machines:
        deleted = {key: place for key, place in expected.items() if place[1] is None}
        found = await _last_values(stage.log(node_id))
        assert all(found.get(key) == place for key, place in deleted.items()), f"node {node_id} has {found}"
    assert any(place[1] is None for place in expected.values())


@scenario
async def a_deposed_leader_compacts(stage: Stage) -> None:
    """What it wrote alone goes at its truncation, and what that was to replace must still be there."""
    await stage.make_topic(_CONFIGS)
    expected: Values = {}
    await _writes(stage, expected, 10)
    old = stage.partition().leader
    process = stage.world.client("loser")
    sent: list[bytes] = []

    async def write() -> None:
        async with Producer(stage.world.bootstrap, acks=1, **seams_of(process)) as producer:
            await producer.send_and_wait("t", b"known", key=b"key-0")
            sent.append(b"known")
            while not is_alone:
                await process.clock.sleep(0.05)
            for number in range(30):
                await producer.send("t", b"lost %d" % number, key=b"key-%d" % (number % _KEYS))
                await process.clock.sleep(0.03)
            sent.append(b"lost")

    is_alone: list[bool] = []
    others = stage.others(old)
    process.spawn(write(), "write")
    await stage.until(lambda: len(sent) == 1, "it knows the leader")
    expected.update(await _last_values(stage.log(old)))
    stage.cut(old, *others)
    is_alone.append(True)
    await stage.until(lambda: stage.log(old).log_end_offset > stage.log(old).high_watermark + 10, "it writes alone")
    await stage.passes(1.5)
    _compacts(stage, old)
    await stage.until(lambda: stage.partition().leader not in (old, -1), "another leads")
    stage.mend(old, *others)
    await comes_back(stage, old)
    await _agree(stage, expected)


@scenario
async def a_replica_is_filled_from_a_compacted_one(stage: Stage) -> None:
    """It knows of each producer where it stands, though nothing of what that one wrote is left."""
    await stage.make_topic(_CONFIGS)
    expected: Values = {}
    process = stage.world.client("idempotent")
    delivered: list[Delivery] = []
    goes_on: list[bool] = []

    async def write() -> None:
        async with Producer(stage.world.bootstrap, request_timeout_ms=60_000, **seams_of(process)) as producer:
            delivered.append(await producer.send_and_wait("t", b"0", key=b"key-0", timestamp_ms=1))
            delivered.append(await producer.send_and_wait("t", b"1", key=b"key-0", timestamp_ms=1))
            while not goes_on:
                await process.clock.sleep(0.1)
            delivered.append(await producer.send_and_wait("t", b"2", key=b"key-0"))

    process.spawn(write(), "write")
    await stage.until(lambda: len(delivered) == 2, "it writes")
    await _writes(stage, expected, 20)
    await _all_compact(stage)
    filled = stage.follower()
    await comes_back_wiped(stage, filled)
    await comes_back(stage, filled)
    await stage.asks(to(filled, *stage.others(filled)))
    await stage.asks(lambda admin: admin.elect_leaders({"t": [0]}))
    await stage.until(lambda: stage.partition().leader == filled, "it leads")
    goes_on.append(True)
    await stage.until(lambda: len(delivered) == 3, "the producer goes on", 20.0)
    expected[b"key-0"] = delivered[2].offset, b"2"
    await _agree(stage, expected)
