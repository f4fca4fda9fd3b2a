"""The simulated disk keeps what was synced, and makes no promise about the rest."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random

import pytest

from dohle.testing.world.disk import Moment, SimDisk
from dohle.testing.world.entries import SECTOR_BYTES
from dohle.testing.world.world import World


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


@pytest.mark.parametrize("seed", range(5))
def test_a_forgetful_disk_keeps_nothing_that_was_not_synced(seed: int) -> None:
    async def work(disk: SimDisk) -> None:
        disk.make_folder("data")
        file = disk.open("data/log", create=True)
        file.append([b"s" * 700])
        await disk.sync([file], ["data", ""])
        file.append([b"u" * 3000])
        disk.open("data/new", create=True)

    disk = on_a_disk(work, seed)
    disk.faults.forgetful = True
    disk.lose_power()
    assert content(disk, "data/log") == b"s" * 700
    assert disk.list("data") == ["log"]


def test_what_a_failed_sync_did_not_write_is_never_written_and_read_from_the_page_cache_alone() -> None:
    found: list[bytes] = []

    async def work(disk: SimDisk) -> None:
        file = disk.open("log", create=True)
        file.append([b"s" * 10])
        await disk.sync([file], [""])
        file.append([b"u" * 10])
        disk.faults.sync_fails = True
        with pytest.raises(OSError, match="Input/output"):
            await disk.sync([file])
        disk.faults.mend()
        file.append([b"n" * 10])
        await disk.sync([file])
        found.append(await file.read_at(0, 30))
        await file.drop_cache()
        found.append(await file.read_at(0, 30))

    disk = on_a_disk(work)
    lost = b"s" * 10 + b"\0" * 10 + b"n" * 10
    assert found == [b"s" * 10 + b"u" * 10 + b"n" * 10, lost]
    disk.lose_power()
    assert content(disk, "log") == lost


def test_a_sync_takes_at_least_as_long_as_it_is_told_to() -> None:
    async def work(disk: SimDisk) -> None:
        disk.faults.least_sync_s = 0.5
        before = disk._clock.now()
        await disk.sync([disk.open("log", create=True)])
        assert 0.5 < disk._clock.now() - before < 0.6

    on_a_disk(work)


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


def test_names_outlive_a_loss_of_power_in_any_order_with_some_seed_and_in_theirs_with_another() -> None:
    async def work(disk: SimDisk) -> None:
        disk.make_folder("data")
        await disk.sync([], ["data", ""])
        for number in range(3):
            disk.open(f"data/{number}", create=True)

    kept = set()
    for seed in range(150):
        disk = on_a_disk(work, seed)
        disk.lose_power()
        kept.add("".join(disk.list("data")))
    assert kept == {"", "0", "01", "012", "1", "2", "02", "12"}


def test_a_sync_covers_what_was_there_when_it_began() -> None:
    async def work(disk: SimDisk) -> None:
        file = disk.open("log", create=True)
        file.append([b"before"])

        def append_meanwhile() -> None:
            asyncio.get_running_loop().call_soon(file.append, [b"after"])

        disk.faults.traps.append((Moment.SYNC_BEGUN, append_meanwhile))
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
        disk.faults.sync_fails, disk.faults.write_fails = False, True
        with pytest.raises(OSError, match="Input/output"):
            file.append([b"x"])
        disk.faults.mend()
        file.append([b"x"])
        await disk.sync([file])

    disk = on_a_disk(work)
    assert disk.failures == 3


def test_a_trap_strikes_once_at_its_moment() -> None:
    struck: list[Moment] = []

    async def work(disk: SimDisk) -> None:
        for moment in Moment:
            disk.faults.traps.append((moment, partial(struck.append, moment)))
        disk.make_folder("p-0")
        for _ in range(2):
            log = disk.open("p-0/00000000000000000000.log", create=True)
            log.append([b"12"])
            log.truncate(1)
            vote = disk.open("quorum-state.tmp", create=True)
            await disk.sync([vote])
            disk.rename("quorum-state.tmp", "quorum-state")
            disk.open("1-1.checkpoint.part", create=True).close()
            disk.rename("1-1.checkpoint.part", "1-1.checkpoint")
            disk.make_folder("p-1-future")
            disk.rename("p-1-future", "p-1-moved")
            disk.delete("p-1-moved")
            disk.open("p-0/00000000000000000000.log.swap", create=True).close()
            disk.rename("p-0/00000000000000000000.log.swap", "p-0/00000000000000000000.log")
            disk.make_folder("p-2")
            if not disk.exists("p-2/linked"):
                disk.link("p-0/00000000000000000000.log", "p-2/linked")
            disk.delete("p-2/linked")

    on_a_disk(work)
    assert sorted(struck, key=str) == sorted(Moment, key=str)
    assert struck[0] is Moment.ROLL


@pytest.mark.parametrize("is_synced", [False, True])
def test_a_second_name_is_one_more_entry_of_the_same_file(is_synced: bool) -> None:
    async def work(disk: SimDisk) -> None:
        disk.make_folder("a")
        disk.make_folder("b")
        await disk.sync([], [""])
        file = disk.open("a/log", create=True)
        file.append([b"12"])
        await disk.sync([file], ["a"])
        disk.link("a/log", "b/log")
        assert disk.is_shared("a/log")
        assert disk.is_shared("b/log")
        with pytest.raises(AssertionError, match="other names"):
            file.append([b"3"])
        with pytest.raises(AssertionError, match="other names"):
            disk.open("b/log").truncate(1)
        with pytest.raises(FileExistsError):
            disk.link("a/log", "b/log")
        if is_synced:
            await disk.sync([], ["b"])
        disk.faults.forgetful = True
        disk.lose_power()
        assert disk.exists("b/log") == is_synced == disk.is_shared("a/log")
        if is_synced:
            assert await disk.read_all("b/log") == b"12"
            disk.delete("a/log")
            assert not disk.is_shared("b/log")
        disk.open("b/log" if is_synced else "a/log").append([b"3"])

    on_a_disk(work)


def test_what_a_dead_process_still_does_before_it_waits_the_disk_does_not_do() -> None:
    async def work(disk: SimDisk) -> None:
        file = disk.open("log", create=True)
        await disk.sync([file], [""])
        file.append([b"12"])
        disk.process_died()
        file.append([b"345"])
        file.truncate(0)
        disk.rename("log", "renamed")
        disk.delete("log")
        disk.make_folder("folder")
        disk.open("new", create=True)

    disk = on_a_disk(work)
    assert disk.list("") == ["log"]
    assert disk.peek("log") == b"12"


def test_what_rots_or_is_lost_stays_so_after_a_loss_of_power() -> None:
    async def work(disk: SimDisk) -> None:
        for name in ("rots", "lost"):
            file = disk.open(name, create=True)
            file.append([b"synced"])
            await disk.sync([file], [""])
        disk.spoil("rots", 1, 0b1)
        disk.lose("lost")

    disk = on_a_disk(work)
    for _ in range(2):
        assert disk.list("") == ["rots"]
        assert disk.peek("rots") == b"sxnced"
        disk.lose_power()
    disk.wipe()
    assert disk.list("") == []


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


@pytest.mark.parametrize("everything", [True, False])
def test_a_disk_that_hangs_answers_nothing_and_then_goes_on(everything: bool) -> None:
    ended: list[tuple[str, float]] = []
    world = World(1)
    disk = world.machines[1].disk

    async def note(what: str, work: Awaitable[object]) -> None:
        await work
        ended.append((what, world.scheduler.now))

    async def script() -> None:
        file = disk.open("log", create=True)
        file.append([b"x" * 10])
        disk.faults.reads_hang, disk.faults.syncs_hang = True, everything
        world.director.spawn(note("read", file.read_at(0, 10)), "read")
        world.director.spawn(note("sync", disk.sync([file], [""])), "sync")
        await world.clock.sleep(5)
        assert [what for what, _ in ended] == ([] if everything else ["sync"])
        disk.faults.mend()
        await world.clock.sleep(1)

    world.run(script())
    assert sorted(what for what, _ in ended) == ["read", "sync"]
    disk.lose_power()
    assert content(disk, "log") == b"x" * 10, "what was synced late is synced all the same"
