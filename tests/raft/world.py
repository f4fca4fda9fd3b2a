"""A quorum of Raft nodes in memory, on virtual time, with a disk and a network that misbehave: same seed, same run.

Each node is a minimal driver. Its disk keeps what was fsynced and, on a crash, any prefix of what was done since;
fsyncs of the log finish in any order. The network loses, delays, doubles and reorders, and cuts single directions.
After every event the invariants of the Raft page are checked; a breach raises AssertionError.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from dohle.model.ids import NO_SNAPSHOT, DirectoryId, NodeId, SnapshotId
from dohle.raft.config import RaftConfig
from dohle.raft.configurations import Configuration
from dohle.raft.effects import (
    Append,
    AppendNoOp,
    BecameFollower,
    BecameLeader,
    Committed,
    Effect,
    Fatal,
    FetchSnapshot,
    InstallSnapshot,
    LeaderReady,
    PersistVote,
    ReadEntries,
    ReadReady,
    ReadRefused,
    Send,
    TransferFailed,
    Truncate,
)
from dohle.raft.log_view import LogView, TermStart
from dohle.raft.messages import AppendAccepted, AppendRequest, BatchSpan, Message, VoteRequest, VoteResponse
from dohle.raft.node import RaftNode
from dohle.raft.quorum import ReplicaKey, VoterSet


class Batch(NamedTuple):
    """A batch in memory; `chain` is a hash of it and of all before it, so that equal chains mean equal logs."""

    base_offset: int
    end_offset: int
    term: int
    payload: int
    chain: int
    voters: VoterSet | None = None

    def encode(self) -> bytes:
        return self.payload.to_bytes(8, "big") * (self.end_offset - self.base_offset)


def read_batches(log: list[Batch], from_offset: int, max_bytes: int) -> tuple[list[BatchSpan], bytes]:
    """Reads as a ReadEntries asks for."""
    spans: list[BatchSpan] = []
    data = b""
    for batch in log:
        if batch.end_offset > from_offset:
            encoded = batch.encode()
            if spans and len(data) + len(encoded) > max_bytes:
                break
            spans.append(BatchSpan(batch.base_offset, batch.end_offset, batch.term, len(encoded), batch.voters))
            data += encoded
    return spans, data


def append_batch(log: list[Batch], end_offset: int, term: int, payload: int, voters: VoterSet | None = None) -> Batch:
    base_offset, chain = (log[-1].end_offset, log[-1].chain) if log else (0, 0)
    chain = hash((chain, base_offset, end_offset, term, payload))
    batch = Batch(base_offset, end_offset, term, payload, chain, voters)
    log.append(batch)
    return batch


@dataclass
class Disk:
    """What survives a crash: the fsynced part for certain, of the rest any prefix."""

    vote: tuple[int, ReplicaKey | None] = (0, None)
    pending_votes: list[tuple[int, ReplicaKey | None]] = field(default_factory=list)
    log: list[Batch] = field(default_factory=list)
    pending: list[Batch | int | SnapshotId] = field(default_factory=list)  # appends, truncations as offsets, installs
    snapshot: SnapshotId = NO_SNAPSHOT
    start: int = 0  # where the log begins; `log` keeps what lies before, for the world's eyes alone
    fsynced: int = 0  # how many operations on the log are durable, of all ever done
    images: dict[SnapshotId, list[Batch]] = field(default_factory=dict)  # the whole world's: what each snapshot holds

    @property
    def done(self) -> int:
        return self.fsynced + len(self.pending)

    def fsync_log(self, up_to: int) -> None:
        for operation in self.pending[: max(0, up_to - self.fsynced)]:
            if isinstance(operation, SnapshotId):
                self.log, self.snapshot, self.start = list(self.images[operation]), operation, operation.end_offset
            elif isinstance(operation, int):
                while self.log and self.log[-1].end_offset > operation:
                    self.log.pop()
            else:
                self.log.append(operation)
        del self.pending[: max(0, up_to - self.fsynced)]
        self.fsynced = max(self.fsynced, up_to)

    def take_snapshot(self, snapshot: SnapshotId, log: list[Batch], start: int) -> None:
        """Of what is committed; this disk itself may not have all of it yet."""
        self.images[snapshot] = [batch for batch in log if batch.end_offset <= snapshot.end_offset]
        self.snapshot, self.start = snapshot, start

    def recover(self) -> None:
        """What is in the snapshot is there, whether the log has it or not."""
        image = self.images.get(self.snapshot, [])
        if image and not self.holds(image[-1]):
            self.log, self.start = list(image), self.snapshot.end_offset

    def crash(self, rng: random.Random) -> None:
        self.fsync_log(self.fsynced + rng.choice([0, rng.randint(0, len(self.pending))]))
        self.fsynced += len(self.pending)
        self.pending.clear()
        if self.pending_votes and rng.random() < 0.3:
            self.vote = rng.choice(self.pending_votes)
        self.pending_votes.clear()

    def holds(self, batch: Batch) -> bool:
        return any(mine.chain == batch.chain for mine in reversed(self.log))


@dataclass
class SimulatedNode:
    """One process at a time on one disk."""

    key: ReplicaKey
    disk: Disk = field(default_factory=Disk)
    raft: RaftNode | None = None
    life: int = 0
    log: list[Batch] = field(default_factory=list)  # as this process sees it
    committed: int = 0
    term: int = 0
    frozen_until: float = 0.0
    ready: bool = False
    generation: int = 0  # of the last Truncate carried out
    timer: float = float("inf")
    reads: dict[int, int] = field(default_factory=dict)  # context -> what was committed when it was asked for


@dataclass(frozen=True)
class Weather:
    """How bad the world is."""

    loss: float = 0.0
    duplicates: float = 0.0
    delay_s: tuple[float, float] = (0.0002, 0.002)
    fsync_s: tuple[float, float] = (0.0005, 0.02)
    aimed_crashes: float = 0.0  # per message that a promise depends on, and per election won


FAIR = Weather()


class World:
    """The nodes, the time, the network, and everything that was ever promised."""

    def __init__(
        self,
        seed: int,
        voters: int = 3,
        config: RaftConfig | None = None,
        weather: Weather = FAIR,
        *,
        joiners: int = 0,
    ) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.config = config or RaftConfig()
        self.weather = weather
        self.keys = [ReplicaKey(NodeId(i + 1), DirectoryId(bytes([i + 1]) * 16)) for i in range(voters + joiners)]
        self.first_voters = VoterSet.of(self.keys[:voters])
        self.voters = self.first_voters  # those of whoever committed last
        images: dict[SnapshotId, list[Batch]] = {}
        self.nodes = {key: SimulatedNode(key, Disk(images=images)) for key in self.keys}
        self.cut: set[tuple[ReplicaKey, ReplicaKey]] = set()
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.serial = 0
        self.event_count = 0
        self.payload = 0
        self.leader_of_term: dict[int, tuple[ReplicaKey, int]] = {}
        self.vote_in_term: dict[tuple[ReplicaKey, int], ReplicaKey] = {}
        self.chain_at: dict[tuple[int, int], int] = {}  # (end offset, term) -> chain: log matching
        self.committed: list[Batch] = []
        self.commit_terms: list[int] = []  # in which each was first known to be committed
        self.committed_index: dict[int, int] = {0: 0}  # end offset -> how many batches
        self.counts: dict[str, int] = {}

    # --- time -----------------------------------------------------------------------------------------------------

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        self.serial += 1
        heapq.heappush(self.events, (self.now + delay_s, self.serial, action))

    def run_until(self, end: float, stop: Callable[[], bool] = lambda: False) -> bool:
        while not stop():
            if not self.events or self.events[0][0] > end:
                break
            self.now, _, action = heapq.heappop(self.events)
            self.event_count += 1
            action()
        else:
            return True
        self.now = end
        return False

    def on_node(self, node: SimulatedNode, delay_s: float, action: Callable[[RaftNode], list[Effect]]) -> None:
        """Schedules an input of the node's present process; lost with it, and late if it is frozen."""
        life = node.life

        def run() -> None:
            if node.life != life or node.raft is None:
                return
            if self.now < node.frozen_until:
                self.after(node.frozen_until - self.now, run)
                return
            self.carry_out(node, action(node.raft))

        self.after(delay_s, run)

    def hit(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    # --- life and death -------------------------------------------------------------------------------------------

    def start(self, key: ReplicaKey) -> None:
        node = self.nodes[key]
        assert node.raft is None
        node.life += 1
        node.disk.recover()
        node.log = list(node.disk.log)
        snapshot = node.disk.snapshot
        node.committed, node.ready, node.generation, node.timer = snapshot.end_offset, False, 0, float("inf")
        node.reads.clear()
        starts = [
            TermStart(batch.term, batch.base_offset)
            for before, batch in zip([None, *node.log], node.log, strict=False)
            if before is None or before.term != batch.term
        ]
        end = node.log[-1].end_offset if node.log else 0
        term, voted_for = node.disk.vote
        terms = {batch.end_offset: batch.term for batch in node.log}
        log = LogView(starts, end, end, TermStart(terms.get(node.disk.start, 0), node.disk.start))
        said = [Configuration(batch.end_offset, batch.voters) for batch in node.log if batch.voters is not None]
        changes = [change for change in said if change.end_offset > snapshot.end_offset]
        voters = self.voters_in(node.log, snapshot)
        node.raft = RaftNode(
            key, voters, log, term, voted_for, self.rng, self.config, changes=changes, snapshot=snapshot
        )
        node.term = term
        self.carry_out(node, node.raft.start(self.now))

    def start_all(self) -> None:
        for key in self.keys:
            if self.nodes[key].raft is None:
                self.start(key)

    def crash(self, key: ReplicaKey) -> None:
        node = self.nodes[key]
        if node.raft is None:
            return
        self.hit("crash")
        node.raft = None
        node.life += 1
        node.frozen_until = 0.0
        node.disk.crash(self.rng)

    def report_leader_gone(self, gone: ReplicaKey, term: int) -> None:
        for key in self.keys:
            if key != gone and self.nodes[key].raft is not None:
                self.on_node(
                    self.nodes[key],
                    self.rng.uniform(0.001, 0.15),
                    lambda raft: raft.leader_gone(self.now, gone.node_id, term),
                )

    def leaders(self) -> list[SimulatedNode]:
        return [node for node in self.nodes.values() if node.raft is not None and node.raft.is_leader]

    # --- inputs ---------------------------------------------------------------------------------------------------

    def propose(self, node: SimulatedNode, records: int = 1) -> None:
        assert node.raft is not None
        end = node.raft.log.log_end_offset + records
        self.payload += 1
        self.write_as_leader(node, end, self.payload)

    def transfer(self, node: SimulatedNode) -> None:
        assert node.raft is not None
        if node.raft.is_ready and not node.raft.is_transferring:
            self.hit("transfer")
            self.carry_out(node, node.raft.transfer(self.now, None))

    def read(self, node: SimulatedNode) -> None:
        assert node.raft is not None
        self.payload += 1
        node.reads[self.payload] = self.committed[-1].end_offset if self.committed else 0
        self.carry_out(node, node.raft.read(self.now, self.payload))

    def snapshot(self, node: SimulatedNode) -> None:
        """The node writes a snapshot of what it knows to be committed, and cuts its log below the one before."""
        raft, before = node.raft, node.disk.snapshot
        assert raft is not None
        if node.committed > before.end_offset:
            taken = SnapshotId(node.committed, raft.log.term_at(node.committed))
            node.disk.take_snapshot(taken, node.log, before.end_offset)
            raft.snapshot_made(taken)
            raft.log_cut(before.end_offset)
            self.hit("snapshot")

    def voters_in(self, log: list[Batch], snapshot: SnapshotId) -> VoterSet:
        """Those that the snapshot names, which is of the beginning of `log`."""
        said = [batch.voters for batch in log if batch.voters is not None and batch.end_offset <= snapshot.end_offset]
        return said[-1] if said else self.first_voters

    def change_voters(self, node: SimulatedNode, voters: VoterSet) -> None:
        assert node.raft is not None
        self.hit("voters changed")
        self.payload += 1
        self.write_as_leader(node, node.raft.log.log_end_offset + 1, self.payload, voters)

    def write_as_leader(
        self, node: SimulatedNode, end_offset: int, payload: int, voters: VoterSet | None = None
    ) -> None:
        assert node.raft is not None
        batch = append_batch(node.log, end_offset, node.raft.term, payload, voters)
        self.check_log_matching(batch)
        node.disk.pending.append(batch)
        self.fsync_later(node)
        self.carry_out(node, node.raft.appended(self.now, batch.base_offset, batch.end_offset, voters))

    def fsync_later(self, node: SimulatedNode) -> None:
        assert node.raft is not None
        # Of the log itself, not of the node's view of it, which is ahead while effects are being carried out.
        done, end, generation = node.disk.done, node.log[-1].end_offset if node.log else 0, node.generation

        def finished(raft: RaftNode) -> list[Effect]:
            node.disk.fsync_log(done)
            return raft.durable(self.now, end, generation)

        self.on_node(node, self.rng.uniform(*self.weather.fsync_s), finished)

    # --- effects --------------------------------------------------------------------------------------------------

    def carry_out(self, node: SimulatedNode, effects: list[Effect]) -> None:
        life = node.life
        for effect in effects:
            if node.life != life:
                return  # an aimed crash came in between
            self.carry_out_one(node, effect)
        if node.life == life:
            self.check_node(node)
            self.set_timer(node)

    def carry_out_one(self, node: SimulatedNode, effect: Effect) -> None:
        raft = node.raft
        assert raft is not None
        match effect:
            case Send(message):
                self.check_promise(node, message)
                self.transmit(message)
                self.crash_aimed(node, message)
            case PersistVote(term, voted_for):
                node.disk.pending_votes.append((term, voted_for))

                def persisted(raft: RaftNode) -> list[Effect]:
                    if (term, voted_for) in node.disk.pending_votes:  # in order: this one and all before it
                        node.disk.vote = (term, voted_for)
                        del node.disk.pending_votes[: node.disk.pending_votes.index((term, voted_for)) + 1]
                    return raft.vote_persisted(self.now, term, voted_for)

                self.on_node(node, self.rng.uniform(*self.weather.fsync_s), persisted)
            case Truncate(to_offset, generation):
                self.hit("truncate")
                node.generation = generation
                assert to_offset in {0, *(batch.end_offset for batch in node.log)}, "not on a border of batches"
                while node.log and node.log[-1].end_offset > to_offset:
                    node.log.pop()
                node.disk.pending.append(to_offset)
                self.fsync_later(node)
            case Append(spans, batches):
                self.take_batches(node, spans, batches)
            case AppendNoOp(_, base_offset):
                assert base_offset == (node.log[-1].end_offset if node.log else 0)
                self.payload += 1
                self.write_as_leader(node, base_offset + 1, self.payload)
            case ReadEntries(target, term, from_offset, max_bytes):
                is_there = from_offset >= raft.log.start_offset
                spans_read, data = read_batches(node.log, from_offset, max_bytes) if is_there else ([], b"")
                self.on_node(
                    node,
                    self.rng.choice([0, self.rng.uniform(0, 0.002)]),
                    lambda raft: raft.entries_read(self.now, target, term, from_offset, spans_read, data),
                )
            case FetchSnapshot(source, wanted):
                self.fetch(node, source, wanted)
            case InstallSnapshot(snapshot, generation):
                self.hit("snapshot installed")
                node.generation = generation
                node.log = list(node.disk.images[snapshot])
                node.committed = snapshot.end_offset
                node.disk.pending.append(snapshot)
                self.fsync_later(node)
            case Committed(offset):
                self.check_commit(node, offset)
            case BecameLeader(term):
                self.check_leader(node, term)
            case LeaderReady():
                self.hit("leader ready")
                node.ready = True
            case BecameFollower():
                node.ready = False
            case ReadReady(context, commit_offset):
                self.hit("read")
                assert commit_offset >= node.reads.pop(context), "a read misses what was committed before it"
            case ReadRefused(context):
                node.reads.pop(context)
            case TransferFailed():
                self.hit("transfer failed")
            case Fatal(reason):
                raise AssertionError(reason)

    def fetch(self, node: SimulatedNode, source: ReplicaKey, wanted: SnapshotId) -> None:
        disk = self.nodes[source].disk
        snapshot = disk.snapshot
        if snapshot >= wanted and self.rng.random() < 0.9:
            voters = self.voters_in(disk.images[snapshot], snapshot)
            self.on_node(node, self.rng.uniform(0.001, 0.5), lambda raft: raft.snapshot_fetched(snapshot, voters))

    def take_batches(self, node: SimulatedNode, spans: tuple[BatchSpan, ...], batches: bytes) -> None:
        at = 0
        for span in spans:
            encoded = batches[at : at + span.size_in_bytes]
            at += span.size_in_bytes
            assert span.base_offset == (node.log[-1].end_offset if node.log else 0)
            batch = append_batch(node.log, span.end_offset, span.term, int.from_bytes(encoded[:8], "big"), span.voters)
            self.check_log_matching(batch)
            node.disk.pending.append(batch)
        assert at == len(batches)
        self.fsync_later(node)

    def transmit(self, message: Message) -> None:
        self.hit(type(message).__name__)
        copies = 1 + (self.rng.random() < self.weather.duplicates)
        for _ in range(copies):
            if (message.source, message.target) in self.cut or self.rng.random() < self.weather.loss:
                continue
            node = self.nodes[message.target]
            if node.raft is not None:
                self.on_node(
                    node, self.rng.uniform(*self.weather.delay_s), lambda raft: raft.receive(self.now, message)
                )

    def crash_aimed(self, node: SimulatedNode, message: Message) -> None:
        """Crashes where a promise has just left: alone, or with everybody else."""
        promises = isinstance(message, AppendAccepted | VoteResponse | VoteRequest)
        if promises and self.rng.random() < self.weather.aimed_crashes:
            victims = self.keys if self.rng.random() < 0.2 else [node.key]
            for key in victims:
                self.crash(key)
                self.after(self.rng.uniform(0.001, 0.5), lambda key=key: self.restart(key))  # type: ignore[misc]

    def restart(self, key: ReplicaKey) -> None:
        if self.nodes[key].raft is None:
            self.start(key)

    def set_timer(self, node: SimulatedNode) -> None:
        assert node.raft is not None
        deadline = node.raft.deadline
        if deadline is None or node.timer <= deadline:
            return  # a timer that fires too early finds out and waits again
        node.timer = deadline

        def fire(raft: RaftNode) -> list[Effect]:
            node.timer = float("inf")
            return raft.tick(self.now)

        self.on_node(node, max(0.0, deadline - self.now) + 1e-6, fire)

    # --- invariants -----------------------------------------------------------------------------------------------

    def check_node(self, node: SimulatedNode) -> None:
        raft = node.raft
        assert raft is not None
        assert raft.term >= node.term, f"the term of {node.key} fell from {node.term} to {raft.term}"
        node.term = raft.term
        assert raft.log.log_end_offset == (node.log[-1].end_offset if node.log else 0)
        assert raft.log.last_term == (node.log[-1].term if node.log else 0)
        on_disk = node.disk.log[-1].end_offset if node.disk.log else 0
        assert raft.log.durable_end_offset <= on_disk or not all(isinstance(o, Batch) for o in node.disk.pending)

    def check_promise(self, node: SimulatedNode, message: Message) -> None:
        """One vote a term, whoever asks and however often the voter has died."""
        match message:
            case VoteResponse(granted=True, pre_vote=False, election_term=term, target=candidate):
                voted = self.vote_in_term.setdefault((node.key, term), candidate)
                assert voted == candidate, f"{node.key} voted twice in term {term}"
            case VoteRequest(pre_vote=False, term=term):
                voted = self.vote_in_term.setdefault((node.key, term), node.key)
                assert voted == node.key, f"{node.key} voted twice in term {term}"
            case AppendRequest(spans=()):
                self.hit("heartbeat")
            case _:
                pass

    def check_log_matching(self, batch: Batch) -> None:
        chain = self.chain_at.setdefault((batch.end_offset, batch.term), batch.chain)
        assert chain == batch.chain, f"two logs differ below a common (offset, term): {batch}"

    def check_leader(self, node: SimulatedNode, term: int) -> None:
        self.hit("leader elected")
        first = self.leader_of_term.setdefault(term, (node.key, node.life))
        assert first == (node.key, node.life), f"two leaders in term {term}"
        # A stalled candidate may learn late that it was elected, when higher terms have already committed more.
        earlier = [batch for batch, in_term in zip(self.committed, self.commit_terms, strict=True) if in_term < term]
        if earlier:
            chain = earlier[-1].chain
            assert any(mine.chain == chain for mine in node.log), f"leader {node.key} lacks committed batches"

    def check_commit(self, node: SimulatedNode, offset: int) -> None:
        assert offset > node.committed, "the commit index fell"
        before, node.committed = node.committed, offset
        assert any(batch.end_offset == offset for batch in node.log), f"commit at {offset} is not on a border"
        for batch in reversed(node.log):
            if batch.end_offset <= before:
                break
            index = self.committed_index.get(batch.end_offset)
            if index is not None and batch.end_offset <= offset:
                assert self.committed[index - 1].chain == batch.chain, f"a committed batch was changed: {batch}"
        end = self.committed[-1].end_offset if self.committed else 0
        if offset <= end:
            assert offset in self.committed_index, "commits at no border of what was committed"
            return
        fresh = [batch for batch in node.log if end < batch.end_offset <= offset]
        assert node.raft is not None
        voters = node.raft.voters
        holders = [other.key for other in self.nodes.values() if other.disk.holds(fresh[-1])]
        assert voters.has_majority(holders), f"committed up to {offset} by {voters}, but durable on {holders} only"
        self.voters = voters
        for batch in fresh:
            self.committed.append(batch)
            self.commit_terms.append(node.term)
            self.committed_index[batch.end_offset] = len(self.committed)
            self.hit("commit")

    def check_durable_majority(self) -> None:
        """Everything ever committed is on the disks of a majority, even now."""
        if self.committed:
            holders = [node.key for node in self.nodes.values() if node.disk.holds(self.committed[-1])]
            assert self.voters.has_majority(holders), f"committed by {self.voters}, but durable on {holders} only"
