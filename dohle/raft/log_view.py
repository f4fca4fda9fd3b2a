"""What Raft knows of the log: where it ends, how far it is on disk, and which term each stretch was written in.

The log begins at `start_offset`: what lies before is committed, and stands in a snapshot; only the term there is known.

Keeps: terms and their start offsets both grow strictly; durable_end_offset <= log_end_offset; the generation grows with
every truncation, so that the news of an fsync of a stretch that was cut meanwhile is told apart (etcd's
async_storage_writes_append_aba_race). Leaves out the batches and their borders: a follower cuts only where a batch of
its leader begins, above all that is equal, and that is a border in both logs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple


class TermStart(NamedTuple):
    """From `start_offset` on, up to the next one, all batches are of `term`."""

    term: int
    start_offset: int


_BEGINNING = TermStart(0, 0)


class LogView:
    """A view that follows the log: the Raft node moves it with each effect, the driver then does as told."""

    __slots__ = (
        "_starts",
        "_terms",
        "durable_end_offset",
        "generation",
        "log_end_offset",
        "start_offset",
        "start_term",
    )

    def __init__(
        self,
        term_starts: Sequence[TermStart],
        log_end_offset: int,
        durable_end_offset: int,
        start: TermStart = _BEGINNING,
    ) -> None:
        """`term_starts` in order, each with data: starts without any batch (at the log's end) are left away.

        `start` is where the log begins, and the term of the batch that ended there; they may name terms before it.
        """
        assert 0 <= durable_end_offset <= log_end_offset, (durable_end_offset, log_end_offset)
        assert start.start_offset <= log_end_offset, (start, log_end_offset)
        with_data = [entry for entry in term_starts if entry.start_offset < log_end_offset]
        self._terms = [entry.term for entry in with_data]
        self._starts = [entry.start_offset for entry in with_data]
        self.start_term, self.start_offset = 0, 0
        assert self._terms == sorted(set(self._terms)), f"terms do not grow: {with_data}"
        assert self._starts == sorted(set(self._starts)), f"start offsets do not grow: {with_data}"
        self.log_end_offset = log_end_offset
        self._begin(start)
        assert (self._starts[:1] or [self.start_offset]) == [self.start_offset], f"not from {start} on: {with_data}"
        assert bool(self._terms) == (log_end_offset > self.start_offset), "a log with batches has a term, others none"
        self.durable_end_offset = durable_end_offset
        self.generation = 0

    @property
    def last_term(self) -> int:
        """The term of the last batch, which may lie before the log's start; 0 if there never was one."""
        return self._terms[-1] if self._terms else self.start_term

    @property
    def term_starts(self) -> tuple[TermStart, ...]:
        """The history of terms, oldest first."""
        return tuple(map(TermStart, self._terms, self._starts))

    def term_at(self, offset: int) -> int:
        """Returns the term of the batch that holds `offset` - 1; 0 for offset 0. Start <= `offset` <= end."""
        assert self.start_offset <= offset <= self.log_end_offset, (self.start_offset, offset, self.log_end_offset)
        index = bisect_left(self._starts, offset)
        return self._terms[index - 1] if index else self.start_term

    def has(self, offset: int, term: int) -> bool:
        """Tells whether a batch of `term` ends at `offset`, or holds what ends there; not known before the start."""
        return self.start_offset <= offset <= self.log_end_offset and self.term_at(offset) == term

    def end_of_term(self, term: int) -> tuple[int, int]:
        """Returns (t, end): the highest term <= `term` that the log has, and where it ends; (0, 0) if none is known."""
        index = bisect_right(self._terms, term)
        if index == 0:
            return (self.start_term, self.start_offset) if self.start_term <= term else (0, 0)
        end = self._starts[index] if index < len(self._starts) else self.log_end_offset
        return self._terms[index - 1], end

    def append(self, base_offset: int, end_offset: int, term: int) -> None:
        """Takes note of a batch of `term` at the log's end."""
        assert base_offset == self.log_end_offset < end_offset, (base_offset, end_offset, self.log_end_offset)
        assert term >= self.last_term, (term, self.last_term)
        if not self._terms or term != self._terms[-1]:
            self._terms.append(term)
            self._starts.append(base_offset)
        self.log_end_offset = end_offset

    def truncate(self, to_offset: int) -> None:
        """Forgets what lies at `to_offset` and above, and begins a new generation."""
        assert self.start_offset <= to_offset < self.log_end_offset, (to_offset, self.log_end_offset)
        while self._starts and self._starts[-1] >= to_offset:
            self._starts.pop()
            self._terms.pop()
        self.log_end_offset = to_offset
        self.durable_end_offset = min(self.durable_end_offset, to_offset)
        self.generation += 1

    def cut_below(self, offset: int) -> None:
        """Forgets what lies below `offset`: the log begins there."""
        if offset > self.start_offset:
            self._begin(TermStart(self.term_at(offset), offset))

    def _begin(self, start: TermStart) -> None:
        first = bisect_right(self._starts, start.start_offset) - 1
        if first >= 0 and start.start_offset == self.log_end_offset:
            first += 1  # the last term's data lies before the start as well
        if first >= 0:
            self._terms, self._starts = self._terms[first:], self._starts[first:]
            if self._starts:
                self._starts[0] = start.start_offset
        self.start_term, self.start_offset = start

    def start_over(self, offset: int, term: int) -> None:
        """Forgets all of the log, which begins and ends at `offset`; what lies before is of `term`, and older ones."""
        self._terms, self._starts = [], []
        self.start_term, self.start_offset, self.log_end_offset = term, offset, offset
        self.durable_end_offset = min(self.durable_end_offset, offset)
        self.generation += 1

    def durable(self, end_offset: int, generation: int) -> bool:
        """Takes note of a finished fsync; tells whether the durable end moved. An older generation's is ignored."""
        if generation != self.generation or end_offset <= self.durable_end_offset:
            return False
        assert end_offset <= self.log_end_offset, (end_offset, self.log_end_offset)
        self.durable_end_offset = end_offset
        return True
