"""As `test_bad_files`, of what lies in a folder only at times: notes, marks, and what a crash leaves of a compaction or
a move."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dohle.model.errors import CorruptLog, DamagedReplica, DataFolderError, StorageFailure
from dohle.runtime.files import RealDisk
from dohle.runtime.tasks import Tasks
from dohle.storage.checkpoints import CLEANED
from dohle.storage.damage_note import DAMAGE_FILE
from dohle.storage.data_folder import DataFolder
from dohle.storage.findings import FINDINGS_FILE, encode_findings
from dohle.storage.log_folder import FILLING_FILE, LogFolder
from dohle.storage.moved_logs import SOURCE_FILE
from dohle.storage.opened import UNSYNCED_FILE, Recovery
from dohle.storage.verify.directory import verify_directory
from tests.storage.spoilt import FOLDER, Files, deny, disk_of, said, verified
from tests.storage.test_bad_files import Heard, Truth, heard, known, outcome, read_times
from tests.storage.test_crashes import content
from tests.storage.test_log_dirs import Machine
from tests.storage.test_moved_logs import KEY, copied, written
from tests.storage.test_verify import name_of
from tests.storage.world import CLUSTER, PATH, StillClock

__all__ = ["heard"]

FIRST = f"{FOLDER}/{0:020d}"
OTHER = f"{PATH}/t-1"
FINDINGS = f"{PATH}/{FINDINGS_FILE}"
NOBODY = 65534
GARBAGE = b"\xff\xfe\x00 garbage"


def damages(data: bytes) -> Iterator[bytes]:
    """Yields the data cut at each byte, with each byte another in three ways, longer, and as something else."""
    step = 1 if len(data) < 100 else 3
    for size in range(0, len(data), step):
        yield data[:size]
    for at in range(0, len(data), step):
        for bits in (1 << at % 7, 0x80, 0xFF):
            yield data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]
    yield GARBAGE
    yield data + GARBAGE


async def noted(clean: bool) -> tuple[dict[str, bytes], Truth]:
    """A folder with all notes and marks: t-1 has a batch that a read has found to be damaged."""
    files, truth = await known(clean)
    rotten = bytearray(files[f"{OTHER}/{14:020d}.log"])
    rotten[93 + 70] ^= 1
    findings = {("t", 0): Recovery(False, False, 93, 30), ("t", 1): Recovery(False, True, 5, 12)}
    return {
        **files,
        f"{OTHER}/{14:020d}.log": bytes(rotten),
        f"{OTHER}/{DAMAGE_FILE}": f"0\n{14:020d}.log 93 16 18\nthe CRC does not match\n".encode(),
        f"{FOLDER}/{UNSYNCED_FILE}": b"",
        f"{FOLDER}/{FILLING_FILE}": b"",
        FINDINGS: encode_findings(findings).encode(),
        f"{PATH}/{CLEANED}": b"0\n1\nt 0 14\n",
    }, truth


async def swapping(clean: bool, *, retired: bool) -> tuple[dict[str, bytes], Truth]:
    """A folder whose compaction was broken off: what it replaces is there, or has been `retired`."""
    found, truth = await known(clean)
    files = dict(found)
    files[f"{FIRST}.log.swap"] = files[f"{FIRST}.log"]
    for suffix in (".index", ".timeindex", ".seals"):
        files[f"{FIRST}{suffix}.cleaned"] = files[f"{FIRST}{suffix}"]
    if retired:
        for suffix in (".log", ".index", ".timeindex", ".seals"):
            files[f"{FIRST}{suffix}.deleted"] = files.pop(f"{FIRST}{suffix}")
    return files, truth


async def with_one(files: Files, path: str, data: bytes | None, truth: Truth, heard: Heard) -> str:
    heard.words = ""
    spoilt = {one: content for one, content in files.items() if one != path}
    try:
        return await outcome(spoilt if data is None else {**spoilt, path: data}, truth, None, heard)
    except Exception as error:
        raise AssertionError(f"{path}: {files[path]!r} became {data!r}: {error!r}; said: {heard.words}") from error


@pytest.mark.parametrize("clean", [True, False])
async def test_findings_that_are_damaged_keep_the_node_from_starting(heard: Heard, clean: bool) -> None:
    files, truth = await noted(clean)
    assert await outcome(files, truth, None, heard) == "damaged"
    for data in damages(files[FINDINGS]):
        assert await with_one(files, FINDINGS, data, truth, heard) == "refused", data
        assert f"{FINDINGS} is damaged (" in heard.words
        assert f"{FINDINGS}, byte 0: " in said(await verified({**files, FINDINGS: data}))
    newer = files[FINDINGS].replace(b"1\n", b"2\n", 1)
    assert await with_one(files, FINDINGS, newer, truth, heard) == "refused"
    former = b"0\n1\nt 0 0 93 30\n"  # as they were written before they had a checksum
    assert await with_one(files, FINDINGS, former, truth, heard) == "damaged"


@pytest.mark.parametrize("clean", [True, False])
async def test_a_note_of_damage_that_is_damaged_is_damage_all_the_same(heard: Heard, clean: bool) -> None:
    files, truth = await noted(clean)
    path = f"{OTHER}/{DAMAGE_FILE}"
    for data in (None, *damages(files[path])):
        assert await with_one(files, path, data, truth, heard) == "damaged", data
        assert f"{OTHER}/" in heard.words or data is None  # without it the read finds the batch again
    assert f"{path}, byte 0: " in said(await verified({**files, path: GARBAGE}))


@pytest.mark.parametrize("clean", [True, False])
async def test_how_far_a_log_is_compacted_is_begun_anew_or_a_number_like_any_other(heard: Heard, clean: bool) -> None:
    files, truth = await noted(clean)
    path = f"{PATH}/{CLEANED}"
    for data in (None, *damages(files[path])):
        assert await with_one(files, path, data, truth, heard) == "damaged", data
        if f"{path} " in heard.words:
            assert "it is begun anew" in heard.words
            assert f"{path}, byte 0: " in said(await verified({**files, path: data or b""}))
        elif data is not None:
            head, *lines = data.decode("utf-8", "replace").splitlines()
            assert head == "0"
            assert int(lines[0]) == len(lines) - 1


@pytest.mark.parametrize("name", [UNSYNCED_FILE, FILLING_FILE])
async def test_marks_say_what_they_say_by_being_there(heard: Heard, name: str) -> None:
    files, truth = await noted(True)
    for data in (None, GARBAGE):
        assert await with_one(files, f"{FOLDER}/{name}", data, truth, heard) == "damaged"
        assert FOLDER not in heard.words  # what is damaged is t-1 alone


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("retired", [True, False])
async def test_a_compacted_segment_that_is_damaged_replaces_nothing_that_is_there(
    heard: Heard, clean: bool, retired: bool
) -> None:
    files, truth = await swapping(clean, retired=retired)
    path = f"{FIRST}.log.swap"
    assert await outcome(files, truth, None, heard) == "whole"
    for data in damages(files[path]):
        what = await with_one(files, path, data, truth, heard)
        if what == "whole":  # but for epochs and what no CRC covers
            assert f"{path} is damaged at byte " in heard.words or differs_in_epoch(data, files[path])
            assert not retired or differs_in_epoch(data, files[path])
        else:
            assert what == "damaged"
            assert f"{FIRST}.log is damaged at byte " in heard.words or f"{path} is damaged at byte" in heard.words
    shorter = files[path][:558]  # whole batches, and fewer
    assert await with_one(files, path, shorter, truth, heard) == ("damaged" if retired else "whole")
    assert f"{path} is damaged at byte 558: it ends at offset 12, where no segment begins" in heard.words


def differs_in_epoch(data: bytes, before: bytes) -> bool:
    """In one byte, which is one of a batch's leader epoch."""
    [at] = [at for at in range(len(before)) if len(data) == len(before) and data[at] != before[at]] or [-1]
    return at >= 0 and at % 93 in range(12, 16)


