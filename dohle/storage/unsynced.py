"""Unsynced: what of one log no sync has taken yet, and whether appends count before one has.

That is bytes of segments, whole files (indexes and snapshots, closed once they are synced), and names in the folder. A
sync takes all of it at once; what comes in between is for the next one.

Where flush.messages is relaxed appends count at once. A mark in the folder says so to the next start, which cannot
prove then that nothing was lost; nothing counts early before the mark is durable. It goes at a clean stop.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import Enum

from dohle.model.errors import StorageFailure
from dohle.model.topic_config import TopicConfig
from dohle.runtime.disk import Disk, File
from dohle.storage.group_commit import GroupCommit
from dohle.storage.opened import UNSYNCED_FILE
from dohle.storage.segment import Segment
from dohle.storage.segments import Segments

log = logging.getLogger(__name__)

RELAXED_FLUSH_MS = 60_000
"""How old an unsynced append may get where flush.messages is relaxed and flush.ms is not set: bounds a recovery."""


class _MarkState(Enum):
    """How far UNSYNCED_FILE has come."""

    ABSENT = 0
    WRITTEN = 1
    SYNCING = 2
    DURABLE = 3


class Unsynced:
    """One log's; whose segments know which of them have bytes that were not synced."""

    __slots__ = (
        "_disk",
        "_files",
        "_files_in_flight",
        "_folder",
        "_mark",
        "_names_changed",
        "_records",
        "_relaxed",
        "_segments",
        "_since",
        "counts_at_once",
    )

    def __init__(self, disk: Disk, folder: str, segments: Segments, *, marked: bool) -> None:
        self._disk, self._folder, self._segments = disk, folder, segments
        self._mark = _MarkState.DURABLE if marked else _MarkState.ABSENT
        self._relaxed = False
        self.counts_at_once = False
        self._files: list[File] = []
        self._files_in_flight: list[File] = []
        self._names_changed = False
        self._records = 0
        self._since = 0.0

    def relax(self, relaxed: bool, commit: GroupCommit, log_name: str) -> bool:
        """Whether appends are to count at once from now on; they do as long as the mark is durable, too.

        Returns whether the mark waits for a sync. Where it cannot be written, all is as before.
        """
        self._relaxed = relaxed
        self._mark_is(self._mark)
        if not relaxed or self._mark is not _MarkState.ABSENT:
            return False
        try:
            with commit.using():
                self.add([self._disk.open(f"{self._folder}/{UNSYNCED_FILE}", create=True)])
        except StorageFailure as error:
            log.warning("%s: appends count only once they are synced, as before: %s", log_name, error)
            return False
        self._mark_is(_MarkState.WRITTEN)
        return True

    def _mark_is(self, state: _MarkState) -> None:
        self._mark = state
        self.counts_at_once = self._relaxed and state is _MarkState.DURABLE

    def add(self, files: Sequence[File]) -> None:
        """Takes files that were made or changed, open, and that their names are new."""
        self._files += files
        self._names_changed = True

    def appended(self, segment: Segment, records: int, now: float) -> int:
        """Notes an append; returns how many records wait for a sync."""
        self._segments.unsynced[segment] = None
        if not self._records:
            self._since = now
        self._records += records
        return self._records

    def is_due(self, config: TopicConfig, now: float) -> bool:
        """Whether the oldest append has waited for a sync for as long as it may."""
        if not self._records:
            return False
        return (now - self._since) * 1000 >= min(config.flush_ms, RELAXED_FLUSH_MS)

    def take(self) -> tuple[list[File], list[str]] | None:
        """Returns the files and folders that a sync must take to make the whole log durable, None without any."""
        segments = self._segments
        if not (segments.unsynced or self._files or self._names_changed):
            return None
        taken = [*(segment.file() for segment in segments.unsynced), *self._files]
        folders = [self._folder] if self._names_changed else []
        segments.in_flight, segments.unsynced = segments.unsynced, {}
        self._files_in_flight, self._files = self._files, []
        self._names_changed = False
        self._records = 0
        if self._mark is _MarkState.WRITTEN:
            self._mark = _MarkState.SYNCING
        return taken, folders

    def was_synced(self) -> None:
        """What was taken last is durable."""
        self._segments.in_flight = {}
        _close(self._files_in_flight)
        if self._mark is _MarkState.SYNCING:
            self._mark_is(_MarkState.DURABLE)

    async def sync_all(self) -> None:
        """Makes the log durable as a truncation left it: indexes of segments that stay were sealed at a roll, too."""
        files = [*(segment.file() for segment in self._segments.unsynced), *self._files]
        await self._disk.sync(files, [self._folder])
        _close(self._files)
        self._segments.unsynced.clear()
        self._names_changed = False
        self._records = 0
        if self._mark is _MarkState.WRITTEN:
            self._mark_is(_MarkState.DURABLE)

    def delete_mark(self) -> None:
        """For the end: all is durable, and nothing unproven is left to tell."""
        if self._mark is _MarkState.DURABLE and not self._relaxed:
            self._disk.delete(f"{self._folder}/{UNSYNCED_FILE}")
            self._mark = _MarkState.ABSENT

    def lies_in(self, folder: str) -> None:
        """The log's folder has another name."""
        self._folder = folder

    def close(self) -> None:
        _close(self._files)
        _close(self._files_in_flight)


def _close(files: list[File]) -> None:
    for file in files:
        file.close()
    files.clear()
