"""Quorum: drives the Raft node of one voter: its timer, its vote file, its log, its links to the other voters.

The state machine above attaches three calls: what is committed, in order; that this node leads (all that was committed
before is applied by then); and that it leads no longer, which comes before anything that a later leader committed.

Keeps: effects are carried out in their order; those that touch the log in one queue, so that no message ever waits for
a disk; an fsync is reported with the generation in which it began. Appends that come while an fsync runs share the next
one. Leaves out what the records mean.
"""

from __future__ import annotations

import asyncio
import logging
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from dohle.controller.incarnations import Incarnations
from dohle.controller.log_work import CutBelow, LogWork
from dohle.controller.metadata_recovery import changes_in
from dohle.controller.quorum_listener import QuorumListener
from dohle.controller.quorum_recovery import RecoveredQuorum, recover_quorum
from dohle.controller.quorum_snapshots import QuorumSnapshots
from dohle.controller.raft_wire import first_batch_crc, spans_of, voter_set
from dohle.controller.read_barriers import ReadBarriers
from dohle.controller.snapshot_fetch import SnapshotFetch
from dohle.controller.unconfirmed import read_unconfirmed
from dohle.controller.vote_file import Vote
from dohle.controller.voter_link import LinkEnds, key_of
from dohle.controller.voter_links import VoterLinks
from dohle.controller.waiting_for_room import ROOM_RETRY_S, append_once_there_is_room, write_vote_once_there_is_room
from dohle.model.errors import (
    CorruptLog,
    InvalidRequest,
    NotController,
    OffsetOutOfRange,
    StorageFailure,
)
from dohle.model.ids import NO_NODE, IncarnationId, NodeId
from dohle.model.metadata import OLDEST_METADATA_VERSION, FeatureRange, MetadataRecord, NoOp, Voter, Voters
from dohle.model.metadata_batch import encode_metadata, voters_in
from dohle.model.topic_config import TopicConfig
from dohle.raft.config import RaftConfig
from dohle.raft.core import Uniform
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
from dohle.raft.messages import Message
from dohle.raft.node import RaftNode
from dohle.raft.quorum import ReplicaKey
from dohle.rpc.identity import NodeIdentity, features_of
from dohle.rpc.v1 import raft_pb2
from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk
from dohle.runtime.network import Address, Network
from dohle.runtime.tasks import OnFailure, Tasks, turn
from dohle.storage.room import DiskFull
from dohle.storage.single_log import METADATA_LOG

log = logging.getLogger(__name__)


_APPLY_BYTES = 1 << 13  # before the loop does what waits


@dataclass(frozen=True, slots=True)
class VoterProgress:
    """How far another controller is, in the eyes of the leader."""

    durable_end: int
    silent_s: float  # since it last answered


