"""Configurations: who votes, as the log says it, and how that is taken back.

Keeps rule 5: a configuration is effective once its batch is appended, committed or not, and the one before it is again
once that batch is truncated. The newest one at or below the log's start, or in the snapshot that was installed, is what
the rest goes on from, and nothing takes it back (rule 8). Leaves out who may change it and when (`leader`), and where a
voter is reached (the driver's).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dohle.raft.quorum import VoterSet


class Configuration(NamedTuple):
    """The voters from the batch on that ends at `end_offset`."""

    end_offset: int
    voters: VoterSet


class Configurations:
    """The voters that the log goes on from, and every change that it holds after that."""

    __slots__ = ("_changes", "_first")

    def __init__(self, first: VoterSet, changes: Sequence[Configuration] = ()) -> None:
        """`first`: of the snapshot, nobody if there is none; `changes` in the order of the log, after the snapshot."""
        self._first = first
        self._changes = list(changes)

    @property
    def current(self) -> VoterSet:
        """The voters that count now."""
        return self._changes[-1].voters if self._changes else self._first

    @property
    def changed_at(self) -> int:
        """Where the batch of the last change ends; the change is in flight until that much is committed."""
        return self._changes[-1].end_offset if self._changes else 0

    def append(self, end_offset: int, voters: VoterSet) -> None:
        """A batch that ends at `end_offset` has been appended, and names `voters`."""
        assert end_offset > self.changed_at, (end_offset, self.changed_at)
        self._changes.append(Configuration(end_offset, voters))

    def truncate(self, to_offset: int) -> None:
        """The log was cut at `to_offset`: what stood above it never happened."""
        while self._changes and self._changes[-1].end_offset > to_offset:
            self._changes.pop()

    def cut_below(self, offset: int) -> None:
        """The log begins at `offset`, and all below is committed: of what it said there only the last counts."""
        while self._changes and self._changes[0].end_offset <= offset:
            self._first = self._changes.pop(0).voters

    def install(self, voters: VoterSet) -> None:
        """A snapshot that names `voters` has taken the place of the log."""
        self._first, self._changes = voters, []
