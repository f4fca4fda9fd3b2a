"""A log in which offsets are covered by batches without records is a log as any other."""

from __future__ import annotations

from dohle.model.batch import split_batches
from dohle.model.placed import holes
from dohle.model.records import decode_records
from dohle.storage.log import Log
from dohle.storage.verify.directory import verify_directory
from tests.storage.world import PATH, World, batch

FAR = 5_000_000_000  # three batches without records, for a relative offset has 32 bits


async def offsets_of(log: Log) -> list[int]:
    offset, found = log.log_start_offset, []
    while offset < log.log_end_offset:
        data = await log.read(offset, 1, up_to=log.log_end_offset)
        for position, header in split_batches(data):
            found += [record.offset for record in decode_records(data, position)]
            offset = header.next_offset
    return found


async def with_holes(world: World) -> Log:
    log = await world.log()
    for one in holes(0, FAR):
        log.append_as_leader(one, 0, 0)
    log.append_as_leader(batch(3, timestamp=5000), 0, 0)
    for one in holes(FAR + 3, FAR + 10):
        log.append_as_leader(one, 1, 0)
    log.append_as_leader(batch(2, timestamp=6000), 1, 0)
    await log.flush()
    log.advance_high_watermark(log.log_end_offset)
    return log


async def test_holes_are_kept_over_stops_and_crashes() -> None:
    world = World()
    await world.start()
    log = await with_holes(world)
    expected = [FAR, FAR + 1, FAR + 2, FAR + 10, FAR + 11]
    assert await offsets_of(log) == expected
    log = await world.restart()
    assert (log.log_end_offset, log.damage) == (FAR + 12, None)
    assert await offsets_of(log) == expected
    log = await world.crash()
    assert (log.log_end_offset, log.damage) == (FAR + 12, None)
    assert await offsets_of(log) == expected
    await world.stop()
    reports = [report async for report in verify_directory(world.disk, PATH)]
    assert [fault for report in reports for fault in report.faults] == []


async def test_holes_have_no_time() -> None:
    world = World()
    await world.start()
    log = await with_holes(world)
    assert await log.times.first_at(0) == (FAR, 5000)
    assert await log.times.first_at(5500) == (FAR + 10, 6000)
    await world.stop()
