"""A node that starts on a folder in which one file is not what it was.

It refuses, naming the file; or it goes on, and then serves nothing that is not right, and says what it lacks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from dohle.model.errors import CorruptLog, DamagedReplica, DataFolderError, StorageFailure
from dohle.storage.checkpoints import RECOVERY_POINTS
from dohle.storage.log import Log
from dohle.storage.log_folder import LogFolder
from dohle.storage.segment_index import TimeIndex
from tests.storage.spoilt import FOLDER, Files, everything, stopped, world_of
from tests.storage.test_verify import NEWER, name_of, of_one_log, places
from tests.storage.world import PATH


@dataclass(frozen=True, slots=True)
class Truth:
    """What is in the folder while nothing is wrong with it."""

    batches: dict[tuple[str, int], bytes]
    times: dict[int, tuple[int, int] | None]
    epochs: tuple[tuple[int, int], ...]


class Heard(logging.Handler):
    """What the node's log says that a person should read."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.words = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.words += record.getMessage() + "\n"


@pytest.fixture
def heard() -> Iterator[Heard]:
    handler = Heard()
    logger = logging.getLogger("dohle")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


async def read_times(log: Log) -> dict[int, tuple[int, int] | None]:
    return {time: await log.times.first_at(time) for time in (0, 95, 205, 391, 455, 611, 700, 800)}


_known: dict[bool, tuple[Files, Truth]] = {}


async def known(clean: bool) -> tuple[Files, Truth]:
    if clean not in _known:
        files = await stopped(clean=clean)
        world = world_of(files)
        folder = await world.start()
        batches = {(name, offset): data async for name, offset, data in everything(folder)}
        log = folder.logs["t", 0]
        _known[clean] = files, Truth(batches, await read_times(log), log.epochs.entries)
        await world.kill()
    return _known[clean]


async def outcome(files: Files, truth: Truth, denied: str | None, heard: Heard) -> str:
    """Starts a node, reads all that it serves, which must be right, and returns in a word what became of it."""
    world = world_of(files, denied)
    try:
        folder = await world.start()
    except (DataFolderError, CorruptLog, StorageFailure) as error:
        heard.words += error.message
        await world.tasks.close()
        return "refused"
    try:
        return await served(folder, truth)
    finally:
        await world.kill()


async def served(folder: LogFolder, truth: Truth) -> str:
    count = 0
    for log in folder.logs.values():
        for offset in range(log.log_start_offset, log.log_end_offset, 2):
            try:
                data = await log.read(offset, 1, up_to=log.log_end_offset)
            except DamagedReplica:
                continue
            assert without_epoch(data) == without_epoch(truth.batches[log.name, offset]), f"{log.name} at {offset}"
            count += 1
    log = folder.logs["t", 0]
    try:
        times = await read_times(log)
    except DamagedReplica:
        return "damaged"
    if any(log.damage is not None for log in folder.logs.values()):
        return "damaged"
    assert log.epochs.entries == truth.epochs
    assert times == truth.times
    return "whole" if count == len(truth.batches) else "less"


def without_epoch(batch: bytes) -> bytes:
    """The CRC does not cover the leader epoch, and a read does not look at it; a verification does."""
    return batch[:12] + batch[16:]


def is_not_covered(path: str, before: bytes, after: bytes) -> bool:
    """What no start can tell, as docs/storage.md says: numbers without a checksum that became others."""
    match name_of(path):
        case "leader-epoch-checkpoint" | "log-start-offset-checkpoint":
            return len(after) == len(before) and after.translate(None, b"0123456789") == before.translate(
                None, b"0123456789"
            )
        case name if name.endswith(".timeindex"):  # entries that ascend
            return len(after) % TimeIndex.ENTRY_BYTES == 0 and bool(after)
    return False


async def try_one(
    path: str, after: bytes | None, heard: Heard, *, clean: bool = True, denied: bool = False
) -> str | None:
    files, truth = await known(clean)
    if after is not None and not denied and (after == files[path] or is_not_covered(path, files[path], after)):
        return None
    spoilt = {one: data for one, data in files.items() if one != path}
    if after is not None:
        spoilt[path] = after
    heard.words = ""
    try:
        what = await outcome(spoilt, truth, path if denied else None, heard)
    except Exception as error:
        raise AssertionError(f"{path}: {files[path]!r} became {after!r}: {error}; said: {heard.words}") from error
    if what != "whole":
        assert is_named(path, heard.words), f"{path}: {files[path]!r} became {after!r}: {what}; said: {heard.words}"
    return what


def is_named(path: str, words: str) -> bool:
    """By its name; of whose data it is, by the directory's; a segment that is missing, by its neighbour's."""
    if path == f"{PATH}/meta.properties":
        return f"{PATH} belongs to" in words or path in words
    return name_of(path) in words or (path.endswith((".log", ".index")) and f"{FOLDER}/{0:020d}"[:-2] in words)


@pytest.mark.parametrize("clean", [True, False])
async def test_a_file_that_is_cut(heard: Heard, clean: bool) -> None:
    files, _ = await known(clean)
    for path in of_one_log(files):
        for size in places(files[path])[:: 1 if clean else 2]:
            await try_one(path, files[path][:size], heard, clean=clean)


