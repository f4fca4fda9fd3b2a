"""Seals: what a start after a kill need not read, and segments that are not those that were written."""

from __future__ import annotations

from random import Random

import pytest

from dohle.model.batch import read_header
from dohle.model.errors import DamagedReplica
from dohle.model.records import Record, encode_batch
from dohle.model.topic_config import TopicConfig
from dohle.storage.log import Log
from dohle.storage.log_folder import LogFolder
from dohle.storage.producer_states import Duplicate
from dohle.storage.seal_scrub import SealScrub
from dohle.storage.seals import SEAL_BYTES, decode_seals
from tests.storage.spoilt import FOLDER, Files, everything, said, stopped, verified, world_of
from tests.storage.world import SEGMENT, World, batch

SEALS = "00000000000000000000.seals"
CONFIG = TopicConfig(segment_bytes=1 << 20, index_interval_bytes=4096)
"""So that there is a seal for each 64 KiB."""


async def begun() -> tuple[World, Log]:
    world = World(CONFIG)
    await (await world.start()).put_metadata_offset(9)
    return world, await world.log()


def append(log: Log, count: int, *, epoch: int = 0, salt: int = 0, size: int = 4000) -> None:
    for number in range(count):
        sequence = log.log_end_offset
        one = batch(size=size + salt, timestamp=5000 * number % 7919 + salt, producer=1, sequence=sequence)
        log.append_as_leader(bytearray(one), epoch, 0)


async def grown(world: World, log: Log, seconds: int, *, a_second: int = 20) -> None:
    """Appends 80 KB a second."""
    for _ in range(seconds):
        append(log, a_second)
        await log.flush()
        await world.clock.passed(1)


def counting_reads(world: World) -> dict[str, int]:
    """Returns how many bytes are read of each file from now on."""
    read: dict[str, int] = {}
    disk_open = world.disk.open

    def spy(path: str, *, create: bool = False):  # type: ignore[no-untyped-def]
        file = disk_open(path, create=create)
        read_at = file.read_at

        async def counted(position: int, size: int) -> bytes:
            data = await read_at(position, size)
            read[path] = read.get(path, 0) + len(data)
            return data

        file.read_at = counted  # type: ignore[method-assign]
        return file

    world.disk.open = spy  # type: ignore[method-assign]
    return read


@pytest.mark.parametrize("power", [False, True])
async def test_after_a_kill_only_what_came_since_the_last_seal_is_read(power: bool) -> None:
    world, log = await begun()
    await grown(world, log, 10)
    append(log, 3)
    await log.flush()
    end, times = log.log_end_offset, [await log.times.first_at(time) for time in range(0, 8000, 100)]
    await world.kill(Random(1) if power else None)
    read = counting_reads(world)
    await world.start()
    log = await world.log()
    assert read[world.path(SEGMENT)] < 250_000  # of 812,000: with two headers' worth of look-ups, and for producers
    assert (log.log_end_offset, log.damage) == (end, None)
    assert log.producers.check(read_header(batch(producer=1, sequence=end - 1))) == Duplicate(end - 1, end - 1)
    assert [await log.times.first_at(time) for time in range(0, 8000, 100)] == times
    for offset in range(end):
        assert read_header(await log.read(offset, 1, up_to=end)).base_offset == offset


async def test_what_little_came_is_sealed_within_a_minute() -> None:
    world, log = await begun()
    append(log, 1)
    await log.flush()
    for _ in range(60):
        await world.clock.passed(1)
    assert [seal.end_offset for seal in decode_seals(world.bytes_of(SEALS))] == [1]
    for _ in range(120):
        await world.clock.passed(1)
    assert len(world.bytes_of(SEALS)) == SEAL_BYTES  # and nothing is written where nothing came


async def test_a_seal_of_what_a_crash_has_taken_is_not_believed_once_something_else_is_there() -> None:
    world, log = await begun()
    await grown(world, log, 2)
    sealed = len(world.bytes_of(SEGMENT))
    append(log, 10)
    log.note_progress(is_late=True)
    await world.kill()
    del world.bytes_of(SEGMENT)[sealed:]  # and power was lost, as the seal was there, and the batches were not
    await world.start()
    log = await world.log()
    assert (log.log_end_offset, log.damage) == (40, None)
    log.append_as_leader(bytearray(batch(10, size=30)), 1, 0)  # up to the same offset, and too little for a seal
    await log.flush()
    await world.clock.passed(1)
    await world.kill()
    await world.start()
    log = await world.log()
    assert (log.log_end_offset, log.damage) == (50, None)
    append(log, 10, epoch=2)
    await world.stop()
    reports = await verified({path: bytes(one.cached) for path, one in world.disk.files.items()})
    assert not [fault for report in reports for fault in report.faults]


async def test_a_truncation_takes_the_seals_with_it() -> None:
    world, log = await begun()
    await grown(world, log, 5)
    await log.truncate_to(50)
    assert [seal.end_offset for seal in decode_seals(world.bytes_of(SEALS))] == [20, 40]
    append(log, 50, epoch=1, salt=1)
    log = await world.restart()
    assert [seal.end_offset for seal in decode_seals(world.bytes_of(SEALS))] == [20, 40, 100]
    assert log.recovered.clean


