"""Logs that are compacted: what they read as, what they may not lose, and what any crash in between leaves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from dohle.model.batch import split_batches
from dohle.model.errors import DamagedReplica
from dohle.model.records import Record, decode_records, encode_batch
from dohle.model.topic_config import TopicConfig
from dohle.storage.compaction.cleaning import Cleaning, Terms
from dohle.storage.compaction.compactor import Compactor
from dohle.storage.log import Log
from dohle.storage.room import DiskFull
from dohle.storage.verify.directory import verify_directory
from dohle.testing.world.disk import SimDisk
from tests.storage.world import PATH, World, rest

CONFIG = TopicConfig(
    cleanup_policy=("compact",), segment_bytes=400, index_interval_bytes=100, file_delete_delay_ms=60_000
)
KEYS = [b"a", b"b", b"c", b"d"]


class Inline:
    """The work is done here."""

    def __init__(self, value: object) -> None:
        self._value = value

    async def run(self, work: Callable[..., Any], *arguments: object) -> Any:
        await asyncio.sleep(0)
        return work(self._value, *arguments)

    async def close(self) -> None:
        pass


class NoPace:
    async def passed(self, size_bytes: int) -> None:
        pass


class StoppingDisk(SimDisk):
    """The machine stops after so many changes of its disk; nothing changes from then on, and no sync ends."""

    def __init__(self) -> None:
        self.left = 1 << 30
        super().__init__(self, Random(7), self)  # type: ignore[arg-type]

    def note(self, _what: str, _content: bytes = b"") -> None:
        self.left -= 1
        if not self.left:
            self.abandoned = True

    async def sleep(self, _seconds: float) -> None:
        if self.abandoned:
            await asyncio.Event().wait()
        await asyncio.sleep(0)


class SimWorld(World):
    """A world on a disk that keeps renames in their order, as journals do."""

    def __init__(self) -> None:
        super().__init__(CONFIG)
        self.disk = StoppingDisk()  # type: ignore[assignment]

    async def stops(self, *, power: bool) -> Log:
        """The process has ended, and the machine lost power, if it did; the next one starts."""
        disk: Any = self.disk
        await self.tasks.close()
        disk.process_died()
        disk.left, disk.abandoned = 1 << 30, False
        if power:
            disk.lose_power()
        await self.start()
        return await self.log()


def append(log: Log, *rows: tuple[bytes, bytes | None], producer: int = -1, sequence: int = -1) -> None:
    records = [Record(key, value, (), 1000 + log.log_end_offset) for key, value in rows]
    batch = encode_batch(records, producer_id=producer, producer_epoch=0, base_sequence=sequence)
    log.append_as_leader(batch, max(log.last_epoch, 0), 0)


async def filled(world: World, batches: int = 40) -> Log:
    """A log of several segments whose keys were written again and again, all of it durable and committed."""
    log = await world.log()
    for number in range(batches):
        if number in (10, 25):
            log.start_epoch(number)
        value = None if number % 13 == 5 else b"%d" % number * 20
        append(log, (KEYS[number % 4], value), (KEYS[number % 3], b"%d" % number * 10))
    await settled(world, log)
    return log


async def settled(world: World, log: Log) -> None:
    await log.flush()
    log.advance_high_watermark(log.log_end_offset)
    await world.folder._checkpoints.write()


async def compact(
    world: World, log: Log, *, now_ms: int = 5000, memory_bytes: int = 1 << 20, tombstones_go: bool = True
) -> Compactor:
    compactor = world.folder.compactor
    runs = -1
    while runs < compactor.runs and (found := await compactor.look_at(log, now_ms)) is not None:
        runs = compactor.runs
        producers = log.producers.last_below(log.high_watermark)
        terms = Terms(now_ms, log.config.delete_retention_ms, memory_bytes, tombstones_go, producers)
        await compactor.compact(found, Inline(Cleaning(terms)), NoPace())
    return compactor


async def content(log: Log) -> list[Record]:
    found: list[Record] = []
    offset = log.log_start_offset
    while offset < log.log_end_offset:
        batches = await log.read(offset, 1000, up_to=log.log_end_offset)
        for at, header in split_batches(batches):
            assert header.base_offset == offset, "no offset is left out"
            found += decode_records(batches, at)
            offset = header.next_offset
    return found


async def last_values(log: Log) -> dict[bytes | None, tuple[int, bytes | None]]:
    return {record.key: (record.offset, record.value) for record in await content(log)}


async def faults(world: World) -> list[str]:
    reports = [report async for report in verify_directory(world.disk, PATH)]  # type: ignore[arg-type]
    return [str(fault) for report in reports for fault in report.faults]


def names(world: World, suffix: str = ".log") -> list[str]:
    return [name for name in world.disk.list(f"{PATH}/t-0") if name.endswith(suffix)]


async def test_a_compacted_log_has_each_keys_last_record_at_its_offset(world: World) -> None:
    world.config = CONFIG
    log = await filled(world)
    before, end, epochs, size = await last_values(log), log.log_end_offset, log.epochs.entries, log.size_bytes
    sealed_end = log.sealed.end_of(log.sealed.all[-1])
    compactor = await compact(world, log)
    assert await last_values(log) == before
    kept = [record for record in await content(log) if record.offset < sealed_end]
    assert len(kept) == len({record.key for record in kept})
    assert log.cleaned_to == sealed_end
    assert compactor.freed_bytes == size - log.size_bytes > 0
    assert (log.log_end_offset, log.epochs.entries) == (end, epochs)
    log = await world.restart()
    assert await last_values(log) == before
    assert (log.cleaned_to, log.log_end_offset, log.epochs.entries) == (sealed_end, end, epochs)
    log = await world.crash(Random(3))
    assert await last_values(log) == before
    assert log.epochs.entries == epochs


async def test_a_full_key_map_takes_several_passes(world: World) -> None:
    world.config = CONFIG
    log = await filled(world)
    before = await last_values(log)
    compactor = await compact(world, log, memory_bytes=2 * 200)
    assert compactor.runs > 1
    assert await last_values(log) == before
    freed_bytes = compactor.freed_bytes
    assert (await compact(world, log)).freed_bytes == freed_bytes, "nothing is left to be done"


async def test_only_what_is_sealed_committed_and_sure_is_compacted(world: World) -> None:
    world.config = CONFIG
    log = await filled(world)
    committed = log.sealed.end_of(log.sealed.all[1])
    log._high_watermark = log.sealed.end_of(log.sealed.all[2]) - 1
    before = await content(log)
    await compact(world, log)
    assert log.cleaned_to == committed
    behind = [record for record in before if record.offset >= log.high_watermark]
    assert [record for record in await content(log) if record.offset >= log.high_watermark] == behind
    assert await last_values(log) == {record.key: (record.offset, record.value) for record in before}


async def test_a_young_segment_stays_as_it_is(world: World) -> None:
    world.config = TopicConfig(
        cleanup_policy=("compact",), segment_bytes=400, index_interval_bytes=100, min_compaction_lag_ms=2000
    )
    log = await filled(world)
    old = [log.sealed.end_of(one) for one in log.sealed.all if (await one.newest_timestamp()) <= 1040]
    assert 0 < len(old) < len(log.sealed.all)
    await compact(world, log, now_ms=3040)
    assert log.cleaned_to == old[-1]
    assert await world.folder.compactor.look_at(log, 3040) is None, "all of it that is old enough was compacted"


async def test_a_tombstone_goes_after_its_horizon_with_the_next_compaction(world: World) -> None:
    world.config = CONFIG
    log = await world.log()
    append(log, (b"a", b"1" * 300))
    append(log, (b"a", None))
    append(log, (b"b", b"2" * 300))
    append(log, (b"b", b"3" * 300))
    await settled(world, log)
    await compact(world, log, now_ms=5000)
    assert (await last_values(log))[b"a"] == (1, None)
    day_ms = log.config.delete_retention_ms
    for now_ms, is_there in ((5000 + day_ms - 1, True), (5000 + day_ms, False)):
        append(log, (b"b", b"3" * 300))
        await settled(world, log)
        await compact(world, log, now_ms=now_ms)
        assert (b"a" in await last_values(log)) is is_there


async def test_a_producer_goes_on_after_its_last_batch_lost_its_records(world: World) -> None:
    world.config = CONFIG
    log = await world.log()
    append(log, (b"a", b"1" * 300), producer=9, sequence=0)
    append(log, (b"a", b"2" * 300), producer=9, sequence=1)
    append(log, (b"a", b"3" * 300))
    append(log, (b"z", b"3" * 300))
    await settled(world, log)
    await compact(world, log)
    for path in [f"{PATH}/t-0/{name}" for name in names(world, ".snapshot")]:
        world.disk.delete(path)
    log = await world.crash()
    append(log, (b"a", b"4"), producer=9, sequence=2)
    header = next(split_batches(encode_batch([Record(b"a", b"")], producer_id=9, producer_epoch=0, base_sequence=7)))
    with pytest.raises(Exception, match="sequence 7 where 3 comes next"):
        log.producers.check(header[1])


async def test_a_replica_that_ends_among_what_is_gone_reads_on_from_there(world: World) -> None:
    world.config = CONFIG
    log = await filled(world)
    before = await last_values(log)
    await compact(world, log)
    for border in range(0, log.log_end_offset, 2):  # each batch had two records
        other = await world.log(1)
        await other.start_over_at(border)
        while other.log_end_offset < log.log_end_offset:
            end = other.log_end_offset
            batches = await log.read(end, 1 << 20, up_to=log.log_end_offset, for_replica=True)
            assert other.append_as_follower(batches, 40).base_offset == end
        assert other.epochs.epoch_at(border) == log.epochs.epoch_at(border)
        mine = {key: place for key, place in before.items() if place[0] >= border}
        assert {key: place for key, place in (await last_values(other)).items() if place[0] >= border} == mine


async def test_a_log_that_starts_over_is_compacted_from_its_beginning(world: World) -> None:
    world.config = CONFIG
    log = await filled(world)
    await compact(world, log)
    await world.folder._checkpoints.write()
    await log.start_over_at(0)
    assert log.cleaned_to == 0
    assert (await world.crash()).cleaned_to == 0


async def test_who_reads_goes_on_in_the_former_segment(world: World) -> None:
    world.config = CONFIG
    log = await filled(world)
    former = log.sealed.all[0]
    offset = 0
    first = await former.file().read_at(0, 60)
    await compact(world, log)
    assert await former.file().read_at(0, 60) == first
    await former.load_indexes()
    assert await log.read(offset, 1, up_to=log.log_end_offset)
    assert names(world, ".deleted")
    await world.clock.passed(61)
    assert not names(world, ".deleted")


async def test_damage_is_noted_and_nothing_is_written_anew(world: World) -> None:
    world.config = CONFIG
    log = await filled(world)
    world.bytes_of(names(world)[1])[70] ^= 1
    before = names(world)
    with pytest.raises(DamagedReplica):
        await compact(world, log)
    assert log.damage is not None
    assert log.has_end, "only what it hits cannot be read"
    assert names(world) == before
    assert not names(world, ".cleaned")


async def test_a_disk_without_room_keeps_the_log_as_it_is(world: World) -> None:
    world.config = CONFIG
    log = await filled(world)
    before = await content(log)
    world.disk.capacity = world.disk.used() + 1000
    with pytest.raises(DiskFull):
        await compact(world, log)
    assert await content(log) == before
    assert not names(world, ".cleaned")
    assert not world.failures


@pytest.mark.parametrize("power", [False, True])
async def test_every_crash_in_between_leaves_every_keys_last_record(power: bool) -> None:
    finished, undone, moment = 0, 0, 0
    while True:
        moment += 1
        world = SimWorld()
        await world.start()
        log = await filled(world, 18)
        before, end, epochs = await last_values(log), log.log_end_offset, log.epochs.entries
        world.disk.left = moment  # type: ignore[attr-defined]
        work = asyncio.ensure_future(compact(world, log))
        while not work.done() and not world.disk.abandoned:  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        is_over = work.done()
        if is_over:
            await work
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
        await rest()
        swaps, cleaned = names(world, ".swap"), names(world, ".cleaned")
        log = await world.stops(power=power)
        finished, undone = finished + bool(swaps), undone + bool(cleaned)
        assert log.damage is None, moment
        assert await last_values(log) == before, moment
        assert (log.log_end_offset, log.epochs.entries) == (end, epochs), moment
        assert not await faults(world), moment
        assert names(world, ".cleaned") + names(world, ".swap") == [], moment
        await compact(world, log)
        assert await last_values(log) == before, moment
        kept = [record for record in await content(log) if record.offset < log.cleaned_to]
        assert len(kept) == len({record.key for record in kept}), moment
        await world.stop()
        if is_over:
            break
    assert finished
    assert undone
