"""`dohle import-kafka` brings what a real Kafka wrote into a cluster of real processes, offsets kept."""

from __future__ import annotations

import asyncio
import fcntl
import json
import shutil
from pathlib import Path

import pytest

from dohle import Consumer, TopicPartition
from dohle.model.records import Record
from tests.integration.clusters import Cluster
from tests.kafka_files.notes import KAFKA_DATA, noted

ENDS = {
    TopicPartition("codecs", 0): 75,
    TopicPartition("compacted", 0): 60,
    TopicPartition("times", 0): 75,
    TopicPartition("transactions", 0): 60,
    TopicPartition("transactions", 1): 22,
    TopicPartition("trimmed", 0): 24,
}


async def consumed(bootstrap: str) -> dict[TopicPartition, list[Record]]:
    found: dict[TopicPartition, list[Record]] = {name: [] for name in ENDS}
    async with Consumer(bootstrap) as consumer:
        await consumer.assign(*ENDS)
        await consumer.seek_to_beginning()
        assert await consumer.end_offsets() == ENDS
        while any([await consumer.position(name) < end for name, end in ENDS.items()]):
            for one in await consumer.batch(timeout_ms=500):
                record = Record(one.key, one.value, tuple(one.headers), one.timestamp_ms, one.offset)
                found[TopicPartition(one.topic, one.partition)].append(record)
    return found


def as_written(name: TopicPartition, found: list[Record]) -> list[Record]:
    """Returns what must have been found; which records a compaction kept, the file alone says."""
    kept = [
        one.record for one in noted() if one.partition == f"{name.topic}-{name.partition}" and one.outcome == "kept"
    ]
    if name.topic == "compacted":
        offsets = {record.offset for record in found}
        return [record for record in kept if record.offset in offsets]
    return [record for record in kept if name.topic != "trimmed" or record.offset >= 14]


@pytest.fixture
def cluster(make_cluster) -> Cluster:
    cluster: Cluster = make_cluster(3)
    cluster.up()
    return cluster


def test_each_record_is_there_at_its_offset(cluster: Cluster) -> None:
    said = json.loads(cluster.done("import-kafka", str(KAFKA_DATA), "--dry-run", "--json"))
    assert not said["imported"]
    assert json.loads(cluster.done("topic", "list", "--json")) == []
    assert "imported" in cluster.done("import-kafka", str(KAFKA_DATA), "--yes")
    found = asyncio.run(consumed(cluster.bootstrap))
    for name, records in found.items():
        assert records == as_written(name, records)
    assert sum(map(len, found.values())) == said["records"]
    assert "topic codecs exists" in cluster.refused("import-kafka", str(KAFKA_DATA), "--yes")
    cluster.done("import-kafka", str(KAFKA_DATA), "--yes", "--resume")
    assert asyncio.run(consumed(cluster.bootstrap)) == found
    cluster.down()
    for node in cluster.node_ids:
        assert "SOUND" in cluster.done("log", "verify", str(cluster.data(node)))


def test_what_cannot_be_imported_is_refused_before_anything_changes(cluster: Cluster, tmp_path: Path) -> None:
    directory = tmp_path / "kafka"
    shutil.copytree(KAFKA_DATA, directory)
    (directory / ".lock").touch()
    with (directory / ".lock").open("r+") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        assert "is in use" in cluster.refused("import-kafka", str(directory), "--yes")
        assert "is in use" in cluster.refused("import-kafka", str(directory / "codecs-0"), "--yes")
    assert "never asks" in cluster.refused("import-kafka", str(directory), "--json", code=2)
    assert "no topic nothing" in cluster.refused("import-kafka", str(directory), "--yes", "--topic", "nothing")
    late = ("-c", "message.timestamp.type=LogAppendTime")
    assert "other times" in cluster.refused("import-kafka", str(directory), "--yes", *late, code=2)
    shutil.rmtree(directory / "transactions-0")
    assert "has a partition 1, but 0 is not there" in cluster.refused("import-kafka", str(directory), "--yes")
    only = ("--topic", "codecs")
    assert "replication" in cluster.refused("import-kafka", str(directory), "--yes", *only, "-r", "9")
    segment = directory / "codecs-0" / f"{15:020}.log"
    data = bytearray(segment.read_bytes())
    data[200] ^= 1
    segment.write_bytes(data)
    complaint = cluster.refused("import-kafka", str(directory), "--yes", *only)
    assert f"{segment}, byte " in complaint
    assert "CRC" in complaint
    assert json.loads(cluster.done("topic", "list", "--json")) == []


def test_a_broken_off_import_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(KAFKA_DATA / "codecs-0", whole / "orders-0")
    half = tmp_path / "half"
    shutil.copytree(whole, half)
    for base in (45, 60):
        (half / "orders-0" / f"{base:020}.log").unlink()
    cluster.done("import-kafka", str(half), "--yes")
    cluster.done("import-kafka", str(whole), "--yes", "--resume")
    lines = cluster.done("consume", "orders", "--from", "beginning", "--json").splitlines()
    assert [json.loads(line)["offset"] for line in lines] == list(range(75))
    cluster.done("produce", "orders", stdin="mine\n")
    assert "holds something else" in cluster.refused("import-kafka", str(whole), "--yes", "--resume")
