"""One replica's folder: its log, whose it is, and the notes that a node leaves beside it."""

from __future__ import annotations

import re

from dohle.model.errors import CorruptLog, DataFolderError
from dohle.runtime.disk import Disk
from dohle.storage.checkpoints import LogKey
from dohle.storage.compaction.swap_files import CLEANED_SUFFIX, SWAP_SUFFIX
from dohle.storage.damage_note import DAMAGE_FILE, read_damage
from dohle.storage.epoch_cache import FILE_NAME as EPOCHS_FILE
from dohle.storage.forked_logs import FORKED_FILE
from dohle.storage.moved_logs import MOVED_SUFFIX, SOURCE_FILE, read_source
from dohle.storage.new_log import FILLING_FILE
from dohle.storage.opened import UNSYNCED_FILE
from dohle.storage.partition_metadata import PARTITION_FILE, read_topic_id
from dohle.storage.segment import RETIRED_SUFFIX
from dohle.storage.verify.partition import verify_log
from dohle.storage.verify.report import Report
from dohle.storage.verify.stop import Stop

OF_A_SEGMENT = re.compile(r"[0-9]{20}\.(log|index|timeindex|seals|snapshot)")
_NOTES = {
    UNSYNCED_FILE: "records count here before they are fsynced: a crash may take them",
    FORKED_FILE: "it is a fork of another replica here, and nobody relies on it yet",
    FILLING_FILE: "the replica is being filled from its leader: it may hold no more than a part",
}
_KNOWN = {EPOCHS_FILE, PARTITION_FILE, DAMAGE_FILE, SOURCE_FILE, *_NOTES}


async def verify_replica(disk: Disk, folder: str, key: LogKey, stop: Stop) -> Report:
    """Checks all files of the folder. Raises OSError if it cannot be listed."""
    report = await verify_log(disk, folder, key, stop)
    path = f"{folder}/{PARTITION_FILE}"
    with report.reading(path):
        try:
            await read_topic_id(disk, folder)
        except DataFolderError as error:
            expected = "version 0 and the topic's id"
            meaning = "the node does not start: restore the file, or rename the folder so that it ends in -stray"
            report.fault(path, 0, error.message, expected=expected, meaning=meaning)
    if folder.endswith(MOVED_SUFFIX):
        await _check_source(disk, folder, report)
    names = disk.list(folder)
    if DAMAGE_FILE in names:
        await _tell_damage(disk, folder, report)
    for name in names:
        if name in _NOTES:
            report.note(f"{folder}/{name}", _NOTES[name])
        elif name not in _KNOWN and not OF_A_SEGMENT.fullmatch(name) and not name.endswith(SWAP_SUFFIX):
            report.note(f"{folder}/{name}", stranger(name))
    return report


async def _check_source(disk: Disk, folder: str, report: Report) -> None:
    path = f"{folder}/{SOURCE_FILE}"
    with report.reading(path):
        try:
            await read_source(disk, folder)
        except CorruptLog as error:
            expected = "the id of the directory that has the original"
            report.fault(
                path, 0, error.message, expected=expected, meaning="the copy is not served until it can be read"
            )


async def _tell_damage(disk: Disk, folder: str, report: Report) -> None:
    path = f"{folder}/{DAMAGE_FILE}"
    with report.reading(path):
        damage = await read_damage(disk, folder)
        report.fault(
            path,
            0,
            f"a read has found that {damage}",
            expected="no such note",
            meaning="the replica is repaired or filled anew once another is in sync; where there is none, see "
            "production.md, and delete this file once the segment is put back in place",
        )


def stranger(name: str) -> str:
    """Returns what is to be said of a file that the format does not know."""
    if name.endswith(".tmp"):
        return "left by a write that was broken off, and replaced by the next one"
    if name.endswith(CLEANED_SUFFIX):
        return "of a compaction that is under way or was broken off: a start deletes it"
    if name.endswith(RETIRED_SUFFIX):
        return "no part of the log any more: the node deletes it"
    return "no file of this format: the node does not look at it"
