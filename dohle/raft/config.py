"""Raft's timers and limits.

Anchors: Ongaro's dissertation, 3.9 (timing) and 9.3 (election time-outs); KIP-996 (PreVote).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """How long a node waits for what, and how much it keeps in flight."""

    heartbeat_interval_ms: int = 250
    """A leader that has sent a voter nothing for so long sends it an empty append. Four fit into the shortest election
    time-out; more find nothing sooner, since a process that ends is found by its connections, and every 50 ms they
    would cost an idle leader 3 % of a core."""

    election_timeout_min_ms: int = 1000
    """The least silence after which a follower stands; for so long after a contact it protects its leader."""

    election_timeout_max_ms: int = 1500
    """The longest silence after which a follower stands; each draws its own between the two."""

    leaderless_delay_min_ms: int = 50
    """While certainly nobody leads (none known since the start, or the leader's process is proven gone), a node asks
    for PreVotes again after a delay drawn from here ..."""

    leaderless_delay_max_ms: int = 250
    """... to here. Both double with each failed attempt, up to the election time-out."""

    leader_gone_delay_max_ms: int = 20
    """The first such delay after the leader's process was found gone: drawn from 0 to this, on top of the turn."""

    leader_gone_turn_ms: int = 50
    """The voters find that in the same moment, so they take turns, in the order of their keys: each waits so much more
    than the one before, which is longer than an election takes. Drawn at random, the first would come later, and two
    of them would now and then split the votes."""

    max_append_bytes: int = 1 << 20
    """How much one append carries, at most, if its first batch is not larger by itself."""

    max_in_flight_appends: int = 4
    """How many appends with batches a voter may leave unanswered before the leader sends it no more."""

    max_waiting_reads: int = 1024
    """How many linearizable reads may wait for a round of heartbeats; more are refused."""

    @property
    def check_quorum_timeout_ms(self) -> float:
        """A leader without contact to a majority for so long steps down (rule 4)."""
        return 1.5 * self.election_timeout_min_ms
