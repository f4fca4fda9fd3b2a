"""A verification says of every byte that is not what it was in which file it lies, or the byte means nothing."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dohle.model.batch import split_batches
from dohle.storage.checkpoints import FILES, HIGH_WATERMARKS, LOG_STARTS, RECOVERY_POINTS, decode_offsets
from dohle.storage.clean_stop import decode_mark
from dohle.storage.data_folder import FolderIdentity
from dohle.storage.epoch_cache import EpochCache
from dohle.storage.segment_index import OffsetIndex
from dohle.storage.verify.directory import verify_directory
from tests.storage.spoilt import FOLDER, SMALL, Files, disk_of, fill, said, stopped, verified
from tests.storage.world import PATH, World, batch

LAST = f"{FOLDER}/{28:020d}.log"


_stopped: list[Files] = []


@pytest.fixture
async def files() -> Files:
    if not _stopped:
        _stopped.append(await stopped())
    return _stopped[0]


def of_one_log(files: Files) -> list[str]:
    return [path for path in files if "/t-1/" not in path and not path.endswith(".lock")]


def places(data: bytes) -> list[int]:
    """Returns the bytes that are tried: all of a small file, and of a segment those around the borders of batches."""
    return [at for at in range(len(data)) if len(data) < 100 or at % 93 in range(24) or at % 7 == 0]


def name_of(path: str) -> str:
    return path.rpartition("/")[2]


def read_epochs(data: bytes) -> object:
    return EpochCache.decode(data.decode("ascii", "replace")).entries


def read_identity(data: bytes) -> object:
    return FolderIdentity.decode("", data.decode("utf-8", "replace"))


def read_offsets(data: bytes) -> object:
    return decode_offsets("", data.decode("utf-8", "replace"))


READERS: dict[str, Callable[[bytes], object]] = {
    "leader-epoch-checkpoint": read_epochs,
    ".clean-shutdown": decode_mark,
    "meta.properties": read_identity,
    "durable-metadata-offset": int,
    "partition.metadata": bytes.split,
    **dict.fromkeys(FILES, read_offsets),
}


def means_the_same(path: str, before: bytes, after: bytes) -> bool:
    """Whether what a node reads in the file, if it can, is what it was: white space, and bits that carry nothing."""
    read = READERS.get(name_of(path))
    return read is not None and read(before) == read(after)


def no_check_covers(path: str, before: bytes, after: bytes) -> bool:
    """What is one of several right values as far as this folder tells. docs/storage.md has the same list."""
    match name_of(path):
        case "meta.properties":  # whose folder it is, the configuration and the cluster's metadata know
            return True
        case ".clean-shutdown":  # the controller compares the epoch with the one that it gave
            return True
        case "durable-metadata-offset":
            return True
        case name if name == HIGH_WATERMARKS:  # below the log's end it may lie anywhere
            now = decode_offsets("", after.decode())
            return all(offset <= 34 for offset in now.values())
        case name if name.endswith(".index"):  # an entry that is missing only makes a lookup longer
            return len(after) % OffsetIndex.ENTRY_BYTES == 0 and before.startswith(after)
    return False


async def tells(files: Files, path: str, after: bytes) -> None:
    before, words = files[path], said(await verified({**files, path: after}))
    if name_of(path) in words:
        return
    assert before == after or means_the_same(path, before, after) or no_check_covers(path, before, after), (
        f"{path}: {before!r} became {after!r}, and all that is said is: {words}"
    )


@pytest.mark.parametrize("clean", [True, False])
async def test_sound_files_have_no_fault(clean: bool) -> None:
    files = await stopped(clean=clean)
    reports = await verified(files)
    assert said(reports) == ""
    own, one, other = reports
    assert (own.is_log, one.path) == (False, FOLDER)
    assert (one.segments, one.batches, one.records, one.size_bytes) == (3, 17, 34, 651 + 651 + 279)
    assert other.records == 34


async def test_a_file_that_is_cut_anywhere_is_named(files: Files) -> None:
    for path in of_one_log(files):
        for size in places(files[path]):
            await tells(files, path, files[path][:size])


async def test_a_byte_that_is_another_is_named(files: Files) -> None:
    for path in of_one_log(files):
        for at in places(files[path]):
            changed = bytearray(files[path])
            changed[at] ^= 1 << at % 7
            await tells(files, path, bytes(changed))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_bytes_that_are_others_are_named(files: Files, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(of_one_log(files)))
    changed = bytearray(files[path])
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    await tells(files, path, bytes(changed))


async def test_a_file_of_another_partition_is_named(files: Files) -> None:
    for path in [path for path in files if path.startswith(FOLDER)]:
        other = files[path.replace("/t-0/", "/t-1/")]
        if other != files[path]:
            await tells(files, path, other)


async def test_a_file_that_is_missing_is_named(files: Files) -> None:
    unneeded = {".clean-shutdown", ".lock"}  # as after a kill; made anew
    for path in of_one_log(files):
        if name_of(path) in unneeded or path.endswith((".snapshot", ".seals")):  # older logs have none
            continue
        words = said(await verified({one: data for one, data in files.items() if one != path}))
        assert name_of(path) in words, path


async def test_a_file_that_may_not_be_read_is_named(files: Files) -> None:
    for path in of_one_log(files):
        assert f"{path}, byte 0: it cannot be read: Permission denied" in said(await verified(files, path)) or (
            path.endswith("meta.properties")
        ), path


NEWER = [
    ("meta.properties", b"version=1", b"version=2"),
    (".clean-shutdown", b'"version": 0', b'"version": 1'),
    (RECOVERY_POINTS, b"0\n2\n", b"1\n2\n"),
    (HIGH_WATERMARKS, b"0\n2\n", b"1\n2\n"),
    (LOG_STARTS, b"0\n2\n", b"1\n2\n"),
    ("t-0/leader-epoch-checkpoint", b"0\n3\n", b"1\n3\n"),
    ("t-0/partition.metadata", b"version: 0", b"version: 1"),
    (f"t-0/{34:020d}.snapshot", b"\x00\x01", b"\x00\x02"),
]


@pytest.mark.parametrize(("name", "old", "new"), NEWER)
async def test_a_file_of_a_newer_version_is_named(files: Files, name: str, old: bytes, new: bytes) -> None:
    path = f"{PATH}/{name}"
    assert files[path].count(old)
    reports = await verified({**files, path: files[path].replace(old, new, 1)})
    assert [fault.file for report in reports for fault in report.faults] == [path]


async def test_what_a_kill_left_unfinished_is_no_fault() -> None:
    files = await stopped(clean=False)
    world = World(SMALL)
    await world.start()
    log = await world.log()
    await fill(log)
    await world.clock.passed(1)
    log.append_as_leader(batch(1, size=30), 4, 0)  # above the recovery point
    await world.kill()
    files = {path: bytes(content.cached) for path, content in world.disk.files.items()}
    whole = len(files[LAST])
    for size in range(279, whole):
        reports = await verified({**files, LAST: files[LAST][:size]})
        assert all(report.is_sound for report in reports), said(reports)
        assert size == 279 or f"{LAST}: from byte 279 on, {size - 279} bytes are no whole batch yet" in said(reports)
    torn = files[LAST][: 279 + 70] + bytes(whole - 279 - 70)
    assert not any(report.is_sound for report in (await verified({**files, LAST: torn[:-1] + b"x"}))[1:])
    rotten = bytearray(files[LAST])
    rotten[-1] ^= 1
    assert f"{LAST}, byte 279: the CRC-32C" in said(await verified({**files, LAST: bytes(rotten)}))


async def test_behind_a_bad_batch_the_others_are_checked(files: Files) -> None:
    path = f"{FOLDER}/{0:020d}.log"
    changed = bytearray(files[path])
    for start in (93, 279):
        changed[start + 80] ^= 1
    [_, report, _] = await verified({**files, path: bytes(changed)})
    assert [(fault.file, fault.position) for fault in report.faults] == [(path, 93), (path, 279)]
    assert (report.batches, report.records) == (15, 30)


async def test_a_bad_batch_is_no_fault_of_its_indexes(files: Files) -> None:
    indexed = 0
    for path in [path for path in files if path.startswith(FOLDER) and path.endswith(".log") and files[path]]:
        for start, header in split_batches(files[path]):
            changed = bytearray(files[path])
            changed[start + 80] ^= 1
            [_, report, *_] = await verified({**files, path: bytes(changed)})
            assert {fault.file for fault in report.faults} == {path}
            last = header.last_offset - int(name_of(path)[:20])
            indexed += struct.pack(">ii", last, start) in files[path.replace(".log", ".index")]
    assert indexed > 3


async def test_what_is_wrong_at_the_first_look_alone_is_not_told() -> None:
    """A node writes while it is looked at."""
    files = await stopped(clean=False)
    disk = disk_of(files)
    content = disk.files[f"{FOLDER}/{0:020d}.log"].cached
    content[80] ^= 1
    seen = 0

    def mend(operation: str, path: str) -> None:
        nonlocal seen
        seen += operation == "read" and path.endswith("-offset-checkpoint")
        if seen == 4:  # the first of those that are read again
            content[80] ^= 1
            seen += 1

    disk.fault = mend
    reports = [report async for report in verify_directory(disk, PATH)]
    assert seen > 4
    assert all(report.is_sound for report in reports), said(reports)


async def test_what_is_left_out_is_named(files: Files) -> None:
    moved = {path.replace("/t-1/", "/t-1.abc@12-stray/"): data for path, data in files.items()}
    words = said(await verified({**moved, f"{PATH}/t-2-future/x": b"", f"{PATH}/t-3-new/x": b"", f"{PATH}/odd": b""}))
    for name in ("t-1.abc@12-stray", "t-2-future", "t-3-new", "odd"):
        assert f"{PATH}/{name}: " in words


async def test_a_folder_that_is_gone_after_a_clean_stop_is_a_fault(files: Files) -> None:
    words = said(await verified({path: data for path, data in files.items() if "/t-1/" not in path}))
    assert f"{PATH}/{RECOVERY_POINTS}, byte 11: t-1 was stopped at offset 34, and has no folder" in words
