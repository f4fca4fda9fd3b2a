"""The two roles that seek office: Prospective asks for PreVotes, Candidate for votes.

Keeps: a PreVote changes no term (rule 4, KIP-996); a candidate counts its own vote, and asks for others, only once its
own is on disk (rule 1). Leaves out what comes of it: both say whether a majority agrees, and the node acts on that.
"""

from __future__ import annotations

from dohle.raft.core import ELECTION_ATTEMPTS, Core
from dohle.raft.messages import VoteRequest, VoteResponse
from dohle.raft.quorum import ReplicaKey


class Prospective:
    """Asks whether it would be elected in the next term, without disturbing the present one."""

    __slots__ = ("_granted", "deadline")

    def __init__(self, core: Core, now: float) -> None:
        self.deadline = now + core.election_delay_s()
        self._granted: set[ReplicaKey] = {core.key}

    def ask(self, core: Core) -> bool:
        """Asks all other voters; tells whether none is needed."""
        _ask(core, core.term + 1, pre_vote=True)
        return core.voters.has_majority(self._granted)

    def answered(self, core: Core, response: VoteResponse) -> bool:
        """Counts an answer; tells whether a majority would vote for this node."""
        if response.pre_vote and response.granted and response.election_term == core.term + 1:
            self._granted.add(response.source)
        return core.voters.has_majority(self._granted)


class Candidate:
    """Stands in a term of its own."""

    __slots__ = ("_granted", "_transfer", "deadline")

    def __init__(self, core: Core, now: float, *, transfer: bool) -> None:
        core.failed_attempts = max(core.failed_attempts, ELECTION_ATTEMPTS)
        self.deadline = now + core.election_delay_s()
        self._granted: set[ReplicaKey] = set()
        self._transfer = transfer  # in the place of the leader, at its wish

    def vote_persisted(self, core: Core) -> bool:
        """Its own vote is on disk: counts it, and asks for others; tells whether it is elected."""
        self._granted.add(core.key)
        _ask(core, core.term, pre_vote=False, transfer=self._transfer)
        return core.voters.has_majority(self._granted)

    def answered(self, core: Core, response: VoteResponse) -> bool:
        """Counts an answer; tells whether it is elected."""
        if not response.pre_vote and response.granted and response.election_term == core.term:
            self._granted.add(response.source)
        return core.voters.has_majority(self._granted)


def _ask(core: Core, term: int, *, pre_vote: bool, transfer: bool = False) -> None:
    for voter in core.voters.others(core.key):
        core.send_after_vote(
            VoteRequest(core.key, voter, term, pre_vote, core.log.last_term, core.log.log_end_offset, transfer)
        )
