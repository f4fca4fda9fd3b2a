"""Turn: what one command, timer or commit has led to so far."""

from __future__ import annotations

from collections.abc import Callable

from dohle.groups.outcome import NOTHING, Moment, Outcome, Reply, Ticket
from dohle.groups.records import GroupRecord
from dohle.model.errors import DohleError


class Turn:
    """Gathers an Outcome. Nobody is answered twice."""

    def __init__(self, moment: Moment) -> None:
        self.moment = moment
        self.records: list[GroupRecord] = []
        self.replies: dict[Ticket, Reply] = {}
        self._then: Callable[[DohleError | None, Moment], Outcome] | None = None

    def reply(self, ticket: Ticket | None, reply: Reply) -> None:
        """Answers who waits with that ticket; None: nobody does."""
        if ticket is not None:
            assert ticket not in self.replies, "answered already"
            self.replies[ticket] = reply

    def write(self, *records: GroupRecord, then: Callable[[DohleError | None, Moment], Outcome] | None = None) -> None:
        """Writes records down; `then` is told whether they are committed."""
        assert then is None or self._then is None, "one thing waits for the commit of one batch"
        self.records += records
        self._then = self._then or then

    def outcome(self) -> Outcome:
        if not self.records and not self.replies:
            return NOTHING
        return Outcome(tuple(self.records), self.replies, self._then)
