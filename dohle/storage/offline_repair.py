"""Offline repair: makes replicas in a stopped node's directory readable, once a copy is kept of all that changes.

What can be made again is: index files, the epochs, the note of a damage that is gone. Producer snapshots that say what
is wrong go, and come back from older ones and the batches. What cannot be read is cut, with all behind it, only where
the operator names the offset up to which records stay. A log that was cut so is noted as lost (`findings`): its broker
registers it as it does a damaged one, which leaves the in-sync set and is no member before it has caught up. Or as one
in doubt, where the operator says that it may lead: then it does once every member is in doubt.

A repair that is broken off is begun again. Before anything changes the mark of a clean stop goes: a start then looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dohle.model.batch import BatchHeader, read_header
from dohle.model.errors import CorruptLog, DataFolderError
from dohle.model.topic_config import DEFAULTS
from dohle.runtime.disk import Disk, File
from dohle.storage.checkpoints import (
    CLEANED,
    HIGH_WATERMARKS,
    LOG_STARTS,
    RECOVERY_POINTS,
    LogKey,
    Offsets,
    encode_offsets,
    offsets_of,
    read_checkpoints,
    write_files,
)
from dohle.storage.clean_stop import FILE_NAME as CLEAN_STOP_FILE
from dohle.storage.compaction.sealed_indexes import IndexBuilder, SealedIndexes
from dohle.storage.compaction.swap_files import SWAP_SUFFIX
from dohle.storage.damage_note import DAMAGE_FILE
from dohle.storage.epoch_cache import FILE_NAME as EPOCHS_FILE
from dohle.storage.epoch_cache import EpochCache
from dohle.storage.findings import FINDINGS_FILE, decode_findings, encode_findings, merge
from dohle.storage.opened import Recovery
from dohle.storage.producer_snapshots import SUFFIX as SNAPSHOT_SUFFIX
from dohle.storage.recovery import batch_fault, dead_of, is_explained_by_a_crash, least_bytes
from dohle.storage.seals import head_of
from dohle.storage.segment import (
    INDEX_SUFFIX,
    INDEX_SUFFIXES,
    LOG_SUFFIX,
    MOST_BYTES,
    TIME_INDEX_SUFFIX,
    Segment,
    named_offsets,
    segment_name,
)
from dohle.storage.verify.replica import verify_replica
from dohle.storage.verify.report import Fault, Report
from dohle.storage.verify.stop import read_stop

_CHUNK_BYTES = 4 << 20
_CHECKPOINTS = (RECOVERY_POINTS, HIGH_WATERMARKS, LOG_STARTS, CLEANED)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Where the first batch is that cannot be read, and which offsets are lost if the log is cut there."""

    file: str
    position: int
    reason: str
    first_offset: int
    beyond: int


@dataclass(slots=True)
class Plan:
    """What is to become of one replica, or has."""

    folder: str
    key: LogKey
    unreadable: Unreadable | None = None
    lost: tuple[int, int] | None = None  # offsets, from the first to before the second
    changes: list[str] = field(default_factory=list)  # in words
    left: list[Fault] = field(default_factory=list)  # what is wrong afterwards
    files: dict[str, bytes] = field(default_factory=dict)  # to be written
    deleted: list[str] = field(default_factory=list)
    truncated: tuple[str, int] | None = None
    may_lead: bool = False  # without what is lost, where nobody else can


@dataclass(slots=True)
class _Walk:
    """The batches of one log, as far as they can be read."""

    end: int
    epochs: EpochCache = field(default_factory=EpochCache)
    indexes: dict[int, SealedIndexes] = field(default_factory=dict)  # by the segment's base
    borders: list[tuple[int, int, int]] = field(default_factory=list)  # offset, segment's base, position
    fault: tuple[str, int, str] | None = None  # file, position, what is wrong
    is_torn: bool = False  # as a crash does it: the next start cuts it


