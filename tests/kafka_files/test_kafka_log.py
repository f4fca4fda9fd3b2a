"""What an import takes from the folders of a real Kafka: each committed record where it was, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dohle.model.batch import read_header
from dohle.model.errors import CorruptLog, DataFolderError
from dohle.model.produced import validate_placed_batch
from dohle.model.records import Record, decode_records
from dohle.model.topic_config import TopicConfig
from dohle.runtime.read_only import ReadOnlyDisk
from dohle.storage.kafka_dirs import find_kafka_logs
from dohle.storage.kafka_log import KafkaLog
from tests.kafka_files.notes import KAFKA_DATA, noted

PARTITIONS = ("codecs-0", "compacted-0", "times-0", "transactions-0", "transactions-1", "trimmed-0")
OPEN = 20  # in transactions-1, the offset behind a transaction that nobody ended


@pytest.fixture
def disk() -> Iterator[ReadOnlyDisk]:
    one = ReadOnlyDisk(threads=1)
    yield one
    one.close()


async def log_of(disk: ReadOnlyDisk, folder: Path) -> KafkaLog:
    (log,) = (await find_kafka_logs(disk, [str(folder)])).logs
    return log


async def batches_of(log: KafkaLog, from_offset: int = 0) -> list[bytes]:
    return [batch async for batch in log.placed_batches(from_offset)]


def committed(partition: str) -> list[Record]:
    return [one.record for one in noted() if one.partition == partition and one.outcome == "kept"]


@pytest.mark.parametrize("partition", [name for name in PARTITIONS if name != "compacted-0"])
async def test_each_committed_record_keeps_its_offset(disk: ReadOnlyDisk, partition: str) -> None:
    log = await log_of(disk, KAFKA_DATA / partition)
    survey = await log.survey()
    batches = await batches_of(log)
    expected = 0
    for batch in batches:  # as a leader takes them, one behind the other
        expected = validate_placed_batch(batch, TopicConfig(), expected).next_offset
    assert expected == survey.end_offset
    found = [record for batch in batches for record in decode_records(batch)]
    start = 14 if partition == "trimmed-0" else 0
    assert found == [record for record in committed(partition) if record.offset >= start]
    assert survey.records == len(found)
    assert survey.start_offset == start


async def test_of_a_compacted_log_the_newest_record_of_each_key_is_there(disk: ReadOnlyDisk) -> None:
    log = await log_of(disk, KAFKA_DATA / "compacted-0")
    survey = await log.survey()
    found = {record.offset: record for batch in await batches_of(log) for record in decode_records(batch)}
    written = {record.offset: record for record in committed("compacted-0")}
    newest = {record.key: record.offset for record in written.values()}
    assert found.items() <= written.items()
    assert found.keys() >= set(newest.values())
    assert survey.records == len(found) < len(written)
    assert None in {record.value for record in found.values()}, "tombstones"
    assert survey.end_offset == 60


async def test_what_was_aborted_and_what_is_open_is_counted(disk: ReadOnlyDisk) -> None:
    for partition in ("transactions-0", "transactions-1"):
        survey = await (await log_of(disk, KAFKA_DATA / partition)).survey()
        outcomes = [one.outcome for one in noted() if one.partition == partition]
        assert survey.aborted_records == outcomes.count("aborted") > 0
        assert survey.open_records == outcomes.count("open")


@pytest.mark.parametrize("partition", PARTITIONS)
async def test_batches_from_the_end_of_any_of_them_on_are_the_same(disk: ReadOnlyDisk, partition: str) -> None:
    log = await log_of(disk, KAFKA_DATA / partition)
    await log.survey()
    batches = await batches_of(log)
    for number, batch in enumerate(batches, start=1):
        assert await batches_of(log, read_header(batch).next_offset) == batches[number:]


async def test_nothing_above_the_watermark_is_taken(disk: ReadOnlyDisk) -> None:
    log = await log_of(disk, KAFKA_DATA / "codecs-0")
    log.high_watermark = 30
    survey = await log.survey()
    assert (survey.end_offset, survey.records, survey.beyond_watermark) == (30, 30, 45)
    assert read_header((await batches_of(log))[-1]).next_offset == 30


@pytest.mark.parametrize(
    ("at", "byte", "complaint"),
    [(100, 1, "byte 0: the CRC-32C of the batch of offset 0"), (16, 1, "byte 0: .*magic 1"), (7, 9, "")],
)
async def test_damage_is_refused_with_file_and_byte(
    disk: ReadOnlyDisk, tmp_path: Path, at: int, byte: int, complaint: str
) -> None:
    folder = tmp_path / "codecs-0"
    shutil.copytree(KAFKA_DATA / "codecs-0", folder)
    segment = folder / f"{0:020}.log"
    data = bytearray(segment.read_bytes())
    data[at] = byte
    segment.write_bytes(data)
    with pytest.raises(CorruptLog, match=f"{segment.name}, {complaint}"):
        await (await log_of(disk, folder)).survey()


async def test_a_torn_end_is_refused(disk: ReadOnlyDisk, tmp_path: Path) -> None:
    folder = tmp_path / "codecs-0"
    shutil.copytree(KAFKA_DATA / "codecs-0", folder)
    segment = folder / f"{60:020}.log"
    segment.write_bytes(segment.read_bytes()[:-3])
    with pytest.raises(CorruptLog, match=r"the batch needs \d+ bytes"):
        await (await log_of(disk, folder)).survey()


async def test_a_partition_in_two_directories_is_refused(disk: ReadOnlyDisk, tmp_path: Path) -> None:
    shutil.copytree(KAFKA_DATA / "codecs-0", tmp_path / "codecs-0")
    with pytest.raises(DataFolderError, match="codecs-0 lies in"):
        await find_kafka_logs(disk, [str(KAFKA_DATA), str(tmp_path)])


async def test_what_is_no_partition_or_kafkas_own_is_passed_over(disk: ReadOnlyDisk, tmp_path: Path) -> None:
    for name in ("__consumer_offsets-0", "codecs-0.0123-delete", "codecs-1"):
        shutil.copytree(KAFKA_DATA / "codecs-0", tmp_path / name)
    found = await find_kafka_logs(disk, [str(tmp_path)])
    assert [log.key for log in found.logs] == [("codecs", 1)]
    assert len(found.passed_over) == 2
