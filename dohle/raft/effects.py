"""What the state machine wants done. The driver carries the effects out in the order in which they were returned.

Effects need no further coordination: whatever has to wait for an fsync (an answer, a vote request, one's own vote, an
acceptance of batches; rule 1) is held back inside until `vote_persisted` or `durable` tells that it has happened.

Truncate, Append, AppendNoOp, ReadEntries, InstallSnapshot, Committed and LeaderReady all concern the log: a driver that
carries them out in the background does so in one queue, first in, first out. Send, PersistVote and the rest may
overtake those. PersistVotes stay in order among themselves; of several that wait, only the last need be written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from dohle.model.ids import SnapshotId
from dohle.raft.messages import BatchSpan, Message
from dohle.raft.quorum import ReplicaKey


@dataclass(frozen=True, slots=True)
class PersistVote:
    """Write term and vote to the vote file, fsync, then call `vote_persisted` with the same two."""

    term: int
    voted_for: ReplicaKey | None


@dataclass(frozen=True, slots=True)
class Send:
    """Send `message` to `message.target`. It may be lost: never wait for it, never queue it without a limit."""

    message: Message


@dataclass(frozen=True, slots=True)
class Truncate:
    """Cut the log at `to_offset`. Fsyncs that begin once this is done are reported with the new `generation`."""

    to_offset: int
    generation: int


@dataclass(frozen=True, slots=True)
class Append:
    """As a follower: append these batches as they are, fsync, then call `durable`."""

    spans: tuple[BatchSpan, ...]
    batches: bytes


@dataclass(frozen=True, slots=True)
class AppendNoOp:
    """As the new leader: append a batch of one control record in `term` at `base_offset`, before anything else.

    Then call `appended`, and `durable` after its fsync.
    """

    term: int
    base_offset: int


@dataclass(frozen=True, slots=True)
class ReadEntries:
    """Read whole batches, from the one that holds `from_offset` on: one at least, and as many as fit into `max_bytes`;
    none where the log begins behind it by now.

    Then call `entries_read` with `target`, `term` and `from_offset` as given here: it answers with the Send. Every
    ReadEntries is answered exactly once, unless the node stops.
    """

    target: ReplicaKey
    term: int
    from_offset: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class FetchSnapshot:
    """Fetch `snapshot`, or a later one, from `source`, and have it checked and durable, but not in place yet.

    Then call `snapshot_fetched` with it and the voters that it names. It may fail, or take long: it is asked for again
    with every offer of the leader, and a fetch that is under way is enough.
    """

    source: ReplicaKey
    snapshot: SnapshotId


@dataclass(frozen=True, slots=True)
class InstallSnapshot:
    """Put the fetched snapshot in place, empty the log so that it begins at its end, and apply the snapshot's image.

    In this order, for a crash in between. Fsyncs that begin once this is done are reported with the new `generation`.
    """

    snapshot: SnapshotId
    generation: int


@dataclass(frozen=True, slots=True)
class Committed:
    """Everything below `offset` is committed: apply it, in order."""

    offset: int


@dataclass(frozen=True, slots=True)
class BecameLeader:
    """This node leads `term`. It may append, but not answer before LeaderReady. AppendNoOp follows."""

    term: int


@dataclass(frozen=True, slots=True)
class LeaderReady:
    """The no-op of `term` is committed: once everything committed so far is applied, the state machine leads."""

    term: int


@dataclass(frozen=True, slots=True)
class BecameFollower:
    """This node does not lead. In `term`, `leader` does, as far as is known; None while nobody is known to.

    Comes whenever either of the two changes, while this node asks for votes too.
    """

    term: int
    leader: ReplicaKey | None


@dataclass(frozen=True, slots=True)
class ReadReady:
    """The read `context` is linearizable once everything below `commit_offset` is applied (rule 7)."""

    context: int
    commit_offset: int


@dataclass(frozen=True, slots=True)
class ReadRefused:
    """The read `context` cannot be served here: not the leader (any more), not ready yet, or too many reads wait."""

    context: int


@dataclass(frozen=True, slots=True)
class TransferFailed:
    """This node still leads: nobody took the office over in time, or nobody could. It takes proposals again."""


@dataclass(frozen=True, slots=True)
class Fatal:
    """A peer or this node's disk has broken what Raft rests upon: stop the node, and show `reason`."""

    reason: str


Effect: TypeAlias = (
    PersistVote
    | Send
    | Truncate
    | Append
    | AppendNoOp
    | ReadEntries
    | FetchSnapshot
    | InstallSnapshot
    | Committed
    | BecameLeader
    | LeaderReady
    | BecameFollower
    | ReadReady
    | ReadRefused
    | TransferFailed
    | Fatal
)
