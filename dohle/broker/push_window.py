"""PushWindow: which pushes of one stream are not durable yet, and whether the next may go (decision 0005).

While pushes are small, one is on its way at a time: waiting for it is what gathers the appends that come meanwhile. A
backlog of bytes may run ahead on receipt. A partition that takes longer than a disk should, as on a slow disk beside
others, is not waited for by the others: its pushes do not close the window, until one is durable in time again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dohle.model.ids import PartitionKey

PUSH_BYTES = 1 << 20
"""What a push gathers at the most, but for a single larger batch; more than this waiting is a backlog."""
PUSHES_AHEAD = 4
"""How many pushes of a backlog may be received and not yet durable."""
SLOW_S = 0.05
"""After so long without being durable a partition's push is waited for no longer,"""
PUSHES_PASSING = 8
"""and so many may be on their way in all."""


@dataclass(slots=True)
class _Flying:
    number: int
    sent_at: float
    ends: dict[PartitionKey, int]  # up to where each partition has to be durable; those that are, are gone
    is_late: bool = False


class PushWindow:
    """The pushes on their way. `now` is the monotonic time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._flying: deque[_Flying] = deque()
        self._slow: dict[PartitionKey, None] = {}
        self._sent = self._received = 0

    @property
    def is_waiting(self) -> bool:
        """Whether a push on its way keeps others from going."""
        return any(self._is_waited_for(flying) for flying in self._flying)

    def send(self, ends: dict[PartitionKey, int]) -> int:
        """Returns the number of the push that goes now."""
        self._sent += 1
        self._flying.append(_Flying(self._sent, self._now(), ends))
        return self._sent

    def arrived(self, received: int, durable: int) -> None:
        """The follower says which pushes it has received, and which are durable as a whole."""
        self._received = max(self._received, received)
        while self._flying and self._flying[0].number <= durable:
            flying = self._flying.popleft()
            self._durable(flying, flying.ends)

    def acknowledged(self, key: PartitionKey, durable_end: int) -> None:
        """One partition is durable up to there; the rest of its pushes may not be."""
        for flying in self._flying:
            if flying.ends.get(key, durable_end + 1) <= durable_end:
                self._durable(flying, (key,))
                del flying.ends[key]
        self._drop_empty()

    def forget(self, key: PartitionKey) -> None:
        """Nobody waits for this partition any more."""
        self._slow.pop(key, None)
        for flying in self._flying:
            flying.ends.pop(key, None)
        self._drop_empty()

    def _durable(self, flying: _Flying, keys: Iterable[PartitionKey]) -> None:
        is_late = self._now() - flying.sent_at >= SLOW_S
        if not is_late and not self._slow:
            return
        for key in keys:
            if is_late:
                self._slow[key] = None
            else:
                self._slow.pop(key, None)

    def _drop_empty(self) -> None:
        self._flying = deque(flying for flying in self._flying if flying.ends)

    def _is_waited_for(self, flying: _Flying) -> bool:
        if not flying.is_late and self._now() - flying.sent_at >= SLOW_S:
            flying.is_late = True
            self._slow.update(dict.fromkeys(flying.ends))
        return not flying.is_late and any(key not in self._slow for key in flying.ends)

    def is_open(self, queued_bytes: int) -> bool:
        """Whether a push may go, for `queued_bytes` that wait."""
        return not self._flying or self._lets_pass() or self._lets_ahead(queued_bytes)

    def _lets_ahead(self, queued_bytes: int) -> bool:
        return queued_bytes > PUSH_BYTES and self._received == self._sent and len(self._flying) < PUSHES_AHEAD

    def _lets_pass(self) -> bool:
        return len(self._flying) < PUSHES_PASSING and not self.is_waiting

    def pushable(self, ready: Iterable[PartitionKey], queued_bytes: int) -> list[PartitionKey]:
        """Returns which of the partitions that have something to push may do so now, in their order."""
        if not self._flying or self._lets_ahead(queued_bytes):
            return list(ready)
        if not self._lets_pass():
            return []
        return [key for key in ready if not any(key in flying.ends for flying in self._flying)]
