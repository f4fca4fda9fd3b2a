"""What each part of a shard (offsets, classic groups, KIP-848 groups) offers to the whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from dohle.groups.outcome import Moment, Outcome
from dohle.groups.records import GroupRecord


class Part(Protocol):
    """One part; its commands are methods of its own, each `(..., ticket, moment) -> Outcome`."""

    applies: tuple[type[GroupRecord], ...]
    """The records that are this part's."""

    def apply(self, record: GroupRecord) -> None:
        """Takes one of them: from the log, or just appended. Sets no timer and answers nobody."""
        ...

    def begin(self, moment: Moment) -> Iterable[Outcome]:
        """Begins to coordinate, once all is loaded: sessions count from now on."""
        ...

    def topics_changed(self, moment: Moment) -> Iterable[Outcome]:
        """`ShardState.image` has topics that it had not, or the other way round."""
        ...
