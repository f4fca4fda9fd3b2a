"""Several folders of logs: which replica goes where, and that each folder keeps its own account."""

from __future__ import annotations

import asyncio
import contextlib
import errno

import pytest

from dohle.model.errors import StorageFailure
from dohle.model.ids import TopicId
from dohle.model.topic_config import TopicConfig
from dohle.runtime.tasks import Tasks
from dohle.storage.data_folder import DataFolder, format_folder
from dohle.storage.log_dirs import LogDirs
from dohle.storage.new_log import NewLog
from tests.storage.fault_disk import FaultDisk
from tests.storage.world import CLUSTER, TOPIC_ID, StillClock, batch

PATHS = ("one", "two", "three")


class Machine:
    """A machine with several disks, which are folders of one disk in memory."""

    def __init__(self) -> None:
        self.disk = FaultDisk()
        self.failures: list[BaseException] = []
        self.essential: str | None = None
        self.paths = PATHS

    def break_disk(self, path: str) -> None:
        broken = self.disk.fault

        def fault(operation: str, at: str) -> OSError | None:
            is_there = operation == "sync" and (at.startswith(f"{path}/") or at == path)
            return OSError(errno.EIO, "broken") if is_there else broken(operation, at)

        self.disk.fault = fault

    def mend_disk(self) -> None:
        self.disk.fault = lambda _operation, _path: None

    async def start(self) -> LogDirs:
        self.tasks = Tasks("test", self.failures.append)
        self.data = []
        for path in self.paths:
            number = PATHS.index(path)
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
            essential=self.essential,
        )
        return self.dirs

    async def stop(self) -> None:
        await self.dirs.close(broker_epoch=5)
        await self.tasks.close()
        for folder in self.data:
            folder.close()

    async def kill(self) -> None:
        await self.tasks.close()
        self.disk.locked.clear()


def new(partition: int, topic_id: TopicId = TOPIC_ID) -> NewLog:
    return NewLog("t", partition, topic_id, TopicConfig())


def where(dirs: LogDirs) -> list[list[int]]:
    return [sorted(partition for _, partition in folder.logs) for folder in dirs.folders]


async def test_new_replicas_go_where_the_fewest_are():
    machine = Machine()
    dirs = await machine.start()
    await dirs.create_logs([new(0), new(1), new(2), new(3)])
    assert where(dirs) == [[0, 3], [1], [2]]
    await dirs.delete_log(dirs.logs()[2])
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


async def test_of_a_replica_in_two_folders_that_counts_whose_folder_has_seen_more():
    machine = Machine()
    dirs = await machine.start()
    await dirs.create_logs([new(0)])
    await dirs.put_metadata_offset(10)
    await dirs.folders[1].create_logs([new(0)])
    await dirs.folders[1].put_metadata_offset(20)
    await machine.stop()
    dirs = await machine.start()
    assert where(dirs) == [[], [0], []]
    assert any(name.endswith("-stray") for name in machine.disk.list("one"))
    await machine.stop()


async def test_a_folder_that_fails_takes_only_its_own_logs_with_it():
    machine = Machine()
    dirs = await machine.start()
    logs = await dirs.create_logs([new(number) for number in range(6)])
    gone = []
    dirs.on_offline = gone.append
    machine.break_disk("two")
    for log in logs:
        log.append_as_leader(batch(), 0, 0)
    outcomes = await asyncio.gather(*(log.flush() for log in logs), return_exceptions=True)
    assert [isinstance(outcome, StorageFailure) for outcome in outcomes] == [False, True, False] * 2
    assert [folder.path for folder in gone] == ["two"]
    assert [folder.path for folder in dirs.online] == ["one", "three"]
    assert "two has failed" in dirs.offline["two"]
    assert not machine.failures
    await dirs.create_logs([new(6), new(7)])
    assert where(dirs) == [[0, 3, 6], [1, 4], [2, 5, 7]]
    await dirs.delete_log(logs[1])
    assert where(dirs) == [[0, 3, 6], [4], [2, 5, 7]]
    await machine.stop()

    machine.mend_disk()
    dirs = await machine.start()
    assert where(dirs) == [[0, 3, 6], [1, 4], [2, 5, 7]]  # what was deleted is its owner's to set aside
    await machine.stop()


async def test_new_logs_go_elsewhere_if_their_folder_fails_as_they_are_made():
    machine = Machine()
    dirs = await machine.start()
    machine.break_disk("one")
    await dirs.create_logs([new(number) for number in range(4)])
    assert where(dirs) == [[], [1, 3], [0, 2]] or where(dirs) == [[], [0, 1], [2, 3]]
    assert not machine.failures
    await machine.stop()


@pytest.mark.parametrize(("essential", "broken"), [("one", ["one"]), (None, ["one", "two", "three"])])
async def test_the_node_ends_with_its_last_folder_or_that_of_its_metadata(essential, broken):
    machine = Machine()
    machine.essential = essential
    dirs = await machine.start()
    for path in broken:
        assert not machine.failures
        machine.break_disk(path)
        with contextlib.suppress(StorageFailure):
            await dirs.put_metadata_offset(1)
    assert isinstance(machine.failures[0], StorageFailure)
    with pytest.raises(StorageFailure):
        await dirs.create_logs([new(0)])
    await machine.stop()


async def test_a_folder_whose_disk_fails_at_the_start_is_done_without():
    machine = Machine()
    dirs = await machine.start()
    await dirs.create_logs([new(0), new(1), new(2)])
    await machine.kill()
    machine.break_disk("two")
    dirs = await machine.start()
    assert [log.key[1] for log in dirs.logs()] == [0, 2]
    assert list(dirs.offline) == ["two"]
    await machine.stop()


async def test_a_folder_that_fails_as_a_log_is_set_aside_keeps_it_and_the_node_goes_on():
    machine = Machine()
    dirs = await machine.start()
    logs = await dirs.create_logs([new(0), new(1), new(2)])
    machine.break_disk("two")
    assert await dirs.mark_stray(logs[1]) is None
    assert not machine.failures
    assert list(dirs.offline) == ["two"]
    assert (await dirs.mark_stray(logs[2]) or "").endswith("-stray")
    assert list(await dirs.metadata_offsets()) == [dirs.folders[0], dirs.folders[2]]
    await machine.stop()
