"""A start: what opening a directory of many logs costs, after a clean stop and after a kill.

    python -m bench.start [PARTITIONS [SEGMENTS]]
    python -m bench.start --large [PARTITIONS [MIB]]

Makes 5,000 logs of 3 segments each, by default, and opens them in new processes: after a clean stop, and after SIGKILL
came behind one more batch in each tenth log. Each line has the time, the CPU time, the longest turn of the event loop,
and how many bytes were read, by the system's own count. The yardstick is what a program pays that lists each folder,
has the size of each file, and reads two small ones a log, with nothing else done about them.

With `--large`: 20 logs, by default, each written to up to 64 MiB of one segment, then killed with one more
batch of 4 KB in each; opened as they are, and without their seals, from which on a start reads.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from bench import measures
from dohle.cli.measure import payloads
from dohle.cli.output import print_table
from dohle.model.records import Record, encode_batch
from dohle.model.topic_config import TopicConfig
from dohle.runtime.files import RealDisk
from dohle.storage.log_folder import NewLog

PARTITIONS, SEGMENTS = 5000, 3
BATCHES_A_SEGMENT = 4
RECORDS_A_BATCH = 4
SMALL_FILES = ("partition.metadata", "leader-epoch-checkpoint")
TURNS_OF = 0.001


def a_batch() -> bytes:
    """Returns about 4 KB of records."""
    return encode_batch([Record(None, value, timestamp_ms=1) for value in payloads(1000)[:RECORDS_A_BATCH]])


async def fill(folder: str, partitions: int, segments: int) -> None:
    """Makes the logs, and stops cleanly."""
    disk, batch = RealDisk(), a_batch()
    logs, data, tasks = await measures.format_and_open(disk, folder)
    config = TopicConfig(segment_bytes=BATCHES_A_SEGMENT * len(batch))
    topic = measures.TOPIC_ID
    for log in await logs.create_logs([NewLog("t", number, topic, config) for number in range(partitions)]):
        for _ in range(segments * BATCHES_A_SEGMENT):
            log.append_as_leader(batch, 1, 1)
    await measures.close(logs, data, tasks)
    disk.close()


async def grow_and_die(folder: str, partitions: int, size_bytes: int) -> None:
    """Writes that much to each log, 4 MiB a second at most, and is killed."""
    logs, _data, _tasks = await measures.format_and_open(RealDisk(), folder)
    batch = encode_batch([Record(None, value, timestamp_ms=1) for value in payloads(1000)[:64]])
    new = [NewLog("t", number, measures.TOPIC_ID, TopicConfig()) for number in range(partitions)]
    made = await logs.create_logs(new)
    while made[0].size_bytes < size_bytes:
        goal = made[0].size_bytes + (4 << 20)
        while made[0].size_bytes < goal:
            for log in made:
                log.append_as_leader(batch, 1, 1)
            await asyncio.sleep(0)
        await asyncio.gather(*(log.flush() for log in made))
        await asyncio.sleep(1.1)
    for log in made:
        log.append_as_leader(a_batch(), 1, 1)
    os.kill(os.getpid(), signal.SIGKILL)


async def append_and_die(folder: str) -> None:
    """Appends to each tenth log, which no checkpoint tells of any more, and is killed."""
    logs, _data, _tasks = await measures.open_logs(RealDisk(), folder)
    for number, log in enumerate(logs.logs.values()):
        if number % 10 == 0:
            log.append_as_leader(a_batch(), 1, 1)
    os.kill(os.getpid(), signal.SIGKILL)


async def opening(folder: str) -> dict[str, float]:
    """Returns seconds, seconds of CPU, the longest turn in seconds, and bytes read, of opening all logs."""
    longest = 0.0

    async def probe() -> None:
        nonlocal longest
        last = time.perf_counter()
        while True:
            await asyncio.sleep(TURNS_OF)
            now = time.perf_counter()
            longest, last = max(longest, now - last - TURNS_OF), now

    disk = RealDisk()
    probing = asyncio.create_task(probe())
    read, cpu, began = _bytes_read(), time.process_time(), time.perf_counter()
    logs, data, tasks = await measures.open_logs(disk, folder)
    found = {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
        "longest": longest,
        "read": _bytes_read() - read,
    }
    probing.cancel()
    await measures.close(logs, data, tasks)
    disk.close()
    return found


def _bytes_read() -> int:
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])


def yardstick(folder: str) -> dict[str, float]:
    cpu, began = time.process_time(), time.perf_counter()
    for name in os.listdir(folder):
        if name.startswith("t-"):
            names = os.listdir(f"{folder}/{name}")
            for one in names:
                os.stat(f"{folder}/{name}/{one}")
            for one in SMALL_FILES:
                descriptor = os.open(f"{folder}/{name}/{one}", os.O_RDONLY)
                os.pread(descriptor, 4096, 0)
                os.close(descriptor)
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}


def _in_process(step: str, folder: str, *arguments: int) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.start", f"--{step}", folder, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    found: dict[str, float] = json.loads(done.stdout) if done.stdout else {}
    return found


def _row(name: str, found: dict[str, float], yard: dict[str, float]) -> tuple[str, ...]:
    figures = (f"{found['seconds']:.2f}", f"{found['cpu']:.2f}", f"{found['cpu'] / yard['cpu']:.1f}")
    return (name, *figures, f"{found['longest'] * 1000:.0f}", f"{found['read'] / 1e6:.1f}")


def measure(partitions: int, segments: int) -> None:
    batch = len(a_batch())
    with tempfile.TemporaryDirectory(prefix="dohle-bench-") as folder:
        _in_process("fill", folder, partitions, segments)
        yard = yardstick(folder)
        clean = [_in_process("opening", folder) for _ in range(3)]
        rows = [_row("clean", one, yard) for one in clean]
        _in_process("append-and-die", folder)
        rows.append(_row("killed", _in_process("opening", folder), yard))
        stored = sum(path.stat().st_size for path in Path(folder).glob("*/*.log"))
    print_table(("STOP", "S", "CPU, S", "x YARDSTICK'S CPU", "LONGEST TURN, MS", "MB READ"), rows)
    unsure = len(range(0, partitions, 10)) * batch
    print(f"yardstick: {yard['seconds']:.2f} s, CPU {yard['cpu']:.2f} s; {partitions:,} logs, {stored / 1e6:.0f} MB of")
    print(f"batches, of which {unsure / 1e6:.1f} MB were above the recovery points after the kill")


def measure_large(partitions: int, mib: int) -> None:
    with tempfile.TemporaryDirectory(prefix="dohle-bench-") as folder:
        _in_process("grow-and-die", folder, partitions, mib)
        yard = yardstick(folder)
        shutil.copytree(folder, f"{folder}/kept")  # a start that ends well leaves nothing to recover
        rows = [_row("killed", _in_process("opening", f"{folder}/kept"), yard)]
        for path in Path(folder).glob("t-*/*.seals"):
            path.unlink()
        rows.append(_row("killed, no seals", _in_process("opening", folder), yard))
    print_table(("STOP", "S", "CPU, S", "x YARDSTICK'S CPU", "LONGEST TURN, MS", "MB READ"), rows)


def main(arguments: Sequence[str]) -> int:
    match arguments:
        case ["--large", *wanted]:
            measure_large(*([int(one) for one in wanted] + [20, 64][len(wanted) :]))
        case ["--grow-and-die", folder, partitions, mib]:
            uvloop.run(grow_and_die(folder, int(partitions), int(mib) << 20))
        case ["--fill", folder, partitions, segments]:
            uvloop.run(fill(folder, int(partitions), int(segments)))
        case ["--append-and-die", folder]:
            uvloop.run(append_and_die(folder))
        case ["--opening", folder]:
            print(json.dumps(uvloop.run(opening(folder))))
        case _:
            wanted = [int(one) for one in arguments]
            measure(*(*wanted, *(PARTITIONS, SEGMENTS)[len(wanted) :]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
