"""Full disks: where new replicas go, what is refused and taken back, and that no folder fails by it."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable

import pytest

from dohle.model.errors import StorageFailure
from dohle.model.topic_config import TopicConfig
from dohle.storage.data_folder import LEAST_FREE_BYTES
from dohle.storage.log_dirs import LogDirs
from dohle.storage.room import DiskFull
from tests.storage.test_log_dirs import PATHS, Machine, new, where
from tests.storage.test_moved_logs import copied
from tests.storage.world import batch

CHANGES = ("append", "make_folder")


class Full:
    """Which of a machine's folders have how much room; nothing is written where there is none."""

    def __init__(self, machine: Machine, **free: int) -> None:
        self.free = free
        machine.disk.fault = self._fault
        machine.disk.free_bytes = self._free_bytes  # type: ignore[method-assign]

    def _fault(self, operation: str, path: str) -> OSError | None:
        is_full = self.free.get(path.split("/")[0]) == 0
        return OSError(errno.ENOSPC, "No space left", path) if is_full and operation in CHANGES else None

    def _free_bytes(self, path: str) -> int:
        return self.free.get(path, 1 << 40)


async def started() -> tuple[Machine, LogDirs]:
    machine = Machine()
    return machine, await machine.start()


def nothing_failed(machine: Machine) -> bool:
    return not machine.dirs.offline and not machine.failures


async def test_new_replicas_avoid_a_full_directory() -> None:
    machine, dirs = await started()
    Full(machine, two=0)
    await dirs.create_logs([new(number) for number in range(4)])
    assert where(dirs) == [[0, 2], [], [1, 3]]
    assert nothing_failed(machine)
    await machine.stop()


async def test_new_replicas_avoid_a_directory_without_room_for_a_segment() -> None:
    machine, dirs = await started()
    room = Full(machine, two=LEAST_FREE_BYTES + TopicConfig().segment_bytes - 1)
    await dirs.create_logs([new(0), new(1)])
    assert where(dirs) == [[0], [], [1]]
    small = dataclasses.replace(new(2), config=TopicConfig(segment_bytes=1 << 20))
    await dirs.create_logs([small])
    assert where(dirs) == [[0], [2], [1]]
    room.free.update(one=5000, two=9000, three=7000)
    await dirs.create_logs([new(3), new(4)])
    assert where(dirs) == [[0], [2, 3, 4], [1]], "none has room for a segment: where most is left"
    await machine.stop()


async def test_new_replicas_avoid_a_directory_that_is_away() -> None:
    machine, dirs = await started()
    machine.disk.rename("one", "away")
    await dirs.create_logs([new(0), new(1)])
    assert where(dirs) == [[], [0], [1]]
    assert not machine.disk.exists("one")
    await machine.stop()


async def test_nothing_is_made_where_a_disk_was_mounted() -> None:
    machine = Machine()
    machine.paths = ("one",)
    dirs = await machine.start()
    machine.disk.rename("one", "away")
    with pytest.raises(StorageFailure, match="not mounted any more"):
        await dirs.create_logs([new(0)])
    assert not machine.disk.exists("one")


async def test_what_fits_nowhere_is_not_made_at_all_and_can_be_later() -> None:
    machine, dirs = await started()
    room = Full(machine)
    steps = iter(range(5))

    def fills_up(operation: str, path: str) -> OSError | None:
        if operation in CHANGES and next(steps, None) is None:
            room.free.update(dict.fromkeys(PATHS, 0))
        return room._fault(operation, path)

    machine.disk.fault = fills_up
    with pytest.raises(DiskFull, match=r"two: .*three: .*one: "):
        await dirs.create_logs([new(number) for number in range(6)])
    assert where(dirs) == [[], [], []]
    assert not [name for path in PATHS for name in machine.disk.list(path) if name.startswith("t-")]
    assert nothing_failed(machine)
    machine.mend_disk()
    room.free.clear()
    await dirs.create_logs([new(number) for number in range(6)])
    assert where(dirs) == [[0, 3], [1, 4], [2, 5]]
    await machine.stop()
    dirs = await machine.start()
    assert dirs.previous_broker_epoch == 5
    await machine.stop()


async def test_the_metadata_offset_goes_into_the_last_block_of_its_file_where_the_disk_has_no_other() -> None:
    machine, dirs = await started()
    await dirs.put_metadata_offset(7)

    def no_new_file(operation: str, path: str) -> OSError | None:
        return OSError(errno.ENOSPC, "full") if operation == "append" and path.endswith(".tmp") else None

    machine.disk.fault = no_new_file
    await dirs.put_metadata_offset(100)
    await dirs.put_metadata_offset(1234)
    assert set((await dirs.metadata_offsets()).values()) == {1234}
    machine.disk.files["one/durable-metadata-offset"].cached += b"99"  # torn
    assert list((await dirs.metadata_offsets()).values()) == [1234, 1234, 1234]
    machine.mend_disk()
    await dirs.put_metadata_offset(2000)
    assert bytes(machine.disk.files["one/durable-metadata-offset"].durable) == b"2000\n"
    assert nothing_failed(machine)
    await machine.stop()