async def plan_repair(
    disk: Disk, directory: str, key: LogKey, *, up_to: int | None = None, may_lead: bool = False
) -> Plan:
    """Returns what a repair would do to the replica `key`, whose node is stopped.

    With `up_to`, records from that offset on go, if something there cannot be read. Raises DataFolderError where that
    cannot be, OSError.
    """
    plan = Plan(f"{directory}/{key[0]}-{key[1]}", key, may_lead=may_lead)
    names = disk.list(plan.folder)
    if any(name.endswith(SWAP_SUFFIX) for name in names):
        raise DataFolderError(f"{plan.folder}: a compaction is not finished: start the node once, which finishes it")
    report = await _verified(disk, directory, key)
    written = offsets_of(await read_checkpoints(disk, directory), key)
    segments = _segments(disk, plan.folder, names, written)
    walk = await _walk(segments, written)
    begins = segments[0].base_offset if segments else 0
    if segments and written.log_start_offset < begins and written.recovery_point > written.log_start_offset:
        plan.left = report.faults
        return plan  # its beginning is missing: what is there stands behind a hole
    if walk.fault is not None and not walk.is_torn:
        beyond = max(written.recovery_point, walk.end + 1, *(one.base_offset for one in segments))
        plan.unreadable = Unreadable(*walk.fault, walk.end, beyond)
        if up_to is None:
            plan.left = report.faults
            return plan
        _plan_cut(plan, walk, segments, names, up_to)
    elif up_to is not None:
        raise DataFolderError(f"{plan.folder}: every batch can be read, so that nothing has to go: leave out --to")
    await _plan_rebuilding(disk, plan, walk, report)
    return plan


async def _verified(disk: Disk, directory: str, key: LogKey) -> Report:
    stop = (await read_stop(disk, directory, Report(directory))).of(key)
    return await verify_replica(disk, f"{directory}/{key[0]}-{key[1]}", key, stop)


def _segments(disk: Disk, folder: str, names: Sequence[str], written: Offsets) -> list[Segment]:
    found: list[Segment] = []
    for base_offset in named_offsets(names, LOG_SUFFIX):
        segment = Segment(disk, folder, base_offset, index_interval_bytes=DEFAULTS.index_interval_bytes)
        segment.size = segment.file().size()
        segment.close()
        found.append(segment)
    return found[len(dead_of(found, written)) :]


async def _walk(segments: Sequence[Segment], written: Offsets) -> _Walk:
    walk = _Walk(segments[0].base_offset if segments else 0)
    for segment in segments:
        if segment.base_offset != walk.end:
            reason = f"it begins at offset {segment.base_offset}, but the batches before it end at {walk.end}"
            walk.fault = segment.log_path, 0, reason
            walk.is_torn = walk.end >= written.recovery_point  # a truncation or a roll that was broken off
        else:
            await _walk_segment(segment, walk, written.recovery_point)
            segment.close()
        if walk.fault is not None:
            break
    if segments and walk.fault is None and walk.end < written.recovery_point:
        reason = f"it ends at offset {walk.end}, but everything below {written.recovery_point} was durable"
        walk.fault = segments[-1].log_path, segments[-1].size, reason
    return walk


async def _walk_segment(segment: Segment, walk: _Walk, recovery_point: int) -> None:
    index = IndexBuilder(segment.base_offset, DEFAULTS.index_interval_bytes)
    position, chunk, chunk_start, epoch = 0, b"", 0, -1
    while position < segment.size:
        at = position - chunk_start
        needed = least_bytes(chunk, at)
        if at + needed > len(chunk) and chunk_start + len(chunk) < segment.size:
            wanted = min(max(_CHUNK_BYTES, needed), segment.size - position)
            chunk, chunk_start = await segment.file().read_at(position, wanted), position
            continue
        fault = batch_fault(chunk, at, walk.end, epoch)
        if fault is not None:
            walk.fault = segment.log_path, position, fault
            is_above = walk.end >= recovery_point
            walk.is_torn = is_above and is_explained_by_a_crash(chunk[at:], position, segment.size - position)
            return
        header: BatchHeader = read_header(chunk, at)
        walk.borders.append((walk.end, segment.base_offset, position))
        index.note(head_of(header), header.last_offset, header.max_timestamp, position, header.size_bytes)
        epoch = header.partition_leader_epoch
        if epoch != walk.epochs.latest:
            walk.epochs.note(epoch, header.base_offset)
        walk.end = header.next_offset
        position += header.size_bytes
    walk.indexes[segment.base_offset] = index.seal()


