import asyncio

import pytest

from dohle.model.batch import check_crc, read_header, split_batches
from dohle.model.errors import CorruptMessage, InvalidRecord, OffsetOutOfRange, RecordListTooLarge, StorageFailure
from dohle.model.topic_config import TopicConfig
from dohle.storage.log import Log
from tests.storage.world import SEGMENT, World, batch, rest

SMALL_SEGMENTS = TopicConfig(segment_bytes=1 << 20, index_interval_bytes=4096)


async def read_all(log: Log, max_bytes: int = 1 << 20) -> list[int]:
    """Returns the base offsets of all batches, read one behind the other."""
    offset, bases = log.log_start_offset, []
    while offset < log.log_end_offset:
        data = await log.read(offset, max_bytes, up_to=log.log_end_offset)
        headers = [header for _, header in split_batches(data)]
        assert headers
        bases += [header.base_offset for header in headers]
        offset = headers[-1].next_offset
    return bases


async def test_a_leader_stamps_offset_and_epoch_and_leaves_the_crc_right(world: World) -> None:
    log = await world.log()
    log.append_as_leader(batch(3), 4, 0)
    appended = log.append_as_leader(batch(2), 4, 0)
    header = read_header(appended.batch)
    assert (appended.base_offset, appended.next_offset, appended.log_append_time_ms) == (3, 5, -1)
    assert (header.base_offset, header.partition_leader_epoch) == (3, 4)
    assert check_crc(appended.batch, 0, header)
    assert await log.read(3, 1 << 20, up_to=5) == bytes(appended.batch)
    assert (log.last_epoch, log.last_batch_epoch) == (4, 4)


async def test_what_is_not_durable_yet_lends_its_epoch_to_nothing_that_is(world: World) -> None:
    log = await world.log()
    log.append_as_leader(batch(3), 4, 0)
    await log.flush()
    log.start_epoch(5)
    log.append_as_leader(batch(2), 5, 0)
    assert (log.durable_end, log.durable_epoch, log.last_batch_epoch) == (3, 4, 5)


async def test_log_append_time_is_stamped(world: World) -> None:
    log = await world.log()
    log.configure(TopicConfig(message_timestamp_type="LogAppendTime"))
    appended = log.append_as_leader(batch(), 0, 123456)
    header = read_header(appended.batch)
    assert appended.log_append_time_ms == header.max_timestamp == 123456
    assert header.is_append_time
    assert check_crc(appended.batch, 0, header)


async def test_an_append_counts_only_when_it_is_synced(world: World) -> None:
    log = await world.log()
    moved: list[int] = []
    log.on_durable = lambda: moved.append(log.durable_end)
    log.append_as_leader(batch(3), 0, 0)
    assert (log.log_end_offset, log.durable_end, log.counted_end) == (3, 0, 0)
    assert await log.flush() == 3
    assert (log.durable_end, log.counted_end, moved) == (3, 3, [3])


async def test_many_appends_share_a_sync(world: World) -> None:
    logs = [await world.log(partition) for partition in range(20)]
    before = world.disk.syncs
    for _ in range(10):
        for log in logs:
            log.append_as_leader(batch(), 0, 0)
    for log in logs:
        await log.flush()
    assert world.disk.syncs - before <= 2


async def test_relaxed_flushing_counts_at_once_but_only_after_that_is_noted(world: World) -> None:
    log = await world.log()
    log.configure(TopicConfig(flush_messages=100))
    log.append_as_leader(batch(), 0, 0)
    assert log.counted_end == 0
    await rest()
    assert world.disk.durable_files[world.path("unsynced-appends")] is not None
    log.append_as_leader(batch(), 0, 0)
    assert log.counted_end == 2


async def test_relaxed_appends_are_synced_after_flush_messages_and_after_flush_ms(world: World) -> None:
    log = await world.log()
    log.configure(TopicConfig(flush_messages=3, flush_ms=5000))
    await rest()
    log.append_as_leader(batch(2), 0, 0)
    await rest()
    assert log.durable_end == 0
    log.append_as_leader(batch(1), 0, 0)
    await rest()
    assert log.durable_end == 3
    log.append_as_leader(batch(1), 0, 0)
    await world.clock.passed(1)
    assert log.durable_end == 3
    await world.clock.passed(5)
    assert log.durable_end == 4


async def test_a_follower_holds_the_same_bytes(world: World) -> None:
    leader, follower = await world.log(0), await world.log(1)
    for count in (1, 5, 2):
        leader.append_as_leader(batch(count), 3, 0)
    data = await leader.read(0, 1 << 20, up_to=8)
    appended = follower.append_as_follower(memoryview(data), 3)
    assert (appended.base_offset, appended.next_offset) == (0, 8)
    assert await follower.read(0, 1 << 20, up_to=8) == data
    assert follower.epochs.entries == leader.epochs.entries


