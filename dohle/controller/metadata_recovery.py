"""Recovery of a controller's metadata: from what lies in its folder to an image, and a log that goes on from it.

Rule 8 of Raft, at the start: a log that does not begin at 0 has a sound snapshot at its start or past it. The newest
sound one is taken; damaged ones are named, with file and byte, and left alone. Without a sound one the log must reach
back to 0, or a snapshot is fetched from a peer, which loses nothing: what was voted and accepted is in the vote file
and in the log. A snapshot past the log's end, or one that contradicts it, is an installation that a crash broke off:
the log is begun anew at its end.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dohle.controller.snapshot_fetch import SnapshotFetch
from dohle.controller.snapshot_files import SnapshotFiles
from dohle.controller.vote_file import HOW_TO_GO_ON
from dohle.model.errors import CorruptLog, CorruptMessage, UnsupportedVersion
from dohle.model.ids import NO_SNAPSHOT, SnapshotId
from dohle.model.image import ClusterImage
from dohle.model.metadata_batch import MetadataBatch, decode_metadata
from dohle.raft.log_view import LogView, TermStart
from dohle.runtime.network import Address
from dohle.storage.log import Log
from dohle.storage.single_log import SingleLog

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RecoveredMetadata:
    """What a controller begins with."""

    files: SnapshotFiles
    snapshot: SnapshotId
    image: ClusterImage | None  # the snapshot's; None without any
    view: LogView


def check_sound(single_log: SingleLog) -> None:
    """Raises CorruptLog if the log is damaged."""
    if (damage := single_log.log.damage) is not None:
        raise CorruptLog(
            f"the metadata log is damaged at byte {damage.position} of {damage.file}: {damage.reason}; this controller "
            f"neither votes nor leads: {HOW_TO_GO_ON}"
        )


async def recover_metadata(
    single_log: SingleLog, files: SnapshotFiles, fetch: SnapshotFetch, peers: Sequence[Address]
) -> RecoveredMetadata:
    """Returns the newest image that this folder has, or a peer, and makes the log go on from it.

    Raises CorruptLog where there is none and nobody to ask, StorageFailure.
    """
    files.delete_leftovers()
    found = single_log.log
    image = await _newest_sound(files, found.log_start_offset)
    if image is None and found.log_start_offset > 0:
        trouble = (
            f"the metadata log in {found.folder} begins at offset {found.log_start_offset}, and no sound snapshot says "
            "what lies before"
        )
        if not peers:
            raise CorruptLog(f"{trouble}; this controller neither votes nor leads: {HOW_TO_GO_ON}")
        log.error("%s: one is fetched from another controller", trouble)
        image = await fetch.fetch_from_any(peers, found.log_start_offset)
    if image is None:
        return RecoveredMetadata(files, NO_SNAPSHOT, None, _view(found, TermStart(0, 0)))
    snapshot = files.newest
    if not _has(found, snapshot):
        log.warning("the metadata log in %s goes on from its snapshot at %d", found.folder, snapshot.end_offset)
        await found.start_over_at(snapshot.end_offset)
    start = found.log_start_offset
    terms = {one.end_offset: one.term for one in files.found()}  # a damaged one's name is right all the same
    if start > 0 and start not in terms:
        await single_log.cut_below(snapshot.end_offset)
        start = snapshot.end_offset
    return RecoveredMetadata(files, snapshot, image, _view(found, TermStart(terms[start] if start else 0, start)))


async def _newest_sound(files: SnapshotFiles, least_end_offset: int) -> ClusterImage | None:
    for snapshot in sorted(files.found(), reverse=True):
        if snapshot.end_offset >= least_end_offset:
            try:
                return await files.read(snapshot)
            except CorruptLog as error:
                log.error("%s; it is not used", error.message)
    return None


def _view(found: Log, start: TermStart) -> LogView:
    starts = [TermStart(entry.epoch, entry.start_offset) for entry in found.epochs.entries]
    return LogView(starts, found.log_end_offset, found.durable_end, start)


def _has(found: Log, snapshot: SnapshotId) -> bool:
    """Whether the log has what the snapshot ends with, or begins there."""
    end_offset = snapshot.end_offset
    if not found.log_start_offset <= end_offset <= found.log_end_offset:
        return False
    return end_offset == found.log_start_offset or found.epochs.epoch_at(end_offset - 1) == snapshot.term


def changes_in(batches: bytes, folder: str) -> Iterator[MetadataBatch]:
    """Yields the changes in `batches`, which were read from `folder`.

    Raises CorruptLog where one is damaged, UnsupportedVersion where a newer node wrote it.
    """
    with reading(folder):
        yield from decode_metadata(batches)


@contextlib.contextmanager
def reading(folder: str) -> Iterator[None]:
    """Around what takes batches of the metadata log in `folder` apart: says whose they are where that fails."""
    try:
        yield
    except UnsupportedVersion as error:
        raise UnsupportedVersion(f"the metadata log in {folder} cannot be read: {error.message}") from error
    except (CorruptMessage, CorruptLog) as error:
        raise CorruptLog(
            f"the metadata log in {folder} is damaged: {error.message}; this controller neither votes nor leads: "
            f"{HOW_TO_GO_ON}"
        ) from error