def _plan_cut(plan: Plan, walk: _Walk, segments: Sequence[Segment], names: Sequence[str], up_to: int) -> None:
    assert plan.unreadable is not None
    begins = segments[0].base_offset
    if not begins <= up_to <= walk.end:
        raise DataFolderError(
            f"{plan.folder}: what lies below offset {walk.end} can be read: give --to {walk.end}, or less, and at least"
            f" {begins}"
        )
    kept = [border for border in walk.borders if border[0] <= up_to]
    if up_to < walk.end:
        end, base, position = kept[-1]
    else:
        end, base, position = walk.end, *_end_of_readable(plan.unreadable, walk, segments)
    plan.lost = end, plan.unreadable.beyond
    walk.end = end
    walk.epochs.truncate_to(end)
    plan.truncated = f"{plan.folder}/{segment_name(base)}{LOG_SUFFIX}", position
    plan.changes.append(f"{plan.truncated[0]} is cut at byte {position}, where offset {end} begins")
    for name in names:
        stem = name.partition(".")[0]
        is_of_a_segment = name.endswith((LOG_SUFFIX, *INDEX_SUFFIXES)) and stem.isdecimal()
        is_above = is_of_a_segment and int(stem) > base
        is_stale_index = is_of_a_segment and int(stem) == base and not name.endswith(LOG_SUFFIX)
        is_snapshot = name.endswith(SNAPSHOT_SUFFIX) and stem.isdecimal() and int(stem) > end
        if is_above or is_stale_index or is_snapshot:
            _delete(plan, name)


def _end_of_readable(unreadable: Unreadable, walk: _Walk, segments: Sequence[Segment]) -> tuple[int, int]:
    """Returns the segment, by its base, and the position at which what can be read ends."""
    segment = next(one for one in segments if one.log_path == unreadable.file)
    if segment.base_offset <= walk.end:
        return segment.base_offset, unreadable.position
    before = segments[segments.index(segment) - 1]
    return before.base_offset, before.size


async def _plan_rebuilding(disk: Disk, plan: Plan, walk: _Walk, report: Report) -> None:
    for path in dict.fromkeys(fault.file for fault in report.faults):
        name = path.rpartition("/")[2]
        stem = name.partition(".")[0]
        if path.rpartition("/")[0] != plan.folder or path in plan.deleted:
            continue
        if name.endswith((INDEX_SUFFIX, TIME_INDEX_SUFFIX)) and stem.isdecimal() and int(stem) in walk.indexes:
            built = walk.indexes[int(stem)]
            plan.files[path] = built.offsets if name.endswith(INDEX_SUFFIX) else built.times
            plan.changes.append(f"{path} is built again from the batches")
        elif name.endswith(SNAPSHOT_SUFFIX) or name == DAMAGE_FILE:
            _delete(plan, name)
    await _plan_epochs(disk, plan, walk)


async def _plan_epochs(disk: Disk, plan: Plan, walk: _Walk) -> None:
    """Those that cannot be read are gathered; those that say otherwise than the batches stay: no CRC covers either."""
    path = f"{plan.folder}/{EPOCHS_FILE}"
    try:
        noted = EpochCache.decode((await disk.read_all(path)).decode("ascii", "replace"))
        if plan.lost is None:
            return
        noted.truncate_to(walk.end)
        plan.changes.append(f"{path} is cut at offset {walk.end}")
        plan.files[path] = noted.encode().encode()
    except (CorruptLog, FileNotFoundError):
        if walk.epochs.entries or disk.exists(path):
            plan.changes.append(f"{path} is gathered from the batches")
            plan.files[path] = walk.epochs.encode().encode()


def _delete(plan: Plan, name: str) -> None:
    plan.deleted.append(f"{plan.folder}/{name}")
    plan.changes.append(f"{plan.folder}/{name} goes")


# Carrying out


