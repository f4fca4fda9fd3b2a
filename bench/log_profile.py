"""Where an append and a read of a log spend their time: microseconds of CPU time by the line that takes them.

    python -m bench.log_profile [BYTES [SECONDS]]

Batches of 16 KB, by default, are appended to one log as a leader does, some hundred between two syncs, which are left
out, and read back from the page cache, for so long each; a timer of the process's CPU time looks a few hundred times a
second which line of Python runs. What a line calls in C, as a system call or a checksum, counts as that line's.
"""

from __future__ import annotations

import linecache
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import FrameType

import uvloop

from bench import measures
from bench.log_costs import a_batch
from dohle.cli.output import print_table
from dohle.model.topic_config import TopicConfig
from dohle.runtime.files import RealDisk
from dohle.storage.log import Log
from dohle.storage.log_folder import NewLog

BYTES, SECONDS = 16_000, 2.0
EVERY_S = 0.001
SHOWN = 14
BURST = 300
_HERE = str(Path(__file__).parent.parent)

Line = tuple[str, int, str]


class Samples:
    """Which lines ran, by a timer of CPU time, between `begin` and `end`."""

    def __init__(self) -> None:
        self.lines: Counter[Line] = Counter()
        self.calls = 0
        self.cpu_s = 0.0
        self._looks = False

    def _look(self, _signal: int, frame: FrameType | None) -> None:
        if frame is not None and self._looks:
            code = frame.f_code
            self.lines[code.co_filename, frame.f_lineno, code.co_qualname] += 1

    async def of(
        self, burst: Callable[[], Awaitable[int]], between: Callable[[], Awaitable[None]], cpu_s: float
    ) -> None:
        """Looks while `burst` runs, which returns how many calls it has made; not at what is `between`."""
        former = signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)
        while self.cpu_s < cpu_s:
            self._looks, began = True, time.process_time()
            self.calls += await burst()
            self.cpu_s += time.process_time() - began
            self._looks = False
            await between()
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, former)

    def table(self, what: str) -> None:
        each_us, samples = self.cpu_s / self.calls * 1e6, sum(self.lines.values())
        print(f"\n{what}: {each_us:.1f} us of CPU time, {self.calls:,} times, {samples:,} samples\n")
        rows = []
        for (path, number, name), count in self.lines.most_common(SHOWN):
            place = f"{path.removeprefix(_HERE + '/')}:{number}"
            text = linecache.getline(path, number).strip()
            rows.append((f"{each_us * count / samples:.2f}", f"{count / samples:.0%}", f"{name} ({place})", text[:70]))
        print_table(("US", "SHARE", "WHERE", "LINE"), rows)


async def profile(log: Log, size: int, seconds: float) -> None:
    batch, appends, reads = a_batch(size), Samples(), Samples()

    async def append() -> int:
        for _ in range(BURST):
            log.append_as_leader(batch, 1, 1)
        return BURST

    async def sync() -> None:
        await log.flush()

    async def read() -> int:
        for offset in range(log.log_end_offset - BURST, log.log_end_offset):
            await log.read(offset, size + 100, up_to=log.log_end_offset)
        return BURST

    async def nothing() -> None:
        pass

    await appends.of(append, sync, seconds)
    await reads.of(read, nothing, seconds)
    appends.table(f"an append of {size:,} bytes")
    reads.table(f"a read of {size:,} bytes")


async def run(size: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="dohle-bench-") as folder:
        disk = RealDisk()
        opened = await measures.format_and_open(disk, folder)
        [log] = await opened[0].create_logs([NewLog("profile", 0, measures.TOPIC_ID, TopicConfig())])
        await profile(log, size, seconds)
        await measures.close(*opened)
        disk.close()


def main(arguments: Sequence[str]) -> int:
    size = int(arguments[0]) if arguments else BYTES
    uvloop.run(run(size, float(arguments[1]) if len(arguments) > 1 else SECONDS))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