@pytest.mark.parametrize("suffix", [".index.cleaned", ".timeindex.cleaned", ".log.deleted", ".index.deleted"])
async def test_what_is_left_of_a_compaction_is_deleted_unread(heard: Heard, suffix: str) -> None:
    files, truth = await swapping(True, retired=True)
    for data in (None, b"", GARBAGE):
        assert await with_one(files, FIRST + suffix, data, truth, heard) == "whole"
        assert f"{FIRST}{suffix}: " in said(await verified({**files, FIRST + suffix: data or b""}))


async def test_a_rare_file_that_may_not_be_read_is_named(heard: Heard) -> None:
    for files, truth in (await noted(True), await swapping(True, retired=False)):
        for path in files:
            if name_of(path) in (FINDINGS_FILE, DAMAGE_FILE, CLEANED) or path.endswith(".swap"):
                heard.words = ""
                assert await outcome(files, truth, path, heard) == "refused", path
                assert path in heard.words
                assert path in said(await verified(files, path))


async def test_a_segment_in_the_place_of_another_is_damage(heard: Heard) -> None:
    files, truth = await known(True)
    names = [f"{base:020d}.log" for base in (0, 14, 28)]
    for place in names:
        for other in (f"{folder}/{name}" for folder in (FOLDER, OTHER) for name in names if name != place):
            assert await with_one(files, f"{FOLDER}/{place}", files[other], truth, heard) == "damaged", (place, other)
            assert FOLDER in heard.words