@pytest.mark.parametrize("clean", [True, False])
async def test_a_byte_that_is_another(heard: Heard, clean: bool) -> None:
    files, _ = await known(clean)
    for path in of_one_log(files):
        for at in places(files[path])[:: 1 if clean else 2]:
            changed = bytearray(files[path])
            changed[at] ^= 1 << at % 7
            await try_one(path, bytes(changed), heard, clean=clean)


@pytest.mark.parametrize("clean", [True, False])
async def test_a_file_that_is_missing_or_empty(heard: Heard, clean: bool) -> None:
    files, _ = await known(clean)
    for path in of_one_log(files):
        for after in (None, b""):
            what = await try_one(path, after, heard, clean=clean)
            assert what == "damaged" or not path.endswith(".log")


@pytest.mark.parametrize("clean", [True, False])
async def test_recovery_points_that_are_missing_are_missed(heard: Heard, clean: bool) -> None:
    assert await try_one(f"{PATH}/{RECOVERY_POINTS}", None, heard, clean=clean) == "whole"
    assert f"{PATH}/{RECOVERY_POINTS} is missing: every log is read and checked from its start" in heard.words


async def test_a_file_of_another_partition(heard: Heard) -> None:
    files, _ = await known(True)
    for path in [path for path in files if path.startswith(FOLDER) and not path.endswith(".log")]:
        await try_one(path, files[path.replace("/t-0/", "/t-1/")], heard)


async def test_a_file_that_may_not_be_read(heard: Heard) -> None:
    files, _ = await known(True)
    for path in of_one_log(files):
        what = await try_one(path, files[path], heard, denied=True)
        assert what in ("refused", "damaged", "whole", "less"), path


async def test_a_batch_whose_offset_became_another_is_served_under_neither(heard: Heard) -> None:
    """The CRC does not cover it, and a read that began there took the batch for the one of that offset."""
    files, truth = await known(True)
    path = f"{FOLDER}/{0:020d}.log"
    for at in range(93, 651, 93):
        for bit in range(8):
            changed = bytearray(files[path])
            changed[at + 7] ^= 1 << bit
            assert await outcome({**files, path: bytes(changed)}, truth, None, heard) == "damaged"


async def test_a_first_segment_that_is_missing_is_not_forgotten_at_the_next_start(heard: Heard) -> None:
    files, _ = await known(True)
    world = world_of({path: data for path, data in files.items() if path != f"{FOLDER}/{0:020d}.log"})
    for _ in range(3):
        log = (await world.start()).logs["t", 0]
        assert log.damage is not None
        assert log.damage.offsets == (0, 14)
        await world.clock.passed(2)
        await world.stop()


async def test_a_time_index_that_lost_its_end_is_built_again(heard: Heard) -> None:
    files, truth = await known(True)
    for base in (14, 28):
        path = f"{FOLDER}/{base:020d}.timeindex"
        assert await outcome({**files, path: b""}, truth, None, heard) == "whole"
        assert f"{path} lacks its end" in heard.words


EPOCHS = f"{FOLDER}/leader-epoch-checkpoint"


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (b"0\n3\n0 0\n2 14\n5 28\n", "whole"),
        (b"0\n3\n0 0\n2 14\n4 30\n", "whole"),
        (b"0\n3\n0 0\n2 14\n4 98\n", "damaged"),  # it may be the batches' number that is the wrong one
        (b"0\n3\n0 0\n2 14\n3 28\n", "damaged"),
        (b"0\n2\n0 0\n2 14\n", "damaged"),
    ],
)
async def test_an_epoch_that_the_batches_contradict_is_not_believed(
    heard: Heard, wrong: bytes, what: str, clean: bool
) -> None:
    files, truth = await known(clean)
    assert files[EPOCHS] == b"0\n3\n0 0\n2 14\n4 28\n"
    assert await outcome({**files, EPOCHS: wrong}, truth, None, heard) == what
    assert EPOCHS in heard.words


@pytest.mark.parametrize("clean", [True, False])
async def test_a_batch_whose_epoch_became_a_newer_one_leads_nobody(heard: Heard, clean: bool) -> None:
    """No CRC covers it; and damage that a start has found, later ones find."""
    files, _ = await known(clean)
    path = f"{FOLDER}/{28:020d}.log"
    changed = bytearray(files[path])
    changed[13] ^= 1
    world = world_of({**files, path: bytes(changed)})
    for _ in range(3):
        log = (await world.start()).logs["t", 0]
        assert log.damage is not None
        assert not log.has_end
        assert log.last_epoch == 4
        await world.clock.passed(2)
        await world.stop()


@pytest.mark.parametrize(("name", "old", "new"), NEWER)
async def test_a_file_of_a_newer_version_is_not_read_as_an_older_one(
    heard: Heard, name: str, old: bytes, new: bytes
) -> None:
    files, truth = await known(True)
    path = f"{PATH}/{name}"
    what = await outcome({**files, path: files[path].replace(old, new, 1)}, truth, None, heard)
    assert name_of(path) in heard.words, what
