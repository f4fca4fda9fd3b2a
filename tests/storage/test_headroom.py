"""Headroom: when producers are refused and let in again, and how a disk without a byte left comes by some."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from random import Random

import pytest

from dohle.model.topic_config import TopicConfig
from dohle.storage.data_folder import DataFolder
from dohle.storage.headroom import LEAST_FREE_BYTES, RESERVE_BYTES, RESERVE_FILE, Headroom
from dohle.storage.room import DiskFull
from tests.storage.fault_disk import FaultDisk
from tests.storage.test_log_dirs import Machine, new
from tests.storage.world import CLUSTER, PATH, World, batch

RESERVE = f"{PATH}/{RESERVE_FILE}"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World(TopicConfig(segment_bytes=300, retention_ms=1000, file_delete_delay_ms=0, index_interval_bytes=1))
    await world.start()
    yield world
    await world.kill()


def left(disk: FaultDisk, free: int) -> None:
    """Somebody else fills the disk up to so many bytes, or makes room."""
    disk.capacity = disk.used() + free


async def passed(world: World, seconds: int = 2) -> None:
    for _ in range(seconds):
        await world.clock.passed(1.0)


async def headroom(min_free_bytes: int) -> tuple[FaultDisk, Headroom]:
    disk = FaultDisk()
    disk.make_folder(PATH)
    found = Headroom(disk, PATH, min_free_bytes)
    await found.look()
    return disk, found


async def test_producers_are_refused_below_the_least_and_let_in_again_with_a_quarter_more() -> None:
    disk, room = await headroom(100 << 20)
    for free, refused in ((100 << 20, False), ((100 << 20) - 1, True), ((125 << 20) - 1, True), (125 << 20, False)):
        left(disk, free)
        await room.look()
        assert room.is_low is refused, free
        if refused:
            with pytest.raises(DiskFull, match=r"producers are refused: data has .* free, .* is 100 MiB; .* 125 MiB"):
                room.check()
        else:
            room.check()


async def test_nobody_is_refused_where_no_least_is_set() -> None:
    disk, room = await headroom(0)
    left(disk, 0)
    await room.look()
    room.check()


async def test_a_full_disk_gets_its_reserve_and_one_with_room_another() -> None:
    disk, room = await headroom(0)
    assert disk.reserves == {RESERVE: RESERVE_BYTES}
    left(disk, 1000)
    await room.look()
    assert not disk.reserves
    assert room.free_bytes == RESERVE_BYTES + 1000
    left(disk, 2 * RESERVE_BYTES - 1)
    await room.look()
    assert not disk.reserves
    left(disk, 2 * RESERVE_BYTES)
    await room.look()
    assert disk.reserves
    assert room.free_bytes == RESERVE_BYTES


async def test_who_finds_no_room_for_a_reserve_goes_on_without() -> None:
    disk = FaultDisk()
    disk.make_folder(PATH)
    disk.fault = lambda operation, _: OSError(errno.ENOSPC, "full") if operation == "reserve" else None
    room = Headroom(disk, PATH, 0)
    await room.look()
    assert not disk.reserves


async def test_a_full_directory_refuses_producers_and_the_others_do_not() -> None:
    machine = Machine()
    dirs = await machine.start()
    logs = await dirs.create_logs([new(number) for number in range(3)])
    dirs.folders[1].headroom.is_low = True
    refused = []
    for log in logs:
        try:
            dirs.check_room(log)
        except DiskFull:
            refused.append(dirs.folder_of(log).path)
    assert refused == ["two"]
    await machine.stop()


async def test_a_folder_looks_for_room_each_second_and_never_where_its_disk_was(world: World) -> None:
    left(world.disk, LEAST_FREE_BYTES - 1)
    await passed(world)
    assert world.folder.headroom.is_low
    left(world.disk, 1 << 40)
    await passed(world)
    assert not world.folder.headroom.is_low
    left(world.disk, 0)
    world.disk.rename(PATH, "away")
    await passed(world)
    assert not world.folder.headroom.is_low


async def test_a_disk_filled_to_the_last_byte_lets_go_what_is_not_retained(world: World) -> None:
    log = await world.log()
    for number in range(12):
        log.append_as_leader(batch(timestamp=number), 0, 0)
    await log.flush()
    log.advance_high_watermark(12)
    left(world.disk, 0)
    log.advance_log_start(await log.retained_from(5000))
    await passed(world)
    await world.folder.retire_segments()
    await passed(world)
    assert log.first_offset == log.log_end_offset == 12
    assert world.disk.used() < world.disk.capacity - RESERVE_BYTES
    assert not world.failures
    log = await world.crash()
    assert (log.log_start_offset, log.damage) == (12, None)


@pytest.mark.parametrize("has_reserve", [True, False])
@pytest.mark.parametrize("power", [True, False])
async def test_a_node_starts_on_a_disk_filled_to_the_last_byte(world: World, has_reserve: bool, power: bool) -> None:
    log = await world.log()
    for _ in range(12):
        log.append_as_leader(batch(), 0, 0)
    await log.flush()
    await world.kill(Random(1) if power else None)
    if not has_reserve:
        world.disk.reserves.clear()
    left(world.disk, 0)
    await world.start()
    log = await world.log()
    assert log.log_end_offset == 12
    for offset in range(12):
        assert await log.read(offset, 1, up_to=12)
    assert world.folder.headroom.is_low
    assert not world.failures
    left(world.disk, 1 << 40)
    await passed(world)
    assert not world.folder.headroom.is_low
    log = await world.restart()
    assert log.append_as_leader(batch(), 0, 0).base_offset == 12
    assert await log.read(0, 1, up_to=12)


async def test_a_start_that_finds_no_room_for_indexes_keeps_them_in_memory(world: World) -> None:
    log = await world.log()
    for number in range(12):
        log.append_as_leader(batch(), 0, 1000 * number)
    await log.flush()
    await world.kill()
    for name in world.disk.list(log.folder):
        if name.endswith("index"):
            world.disk.delete(f"{log.folder}/{name}")
    world.disk.fault = lambda operation, path: (
        OSError(errno.ENOSPC, "full") if operation == "append" and path.endswith("index") else None
    )
    await world.start()
    log = await world.log()
    assert log.damage is None
    for _ in range(2):  # more than are kept open: what is let go of is still there
        for offset in range(12):
            assert await log.read(offset, 1, up_to=12)
    whole = [name for name in world.disk.list(log.folder) if name.endswith("index")]
    assert not whole, "a part of an index would pass for a whole one"
    assert not world.failures
    world.disk.fault = lambda *_: None
    await world.kill(Random(1))
    await world.start()
    log = await world.log()
    assert log.log_end_offset == 12
    assert await log.read(0, 1, up_to=12)
    assert [name for name in world.disk.list(log.folder) if name.endswith(".timeindex")]


async def test_a_start_gives_the_reserve_up_before_anything_is_written() -> None:
    world = World()
    await world.start()
    await world.stop()
    left(world.disk, 0)
    data = await DataFolder.open(world.disk, PATH, cluster_id=CLUSTER, node_id=1)
    assert not world.disk.reserves
    assert data.headroom.free_bytes == RESERVE_BYTES
