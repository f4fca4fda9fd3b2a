"""The leader: replicates its log, counts durable ends, commits, and makes sure that it still leads.

Keeps: it commits by counting only batches of its own term, a no-op first (rule 3); it counts itself only at its own
durable end (rule 1); without contact to a majority it steps down (rule 4); one voter changes at a time, and a new set
counts once appended (rule 5); a successor is told to stand only with the whole log (rule 6); a read waits for a round
of heartbeats begun after it (rule 7); whoever lacks what the log no longer holds, learners too, is offered a snapshot
(rule 8). Leaves out the batches: the driver reads them when asked to, and `entries_read`
makes the request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dohle.raft.core import Core
from dohle.raft.effects import (
    AppendNoOp,
    BecameLeader,
    LeaderReady,
    ReadEntries,
    ReadReady,
    ReadRefused,
    Send,
    TransferFailed,
)
from dohle.raft.messages import AppendAccepted, AppendRejected, AppendRequest, BatchSpan, SnapshotOffer, TimeoutNow
from dohle.raft.progress import Progress
from dohle.raft.quorum import ReplicaKey, VoterSet


class WaitingRead(NamedTuple):
    """A read that may be answered once a majority has confirmed `round`."""

    round: int
    context: int
    commit_offset: int


class Transfer(NamedTuple):
    """The office is being handed to `successor`, until `deadline`."""

    successor: ReplicaKey
    deadline: float


class Leader:
    """One term in office."""

    __slots__ = ("_no_op_end", "_progress", "_reads", "_round", "_transfer", "is_ready")

    def __init__(self, core: Core, now: float) -> None:
        end_offset = core.log.log_end_offset
        self._progress = {voter: Progress(end_offset, now) for voter in core.voters.others(core.key)}
        self._no_op_end: int | None = None
        self._round = 0
        self._reads: deque[WaitingRead] = deque()
        self._transfer: Transfer | None = None
        self.is_ready = False

    def take_office(self, core: Core, now: float) -> None:
        """Tells everybody at once, and asks for the no-op (rule 3)."""
        core.effects.append(BecameLeader(core.term))
        core.effects.append(AppendNoOp(core.term, core.log.log_end_offset))
        self._heartbeat_all(core, now)

    def leave_office(self, core: Core) -> None:
        """Refuses what waits."""
        core.effects.extend(ReadRefused(read.context) for read in self._reads)
        self._reads.clear()

    def deadline(self, core: Core) -> float:
        """Returns when the next heartbeat is due, or this node has to step down."""
        heartbeat_s = core.config.heartbeat_interval_ms / 1000
        heartbeat = min((progress.last_sent for progress in self._progress.values()), default=float("inf"))
        transfer_end = self._transfer.deadline if self._transfer else float("inf")
        contact_end = self._quorum_contact(core) + core.config.check_quorum_timeout_ms / 1000
        return min(heartbeat + heartbeat_s, contact_end, transfer_end)

    def tick(self, core: Core, now: float) -> bool:
        """Sends the heartbeats that are due; tells whether the majority is still in touch (CheckQuorum, rule 4)."""
        if not self._has_contact(core, now, core.config.check_quorum_timeout_ms):
            return False
        if self._transfer and now >= self._transfer.deadline:
            self._transfer = None
            core.effects.append(TransferFailed())
        heartbeat_s = core.config.heartbeat_interval_ms / 1000
        for voter, progress in self._progress.items():
            if progress.last_sent + heartbeat_s <= now:
                self._heartbeat(core, now, voter, progress)
        return True

    def is_supported(self, core: Core, now: float) -> bool:
        """Tells whether a majority answered within the minimum election timeout."""
        return self._has_contact(core, now, core.config.election_timeout_min_ms)

    @property
    def is_transferring(self) -> bool:
        """Whether the office is being handed over: no proposals meanwhile, or the successor would never have all."""
        return self._transfer is not None

    def transfer(self, core: Core, now: float, successor: ReplicaKey | None) -> None:
        """Begins to hand the office over (dissertation, 3.10); without a name to who is furthest and in touch."""
        assert self._transfer is None, "one transfer at a time"
        timeout_s = core.config.election_timeout_min_ms / 1000
        in_touch = [voter for voter in core.voters.others(core.key) if self._is_in_touch(voter, now - timeout_s)]
        if not self.is_ready or (successor not in in_touch if successor else not in_touch):
            core.effects.append(TransferFailed())
            return
        furthest = successor or max(in_touch, key=lambda voter: self._progress[voter].match_offset)
        self._transfer = Transfer(furthest, now + timeout_s)
        self._hand_over(core)

    def appended(self, core: Core, now: float, base_offset: int, end_offset: int, voters: VoterSet | None) -> None:
        """The driver has appended a batch of this term, which names `voters` if they change with it."""
        assert self._transfer is None, "no proposals while the office is being handed over"
        if voters is not None:
            assert self.may_change_voters(core), "one change at a time, only after a commit in this term (rule 5)"
            assert voters.differs_by_one_from(core.voters), f"more than one voter changes: {core.voters} to {voters}"
            core.configurations.append(end_offset, voters)
            for voter in voters.others(core.key):
                self._progress.setdefault(voter, Progress(base_offset, now))
        core.log.append(base_offset, end_offset, core.term)
        if self._no_op_end is None:
            self._no_op_end = end_offset
        for voter, progress in self._progress.items():
            self._replicate(core, now, voter, progress)

    def entries_read(
        self, core: Core, now: float, voter: ReplicaKey, from_offset: int, spans: Sequence[BatchSpan], batches: bytes
    ) -> None:
        """The driver has read what a ReadEntries asked for: sends it, unless the voter is elsewhere by now."""
        progress = self._progress.get(voter)
        if progress is None or progress.reading_from != from_offset:
            return  # it is gone, or was meanwhile: what is read for it now is another's answer
        progress.reading_from = None
        is_there = bool(spans) and from_offset >= core.log.start_offset  # the log may have been cut meanwhile
        if is_there and not progress.is_probing and progress.next_offset == from_offset:
            self._send(core, now, voter, progress, tuple(spans), batches)
            progress.next_offset = spans[-1].end_offset
            progress.in_flight.append(progress.next_offset)
        self._replicate(core, now, voter, progress)

    def durable(self, core: Core, now: float) -> None:
        """This node's own log is durable a bit further."""
        self._commit(core, now)

    def accepted(self, core: Core, now: float, response: AppendAccepted) -> None:
        """A voter has the leader's batches."""
        assert response.durable_end_offset <= response.matched_end_offset <= core.log.log_end_offset, response
        progress = self._progress.get(response.source)
        if progress is None:
            return
        progress.contacted(now, response.round)
        progress.accepted(response)
        self._commit(core, now)
        self._answer_reads(core, now)
        self._replicate(core, now, response.source, progress)
        self._hand_over(core)

    def rejected(self, core: Core, now: float, response: AppendRejected) -> None:
        """A voter lacks what comes before an append, or has something else there."""
        progress = self._progress.get(response.source)
        if progress is None:
            return
        progress.contacted(now, response.round)
        self._answer_reads(core, now)
        if not progress.rejected(response, core.log):
            return
        if progress.is_probing:
            self._heartbeat(core, now, response.source, progress)
        else:
            self._replicate(core, now, response.source, progress)

    def read(self, core: Core, now: float, context: int) -> None:
        """Takes a linearizable read (dissertation, 6.4): one round for all that gathers while another is on its way."""
        if not self.is_ready or len(self._reads) >= core.config.max_waiting_reads:
            core.effects.append(ReadRefused(context))
            return
        self._reads.append(WaitingRead(self._round + 1, context, core.commit_offset))
        self._answer_reads(core, now)

    def may_change_voters(self, core: Core) -> bool:
        """Whether something of this term is committed, and no change of the voters is in flight (rule 5)."""
        return self.is_ready and core.configurations.changed_at <= core.commit_offset

    def is_removed(self, core: Core) -> bool:
        """Whether the voters have committed that this node is none of them."""
        return core.key not in core.voters and core.configurations.changed_at <= core.commit_offset

    def name_successor(self, core: Core) -> None:
        """Before it leaves office: the voter that is furthest need not wait for an election timeout."""
        furthest = max(core.voters.others(core.key), key=lambda voter: self._progress[voter].match_offset)
        core.effects.append(Send(TimeoutNow(core.key, furthest, core.term)))

    def add_learner(self, core: Core, now: float, key: ReplicaKey) -> None:
        """From now on `key` is sent the log too; only voters are counted."""
        if key not in self._progress and key != core.key:
            self._progress[key] = progress = Progress(core.log.log_end_offset, now)
            self._heartbeat(core, now, key, progress)

    def forget_learner(self, core: Core, key: ReplicaKey) -> None:
        """It is gone, or out of reach."""
        if key not in core.voters:
            self._progress.pop(key, None)

    def progress(self) -> Mapping[ReplicaKey, Progress]:
        """Every other voter, and the learners."""
        return self._progress

    def _is_in_touch(self, voter: ReplicaKey, since: float) -> bool:
        return self._progress[voter].last_contact > since

    def _hand_over(self, core: Core) -> None:
        """Tells the successor to stand once it has everything; again with each answer, since messages get lost."""
        if self._transfer and self._progress[self._transfer.successor].match_offset == core.log.log_end_offset:
            core.effects.append(Send(TimeoutNow(core.key, self._transfer.successor, core.term)))

    def _quorum_contact(self, core: Core) -> float:
        contacts = {voter: progress.last_contact for voter, progress in self._progress.items()}
        return core.voters.reached_by_majority(contacts | {core.key: float("inf")})

    def _has_contact(self, core: Core, now: float, within_ms: float) -> bool:
        return now < self._quorum_contact(core) + within_ms / 1000

    def _commit(self, core: Core, now: float) -> None:
        ends = {voter: progress.match_offset for voter, progress in self._progress.items()}
        ends[core.key] = core.log.durable_end_offset
        offset = int(core.voters.reached_by_majority(ends))
        if offset <= core.commit_offset or core.log.term_at(offset) != core.term:
            return
        core.commit(offset)
        if not self.is_ready and self._no_op_end is not None and offset >= self._no_op_end:
            self.is_ready = True
            core.effects.append(LeaderReady(core.term))
        for voter, progress in self._progress.items():
            self._replicate(core, now, voter, progress)

    def _answer_reads(self, core: Core, now: float) -> None:
        if not self._reads:
            return
        confirmed = self._confirmed_round(core)
        if confirmed == self._round and self._reads[-1].round > confirmed:
            self._round += 1
            self._heartbeat_all(core, now)
            confirmed = self._confirmed_round(core)
        while self._reads and self._reads[0].round <= confirmed:
            read = self._reads.popleft()
            core.effects.append(ReadReady(read.context, read.commit_offset))

    def _confirmed_round(self, core: Core) -> int:
        rounds = {voter: progress.confirmed_round for voter, progress in self._progress.items()}
        return int(core.voters.reached_by_majority(rounds | {core.key: self._round}))

    def _replicate(self, core: Core, now: float, voter: ReplicaKey, progress: Progress) -> None:
        """Has the next batches read, if there are any and the window has room; else passes on a moved commit index."""
        if progress.next_offset < core.log.start_offset:
            if progress.offered != core.snapshot:
                self._heartbeat(core, now, voter, progress)
            return
        if progress.is_probing or progress.reading_from is not None:
            return
        if progress.next_offset < core.log.log_end_offset:
            if len(progress.in_flight) < core.config.max_in_flight_appends:
                progress.reading_from = progress.next_offset
                max_bytes = core.config.max_append_bytes
                core.effects.append(ReadEntries(voter, core.term, progress.next_offset, max_bytes))
        elif not progress.in_flight and progress.sent_commit_offset < core.commit_offset:
            self._heartbeat(core, now, voter, progress)

    def _heartbeat_all(self, core: Core, now: float) -> None:
        for voter, progress in self._progress.items():
            self._heartbeat(core, now, voter, progress)

    def _heartbeat(self, core: Core, now: float, voter: ReplicaKey, progress: Progress) -> None:
        if progress.next_offset >= core.log.start_offset:
            self._send(core, now, voter, progress, (), b"")
            return
        core.effects.append(Send(SnapshotOffer(core.key, voter, core.term, core.snapshot, self._round)))
        progress.last_sent = now
        progress.offered = core.snapshot

    def _send(
        self,
        core: Core,
        now: float,
        voter: ReplicaKey,
        progress: Progress,
        spans: tuple[BatchSpan, ...],
        batches: bytes,
    ) -> None:
        """Sends an append from where the voter stands, or its batch begins; it waits for no fsync (rule 1)."""
        prev_offset = spans[0].base_offset if spans else progress.next_offset
        assert prev_offset <= progress.next_offset, (prev_offset, progress.next_offset)
        prev_term = core.log.term_at(prev_offset)
        request = AppendRequest(
            core.key, voter, core.term, prev_offset, prev_term, spans, batches, core.commit_offset, self._round
        )
        core.effects.append(Send(request))
        progress.last_sent = now
        progress.sent_commit_offset = core.commit_offset