async def test_a_follower_refuses_damage_disorder_and_epochs_out_of_order(world: World) -> None:
    leader, follower = await world.log(0), await world.log(1)
    leader.append_as_leader(batch(2), 3, 0)
    good = await leader.read(0, 1 << 20, up_to=2)
    spoilt = bytearray(good)
    spoilt[-3] ^= 1
    with pytest.raises(CorruptMessage):
        follower.append_as_follower(spoilt, 3)
    with pytest.raises(CorruptMessage):
        follower.append_as_follower(good[:-1], 3)
    with pytest.raises(InvalidRecord):
        follower.append_as_follower(good, 2)
    with pytest.raises(InvalidRecord):
        follower.append_as_follower(b"", 3)
    assert follower.log_end_offset == 0
    follower.append_as_follower(good, 3)
    with pytest.raises(InvalidRecord):
        follower.append_as_follower(good, 3)
    assert follower.log_end_offset == 2


async def test_a_read_begins_with_the_batch_that_holds_the_offset(world: World) -> None:
    log = await world.log()
    for _ in range(3):
        log.append_as_leader(batch(10), 0, 0)
    data = await log.read(15, 1 << 20, up_to=30)
    assert [header.base_offset for _, header in split_batches(data)] == [10, 20]


async def test_a_read_ends_below_its_limit_and_gives_one_batch_at_least(world: World) -> None:
    log = await world.log()
    for _ in range(3):
        log.append_as_leader(batch(10), 0, 0)
    one = len(await log.read(0, 1, up_to=30))
    assert one == len(await log.read(0, one, up_to=30)) == len(await log.read(0, 2 * one - 1, up_to=30))
    assert len(await log.read(0, 2 * one, up_to=30)) == 2 * one
    assert await log.read(0, one - 1, up_to=30, min_one=False) == b""
    assert len(await log.read(0, 1 << 20, up_to=29)) == 2 * one
    assert await log.read(0, 1 << 20, up_to=9) == b""
    assert await log.read(30, 1 << 20, up_to=30) == b""


async def test_a_read_outside_the_log_is_refused(world: World) -> None:
    log = await world.log()
    log.append_as_leader(batch(10), 0, 0)
    log.append_as_leader(batch(10), 0, 0)
    log.advance_log_start(10)
    for offset in (9, 21):
        with pytest.raises(OffsetOutOfRange):
            await log.read(offset, 1000, up_to=20)


@pytest.mark.parametrize("max_bytes", [1, 5000, 70_000, 3 << 20])
async def test_reads_go_through_all_segments(world: World, max_bytes: int) -> None:
    world.config = SMALL_SEGMENTS
    log = await world.log()
    for i in range(60):
        log.append_as_leader(batch(2, size=30_000 if i % 7 else 50), 0, 0)
    assert len([path for path in world.disk.files if path.endswith(".log")]) >= 3
    assert await read_all(log, max_bytes) == list(range(0, 120, 2))
    log = await world.restart()
    log.append_as_leader(batch(1), 0, 0)
    assert await read_all(log, max_bytes) == list(range(0, 122, 2))


async def test_more_old_segments_are_read_at_once_than_are_kept_open(world: World) -> None:
    world.config = SMALL_SEGMENTS
    log = await world.log()
    for _ in range(200):
        log.append_as_leader(batch(1, size=40_000), 0, 0)
    await log.flush()
    log = await world.restart()

    async def read(offset: int) -> None:
        for _ in range(offset % 7):
            await asyncio.sleep(0)
        assert read_header(await log.read(offset, 1, up_to=200)).base_offset == offset

    await asyncio.gather(*(read(offset) for offset in range(13, 200)))


async def test_a_long_push_is_spread_over_segments_like_single_batches(world: World) -> None:
    world.config = SMALL_SEGMENTS
    leader, follower = await world.log(0), await world.log(1)
    for _ in range(50):
        leader.append_as_leader(batch(2, size=30_000), 0, 0)
    await leader.flush()
    push = b"".join([await leader.read(offset, 1, up_to=100) for offset in range(0, 100, 2)])
    follower.append_as_follower(push, 0)
    await follower.flush()
    names = [name for name in world.disk.list("data/t-0") if name.endswith(".log")]
    assert len(names) > 2
    for name in names:
        assert world.disk.files[world.path(name, 0)].durable == world.disk.files[world.path(name, 1)].durable


async def test_segments_roll_by_the_time_of_their_batches(world: World) -> None:
    world.config = TopicConfig(segment_ms=1000)
    log = await world.log()
    for timestamp in (0, 500, 1000, 1001, 1500):
        log.append_as_leader(batch(timestamp=timestamp), 0, 0)
    assert [name for name in world.disk.list("data/t-0") if name.endswith(".log")] == [
        SEGMENT,
        "00000000000000000003.log",
    ]


async def test_a_batch_larger_than_a_segment_is_refused(world: World) -> None:
    world.config = SMALL_SEGMENTS
    log = await world.log()
    with pytest.raises(RecordListTooLarge):
        log.append_as_leader(batch(1, size=2 << 20), 0, 0)
    assert log.log_end_offset == 0