async def test_an_index_that_is_missing_beside_a_batch_of_another_offset_is_no_crash(heard: Heard) -> None:
    """No CRC covers the offset, and the index cannot be built again from it."""
    files, truth = await known(True)
    without = {path: data for path, data in files.items() if path not in (f"{FIRST}.index", f"{FIRST}.timeindex")}
    for at in range(93, 651, 93):
        for byte in range(8):
            changed = bytearray(files[f"{FIRST}.log"])
            changed[at + byte] ^= 0x81
            assert await with_one(without, f"{FIRST}.log", bytes(changed), truth, heard) == "damaged"
            assert f"{FIRST}.log is damaged at byte {at}" in heard.words


async def test_where_a_copy_came_from_is_read_or_the_copy_waits(heard: Heard) -> None:
    machine = Machine()
    dirs = await machine.start()
    log = await written(dirs)
    batches = await content(log)
    copy = await copied(dirs, log, "two")
    await next(folder for folder in dirs.folders if folder.path == "two").finish_copy(copy, fills=False)
    await dirs.folder_of(log).retire(*KEY)
    files = {path: bytes(one.cached) for path, one in machine.disk.files.items()}
    await machine.kill()

    path = f"two/t-0-moved/{SOURCE_FILE}"
    for data in (files[path], None, *damages(files[path])):
        spoilt = {one: content for one, content in files.items() if one != path}
        machine.disk = disk_of(spoilt if data is None else {**spoilt, path: data})
        heard.words = ""
        dirs = await machine.start()
        found = dirs.log(KEY)
        assert not dirs.offline
        if data == files[path]:
            assert found is not None
            assert await content(found) == batches
        else:
            assert found is None
            assert path in heard.words or "two/t-0-moved waits for the directory " in heard.words
            reports = [report async for report in verify_directory(machine.disk, "two")]
            assert (path in heard.words) == (f"{path}, byte 0: " in said(reports))
        await machine.kill()


async def test_a_copy_whose_source_may_not_be_read_takes_its_directory_down_and_says_so(heard: Heard) -> None:
    machine = Machine()
    dirs = await machine.start()
    log = await written(dirs)
    copy = await copied(dirs, log, "two")
    await next(folder for folder in dirs.folders if folder.path == "two").finish_copy(copy, fills=False)
    await dirs.folder_of(log).retire(*KEY)
    await machine.kill()
    path = f"two/t-0-moved/{SOURCE_FILE}"
    deny(machine.disk, path)
    dirs = await machine.start()
    assert "two" in dirs.offline
    assert path in dirs.offline["two"]
    await machine.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start something as somebody else")
async def test_files_that_the_operating_system_denies_are_named(heard: Heard) -> None:
    """As another user and on a real file system, for root may read everything."""
    noticed = 0
    for files in ((await noted(True))[0], (await swapping(True, retired=False))[0]):
        for denied in sorted(files):
            with tempfile.TemporaryDirectory() as place:
                os.chmod(place, 0o777)
                for path, data in files.items():
                    one = Path(place, path)
                    one.parent.mkdir(parents=True, exist_ok=True)
                    one.write_bytes(data)
                    os.chown(one.parent, NOBODY, NOBODY)
                    os.chown(one, *((0, 0) if path == denied else (NOBODY, NOBODY)))
                    one.chmod(0o600)
                heard.words = ""
                if not await starts_as_nobody(f"{place}/{PATH}", heard):
                    noticed += 1
                    assert f"{place}/{denied}" in heard.words
    assert noticed > 20


async def starts_as_nobody(path: str, heard: Heard) -> bool:
    """Starts a node as another user, and reads from its logs; returns whether all of that worked."""
    failures: list[BaseException] = []
    tasks, disk = Tasks("test", failures.append), RealDisk()
    os.seteuid(NOBODY)
    try:
        data = await DataFolder.open(disk, path, cluster_id=CLUSTER, node_id=1)
        folder = await LogFolder.open(disk, StillClock(), data, tasks, on_failure=failures.append)
        log = folder.logs["t", 0]
        for offset in range(0, log.log_end_offset, 2):
            await log.read(offset, 1, up_to=log.log_end_offset)
        await read_times(log)
    except (DataFolderError, CorruptLog, StorageFailure, DamagedReplica) as error:
        heard.words += error.message
        return False
    finally:
        os.seteuid(0)
        await tasks.close()
        disk.close()
    return not failures
