"""PushWindow: which pushes of one stream are not durable yet, and whether the next may go (decision 0005).

While pushes are small, one is on its way at a time: waiting for it is what gathers the appends that come meanwhile. A
backlog of bytes may run ahead on receipt. Each of the follower's log folders has a window of its own, and a push is for
one of them: what lies on one disk never waits for another. Nor does anybody wait for long for a partition that is slow
by itself: it gets a window of its own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from dohle.model.ids import PartitionKey

PUSH_BYTES = 1 << 20
"""What a push gathers at the most, but for a single larger batch; more than this waiting is a backlog."""
PUSHES_AHEAD = 4
"""How many pushes of a backlog may be received and not yet durable."""


Lane = int | PartitionKey
"""What has a window: one of the follower's log folders, by its number, or a partition that is slow."""


@dataclass(slots=True)
class _Flying:
    number: int
    lane: Lane
    sent_at: float
    ends: dict[PartitionKey, int]  # up to where each partition has to be durable; those that are, are gone


class PushWindow:
    """The pushes on their way."""

    def __init__(self) -> None:
        self._flying: deque[_Flying] = deque()
        self._sent = self._received = 0
        self.sent_at = float("-inf")
        """When the last push went."""

    def send(self, lane: Lane, ends: dict[PartitionKey, int], now: float) -> int:
        """Returns the number of the push that goes now."""
        self._sent += 1
        self.sent_at = now
        self._flying.append(_Flying(self._sent, lane, now, ends))
        return self._sent

    def arrived(self, received: int, durable: int) -> None:
        """The follower says which pushes it has received, and up to which all are durable."""
        self._received = max(self._received, received)
        while self._flying and self._flying[0].number <= durable:
            self._flying.popleft()

    def acknowledged(self, key: PartitionKey, durable_end: int) -> float | None:
        """One partition is durable up to there; the rest of its push may not be. Returns when the last push left of
        those that this is the end of."""
        sent_at: float | None = None
        for flying in self._flying:
            if flying.ends.get(key, durable_end + 1) <= durable_end:
                del flying.ends[key]
                sent_at = flying.sent_at
        self._drop_empty()
        return sent_at

    def forget(self, key: PartitionKey) -> None:
        """Nobody waits for this partition any more."""
        for flying in self._flying:
            flying.ends.pop(key, None)
        self._drop_empty()

    def _drop_empty(self) -> None:
        if not all(flying.ends for flying in self._flying):
            self._flying = deque(flying for flying in self._flying if flying.ends)

    def stragglers(self, sent_before: float) -> list[PartitionKey]:
        """Returns the partitions for which others have waited since then, without those that have a window already."""
        late = [one for one in self._flying if one.sent_at <= sent_before]
        return list(dict.fromkeys(key for one in late for key in one.ends if one.lane != key))

    def set_apart(self, key: PartitionKey) -> None:
        """Gives a partition a window of its own, with all of it that is on its way."""
        for flying in list(self._flying):
            if key in flying.ends and flying.lane != key:
                self._flying.append(_Flying(flying.number, key, flying.sent_at, {key: flying.ends.pop(key)}))
        self._flying = deque(sorted((one for one in self._flying if one.ends), key=lambda one: one.number))

    def is_open(self, lane: Lane, queued_bytes: int) -> bool:
        """Whether a push may go there, for `queued_bytes` that wait."""
        flying = sum(one.lane == lane for one in self._flying)
        if not flying:
            return True
        return queued_bytes > PUSH_BYTES and self._received == self._sent and flying < PUSHES_AHEAD
