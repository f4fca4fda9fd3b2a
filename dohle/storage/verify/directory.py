"""One directory of a node: its own files, and every folder in it.

Replicas are checked one after the other, also a copy that was whole when the node stopped. What a start would delete is
named and left out, and so is what was set aside. In a directory that was not stopped cleanly a node may be at work: a
folder in which something is wrong is then looked at a second time, and only what is wrong both times is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from dohle.model.errors import CorruptLog, DataFolderError
from dohle.model.ids import TopicId, id_text
from dohle.runtime.disk import Disk
from dohle.storage.checkpoints import CLEANED, FILES, RECOVERY_POINTS, LogKey, decode_offsets
from dohle.storage.clean_stop import FILE_NAME as CLEAN_STOP_FILE
from dohle.storage.data_folder import LOCK_FILE, META_FILE, read_identity
from dohle.storage.findings import FINDINGS_FILE, decode_findings
from dohle.storage.headroom import RESERVE_FILE
from dohle.storage.log_folder import METADATA_OFFSET_FILE, decode_metadata_offset, parse_folder_name
from dohle.storage.moved_logs import FUTURE_SUFFIX, MOVED_SUFFIX
from dohle.storage.partition_metadata import PARTITION_FILE, read_topic_id
from dohle.storage.single_log import METADATA_LOG
from dohle.storage.strays import STRAY_SUFFIX
from dohle.storage.verify.replica import stranger, verify_replica
from dohle.storage.verify.report import LOST, Report
from dohle.storage.verify.stop import CHECKPOINT_LINES, DirectoryStop, Stop, line_position, read_stop

_LEFT_OUT = {
    "-new": "a replica that was being made: a start deletes it",
    "-delete": "a replica that was being deleted: a start deletes it",
    FUTURE_SUFFIX: "a copy on its way here that is not whole: a start deletes it",
    STRAY_SUFFIX: "a replica that was set aside, and is not served: give its path to have it checked",
}
_KNOWN = {META_FILE, LOCK_FILE, RESERVE_FILE, CLEAN_STOP_FILE, METADATA_OFFSET_FILE, FINDINGS_FILE, *FILES, CLEANED}


async def verify_directory(disk: Disk, path: str) -> AsyncIterator[Report]:
    """Yields the report on the directory's own files, then one for each replica."""
    own = Report(path, is_log=False)
    stop = await read_stop(disk, path, own)
    await _check_own_files(disk, path, own)
    names = disk.list(path)
    keys: dict[str, LogKey] = {}
    for name in names:
        key = parse_folder_name(name.removesuffix(MOVED_SUFFIX))
        what = next((what for suffix, what in _LEFT_OUT.items() if name.endswith(suffix)), None)
        if name in _KNOWN or name == METADATA_LOG:
            continue
        if what is not None:
            own.note(f"{path}/{name}", what)
        elif key is not None:
            keys[name] = key
        else:
            own.note(f"{path}/{name}", stranger(name))
    await _check_lines(disk, stop, names, set(keys.values()), own)
    await _check_topic_ids(disk, path, keys, own)
    if keys and METADATA_OFFSET_FILE not in names:
        own.note(f"{path}/{METADATA_OFFSET_FILE}", "it is missing: a replica whose folder is lost would be made anew")
    yield own
    for name, key in keys.items():
        yield await verify_listed(disk, f"{path}/{name}", key, stop)


async def verify_listed(disk: Disk, folder: str, key: LogKey, stop: DirectoryStop) -> Report:
    """Checks a replica's folder in the directory of `stop`."""

    async def look(latest: DirectoryStop) -> Report:
        return await verify_replica(disk, folder, key, _stop_of(folder, key, latest))

    return await verify_settled(disk, folder, stop, look)


def _stop_of(folder: str, key: LogKey, stop: DirectoryStop) -> Stop:
    known = stop.of(key)
    # indexes and producers of a copy are written once it is the replica
    return replace(known, clean=False) if folder.endswith(MOVED_SUFFIX) else known


