"""The simulated disk keeps what was synced, and makes no promise about the rest."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from dohle.testing.disk import SECTOR_BYTES, SimDisk
from dohle.testing.world import World


def on_a_disk(work: Callable[[SimDisk], Awaitable[None]], seed: int = 1) -> SimDisk:
    world = World(seed)
    disk = world.machines[1].disk

    async def script() -> None:
        await work(disk)

    world.run(script())
    return disk


def content(disk: SimDisk, path: str) -> bytes:
    found: list[bytes] = []

    async def read(disk: SimDisk) -> None:
        found.append(await disk.read_all(path))

    world = World(0)
    world.run(read(disk))
    return found[0]


@pytest.mark.parametrize("seed", range(20))
def test_what_was_synced_survives_a_loss_of_power_and_the_rest_in_whole_sectors(seed: int) -> None:
    async def work(disk: SimDisk) -> None:
        disk.make_folder("data")
        file = disk.open("data/log", create=True)
        file.append([b"s" * 700])
        await disk.sync([file], ["data", ""])
        file.append([b"u" * 3000])

    disk = on_a_disk(work, seed)
    disk.lose_power()
    found = content(disk, "data/log")
    assert found[:700] == b"s" * 700
    assert set(found[700:]) <= set(b"u\0")
    for start in range(2 * SECTOR_BYTES, len(found), SECTOR_BYTES):
        assert len(set(found[start : start + SECTOR_BYTES])) == 1, "a sector is there or not"


def test_unsynced_bytes_are_lost_with_some_seed_and_kept_with_another() -> None:
    async def work(disk: SimDisk) -> None:
        file = disk.open("log", create=True)
        await disk.sync([], [""])
        file.append([b"u" * 100])

    sizes = set()
    for seed in range(20):
        disk = on_a_disk(work, seed)
        disk.lose_power()
        sizes.add(len(content(disk, "log")))
    assert {0, 100} <= sizes


def test_a_rename_is_undone_or_done_but_never_half_until_its_folder_is_synced() -> None:
    async def work(disk: SimDisk) -> None:
        for name in ("a", "a.tmp"):
            file = disk.open(name, create=True)
            file.append([name.encode()])
            await disk.sync([file], [""])
        disk.rename("a.tmp", "a")

    found = set()
    for seed in range(20):
        disk = on_a_disk(work, seed)
        disk.lose_power()
        found.add((tuple(disk.list("")), content(disk, "a")))
    assert found == {(("a", "a.tmp"), b"a"), (("a",), b"a.tmp")}


def test_a_sync_covers_what_was_there_when_it_began() -> None:
    async def work(disk: SimDisk) -> None:
        file = disk.open("log", create=True)
        file.append([b"before"])

        def append_meanwhile() -> None:
            asyncio.get_running_loop().call_soon(file.append, [b"after"])

        disk.faults.before_sync.append(append_meanwhile)
        await disk.sync([file], [""])

    found = set()
    for seed in range(30):
        disk = on_a_disk(work, seed)
        disk.lose_power()
        found.add(content(disk, "log")[:6])
    assert found == {b"before"}


def test_a_full_and_a_failing_disk_say_so() -> None:
    async def work(disk: SimDisk) -> None:
        file = disk.open("log", create=True)
        disk.faults.full = True
        with pytest.raises(OSError, match="No space") as full:
            file.append([b"x"])
        assert full.value.errno == errno.ENOSPC
        assert file.size() == 0
        disk.faults.full, disk.faults.sync_fails = False, True
        file.append([b"x"])
        with pytest.raises(OSError, match="Input/output") as failing:
            await disk.sync([file])
        assert failing.value.errno == errno.EIO

    disk = on_a_disk(work)
    assert disk.failures == 2


def test_a_lock_is_held_until_it_is_released_or_its_process_dies() -> None:
    async def work(disk: SimDisk) -> None:
        disk.lock(".lock").release()
        disk.lock(".lock")
        with pytest.raises(BlockingIOError):
            disk.lock(".lock")
        disk.process_died()
        disk.lock(".lock")

    on_a_disk(work)


def test_chance_is_handed_in() -> None:
    assert World(7).random("disk 1").random() == World(7).random("disk 1").random() != Random(7).random()
