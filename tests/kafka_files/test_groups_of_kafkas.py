"""A partition of `__consumer_offsets` that a real Kafka wrote is loaded as its own coordinator would."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from dohle.broker.groups.loading import Loading
from dohle.broker.partition import Partition
from dohle.groups.group import CLASSIC, CONSUMER
from dohle.groups.offsets import FetchOffsets, ListGroups
from dohle.groups.outcome import Moment, Ticket
from dohle.groups.settings import GroupSettings
from dohle.groups.shard import GroupShard
from dohle.model.ids import PartitionKey, TopicId, TopicPartition
from dohle.model.image import EMPTY_IMAGE
from dohle.model.internal_topics import OFFSETS_TOPIC
from dohle.runtime.clock import LoopClock
from dohle.runtime.files import RealDisk
from dohle.runtime.tasks import Tasks
from dohle.runtime.workers import ThreadWorkers
from dohle.storage.data_folder import DataFolder, format_folder
from dohle.storage.log import Log
from dohle.storage.log_folder import LogFolder
from tests.kafka_files.notes import FIXTURE

MOMENT = Moment(1.0, 1_800_000_000_000)


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[Log]:
    """Kafka's partition as a log of ours."""
    path = tmp_path / "data"
    shutil.copytree(FIXTURE / "groups", path / f"{OFFSETS_TOPIC}-0")
    disk, crashes = RealDisk(threads=1), list[BaseException]()
    tasks = Tasks("test", crashes.append)
    await format_folder(disk, str(path), cluster_id="cluster", node_id=1, directory_id=bytes(16))
    data = await DataFolder.open(disk, str(path), cluster_id="cluster", node_id=1)
    folder = await LogFolder.open(disk, LoopClock(), data, tasks, on_failure=crashes.append)
    yield folder.logs[OFFSETS_TOPIC, 0]
    await folder.close(broker_epoch=1)
    await tasks.close()
    data.close()
    disk.close()
    assert not crashes


async def loaded(log: Log) -> GroupShard:
    shard, workers = GroupShard(GroupSettings(), Random(1)), ThreadWorkers()
    partition = Partition(PartitionKey(TopicId(bytes(16)), 0), TopicPartition(OFFSETS_TOPIC, 0), log, 0)
    await Loading(workers).load(partition, log.log_end_offset, shard.apply)
    workers.close()
    list(shard.begin(EMPTY_IMAGE, MOMENT))
    return shard


def offsets(shard: GroupShard, group_id: str) -> dict[int, int]:
    [fetched] = FetchOffsets(group_id)(shard, Ticket(1), MOMENT).replies.values()
    return {one.partition: one.value.offset for one in fetched}


async def test_its_groups_and_offsets_are_known(log: Log) -> None:
    shard = await loaded(log)
    [listed] = ListGroups()(shard, Ticket(1), MOMENT).replies.values()
    assert [(group.group_id, group.kind, group.state) for group in listed] == [
        ("classic", CLASSIC, "Stable"),
        ("modern", CONSUMER, "Stable"),
        ("patterns", CONSUMER, "Stable"),
        ("simple", CLASSIC, "Empty"),
    ]
    assert offsets(shard, "classic") == offsets(shard, "modern") == offsets(shard, "patterns") == {0: 10, 1: 10, 2: 10}
    assert offsets(shard, "simple") == {0: 7, 1: 5}  # what a transaction has not committed does not count


async def test_what_is_long_is_loaded_by_another_process(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = await loaded(log)
    monkeypatch.setattr("dohle.broker.groups.loading._LONG_BYTES", 1)
    other = await loaded(log)
    assert other.state.group_ids() == shard.state.group_ids()
    assert [offsets(other, group) for group in sorted(other.state.group_ids())] == [
        offsets(shard, group) for group in sorted(shard.state.group_ids())
    ]
