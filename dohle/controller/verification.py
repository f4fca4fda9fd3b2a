"""Verification of a controller's folder: its vote, its metadata log down to each record, and its snapshots.

As at a start the log must begin at 0, or where a sound snapshot ends or before one; but nothing is fetched or changed.
"""

from __future__ import annotations

import posixpath

from dohle.controller.joining_mark import JOINING_FILE
from dohle.controller.snapshot_files import CHUNK_BYTES, PART_SUFFIX
from dohle.controller.vote_file import VOTE_FILE, read_vote
from dohle.model.batch import Bytes, read_header
from dohle.model.errors import CorruptLog, UnsupportedVersion
from dohle.model.metadata_batch import decode_metadata
from dohle.model.snapshot import SnapshotReader, file_name_of, parse_file_name
from dohle.runtime.disk import Disk
from dohle.storage.checkpoints import FILES, LogKey
from dohle.storage.clean_stop import FILE_NAME as CLEAN_STOP_FILE
from dohle.storage.epoch_cache import FILE_NAME as EPOCHS_FILE
from dohle.storage.single_log import METADATA_LOG
from dohle.storage.verify.directory import verify_settled
from dohle.storage.verify.partition import verify_log
from dohle.storage.verify.replica import OF_A_SEGMENT, stranger
from dohle.storage.verify.report import Report
from dohle.storage.verify.stop import DirectoryStop, Stop, read_stop

_KEY: LogKey = (METADATA_LOG.rpartition("-")[0], 0)
_KNOWN = {VOTE_FILE, CLEAN_STOP_FILE, EPOCHS_FILE, *FILES}
_REFUSED = "this controller neither votes nor leads: see production.md, which treats it as a wiped folder"
_NOT_USED = "the one before is used, or another is fetched from a controller that is up"
_NEWER = "a newer Dohle wrote it, and this one does not start with it"


async def verify_metadata(disk: Disk, folder: str) -> Report:
    """Checks all files of `folder`, which has checkpoints and a clean-stop mark of its own."""

    async def look(latest: DirectoryStop) -> Report:
        return await _verify(disk, folder, latest.of(_KEY))

    own = Report(folder)
    stop = await read_stop(disk, folder, own)
    report = await verify_settled(disk, folder, stop, look)
    report.faults[:0] = own.faults
    return report


async def _verify(disk: Disk, folder: str, stop: Stop) -> Report:
    report = await verify_log(disk, folder, _KEY, stop, look=_look)
    vote = posixpath.join(folder, VOTE_FILE)
    with report.reading(vote):
        try:
            await read_vote(disk, folder)
        except CorruptLog as error:
            report.fault(vote, 0, error.message, expected="term, vote and their checksum", meaning=_REFUSED)
    await _check_snapshots(disk, folder, stop, report)
    for name in disk.list(folder):
        path = posixpath.join(folder, name)
        if name == JOINING_FILE:
            report.note(path, "this controller was formatted to join, and its log may still be empty")
        elif name.endswith(PART_SUFFIX):
            report.note(path, "a snapshot that is being written or fetched: a start deletes it")
        elif name not in _KNOWN and not OF_A_SEGMENT.fullmatch(name) and parse_file_name(name) is None:
            report.note(path, stranger(name))
    return report


def _look(buffer: Bytes, position: int) -> None:
    end = position + read_header(buffer, position).size_bytes
    for _ in decode_metadata(memoryview(buffer)[position:end]):
        pass


async def _check_snapshots(disk: Disk, folder: str, stop: Stop, report: Report) -> None:
    newest = 0
    for snapshot in [found for name in disk.list(folder) if (found := parse_file_name(name)) is not None]:
        path = posixpath.join(folder, file_name_of(snapshot))
        reader = SnapshotReader(snapshot, path)
        with report.reading(path):
            try:
                report.size_bytes += await _read_snapshot(disk, path, reader)
                newest = max(newest, snapshot.end_offset)
            except (CorruptLog, UnsupportedVersion) as error:
                is_newer = isinstance(error, UnsupportedVersion)
                expected = f"the records of a snapshot at offset {snapshot.end_offset}, term {snapshot.term}"
                meaning = _NEWER if is_newer else _NOT_USED
                report.fault(path, reader.damaged_at, error.message, expected=expected, meaning=meaning)
    start = stop.log_start_offset or 0
    if newest < start:
        report.fault(
            folder,
            0,
            f"the log begins at offset {start}, and no sound snapshot says what lies before",
            expected=f"a snapshot that ends at offset {start} or above",
            meaning="this controller fetches one from another before it does anything else; a lone one does not start",
        )


async def _read_snapshot(disk: Disk, path: str, reader: SnapshotReader) -> int:
    """Returns how many bytes it has. Raises CorruptLog, UnsupportedVersion."""
    file = disk.open(path)
    try:
        position, size = 0, file.size()
        while position < size:
            data = await file.read_at(position, CHUNK_BYTES)
            if not data:
                break
            position += len(data)
            for _ in reader.feed(data):
                pass
    finally:
        file.close()
    reader.finish()
    return position
