"""Cold reads: what readers of old data, which the device must be asked for, do to the latency of fresh writes.

    python -m bench.cold_reads [MEGABYTES [ROUNDS]]

One directory of logs without a network: 1,000 records of 1 KB a second are appended to one log, each timed from when
it was due until a sync had taken it; meanwhile three readers go through another log of 512 MB, by default, from its
beginning, 1 MiB a read as consumers ask for, as fast as it comes. First alone, then with readers of what lies in the
page cache, then with readers of what was dropped from it (posix_fadvise), in turn. Said are the p99, its ratio to
that of the writes alone in the same round, and how fast was read; medians, with the least and the largest ratio.
`device` says how fast one thread reads the same files from the device, with nothing else.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import uvloop

from bench import measures
from dohle.cli.measure import payloads, quantile
from dohle.cli.output import print_table
from dohle.model.batch import end_offset
from dohle.model.records import Record, encode_batch
from dohle.model.topic_config import TopicConfig
from dohle.runtime.files import RealDisk
from dohle.storage.log import Log
from dohle.storage.log_folder import NewLog

MEGABYTES, ROUNDS = 512, 5
READERS = 3
READ_BYTES = 1 << 20
RECORDS_A_S = 1000
ALONE_S = 4.0
SEGMENT_BYTES = 64 << 20


async def fill(log: Log, megabytes: int) -> None:
    batch = encode_batch([Record(None, Random(1).randbytes(16_000), timestamp_ms=1)])
    for number in range(megabytes * 1_000_000 // len(batch)):
        log.append_as_leader(batch, 1, 1)
        if number % 500 == 0:
            await log.flush()
    await log.flush()


def drop(log: Log) -> None:
    """Takes the log out of the page cache; all of it is on the device."""
    for path in Path(log.folder).glob("*.log"):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


async def read_through(log: Log, first: int) -> int:
    """Returns how many bytes there were from `first` on, and then up to it."""
    read = 0
    for offset, end in ((first, log.log_end_offset), (0, first)):
        while offset < end:
            data = await log.read(offset, READ_BYTES, up_to=end)
            read += len(data)
            offset = end_offset(data)
            await measures.breathe()  # as who sends it on does
    return read


async def write(log: Log, over: asyncio.Event) -> list[float]:
    """Returns the latencies, in seconds, of records at a fixed rate until it is over."""
    value, latencies = payloads(1000)[0], list[float]()
    batch, began, number = encode_batch([Record(None, value, timestamp_ms=1)]), time.perf_counter(), 0
    waiting: set[asyncio.Task[None]] = set()

    async def append(due: float) -> None:
        log.append_as_leader(batch, 1, 1)
        await log.flush()
        latencies.append(time.perf_counter() - due)

    while not over.is_set():
        while (due := began + number / RECORDS_A_S) <= time.perf_counter():
            task = asyncio.ensure_future(append(due))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
            number += 1
        await asyncio.sleep(0.0005)
    await asyncio.gather(*waiting)
    return latencies


async def beside(fresh: Log, old: Log | None) -> tuple[float, float]:
    """Returns the p99 of the writes in ms, and the MB/s of all readers."""
    over, read, began = asyncio.Event(), 0, time.perf_counter()
    writing = asyncio.ensure_future(write(fresh, over))
    if old is None:
        await asyncio.sleep(ALONE_S)
    else:
        starts = [old.log_end_offset * number // READERS for number in range(READERS)]
        read = sum(await asyncio.gather(*(read_through(old, start) for start in starts)))
    seconds = time.perf_counter() - began
    over.set()
    return quantile(sorted(await writing), 0.99) * 1000, read / 1e6 / seconds


def device_mb_s(log: Log) -> float:
    drop(log)
    began, size = time.perf_counter(), 0
    for path in Path(log.folder).glob("*.log"):
        descriptor = os.open(path, os.O_RDONLY)
        while data := os.read(descriptor, READ_BYTES):
            size += len(data)
        os.close(descriptor)
    return size / 1e6 / (time.perf_counter() - began)


async def measure(megabytes: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="dohle-bench-", dir=os.environ.get("BENCH_DIR")) as folder:
        disk = RealDisk()
        opened = await measures.format_and_open(disk, folder)
        config = TopicConfig(segment_bytes=SEGMENT_BYTES)
        new = [NewLog(name, 0, measures.TOPIC_ID, config) for name in ("fresh", "old")]
        fresh, old = await opened[0].create_logs(new)
        await fill(old, megabytes)
        found: dict[str, list[tuple[float, float, float]]] = {"alone": [], "warm": [], "cold": []}
        device = []
        for _ in range(rounds):
            device.append(device_mb_s(old))  # which leaves it in the page cache
            alone, _ = await beside(fresh, None)
            found["alone"].append((alone, 1.0, 0.0))
            for name in ("warm", "cold"):
                if name == "cold":
                    drop(old)
                p99, rate = await beside(fresh, old)
                found[name].append((p99, p99 / alone, rate))
        await measures.close(*opened)
        disk.close()
    show(found)
    print(f"device: {statistics.median(device):,.0f} MB/s")


def show(found: dict[str, list[tuple[float, float, float]]]) -> None:
    """Prints by reader the p99 in ms, its ratio to that without, and MB/s: medians of what was found."""
    rows = []
    for name, readings in found.items():
        p99, ratio, rate = (statistics.median(one[at] for one in readings) for at in range(3))
        spread = f"{min(one[1] for one in readings):.2f} to {max(one[1] for one in readings):.2f}"
        rows.append((name, f"{p99:.1f}", f"{ratio:.2f}", spread, f"{rate:,.0f}"))
    print_table(("READERS", "P99, MS", "RATIO", "LEAST AND LARGEST", "READ, MB/S"), rows)


def main(arguments: Sequence[str]) -> int:
    wanted = [int(one) for one in arguments]
    megabytes, rounds = (*wanted, *(MEGABYTES, ROUNDS)[len(wanted) :])
    uvloop.run(measure(megabytes, rounds))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
