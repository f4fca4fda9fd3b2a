"""A folder with every kind of file that a log leaves, and copies of it in which one file is not what it was."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Mapping

from dohle.model.records import Record, encode_batch
from dohle.model.topic_config import TopicConfig
from dohle.storage.log import Log
from dohle.storage.log_folder import LogFolder
from dohle.storage.verify.directory import verify_directory
from dohle.storage.verify.report import Report
from tests.storage.fault_disk import Content, FaultDisk
from tests.storage.world import PATH, World

SMALL = TopicConfig(segment_bytes=700, index_interval_bytes=150)
FOLDER = f"{PATH}/t-0"
Files = Mapping[str, bytes]

_TIMES = (100, 90, 300, 200, 310, 305, 400, 380, 500, 450, 460, 600, 590, 601, 610, 700, 650)


async def fill(log: Log, *, salt: int = 0) -> None:
    """Appends 34 records in four segments, three epochs, from two producers and none; times go up and down."""
    sequences = {1: 0, 2: 0}
    for number, time in enumerate(_TIMES):
        producer = (number + salt) % 3
        records = [Record(b"k", bytes([65 + number + salt]) * 8, (), time + salt + at) for at in range(2)]
        batch = encode_batch(records)
        if producer:
            batch = encode_batch(records, producer_id=producer, producer_epoch=0, base_sequence=sequences[producer])
            sequences[producer] += 2
        log.append_as_leader(batch, 2 * (number // 7), 0)
    await log.flush()
    log.advance_high_watermark(log.log_end_offset)


async def stopped(*, clean: bool = True) -> Files:
    """Returns the files of a folder with two logs, that was stopped."""
    world = World(SMALL)
    await world.start()
    await fill(await world.log())
    await fill(await world.log(1), salt=1)
    await world.folder.put_metadata_offset(9)
    await world.clock.passed(1)
    if clean:
        await world.stop()
    else:
        await world.kill()
    return {path: bytes(content.cached) for path, content in world.disk.files.items()}


def disk_of(files: Files) -> FaultDisk:
    disk = FaultDisk()
    for path, data in files.items():
        disk.make_folder(path.rpartition("/")[0])
        content = Content()
        content.cached, content.durable = bytearray(data), bytearray(data)
        disk.files[path] = disk.durable_files[path] = content
    return disk


def world_of(files: Files, denied: str | None = None) -> World:
    """Returns a node that was not started yet; `denied` is a file that it may not open."""
    world = World(SMALL)
    world.disk = disk_of(files)
    deny(world.disk, denied)
    return world


def deny(disk: FaultDisk, denied: str | None) -> None:
    if denied is not None:
        disk.fault = lambda _, path: OSError(errno.EACCES, "Permission denied", path) if path == denied else None


async def verified(files: Files, denied: str | None = None) -> list[Report]:
    """Returns what a verification says, which changes nothing."""
    disk = disk_of(files)
    deny(disk, denied)
    reports = [report async for report in verify_directory(disk, PATH)]
    assert {path: bytes(content.cached) for path, content in disk.files.items()} == files
    return reports


def said(reports: list[Report]) -> str:
    """Returns all faults and notes in words."""
    faults = [
        f"{one.file}, byte {one.position}: {one.found}; {one.expected}" for report in reports for one in report.faults
    ]
    return "\n".join([*faults, *(f"{one.path}: {one.what}" for report in reports for one in report.notes)])


async def everything(folder: LogFolder) -> AsyncIterator[tuple[str, int, bytes]]:
    """Yields partition, offset and bytes of each batch of all logs."""
    for log in folder.logs.values():
        offset = log.log_start_offset
        while offset < log.log_end_offset:
            data = await log.read(offset, 1, up_to=log.log_end_offset)
            yield log.name, offset, data
            offset += 2
