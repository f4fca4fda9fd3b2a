"""A log folder on a disk in memory, and how to stop it and start it again."""

from __future__ import annotations

import asyncio
from random import Random

from dohle.model.ids import TopicId
from dohle.model.records import Record, encode_batch
from dohle.model.topic_config import TopicConfig
from dohle.runtime.clock import LoopClock
from dohle.runtime.tasks import Tasks
from dohle.storage.data_folder import DataFolder, format_folder
from dohle.storage.log import Log
from dohle.storage.log_folder import LogFolder
from tests.storage.fault_disk import FaultDisk

CLUSTER = "cluster"
TOPIC_ID = TopicId(bytes(range(16)))
PATH = "data"


class StillClock(LoopClock):
    """Time passes only by `passed`: nothing is checkpointed behind a test's back unless it says so."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> float:
        return self.time

    def wall_ms(self) -> int:
        return int(self.time * 1000)

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        self._sleepers.append((self.time + seconds, event))
        await event.wait()

    async def passed(self, seconds: float) -> None:
        """Lets time pass and everything come to rest that follows from it."""
        self.time += seconds
        for when, event in self._sleepers:
            if when <= self.time:
                event.set()
        self._sleepers = [(when, event) for when, event in self._sleepers if when > self.time]
        await rest()


async def rest() -> None:
    """Runs the loop until nothing is ready, as far as a disk in memory needs it."""
    for _ in range(50):
        await asyncio.sleep(0)


class World:
    """One node's folder. A restart gives another LogFolder on the same disk."""

    def __init__(self, config: TopicConfig | None = None) -> None:
        self.disk = FaultDisk()
        self.clock = StillClock()
        self.config = config if config is not None else TopicConfig()
        self.failures: list[BaseException] = []
        self.crashes: list[BaseException] = []

    async def start(self) -> LogFolder:
        if not self.disk.exists(f"{PATH}/meta.properties"):
            await format_folder(self.disk, PATH, cluster_id=CLUSTER, node_id=1, directory_id=bytes(16))
        self.tasks = Tasks("test", self.crashes.append)
        self.data = await DataFolder.open(self.disk, PATH, cluster_id=CLUSTER, node_id=1)
        self.folder = await LogFolder.open(
            self.disk, self.clock, self.data, self.tasks, on_failure=self.failures.append
        )
        for log in self.folder.logs.values():
            log.configure(self.config)
        return self.folder

    async def log(self, partition: int = 0) -> Log:
        """Returns the log, made if it is not there."""
        found = self.folder.logs.get(("t", partition))
        return found if found is not None else await self.folder.create_log("t", TOPIC_ID, partition, self.config)

    async def stop(self, broker_epoch: int = 7) -> None:
        await self.folder.close(broker_epoch=broker_epoch)
        await self.tasks.close()
        self.data.close()
        assert not self.crashes

    async def kill(self, random: Random | None = None) -> None:
        """Ends the process; with `random` the machine loses power as well."""
        crashed = self.disk.crash(random) if random is not None else None
        self.disk.fault = lambda _operation, _path: None
        await self.tasks.close()
        if crashed is not None:
            self.disk = crashed
        self.disk.locked.clear()

    async def restart(self) -> Log:
        await self.stop()
        await self.start()
        return await self.log()

    async def crash(self, random: Random | None = None) -> Log:
        await self.kill(random)
        await self.start()
        return await self.log()

    def path(self, name: str, partition: int = 0) -> str:
        return f"{PATH}/t-{partition}/{name}"

    def bytes_of(self, name: str) -> bytearray:
        """Returns the bytes of one of the log's files, to look at or to spoil."""
        return self.disk.files[self.path(name)].cached


SEGMENT = "00000000000000000000.log"


def batch(
    count: int = 1,
    *,
    size: int = 20,
    timestamp: int = 1000,
    producer: int = -1,
    producer_epoch: int = 0,
    sequence: int = 0,
) -> bytes:
    records = [Record(None, bytes([65 + i % 26]) * size, (), timestamp + i) for i in range(count)]
    if producer < 0:
        return encode_batch(records)
    return encode_batch(records, producer_id=producer, producer_epoch=producer_epoch, base_sequence=sequence)