class Quorum:
    """One voter. Make it with `open`, attach the listener, serve the Raft service, then `start`."""

    def __init__(
        self,
        identity: NodeIdentity,
        recovered: RecoveredQuorum,
        *,
        folder: str,
        disk: Disk,
        clock: Clock,
        network: Network,
        random: Uniform,
        config: RaftConfig,
        address: Address,
        bootstrap: Sequence[Address],
        on_failure: OnFailure,
    ) -> None:
        self.identity = identity
        self.key = ReplicaKey(identity.node_id, identity.directory_id)
        self._folder = folder
        self._disk = disk
        self._clock = clock
        self._network = network
        self._tasks = Tasks(f"quorum of node {identity.node_id}", on_failure)
        self._log_tasks = recovered.log_tasks
        self._on_failure = on_failure
        self._closed = False
        self._single_log = single_log = recovered.single_log
        self._log = single_log.log
        self._listener: QuorumListener | None = None
        self._address = address
        self._voters_log = recovered.voters_log
        self._joining_mark = recovered.joining_mark
        self.first_batch_crc = recovered.first_batch_crc  # 0 where it is not known
        vote, metadata = recovered.vote, recovered.metadata
        view, snapshot = metadata.view, metadata.snapshot
        first, changes = self._voters_log.configurations()
        self._node = RaftNode(
            self.key, first, view, vote.term, vote.voted_for, random, config, changes=changes, snapshot=snapshot
        )
        self._first_image = metadata.image
        self.incarnations = incarnations = Incarnations(
            self._node, network, clock, self._tasks, lambda key: self._links.address_of(key), self._carry_out
        )
        ends = LinkEnds(
            identity, clock, network, random, self._tasks, self._opening, incarnations.heard_hello, self.stream_broke
        )
        self._links = VoterLinks(self.key, bootstrap, ends, self._tasks)
        self._log_work = LogWork()
        fetch = SnapshotFetch(metadata.files, network, clock, identity, self._tasks)
        self.snapshots = QuorumSnapshots(metadata.files, fetch, self._node, single_log, self._log_work, self._carry_out)
        self._vote_to_write: Vote | None = None
        self._vote_due = asyncio.Event()
        self._sync_due = asyncio.Event()
        self._timer_is_late = asyncio.Event()
        self._timer_at = float("inf")
        self._generation = view.generation
        self._applied_offset = snapshot.end_offset
        self.applied_bytes = 0  # since the start of this process
        self._leading_term: int | None = None
        self._barriers = ReadBarriers()
        self._handover: asyncio.Future[bool] | None = None

    @classmethod
    async def open(
        cls,
        identity: NodeIdentity,
        data_folder: str,
        *,
        disk: Disk,
        clock: Clock,
        network: Network,
        random: Uniform,
        config: RaftConfig,
        address: Address,
        bootstrap: Sequence[Address],
        on_failure: OnFailure,
        log_config: TopicConfig | None = None,
    ) -> Quorum:
        """Recovers the metadata log in `data_folder`.

        This node is reached at `address`; while it has no vote it makes itself known at those of `bootstrap`. Where the
        snapshots are damaged, and the log does not reach back before them, another is fetched from there, for as long
        as that takes. Raises DataFolderError if there is no log or it is another cluster's, CorruptLog if log or vote
        file are damaged: such a node neither votes nor leads (raft.md, rules 5 and 9).
        """
        folder = metadata_folder(data_folder)
        recovered = await recover_quorum(
            identity,
            folder,
            disk=disk,
            clock=clock,
            network=network,
            peers=bootstrap,
            on_failure=on_failure,
            log_config=log_config,
        )
        return cls(
            identity,
            recovered,
            folder=folder,
            disk=disk,
            clock=clock,
            network=network,
            random=random,
            config=config,
            address=address,
            bootstrap=bootstrap,
            on_failure=on_failure,
        )

    # what it shows

    @property
    def is_leader(self) -> bool:
        """Whether this node leads, and has applied all that was committed before it did."""
        return self._leading_term is not None

    @property
    def is_transferring(self) -> bool:
        """Whether this node leads, and is handing its office over: it takes no proposals."""
        return self._handover is not None

    @property
    def leader_id(self) -> NodeId:
        """Who leads as far as is known, NO_NODE if nobody."""
        leader = self._node.leader
        return NO_NODE if leader is None else leader.node_id

    @property
    def term(self) -> int:
        return self._node.term

    @property
    def commit_offset(self) -> int:
        """Everything below is committed."""
        return self._node.commit_offset

    @property
    def applied_offset(self) -> int:
        """Everything below is committed, and the listener has it."""
        return self._applied_offset

    @property
    def applied_term(self) -> int:
        """The term of the last batch that was applied."""
        return self._node.log.term_at(self._applied_offset)

    @property
    def log_start_offset(self) -> int:
        return self._log.log_start_offset

    @property
    def log_end_offset(self) -> int:
        return self._log.log_end_offset

    def not_controller(self) -> NotController:
        """Returns the refusal that names the leader, as far as it is known."""
        known = f"the active controller is node {self.leader_id}" if self.leader_id >= 0 else "none is known yet"
        if self.is_transferring:
            known = "it is handing over to another"
        return NotController(f"node {self.identity.node_id} is not the active controller; {known}")

    @property
    def voters(self) -> tuple[Voter, ...]:
        """Who votes by this node's log, committed or not; nobody before it has any."""
        return self._voters_log.voters

    @property
    def durable_end(self) -> int:
        """How much of the log is on this node's own disk."""
        return self._node.log.durable_end_offset

    def learners(self) -> dict[ReplicaKey, Address]:
        """The controllers without a vote that are connected, and where they listen."""
        guests = self._links.guests
        return {key: address for key in self._links.learners if (address := guests[key].address) is not None}

    def supported_features(self) -> dict[ReplicaKey, tuple[FeatureRange, ...]]:
        """What this controller, and each that is connected, can work at."""
        of_guests = {key: guest.features for key, guest in sorted(self._links.guests.items())}
        return of_guests | {self.key: self.identity.features}

    @property
    def may_change_voters(self) -> bool:
        """Whether this node leads and no change of the voters is in flight."""
        return self._node.may_change_voters

    def progress_of(self, key: ReplicaKey) -> VoterProgress | None:
        """How far another controller is, as this node knows while it leads."""
        progress = self._node.progress.get(key)
        if progress is None:
            return None
        return VoterProgress(progress.match_offset, self._clock.now() - progress.last_contact)

    # its life

    def attach(self, listener: QuorumListener) -> None:
        """Sets who hears of commits and leadership; once, before `start`."""
        assert self._listener is None, "a quorum has one listener"
        self._listener = listener

    async def start(self) -> None:
        """Takes part in the quorum from now on."""
        assert self._listener is not None, "attach a listener first"
        if self._first_image is not None:
            self._listener.installed(self._first_image)
            self._first_image = None
        self._tasks.spawn(self._work_on_log(), "log")
        self._tasks.spawn(self._sync_log(), "sync")
        self._tasks.spawn(self._write_votes(), "vote-file")
        self._tasks.spawn(self._keep_time(), "timer")
        self._voters_changed()
        self._carry_out(self._node.start(self._clock.now()))

    async def close(self) -> None:
        """Takes part no longer, and closes the log cleanly."""
        self._closed = True
        await self._tasks.close()
        self._resign()
        self._barriers.cancel()
        self._end_handover(True)
        await self._single_log.close()
        await self._log_tasks.close()

    # the leader's part

    def propose(self, records: Sequence[MetadataRecord], metadata_version: int) -> int:
        """Appends `records` as one batch and returns its end offset; whether it commits, `committed` tells.

        Raises NotController.
        """
        if self._leading_term is None or self.is_transferring:
            raise self.not_controller()
        return self._append_batch(records, self._leading_term, metadata_version)

    async def transfer(self, successor: ReplicaKey | None = None) -> bool:
        """Hands the office to `successor`, or to the voter that is furthest; tells whether this node leads no longer.

        Takes an election time-out at most. No proposals are taken meanwhile. Raises NotController.
        """
        if self._leading_term is None:
            raise self.not_controller()
        handover = self._handover
        if handover is None:
            self._handover = handover = asyncio.get_running_loop().create_future()
            self._carry_out(self._node.transfer(self._clock.now(), successor))
        return await asyncio.shield(handover)

    async def read_barrier(self) -> int:
        """Returns the offset up to which to apply before a linearizable read.

        Raises NotController if this node does not lead, or did so no longer before a majority answered;
        ThrottlingQuotaExceeded if too many wait.
        """
        return await self._barriers.wait(lambda number: self._carry_out(self._node.read(self._clock.now(), number)))

    @property
    def first_offset(self) -> int:
        """The least offset that `read_committed` can begin at."""
        return self._log.log_start_offset

    async def read_committed(self, offset: int, max_bytes: int) -> bytes:
        """Returns applied batches from `offset` on, at least one; empty if there is none yet.

        Raises OffsetOutOfRange where the log begins behind it.
        """
        if offset >= self._applied_offset:
            return b""
        try:
            return await self._log.read(offset, max_bytes, up_to=self._applied_offset)
        except StorageFailure:
            if offset < self._log.log_start_offset:  # its segment was deleted while it was read
                raise OffsetOutOfRange(f"the metadata log begins at offset {self._log.log_start_offset}") from None
            raise

    async def read_unconfirmed(self) -> bytes:
        """Returns what the log has behind what is applied: it may be committed, or be taken back."""
        return await read_unconfirmed(self._log, self._applied_offset)

    # from the other voters

    def greet(self, opening: raft_pb2.RaftEnvelope) -> ReplicaKey:
        """Returns who calls: a voter, or a learner. Raises what it has to be told if it is neither."""
        source = key_of(opening.hello, self.identity)
        if source.node_id == self.key.node_id:
            raise InvalidRequest(f"node {source} calls node {self.key}: give each node an id of its own")
        if opening.first_batch_crc and self.first_batch_crc and opening.first_batch_crc != self.first_batch_crc:
            raise InvalidRequest(
                f"node {source} was formatted with other first voters than this cluster; a controller that joins, or "
                "has lost its disk, is formatted with `dohle format --join`"
            )
        address = Address(opening.host, opening.port) if opening.host else None
        self._links.enter(source, address, features_of(opening.hello))
        if source not in self._node.voters:
            self._carry_out(self._node.add_learner(self._clock.now(), source))
        self.incarnations.heard_hello(source, IncarnationId(opening.hello.incarnation_id))
        return source

    def answer_to(self, source: ReplicaKey) -> raft_pb2.RaftEnvelope:
        """Returns what `source`, which was greeted, is told: who this is, and where the voters are if it is none."""
        return raft_pb2.RaftEnvelope(hello=self.identity.hello(), voters=self._links.where_to_knock(source))

    def part(self, source: ReplicaKey) -> None:
        """A stream of `source`, which was greeted, has ended."""
        if self._links.leave(source) and source not in self._node.voters:
            self._node.forget_learner(source)
        self.stream_broke(source)

    def receive(self, message: Message) -> None:
        """A message of another voter has come in."""
        self._carry_out(self._node.receive(self._clock.now(), message))
        self.incarnations.heard(message.source)

    def stream_broke(self, voter: ReplicaKey) -> None:
        """A stream with `voter` has ended, or could not be opened: if it leads, asks whether it is still there."""
        if not self._closed:
            self.incarnations.stream_broke(voter)

    # effects

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        if self._closed:
            return
        for effect in effects:
            match effect:
                case Send(message):
                    self._links.send(message)
                case PersistVote(term, voted_for):
                    self._vote_to_write = Vote(term, voted_for)
                    self._vote_due.set()
                case BecameLeader(term):
                    log.info("node %d was elected leader of term %d", self.key.node_id, term)
                    for learner in self._links.learners:
                        self._carry_out(self._node.add_learner(self._clock.now(), learner))
                case BecameFollower(term, leader):
                    self._resign()
                    log.info("term %d: %s", term, f"node {leader.node_id} leads" if leader else "no leader is known")
                    assert self._listener is not None
                    self._listener.leader_changed()
                case TransferFailed():
                    log.warning("nobody took over from node %d in term %d", self.key.node_id, self.term)
                    self._end_handover(False)
                    assert self._listener is not None
                    self._listener.leader_changed()
                case FetchSnapshot(source, snapshot):
                    if (address := self._links.address_of(source)) is not None:  # else it is offered again
                        self.snapshots.fetch(address, snapshot)
                case ReadReady(context, commit_offset):
                    self._barriers.end(context, commit_offset)
                case ReadRefused(context):
                    self._barriers.end(context, self.not_controller())
                case Fatal(reason):
                    log.critical("%s", reason)
                    self._on_failure(CorruptLog(reason))
                    return
                case _:
                    self._log_work.put(effect)
        deadline = self._node.deadline
        if deadline is not None and deadline < self._timer_at:
            self._timer_is_late.set()

    def _end_handover(self, handed_over: bool) -> None:
        handover, self._handover = self._handover, None
        if handover is not None and not handover.done():
            handover.set_result(handed_over)

    def _resign(self) -> None:
        self._end_handover(True)
        if self._leading_term is not None:
            log.info("node %d leads term %d no longer", self.key.node_id, self._leading_term)
            self._leading_term = None
            assert self._listener is not None
            self._listener.leads_no_longer()

    # the tasks

    async def _keep_time(self) -> None:
        while True:
            deadline = self._node.deadline
            self._timer_at = float("inf") if deadline is None else deadline
            self._timer_is_late.clear()
            await self._clock.wait(self._timer_is_late, None if deadline is None else deadline - self._clock.now())
            if deadline is not None and self._clock.now() >= deadline:
                self._carry_out(self._node.tick(self._clock.now()))

    async def _write_votes(self) -> None:
        while True:
            await self._vote_due.wait()
            self._vote_due.clear()
            vote = self._vote_to_write
            assert vote is not None
            await write_vote_once_there_is_room(self._disk, self._clock, self._folder, vote)
            self._carry_out(self._node.vote_persisted(self._clock.now(), vote.term, vote.voted_for))

    async def _sync_log(self) -> None:
        while True:
            await self._sync_due.wait()
            self._sync_due.clear()
            generation = self._generation
            durable_end = await self._log.flush()
            await self._joining_mark.log_is_durable(durable_end)
            self._carry_out(self._node.durable(self._clock.now(), durable_end, generation))

    async def _work_on_log(self) -> None:
        while True:
            match await self._log_work.next():
                case Truncate(to_offset, generation):
                    await self._log.truncate_to(to_offset)
                    assert self._log.log_end_offset == to_offset, (self._log.log_end_offset, to_offset)
                    self._generation = generation
                    if self._voters_log.truncate(to_offset):
                        self._voters_changed()
                    self._sync_due.set()
                case Append(spans, batches):
                    await append_once_there_is_room(self._log, self._clock, batches, spans[-1].term)
                    if spans[0].base_offset == 0:
                        self.first_batch_crc = first_batch_crc(batches)
                    if self._voters_log.append(voters_in(batches)):
                        self._voters_changed()
                    self._sync_due.set()
                case AppendNoOp(term, base_offset):
                    assert self._log.log_end_offset == base_offset, (self._log.log_end_offset, base_offset)
                    while self._node.is_leader and self._node.term == term:
                        try:
                            self._append_batch([NoOp()], term, OLDEST_METADATA_VERSION)
                            break
                        except DiskFull:
                            await self._clock.sleep(ROOM_RETRY_S)
                case InstallSnapshot(snapshot, generation):
                    image = await self.snapshots.install(snapshot)
                    self.first_batch_crc = self.first_batch_crc or self.snapshots.files.first_batch_crc
                    self._generation, self._applied_offset = generation, snapshot.end_offset
                    self._voters_log.install(image)
                    self._voters_changed()
                    assert self._listener is not None
                    self._listener.installed(image)
                    self._sync_due.set()
                case CutBelow(offset):
                    await self.snapshots.cut_below(offset)
                    self._voters_log.cut_below(offset)
                case ReadEntries() as wanted:
                    await self._read_entries(wanted)
                case Committed(offset):
                    await self._apply(offset)
                case LeaderReady(term):
                    if self._node.is_leader and self._node.term == term:
                        self._leading_term = term
                        assert self._listener is not None
                        self._listener.leads(term)

    def _append_batch(self, records: Sequence[MetadataRecord], term: int, version: int) -> int:
        base_offset, now_ms = self._log.log_end_offset, self._clock.wall_ms()
        batch = encode_metadata(
            records, metadata_version=version, base_offset=base_offset, term=term, timestamp_ms=now_ms
        )
        self._log.append_as_follower(batch, term)
        self._sync_due.set()
        said = [(self._log.log_end_offset, record) for record in records if isinstance(record, Voters)]
        voters = voter_set(said[-1][1]) if said else None
        self._carry_out(self._node.appended(self._clock.now(), base_offset, self._log.log_end_offset, voters))
        if self._voters_log.append(said):
            self._voters_changed()
        return self._log.log_end_offset

    def _voters_changed(self) -> None:
        addresses = self._voters_log.addresses
        log.info("the voters are %s", ", ".join(map(str, addresses)) or "not known yet")
        self._links.keep(addresses)
        for key in sorted(self._node.progress):
            if key not in self._node.voters and key not in self._links.guests:
                self._node.forget_learner(key)

    def _opening(self) -> raft_pb2.RaftEnvelope:
        address = self._address
        return raft_pb2.RaftEnvelope(
            hello=self.identity.hello(),
            host=address.host,
            port=address.port,
            first_batch_crc=self.first_batch_crc,
        )

    async def _read_entries(self, wanted: ReadEntries) -> None:
        batches = b""
        if wanted.from_offset >= self._log.log_start_offset:
            batches = await self._log.read(wanted.from_offset, wanted.max_bytes, up_to=self._log.log_end_offset)
        self._carry_out(
            self._node.entries_read(
                self._clock.now(), wanted.target, wanted.term, wanted.from_offset, spans_of(batches), batches
            )
        )

    async def _apply(self, offset: int) -> None:
        assert self._listener is not None
        while self._applied_offset < offset:
            batches = await self._log.read(self._applied_offset, _APPLY_BYTES, up_to=offset)
            self.applied_bytes += len(batches)
            for batch in changes_in(batches, self._folder):
                self._applied_offset = batch.end_offset
                self._listener.committed(batch)
            if self._applied_offset < offset:
                await turn(0, every=1)


def metadata_folder(data_folder: str) -> str:
    """Returns where the metadata log of a controller lies."""
    return posixpath.join(data_folder, METADATA_LOG)
