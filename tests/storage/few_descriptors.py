"""A node's storage, in a process that may have few descriptors: `python -m tests.storage.few_descriptors FOLDER`.

Writes to more logs, of several segments each, than there are descriptors; then reads all of it, stops, starts, is
killed and starts again. Ends with an error if anything is missing, or any directory has failed.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys

from dohle.model.ids import TopicId
from dohle.model.topic_config import TopicConfig
from dohle.runtime.clock import LoopClock
from dohle.runtime.files import RealDisk
from dohle.runtime.tasks import Tasks
from dohle.storage.data_folder import DataFolder, format_folder
from dohle.storage.log_folder import LogFolder
from dohle.storage.new_log import NewLog
from tests.storage.world import batch

DESCRIPTORS = 64
LOGS = 80
CONFIG = TopicConfig(segment_bytes=1000, index_interval_bytes=200)


def fail(failure: BaseException) -> None:
    raise failure


async def started(disk: RealDisk, path: str) -> tuple[LogFolder, DataFolder, Tasks]:
    tasks = Tasks("few", fail)
    data = await DataFolder.open(disk, path, cluster_id="c", node_id=1)
    folder = await LogFolder.open(disk, LoopClock(), data, tasks, on_failure=fail)
    return folder, data, tasks


async def fill(folder: LogFolder) -> None:
    for turn in range(9):
        for log in folder.logs.values():
            log.append_as_leader(batch(2, size=200, timestamp=turn), 0, 0)
        if turn % 3 == 0:
            await asyncio.gather(*(log.flush() for log in folder.logs.values()))
        else:
            await asyncio.sleep(0)
    await asyncio.gather(*(log.flush() for log in folder.logs.values()))


async def read(folder: LogFolder) -> None:
    assert len(folder.logs) == LOGS
    for log in folder.logs.values():
        assert (log.damage, log.log_end_offset, log.durable_end) == (None, log.log_end_offset, log.log_end_offset)
        for offset in range(0, log.log_end_offset, 2):
            assert len(await log.read(offset, 1, up_to=log.log_end_offset)) == len(batch(2, size=200))
        assert await log.times.first_at(7) == (13, 7)


async def main(path: str) -> None:
    disk = RealDisk(threads=2)
    await format_folder(disk, path, cluster_id="c", node_id=1, directory_id=bytes(16))
    folder, data, tasks = await started(disk, path)
    await folder.create_logs([NewLog("t", number, TopicId(bytes(16)), CONFIG) for number in range(LOGS)])
    for clean in (True, False):
        await fill(folder)
        ends = [log.log_end_offset for log in folder.logs.values()]
        await read(folder)
        if clean:
            await folder.close(broker_epoch=1)
        else:
            await folder.close(clean=False)
        await tasks.close()
        data.close()
        folder, data, tasks = await started(disk, path)
        assert [log.log_end_offset for log in folder.logs.values()] == ends
        for log in folder.logs.values():
            log.configure(CONFIG)
        await read(folder)
    await folder.close()
    await tasks.close()
    data.close()
    disk.close()
    segments = sum(name.endswith(".log") for _, _, names in os.walk(path) for name in names)
    assert segments > 10 * DESCRIPTORS
    print(f"{segments} segments")  # noqa: T201 - for who runs this by hand


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    asyncio.run(main(sys.argv[1]))
