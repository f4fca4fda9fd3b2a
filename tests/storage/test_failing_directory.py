"""One directory of several fails, at each operation of its disk in turn: the others go on, and nothing is lost."""

from __future__ import annotations

import pytest

from dohle.model.errors import StorageFailure
from dohle.model.topic_config import TopicConfig
from dohle.runtime.tasks import Tasks
from dohle.storage.checkpoints import LogKey
from dohle.storage.data_folder import DataFolder, UnusableFolder
from dohle.storage.log import Log
from dohle.storage.log_dirs import LogDirs
from dohle.storage.log_folder import LogFolder
from tests.storage.fault_disk import FailingDirectory
from tests.storage.test_crashes import content
from tests.storage.test_log_dirs import PATHS, Machine, new
from tests.storage.test_moved_logs import copied
from tests.storage.world import CLUSTER, StillClock, batch

BROKEN = "two"
OF_A_START = 60
"""So many operations are those of a start at most, which depends on the stop before it."""


class Life:
    """A node's life with its logs: what was acknowledged, and what the owner gave up."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.acknowledged: dict[LogKey, int] = {}
        self.gone: set[LogKey] = set()
        self.clock = StillClock()
        self._epoch = 0

    @property
    def dirs(self) -> LogDirs:
        return self.machine.dirs

    async def start(self) -> None:
        """As a node does: what cannot be used is offline."""
        machine = self.machine
        machine.tasks = Tasks("test", machine.failures.append)
        machine.data, offline = [], {}
        for path in PATHS:
            try:
                machine.data.append(await DataFolder.open(machine.disk, path, cluster_id=CLUSTER, node_id=1))
            except UnusableFolder as error:
                offline[path] = error.message
        machine.dirs = await LogDirs.open(
            machine.disk,
            self.clock,
            machine.data,
            machine.tasks,
            on_failure=machine.failures.append,
            producer_expiration_ms=1000,
            offline=offline,
        )
        await self.dirs.metadata_offsets()
        await self.dirs.findings_reported()
        for log in self.dirs.logs():
            log.configure(TopicConfig(segment_bytes=1500, flush_messages=2 if log.key[1] == 0 else 1))

    async def creates(self, *partitions: int) -> None:
        for log in await self.dirs.create_logs([new(number) for number in partitions]):
            self.acknowledged[log.key] = 0

    async def writes(self, count: int) -> None:
        self._epoch += 1
        for log in self.dirs.logs():
            try:
                for _ in range(count):
                    log.append_as_leader(batch(size=300, producer=1, sequence=log.log_end_offset), self._epoch, 0)
                end = await log.flush()
            except StorageFailure:
                assert self._lies_in_the_broken(log)
            else:
                self.acknowledged[log.key] = end

    async def truncates(self, partition: int) -> None:
        log = self.dirs.log(("t", partition))
        if log is not None:
            cut = log.log_end_offset - 2
            self.acknowledged[log.key] = min(cut, self.acknowledged[log.key])
            try:
                await log.truncate_to(cut)
            except StorageFailure:
                assert self._lies_in_the_broken(log)

    async def moves(self, partition: int, path: str) -> None:
        log, target = self.dirs.log(("t", partition)), self._folder(path)
        if log is None or target is None:
            return
        ends = BROKEN in (path, self.dirs.folder_of(log).path)
        copy: Log | None = None
        try:
            copy = await copied(self.dirs, log, path)
            await self.dirs.move(log, copy)
        except StorageFailure:
            assert ends, "neither of the two directories has failed"
            if copy is not None and self.dirs.log(log.key) is not copy:
                await target.drop_copy(copy)

    async def gives_up(self, deleted: int, set_aside: int) -> None:
        for number in (deleted, set_aside):
            log = self.dirs.log(("t", number))
            if log is not None:
                await (self.dirs.delete_log(log) if number == deleted else self.dirs.mark_stray(log))
                self.gone.add(log.key)

    def _folder(self, path: str) -> LogFolder | None:
        return next((folder for folder in self.dirs.online if folder.path == path), None)

    def _lies_in_the_broken(self, log: Log) -> bool:
        return log.folder.startswith(f"{BROKEN}/")

    def goes_on(self) -> None:
        assert not self.machine.failures
        assert {folder.path for folder in self.dirs.online} >= set(PATHS) - {BROKEN}

    async def lost_nothing(self) -> None:
        """The disk is sound again, and the node has started anew."""
        assert not self.dirs.offline
        for key, count in self.acknowledged.items():
            there = [folder.logs[key] for folder in self.dirs.folders if key in folder.logs]
            assert len(there) == 1 or (key in self.gone and len(there) <= 1), (key, len(there))
            for log in there:
                assert log.damage is None
                assert log.log_end_offset >= count, key
                assert len(await content(log)) == log.log_end_offset, key


async def lived(first: int, *, clean: bool, stays: bool) -> bool:
    """Returns whether the disk has failed; it does not if nothing was left to do at its `first` operation."""
    life = Life()
    await life.machine.start()
    await life.creates(*range(6))
    await life.writes(3)
    await life.dirs.put_metadata_offset(10)
    await (life.machine.stop() if clean else life.machine.kill())
    if not clean:  # a torn tail, of which the next start has something to report
        life.machine.disk.files[f"{BROKEN}/t-1/{0:020d}.log"].cached += bytes(700)
    disk = FailingDirectory(life.machine.disk, BROKEN, first, stays=stays)

    await life.start()
    life.goes_on()
    await life.writes(4)
    await life.creates(6, 7, 8)
    await life.dirs.put_metadata_offset(20)
    life.goes_on()
    await life.truncates(1)
    await life.moves(0, BROKEN)
    await life.moves(4, "three")
    life.goes_on()
    await life.clock.passed(1.5)  # checkpoints
    await life.gives_up(deleted=7, set_aside=1)
    await life.writes(2)
    life.goes_on()
    await life.machine.stop()
    life.goes_on()

    life.machine.mend_disk()
    life.machine.disk.locked.clear()
    await life.machine.start()
    await life.lost_nothing()
    await life.machine.stop()
    assert not life.machine.failures
    return disk.struck


@pytest.mark.parametrize("stays", [True, False])
@pytest.mark.parametrize("clean", [True, False])
async def test_a_directory_that_fails_at_any_operation_takes_no_other_with_it(clean: bool, stays: bool) -> None:
    first = 1
    while await lived(first, clean=clean, stays=stays):
        first += 1 if first <= OF_A_START else 3
    assert first > 2 * OF_A_START
