"""What the nodes of a quorum tell each other. All of it one-way: an answer is a message of its own.

Every message names source and target with their directory ids; a node drops what is not meant for it: for another
disk of its node, say. Who leads or asks for a vote may be unknown to a node whose log lags, so nobody is refused for
being no voter here; only voters are counted. Messages may be lost, doubled or late, and come in any order; batches are
opaque here, but for who votes.

The log is a sequence of whole batches, and places in it are offsets. "The term at offset o" is the term (partition
leader epoch) of the batch that holds o - 1; at offset 0 it is 0. Two logs with the same term at o are equal below o.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from dohle.model.ids import SnapshotId
from dohle.raft.quorum import ReplicaKey, VoterSet


class BatchSpan(NamedTuple):
    """Where one batch of an append lies: one Raft entry."""

    base_offset: int
    end_offset: int  # exclusive
    term: int
    size_in_bytes: int
    voters: VoterSet | None = None  # who votes from this batch on, if it says so


@dataclass(frozen=True, slots=True)
class AppendRequest:
    """The leader's batches from `prev_offset` on; without any: a heartbeat, or a probe."""

    source: ReplicaKey
    target: ReplicaKey
    term: int
    prev_offset: int
    prev_term: int  # the term at prev_offset
    spans: tuple[BatchSpan, ...]  # back to back from prev_offset on
    batches: bytes  # the batches themselves, in the order of `spans`
    commit_offset: int  # exclusive; the leader's, whether or not the target has that much
    round: int  # the leader's last round of heartbeats; an answer gives it back


@dataclass(frozen=True, slots=True)
class AppendAccepted:
    """The source's log equals the leader's. Sent at once for a heartbeat, after the fsync for new batches."""

    source: ReplicaKey
    target: ReplicaKey
    term: int
    round: int
    matched_end_offset: int  # equal to the leader's log below this; it may yet be lost
    durable_end_offset: int  # and fsynced below this: only this counts towards a commit


@dataclass(frozen=True, slots=True)
class AppendRejected:
    """The source's log does not have the leader's term at `prev_offset`; or, with a higher term: you lead no longer.

    The hint (KIP-595's diverging epoch): of the batches below prev_offset and of a term <= prev_term, the last one has
    `conflict_term` and ends at `conflict_end_offset`; 0 and 0 if there are none.
    """

    source: ReplicaKey
    target: ReplicaKey
    term: int
    round: int
    prev_offset: int
    conflict_term: int
    conflict_end_offset: int


@dataclass(frozen=True, slots=True)
class SnapshotOffer:
    """In place of an append, where the leader's log begins behind what the target has: fetch this snapshot first.

    Answered as a heartbeat is, at once, and by an acceptance of all that is in it once it is installed.
    """

    source: ReplicaKey
    target: ReplicaKey
    term: int
    snapshot: SnapshotId
    round: int


@dataclass(frozen=True, slots=True)
class VoteRequest:
    """Asks for a vote in `term`; with `pre_vote`, whether there would be one (KIP-996), which changes nobody's term."""

    source: ReplicaKey
    target: ReplicaKey
    term: int  # for a PreVote the one after the source's own
    pre_vote: bool
    last_term: int
    log_end_offset: int
    transfer: bool = False  # the leader itself has asked for this election: nobody protects it (rule 6)


@dataclass(frozen=True, slots=True)
class VoteResponse:
    """The answer to the VoteRequest with `election_term` and `pre_vote`."""

    source: ReplicaKey
    target: ReplicaKey
    term: int  # the source's own
    election_term: int
    pre_vote: bool
    granted: bool


@dataclass(frozen=True, slots=True)
class TimeoutNow:
    """The leader of `term` to a voter that has its whole log: stand for election at once, in its place (rule 6)."""

    source: ReplicaKey
    target: ReplicaKey
    term: int


Message: TypeAlias = (
    AppendRequest | AppendAccepted | AppendRejected | SnapshotOffer | VoteRequest | VoteResponse | TimeoutNow
)
