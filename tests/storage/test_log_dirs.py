"""Several folders of logs: which replica goes where, and that each folder keeps its own account."""

from __future__ import annotations

import pytest

from dohle.model.errors import DataFolderError
from dohle.model.ids import TopicId
from dohle.model.topic_config import TopicConfig
from dohle.runtime.tasks import Tasks
from dohle.storage.data_folder import DataFolder, format_folder
from dohle.storage.log_dirs import LogDirs
from dohle.storage.log_folder import NewLog
from tests.storage.fault_disk import FaultDisk
from tests.storage.world import CLUSTER, TOPIC_ID, StillClock, batch

PATHS = ("one", "two", "three")


class Machine:
    """A machine with several disks, which are folders of one disk in memory."""

    def __init__(self) -> None:
        self.disk = FaultDisk()
        self.failures: list[BaseException] = []

    async def start(self) -> LogDirs:
        self.tasks = Tasks("test", self.failures.append)
        self.data = []
        for number, path in enumerate(PATHS):
            if not self.disk.exists(f"{path}/meta.properties"):
                await format_folder(self.disk, path, cluster_id=CLUSTER, node_id=1, directory_id=bytes([number]) * 16)
            self.data.append(await DataFolder.open(self.disk, path, cluster_id=CLUSTER, node_id=1))
        self.dirs = await LogDirs.open(
            self.disk,
            StillClock(),
            self.data,
            self.tasks,
            on_failure=self.failures.append,
            producer_expiration_ms=1000,
        )
        return self.dirs

    async def stop(self) -> None:
        await self.dirs.close(broker_epoch=5)
        await self.tasks.close()
        for folder in self.data:
            folder.close()


def new(partition: int, topic_id: TopicId = TOPIC_ID) -> NewLog:
    return NewLog("t", partition, topic_id, TopicConfig())


def where(dirs: LogDirs) -> list[list[int]]:
    return [sorted(partition for _, partition in folder.logs) for folder in dirs.folders]


async def test_new_replicas_go_where_the_fewest_are():
    machine = Machine()
    dirs = await machine.start()
    await dirs.create_logs([new(0), new(1), new(2), new(3)])
    assert where(dirs) == [[0, 3], [1], [2]]
    await dirs.delete_log("t", 2)
    await dirs.create_logs([new(4), new(5)])
    assert where(dirs) == [[0, 3], [1, 5], [4]]
    await machine.stop()


async def test_replicas_are_found_again_where_they_were():
    machine = Machine()
    dirs = await machine.start()
    for log in await dirs.create_logs([new(number) for number in range(6)]):
        log.append_as_leader(batch(log.key[1] + 1), 0, 0)
        await log.flush()
    before = where(dirs)
    await machine.stop()
    dirs = await machine.start()
    assert where(dirs) == before
    assert dirs.previous_broker_epoch == 5
    assert [(log.key[1], log.durable_end) for log in dirs.logs()] == [(number, number + 1) for number in range(6)]
    await machine.stop()
    assert not machine.failures


async def test_a_stop_is_clean_only_if_every_folder_was_stopped_so():
    machine = Machine()
    await machine.start()
    await machine.stop()
    machine.disk.delete("two/.clean-shutdown")
    dirs = await machine.start()
    assert dirs.previous_broker_epoch == -1
    await machine.stop()


async def test_a_replica_that_is_in_two_folders_is_refused():
    machine = Machine()
    dirs = await machine.start()
    await dirs.create_logs([new(0)])
    await dirs.folders[1].create_logs([new(0)])
    await machine.stop()
    with pytest.raises(DataFolderError, match=r"t-0 is in one and in two"):
        await machine.start()
    await machine.tasks.close()