@pytest.mark.parametrize("spoil", ["cut", "flipped", "missing", "index", "timeindex"])
async def test_without_a_sound_seal_or_index_more_is_read_and_nothing_is_lost(spoil: str) -> None:
    world, log = await begun()
    await grown(world, log, 5)
    end = log.log_end_offset
    await world.kill()
    match spoil:
        case "cut":
            del world.bytes_of(SEALS)[-5:]
        case "flipped":
            world.bytes_of(SEALS)[20] ^= 1
        case "missing":
            world.disk.delete(world.path(SEALS))
        case _:
            del world.bytes_of(f"{SEGMENT.removesuffix('.log')}.{spoil}")[-30:]
    await world.start()
    log = await world.log()
    assert (log.log_end_offset, log.damage) == (end, None)
    log = await world.restart()
    assert log.recovered.clean
    await world.stop()
    assert not said(await verified({path: bytes(one.cached) for path, one in world.disk.files.items()}))


# Another partition's


async def two_alike(*, clean: bool, same_start: bool = False) -> tuple[Files, dict[int, bytes]]:
    """Returns the files of two logs with the same offsets, epochs, sizes, times and producers, and the first's batches.

    `same_start`: the first batch of each is the same, too.
    """
    world = World(TopicConfig(segment_bytes=10_000, index_interval_bytes=1000))
    await (await world.start()).put_metadata_offset(9)
    for partition in (0, 1):
        log = await world.log(partition)
        for number in range(40):
            letter = b"A" if same_start and number == 0 else b"BC"[partition : partition + 1]
            record = Record(None, letter * 500, (), number)
            one = encode_batch([record], producer_id=1, producer_epoch=0, base_sequence=number)
            log.append_as_leader(one, number // 15, 0)
        await log.flush()
        log.advance_high_watermark(40)
    await world.clock.passed(1)
    log = await world.log()
    truth = {offset: await log.read(offset, 1, up_to=40) for offset in range(40)}
    await (world.stop() if clean else world.kill())
    return {path: bytes(content.cached) for path, content in world.disk.files.items()}, truth


def bases_of(files: Files) -> list[str]:
    return sorted(path.rpartition("/")[2][:-4] for path in files if path.startswith(FOLDER) and path.endswith(".log"))


def replaced(files: Files, base: str, *, with_indexes: bool) -> Files:
    suffixes = ("log", "index", "timeindex") if with_indexes else ("log",)
    paths = [f"{FOLDER}/{base}.{suffix}" for suffix in suffixes]
    return {**files, **{path: files[path.replace("/t-0/", "/t-1/")] for path in paths if path in files}}


async def serves_nothing_else(folder: LogFolder, truth: dict[int, bytes]) -> int:
    """Reads all that is served; returns how many batches are not."""
    log, missing = folder.logs["t", 0], 0
    for offset in range(40):
        try:
            assert await log.read(offset, 1, up_to=log.log_end_offset) == truth[offset]
        except DamagedReplica:
            missing += 1
    return missing


@pytest.mark.parametrize("with_indexes", [False, True])
@pytest.mark.parametrize("clean", [True, False])
async def test_a_segment_of_another_partition_with_the_same_offsets_is_not_served(
    clean: bool, with_indexes: bool
) -> None:
    files, truth = await two_alike(clean=clean)
    for base in bases_of(files):
        spoilt = replaced(files, base, with_indexes=with_indexes)
        if spoilt == files:
            continue
        words = said(await verified(spoilt))
        assert f"{FOLDER}/{base}.log, byte" in words, base
        assert f"{base}.seals tells of" in words
        world = world_of(spoilt)
        folder = await world.start()
        assert await serves_nothing_else(folder, truth) > 0, base
        damage = folder.logs["t", 0].damage
        assert damage is not None
        assert damage.file == f"{FOLDER}/{base}.log"
        await world.kill()


async def test_lookups_by_time_do_not_believe_another_partitions_segment() -> None:
    files, _ = await two_alike(clean=True)
    world = world_of(replaced(files, bases_of(files)[0], with_indexes=True))
    folder = await world.start()
    with pytest.raises(DamagedReplica):
        await folder.logs["t", 0].times.first_at(3)
    await world.kill()


async def scrubbed(log: Log) -> None:
    scrub, offset = SealScrub(log), 0
    while offset < log.log_end_offset:
        await scrub.begin(offset)
        offset = await scrub.take(offset, await log.read(offset, 3000, up_to=log.log_end_offset))


async def test_a_scrub_finds_a_segment_whose_first_batch_is_right() -> None:
    files, _ = await two_alike(clean=True, same_start=True)
    base = bases_of(files)[0]
    spoilt = replaced(files, base, with_indexes=True)
    assert spoilt != files
    assert f"{FOLDER}/{base}.log, byte" in said(await verified(spoilt))
    world = world_of(spoilt)
    folder = await world.start()
    log = folder.logs["t", 0]
    with pytest.raises(DamagedReplica):
        await scrubbed(log)
    assert log.damage is not None
    assert log.damage.offsets == (0, log.sealed.end_of(log.sealed.all[0]))
    await world.kill()


async def test_a_scrub_of_sound_segments_finds_nothing() -> None:
    files, _ = await two_alike(clean=False)
    world = world_of(files)
    folder = await world.start()
    for log in folder.logs.values():
        await scrubbed(log)
        assert log.damage is None
    await world.kill()


async def test_logs_without_seals_are_taken_as_they_are() -> None:
    for clean in (True, False):
        files = {path: data for path, data in (await stopped(clean=clean)).items() if not path.endswith(".seals")}
        assert said(await verified(files)) == ""
        world = world_of(files)
        folder = await world.start()
        assert not [log for log in folder.logs.values() if log.damage is not None]
        assert len([one async for one in everything(folder)]) == 34
        await world.stop()
