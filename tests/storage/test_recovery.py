from collections.abc import Callable
from random import Random

import pytest

from dohle.model.batch import read_header
from dohle.model.errors import DamagedReplica, DataFolderError
from dohle.model.topic_config import TopicConfig
from dohle.storage.log import Log
from dohle.storage.producer_states import Duplicate
from tests.storage.test_log import read_all
from tests.storage.world import PATH, SEGMENT, World, batch

INDEX = "00000000000000000000.index"
TIMES = "00000000000000000000.timeindex"
SEALS = "00000000000000000000.seals"
RECOVERY_POINT = f"{PATH}/recovery-point-offset-checkpoint"


async def filled(world: World, count: int = 10, *, size: int = 2000) -> Log:
    log = await world.log()
    for i in range(count):
        log.append_as_leader(batch(2, size=size, producer=1, sequence=2 * i, timestamp=i), i // 4, 0)
    await log.flush()
    return log


async def test_a_clean_stop_leaves_everything_and_the_broker_epoch(world: World) -> None:
    log = await filled(world)
    log.advance_high_watermark(14)
    log.advance_log_start(4)
    log = await world.restart()
    assert (log.log_start_offset, log.high_watermark, log.log_end_offset, log.durable_end) == (4, 14, 20, 20)
    assert (log.recovered.clean, log.proven, log.recovered.cut_bytes) == (True, True, 0)
    assert log.epochs.entries == ((0, 0), (1, 8), (2, 16))
    assert world.folder.previous_broker_epoch == 7
    assert log.producers.check(read_header(batch(2, producer=1, sequence=18))) == Duplicate(18, 19)
    assert log.producers.check(read_header(batch(2, producer=1, sequence=10))) == Duplicate(10, 11)
    assert await read_all(log) == list(range(4, 20, 2))
    assert log.topic_id == bytes(range(16))


@pytest.mark.parametrize("clean", [True, False])
async def test_a_log_to_which_nothing_came_since_a_clean_stop_is_not_read(world: World, clean: bool) -> None:
    await filled(world, 1000, size=4000)
    await world.stop()
    if not clean:
        await world.start()
        await world.kill()
    read = 0
    disk_open = world.disk.open

    def spy(path: str, *, create: bool = False):  # type: ignore[no-untyped-def]
        file = disk_open(path, create=create)
        read_at = file.read_at

        async def counted(position: int, size: int) -> bytes:
            nonlocal read
            data = await read_at(position, size)
            read += len(data)
            return data

        file.read_at = counted  # type: ignore[method-assign]
        return file

    world.disk.open = spy  # type: ignore[method-assign]
    await world.start()
    log = await world.log()
    assert (log.recovered.clean, log.proven, log.damage) == (clean, True, None)
    assert log.producers.check(read_header(batch(2, producer=1, sequence=1998))) == Duplicate(1998, 1999)
    assert log.epochs.latest == 249
    assert read < 50_000


async def test_appends_that_a_power_cut_takes_leave_a_log_as_its_clean_stop_did(world: World) -> None:
    log = await filled(world)
    log = await world.restart()
    durable = bytes(world.bytes_of(SEGMENT))
    log.append_as_leader(batch(2), 9, 0)
    await world.kill()
    world.bytes_of(SEGMENT)[:] = durable
    await world.start()
    log = await world.log()
    assert (log.log_end_offset, log.damage, log.recovered.cut_bytes) == (20, None, 0)
    assert log.epochs.entries == ((0, 0), (1, 8), (2, 16))
    assert await read_all(log) == list(range(0, 20, 2))


async def test_the_mark_of_a_clean_stop_counts_once(world: World) -> None:
    await filled(world)
    await world.stop()
    await world.start()
    log = await world.crash()
    assert not log.recovered.clean
    assert world.folder.previous_broker_epoch == -1
    assert log.log_end_offset == 20


async def test_the_mark_is_gone_durably_before_anything_is_loaded(world: World) -> None:
    await filled(world)
    await world.stop()
    world.disk.fault = lambda operation, path: OSError(13, "denied") if path.endswith(".log") else None
    with pytest.raises(Exception, match="denied"):
        await world.start()
    assert f"{PATH}/.clean-shutdown" not in world.disk.durable_files


async def test_after_a_kill_all_that_was_in_the_page_cache_is_there_and_durable(world: World) -> None:
    log = await filled(world)
    log.append_as_leader(batch(2, producer=1, sequence=20), 2, 0)
    await world.kill()
    await world.start()
    log = await world.log()
    assert (log.log_end_offset, log.durable_end) == (22, 22)
    content = world.disk.files[world.path(SEGMENT)]
    assert content.durable == content.cached
    assert log.producers.check(read_header(batch(2, producer=1, sequence=20))) == Duplicate(20, 21)
    assert log.epochs.entries == ((0, 0), (1, 8), (2, 16))


def cut_off(data: bytearray, start: int) -> None:
    del data[start + 100 :]


def zero_a_sector(data: bytearray, start: int) -> None:
    sector = (start // 512 + 2) * 512
    data[sector : sector + 512] = bytes(512)


def zero_the_head(data: bytearray, start: int) -> None:
    data[start:] = bytes(len(data) - start)


def header_alone(data: bytearray, start: int) -> None:
    del data[start + 61 :]


def a_few_bytes(data: bytearray, start: int) -> None:
    del data[start + 7 :]


@pytest.mark.parametrize("tear", [cut_off, zero_a_sector, zero_the_head, header_alone, a_few_bytes])
async def test_a_torn_tail_is_cut_and_reported(world: World, tear: Callable[[bytearray, int], None]) -> None:
    log = await filled(world)
    await world.clock.passed(1)  # the recovery point is 20
    start = log.size_bytes
    for i in range(3):
        log.append_as_leader(batch(2, size=2000, producer=1, sequence=20 + 2 * i), 2, 0)
    await world.kill()
    data = world.bytes_of(SEGMENT)
    tear(data, start)
    lost = len(data) - start
    await world.start()
    log = await world.log()
    assert (log.log_end_offset, log.recovered.cut_offset, log.recovered.cut_bytes) == (20, 20, lost)
    assert log.damage is None
    assert log.size_bytes == start == len(world.disk.files[world.path(SEGMENT)].durable)
    log.append_as_leader(batch(2, producer=1, sequence=20), 2, 0)
    assert await read_all(log) == list(range(0, 22, 2))


async def test_what_was_cut_is_reported_again_until_it_was_told(world: World) -> None:
    log = await filled(world)
    await world.clock.passed(1)
    log.append_as_leader(batch(1, size=2000), 2, 0)
    await world.kill()
    del world.bytes_of(SEGMENT)[-10:]
    for _ in range(2):
        await world.start()
        log = await world.log()
        assert log.recovered.cut_offset == 20
        await world.kill()
    await world.start()
    assert (await world.restart()).recovered.cut_offset == 20
    await world.folder.findings_reported()
    assert (await world.restart()).recovered.cut_offset == -1


async def test_a_bad_batch_that_no_crash_explains_is_damage(world: World) -> None:
    log = await filled(world)
    await world.clock.passed(1)
    start = log.size_bytes
    for i in range(3):
        log.append_as_leader(batch(2, size=2000, producer=1, sequence=20 + 2 * i), 2, 0)
    await world.kill()
    world.bytes_of(SEGMENT)[start + 1000] ^= 1
    size = len(world.bytes_of(SEGMENT))
    await world.start()
    log = await world.log()
    assert log.damage is not None
    assert (log.damage.file, log.damage.position) == (world.path(SEGMENT), start)
    assert log.recovered.cut_bytes == 0
    assert not log.proven
    assert len(world.bytes_of(SEGMENT)) == size
    with pytest.raises(DamagedReplica, match=SEGMENT):
        await log.read(0, 100, up_to=20)
    with pytest.raises(DamagedReplica):
        log.append_as_leader(batch(), 2, 0)
    await world.stop()
    await world.start()
    assert (await world.log()).damage is not None


@pytest.mark.parametrize("byte", [9, 1000], ids=["length, now past the file's end", "payload"])
@pytest.mark.parametrize("clean", [True, False])
async def test_damage_is_seen_again_and_never_cut_at_later_starts(world: World, byte: int, clean: bool) -> None:
    log = await filled(world)
    third = len(await log.read(0, 1, up_to=20)) * 2
    log = await world.restart()  # so that there are index files that a clean start would trust
    log.append_as_leader(batch(), 2, 0)  # and a reason to look
    await world.kill()
    world.disk.delete(world.path(SEALS))  # or nothing is read that lies before one
    world.bytes_of(SEGMENT)[third + byte] ^= 0x40
    size = len(world.bytes_of(SEGMENT))
    for _ in range(3):
        await world.start()
        log = await world.log()
        assert log.damage is not None
        assert (log.damage.file, log.damage.position) == (world.path(SEGMENT), third)
        assert len(world.bytes_of(SEGMENT)) == size
        await world.clock.passed(2)  # checkpoints are written
        if clean:
            await world.stop()
        else:
            await world.kill()


@pytest.mark.parametrize("byte", [0, 3, 6])
async def test_a_damaged_base_offset_which_no_checksum_covers_is_damage(world: World, byte: int) -> None:
    log = await filled(world)
    third = len(await log.read(0, 1, up_to=20)) * 2
    await world.kill()
    world.bytes_of(SEGMENT)[third + byte] ^= 0x40
    await world.start()
    log = await world.log()
    assert log.damage is not None
    assert (log.damage.file, log.damage.position) == (world.path(SEGMENT), third)


@pytest.mark.parametrize("tear", [cut_off, zero_a_sector, zero_the_head])
async def test_a_tear_below_the_recovery_point_is_damage(world: World, tear: Callable[[bytearray, int], None]) -> None:
    log = await filled(world)
    await world.clock.passed(1)
    await world.kill()
    tear(world.bytes_of(SEGMENT), log.size_bytes // 2)
    await world.start()
    log = await world.log()
    assert log.damage is not None
    assert log.log_end_offset < 20


async def test_a_log_that_ends_below_its_recovery_point_is_damaged(world: World) -> None:
    log = await filled(world)
    await world.clock.passed(1)
    last = len(await log.read(18, 1, up_to=20))
    await world.kill()
    del world.bytes_of(SEGMENT)[-last:]
    await world.start()
    damage = (await world.log()).damage
    assert damage is not None
    assert "everything below 20 was durable" in damage.reason


async def test_a_segment_missing_in_the_middle_is_damage(world: World) -> None:
    world.config = TopicConfig(segment_bytes=1 << 20)
    log = await filled(world, 40, size=50_000)
    names = [name for name in world.disk.list(f"{PATH}/t-0") if name.endswith(".log")]
    assert len(names) >= 4
    await world.clock.passed(1)
    world.disk.delete(world.path(names[1]))
    world.disk.delete(world.path("leader-epoch-checkpoint"))  # so that every segment is read
    log = await world.crash()
    assert log.damage is not None
    assert names[2] in log.damage.file


async def test_reading_over_a_missing_segment_skips_nothing(world: World) -> None:
    world.config = TopicConfig(segment_bytes=1 << 20)
    await filled(world, 40, size=50_000)
    await world.clock.passed(1)
    await world.stop()
    names = [name for name in world.disk.list(f"{PATH}/t-0") if name.endswith(".log")]
    world.disk.delete(world.path(names[1]))
    await world.start()
    log = await world.log()
    with pytest.raises(DamagedReplica, match="missing"):
        await read_all(log)


async def test_a_batch_without_a_header_is_damage_that_a_read_comes_upon(world: World) -> None:
    log = await filled(world)
    first = len(await log.read(0, 1, up_to=20))
    world.bytes_of(SEGMENT)[first + 16] = 7  # magic
    log = await world.restart()
    with pytest.raises(DamagedReplica, match=f"byte {first}"):
        await log.read(4, 1 << 20, up_to=20)
    assert log.damage is not None
    assert log.has_end


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"\xff" * 24, b"1234567"])
async def test_a_damaged_index_is_built_again(world: World, content: bytes) -> None:
    await filled(world, 30)
    await world.stop()
    world.bytes_of(INDEX)[:] = content
    await world.start()
    log = await world.log()
    assert await read_all(log, 1) == list(range(0, 60, 2))
    assert log.damage is None


@pytest.mark.parametrize("suffix", ["index", "timeindex"])
@pytest.mark.parametrize("spoil", ["shuffle", "cut", "delete"])
async def test_a_damaged_index_of_a_sealed_segment_is_built_again(
    world: World, suffix: str, spoil: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.config = TopicConfig(segment_bytes=1 << 20)
    await filled(world, 60, size=20_000)
    await world.stop()
    name = f"00000000000000000000.{suffix}"
    match spoil:
        case "shuffle":
            world.bytes_of(name).reverse()
        case "cut":
            del world.bytes_of(name)[-3:]
        case "delete":
            world.disk.delete(world.path(name))
    await world.start()
    log = await world.log()
    assert await read_all(log, 1) == list(range(0, 120, 2))
    assert await log.times.first_at(7) == (13, 7)
    assert "built again" in caplog.text


async def test_indexes_of_a_segment_that_ends_at_the_recovery_point_are_not_believed(world: World) -> None:
    """A roll wrote them, and no sync has taken them: of what they had the crash has left a beginning."""
    world.config = TopicConfig(segment_bytes=1 << 20)
    log = await world.log()
    for time in (*range(20), 99, *[5] * 33):  # one segment's
        log.append_as_leader(batch(1, size=19_000, timestamp=time), 0, 0)
    await log.flush()
    await world.clock.passed(1)
    log.append_as_leader(batch(1, size=19_000), 0, 0)
    assert len(world.bytes_of(TIMES)) > 10 * 12
    del world.bytes_of(TIMES)[10 * 12 :]
    log = await world.crash()
    assert log.damage is None
    assert await log.times.first_at(50) == (20, 99)
    index = world.disk.files[world.path(TIMES)]
    assert index.cached == index.durable
    assert len(index.cached) > 10 * 12


@pytest.mark.parametrize("content", [None, b"", b"0\n1\nx 1\n", b"0\n2\n1 0\n"])
async def test_a_damaged_epoch_file_is_gathered_from_the_batches(world: World, content: bytes | None) -> None:
    log = await filled(world)
    expected = log.epochs.entries
    await world.stop()
    if content is None:
        world.disk.delete(world.path("leader-epoch-checkpoint"))
    else:
        world.bytes_of("leader-epoch-checkpoint")[:] = content
    await world.start()
    assert (await world.log()).epochs.entries == expected


async def test_a_damaged_snapshot_is_replaced_by_the_batches(world: World) -> None:
    await filled(world)
    await world.stop()
    world.bytes_of("00000000000000000020.snapshot")[-1] ^= 1
    await world.start()
    log = await world.log()
    assert log.producers.check(read_header(batch(2, producer=1, sequence=18))) == Duplicate(18, 19)


@pytest.mark.parametrize("content", [b"", b"0\n1\nt 0 x\n", b"0\n2\nt 0 20\n", b"1\n0\n"])
async def test_a_damaged_recovery_point_stops_the_start_and_says_what_to_do(world: World, content: bytes) -> None:
    await filled(world)
    await world.stop()
    world.disk.files[RECOVERY_POINT].cached[:] = content
    with pytest.raises(DataFolderError, match="restore it, or delete it"):
        await world.start()
    world.disk.locked.clear()
    world.disk.delete(RECOVERY_POINT)
    await world.start()
    assert await read_all(await world.log()) == list(range(0, 20, 2))


async def test_a_damaged_watermark_is_learnt_again(world: World) -> None:
    log = await filled(world)
    log.advance_high_watermark(10)
    await world.stop()
    world.disk.files[f"{PATH}/replication-offset-checkpoint"].cached[:] = b"?"
    await world.start()
    log = await world.log()
    assert (log.high_watermark, log.log_end_offset) == (0, 20)


async def test_a_relaxed_log_is_proven_after_a_clean_stop_only(world: World) -> None:
    world.config = TopicConfig(flush_messages=1000)
    log = await filled(world)
    log = await world.restart()
    assert log.proven
    log = await world.crash(Random(1))
    assert not log.proven
    world.config = TopicConfig()
    log.configure(world.config)
    log = await world.restart()
    assert not log.proven, "the controller was never told"
    await world.folder.findings_reported()
    log = await world.restart()
    assert log.proven
    log = await world.crash()
    assert log.proven
