"""The Disk of a real machine, on a folder of it."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohle.runtime import files, open_files
from dohle.runtime.files import RealDisk


@pytest.fixture
def disk() -> Iterator[RealDisk]:
    disk = RealDisk()
    yield disk
    disk.close()


def test_a_file_has_its_size_without_being_opened(disk: RealDisk, tmp_path: Path) -> None:
    path = f"{tmp_path}/log"
    with pytest.raises(FileNotFoundError, match="log"):
        disk.size(path)
    disk.open(path, create=True).append([b"abc"])
    assert disk.size(path) == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_file_that_may_not_be_opened_has_no_size(disk: RealDisk, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.touch(mode=0o400)
    with pytest.raises(PermissionError, match="log"):
        disk.size(str(path))


async def test_what_is_appended_is_read_back_from_any_position(disk: RealDisk, tmp_path: Path) -> None:
    file = disk.open(f"{tmp_path}/log", create=True)
    file.append([b"abc", memoryview(b"xdefx")[1:4], bytearray(b"gh")])
    file.append([])
    file.append([b"i"])
    assert file.size() == 9
    assert await file.read_at(0, 9) == b"abcdefghi"
    assert await file.read_at(2, 3) == b"cde"
    assert await file.read_at(7, 100) == b"hi"
    assert await file.read_at(9, 1) == b""
    assert await file.read_at(100, 1) == b""
    file.close()
    again = disk.open(f"{tmp_path}/log")
    assert again.size() == 9
    again.close()


@given(sizes=st.lists(st.integers(0, 40), max_size=3000), chunk=st.integers(1, 7))
def test_an_append_of_many_buffers_is_whole(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], chunk: int
) -> None:
    buffers = [bytes([index % 251]) * size for index, size in enumerate(sizes)]
    disk = RealDisk(threads=1)
    file = disk.open(str(tmp_path_factory.mktemp("append") / "log"), create=True)
    file.append([b"x" * chunk])
    file.append(buffers)
    expected = b"x" * chunk + b"".join(buffers)
    assert (file.size(), Path(file.path).read_bytes()) == (len(expected), expected)
    file.close()
    disk.close()


@pytest.mark.parametrize("written", [0, 1, 4, 5])
async def test_an_append_that_does_not_fit_leaves_nothing(disk: RealDisk, tmp_path: Path, written: int) -> None:
    file = disk.open(f"{tmp_path}/log", create=True)
    file.append([b"before"])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6 + written, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            file.append([b"abc", b"def"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert caught.value.errno == errno.EFBIG
    assert file.size() == 6
    assert Path(file.path).read_bytes() == b"before"
    file.append([b"after"])
    assert Path(file.path).read_bytes() == b"beforeafter"
    file.close()


async def test_truncating_cuts_and_the_next_append_goes_there(disk: RealDisk, tmp_path: Path) -> None:
    file = disk.open(f"{tmp_path}/log", create=True)
    file.append([b"abcdef"])
    file.truncate(2)
    file.append([b"xy"])
    assert await file.read_at(0, 10) == b"abxy"
    file.close()


async def test_reads_are_right_with_a_cold_cache_and_without_the_fast_path(
    disk: RealDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(300_000)
    file = disk.open(f"{tmp_path}/log", create=True)
    file.append([data])
    await file.drop_cache()
    assert await file.read_at(100_000, 150_000) == data[100_000:250_000]
    monkeypatch.setattr(open_files, "_NOWAIT", None)
    assert await file.read_at(0, 300_000) == data
    file.close()


async def test_reads_under_way_outlive_the_close_and_a_closed_file_takes_nothing(
    disk: RealDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_files, "_NOWAIT", None)
    file = disk.open(f"{tmp_path}/log", create=True)
    file.append([b"abc"])
    reading = asyncio.gather(*(file.read_at(0, 3) for _ in range(20)))
    await asyncio.sleep(0)
    file.close()
    file.close()
    assert await reading == [b"abc"] * 20
    with pytest.raises(AssertionError, match="is closed"):
        file.append([b"d"])
    with pytest.raises(AssertionError, match="is closed"):
        await file.read_at(0, 1)
    with pytest.raises(AssertionError, match="is closed"):
        file.truncate(0)


async def test_a_second_name_is_of_the_same_file(disk: RealDisk, tmp_path: Path) -> None:
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    file = disk.open(first, create=True)
    file.append([b"12"])
    assert not disk.is_shared(first)
    disk.link(first, second)
    await disk.sync([file], [str(tmp_path)])
    assert disk.is_shared(first)
    assert disk.is_shared(second)
    assert await disk.read_all(second) == b"12"
    with pytest.raises(FileExistsError):
        disk.link(first, second)
    disk.delete(first)
    assert not disk.is_shared(second)
    file.close()


async def test_descriptors_are_given_back(disk: RealDisk, tmp_path: Path) -> None:
    disk.open(f"{tmp_path}/first", create=True).close()
    before = sorted(os.listdir("/dev/fd"))
    for number in range(20):
        file = disk.open(f"{tmp_path}/{number}", create=True)
        file.append([b"x"])
        reading = asyncio.ensure_future(file.drop_cache())
        await asyncio.sleep(0)
        reading.cancel()
        file.close()
    while sorted(os.listdir("/dev/fd")) != before:  # the threads are still at it
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("count", [1, 100])
async def test_syncing_files_and_folders_reaches_each_of_them(
    disk: RealDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    opened = [disk.open(f"{tmp_path}/{number}", create=True) for number in range(count)]
    for file in opened:
        file.append([b"x"])
    await disk.sync(opened, [str(tmp_path)])
    monkeypatch.setattr(disk, "_syncfs", None)
    await disk.sync(opened, [str(tmp_path)])
    for file in opened:
        file.close()


async def test_a_failed_sync_is_raised_after_all_others_ended(
    disk: RealDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = [disk.open(f"{tmp_path}/{number}", create=True) for number in range(3)]
    synced: list[int] = []

    def sync(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 1:
            raise OSError(errno.EIO, "the device failed")

    monkeypatch.setattr(open_files, "_sync", sync)
    with pytest.raises(OSError, match="the device failed"):
        await disk.sync(opened)
    assert len(synced) == 3
    for file in opened:
        file.close()


async def test_a_folder_that_is_missing_cannot_be_synced(disk: RealDisk, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await disk.sync([], [f"{tmp_path}/nowhere"])


async def test_names_are_made_listed_moved_and_deleted(disk: RealDisk, tmp_path: Path) -> None:
    disk.make_folder(f"{tmp_path}/a/b")
    disk.make_folder(f"{tmp_path}/a/b")
    for name in ("2", "10", "1"):
        disk.open(f"{tmp_path}/a/{name}", create=True).close()
    assert disk.list(f"{tmp_path}/a") == ["1", "10", "2", "b"]
    disk.rename(f"{tmp_path}/a/1", f"{tmp_path}/a/2")
    assert disk.list(f"{tmp_path}/a") == ["10", "2", "b"]
    assert disk.exists(f"{tmp_path}/a/2")
    disk.delete(f"{tmp_path}/a/2")
    assert not disk.exists(f"{tmp_path}/a/2")
    disk.delete(f"{tmp_path}/a")
    assert disk.list(str(tmp_path)) == []
    for missing in (disk.open, disk.delete, disk.list):
        with pytest.raises(FileNotFoundError):
            missing(f"{tmp_path}/nowhere")
    with pytest.raises(FileNotFoundError):
        await disk.read_all(f"{tmp_path}/nowhere")
    assert disk.free_bytes(str(tmp_path)) > 0
    assert await disk.find_free_bytes(str(tmp_path)) > 0


async def test_a_reserve_takes_room_and_gives_it_back(disk: RealDisk, tmp_path: Path) -> None:
    path = f"{tmp_path}/reserve"
    await disk.reserve(path, 1 << 20)
    assert os.stat(path).st_blocks * 512 >= 1 << 20
    disk.delete(path)
    assert not disk.exists(path)


async def test_a_lock_is_held_against_other_processes_until_it_is_released(disk: RealDisk, tmp_path: Path) -> None:
    script = "import sys; from dohle.runtime.files import RealDisk; RealDisk().lock(sys.argv[1])"
    attempt = [sys.executable, "-c", script, f"{tmp_path}/.lock"]
    lock = disk.lock(f"{tmp_path}/.lock")
    with pytest.raises(BlockingIOError):
        disk.lock(f"{tmp_path}/.lock")
    refused = subprocess.run(attempt, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert "BlockingIOError" in refused.stderr
    lock.release()
    subprocess.run(attempt, check=True, cwd=Path(__file__).parents[2])
    disk.lock(f"{tmp_path}/.lock").release()


async def test_a_file_that_is_slow_to_sync_keeps_no_other_one(
    disk: RealDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = [disk.open(f"{tmp_path}/{number}", create=True) for number in range(8)]
    goes_on, real, done = threading.Event(), open_files._sync, list[str]()

    def sync(descriptor: int) -> None:
        if descriptor == opened[0].descriptor:
            goes_on.wait(10.0)
        real(descriptor)

    monkeypatch.setattr(open_files, "_sync", sync)
    syncing = asyncio.create_task(disk.sync(opened, (), lambda file: done.append(file.path)))
    while len(done) < 7:
        await asyncio.sleep(0.001)
    assert done == [file.path for file in opened[1:]]
    goes_on.set()
    await syncing
    assert done[7:] == [opened[0].path]


async def test_renames_are_done_in_order_and_over_when_whoever_asked_is_cancelled(
    disk: RealDisk, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    renames = [(f"{tmp_path}/{old}", f"{tmp_path}/{new}") for old, new in (("a", "c"), ("b", "a"), ("a", "c"))]
    renaming = asyncio.ensure_future(disk.rename_all(renames))
    await asyncio.sleep(0)
    renaming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await renaming
    assert os.listdir(tmp_path) == ["c"]
    assert (tmp_path / "c").read_text() == "b"


@pytest.mark.parametrize("way", ["preadv", "pread", "pwritev", "fdatasync"])
async def test_an_error_of_the_device_bears_the_files_name(
    disk: RealDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The system is given a descriptor, and names nothing."""
    file = disk.open(f"{tmp_path}/log", create=True)
    file.append([b"abc"])

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "the device failed")

    if way == "pread":
        monkeypatch.setattr(open_files, "_NOWAIT", None)
    monkeypatch.setattr(open_files, "_sync", fail)
    monkeypatch.setattr(files.os, way, fail)

    async def use() -> None:
        match way:
            case "pwritev":
                file.append([b"d"])
            case "fdatasync":
                await disk.sync([file])
            case _:
                await file.read_at(0, 3)

    with pytest.raises(OSError, match=rf"{tmp_path}/log"):
        await use()
    file.close()
