"""What retention takes from a log's beginning: by age, by size, below the watermark, and safe at every step."""

import asyncio
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dohle.model.batch import read_header, split_batches
from dohle.model.errors import OffsetOutOfRange
from dohle.model.topic_config import TopicConfig
from dohle.storage.log import Log
from dohle.storage.producer_states import Duplicate
from dohle.storage.verify.directory import verify_directory
from tests.storage.spoilt import said
from tests.storage.test_log import read_all
from tests.storage.world import PATH, World, batch

SEGMENT_BYTES = 1 << 20
BATCH_BYTES = 300_000  # three fill a segment


def retaining(ms: int = -1, size_bytes: int = -1, *, policy: tuple[str, ...] = ("delete",)) -> TopicConfig:
    return TopicConfig(segment_bytes=SEGMENT_BYTES, retention_ms=ms, retention_bytes=size_bytes, cleanup_policy=policy)


async def filled(config: TopicConfig, *, batches: int = 10, timestamp: int = 0) -> tuple[World, Log]:
    """Batches of one record, a second apart; three to a segment."""
    world = World(config)
    await world.start()
    log = await world.log()
    for i in range(batches):
        one = batch(1, size=BATCH_BYTES, timestamp=timestamp + 1000 * i, producer=1, sequence=i)
        log.append_as_leader(one, i // 4, 0)
    await log.flush()
    log.advance_high_watermark(log.log_end_offset)
    return world, log


def names(world: World, suffix: str) -> list[int]:
    found = world.disk.list(f"{PATH}/t-0")
    return [int(name.removesuffix(suffix)) for name in found if name.endswith(suffix)]


async def test_segments_go_once_their_newest_record_is_too_old() -> None:
    world, log = await filled(retaining(ms=5000))
    assert names(world, ".log") == [0, 3, 6, 9]
    assert await log.retained_from(7000) == 0
    assert await log.retained_from(7001) == 3
    assert await log.retained_from(10_001) == 6
    assert await log.retained_from(10_000) == 3
    await world.stop()


async def test_the_active_segment_goes_as_well_and_the_log_goes_on_at_its_end() -> None:
    world, log = await filled(retaining(ms=5000))
    assert await log.retained_from(100_000) == 10
    log.advance_log_start(10)
    await world.folder.retire_segments()
    assert names(world, ".log") == [10]
    assert (log.log_start_offset, log.first_offset, log.log_end_offset) == (10, 10, 10)
    assert log.append_as_leader(batch(1), 3, 0).base_offset == 10
    log = await world.restart()
    assert (log.log_start_offset, log.log_end_offset) == (10, 11)
    assert await read_all(log) == [10]
    await world.stop()


async def test_a_log_without_batches_tells_the_epoch_of_its_last_one() -> None:
    world, log = await filled(retaining())
    log.advance_log_start(10)
    await world.folder.retire_segments()
    assert (log.first_offset, log.last_batch_epoch, log.durable_epoch) == (10, 2, 2)
    log = await world.restart()
    assert (log.first_offset, log.last_batch_epoch) == (10, 2)
    log.start_epoch(5)
    assert (log.last_batch_epoch, log.end_offset_for_epoch(2)) == (2, (2, 10))
    log = await world.crash(Random(1))
    assert (log.first_offset, log.last_batch_epoch) == (10, 2)
    await log.start_over_at(4)
    assert (log.first_offset, log.last_batch_epoch) == (4, -1)
    await world.stop()
    assert all([report.is_sound async for report in verify_directory(world.disk, PATH)])


async def test_segments_go_while_the_log_without_them_is_large_enough() -> None:
    world, log = await filled(retaining(size_bytes=4 * BATCH_BYTES))
    assert await log.retained_from(0) == 6
    log.configure(retaining(size_bytes=8 * BATCH_BYTES))
    assert await log.retained_from(0) == 0
    log.configure(retaining(size_bytes=0))
    assert await log.retained_from(0) == 10
    await world.stop()


async def test_nothing_goes_that_the_watermark_has_not_passed() -> None:
    world, log = await filled(retaining(ms=0))
    log = await world.crash()  # the watermark was not written
    assert log.high_watermark == 0
    assert await log.retained_from(10**9) == 0
    log.advance_high_watermark(8)
    assert await log.retained_from(10**9) == 6
    await world.stop()


@pytest.mark.parametrize("config", [retaining(), retaining(ms=0, size_bytes=0, policy=("compact",))])
async def test_a_log_without_bounds_or_without_deletion_keeps_all(config: TopicConfig) -> None:
    world, log = await filled(config)
    assert await log.retained_from(10**15) == 0
    await world.stop()


async def test_records_without_a_time_have_no_age() -> None:
    world, log = await filled(retaining(ms=0))
    log.append_as_leader(batch(1, timestamp=-1), 3, 0)
    for segment in log._segments.all:
        segment.newest = (-1, 0)
    assert await log.retained_from(10**15) == 0
    await world.stop()


async def test_files_stay_for_readers_until_their_delay_is_over() -> None:
    world, log = await filled(retaining())
    segment = log._segments.floor(3)
    position = await segment.locate(4)
    log.advance_log_start(6)
    await world.folder.retire_segments()
    assert names(world, ".log") == [6, 9]
    assert names(world, ".log.deleted") == [0, 3]
    assert read_header(await segment.file().read_at(position, BATCH_BYTES)).base_offset == 4
    await world.clock.passed(59)
    assert names(world, ".log.deleted") == [0, 3]
    await world.clock.passed(2)
    assert [name for name in world.disk.list(f"{PATH}/t-0") if name.endswith(".deleted")] == []
    await world.stop()


async def test_a_read_of_files_that_are_gone_says_so_and_fails_no_disk() -> None:
    world, log = await filled(retaining())
    reading = asyncio.ensure_future(log.read(0, 10, up_to=10))
    log.advance_log_start(6)
    for segment in log.take_below(6):
        segment.delete()
    with pytest.raises(OffsetOutOfRange):
        await reading
    assert not world.failures
    await world.stop()


async def test_a_lookup_by_time_begins_anew_where_segments_go_meanwhile() -> None:
    world, log = await filled(retaining())
    log = await world.restart()
    looking = asyncio.ensure_future(log.times.first_at(1000))
    await asyncio.sleep(0)
    log.advance_log_start(6)
    for segment in log.take_below(6):
        segment.delete()
    assert await looking == (6, 6000)
    assert not world.failures
    await world.stop()


async def test_only_other_replicas_read_what_lies_below_the_start_in_its_segment() -> None:
    world, log = await filled(retaining())
    log.advance_log_start(7)
    await world.folder.retire_segments()
    assert (log.log_start_offset, log.first_offset) == (7, 6)
    with pytest.raises(OffsetOutOfRange):
        await log.read(6, 10, up_to=10)
    assert read_header(await log.read(6, 10, up_to=10, for_replica=True)).base_offset == 6
    with pytest.raises(OffsetOutOfRange):
        await log.read(5, 10, up_to=10, for_replica=True)
    assert log.end_offset_for_epoch(1) == (1, 8)
    await world.stop()


@pytest.mark.parametrize("power", [True, False])
async def test_a_start_outlives_a_crash_and_nothing_passes_for_missing(power: bool) -> None:
    world, log = await filled(retaining())
    log.advance_log_start(7)
    await world.folder.retire_segments()
    log = await world.crash(Random(1) if power else None)
    assert (log.log_start_offset, log.first_offset, log.log_end_offset) == (7, 6, 10)
    assert log.damage is None
    assert log.producers.check(read_header(batch(1, producer=1, sequence=9))) == Duplicate(9, 9)
    assert [name for name in world.disk.list(f"{PATH}/t-0") if name.endswith(".deleted")] == []
    await world.stop()


@pytest.mark.parametrize("seed", range(8))
async def test_the_segment_that_follows_is_durable_before_the_last_one_goes(seed: int) -> None:
    world, log = await filled(retaining())
    log.advance_log_start(10)
    world.folder._commit.request = lambda _: None  # type: ignore[method-assign]  # no fsync comes by itself
    await world.folder.retire_segments()
    log = await world.crash(Random(seed))
    assert (log.damage, log.log_start_offset, log.log_end_offset) == (None, 10, 10)
    await world.stop()


async def test_a_verification_leaves_out_what_is_about_to_be_deleted() -> None:
    world, log = await filled(retaining())
    log.advance_log_start(7)
    await world.clock.passed(1)
    world.disk.delete(world.path(f"{3:020d}.log"))  # a crash, while the first two were retired
    reports = [report async for report in verify_directory(world.disk, PATH)]
    assert all(report.is_sound for report in reports)
    assert "to be deleted" in said(reports)
    log = await world.crash()
    assert (log.damage, log.log_start_offset, log.first_offset) == (None, 7, 6)
    assert all([report.is_sound async for report in verify_directory(world.disk, PATH)])
    await world.stop()


async def test_only_segments_go_below_a_start_that_is_durable() -> None:
    world, log = await filled(retaining())
    log.advance_log_start(7)
    syncs = world.disk.syncs

    def moves_on() -> None:
        if world.disk.syncs > syncs:  # the checkpoint has been written
            log.advance_log_start(9)

    world.disk.before_sync = moves_on
    await world.folder.retire_segments()
    assert log.log_start_offset == 9
    assert names(world, ".log") == [6, 9]
    await world.stop()


async def test_producers_of_records_that_were_deleted_are_remembered() -> None:
    world, log = await filled(retaining(), batches=9)
    log.advance_log_start(9)
    log = await world.crash()
    assert log.log_start_offset in (0, 9)
    assert log.producers.check(read_header(batch(1, producer=1, sequence=8))) == Duplicate(8, 8)
    log.advance_log_start(9)
    await world.folder.retire_segments()
    log = await world.crash()
    assert (log.first_offset, log.log_end_offset) == (9, 9)
    assert log.producers.check(read_header(batch(1, producer=1, sequence=8))) == Duplicate(8, 8)
    await world.stop()


async def test_a_log_whose_disk_has_no_room_for_the_new_start_keeps_its_segments() -> None:
    world, log = await filled(retaining())
    log.advance_log_start(6)
    world.disk.capacity = world.disk.used()
    with pytest.raises(Exception, match="No space left"):
        await world.folder.retire_segments()
    assert names(world, ".log") == [0, 3, 6, 9]
    assert not world.failures
    world.disk.capacity = 1 << 40
    await world.folder.retire_segments()
    assert names(world, ".log") == [6, 9]
    await world.stop()


steps = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 4)),
    st.tuples(st.just("append"), st.integers(1, 4)),
    st.tuples(st.just("start"), st.integers(0, 100)),
    st.tuples(st.just("retire"), st.just(0)),
    st.tuples(st.just("half retire"), st.integers(1, 30)),
    st.tuples(st.just("tick"), st.just(0)),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("kill"), st.just(0)),
    st.tuples(st.just("power"), st.integers(0, 2**32)),
)


