"""Folders that a real Kafka wrote are logs of ours: verified, opened, read, and appended to."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dohle.model.batch import split_batches
from dohle.model.records import Record, decode_records, encode_batch
from dohle.runtime.clock import LoopClock
from dohle.runtime.files import RealDisk
from dohle.runtime.read_only import ReadOnlyDisk
from dohle.runtime.tasks import Tasks
from dohle.storage.data_folder import DataFolder, format_folder
from dohle.storage.log import Log
from dohle.storage.log_folder import LogFolder
from dohle.storage.verify.directory import verify_directory
from tests.kafka_files.notes import KAFKA_DATA, noted

PARTITIONS = ("codecs-0", "times-0", "transactions-0", "transactions-1", "trimmed-0")


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[LogFolder]:
    """A directory of ours in which Kafka's folders and checkpoints lie."""
    path = tmp_path / "data"
    shutil.copytree(KAFKA_DATA, path)
    shutil.rmtree(path / "compacted-0")
    disk, crashes = RealDisk(threads=1), []
    tasks = Tasks("test", crashes.append)
    await format_folder(disk, str(path), cluster_id="cluster", node_id=1, directory_id=bytes(16))
    data = await DataFolder.open(disk, str(path), cluster_id="cluster", node_id=1)
    yield await LogFolder.open(disk, LoopClock(), data, tasks, on_failure=crashes.append)
    await tasks.close()
    data.close()
    disk.close()
    assert not crashes


async def read(log: Log) -> list[Record]:
    """Returns all records from the log's start on; those of markers are left out."""
    offset, found = log.log_start_offset, []
    while offset < log.log_end_offset:
        data = await log.read(offset, 1 << 20, up_to=log.log_end_offset)
        for position, header in split_batches(data):
            if not header.is_control:
                found += [one for one in decode_records(data, position) if one.offset >= log.log_start_offset]
            offset = header.next_offset
    return found


@pytest.mark.parametrize("partition", PARTITIONS)
async def test_a_log_of_kafkas_is_opened_and_every_record_read(folder: LogFolder, partition: str) -> None:
    topic, _, number = partition.rpartition("-")
    log = folder.logs[topic, int(number)]
    assert log.damage is None
    assert log.recovered.cut_bytes == 0
    written = [one.record for one in noted() if one.partition == partition]
    assert await read(log) == [record for record in written if record.offset >= log.log_start_offset]
    assert log.log_start_offset == (14 if topic == "trimmed" else 0)
    end = log.log_end_offset
    assert log.append_as_leader(encode_batch([Record(b"k", b"v")]), 1, 0).base_offset == end
    await folder.close()


async def test_producers_of_kafka_are_known_from_its_snapshots(folder: LogFolder) -> None:
    log = folder.logs["codecs", 0]
    snapshot = KAFKA_DATA / "codecs-0" / f"{log.log_end_offset:020}.snapshot"
    states = type(log.producers)()
    states.load(snapshot.read_bytes(), 0.0)
    assert states.contradiction(log.producers, 0) is None
    assert len(snapshot.read_bytes()) > 200, "five producers"
    await folder.close()


async def test_a_verification_finds_kafkas_folders_sound(folder: LogFolder, tmp_path: Path) -> None:
    await folder.close()
    disk = ReadOnlyDisk(threads=1)
    reports = [report async for report in verify_directory(disk, str(tmp_path / "data"))]
    disk.close()
    assert [fault for report in reports for fault in report.faults] == []
    assert sum(report.records for report in reports) >= len(
        [one for one in noted() if "compacted" not in one.partition]
    )
