"""A Raft node: takes inputs, moves between roles, and answers with effects.

::

    from         to            when
    ───────────  ────────────  ──────────────────────────────────────────────────────────────────────────────
    (start)      Follower      always
    Follower     Prospective   silence for an election timeout; or the leader's process is gone, after a moment
    Prospective  Prospective   no majority within an election timeout: asks again
    Prospective  Candidate     a majority would vote for it: the term rises, its own vote goes to the disk
    Candidate    Prospective   no majority within an election timeout
    Follower     Candidate     its leader hands the office over to it (TimeoutNow)
    Candidate    Leader        a majority voted for it, itself included
    Leader       Follower      no contact to a majority for 1.5 election timeouts (CheckQuorum); or its removal
                               is committed
    any          Follower      a higher term, in any message but a PreVote request, and but a vote request that
                               comes while a leader is protected, unless the leader itself asked for it
    Prospective  Follower      an append of the leader of its term
    Candidate    Follower      an append of the leader of its term
    ───────────  ────────────  ──────────────────────────────────────────────────────────────────────────────

Keeps: the term never falls; one vote a term; a node votes under its node id *and* its directory id alone, and stands
only if that is a voter by its own log (rule 5); one whose log is damaged does neither (rule 9). Leaves out what is in a
snapshot, but for the voters, and all I/O.
"""

from __future__ import annotations

from collections.abc import Sequence

from dohle.model.ids import NO_SNAPSHOT, NodeId, SnapshotId
from dohle.raft.candidate import Candidate, Prospective
from dohle.raft.config import RaftConfig
from dohle.raft.configurations import Configuration, Configurations
from dohle.raft.core import ELECTION_ATTEMPTS, Core, Uniform
from dohle.raft.effects import BecameFollower, Effect, Fatal, ReadRefused, TransferFailed
from dohle.raft.follower import Follower
from dohle.raft.leader import Leader
from dohle.raft.log_view import LogView
from dohle.raft.messages import (
    AppendAccepted,
    AppendRejected,
    AppendRequest,
    BatchSpan,
    Message,
    SnapshotOffer,
    TimeoutNow,
    VoteRequest,
    VoteResponse,
)
from dohle.raft.quorum import ReplicaKey, VoterSet
from dohle.raft.view import RaftView


