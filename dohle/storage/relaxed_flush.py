"""Relaxed flushing: where flush.messages is above 1, appends count before they are synced.

That begins only once a file in the log's folder durably says so (`UNSYNCED_FILE`): after an unclean stop nothing that
counted there is proven. The file stays until a clean stop. How old and how many the unsynced appends are decides when
they are synced all the same.
"""

from __future__ import annotations

from dohle.model.topic_config import TopicConfig
from dohle.storage.opened import MarkState

RELAXED_FLUSH_MS = 60_000
"""How old an unsynced append may get where flush.messages is relaxed and flush.ms is not set: bounds a recovery."""


class RelaxedFlush:
    """Of one log; `counts_at_once` says whether what is appended now counts."""

    __slots__ = ("_mark", "_records", "_since", "counts_at_once")

    def __init__(self, *, is_marked: bool) -> None:
        self.counts_at_once = False
        self._mark = MarkState.DURABLE if is_marked else MarkState.ABSENT
        self._records = 0
        self._since = 0.0

    def begin(self) -> bool:
        """The topic relaxes flushing. Returns whether the file must be made, and `written` called, before it counts."""
        self.counts_at_once = self._mark is MarkState.DURABLE
        return self._mark is MarkState.ABSENT

    def end(self) -> None:
        """The topic does so no longer."""
        self.counts_at_once = False

    def written(self) -> None:
        """The file is there, and not durable yet."""
        self._mark = MarkState.WRITTEN

    def appended(self, records: int, now: float) -> int:
        """Returns how many records are unsynced."""
        if not self._records:
            self._since = now
        self._records += records
        return self._records

    def is_due(self, config: TopicConfig, now: float) -> bool:
        """Whether the oldest unsynced append has waited long enough."""
        limit_ms = min(config.flush_ms, RELAXED_FLUSH_MS)
        return bool(self._records) and (now - self._since) * 1000 >= limit_ms

    def sync_begun(self) -> None:
        """A sync takes all that is there now, the file too."""
        self._records = 0
        if self._mark is MarkState.WRITTEN:
            self._mark = MarkState.SYNCING

    def sync_done(self, config: TopicConfig) -> None:
        if self._mark is MarkState.SYNCING:
            self._mark = MarkState.DURABLE
            self.counts_at_once = config.flush_messages > 1

    @property
    def is_marked(self) -> bool:
        """Whether the file is there, durably."""
        return self._mark is MarkState.DURABLE

    def unmarked(self) -> None:
        """The file is deleted, at a clean stop."""
        self._mark = MarkState.ABSENT