async def test_index_and_time_index_have_the_layout_of_kafka(world: World) -> None:
    world.config = TopicConfig(index_interval_bytes=1000)
    log = await world.log()
    positions = []
    for i in range(6):
        positions.append(log.size_bytes)
        log.append_as_leader(batch(2, size=300, timestamp=1000 * i), 0, 0)
    await world.stop()
    index = bytes(world.bytes_of("00000000000000000000.index"))
    entries = [(int.from_bytes(index[at : at + 4]), int.from_bytes(index[at + 4 : at + 8])) for at in (0, 8)]
    assert entries == [(5, positions[2]), (9, positions[4])]
    times = bytes(world.bytes_of("00000000000000000000.timeindex"))
    found = [(int.from_bytes(times[at : at + 8]), int.from_bytes(times[at + 8 : at + 12])) for at in (0, 12, 24)]
    assert found == [(2001, 5), (4001, 9), (5001, 11)]


@pytest.mark.parametrize("reopened", [False, True])
async def test_offsets_are_found_by_timestamp(world: World, reopened: bool) -> None:
    world.config = TopicConfig(index_interval_bytes=500, segment_bytes=1 << 20)
    log = await world.log()
    assert await log.times.first_at(0) is None
    for i in range(40):
        log.append_as_leader(batch(10, size=5000, timestamp=100 * i), 0, 0)
    if reopened:
        log = await world.restart()
    assert await log.times.first_at(0) == (0, 0)
    assert await log.times.first_at(1203) == (123, 1203)
    assert await log.times.first_at(1250) == (130, 1300)
    assert await log.times.first_at(3909) == (399, 3909)
    assert await log.times.first_at(3910) is None
    assert await log.times.first_at(1203, up_to=129) is None
    log.advance_log_start(250)
    assert await log.times.first_at(0) == (250, 2500)


async def test_a_full_disk_leaves_the_log_as_it_was(world: World) -> None:
    log = await world.log()
    log.append_as_leader(batch(3, producer=5), 0, 0)
    world.disk.capacity = world.disk.used() + 10
    with pytest.raises(StorageFailure, match="free space"):
        log.append_as_leader(batch(3, producer=5, sequence=3), 0, 0)
    assert log.log_end_offset == 3
    world.disk.capacity = 1 << 40
    log.append_as_leader(batch(2, producer=5, sequence=3), 0, 0)
    assert await read_all(log) == [0, 3]
    assert not world.failures


async def test_a_full_disk_in_the_middle_of_a_roll_leaves_the_log_as_it_was(world: World) -> None:
    world.config = SMALL_SEGMENTS
    log = await world.log()
    for _ in range(17):
        log.append_as_leader(batch(2, size=30_000), 0, 0)
    for spare in (0, 10, 100, 1000):
        world.disk.capacity = world.disk.used() + spare
        with pytest.raises(StorageFailure):
            log.append_as_leader(batch(2, size=30_000), 0, 0)
    world.disk.capacity = 1 << 40
    log.append_as_leader(batch(2, size=30_000), 0, 0)
    assert await read_all(log) == list(range(0, 36, 2))
    log = await world.restart()
    assert log.recovered.clean
    assert await read_all(log, 1) == list(range(0, 36, 2))


async def test_a_failed_sync_fails_the_whole_folder_for_good(world: World) -> None:
    log, other = await world.log(0), await world.log(1)
    log.append_as_leader(batch(), 0, 0)
    world.disk.fault = lambda operation, _: OSError(5, "Input/output error") if operation == "sync" else None
    with pytest.raises(StorageFailure, match="sound disk"):
        await log.flush()
    world.disk.fault = lambda _operation, _path: None
    for one in (log, other):
        with pytest.raises(StorageFailure):
            one.append_as_leader(batch(), 0, 0)
        with pytest.raises(StorageFailure):
            await one.flush()
    assert log.durable_end == 0
    assert len(world.failures) == 1
    assert world.folder.failed
    await world.folder.close()
    assert not world.disk.exists("data/.clean-shutdown")


async def test_a_read_error_of_the_device_fails_the_folder(world: World) -> None:
    log = await world.log()
    log.append_as_leader(batch(), 0, 0)
    world.disk.fault = lambda operation, _: OSError(5, "Input/output error") if operation == "read" else None
    with pytest.raises(StorageFailure):
        await log.read(0, 100, up_to=1)
    assert len(world.failures) == 1


async def test_the_watermark_moves_up_to_the_end_only_and_never_back(world: World) -> None:
    log = await world.log()
    log.append_as_leader(batch(5), 0, 0)
    log.advance_high_watermark(3)
    log.advance_high_watermark(2)
    assert log.high_watermark == 3
    log.advance_high_watermark(99)
    assert log.high_watermark == 5


async def test_starting_an_epoch_notes_where_it_begins_data_or_not(world: World) -> None:
    log = await world.log()
    assert log.start_epoch(2) == 0
    log.append_as_leader(batch(5), 2, 0)
    assert log.start_epoch(2) == 0
    assert log.start_epoch(4) == 5
    assert log.last_epoch == 4
    assert log.last_batch_epoch == 2
    assert log.end_offset_for_epoch(2) == (2, 5)
    assert log.end_offset_for_epoch(4) == (4, 5)