async def verify_settled(
    disk: Disk, folder: str, stop: DirectoryStop, look: Callable[[DirectoryStop], Awaitable[Report]]
) -> Report:
    """Returns what `look` finds in `folder`; of a folder that a node may be writing to, what it finds twice."""
    try:
        first = await look(stop)
        if first.is_sound or (stop.clean and disk.exists(f"{stop.folder}/{CLEAN_STOP_FILE}")):
            return first
        second = await look(await read_stop(disk, stop.folder, Report(stop.folder)))
    except FileNotFoundError:
        gone = Report(folder)
        gone.note(folder, "it was deleted or renamed while it was looked at")
        return gone
    again = {(fault.file, fault.position, fault.found) for fault in first.faults}
    second.faults = [fault for fault in second.faults if (fault.file, fault.position, fault.found) in again]
    return second


async def _check_own_files(disk: Disk, path: str, report: Report) -> None:
    meta = f"{path}/{META_FILE}"
    meaning = "the node does not start: restore the file; other nodes and the cluster's metadata know what it held"
    with report.reading(meta):
        try:
            if await read_identity(disk, path) is None:
                expected = "whose directory this is"
                report.fault(meta, 0, "it is missing", expected=expected, meaning=meaning)
        except DataFolderError as error:
            expected = "version, cluster.id, node.id and directory.id"
            report.fault(meta, 0, error.message, expected=expected, meaning=meaning)
    findings = f"{path}/{FINDINGS_FILE}"
    with report.reading(findings):
        if disk.exists(findings):
            try:
                found = decode_findings(findings, await disk.read_all(findings))
                report.note(findings, f"{len(found)} logs of which the controller was not told yet what recovery found")
            except DataFolderError as error:
                expected = "version 1, the number of logs, a line for each, and their checksum"
                report.fault(findings, 0, error.message, expected=expected, meaning="the node does not start")
    cleaned = f"{path}/{CLEANED}"
    with report.reading(cleaned):
        if disk.exists(cleaned):
            try:
                decode_offsets(cleaned, (await disk.read_all(cleaned)).decode("utf-8", "replace"))
            except CorruptLog as error:
                meaning = "the node begins it anew, says so, and compacts each log from its start"
                report.fault(cleaned, 0, error.message, expected=CHECKPOINT_LINES, meaning=meaning)
    offset = f"{path}/{METADATA_OFFSET_FILE}"
    with report.reading(offset):
        if disk.exists(offset):
            try:
                decode_metadata_offset(offset, await disk.read_all(offset))
            except CorruptLog as error:
                report.fault(offset, 0, error.message, expected="a number", meaning="the node does not start")


async def _check_topic_ids(disk: Disk, path: str, keys: Mapping[str, LogKey], report: Report) -> None:
    """Replicas of one topic bear one id."""
    found: dict[str, dict[TopicId, str]] = {}
    for name, (topic, _) in keys.items():
        with suppress(OSError, DataFolderError):  # which is reported with the replica
            topic_id = await read_topic_id(disk, f"{path}/{name}")
            found.setdefault(topic, {}).setdefault(topic_id, name)
    for topic, names in found.items():
        (first, one), *others = names.items()
        for topic_id, name in others:
            report.fault(
                f"{path}/{name}/{PARTITION_FILE}",
                0,
                f"it says that topic {topic} has the id {id_text(topic_id)}",
                expected=f"{id_text(first)}, as in {one}",
                meaning="one of the two is no replica of the topic that there is now: the node sets it aside",
            )


async def _check_lines(disk: Disk, stop: DirectoryStop, names: list[str], there: set[LogKey], report: Report) -> None:
    """After a clean stop all checkpoints name the same logs, and those are there."""
    if not stop.clean:
        return
    for file, key in stop.missing_lines():
        found, expected = f"it has no line of {key[0]}-{key[1]}", f"the logs that {RECOVERY_POINTS} names, and no other"
        meaning = "no record is lost; the node learns again what this line would say"
        report.fault(f"{stop.folder}/{file}", 0, found, expected=expected, meaning=meaning)
    path = f"{stop.folder}/{RECOVERY_POINTS}"
    for key in stop.logs():
        folder = f"{key[0]}-{key[1]}"
        recovery_point = stop.of(key).recovery_point
        if key in there or not recovery_point or any(name.startswith(f"{folder}.") for name in names):
            continue  # an empty one is made anew, and one that was set aside bears its name before a dot
        with report.reading(path):
            position = await line_position(disk, path, key)
            found = f"{folder} was stopped at offset {recovery_point}, and has no folder"
            report.fault(path, position, found, expected=f"the folder {stop.folder}/{folder}", meaning=LOST)
