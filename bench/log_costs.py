"""What a log costs: an append, a read, and ways to read, in microseconds of CPU time; and many logs against one.

    python -m bench.log_costs

Batches of 200 bytes, 16 KB and 1 MB are appended to one log as a leader does, and read back from the page cache one
after the other, as a follower or a consumer does that goes on where it stopped. Beside them stands what the system
calls take that bytes of that size need, by each of the ways to read that there are: preadv that gives up where it
would wait for the device (into a new buffer, and into one that is used again), pread, and a mapped file; of these the
latter two may wait. Then the same batches go to 1 and to 1,000 logs of a directory, in turn, each group commit
included, and to as many plain files. Medians of rounds that alternate.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from random import Random

import uvloop

from bench import measures
from dohle.cli.output import print_table
from dohle.model.records import Record, encode_batch
from dohle.model.topic_config import TopicConfig
from dohle.runtime.files import RealDisk
from dohle.storage.log import Log
from dohle.storage.log_folder import LogFolder, NewLog

SIZES = (200, 16_000, 1_000_000)
ROUNDS = 5
BYTES_A_ROUND = 64_000_000
MOST_BATCHES = 4000
LOGS = (1, 1000)
BATCHES, BATCH_BYTES, AT_ONCE = 6000, 20_000, 100


def a_batch(size: int) -> bytearray:
    value = Random(size).randbytes(size - 80)
    return bytearray(encode_batch([Record(None, value, timestamp_ms=1)]))


def cpu_us(work: Callable[[], object], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times * 1e6


async def append_us(log: Log, size: int, times: int) -> float:
    """The sync is left out: it is shared by all that came meanwhile."""
    batch, now = a_batch(size), 1
    taken = cpu_us(lambda: log.append_as_leader(batch, 1, now), times)
    await log.flush()
    return taken


async def read_us(log: Log, start: int, size: int, times: int) -> float:
    offset = start
    began = time.process_time()
    for _ in range(times):
        await log.read(offset, size + 100, up_to=log.log_end_offset)
        offset += 1
    return (time.process_time() - began) / times * 1e6


def system_us(path: str, size: int, times: int) -> dict[str, float]:
    """By each way, what as many bytes take from the page cache; the file has at least so many."""
    descriptor = os.open(path, os.O_RDWR)
    length = os.fstat(descriptor).st_size
    again = bytearray(size)
    view, mapped = memoryview(again), mmap.mmap(descriptor, length, prot=mmap.PROT_READ)
    at = iter([number * size % (length - size) for number in range(5 * times)])

    def into_new() -> bytes:
        buffer = bytearray(size)
        os.preadv(descriptor, [buffer], next(at), os.RWF_NOWAIT)
        return bytes(buffer)

    def into_same() -> bytes:
        return view[: os.preadv(descriptor, [again], next(at), os.RWF_NOWAIT)].tobytes()

    def from_map() -> bytes:
        position = next(at)
        return mapped[position : position + size]

    ways: dict[str, Callable[[], bytes]] = {
        "preadv, new buffer": into_new,
        "preadv, one buffer": into_same,
        "pread": lambda: os.pread(descriptor, size, next(at)),
        "mmap": from_map,
    }
    found = {name: cpu_us(way, times) for name, way in ways.items()}
    view.release()
    mapped.close()
    os.close(descriptor)
    return found


async def costs(logs: LogFolder) -> None:
    rows = []
    for number, size in enumerate(SIZES):
        log = (await logs.create_logs([NewLog("costs", number, measures.TOPIC_ID, TopicConfig())]))[0]
        times = max(min(BYTES_A_ROUND // size, MOST_BATCHES), 1)
        found: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            start = log.log_end_offset
            found.setdefault("append", []).append(await append_us(log, size, times))
            found.setdefault("read", []).append(await read_us(log, start, size, times))
            path = f"{log.folder}/{0:020d}.log"
            for way, taken in system_us(path, size, times).items():
                found.setdefault(way, []).append(taken)
        rows.append((f"{size:,}", *(f"{statistics.median(taken):.1f}" for taken in found.values())))
    print_table(("BYTES", *(f"{way.upper()}, US" for way in found)), rows)


async def throughput(logs: Sequence[Log]) -> tuple[float, float]:
    """Returns MB/s, and microseconds of CPU a batch, of batches that are acknowledged by a sync, some at a time."""
    batch, left = a_batch(BATCH_BYTES), iter(range(BATCHES))
    cpu, began = time.process_time(), time.perf_counter()

    async def write() -> None:
        for number in left:
            log = logs[number % len(logs)]
            log.append_as_leader(bytearray(batch), 1, 1)
            await log.flush()

    await asyncio.gather(*(write() for _ in range(AT_ONCE)))
    seconds = time.perf_counter() - began
    return BATCHES * BATCH_BYTES / 1e6 / seconds, (time.process_time() - cpu) / BATCHES * 1e6


async def disk_alone(disk: RealDisk, folder: str, count: int) -> float:
    """Returns MB/s of the same pieces, appended to `count` plain files, with a sync of those that were written."""
    files = [disk.open(f"{folder}/yardstick-{count}-{number}", create=True) for number in range(count)]
    piece = bytes(a_batch(BATCH_BYTES))
    began = time.perf_counter()
    for start in range(0, BATCHES, AT_ONCE):
        written = {}
        for number in range(start, start + AT_ONCE):
            file = files[number % count]
            file.append([piece])
            written[file.path] = file
        await disk.sync(list(written.values()))
    seconds = time.perf_counter() - began
    for file in files:
        file.close()
        disk.delete(file.path)
    return BATCHES * BATCH_BYTES / 1e6 / seconds


async def many(disk: RealDisk, logs: LogFolder) -> None:
    made = {
        count: await logs.create_logs(
            [NewLog(f"many-{count}", number, measures.TOPIC_ID, TopicConfig()) for number in range(count)]
        )
        for count in LOGS
    }
    found: dict[int, list[tuple[float, float]]] = {count: [] for count in LOGS}
    alone: dict[int, list[float]] = {count: [] for count in LOGS}
    for _ in range(ROUNDS):
        for count in LOGS:
            found[count].append(await throughput(made[count]))
            alone[count].append(await disk_alone(disk, logs.path, count))
    rows = []
    rates = {count: statistics.median(rate for rate, _ in readings) for count, readings in found.items()}
    for count, readings in found.items():
        cpu = statistics.median(cpu for _, cpu in readings)
        disk_mb_s, of_one = statistics.median(alone[count]), rates[count] / rates[LOGS[0]]
        rows.append((f"{count:,}", f"{rates[count]:.0f}", f"{of_one:.2f}", f"{cpu:.0f}", f"{disk_mb_s:.0f}"))
    print_table(("LOGS", "MB/S", "OF ONE", "CPU A BATCH, US", "PLAIN FILES, MB/S"), rows)


async def run() -> None:
    with tempfile.TemporaryDirectory(prefix="dohle-bench-") as folder:
        disk = RealDisk()
        opened = await measures.format_and_open(disk, folder)
        await costs(opened[0])
        await many(disk, opened[0])
        await measures.close(*opened)
        disk.close()


def main() -> int:
    uvloop.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