async def run(history: list[tuple[str, int]]) -> None:
    """What is above the start as it was last durable, and durable itself, is always there, and where it was."""
    world = World(TopicConfig(segment_bytes=1 << 20, segment_index_bytes=8, index_interval_bytes=1))
    await world.start()
    log = await world.log()
    written: dict[int, bytes] = {}
    sure_start = 0
    sequence = 0
    for kind, number in history:
        durable, start = log.durable_end, log.log_start_offset
        match kind:
            case "append":
                for _ in range(number):
                    appended = log.append_as_leader(batch(2, producer=1, sequence=sequence), 0, 0)
                    sequence += 2
                    written[appended.base_offset] = bytes(appended.batch)
                await log.flush()
                log.advance_high_watermark(log.log_end_offset)
            case "start":
                log.advance_log_start(start + (log.high_watermark - start) * number // 100)
            case "retire":
                await world.folder.retire_segments()
                sure_start = max(sure_start, log.first_offset)  # else nothing had to be durable
            case "half retire":
                retiring = asyncio.ensure_future(world.folder.retire_segments())
                for _ in range(number):
                    await asyncio.sleep(0)
                retiring.cancel()
                await asyncio.gather(retiring, return_exceptions=True)
                log = await world.crash(Random(number))
            case "tick":
                await world.clock.passed(61)
            case "restart":
                log = await world.restart()
                sure_start = start
            case "kill":
                log = await world.crash()
            case _:
                log = await world.crash(Random(number))
        assert log.damage is None
        assert log.log_end_offset == log.durable_end >= durable
        assert log.first_offset <= log.log_start_offset
        assert sure_start <= log.log_start_offset <= max(log.high_watermark, start)
        found = {
            header.base_offset: bytes(data)
            for base in [log.log_start_offset]
            for header, data in await batches_from(log, base)
        }
        expected = {base: one for base, one in written.items() if base + 2 > log.log_start_offset}
        assert found == expected
        if sequence:
            last = read_header(batch(2, producer=1, sequence=sequence - 2))
            assert log.producers.check(last) == Duplicate(sequence - 2, sequence - 1)
    assert not world.crashes
    assert not world.failures
    await world.stop()


async def batches_from(log: Log, offset: int) -> list[tuple[object, bytes]]:
    found: list[tuple[object, bytes]] = []
    while offset < log.log_end_offset:
        data = await log.read(offset, 3000, up_to=log.log_end_offset)
        for position, header in split_batches(data):
            found.append((header, data[position : position + header.size_bytes]))
            offset = header.next_offset
    return found


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.lists(steps, max_size=30))
def test_a_log_keeps_all_above_its_start_through_every_crash(history: list[tuple[str, int]]) -> None:
    asyncio.run(run(history))


def test_many_crashes_in_a_row_while_segments_go() -> None:
    random = Random(7)
    kinds = ["append"] * 5 + [
        "start",
        "start",
        "retire",
        "half retire",
        "half retire",
        "tick",
        "restart",
        "kill",
        "power",
    ]
    asyncio.run(
        run([(kind := random.choice(kinds), random.randint(1, 4 if kind == "append" else 30)) for _ in range(500)])
    )
