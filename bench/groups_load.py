"""How long a coordinator takes to load a partition of `__consumer_offsets`, and how long it keeps the loop from others.

    python -m bench.groups_load

On a real disk, in one process: commits of `RECORDS_A_BATCH` offsets each are written as coordinators write them, and
loaded as a new leader loads them, while a producer on the same loop appends and fsyncs `APPENDS_PER_S` batches of 1 KB
a second. Said are the time, the CPU time of this process, and the longest turn of the loop, by CPU time, which a busy
machine does not spoil. `alone` is the same without the producer. What is long is gathered in another process.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from dataclasses import dataclass
from random import Random

from dohle.broker.groups.loading import Loading
from dohle.broker.groups.record_bytes import encoded
from dohle.broker.partition import Partition
from dohle.cli.output import print_table
from dohle.groups.records import CommittedOffset, OffsetRecord
from dohle.groups.settings import GroupSettings
from dohle.groups.shard import GroupShard
from dohle.model.ids import PartitionKey, TopicId, TopicPartition
from dohle.model.internal_topics import OFFSETS_TOPIC
from dohle.model.records import BatchBuilder, Record, encode_batch
from dohle.model.topic_config import TopicConfig
from dohle.runtime.clock import LoopClock
from dohle.runtime.files import RealDisk
from dohle.runtime.tasks import Tasks
from dohle.runtime.workers import ThreadWorkers
from dohle.storage.data_folder import DataFolder, format_folder
from dohle.storage.log import Log
from dohle.storage.log_folder import LogFolder

RECORDS_A_BATCH = (1, 10)
SIZES = ((100_000, 100_000), (1_000_000, 100_000))
"""Records, and keys that live."""
APPENDS_PER_S = 500
_GROUPS = 1000
_TOPIC = TopicId(bytes(16))
_CONFIG = TopicConfig(cleanup_policy=("compact",), segment_bytes=100 << 20)
_NOW_MS = 1_800_000_000_000


class CountedLoop(asyncio.SelectorEventLoop):
    """An event loop that knows its longest turn, in CPU time of its thread."""

    longest_s = 0.0

    def _run_once(self) -> None:
        began = time.thread_time()
        super()._run_once()  # type: ignore[misc]  # the one place where a turn begins and ends
        self.longest_s = max(self.longest_s, time.thread_time() - began)


@dataclass(frozen=True, slots=True)
class Loaded:
    """One load."""

    records: int
    seconds: float
    cpu_s: float
    longest_turn_s: float


async def write(log: Log, records: int, keys: int, a_batch: int) -> None:
    for base in range(0, records, a_batch):
        builder = BatchBuilder()
        for number in range(base, base + a_batch):
            of = number % keys
            value = CommittedOffset(number, 1, "", _NOW_MS, -1, _TOPIC)
            record = OffsetRecord(f"consumers-of-{of % _GROUPS}", "an-ordinary-topic", of // _GROUPS, value)
            builder.append(*encoded(record), _NOW_MS)
        log.append_as_leader(builder.build(), 1, _NOW_MS)
        if base % 20_000 < a_batch:
            await asyncio.sleep(0)
    await log.flush()
    log.advance_high_watermark(log.log_end_offset)


async def produce(log: Log) -> None:
    batch = encode_batch([Record(None, bytes(100), (), _NOW_MS)] * 10)
    due = time.monotonic()
    while True:
        log.append_as_leader(batch, 1, _NOW_MS)
        due += 1 / APPENDS_PER_S
        await asyncio.sleep(max(0, due - time.monotonic()))


async def load(log: Log, workers: ThreadWorkers, beside: Log | None) -> Loaded:
    partition = Partition(PartitionKey(_TOPIC, 0), TopicPartition(OFFSETS_TOPIC, 0), log, 0)
    shard = GroupShard(GroupSettings(), Random(1))
    producing = None if beside is None else asyncio.ensure_future(produce(beside))
    await asyncio.sleep(0.1)
    gc.collect()
    gc.freeze()
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, CountedLoop)
    loop.longest_s = 0.0
    began, cpu = time.perf_counter(), time.process_time()
    loading = Loading(workers)
    loading.on_growth = gc.freeze  # as a node has it
    records = await loading.load(partition, log.log_end_offset, shard.apply)
    found = Loaded(records, time.perf_counter() - began, time.process_time() - cpu, loop.longest_s)
    if producing is not None:
        producing.cancel()
    return found


async def run(path: str) -> list[list[str]]:
    disk, workers = RealDisk(), ThreadWorkers()
    tasks = Tasks("bench", _raise)
    await format_folder(disk, path, cluster_id="bench", node_id=1, directory_id=bytes(16))
    folder = await LogFolder.open(
        disk, LoopClock(), await DataFolder.open(disk, path, cluster_id="bench", node_id=1), tasks, on_failure=_raise
    )
    beside = await folder.create_log("beside", TopicId(b"b" * 16), 0, TopicConfig())
    rows: list[list[str]] = []
    for records, keys in SIZES:
        for number, a_batch in enumerate(RECORDS_A_BATCH):
            log = await folder.create_log(OFFSETS_TOPIC, TopicId(bytes([number]) * 16), records + a_batch, _CONFIG)
            await write(log, records, keys, a_batch)
            for busy in (False, True):
                found = await load(log, workers, beside if busy else None)
                assert found.records == keys
                rows.append(
                    [
                        f"{records:,}",
                        f"{keys:,}",
                        str(a_batch),
                        f"{log.size_bytes >> 20} MiB",
                        "under load" if busy else "alone",
                        f"{found.seconds:.2f} s",
                        f"{found.cpu_s:.2f} s",
                        f"{found.longest_turn_s * 1000:.1f} ms",
                    ]
                )
                print("  ".join(rows[-1]), file=sys.stderr, flush=True)
            await folder.delete_log(*log.key)
    await folder.close(broker_epoch=1)
    await tasks.close()
    workers.close()
    disk.close()
    return rows


def _raise(failure: BaseException) -> None:
    raise failure


def main() -> None:
    gc.set_threshold(20_000, 20, 50)  # a node's
    with tempfile.TemporaryDirectory(prefix="dohle-bench-") as path, asyncio.Runner(loop_factory=CountedLoop) as runner:
        rows = runner.run(run(path))
    print_table(["records", "keys", "a batch", "size", "", "time", "CPU", "longest turn"], rows)


if __name__ == "__main__":
    main()
