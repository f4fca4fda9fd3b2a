"""Logs of one folder on a disk in memory, and batches to put into them."""

from __future__ import annotations

from collections.abc import Sequence

from dohle.model.batch import split_batches
from dohle.model.ids import TopicId
from dohle.model.records import Record, encode_batch
from dohle.model.topic_config import TopicConfig
from dohle.runtime.tasks import Tasks
from dohle.storage.data_folder import DataFolder, UnusableFolder, format_folder
from dohle.storage.log import Log
from dohle.storage.log_dirs import LogDirs
from dohle.storage.new_log import NewLog
from tests.broker.slow_disk import SlowDisk
from tests.broker.virtual_time import VirtualClock

CLUSTER = "cluster-of-three-nodes"
TOPIC_ID = TopicId(b"topic of 16 byte")
PATH = "data"


def batch(count: int = 1, *, size: int = 20, producer: int = -1, sequence: int = -1, mark: bytes = b"x") -> bytes:
    """Returns a batch as a producer sends it; `mark` tells it from others."""
    records = [Record(None, mark + b"." * size, (), 1_000_000) for _ in range(count)]
    if producer < 0:
        return encode_batch(records)
    return encode_batch(records, producer_id=producer, producer_epoch=0, base_sequence=sequence)


async def open_dirs(disk: SlowDisk, tasks: Tasks, node_id: int = 1, paths: Sequence[str] = (PATH,)) -> LogDirs:
    """Opens the folders at `paths`, formatted if they were not; what cannot be used is offline."""
    folders: list[DataFolder] = []
    offline: dict[str, str] = {}
    for number, path in enumerate(paths):
        if not disk.exists(f"{path}/meta.properties"):
            directory_id = bytes([node_id]) * 15 + bytes([node_id + number])
            await format_folder(disk, path, cluster_id=CLUSTER, node_id=node_id, directory_id=directory_id)
        try:
            folders.append(await DataFolder.open(disk, path, cluster_id=CLUSTER, node_id=node_id))
        except UnusableFolder as error:
            offline[path] = error.message
    return await LogDirs.open(
        disk,
        VirtualClock(),
        folders,
        tasks,
        on_failure=_raise,
        producer_expiration_ms=86_400_000,
        offline=offline,
    )


def _raise(failure: BaseException) -> None:
    raise failure


async def new_log(disk: SlowDisk, tasks: Tasks, config: TopicConfig | None = None) -> Log:
    """Returns an empty log in a folder of its own."""
    dirs = await open_dirs(disk, tasks)
    return (await dirs.create_logs([NewLog("t", 0, TOPIC_ID, config if config is not None else TopicConfig())]))[0]


async def fill(log: Log, *epochs: tuple[int, int]) -> None:
    """Appends so many batches of one record in each epoch, and makes them durable."""
    for epoch, count in epochs:
        for _ in range(count):
            data = bytearray(batch(mark=b"%d@%d" % (epoch, log.log_end_offset)))
            log.append_as_leader(data, epoch, 0)
    await log.flush()


async def content(log: Log) -> list[tuple[int, int]]:
    """Returns (offset, leader epoch) of every batch."""
    data = await log.read(log.log_start_offset, 1 << 30, up_to=log.log_end_offset)
    return [(header.base_offset, header.partition_leader_epoch) for _, header in split_batches(data)]
