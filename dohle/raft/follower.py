"""The follower: takes the leader's batches, answers for them once they are durable, and protects the leader.

Keeps: what stands is discarded only where terms differ, and never below the commit index (rule 2); the commit index is
never above what a request has itself proven equal (rule 2); an acceptance counts only what is fsynced (rule 1). Leaves
out when it starts to stand itself (its `deadline` says so, the node acts on it), and every vote.
"""

from __future__ import annotations

from dohle.raft.core import Core
from dohle.raft.effects import Append, Fatal, FetchSnapshot, Truncate
from dohle.raft.messages import AppendAccepted, AppendRejected, AppendRequest, SnapshotOffer
from dohle.raft.quorum import ReplicaKey


class Follower:
    """One term, or part of it, under one leader or none."""

    __slots__ = (
        "_election_timeout_s",
        "_last_contact",
        "_matched_end",
        "_reported_end",
        "_round",
        "deadline",
        "leader",
    )

    def __init__(self, core: Core, now: float, leader: ReplicaKey | None) -> None:
        self.leader = leader
        self._election_timeout_s = core.election_delay_s()
        self._last_contact = now if leader else float("-inf")
        self._matched_end = 0  # proven equal to the leader's log below this
        self._reported_end = 0  # the durable end that the leader was told of
        self._round = 0
        self.deadline = now + self._election_timeout_s

    def protects_leader(self, core: Core, now: float) -> bool:
        """Tells whether a leader was heard within the minimum election timeout (rule 4)."""
        return self.leader is not None and now < self._last_contact + core.config.election_timeout_min_ms / 1000

    def forsake_leader(self, core: Core, now: float) -> None:
        """The leader's process is proven gone: protect it no longer, and stand soon (rule 18 of replication.md)."""
        assert self.leader is not None, "nobody to forsake"
        successors = core.voters.others(self.leader)
        self.leader = None
        self._last_contact = float("-inf")
        if core.may_stand:
            turn_ms = successors.index(core.key) * core.config.leader_gone_turn_ms
            self.deadline = now + (turn_ms + core.random.uniform(0, core.config.leader_gone_delay_max_ms)) / 1000

    def append(self, core: Core, now: float, request: AppendRequest) -> None:
        """Takes a request of the leader of this term."""
        assert request.term == core.term, (request.term, core.term)
        assert request.source == self.leader, (request.source, self.leader)
        core.heard_leader()
        self._last_contact = now
        self.deadline = now + self._election_timeout_s  # on every contact, rejected appends too (rule 4)
        if core.damaged:
            return  # a damaged log takes nothing and vouches for nothing (rule 9)
        self._round = max(self._round, request.round)
        log = core.log
        if request.prev_offset >= log.start_offset and not log.has(request.prev_offset, request.prev_term):
            self._reject(core, request)
            return
        if not self._take_batches(core, request):
            return
        proven_end = request.spans[-1].end_offset if request.spans else request.prev_offset
        proven_end = max(proven_end, log.start_offset)  # what lies below is committed: every later leader has it
        self._matched_end = max(self._matched_end, proven_end)
        core.commit(min(request.commit_offset, proven_end))
        if not request.spans or self._matched_end <= log.durable_end_offset:
            self._accept(core)

    def offered(self, core: Core, now: float, offer: SnapshotOffer) -> None:
        """Takes an offer of the leader of this term: what comes next in its log lies behind its log's start."""
        assert (offer.term, offer.source) == (core.term, self.leader), (offer, core.term, self.leader)
        core.heard_leader()
        self._last_contact = now
        self.deadline = now + self._election_timeout_s
        if core.damaged:
            return
        self._round = max(self._round, offer.round)
        end_offset = offer.snapshot.end_offset
        if end_offset <= core.commit_offset or core.log.has(*offer.snapshot):
            self._matched_end = max(self._matched_end, end_offset)
            core.commit(end_offset)
        else:
            core.effects.append(FetchSnapshot(offer.source, offer.snapshot))
        self._accept(core)

    def installed(self, core: Core) -> None:
        """The log is the snapshot's from now on; told to the leader once it is durable."""
        self._matched_end = max(self._matched_end, core.snapshot.end_offset)

    def durable(self, core: Core) -> None:
        """The log's durable end has moved: answers for the batches that waited for it."""
        if min(self._matched_end, core.log.durable_end_offset) > self._reported_end:
            self._accept(core)

    def _take_batches(self, core: Core, request: AppendRequest) -> bool:
        """Appends what the log lacks, after cutting what contradicts it; tells whether that was possible."""
        log = core.log
        skipped, skipped_bytes = 0, 0
        for span in request.spans:
            if span.end_offset > log.start_offset and not log.has(span.end_offset, span.term):
                break
            skipped += 1
            skipped_bytes += span.size_in_bytes
        new = request.spans[skipped:]
        if not new:
            return True
        if new[0].base_offset < log.log_end_offset:
            if new[0].base_offset < core.commit_offset:
                reason = (
                    f"leader {request.source} of term {request.term} contradicts what is committed here below offset "
                    f"{core.commit_offset}: its batch at offset {new[0].base_offset} has term {new[0].term}. A voter "
                    f"has lost data that it had fsynced"
                )
                core.effects.append(Fatal(reason))
                return False
            log.truncate(new[0].base_offset)
            core.configurations.truncate(new[0].base_offset)
            core.effects.append(Truncate(new[0].base_offset, log.generation))
        for span in new:
            log.append(span.base_offset, span.end_offset, span.term)
            if span.voters is not None:
                core.configurations.append(span.end_offset, span.voters)
        core.effects.append(Append(new, request.batches[skipped_bytes:]))
        return True

    def _accept(self, core: Core) -> None:
        assert self.leader is not None
        self._reported_end = min(self._matched_end, core.log.durable_end_offset)
        core.send_after_vote(
            AppendAccepted(core.key, self.leader, core.term, self._round, self._matched_end, self._reported_end)
        )

    def _reject(self, core: Core, request: AppendRequest) -> None:
        conflict_term, conflict_end = core.log.end_of_term(request.prev_term)
        conflict_end = min(conflict_end, request.prev_offset)
        core.send_after_vote(
            AppendRejected(
                core.key,
                request.source,
                core.term,
                self._round,
                request.prev_offset,
                conflict_term,
                conflict_end,
            )
        )
