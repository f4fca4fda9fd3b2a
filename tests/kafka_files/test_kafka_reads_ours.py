"""Apache Kafka's own code, and kafka-python, read what the product writes: every file of a replica's folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dohle.model.ids import id_text
from dohle.model.records import Record
from tests.kafka_files.java import Reading
from tests.kafka_files.notes import record_of
from tests.kafka_files.written import TOPIC_ID, Written

FIRST_OF_FILE = re.compile(r" *-1 is followed by \d+|Non-consecutive offsets in .*\.log")
"""What Kafka's dump says of every segment that does not begin at 0, also of its own."""
pytestmark = pytest.mark.processes
Directory = tuple[Path, list[Written]]


def test_java_reads_every_record(directory: Directory, reading: Reading) -> None:
    for log in directory[1]:
        lines = reading.folders[log.name]
        assert [record_of(fields) for fields in lines["record"]] == log.records
        if not log.producers:
            continue
        codecs = {fields[2] for fields in lines["batch"]}
        assert codecs == {"none", "gzip", "snappy", "lz4", "zstd"}
        kinds = {fields[3] for fields in lines["batch"]}
        assert kinds == {"LogAppendTime" if log.name == "appended-11" else "CreateTime"}


def test_java_reads_epochs_and_checkpoints_and_topic_ids(directory: Directory, reading: Reading) -> None:
    for log in directory[1]:
        lines = reading.folders[log.name]
        assert [(int(epoch), int(start)) for epoch, start in lines["epoch"]] == log.epochs
        assert lines["topic_id"] == [[id_text(TOPIC_ID)]]
        named = {file: int(offset) for file, name, offset in reading.offsets if name == log.name}
        assert named == {
            "log-start-offset-checkpoint": log.log_start_offset,
            "recovery-point-offset-checkpoint": log.log_end_offset,
            "replication-offset-checkpoint": log.log_end_offset,
        }


def test_java_reads_the_last_batch_of_each_producer(directory: Directory, reading: Reading) -> None:
    for log in [log for log in directory[1] if log.producers]:
        newest = max(fields[0] for fields in reading.folders[log.name]["producer"])
        assert newest == f"{log.log_end_offset:020}.snapshot"
        found: dict[int, tuple[int, int]] = {}
        for file, producer, epoch, batch in reading.folders[log.name]["producer"]:
            if file == newest:
                numbers = dict(re.findall(r"(\w+)=(-?\d+)", batch))
                found[int(producer)] = (int(numbers["lastSeq"]), int(numbers["lastOffset"]))
                assert epoch == "3"
        assert found == log.producers


@pytest.mark.parametrize("option", ["--deep-iteration", "--index-sanity-check", "--verify-index-only"])
def test_javas_dump_finds_no_mismatch(directory: Directory, reading: Reading, option: str) -> None:
    sound = re.compile(
        r"Dumping .*|Log starting offset: \d+|baseOffset: .* isvalid: true|\| offset: \d+ .*|producerId: \d+ .*"
        r"|offset: \d+ position: \d+|timestamp: \d+ offset: \d+|.* passed sanity check\.|.*\.index is empty\."
    )
    for log in directory[1]:
        lines = [line for (line,) in reading.folders[log.name][option]]
        told = [line for line in lines if not sound.fullmatch(line) and not FIRST_OF_FILE.fullmatch(line)]
        assert told == []
        if option == "--index-sanity-check":
            files = [path.name for path in (directory[0] / log.name).iterdir()]
            indexes = sum(name.endswith("index") for name in files)
            assert sum(line.endswith(("passed sanity check.", "is empty.")) for line in lines) == indexes


def test_kafka_python_reads_every_record(directory: Directory) -> None:
    records = pytest.importorskip("kafka.record", reason="kafka-python is not installed: make setup")
    path, logs = directory
    for log in logs:
        found = []
        for file in sorted((path / log.name).glob("*.log")):
            batches = records.MemoryRecords(file.read_bytes())
            while (batch := batches.next_batch()) is not None:
                assert batch.validate_crc()
                found += [Record(one.key, one.value, tuple(one.headers), one.timestamp, one.offset) for one in batch]
            assert batches.valid_bytes() == file.stat().st_size
        assert found == log.records
