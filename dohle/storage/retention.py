"""Retention: how much of a log's beginning has served its time, and the files of it that wait to be deleted.

Kafka's rules, by whole segments from the first on, and only where all of a segment lies below the high watermark: it is
older than retention.ms, by its newest timestamp, or the log without it still has retention.bytes. The active segment is
no exception. One without any timestamp has no age, and goes by size alone.

What leaves the log is renamed and deleted after file.delete.delay.ms, so that who is reading it comes to an end. A stop
in between leaves files that the next start deletes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from dohle.model.topic_config import TopicConfig
from dohle.storage.segment import Segment
from dohle.storage.segments import Segments


async def first_kept(
    segments: Segments, config: TopicConfig, high_watermark: int, log_end_offset: int, now_ms: int
) -> int:
    """Returns the base offset of the first segment that stays; the log's end where none does. Raises DamagedFile."""
    if "delete" not in config.cleanup_policy:
        return segments.bases[0]
    excess = segments.size_bytes - config.retention_bytes if config.retention_bytes >= 0 else -1
    found = segments.bases[0]
    for segment in list(segments.all):
        following = segments.after(segment)
        end = log_end_offset if following is None else following.base_offset
        if not segment.size or end > high_watermark:
            break
        if excess < segment.size and not await _is_expired(segments, segment, config, now_ms):
            break
        excess -= segment.size
        found = end
    return found


async def _is_expired(segments: Segments, segment: Segment, config: TopicConfig, now_ms: int) -> bool:
    if config.retention_ms < 0:
        return False
    if segment.newest is None:
        segments.touch(segment)  # its indexes are read, and do not stay in memory
    newest = await segment.newest_timestamp()
    return newest >= 0 and now_ms - newest > config.retention_ms


class RetiredSegments:
    """Segments that are part of one log no more, and whose files are still there."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, Segment]] = deque()  # until when, ascending but for a changed delay

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, segments: Sequence[Segment], until: float) -> None:
        for segment in segments:
            segment.retire()
            self._waiting.append((until, segment))

    def delete_due(self, now: float) -> None:
        """Deletes the files of those whose time has come. Raises OSError."""
        while self._waiting and self._waiting[0][0] <= now:
            self._waiting.popleft()[1].delete()

    def close(self) -> None:
        """Lets go of the files, which the next start deletes."""
        for _, segment in self._waiting:
            segment.close()
