"""CatchUpWindow: how much a follower is sent at once of what it lacks, so that it holds nothing up that is new.

What catches up shares a stream, two event loops and a disk with batches whose writers wait. Chunks take longer to
become durable once they queue anywhere on that way: then less is sent at once, and more again as soon as they do not
(as LEDBAT does, RFC 6817). How long it takes without a queue is the least of the last seconds, so that a way which is
slow of itself, or has become so, is no reason to send less and less.

Where cores or disks are short, that is not enough: the chunk itself takes them from others. So while others' writers
wait on the same stream, nothing is sent for three times as long as the last chunk took, less where it was small; and
where chunks queue though they go one by one, for as long as it took. That must not keep a follower behind for good:
while what it lacks does not shrink by half of what it is sent, since it is written to as fast, the rests become shorter
from second to second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

CHUNK_BYTES: Final = 256 << 10
LEAST_BYTES: Final = 32 << 10
"""So much is always sent: whoever is written to must be able to catch up."""
MOST_BYTES: Final = 4 << 20
QUEUE_S: Final = 0.002
"""How much longer a chunk may take than the fastest one before less is sent; or half as long again, if that is more."""
MOST_REST_S: Final = 0.1
"""A way that takes longer is slow for other reasons than what catches up."""
MOST_RESTS: Final = 3.0
"""How many times as long as a chunk took nothing is sent, while others wait;"""
_LEAST_RESTS: Final = 0.25
"""and what is less than this is none."""
_RECENT_S: Final = 1.0


class CatchUpWindow:
    """Of one stream. Chunks may be larger than was allowed: a batch goes whole."""

    def __init__(self) -> None:
        self._allowed_bytes = LEAST_BYTES
        self.under_way_bytes = 0
        self._least_s = self._least_before_s = float("inf")  # of the second that runs, and the one before
        self._second_began = 0.0
        self._cut_at = 0.0
        self._rests_until = 0.0
        self._rests = MOST_RESTS
        self._sent_records = 0  # since `_lacked` was counted
        self._lacked: int | None = None
        self._counts_at = 0.0

    @property
    def is_open(self) -> bool:
        return self.under_way_bytes < self._allowed_bytes

    def rest_s(self, now: float) -> float:
        """Returns for how long nothing may be read, so that others have their turn."""
        return max(0.0, self._rests_until - now)

    @property
    def chunk_bytes(self) -> int:
        return min(CHUNK_BYTES, max(LEAST_BYTES, self._allowed_bytes) // 2)

    def read(self, size_bytes: int, records: int) -> None:
        """A chunk has been read, and will be sent."""
        self.under_way_bytes += size_bytes
        self._sent_records += records

    def lacks(self, count: Callable[[], int], now: float) -> None:
        """Looks once a second, by `count`, at how many records all feeds lack that are behind."""
        if now < self._counts_at:
            return
        goes_on = now < self._counts_at + _RECENT_S  # else it is another time that the follower is behind
        self._counts_at = now + _RECENT_S
        lacked = count()
        if goes_on and self._lacked is not None:
            if self._lacked - lacked >= self._sent_records / 2:
                self._rests = min(MOST_RESTS, max(_LEAST_RESTS, 2 * self._rests))
            else:
                self._rests = self._rests / 2 if self._rests > _LEAST_RESTS else 0.0
        self._lacked, self._sent_records = lacked, 0

    def forgotten(self, size_bytes: int) -> None:
        """Nobody waits for it any more."""
        self.under_way_bytes -= size_bytes

    def durable(self, size_bytes: int, sent_at: float, now: float, *, others_wait: bool) -> None:
        """The follower has made it durable; `others_wait`: so do writers for what the same stream carries."""
        self.under_way_bytes -= size_bytes
        if now - self._second_began > _RECENT_S:
            self._second_began = now
            self._least_before_s, self._least_s = self._least_s, float("inf")
        took_s = now - sent_at
        if others_wait:  # who lacks a few records of each of hundreds of partitions takes nothing from anybody
            self._rest(self._rests * took_s * min(1.0, size_bytes / CHUNK_BYTES), now)
        self._least_s = min(self._least_s, took_s)
        fastest_s = min(self._least_s, self._least_before_s)
        if took_s <= fastest_s + max(QUEUE_S, fastest_s / 2):
            self._allowed_bytes = min(MOST_BYTES, self._allowed_bytes + size_bytes)
        elif sent_at >= self._cut_at:  # once for all that was under way together
            if self._allowed_bytes == LEAST_BYTES:  # not less at once, so it is less often
                self._rest(took_s, now)
            self._allowed_bytes = max(LEAST_BYTES, self._allowed_bytes // 2)
            self._cut_at = now

    def _rest(self, seconds: float, now: float) -> None:
        self._rests_until = max(self._rests_until, now + min(seconds, MOST_REST_S))
