"""What the machine does without Dohle, measured next to each figure, so that figures of different days compare."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

PIECE = bytes(1 << 20)


def page_cache_write_mb_s(folder: Path, megabytes: int = 512) -> float:
    """Returns MB/s of appending 1 MiB pieces to a file, without a sync."""
    path = folder / "yardstick"
    with open(path, "wb", buffering=0) as file:
        started = time.perf_counter()
        file.writelines(PIECE for _ in range(megabytes))
        seconds = time.perf_counter() - started
    path.unlink()
    return megabytes * len(PIECE) / 1e6 / seconds


def append_and_sync_p99_ms(folder: Path, times: int = 500) -> float:
    """Returns the 99th percentile of appending 4 KiB and fdatasync, in ms."""
    path = folder / "yardstick"
    taken: list[float] = []
    with open(path, "wb", buffering=0) as file:
        for _ in range(times):
            started = time.perf_counter()
            file.write(PIECE[:4096])
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - started)
    path.unlink()
    return sorted(taken)[int(times * 0.99)] * 1000


def sync_beside_bulk(folder: Path, megabytes: int, seconds: float) -> tuple[float, float]:
    """Returns p99s in seconds of appending 1 KB and fdatasync every few ms: alone, and beside another process.

    The other one appends as many megabytes in that time, and syncs each of them.
    """
    path = folder / "yardstick-bulk"
    alone = _append_and_sync(folder, lambda count: count < 500)
    with subprocess.Popen([sys.executable, "-c", _BULK, str(path), str(megabytes), str(seconds)]) as bulk:
        beside = _append_and_sync(folder, lambda _: bulk.poll() is None)
    path.unlink()
    return alone, beside


def _append_and_sync(folder: Path, goes_on: Callable[[int], bool]) -> float:
    path = folder / "yardstick"
    taken: list[float] = []
    with open(path, "wb", buffering=0) as file:
        while goes_on(len(taken)):
            started = time.perf_counter()
            file.write(PIECE[:1000])
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - started)
            time.sleep(0.004)
    path.unlink()
    return sorted(taken)[int((len(taken) - 1) * 0.99)]


_BULK = """
import os, sys, time
path, megabytes, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
piece, began = os.urandom(1 << 20), time.perf_counter()
with open(path, "wb", buffering=0) as file:
    for number in range(megabytes):
        file.write(piece)
        os.fdatasync(file.fileno())
        time.sleep(max(0.0, began + seconds * (number + 1) / megabytes - time.perf_counter()))
"""


def loopback_mb_s(megabytes: int = 2048) -> float:
    """Returns MB/s from one thread to another over a TCP connection on loopback."""
    listener = socket.create_server(("127.0.0.1", 0))

    def receive() -> None:
        accepted, _ = listener.accept()
        buffer = bytearray(len(PIECE))
        while accepted.recv_into(buffer):
            pass
        accepted.close()

    receiver = threading.Thread(target=receive)
    receiver.start()
    with socket.create_connection(listener.getsockname()) as sender:
        started = time.perf_counter()
        for _ in range(megabytes):
            sender.sendall(PIECE)
    receiver.join()
    seconds = time.perf_counter() - started
    listener.close()
    return megabytes * len(PIECE) / 1e6 / seconds


def interpreter_start_s() -> float:
    """Returns how long a Python process takes to start, import gRPC and end."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import grpc.aio, uvloop"], check=True)
    return time.perf_counter() - started


_IDLE = """
import asyncio, grpc.aio, uvloop, pathlib, time
async def idle():
    before = time.process_time()
    for _ in range({ticks}):
        await asyncio.sleep(0.05)
    status = pathlib.Path("/proc/self/status").read_text()
    print(time.process_time() - before, status.split("VmRSS:")[1].split()[0])
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(idle())
"""


def idle_loop(seconds: float = 5.0) -> tuple[float, float]:
    """Returns RSS in MB and CPU in percent of a process that imported gRPC and wakes 20 times a second."""
    script = _IDLE.format(ticks=int(seconds / 0.05))
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    cpu_seconds, rss_kb = result.stdout.split()
    return float(rss_kb) / 1e3, 100 * float(cpu_seconds) / seconds


def open_files_s(folder: Path, count: int = 1000) -> float:
    """Returns how long it takes to make and open `count` small files in folders of their own, once they are cached."""
    for number in range(count):
        (folder / f"y{number}").mkdir()
        (folder / f"y{number}" / "file").write_bytes(b"x")
    started = time.perf_counter()
    for number in range(count):
        descriptor = os.open(folder / f"y{number}" / "file", os.O_RDWR)
        os.fstat(descriptor)
        os.close(descriptor)
    seconds = time.perf_counter() - started
    for number in range(count):
        (folder / f"y{number}" / "file").unlink()
        (folder / f"y{number}").rmdir()
    return seconds
