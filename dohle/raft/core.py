"""What outlasts a role: term and vote, the view of the log, the commit index, and the effects of the present input.

Keeps rule 1 for all roles: what speaks of a term or a vote leaves by `send_after_vote`, which holds it back until both
are on disk. Keeps: terms and the commit index never fall. Leaves out everything that only one role needs.
"""

from __future__ import annotations

from typing import Protocol

from dohle.model.ids import SnapshotId
from dohle.raft.config import RaftConfig
from dohle.raft.configurations import Configurations
from dohle.raft.effects import Committed, Effect, InstallSnapshot, PersistVote, Send
from dohle.raft.log_view import LogView
from dohle.raft.messages import Message, VoteResponse
from dohle.raft.quorum import ReplicaKey, VoterSet

ELECTION_ATTEMPTS = 2
"""A real election, with its fsyncs, is given as much time as a PreVote after so many failed ones."""


class Uniform(Protocol):
    """The one thing that is drawn from a random source; `random.Random` has it."""

    def uniform(self, a: float, b: float, /) -> float: ...


class Core:
    """The state that a node carries from role to role."""

    __slots__ = (
        "_held",
        "_vote_is_durable",
        "commit_offset",
        "config",
        "configurations",
        "damaged",
        "effects",
        "failed_attempts",
        "key",
        "leaderless",
        "log",
        "random",
        "snapshot",
        "term",
        "voted_for",
    )

    def __init__(
        self,
        key: ReplicaKey,
        configurations: Configurations,
        log: LogView,
        term: int,
        voted_for: ReplicaKey | None,
        random: Uniform,
        config: RaftConfig,
        damaged: bool,
        snapshot: SnapshotId,
    ) -> None:
        self.key = key
        self.configurations = configurations
        self.log = log
        self.term = term
        self.voted_for = voted_for
        self.random = random
        self.config = config
        self.damaged = damaged  # the log: it votes, takes and leads nothing (rule 9)
        self.snapshot = snapshot  # the newest, which whoever is behind the log's start is offered
        self.commit_offset = snapshot.end_offset
        self.leaderless = True  # certainly so: nobody is known to have led since the start, or a proof says so
        self.failed_attempts = 0  # to elect somebody, since a leader was last heard
        self.effects: list[Effect] = []
        self._vote_is_durable = True
        self._held: dict[tuple[ReplicaKey, type[Message], bool], Message] = {}

    @property
    def voters(self) -> VoterSet:
        """Who votes, as far as this node's log says."""
        return self.configurations.current

    @property
    def may_stand(self) -> bool:
        """Whether this node, with this disk, may be elected (rule 5)."""
        return not self.damaged and self.key in self.voters

    def take_effects(self) -> list[Effect]:
        """Returns the effects gathered since the last call."""
        effects, self.effects = self.effects, []
        return effects

    def set_vote(self, term: int, voted_for: ReplicaKey | None) -> None:
        """Moves to `term`, or votes in it; what is to be said about it waits for the fsync."""
        assert term > self.term or (term == self.term and self.voted_for is None), (term, self.term, self.voted_for)
        if term > self.term:
            self._held.clear()  # answers of an older term: nobody needs them any more
        self.term = term
        self.voted_for = voted_for
        self._vote_is_durable = False
        self.effects.append(PersistVote(term, voted_for))

    def vote_persisted(self, term: int, voted_for: ReplicaKey | None) -> bool:
        """Releases what waited for the present term and vote; tells whether it was these that reached the disk."""
        if self._vote_is_durable or (term, voted_for) != (self.term, self.voted_for):
            return False  # a finished write of an older term (rule 1)
        self._vote_is_durable = True
        self.effects.extend(Send(message) for message in self._held.values())
        self._held.clear()
        return True

    def send_after_vote(self, message: Message) -> None:
        """Sends `message` once term and vote are on disk; of those that wait, the newest of a kind to a voter."""
        if self._vote_is_durable:
            self.effects.append(Send(message))
        else:
            pre_vote = isinstance(message, VoteResponse) and message.pre_vote
            self._held[message.target, type(message), pre_vote] = message

    def commit(self, offset: int) -> None:
        """Moves the commit index up to `offset`, if that is further up."""
        if offset > self.commit_offset:
            assert offset <= self.log.log_end_offset, (offset, self.log.log_end_offset)
            self.commit_offset = offset
            self.effects.append(Committed(offset))

    def install(self, snapshot: SnapshotId, voters: VoterSet) -> None:
        """Takes what is in `snapshot`, its voters too, in place of the log, which lacks it (rules 5 and 8)."""
        self.log.start_over(*snapshot)
        self.configurations.install(voters)
        self.snapshot = snapshot
        self.commit_offset = snapshot.end_offset
        self.effects.append(InstallSnapshot(snapshot, self.log.generation))

    def log_is_behind_or_equal(self, last_term: int, log_end_offset: int) -> bool:
        """Tells whether a log that ends so is at least as up to date as this one (dissertation, 3.6.1)."""
        return (last_term, log_end_offset) >= (self.log.last_term, self.log.log_end_offset)

    def heard_leader(self) -> None:
        """Somebody leads: no more haste."""
        self.leaderless = False
        self.failed_attempts = 0

    def election_delay_s(self) -> float:
        """Draws how long to wait for a leader before the next attempt to elect one (rule 4).

        Where certainly nobody leads, a PreVote disturbs nobody, and it begins within a fraction of a second.
        """
        config = self.config
        low_ms: float = config.election_timeout_min_ms
        high_ms: float = config.election_timeout_max_ms
        if self.leaderless:
            factor = 1 << min(self.failed_attempts, 8)
            low_ms = min(low_ms, config.leaderless_delay_min_ms * factor)
            high_ms = min(high_ms, config.leaderless_delay_max_ms * factor)
        return self.random.uniform(low_ms, high_ms) / 1000
