"""A node's directory as the product leaves it: logs with all that Kafka's formats know and the product writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dohle.model.codecs import Codec
from dohle.model.ids import TopicId
from dohle.model.placed import holes
from dohle.model.records import Record, encode_batch
from dohle.model.topic_config import TopicConfig
from dohle.runtime.clock import LoopClock
from dohle.runtime.files import RealDisk
from dohle.runtime.tasks import Tasks
from dohle.storage.data_folder import DataFolder, format_folder
from dohle.storage.log import Log
from dohle.storage.log_folder import LogFolder

CREATED_MS = 1_790_000_000_000
APPENDED_MS = CREATED_MS + 86_400_000
TOPIC_ID = TopicId(bytes(range(16)))
CREATE_TIME = TopicConfig(segment_bytes=4000, index_interval_bytes=600)
APPEND_TIME = TopicConfig(segment_bytes=4000, index_interval_bytes=600, message_timestamp_type="LogAppendTime")


@dataclass(frozen=True, slots=True)
class Written:
    """A log, its records as they were appended, and what its files must say besides."""

    name: str
    records: list[Record]
    epochs: list[tuple[int, int]]
    log_start_offset: int
    log_end_offset: int
    producers: dict[int, tuple[int, int]]  # id -> last sequence, last offset


async def write_directory(path: Path) -> list[Written]:
    """Writes the directory, stops it cleanly, and returns what is in it."""
    disk, crashes, failures = RealDisk(threads=1), [], []
    tasks = Tasks("test", crashes.append)
    await format_folder(disk, str(path), cluster_id="cluster", node_id=1, directory_id=bytes(16))
    data = await DataFolder.open(disk, str(path), cluster_id="cluster", node_id=1)
    folder = await LogFolder.open(disk, LoopClock(), data, tasks, on_failure=failures.append)
    create = await folder.create_log("created", TOPIC_ID, 0, CREATE_TIME)
    append = await folder.create_log("appended", TOPIC_ID, 11, APPEND_TIME)
    place = await folder.create_log("placed", TOPIC_ID, 2, CREATE_TIME)
    logs = [_fill(create), _fill(append), _fill_with_holes(place)]
    for log in (create, append, place):
        await log.flush()
        log.advance_high_watermark(log.log_end_offset)
    create.advance_log_start(create.log_end_offset // 3)
    await folder.retire_segments()
    start = create.log_start_offset
    assert create.first_offset > 0, "whole segments have gone"
    await folder.close(broker_epoch=7)
    await tasks.close()
    data.close()
    disk.close()
    assert not crashes
    assert not failures
    first = create.first_offset
    kept = [record for record in logs[0].records if record.offset >= first]
    epochs = [(entry.epoch, entry.start_offset) for entry in create.epochs.entries]
    logs[0] = Written("created-0", kept, epochs, start, create.log_end_offset, logs[0].producers)
    return logs


def _fill(log: Log) -> Written:
    """Appends 60 batches of all codecs in four epochs, of two producers and none; times go up and down."""
    written: list[Record] = []
    sequences = {4711: 0, 4712: 0}
    producers: dict[int, tuple[int, int]] = {}
    epochs: list[tuple[int, int]] = []
    for number in range(60):
        records = [_record(number, at) for at in range(1 + number % 7)]
        producer = (-1, 4711, 4712)[number % 3]
        batch = encode_batch(records, codec=Codec(number % 5))
        if producer >= 0:
            sequence = sequences[producer]
            sequences[producer] += len(records)
            batch = encode_batch(
                records, codec=Codec(number % 5), producer_id=producer, producer_epoch=3, base_sequence=sequence
            )
        epoch = (0, 1, 5, 6)[number // 15]
        appended = log.append_as_leader(batch, epoch, APPENDED_MS + number)
        if not epochs or epochs[-1][0] != epoch:
            epochs.append((epoch, appended.base_offset))
        if producer >= 0:
            producers[producer] = (sequences[producer] - 1, appended.next_offset - 1)
        for at, record in enumerate(records):
            time = APPENDED_MS + number if log.config.is_append_time else record.timestamp_ms
            written.append(record._replace(offset=appended.base_offset + at, timestamp_ms=time))
    return Written(log.name, written, epochs, 0, log.log_end_offset, producers)


def _fill_with_holes(log: Log) -> Written:
    """Appends what an import does: batches that keep far offsets, and batches without records for those between."""
    written: list[Record] = []
    for base in (5_000_000_000, 5_000_000_100):
        for hole in holes(log.log_end_offset, base):
            log.append_as_leader(hole, 4, 0)
        records = [_record(at, at)._replace(offset=base + at) for at in range(3)]
        log.append_as_leader(encode_batch(records, codec=Codec.ZSTD), 4, 0)
        written += records
    return Written(log.name, written, [(4, 0)], 0, log.log_end_offset, {})


def _record(number: int, at: int) -> Record:
    key = (None, b"", f"key-{number}".encode(), bytes(range(256)))[(number + at) % 4]
    value = (None, b"", bytes([number, at]) * 40, f"value {number}.{at} ü ".encode() * 20)[(number // 2 + at) % 4]
    headers = ((), (("none", None), ("ü", b""), ("twice", b"\x00\xff"), ("twice", b"2")))[number % 2]
    return Record(key, value, headers, CREATED_MS + (number * 7 - at * 13) % 50)
