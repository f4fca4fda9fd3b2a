"""Quorum watch: the controllers' invariants (the last section of Raft's rules), looked at with the eyes of all voters.

Majorities are of the voters by the log of whoever takes office or commits, as they are at that moment. Terms and commit
indexes never fall; a vote that was given is never forgotten; one leader a term, elected by votes that are on a
majority's disks; logs agree up to what they have in common; what is committed is on a majority of the voters' disks and
never changed; a leader commits up to entries of its own term, and its log holds all that was committed in earlier
terms; a log that does not begin at 0 has a whole snapshot at its start or past it; with nothing in flight, a controller
counts by the voters that its image names. Disks are looked at, not beliefs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from dohle.controller.quorum import Quorum, metadata_folder
from dohle.controller.vote_file import VOTE_FILE, Vote, _encode, _parse_key
from dohle.model.image import ClusterImage
from dohle.raft.leader import Leader
from dohle.raft.log_view import LogView
from dohle.raft.node import RaftNode
from dohle.raft.quorum import ReplicaKey
from dohle.raft.view import Role
from dohle.testing.invariants.ledger import Ledger
from dohle.testing.invariants.sure_log import SureLog, durable_content
from dohle.testing.invariants.sure_snapshots import SureSnapshots
from dohle.testing.world.process import NodeProcess
from dohle.testing.world.world import Machine, World


class RaftState(NamedTuple):
    """What of a voter is compared with its last look."""

    term: int
    voted_for: ReplicaKey | None
    vote_is_durable: bool
    role: Role
    commit_offset: int
    generation: int
    durable_end: int


def raft_state(node: RaftNode) -> tuple[int, ReplicaKey | None, bool, Role, int, int, int]:
    """Returns the fields of a RaftState; it is asked for after every turn."""
    core = node._core
    log = core.log
    return (
        core.term,
        core.voted_for,
        core._vote_is_durable,
        node._role,
        core.commit_offset,
        log.generation,
        log.durable_end_offset,
    )


class QuorumWatch:
    """All voters of a world. `violated` is told what fell."""

    def __init__(self, world: World, violated: Callable[[str], None]) -> None:
        self.ledger = Ledger()
        self._world = world
        self._violated = violated
        self._machines: dict[int, Machine] = {
            number: machine for number, machine in world.machines.items() if machine.config.is_controller
        }
        self._logs = {
            number: SureLog(machine, metadata_folder(machine.config.data_dir))
            for number, machine in self._machines.items()
        }
        self._snapshots = {
            number: SureSnapshots(machine, metadata_folder(machine.config.data_dir))
            for number, machine in self._machines.items()
        }
        self._leaders: dict[int, str] = {}  # by term
        self._votes: dict[tuple[int, int], ReplicaKey] = {}  # by node and term: those that were on its disk
        self._voters: tuple[int, ...] = ()  # by whom the last commit was made
        self._told: dict[int, tuple[int, int]] = {}  # by node: the term and the log's end that it has vouched for

    def moved(self, process: NodeProcess, quorum: Quorum, before: RaftState | None, now: RaftState) -> None:
        """A voter is not what it was at its last look, or is new."""
        node_id, log = quorum.identity.node_id, quorum._node.log
        if before is None:
            self._returned(process, quorum, now)
        else:
            self._went_on(process, before, now)
        term_before, end_before = self._told.get(node_id, (0, 0))
        shorter = before is not None and before.generation != now.generation
        self._told[node_id] = (
            now.term if now.vote_is_durable else term_before,
            now.durable_end if shorter else max(now.durable_end, end_before),
        )
        if before is None or before[:3] != now[:3]:
            self._voted(process, node_id, now)
        if before is None or before[5:] != now[5:]:
            self._log_moved(process, node_id, now, log)
        if isinstance(now.role, Leader) and (before is None or before.role is not now.role):
            self._elected(process, quorum, now)
        if now.commit_offset > (0 if before is None else before.commit_offset):
            self._committed(process, now, log.term_at(now.commit_offset), voters_of(quorum))
            if isinstance(now.role, Leader) and before is not None and before.role is now.role:
                self._committed_by_leader(process, now, log.term_at(now.commit_offset))

    def applied(self, process: NodeProcess, quorum: Quorum, image: ClusterImage) -> None:
        """A controller has applied all up to `image`: with nothing in flight above it, Raft counts by its voters."""
        if image.next_offset == quorum._node.log.log_end_offset:
            voters, counted = tuple(voter.node_id for voter in image.voters), voters_of(quorum)
            if counted != voters:
                self._violated(
                    f"{process.name} counts by the voters {counted}, and what is committed below {image.next_offset}"
                    f" names {voters}"
                )

    def _returned(self, process: NodeProcess, quorum: Quorum, now: RaftState) -> None:
        """A voter's process has begun, and has read what the one before has left."""
        node_id, end = quorum.identity.node_id, quorum._node.log.log_end_offset
        term_before, end_before = self._told.get(node_id, (0, 0))
        if (now.term < term_before or end < end_before) and not self._machines[node_id].has_forgotten:
            self._violated(
                f"{process.name} begins in term {now.term} with its log's end at {end}; the process before it had"
                f" term {term_before} on its disk, and everything below {end_before}"
            )

    def _went_on(self, process: NodeProcess, before: RaftState, now: RaftState) -> None:
        if now.term < before.term:
            self._violated(f"the term of {process.name} fell from {before.term} to {now.term}")
        if now.term == before.term and before.voted_for not in (None, now.voted_for):
            self._violated(f"{process.name} voted for {before.voted_for} and for {now.voted_for} in term {now.term}")
        if now.commit_offset < before.commit_offset:
            self._violated(
                f"the commit index of {process.name} fell from {before.commit_offset} to {now.commit_offset}"
            )

    def _voted(self, process: NodeProcess, node_id: int, now: RaftState) -> None:
        if not now.vote_is_durable:
            return
        vote = Vote(now.term, now.voted_for)
        if self._vote_on_disk(node_id) != _encode(vote).encode() and not self._machines[node_id].has_forgotten:
            self._violated(f"{process.name} counts on its {vote}, which is not on its disk")
        if vote.voted_for is not None:
            first = self._votes.setdefault((node_id, vote.term), vote.voted_for)
            if first != vote.voted_for:
                self._violated(f"{process.name} voted for {first} and for {vote.voted_for} in term {vote.term}")

    def _vote_on_disk(self, node_id: int) -> bytes:
        machine = self._machines[node_id]
        return durable_content(machine, f"{metadata_folder(machine.config.data_dir)}/{VOTE_FILE}")

    def _log_moved(self, process: NodeProcess, node_id: int, now: RaftState, view: LogView) -> None:
        log = self._look(node_id)
        if self._machines[node_id].has_forgotten:
            return
        if log.end < now.durable_end:
            self._violated(
                f"{process.name} counts its metadata log below {now.durable_end} as durable, and its disk has {log.end}"
            )
            return
        if now.durable_end <= view.start_offset:
            return  # what lies below is in a snapshot, or in one that is being installed
        term, last = view.term_at(now.durable_end), log.ending_at(now.durable_end)
        if last is None or last.partition_leader_epoch != term:
            self._violated(
                f"{process.name} counts what term {term} wrote below {now.durable_end} as durable, and its disk has"
                f" {last} there"
            )

    def _elected(self, process: NodeProcess, quorum: Quorum, now: RaftState) -> None:
        if now.term not in self._leaders:
            self._world.remark(f"{process.name} leads term {now.term}")
        leader = self._leaders.setdefault(now.term, process.name)
        if leader != process.name:
            self._violated(f"term {now.term} has two leaders: {leader} and {process.name}")
        self._check_votes(process, quorum, now.term)
        ledger, log = self.ledger, quorum._node.log
        if ledger.committed_by >= now.term:
            return  # elected late: it leads nobody any more
        last = ledger.ending_at(ledger.end)
        if last is not None and (
            log.log_end_offset < ledger.end or log.term_at(ledger.end) != last.partition_leader_epoch
        ):
            self._violated(
                f"{process.name} leads term {now.term} without what is committed below {ledger.end}: its log ends at"
                f" {log.log_end_offset}"
            )

    def _check_votes(self, process: NodeProcess, quorum: Quorum, term: int) -> None:
        """A majority's votes for it are on disks, or have been followed there by later terms."""
        own = Vote(term, quorum.key)
        entitled = voters_of(quorum)
        voters = [
            node_id
            for node_id in entitled
            if self._machines[node_id].has_forgotten
            or (vote := _decode(self._vote_on_disk(node_id))) == own
            or vote.term > term
        ]
        if 2 * len(voters) <= len(entitled):
            self._violated(
                f"{process.name} leads term {term} by votes that are only on the disks of {voters}, of {entitled}"
            )

    def _committed(self, process: NodeProcess, now: RaftState, term: int, voters: tuple[int, ...]) -> None:
        offset, ledger = now.commit_offset, self.ledger
        if offset <= ledger.end:
            known = ledger.ending_at(offset)
            if known is None or known.partition_leader_epoch != term:
                self._violated(f"{process.name} has another term, {term}, at the committed offset {offset}: {known}")
            return
        holders = []
        for node_id in voters:
            batch = self._look(node_id).ending_at(offset)
            if batch is not None and batch.partition_leader_epoch == term:
                holders.append(node_id)
        if 2 * len(holders) <= len(voters):
            self._violated(
                f"{process.name} takes offset {offset} of term {term} for committed, and only the disks of"
                f" {holders} of the voters {voters} have it"
            )
        else:
            self._voters = voters
            holder = next((one for one in holders if self._logs[one].start <= ledger.end), holders[0])
            self._tell(ledger.commit(self._logs[holder], offset, now.term))

    def _committed_by_leader(self, process: NodeProcess, now: RaftState, term: int) -> None:
        """What an earlier term wrote counts only with something of the leader's own (dissertation, 3.6.2)."""
        if term != now.term:
            self._violated(
                f"{process.name} leads term {now.term}, and commits by counting up to {now.commit_offset}, which term"
                f" {term} wrote"
            )

    def _look(self, node_id: int) -> SureLog:
        log = self._logs[node_id]
        log.look()
        if log.judged < len(log.batches):
            self._tell(self.ledger.judge(log))
        return log

    def _tell(self, failure: str | None) -> None:
        if failure is not None:
            self._violated(f"the metadata log: {failure}")

    def majority_keeps_all(self) -> None:
        """Whether what was ever committed is on a majority of the disks, those aside whose metadata was taken away."""
        voters = self._voters or tuple(self._logs)
        holders = [node_id for node_id in voters if self._has_all(node_id)]
        lost = [node_id for node_id in voters if self._machines[node_id].has_forgotten and node_id not in holders]
        if 2 * (len(holders) + len(lost)) <= len(voters):
            self._violated(f"what is committed of the metadata below {self.ledger.end} is only on disks {holders}")

    def _has_all(self, node_id: int) -> bool:
        log, reaches = self._look(node_id), self._snapshots[node_id].newest().end_offset
        if reaches < log.start and not self._machines[node_id].harmed:
            self._violated(
                f"the metadata log of node {node_id} begins at {log.start}, and its snapshots reach up to {reaches}"
            )
        return self.ledger.has_all(log) or reaches >= self.ledger.end


def voters_of(quorum: Quorum) -> tuple[int, ...]:
    """Returns the nodes that vote by this controller's log."""
    return tuple(voter.node_id for voter in quorum._node.voters.voters)


def _decode(content: bytes) -> Vote:
    """Reads a vote file; an empty one has no vote."""
    fields = dict(line.split(" ", 1) for line in content.decode().splitlines())
    return Vote(int(fields["term"]), _parse_key(fields["voted_for"])) if fields else Vote(0, None)
