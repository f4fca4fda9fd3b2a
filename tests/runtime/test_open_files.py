"""More files than the process may have descriptors."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from dohle.runtime import files
from dohle.runtime.files import RealDisk
from dohle.runtime.open_files import OpenFile

MOST = 8


@pytest.fixture
def disk() -> Iterator[RealDisk]:
    disk = RealDisk(threads=2, most_descriptors=MOST)
    yield disk
    disk.close()


def opened(disk: RealDisk, folder: Path, count: int = 5 * MOST) -> list[OpenFile]:
    return [disk.open(f"{folder}/{number}", create=True) for number in range(count)]


def closed(*used: OpenFile) -> None:
    for file in used:
        file.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="nobody counts the descriptors")
async def test_files_are_written_read_cut_and_synced_whoever_has_a_descriptor(disk: RealDisk, tmp_path: Path) -> None:
    random, before = Random(7), descriptors()
    used = opened(disk, tmp_path)
    contents = [bytearray() for _ in used]
    for step in range(2000):
        at = random.randrange(len(used))
        match random.randrange(8):
            case 0:
                start = random.randrange(len(contents[at]) + 1)
                assert await used[at].read_at(start, 50) == bytes(contents[at][start : start + 50])
            case 1:
                del contents[at][len(contents[at]) // 2 :]
                used[at].truncate(len(contents[at]))
            case 2:
                some = [used[one] for one in sorted(random.sample(range(len(used)), 3))]
                await disk.sync(some, [str(tmp_path)])
            case 3:
                await used[at].drop_cache()
            case _:
                used[at].append([data := b"%d," % step])
                contents[at] += data
        assert used[at].size() == len(contents[at])
        assert descriptors() <= before + MOST + 8, "besides the files a folder, and the file system"
    closed(*used)
    assert [Path(file.path).read_bytes() for file in used] == [bytes(content) for content in contents]


async def test_bytes_that_were_out_of_sight_are_synced_by_who_is_told_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of a page that could not be written goes to those who had the file open."""
    syncs: list[int] = []
    monkeypatch.setattr(files, "_find_syncfs", lambda: syncs.append)
    disk = RealDisk(threads=1, most_descriptors=MOST)
    first, *others = opened(disk, tmp_path)
    await disk.sync([others[-1]])
    assert not syncs, "it was never closed"
    first.append([b"abc"])
    for _ in range(3):
        for file in others:
            await file.read_at(0, 1)
            file.append([b"x"])
    assert await first.read_at(0, 3) == b"abc"  # it has a descriptor again, which may be told of nothing
    await disk.sync([first])
    assert len(syncs) == 1
    await disk.sync([first])
    assert len(syncs) == 1
    closed(first, *others)
    disk.close()


async def test_without_anybody_who_is_told_of_all_unsynced_files_stay_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_find_syncfs", lambda: None)
    disk = RealDisk(threads=1, most_descriptors=MOST)
    first, *others = opened(disk, tmp_path)
    await others[0].read_at(0, 1)
    first.append([b"abc"])
    descriptor = first.descriptor
    for _ in range(3):
        await disk.sync(others)
        for file in others:
            file.append([b"x"])
    assert first.descriptor == descriptor != -1
    await disk.sync([first, *others])
    others.append(disk.open(f"{tmp_path}/another", create=True))
    assert first.descriptor == -1
    closed(first, *others)
    disk.close()


async def test_another_file_in_its_place_is_not_taken_for_it(disk: RealDisk, tmp_path: Path) -> None:
    first, *others = opened(disk, tmp_path)
    for file in others:
        file.append([b"x"])
    await disk.sync(others)
    assert first.descriptor == -1
    (tmp_path / "other").write_bytes(b"")
    os.rename(tmp_path / "other", first.path)
    with pytest.raises(OSError, match="another file") as raised:
        first.append([b"x"])
    assert (raised.value.errno, raised.value.filename) == (errno.ESTALE, first.path)
    closed(first, *others)


async def test_where_all_files_have_given_up_their_descriptors_and_that_helps_nobody_the_system_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = RealDisk(threads=1)
    used = opened(disk, tmp_path)

    def exhausted(path: str, *_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files", path)

    with monkeypatch.context() as none_left:
        none_left.setattr(os, "open", exhausted)
        with pytest.raises(OSError, match="Too many open files"):
            disk.open(f"{tmp_path}/one more", create=True)
        with pytest.raises(OSError, match="Too many open files"):
            await disk.read_all(f"{tmp_path}/one more")
    assert all(file.descriptor == -1 for file in used)
    closed(*used)
    disk.close()


async def test_who_finds_no_descriptor_left_gets_one_of_a_file_that_is_not_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = RealDisk(threads=1)
    used = opened(disk, tmp_path)

    def exhausted(work: Callable[..., int]) -> Callable[..., int]:
        def call(*arguments: object) -> int:
            if all(file.descriptor != -1 for file in used):
                raise OSError(errno.EMFILE, "Too many open files", arguments[0])
            return work(*arguments)

        return call

    monkeypatch.setattr(os, "open", exhausted(os.open))
    monkeypatch.setattr(os, "listdir", exhausted(os.listdir))
    for attempt in (
        lambda: closed(disk.open(f"{tmp_path}/one more", create=True)),
        lambda: disk.list(str(tmp_path)),
        lambda: disk.lock(f"{tmp_path}/lock").release(),
    ):
        for file in used:  # gives each a descriptor again
            await file.read_at(0, 1)
            file.hold()
            file.release()
        attempt()
    for file in used:
        file.hold()
        file.release()
    await disk.sync([], [str(tmp_path)])
    assert await disk.read_all(f"{tmp_path}/one more") == b""
    closed(*used)
    disk.close()