class RaftNode(RaftView):
    """The state machine. `now` is in seconds of one monotonic clock; effects are to be carried out in order."""

    __slots__ = ("_shown",)

    def __init__(
        self,
        key: ReplicaKey,
        voters: VoterSet,
        log: LogView,
        term: int,
        voted_for: ReplicaKey | None,
        random: Uniform,
        config: RaftConfig,
        *,
        changes: Sequence[Configuration] = (),
        damaged: bool = False,
        snapshot: SnapshotId = NO_SNAPSHOT,
    ) -> None:
        """`snapshot` is the newest on disk; `log` begins at its end or before, so all in it is applied or can be.

        `voters` are those in the snapshot (without one: at the log's start), `changes` what the log says of them after
        that. `term` and `voted_for` come from the vote file (0 and None without one); `log` is the node's from now on.
        """
        assert log.start_offset <= snapshot.end_offset <= log.log_end_offset, (log.start_offset, snapshot)
        configurations = Configurations(voters, changes)
        self._core = Core(key, configurations, log, term, voted_for, random, config, damaged, snapshot)
        self._role = Follower(self._core, 0.0, None)
        self._shown: tuple[int, ReplicaKey | None] = (term, None)

    def start(self, now: float) -> list[Effect]:
        """The first input."""
        core = self._core
        # A crash may have come between the fsync of the first batch of a term and that of the vote file.
        self._follow(now, max(core.term, core.log.last_term), None)
        if core.may_stand and len(core.voters.voters) == 1:
            self._prospect(now)  # nobody else could lead
        return core.take_effects()

    def tick(self, now: float) -> list[Effect]:
        """Time has passed; before `deadline` nothing happens."""
        core, role = self._core, self._role
        if isinstance(role, Leader):
            if not role.tick(core, now):
                self._follow(now, core.term, None)
        elif core.may_stand and now >= role.deadline:
            if not isinstance(role, Follower):
                core.failed_attempts += 1
            self._prospect(now)
        return core.take_effects()

    def receive(self, now: float, message: Message) -> list[Effect]:
        """A message has come in."""
        core = self._core
        if message.target != core.key:
            return []  # meant for another disk of this node (rule 5)
        match message:
            case AppendRequest() | SnapshotOffer():
                self._append(now, message)
            case VoteRequest():
                self._vote(now, message)
            case _ if message.term > core.term:
                self._follow(now, message.term, None)
            case TimeoutNow():
                self._take_over(now, message)
            case VoteResponse():
                self._vote_answered(now, message)
            case AppendAccepted() | AppendRejected() if message.term == core.term and isinstance(self._role, Leader):
                if isinstance(message, AppendAccepted):
                    self._role.accepted(core, now, message)
                    self._leave_if_removed(now)
                else:
                    self._role.rejected(core, now, message)
        return core.take_effects()

    def appended(self, now: float, base_offset: int, end_offset: int, voters: VoterSet | None = None) -> list[Effect]:
        """As the leader, the driver has appended a batch [base_offset, end_offset) of the present term.

        `voters`, if that is what it changes: those before plus one or less one, and `may_change_voters` allowed it.

        Or will, whatever happens, before it does anything else to the log: the view moves now.
        """
        assert isinstance(self._role, Leader), "only the leader appends of its own accord"
        self._role.appended(self._core, now, base_offset, end_offset, voters)
        return self._core.take_effects()

    def entries_read(
        self, now: float, target: ReplicaKey, term: int, from_offset: int, spans: Sequence[BatchSpan], batches: bytes
    ) -> list[Effect]:
        """Answers a ReadEntries, late ones included."""
        if isinstance(self._role, Leader) and term == self._core.term:
            self._role.entries_read(self._core, now, target, from_offset, spans, batches)
        return self._core.take_effects()

    def durable(self, now: float, end_offset: int, generation: int) -> list[Effect]:
        """An fsync has finished: the log, as it was in `generation`, is on disk below `end_offset`.

        Both as they were when the fsync began, of the log itself: its end, and the generation of the last Truncate that
        was carried out on it (0 without one).
        """
        core = self._core
        if core.log.durable(end_offset, generation):
            match self._role:
                case Leader() as leader:
                    leader.durable(core, now)
                    self._leave_if_removed(now)
                case Follower(leader=ReplicaKey()) as follower:
                    follower.durable(core)
                case _:
                    pass
        return core.take_effects()

    def snapshot_made(self, snapshot: SnapshotId) -> None:
        """This node has written a snapshot of its own: all in it is committed."""
        self._core.snapshot = max(self._core.snapshot, snapshot)

    def log_cut(self, start_offset: int) -> None:
        """The driver cuts the log below `start_offset`, where or above which there is a snapshot (rule 8)."""
        assert start_offset <= self._core.snapshot.end_offset, (start_offset, self._core.snapshot)
        self._core.log.cut_below(start_offset)
        self._core.configurations.cut_below(start_offset)

    def snapshot_fetched(self, snapshot: SnapshotId, voters: VoterSet) -> list[Effect]:
        """A snapshot of a peer is on disk, and names `voters`; without InstallSnapshot it is not needed (any more)."""
        core = self._core
        if snapshot.end_offset > core.commit_offset and not core.log.has(*snapshot):
            assert not isinstance(self._role, Leader), "a leader has all that is committed"
            core.install(snapshot, voters)
            if isinstance(self._role, Follower):
                self._role.installed(core)
        return core.take_effects()

    def vote_persisted(self, now: float, term: int, voted_for: ReplicaKey | None) -> list[Effect]:
        """A PersistVote is on disk."""
        core = self._core
        if not core.vote_persisted(term, voted_for):
            return []
        if isinstance(self._role, Candidate) and self._role.vote_persisted(core):
            self._lead(now)
        return core.take_effects()

    def leader_gone(self, now: float, leader: NodeId, term: int) -> list[Effect]:
        """The process that led `term` on `leader` is proven gone: refused, or replaced by another incarnation.

        Silence is no proof. News of another leader or term is ignored.
        """
        core, role = self._core, self._role
        if term == core.term and isinstance(role, Follower) and role.leader and role.leader.node_id == leader:
            core.leaderless = True
            role.forsake_leader(core, now)
            self._show(None)
        return core.take_effects()

    def read(self, now: float, context: int) -> list[Effect]:
        """A linearizable read: ReadReady or ReadRefused will come with `context`, now or later."""
        if isinstance(self._role, Leader):
            self._role.read(self._core, now, context)
        else:
            self._core.effects.append(ReadRefused(context))
        return self._core.take_effects()

    def add_learner(self, now: float, key: ReplicaKey) -> list[Effect]:
        """A node that is no voter is there: it gets the log too, while this node leads."""
        if isinstance(self._role, Leader):
            self._role.add_learner(self._core, now, key)
        return self._core.take_effects()

    def forget_learner(self, key: ReplicaKey) -> None:
        """It is there no longer; a voter is never forgotten."""
        if isinstance(self._role, Leader):
            self._role.forget_learner(self._core, key)

    def transfer(self, now: float, successor: ReplicaKey | None) -> list[Effect]:
        """Hands the office to `successor`, or to the furthest voter: BecameFollower or TransferFailed will come."""
        if isinstance(self._role, Leader):
            self._role.transfer(self._core, now, successor)
        else:
            self._core.effects.append(TransferFailed())
        return self._core.take_effects()

    def _append(self, now: float, request: AppendRequest | SnapshotOffer) -> None:
        core = self._core
        if request.term < core.term:
            # Not merely ignored: who is stuck in a higher term gets back in only if the leader learns of it (rule 4).
            at = request.prev_offset if isinstance(request, AppendRequest) else request.snapshot.end_offset
            rejected = AppendRejected(core.key, request.source, core.term, request.round, at, 0, 0)
            core.send_after_vote(rejected)
            return
        if request.term == core.term and isinstance(self._role, Leader):
            core.effects.append(
                Fatal(f"{request.source} leads term {core.term} as this node does: a vote was forgotten")
            )
            return
        if request.term > core.term or not isinstance(self._role, Follower) or self._role.leader != request.source:
            core.heard_leader()
            self._follow(now, request.term, request.source)
        assert isinstance(self._role, Follower)
        if isinstance(request, AppendRequest):
            self._role.append(core, now, request)
        else:
            self._role.offered(core, now, request)

    def _vote(self, now: float, request: VoteRequest) -> None:
        core = self._core
        protects_leader = self._protects_leader(now) and not request.transfer
        is_eligible = (
            not core.damaged
            and not protects_leader
            and core.log_is_behind_or_equal(request.last_term, request.log_end_offset)
        )
        if request.pre_vote:
            granted = is_eligible and request.term > core.term
        else:
            if request.term > core.term and not protects_leader:
                self._follow(now, request.term, None, voted_for=request.source if is_eligible else None)
            elif request.term == core.term and core.voted_for is None and is_eligible and self.leader is None:
                self._follow(now, request.term, None, voted_for=request.source)
            granted = request.term == core.term and core.voted_for == request.source
        core.send_after_vote(VoteResponse(core.key, request.source, core.term, request.term, request.pre_vote, granted))

    def _vote_answered(self, now: float, response: VoteResponse) -> None:
        match self._role:
            case Prospective() as prospective if prospective.answered(self._core, response):
                self._stand(now)
            case Candidate() as candidate if candidate.answered(self._core, response):
                self._lead(now)
            case _:
                pass

    def _take_over(self, now: float, message: TimeoutNow) -> None:
        core = self._core
        is_its_follower = isinstance(self._role, Follower) and self._role.leader == message.source
        if message.term == core.term and is_its_follower and core.may_stand:
            self._stand(now, transfer=True)

    def _leave_if_removed(self, now: float) -> None:
        core, role = self._core, self._role
        if isinstance(role, Leader) and role.is_removed(core):
            role.name_successor(core)
            self._follow(now, core.term, None)

    def _protects_leader(self, now: float) -> bool:
        match self._role:
            case Follower() as follower:
                return follower.protects_leader(self._core, now)
            case Leader() as leader:
                return leader.is_supported(self._core, now)
            case _:
                return False

    def _follow(self, now: float, term: int, leader: ReplicaKey | None, *, voted_for: ReplicaKey | None = None) -> None:
        core = self._core
        if isinstance(self._role, Leader):
            self._role.leave_office(core)
        if term > core.term or voted_for:
            core.set_vote(term, voted_for)
        if voted_for:
            core.failed_attempts = max(core.failed_attempts, ELECTION_ATTEMPTS)  # leave it time to be elected
        self._role = Follower(core, now, leader)
        self._show(leader)

    def _prospect(self, now: float) -> None:
        self._role = prospective = Prospective(self._core, now)
        self._show(None)
        if prospective.ask(self._core):
            self._stand(now)

    def _stand(self, now: float, *, transfer: bool = False) -> None:
        core = self._core
        core.set_vote(core.term + 1, core.key)
        self._role = Candidate(core, now, transfer=transfer)
        self._show(None)

    def _lead(self, now: float) -> None:
        core = self._core
        core.heard_leader()
        self._role = leader = Leader(core, now)
        self._shown = (core.term, core.key)
        leader.take_office(core, now)

    def _show(self, leader: ReplicaKey | None) -> None:
        """Tells the driver what is known of the leader, where that has changed."""
        if (self._core.term, leader) != self._shown:
            self._shown = (self._core.term, leader)
            self._core.effects.append(BecameFollower(self._core.term, leader))
