import asyncio
import errno
from random import Random

import pytest

from dohle.model.batch import read_header
from dohle.model.errors import OutOfOrderSequenceNumber, StorageFailure
from dohle.model.topic_config import TopicConfig
from dohle.storage.log import Log
from dohle.storage.producer_states import Duplicate
from dohle.storage.room import DiskFull
from tests.storage.test_log import read_all
from tests.storage.world import World, batch, rest


async def filled(world: World, count: int = 30, *, size: int = 30_000) -> Log:
    """Batches of two records each, over several segments, an epoch every ten batches."""
    world.config = TopicConfig(segment_bytes=1 << 20)
    log = await world.log()
    for i in range(count):
        log.append_as_leader(batch(2, size=size, producer=1, sequence=2 * i), i // 10, 0)
    await log.flush()
    return log


async def test_what_is_above_goes_and_the_rest_stays(world: World) -> None:
    log = await filled(world)
    log.advance_high_watermark(50)
    await log.truncate_to(40)
    assert (log.log_end_offset, log.durable_end, log.high_watermark, log.generation) == (40, 40, 40, 1)
    assert await read_all(log) == list(range(0, 40, 2))
    assert log.epochs.entries == ((0, 0), (1, 20))
    log.append_as_leader(batch(1), 5, 0)
    assert await read_all(log) == list(range(0, 42, 2))


async def test_a_cut_inside_a_batch_goes_down_to_its_border(world: World) -> None:
    log = await filled(world)
    await log.truncate_to(41)
    assert log.log_end_offset == 40


async def test_a_cut_at_or_above_the_end_takes_only_an_epoch_without_data(world: World) -> None:
    log = await filled(world)
    log.start_epoch(7)
    await log.truncate_to(60)
    assert (log.log_end_offset, log.last_epoch, log.generation) == (60, 2, 0)


async def test_truncation_goes_back_over_segments_and_a_restart_finds_the_same(world: World) -> None:
    log = await filled(world, 60)
    await log.truncate_to(10)
    names = [name for name in world.disk.list("data/t-0") if name.endswith(".log")]
    assert names == ["00000000000000000000.log"]
    for i in range(30):
        log.append_as_leader(batch(1, size=1000, timestamp=i), 9, 0)
    expected = await read_all(log)
    log = await world.restart()
    assert log.recovered.clean
    assert await read_all(log) == expected == [*range(0, 10, 2), *range(10, 40)]
    assert log.epochs.entries == ((0, 0), (9, 10))


async def test_truncation_to_nothing_begins_there(world: World) -> None:
    log = await filled(world)
    await log.truncate_to(0)
    assert (log.log_start_offset, log.log_end_offset, log.last_epoch, log.last_batch_epoch) == (0, 0, -1, -1)
    assert log.append_as_leader(batch(), 0, 0).base_offset == 0


async def test_producer_state_goes_back_with_the_log(world: World) -> None:
    log = await filled(world)
    await log.truncate_to(40)
    again = read_header(batch(2, producer=1, sequence=38))
    assert log.producers.check(again) == Duplicate(38, 39)
    assert log.producers.check(read_header(batch(2, producer=1, sequence=40))) is None
    with pytest.raises(OutOfOrderSequenceNumber):
        log.producers.check(read_header(batch(2, producer=1, sequence=42)))


async def test_the_recovery_point_is_lowered_durably_before_a_byte_goes(world: World) -> None:
    log = await filled(world)
    await world.clock.passed(1)
    size = log.size_bytes
    seen: list[tuple[str, int]] = []

    def look() -> None:
        files = world.disk.durable_files
        seen.append(
            (bytes(files["data/recovery-point-offset-checkpoint"].durable).decode().split()[-1], log.size_bytes)
        )

    world.disk.before_sync = look
    await log.truncate_to(20)
    points = [int(point) for point, _ in seen]
    assert points[0] == 60
    assert points[-1] == 20
    assert all(bytes_left == size for point, bytes_left in seen if int(point) == 60)


async def test_a_sync_from_before_a_truncation_moves_nothing(world: World) -> None:
    log = await filled(world)
    log.append_as_leader(batch(2, producer=1, sequence=60), 2, 0)
    release = asyncio.Event()
    began = asyncio.Event()
    pause = world.disk.pause

    async def wait() -> None:
        began.set()
        await release.wait()

    world.disk.pause = wait  # type: ignore[method-assign]
    await began.wait()  # the group commit is inside its sync
    world.disk.pause = pause  # type: ignore[method-assign]
    cut = asyncio.ensure_future(log.truncate_to(10))
    await rest()
    assert not cut.done()
    release.set()
    await cut
    assert (log.durable_end, log.log_end_offset) == (10, 10)


async def test_a_truncation_goes_on_when_its_caller_is_cancelled(world: World) -> None:
    log = await filled(world)
    cut = asyncio.ensure_future(log.truncate_to(10))
    await asyncio.sleep(0)
    cut.cancel()
    assert await log.flush() == 10
    log.append_as_leader(batch(), 3, 0)
    assert await read_all(log) == [0, 2, 4, 6, 8, 10]


async def test_whoever_waits_for_a_flush_of_what_is_cut_is_let_go(world: World) -> None:
    log = await filled(world)
    log.append_as_leader(batch(2, producer=1, sequence=60), 2, 0)
    waiting = asyncio.ensure_future(log.flush())
    await asyncio.sleep(0)
    await log.truncate_to(10)
    assert await waiting in {10, 62}


async def test_an_append_in_the_middle_of_a_truncation_is_a_bug(world: World) -> None:
    log = await filled(world)
    cut = asyncio.ensure_future(log.truncate_to(10))
    await asyncio.sleep(0)
    with pytest.raises(AssertionError):
        log.append_as_leader(batch(), 3, 0)
    await cut


async def test_a_reader_on_the_way_sees_no_mixture(world: World) -> None:
    log = await filled(world)
    reads = [asyncio.ensure_future(log.read(offset, 1 << 20, up_to=60)) for offset in range(0, 60, 2)]
    await asyncio.sleep(0)
    await log.truncate_to(20)
    for i in range(20):
        log.append_as_leader(batch(2, size=500, timestamp=i), 8, 0)
    for offset, one in zip(range(0, 60, 2), reads, strict=True):
        data = await one
        assert read_header(data).base_offset == offset
        assert read_header(data).partition_leader_epoch in ({offset // 20} if offset < 20 else {offset // 20, 8})


async def test_starting_over_empties_the_log_and_begins_elsewhere(world: World) -> None:
    log = await filled(world)
    await log.start_over_at(1000)
    assert (log.log_start_offset, log.log_end_offset, log.durable_end, log.high_watermark) == (1000,) * 4
    assert (log.last_epoch, len(log.producers)) == (-1, 0)
    assert [name for name in world.disk.list("data/t-0") if name.endswith((".log", ".snapshot"))] == [
        "00000000000000001000.log"
    ]
    log.append_as_leader(batch(5), 4, 0)
    log = await world.restart()
    assert await read_all(log) == [1000]
    assert (log.log_start_offset, log.log_end_offset) == (1000, 1005)


async def test_a_failed_disk_ends_a_truncation_with_an_error(world: World) -> None:
    log = await filled(world)
    world.disk.fault = lambda operation, _: OSError(5, "Input/output error") if operation == "sync" else None
    with pytest.raises(StorageFailure):
        await log.truncate_to(10)
    with pytest.raises(StorageFailure):
        log.append_as_leader(batch(), 9, 0)


@pytest.mark.parametrize("starts_over", [False, True])
async def test_where_a_cut_finds_no_room_nothing_has_changed_and_later_it_does(world: World, starts_over: bool) -> None:
    log = await filled(world)
    await world.clock.passed(1.5)  # its recovery point is written
    before = (log.log_end_offset, log.durable_end, log.high_watermark, log.generation, log.epochs.entries)
    world.disk.fault = lambda operation, path: (
        OSError(errno.ENOSPC, "No space left on device", path) if operation == "append" else None
    )
    with pytest.raises(DiskFull):
        await (log.start_over_at(100) if starts_over else log.truncate_to(40))
    assert before == (log.log_end_offset, log.durable_end, log.high_watermark, log.generation, log.epochs.entries)
    assert not world.folder.failed
    assert await read_all(log) == list(range(0, 60, 2))
    world.disk.fault = lambda *_: None
    await (log.start_over_at(100) if starts_over else log.truncate_to(40))
    log.append_as_leader(batch(1), 5, 0)
    assert await read_all(log) == ([100] if starts_over else [*range(0, 40, 2), 40])


async def test_a_snapshot_above_the_cut_is_never_used_again(world: World) -> None:
    await filled(world)
    log = await world.restart()  # which leaves a snapshot at 60
    await log.truncate_to(40)
    for i in range(11):
        log.append_as_leader(batch(2, producer=2, sequence=2 * i), 5, 0)
    await log.flush()
    await world.clock.passed(1)
    log = await world.crash()
    assert log.log_end_offset == 62
    assert log.producers.check(read_header(batch(2, producer=1, sequence=40))) is None
    assert log.producers.check(read_header(batch(2, producer=2, sequence=20))) == Duplicate(60, 61)


@pytest.mark.parametrize("beginning", [500, 2000])
@pytest.mark.parametrize("random", [None, *range(4)])
async def test_a_crash_in_the_middle_of_starting_over_leaves_no_damage(beginning: int, random: int | None) -> None:
    """Neither where it began before nor where it is to begin is a promise that its end must keep."""
    for steps in range(20):
        world = World(TopicConfig(segment_bytes=1 << 20))
        await world.start()
        log = await world.log()
        await log.start_over_at(1000)
        for i in range(40):
            log.append_as_leader(batch(2, size=30_000), i // 10, 0)
        await log.flush()
        await world.clock.passed(1)
        begun = asyncio.ensure_future(log.start_over_at(beginning))
        for _ in range(steps):
            await asyncio.sleep(0)
        begun.cancel()
        log = await world.crash(None if random is None else Random(steps * 10 + random))
        assert log.damage is None
        assert await read_all(log) == list(range(log.log_start_offset, log.log_end_offset, 2))
        assert log.has_end
        await world.kill()


@pytest.mark.parametrize("random", [None, 1])
async def test_a_log_that_begins_anew_below_its_start_begins_there_after_a_crash(random: int | None) -> None:
    world = World(TopicConfig(segment_bytes=1000))
    await world.start()
    log = await world.log()
    await log.start_over_at(1000)
    for _ in range(20):
        log.append_as_leader(batch(2, size=100), 0, 0)
    await log.flush()
    log.advance_log_start(1030)
    await world.clock.passed(1)  # where it begins is written
    await log.start_over_at(960)
    for _ in range(60):
        log.append_as_leader(batch(2, size=100), 1, 0)
    await log.flush()
    log = await world.crash(None if random is None else Random(random))
    assert (log.log_start_offset, log.log_end_offset, log.damage) == (960, 1080, None)
    assert await read_all(log) == list(range(960, 1080, 2))
    await world.kill()


async def test_a_log_that_starts_over_above_its_end_never_begins_behind_it(world: World) -> None:
    log = await world.log()
    for _ in range(5):
        log.append_as_leader(batch(2), 0, 0)
    await log.flush()
    log.advance_high_watermark(10)
    log.advance_log_start(7)
    begun = asyncio.ensure_future(log.start_over_at(20))
    while not begun.done():
        assert log.log_start_offset <= log.high_watermark <= log.log_end_offset
        await asyncio.sleep(0)
    assert (log.log_start_offset, log.log_end_offset) == (20, 20)


@pytest.mark.parametrize("random", [None, *range(4)])
async def test_a_crash_in_the_middle_of_a_cut_of_all_that_was_not_let_go_begins_no_earlier(random: int | None) -> None:
    """Its offsets would be given away again, if it led: nothing that is committed is missing from it."""
    for steps in range(20):
        world = World(TopicConfig(segment_bytes=1 << 20))
        await world.start()
        log = await world.log()
        await log.start_over_at(1000)
        log.append_as_leader(batch(2), 0, 0)
        await log.flush()
        await world.clock.passed(1)
        begun = asyncio.ensure_future(log.truncate_to(1000))
        for _ in range(steps):
            await asyncio.sleep(0)
        begun.cancel()
        log = await world.crash(None if random is None else Random(steps * 10 + random))
        assert log.log_start_offset == 1000
        assert log.log_end_offset in (1000, 1002)
        await world.kill()


async def test_indexes_of_segments_that_stay_are_durable_once_the_log_is_cut(world: World) -> None:
    """They were written at a roll that no sync had taken yet."""
    world.config = TopicConfig(segment_bytes=1 << 20)
    log = await world.log()
    for _ in range(40):
        log.append_as_leader(batch(2, size=30_000), 0, 0)
    await log.truncate_to(78)
    names = [name for name in world.disk.list("data/t-0") if name.endswith(".log")]
    assert len(names) == 3
    for name in names[:-1]:
        for suffix in ("index", "timeindex"):
            content = world.disk.files[world.path(name.replace("log", suffix))]
            assert content.cached == content.durable != b""
