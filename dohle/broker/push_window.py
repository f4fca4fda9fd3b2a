"""PushWindow: which pushes of one stream are not durable yet, and whether the next may go (decision 0005).

While pushes are small, one is on its way at a time: waiting for it is what gathers the appends that come meanwhile. A
backlog of bytes may run ahead on receipt. Each of the follower's log folders has a window of its own, and a push is for
one of them: what lies on one disk never waits for another.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from dohle.model.ids import PartitionKey

PUSH_BYTES = 1 << 20
"""What a push gathers at the most, but for a single larger batch; more than this waiting is a backlog."""
PUSHES_AHEAD = 4
"""How many pushes of a backlog may be received and not yet durable."""


@dataclass(slots=True)
class _Flying:
    number: int
    disk: int
    ends: dict[PartitionKey, int]  # up to where each partition has to be durable; those that are, are gone


class PushWindow:
    """The pushes on their way."""

    def __init__(self) -> None:
        self._flying: deque[_Flying] = deque()
        self._sent = self._received = 0

    def send(self, disk: int, ends: dict[PartitionKey, int]) -> int:
        """Returns the number of the push that goes now."""
        self._sent += 1
        self._flying.append(_Flying(self._sent, disk, ends))
        return self._sent

    def arrived(self, received: int, durable: int) -> None:
        """The follower says which pushes it has received, and up to which all are durable."""
        self._received = max(self._received, received)
        while self._flying and self._flying[0].number <= durable:
            self._flying.popleft()

    def acknowledged(self, key: PartitionKey, durable_end: int) -> None:
        """One partition is durable up to there; the rest of its push may not be."""
        for flying in self._flying:
            if flying.ends.get(key, durable_end + 1) <= durable_end:
                del flying.ends[key]
        self._drop_empty()

    def forget(self, key: PartitionKey) -> None:
        """Nobody waits for this partition any more."""
        for flying in self._flying:
            flying.ends.pop(key, None)
        self._drop_empty()

    def _drop_empty(self) -> None:
        if not all(flying.ends for flying in self._flying):
            self._flying = deque(flying for flying in self._flying if flying.ends)

    def is_open(self, disk: int, queued_bytes: int) -> bool:
        """Whether a push may go there, for `queued_bytes` that wait."""
        flying = sum(one.disk == disk for one in self._flying)
        if not flying:
            return True
        return queued_bytes > PUSH_BYTES and self._received == self._sent and flying < PUSHES_AHEAD
