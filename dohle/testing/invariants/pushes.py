"""Pushes: that no leader replicates a batch whose checksum is wrong.

Followers refuse such a batch, so that no log shows it. The simulated network changes nothing on the way: whatever a
follower finds damaged has left its leader like that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dohle.broker.following import Following
from dohle.broker.leader_link import LeaderLink
from dohle.model.errors import CorruptMessage, DohleError


@contextmanager
def watched_pushes(violated: Callable[[str], None]) -> Iterator[None]:
    """Tells `violated` of damaged batches that followers get meanwhile. One at a time is entered."""
    original = LeaderLink._failed

    def failed(self: LeaderLink, following: Following, error: DohleError) -> None:
        if isinstance(error, CorruptMessage):
            violated(f"leader {self.leader} has pushed what is damaged: {error.message}")
        original(self, following, error)

    LeaderLink._failed = failed  # type: ignore[method-assign]
    try:
        yield
    finally:
        LeaderLink._failed = original  # type: ignore[method-assign]
