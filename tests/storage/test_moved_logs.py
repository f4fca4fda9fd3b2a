"""A replica moves to another folder of its node: whole and once, whenever the process ends on the way."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator

import pytest

from dohle.model.errors import StorageFailure
from dohle.model.topic_config import TopicConfig
from dohle.storage.log import Log
from dohle.storage.log_dirs import LogDirs
from tests.storage.test_crashes import content
from tests.storage.test_log_dirs import PATHS, Machine, new, where
from tests.storage.world import batch

KEY = ("t", 0)


class Killed(Exception):
    """The process ends here."""


async def written(dirs: LogDirs) -> Log:
    [log] = await dirs.create_logs([new(0)])
    log.configure(TopicConfig(segment_bytes=2000))
    for number in range(30):
        log.append_as_leader(batch(2, size=100, producer=number % 3, sequence=number // 3 * 2), number // 10, 0)
    log.start_epoch(7)
    await log.flush()
    log.advance_high_watermark(50)
    return log


async def copied(dirs: LogDirs, log: Log, path: str) -> Log:
    source, target = dirs.folder_of(log), next(folder for folder in dirs.folders if folder.path == path)
    copy = await target.begin_copy(log, source.directory_id, 0)
    for _, data in await content(log):
        copy.append_as_follower(data, log.last_epoch)
    await copy.flush()
    copy.takes_over(log)
    return copy


async def moved(dirs: LogDirs, log: Log, path: str) -> None:
    await dirs.move(log, await copied(dirs, log, path))


async def test_the_copy_is_all_that_the_original_was() -> None:
    machine = Machine()
    dirs = await machine.start()
    log = await written(dirs)
    batches, epochs = await content(log), log.epochs.entries
    copy = await copied(dirs, log, "two")
    assert dirs.log(KEY) is log
    await dirs.move(log, copy)
    assert dirs.log(KEY) is copy
    assert where(dirs) == [[], [0], []]
    assert copy.high_watermark == 50
    copy.append_as_leader(batch(), 7, 0)
    await copy.flush()
    await machine.kill()
    dirs = await machine.start()
    again = dirs.log(KEY)
    assert again is not None
    assert (await content(again))[:-1] == batches
    assert again.epochs.entries == epochs
    assert where(dirs) == [[], [0], []]
    assert [name for path in PATHS for name in machine.disk.list(path) if name.startswith("t-0")] == ["t-0"]
    assert not machine.failures
    await machine.stop()


@pytest.mark.parametrize("fills", [True, False])
async def test_a_replica_that_is_being_filled_goes_on_filling_where_it_has_moved(fills: bool) -> None:
    machine = Machine()
    dirs = await machine.start()
    [log] = await dirs.create_logs([dataclasses.replace(new(0), fills=True)])
    log.append_as_leader(batch(), 1, 0)
    await log.flush()
    copy = await copied(dirs, log, "two")
    if not fills:
        dirs.folder_of(log).filled(log)  # it has become whole while it was copied
    await dirs.move(log, copy)
    assert dirs.folder_of(copy).fills(copy) is fills
    await machine.kill()
    dirs = await machine.start()
    again = dirs.folders[1].logs[KEY]
    assert dirs.folder_of(again).fills(again) is fills
    dirs.folder_of(again).filled(again)
    assert not dirs.folder_of(again).fills(again)
    await machine.stop()


async def test_a_process_that_ends_at_any_moment_leaves_one_replica_and_a_whole_one() -> None:
    for step in range(200):
        machine = Machine()
        dirs = await machine.start()
        log = await written(dirs)
        batches = await content(log)
        steps = iter(range(step))

        def fault(_operation: str, _path: str, steps: Iterator[int] = steps) -> OSError | None:
            if next(steps, None) is None:
                raise Killed
            return None

        machine.disk.fault = fault
        moving = asyncio.create_task(moved(dirs, log, "two"))
        while not moving.done() and not machine.failures:  # the group commit's own task may be what ended
            await asyncio.sleep(0)
        ended = bool(machine.failures) or moving.exception() is not None
        moving.cancel()
        machine.mend_disk()
        await machine.kill()
        dirs = await machine.start()
        assert sum(KEY in folder.logs for folder in dirs.folders) == 1, step
        found = dirs.log(KEY)
        assert found is not None
        assert await content(found) == batches, step
        names = [name for path in PATHS for name in machine.disk.list(path) if name.startswith("t-0")]
        assert names == ["t-0"], step
        await machine.stop()
        if not ended:
            assert step > 20
            return
    raise AssertionError("it never ends")


async def test_a_target_that_fails_leaves_the_original_in_service() -> None:
    machine = Machine()
    dirs = await machine.start()
    log = await written(dirs)
    copy = await copied(dirs, log, "two")
    machine.break_disk("two")
    with pytest.raises(StorageFailure):
        await dirs.move(log, copy)
    assert dirs.log(KEY) is log
    log.append_as_leader(batch(), 7, 0)
    assert await log.flush() == 61
    await machine.kill()
    machine.mend_disk()
    dirs = await machine.start()
    assert where(dirs) == [[0], [], []]
    assert len(await content(dirs.folders[0].logs[KEY])) == 31
    await machine.stop()


async def test_a_source_that_fails_at_the_last_moment_keeps_the_replica_offline() -> None:
    machine = Machine()
    dirs = await machine.start()
    log = await written(dirs)
    copy = await copied(dirs, log, "two")
    machine.break_disk("one")
    with pytest.raises(StorageFailure):
        await dirs.move(log, copy)
    assert dirs.log(KEY) is None
    assert KEY in dirs.folders[0].logs, "it is reported with the directory that has failed"
    await dirs.folders[1].drop_copy(copy)
    assert machine.disk.exists("two/t-0-moved"), "it may be the replica: the other one may have gone"
    await machine.kill()
    machine.mend_disk()
    dirs = await machine.start()
    assert sum(KEY in folder.logs for folder in dirs.folders) == 1
    await machine.stop()


async def test_a_whole_copy_waits_for_the_directory_that_may_have_the_original() -> None:
    machine = Machine()
    dirs = await machine.start()
    log = await written(dirs)
    copy = await copied(dirs, log, "two")
    await dirs.folders[1].finish_copy(copy, fills=False)
    log.append_as_leader(batch(), 7, 0)
    await log.flush()
    await machine.kill()
    machine.paths = ("two", "three")
    dirs = await machine.start()
    assert where(dirs) == [[], []]
    await machine.stop()
    machine.paths = PATHS
    dirs = await machine.start()
    assert where(dirs) == [[0], [], []]
    assert dirs.folders[0].logs[KEY].log_end_offset == 61
    assert not machine.disk.exists("two/t-0-moved")
    await machine.stop()


async def test_a_retirement_is_durable_before_a_start_takes_the_copy() -> None:
    machine = Machine()
    dirs = await machine.start()
    log = await written(dirs)
    copy = await copied(dirs, log, "two")
    await dirs.folders[1].finish_copy(copy, fills=False)
    await dirs.folders[0].retire(*KEY)
    await machine.kill()
    synced: list[str] = []

    def fault(operation: str, path: str) -> OSError | None:
        if operation == "sync" and machine.disk.exists("two/t-0-moved"):
            synced.append(path)
        return None

    machine.disk.fault = fault
    dirs = await machine.start()
    assert "one" in synced
    assert where(dirs) == [[], [0], []]
    await machine.stop()
