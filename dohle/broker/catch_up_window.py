"""CatchUpWindow: how much a follower is sent at once of what it lacks, so that it holds nothing up that is new.

What catches up shares a stream, two event loops and a disk with batches whose writers wait. Chunks take longer to
become durable once they queue anywhere on that way: then less is sent at once, and more again as soon as they do not
(as LEDBAT does, RFC 6817). How long it takes without a queue is the least of the last seconds, so that a way which is
slow of itself, or has become so, is no reason to send less and less.

Where chunks queue even when they go one by one, as they do on cores that are busy, nothing is sent for as long as the
last one took: what catches up leaves half of the time to others then, and takes at most twice as long for it.
"""

from __future__ import annotations

CHUNK_BYTES = 256 << 10
LEAST_BYTES = 32 << 10
"""So much is always sent: whoever is written to must be able to catch up."""
MOST_BYTES = 4 << 20
QUEUE_S = 0.002
"""How much longer a chunk may take than the fastest one before less is sent; or half as long again, if that is more."""
MOST_REST_S = 0.1
"""A way that takes longer is slow for other reasons than what catches up."""
_RECENT_S = 1.0


class CatchUpWindow:
    """Of one stream. Chunks may be larger than was allowed: a batch goes whole."""

    def __init__(self) -> None:
        self._allowed_bytes = LEAST_BYTES
        self.under_way_bytes = 0
        self._least_s = self._least_before_s = float("inf")  # of the second that runs, and the one before
        self._second_began = 0.0
        self._cut_at = 0.0
        self._rests_until = 0.0

    @property
    def is_open(self) -> bool:
        return self.under_way_bytes < self._allowed_bytes

    def rest_s(self, now: float) -> float:
        """Returns for how long nothing may be read, so that others have their turn."""
        return max(0.0, self._rests_until - now)

    @property
    def chunk_bytes(self) -> int:
        return min(CHUNK_BYTES, max(LEAST_BYTES, self._allowed_bytes) // 2)

    def read(self, size_bytes: int) -> None:
        """A chunk has been read, and will be sent."""
        self.under_way_bytes += size_bytes

    def forgotten(self, size_bytes: int) -> None:
        """Nobody waits for it any more."""
        self.under_way_bytes -= size_bytes

    def durable(self, size_bytes: int, sent_at: float, now: float) -> None:
        """The follower has made it durable."""
        self.under_way_bytes -= size_bytes
        if now - self._second_began > _RECENT_S:
            self._second_began = now
            self._least_before_s, self._least_s = self._least_s, float("inf")
        took_s = now - sent_at
        self._least_s = min(self._least_s, took_s)
        fastest_s = min(self._least_s, self._least_before_s)
        if took_s <= fastest_s + max(QUEUE_S, fastest_s / 2):
            self._allowed_bytes = min(MOST_BYTES, self._allowed_bytes + size_bytes)
        elif sent_at >= self._cut_at:  # once for all that was under way together
            if self._allowed_bytes == LEAST_BYTES:  # not less at once, so it is less often
                self._rests_until = now + min(took_s, MOST_REST_S)
            self._allowed_bytes = max(LEAST_BYTES, self._allowed_bytes // 2)
            self._cut_at = now
