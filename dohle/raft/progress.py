"""How far one voter has come, in the eyes of the leader.

Keeps: match_offset <= next_offset <= the leader's log end. A probing one gets empty appends only: each rejection brings
the term of its hint down, so that a handful of round trips finds where the logs part. Otherwise appends follow each
other unanswered, up to the window; a lost one shows when the next append or heartbeat is rejected.
"""

from __future__ import annotations

from collections import deque

from dohle.model.ids import NO_SNAPSHOT
from dohle.raft.log_view import LogView
from dohle.raft.messages import AppendAccepted, AppendRejected


class Progress:
    """One voter, during one leadership."""

    __slots__ = (
        "confirmed_round",
        "in_flight",
        "is_probing",
        "last_contact",
        "last_sent",
        "match_offset",
        "next_offset",
        "offered",
        "reading_from",
        "sent_commit_offset",
    )

    def __init__(self, next_offset: int, now: float) -> None:
        self.next_offset = next_offset  # the next append begins here
        self.match_offset = 0  # equal to the leader's log and fsynced below this
        self.in_flight: deque[int] = deque()  # the ends of appends with batches that were not answered
        self.is_probing = False
        self.reading_from: int | None = None  # where the ReadEntries begins that is out
        self.offered = NO_SNAPSHOT  # what it was last told to fetch
        self.last_sent = now
        self.last_contact = now
        self.confirmed_round = 0
        self.sent_commit_offset = 0

    def contacted(self, now: float, confirmed_round: int) -> None:
        """The voter has answered, in this term: it took this node for the leader in that round."""
        self.last_contact = now
        self.confirmed_round = max(self.confirmed_round, confirmed_round)

    def accepted(self, response: AppendAccepted) -> None:
        """The voter has what was sent: what it received makes room in the window, what it fsynced counts."""
        self.match_offset = max(self.match_offset, response.durable_end_offset)
        while self.in_flight and self.in_flight[0] <= response.matched_end_offset:
            self.in_flight.popleft()
        if response.matched_end_offset >= self.next_offset:
            self.next_offset = response.matched_end_offset
            self.is_probing = False

    def rejected(self, response: AppendRejected, log: LogView) -> bool:
        """Goes back to where the logs may be equal; tells whether the news was news, not a late rejection."""
        is_late = (
            response.prev_offset != self.next_offset
            if self.is_probing
            else not self.match_offset < response.prev_offset <= self.next_offset
        )
        if is_late:
            return False
        term, end_offset = log.end_of_term(response.conflict_term)
        self.next_offset = max(min(end_offset, response.conflict_end_offset), self.match_offset)
        # Two logs that have batches of one term agree up to where it ends in the shorter one: no need to ask again.
        self.is_probing = term != response.conflict_term and self.next_offset > self.match_offset
        self.in_flight.clear()
        return True