async def carry_out(disk: Disk, directory: str, plans: Sequence[Plan], kept: str) -> None:
    """Copies what changes into the new folder `kept`, durably; then does what the plans say, and verifies it.

    The directory is locked by the caller. Raises DataFolderError where there is no room for the copy, OSError.
    """
    own = [f"{directory}/{name}" for name in (CLEAN_STOP_FILE, FINDINGS_FILE, *_CHECKPOINTS)]
    touched = [path for plan in plans for path in _touched(plan)]
    await _keep(disk, directory, [path for path in (*own, *touched) if disk.exists(path)], kept)
    mark = f"{directory}/{CLEAN_STOP_FILE}"
    if disk.exists(mark):
        disk.delete(mark)
        await disk.sync([], [directory])
    for plan in plans:
        if plan.lost is not None:
            await _note_loss(disk, directory, plan, plan.lost)
        await _change(disk, plan)
        plan.left = (await _verified(disk, directory, plan.key)).faults


def _touched(plan: Plan) -> list[str]:
    return [*plan.files, *plan.deleted, *([] if plan.truncated is None else [plan.truncated[0]])]


async def _keep(disk: Disk, directory: str, paths: Iterable[str], kept: str) -> None:
    sizes = {path: _size(disk, path) for path in paths}
    parent = kept.rpartition("/")[0] or "."
    disk.make_folder(kept)
    if disk.free_bytes(kept) < sum(sizes.values()):
        raise DataFolderError(
            f"{kept}: there is no room for a copy of {sum(sizes.values())} bytes: nothing was changed"
        )
    folders, files = {kept: None}, list[File]()
    for path in sizes:
        target = kept + path.removeprefix(directory)
        folders[target.rpartition("/")[0]] = None
        disk.make_folder(target.rpartition("/")[0])
        files.append(await _copy(disk, path, target))
    await disk.sync(files, [*folders, parent])
    for file in files:
        file.close()


def _size(disk: Disk, path: str) -> int:
    file = disk.open(path)
    try:
        return file.size()
    finally:
        file.close()


async def _copy(disk: Disk, path: str, target: str, size: int = MOST_BYTES) -> File:
    source, copy = disk.open(path), disk.open(target, create=True)
    copy.truncate(0)  # left over from a crash
    try:
        while chunk := await source.read_at(copy.size(), min(_CHUNK_BYTES, size - copy.size())):
            copy.append([chunk])
    finally:
        source.close()
    return copy


async def _note_loss(disk: Disk, directory: str, plan: Plan, lost: tuple[int, int]) -> None:
    """First that it is lost, then the ends: between the two a start finds what it found before."""
    path, end = f"{directory}/{FINDINGS_FILE}", lost[0]
    found = decode_findings(path, await disk.read_all(path)) if disk.exists(path) else {}
    recovery = Recovery(False, False, 0, end, lost=not plan.may_lead)
    found[plan.key] = merge(found[plan.key], recovery) if plan.key in found else recovery
    await write_files(disk, {path: encode_findings(found)}, [directory])
    written = await read_checkpoints(disk, directory)
    texts: dict[str, str] = {}
    for name in _CHECKPOINTS:
        if written[name].get(plan.key, 0) > end:
            texts[f"{directory}/{name}"] = encode_offsets({**written[name], plan.key: end})
    await write_files(disk, texts, [directory])


async def _change(disk: Disk, plan: Plan) -> None:
    for path in sorted(plan.deleted, reverse=True):  # segments from the end on, and the note of the damage before them
        if not path.endswith(DAMAGE_FILE):
            disk.delete(path)
    files: list[File] = []
    renames: list[tuple[str, str]] = []
    if plan.truncated is not None:  # another log may have the same file under another name
        path, position = plan.truncated
        renames.append((path + ".tmp", path))
        files.append(await _copy(disk, path, path + ".tmp", position))
    for path, content in plan.files.items():
        renames.append((path + ".tmp", path))
        files.append(disk.open(path + ".tmp", create=True))
        files[-1].truncate(0)
        files[-1].append([content])
    await disk.sync(files, [plan.folder])
    for file in files:
        file.close()
    await disk.rename_all(renames)
    for path in plan.deleted:
        if path.endswith(DAMAGE_FILE):
            disk.delete(path)
    await disk.sync([], [plan.folder])
