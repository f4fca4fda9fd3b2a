"""Indexes that are built again: a crash finds the old file or the new one, and nobody else's is replaced."""

import asyncio
import errno
from random import Random

import pytest

from dohle.model.topic_config import TopicConfig
from dohle.storage.log import Log
from dohle.storage.verify.directory import verify_directory
from tests.storage.test_retention import filled
from tests.storage.world import PATH, World, rest

CONFIG = TopicConfig(segment_bytes=1 << 20, index_interval_bytes=1)
TIMES = "00000000000000000000.timeindex"
INDEX = "00000000000000000000.index"


async def with_a_short_time_index() -> tuple[World, Log, bytes]:
    """Three segments of three batches, the first one's newest timestamp not in its time index; that index before."""
    world, _ = await filled(CONFIG)
    await world.stop()
    whole = bytes(world.bytes_of(TIMES))
    assert len(whole) == 2 * 12
    del world.bytes_of(TIMES)[-12:]
    world.disk.files[world.path(TIMES)].sync()
    await world.start()
    return world, await world.log(), whole


async def test_a_time_index_that_is_built_again_is_durable_before_it_takes_its_name() -> None:
    world, log, whole = await with_a_short_time_index()
    renamed: list[str] = []
    rename = world.disk.rename

    def watched(old: str, new: str) -> None:
        content = world.disk.files.get(old)
        if content is not None:
            assert content.durable == content.cached, f"{old} was not synced"
            renamed.append(new)
        rename(old, new)

    world.disk.rename = watched  # type: ignore[method-assign]
    assert await log.times.first_at(2000) == (2, 2000)
    assert renamed == [world.path(INDEX), world.path(TIMES)]
    assert world.bytes_of(TIMES) == whole
    await world.stop()
    assert all([report.is_sound async for report in verify_directory(world.disk, PATH)])


@pytest.mark.parametrize("seed", range(20))
async def test_a_crash_leaves_the_old_file_or_the_new_one(seed: int) -> None:
    world, log, whole = await with_a_short_time_index()
    random = Random(seed)
    left = random.randrange(12)
    reading = asyncio.ensure_future(log.times.first_at(2000))
    for _ in range(left):
        await asyncio.sleep(0)
    await world.kill(random)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert bytes(world.bytes_of(TIMES)) in (whole, whole[:-12])
    await world.start()
    assert not [name for name in world.disk.list(f"{PATH}/t-0") if name.endswith(".tmp")]
    assert await (await world.log()).times.first_at(2000) == (2, 2000)
    await world.stop()


async def test_a_segment_that_is_retired_meanwhile_keeps_its_files_and_leaves_no_other() -> None:
    world, log, whole = await with_a_short_time_index()
    reached = asyncio.Event()
    sync = world.disk.sync
    go_on = asyncio.Event()

    async def held(files, folders=(), synced=None):  # type: ignore[no-untyped-def]
        if any(file.path.endswith(".timeindex.tmp") for file in files):
            reached.set()
            await go_on.wait()
        await sync(files, folders, synced)

    world.disk.sync = held  # type: ignore[method-assign]
    reading = asyncio.ensure_future(log.times.first_at(2000))
    await reached.wait()
    log.advance_log_start(3)
    await world.folder.retire_segments()
    go_on.set()
    await reading
    names = world.disk.list(f"{PATH}/t-0")
    assert [name for name in names if name.startswith("00000000000000000000.timeindex")] == [f"{TIMES}.deleted"]
    assert bytes(world.bytes_of(f"{TIMES}.deleted")) == whole[:-12]
    await world.stop()


async def test_two_who_look_build_it_once() -> None:
    world, log, whole = await with_a_short_time_index()
    found = await asyncio.gather(*(log.times.first_at(2000) for _ in range(5)))
    assert found == [(2, 2000)] * 5
    assert world.bytes_of(TIMES) == whole
    await world.stop()


async def test_a_full_disk_keeps_nobody_from_reading(caplog: pytest.LogCaptureFixture) -> None:
    world, log, whole = await with_a_short_time_index()
    world.disk.fault = lambda operation, path: (
        OSError(errno.ENOSPC, "No space left on device") if operation == "append" and path.endswith(".tmp") else None
    )
    assert await log.times.first_at(2000) == (2, 2000)
    assert "is not written" in caplog.text
    assert await log.read(4, 1, up_to=10)
    assert await log.read(7, 1, up_to=10)  # lets go of the first
    world.disk.fault = lambda _operation, _path: None
    assert await log.times.first_at(2000) == (2, 2000)
    assert not world.failures
    await world.stop()
    await rest()
    assert bytes(world.bytes_of(TIMES)) in (whole, whole[:-12])
