"""Compaction: how many bytes of records a second of the compacting process's CPU time is worth.

    python -m bench.compaction [MEGABYTES [ROUNDS]]

Batches of 1, 16 and 100 records of 1 KB, uncompressed, each key written twice, so that half of the records go; 128 MB
of each, by default. They go through a real process beside this one, chunk by chunk as a broker hands them over, first
to be read for their keys and then to be rewritten; its CPU time counts, the pipe included. Also said is what the work
alone takes. The yardsticks are what the CRC-32C of the same bytes and a copy of them take in this process. Rounds
alternate between the sizes; each figure is a median, with the least and the largest beside it.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from random import Random

import uvloop
from crc32c import crc32c

from dohle.cli.measure import payloads
from dohle.cli.output import print_table
from dohle.model.batch import with_stamp
from dohle.model.records import Record, encode_batch
from dohle.runtime.workers import AsideProcess
from dohle.storage.compaction.cleaning import Cleaning, Step, Terms

MEGABYTES, ROUNDS = 128, 3
BATCHES_OF = (1, 16, 100)
RECORD_BYTES = 1000
CHUNK_BYTES = 1 << 20
TERMS = Terms(now_ms=1, delete_retention_ms=1, memory_bytes=128 << 20, tombstones_go=True, producers={})
INDEX_INTERVAL_BYTES = 4096


def log_of(records_a_batch: int, megabytes: int) -> bytes:
    """Returns a log's batches, in which each key comes twice, far apart."""
    values, log, offset = payloads(RECORD_BYTES), bytearray(), 0
    count = megabytes * 1_000_000 // RECORD_BYTES
    numbers = [number % (count // 2) for number in range(count)]
    Random(1).shuffle(numbers)
    for start in range(0, count, records_a_batch):
        rows = [
            Record(b"customer-%012d" % number, values[number % len(values)], timestamp_ms=start)
            for number in numbers[start : start + records_a_batch]
        ]
        log += with_stamp(encode_batch(rows), offset, 1)
        offset += len(rows)
    return bytes(log)


class Clocked:
    """A Cleaning that knows its CPU time. It lies in the other process."""

    def __init__(self, terms: Terms) -> None:
        self.cleaning = Cleaning(terms)
        self.cpu = 0.0

    def learn(self, chunk: bytes) -> Step:
        began = time.process_time()
        step = self.cleaning.learn(chunk)
        self.cpu += time.process_time() - began
        return step

    def clean(self, chunk: bytes) -> Step:
        began = time.process_time()
        step = self.cleaning.clean(chunk)
        self.cpu += time.process_time() - began
        return step

    def begin(self) -> float:
        """Returns the CPU time of the process so far."""
        self.cleaning.begin_learning(0, 0)
        self.cleaning.begin(0, INDEX_INTERVAL_BYTES)
        return time.process_time()

    def cpu_times(self) -> tuple[float, float]:
        """Returns that of the process, and of the work alone."""
        return time.process_time(), self.cpu


def chunks(log: bytes, step_of: list[Step]) -> Iterator[bytes]:
    """Yields the log as it is read; what became of a chunk is appended to `step_of` before the next."""
    position = 0
    while position < len(log):
        yield log[position : position + CHUNK_BYTES]
        position += step_of.pop().consumed


async def compacted(log: bytes) -> tuple[float, float, float]:
    """Returns MB a second of the process's CPU time, and of the work's alone, and the share of records that went."""
    aside = await AsideProcess.start(new_cleaning)
    began = await aside.run(Clocked.begin)
    steps: list[Step] = []
    for chunk in chunks(log, steps):
        steps += [await aside.run(Clocked.learn, chunk)]
    dropped = 0
    for chunk in chunks(log, steps):
        steps.append(await aside.run(Clocked.clean, chunk))
        dropped += steps[-1].dropped
    process, work = await aside.run(Clocked.cpu_times)
    await aside.close()
    megabytes = len(log) / 1e6
    return megabytes / (process - began), megabytes / work, dropped * RECORD_BYTES / len(log)


def new_cleaning() -> Clocked:
    return Clocked(TERMS)


def yardsticks(log: bytes) -> tuple[float, float]:
    """Returns MB/s of CRC-32C, and of a copy, chunk by chunk."""
    taken: list[float] = []
    view = memoryview(log)
    for work in (crc32c, bytes):
        began = time.process_time()
        for position in range(0, len(log), CHUNK_BYTES):
            work(view[position : position + CHUNK_BYTES])
        taken.append(len(log) / 1e6 / (time.process_time() - began))
    return taken[0], taken[1]


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def main(arguments: Sequence[str]) -> int:
    megabytes, rounds = (*map(int, arguments), *(MEGABYTES, ROUNDS)[len(arguments) :])
    logs = {size: log_of(size, megabytes) for size in BATCHES_OF}
    found: dict[int, list[tuple[float, float, float]]] = {size: [] for size in BATCHES_OF}
    yards: list[tuple[float, float]] = []
    for _ in range(rounds):
        for size, log in logs.items():
            found[size].append(uvloop.run(compacted(log)))
        yards.append(yardsticks(logs[BATCHES_OF[-1]]))
    crc, copy = (statistics.median(one[at] for one in yards) for at in (0, 1))
    rows = []
    for size, readings in found.items():
        process, work, gone = zip(*readings, strict=True)
        rate = statistics.median(process)
        rows.append(
            (size, _spread(process), _spread(work), f"{gone[0]:.2f}", f"{crc / rate:.0f}", f"{copy / rate:.0f}")
        )
    columns = ("RECORDS A BATCH", "MB/S OF CPU", "WORK ALONE", "SHARE GONE", "CRC / THIS", "COPY / THIS")
    print_table(columns, rows)
    print(f"yardsticks: CRC-32C {crc:,.0f} MB/s, copy {copy:,.0f} MB/s")
    return 0


if __name__ == "__main__":
    from bench import compaction  # by the name that the other process finds it by

    raise SystemExit(compaction.main(sys.argv[1:]))