async def test_a_metadata_offset_that_cannot_be_written_is_told_and_fails_nothing() -> None:
    machine, dirs = await started()
    await dirs.put_metadata_offset(7)
    room = Full(machine, three=0)
    with pytest.raises(DiskFull, match=r"three: .*No space left"):
        await dirs.put_metadata_offset(8)
    assert list((await dirs.metadata_offsets()).values()) == [8, 8, 7]
    room.free.clear()
    await dirs.put_metadata_offset(9)
    assert nothing_failed(machine)
    await machine.stop()


async def test_a_process_without_a_descriptor_left_writes_no_checkpoint_and_fails_no_disk() -> None:
    machine, dirs = await started()
    [log] = await dirs.create_logs([new(0)])
    log.append_as_leader(batch(), 0, 0)
    await log.flush()
    refused: list[str] = []

    def none_left(operation: str, path: str) -> OSError | None:
        if operation not in CHANGES:
            return None
        refused.append(path)
        return OSError(errno.EMFILE, "Too many open files", path)

    machine.disk.fault = none_left
    await dirs.folders[0]._write_checkpoints()
    assert refused == ["one/t-0/leader-epoch-checkpoint.tmp"]
    with pytest.raises(DiskFull, match=r"Too many open files.*ulimit -n"):
        await dirs.put_metadata_offset(8)
    assert nothing_failed(machine)
    machine.mend_disk()
    await dirs.folders[0]._write_checkpoints()
    await dirs.put_metadata_offset(8)
    await machine.stop()


async def test_a_full_directory_takes_no_copy_and_the_replica_stays_in_service() -> None:
    machine, dirs = await started()
    [log] = await dirs.create_logs([new(0)])
    log.append_as_leader(batch(), 0, 0)
    await log.flush()
    copy = await copied(dirs, log, "two")
    Full(machine, two=0)
    with pytest.raises(DiskFull):
        await dirs.move(log, copy)
    await dirs.folders[1].drop_copy(copy)
    with pytest.raises(DiskFull):
        await dirs.folders[1].begin_copy(log, dirs.folders[0].directory_id, 0)
    assert dirs.log(("t", 0)) is log
    assert not [name for name in machine.disk.list("two") if name.startswith("t-")]
    assert nothing_failed(machine)
    await machine.stop()


@pytest.mark.parametrize("is_full", [lambda path: path.endswith(".index"), lambda path: path.endswith(".tmp")])
async def test_a_stop_on_a_full_disk_is_no_clean_one_and_no_failure(is_full: Callable[[str], bool]) -> None:
    machine, dirs = await started()
    [log] = await dirs.create_logs([new(0)])
    log.append_as_leader(batch(), 0, 0)
    await log.flush()
    machine.disk.fault = lambda operation, path: (
        OSError(errno.ENOSPC, "full") if operation == "append" and path.startswith("one/") and is_full(path) else None
    )
    await machine.stop()
    assert nothing_failed(machine)
    machine.mend_disk()
    dirs = await machine.start()
    assert dirs.previous_broker_epoch == -1
    assert dirs.logs()[0].log_end_offset == 1
    await machine.stop()


async def test_appends_count_only_once_synced_where_the_mark_that_says_otherwise_finds_no_room() -> None:
    machine, dirs = await started()
    relaxed = dataclasses.replace(new(0), config=TopicConfig(flush_messages=100))
    room = OSError(errno.ENOSPC, "full")
    machine.disk.fault = lambda operation, path: (
        room if operation == "open" and path.endswith("unsynced-appends") else None
    )
    [log] = await dirs.create_logs([relaxed])
    log.append_as_leader(batch(), 0, 0)
    assert log.counted_end == 0
    assert await log.flush() == 1
    assert nothing_failed(machine)
    await machine.stop()


async def test_a_sync_that_finds_no_room_has_lost_what_it_was_to_write() -> None:
    machine, dirs = await started()
    [log] = await dirs.create_logs([new(0)])
    machine.disk.fault = lambda operation, path: (
        OSError(errno.ENOSPC, "full") if operation == "sync" and path.startswith("one/") else None
    )
    log.append_as_leader(batch(), 0, 0)
    with pytest.raises(StorageFailure, match="has failed"):
        await log.flush()
    assert list(dirs.offline) == ["one"]
    await machine.stop()
