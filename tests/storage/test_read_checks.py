"""Reads check what they hand out: what rots while a log is open, and what is left of it."""

from __future__ import annotations

import pytest

from dohle.model.batch import split_batches
from dohle.model.errors import DamagedReplica
from dohle.model.topic_config import TopicConfig
from dohle.storage.damage_note import DAMAGE_FILE
from dohle.storage.log import Log
from tests.storage.world import SEGMENT, World, batch

BATCHES = 10


async def filled(world: World) -> Log:
    """Ten batches of two records each."""
    log = await world.log()
    for _ in range(BATCHES):
        log.append_as_leader(batch(2, size=100), 1, 0)
    await log.flush()
    log.advance_high_watermark(20)
    return log


def rot(world: World, log: Log, number: int, byte: int, bits: int = 1) -> None:
    """Changes a byte of the batch of that number."""
    size = log.size_bytes // BATCHES
    world.bytes_of(SEGMENT)[number * size + byte] ^= bits


async def test_nothing_but_sound_batches_is_read_up_to_a_damaged_one(world: World) -> None:
    log = await filled(world)
    rot(world, log, 3, 100)
    data = await log.read(0, 1 << 20, up_to=20)
    assert [header.base_offset for _, header in split_batches(data)] == [0, 2, 4]
    assert log.damage is None, "whoever goes on finds it"
    with pytest.raises(DamagedReplica, match=r"byte 837.*offset 6 does not match"):
        await log.read(6, 1 << 20, up_to=20)
    assert log.damage is not None
    assert log.damage.offsets == (6, 8)


@pytest.mark.parametrize(
    ("byte", "bits"),
    [(0, 0x40), (7, 1), (8, 0x40), (9, 1), (16, 1), (20, 1), (23, 0x40), (60, 1), (100, 1)],
    ids=["offset", "offset, by little", "length", "length, by little", "magic", "crc", "delta", "count", "payload"],
)
async def test_a_changed_byte_wherever_it_is_is_found(world: World, byte: int, bits: int) -> None:
    log = await filled(world)
    rot(world, log, 3, byte, bits)
    for offset in range(0, 6, 2):
        assert await log.read(offset, 1, up_to=20)
    with pytest.raises(DamagedReplica):
        await log.read(6, 1, up_to=20)
    assert log.damage is not None
    assert log.damage.offsets is not None
    assert log.damage.offsets[0] <= 6 < log.damage.offsets[1] <= 20


async def test_what_is_not_damaged_is_read_and_the_log_goes_on(world: World) -> None:
    log = await filled(world)
    rot(world, log, 3, 100)
    with pytest.raises(DamagedReplica):
        await log.read(7, 1 << 20, up_to=20)
    assert log.has_end
    log.append_as_leader(batch(2, size=100), 1, 0)
    await log.flush()
    data = await log.read(8, 1 << 20, up_to=22)
    assert [header.base_offset for _, header in split_batches(data)] == list(range(8, 22, 2))
    with pytest.raises(DamagedReplica):
        await log.read(6, 1 << 20, up_to=20)


async def test_a_lookup_by_time_does_not_answer_from_a_damaged_batch(world: World) -> None:
    log = await filled(world)
    rot(world, log, 0, 100)
    with pytest.raises(DamagedReplica):
        await log.times.first_at(1001)
    assert log.damage is not None


async def test_damage_that_a_read_found_is_known_after_a_stop(world: World) -> None:
    world.config = TopicConfig(segment_bytes=1024)
    log = await filled(world)
    rot(world, log, 1, 100)
    with pytest.raises(DamagedReplica):
        await log.read(2, 1, up_to=20)
    found = log.damage
    assert f"{DAMAGE_FILE}" in world.disk.list(log.folder)
    for again in (world.restart, world.crash):
        log = await again()
        assert log.damage == found
        assert (log.log_end_offset, log.has_end) == (20, True)


async def test_what_is_emptied_is_sound(world: World) -> None:
    log = await filled(world)
    rot(world, log, 1, 100)
    with pytest.raises(DamagedReplica):
        await log.read(2, 1, up_to=20)
    await log.start_over_at(30)
    assert log.damage is None
    assert (await world.restart()).damage is None


async def test_a_note_of_damage_that_cannot_be_read_is_damage(world: World) -> None:
    log = await filled(world)
    rot(world, log, 1, 100)
    with pytest.raises(DamagedReplica):
        await log.read(2, 1, up_to=20)
    world.bytes_of(DAMAGE_FILE)[:] = b"\xff\xfe"
    log = await world.restart()
    assert log.damage is not None
    assert DAMAGE_FILE in log.damage.file


async def test_a_log_that_is_set_aside_twice_leaves_two_folders(world: World) -> None:
    await filled(world)
    names = []
    for _ in range(2):
        names.append(await world.folder.mark_stray("t", 0))
        await world.log()
    assert len(set(names)) == 2
    assert all(name.endswith("-stray") for name in names)
    assert (await world.restart()).log_end_offset == 0
