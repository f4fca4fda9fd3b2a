"""PreferredReplica: the follower in its own rack that a consumer reads one partition from (KIP-392).

The leader names it. The consumer asks the leader again when that replica fails or refuses; when it brings nothing for a
while, since a follower that hears nothing cannot know it; and every five minutes in any case. After a failure it stays
with the leader for a moment, which may not have noticed yet.
"""

from __future__ import annotations

from typing import Final

_SILENT_S: Final = 5.0
_LONGEST_S: Final = 300.0
_SHUNNED_S: Final = 5.0


class PreferredReplica:
    """`node` is None while the leader itself is read."""

    __slots__ = ("_brought_at", "_named_at", "_shunned_until", "node")

    def __init__(self) -> None:
        self.node: int | None = None
        self._named_at = self._brought_at = 0.0
        self._shunned_until = 0.0

    def named(self, node: int, now: float) -> None:
        """The leader says that `node` is to be read."""
        self.node = node
        self._named_at = self._brought_at = now

    def brought_something(self, now: float) -> None:
        self._brought_at = now

    def is_due(self, now: float) -> bool:
        """Whether the leader is to be asked again."""
        if self.node is None:
            return False
        return now - self._brought_at >= _SILENT_S or now - self._named_at >= _LONGEST_S

    def forget(self) -> None:
        """The leader is to be asked, and may name a replica again."""
        self.node = None

    def shun(self, now: float) -> None:
        """It failed: the leader is to be read, and for a moment to name nobody."""
        self.node = None
        self._shunned_until = now + _SHUNNED_S

    def is_wanted(self, now: float) -> bool:
        """Whether the leader may name a replica."""
        return now >= self._shunned_until
