"""Rarities: what `Rare` counts, and where in the product it is seen.

Each function here wraps one of the product's, named by the attribute itself, and calls it once with what it was given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from dohle.broker.broker import Broker
from dohle.broker.failed_dirs import FailedDirs
from dohle.broker.following import Following
from dohle.broker.in_sync import InSyncSet
from dohle.broker.leading import Leading
from dohle.broker.metadata_follower import MetadataFollower
from dohle.broker.push_session import PushSession
from dohle.broker.readers import Readers
from dohle.broker.replicas import Replicas
from dohle.client import rebalance_plan
from dohle.client.rebalance_plan import RebalancePlan
from dohle.controller import elections, isr, quorum, registration
from dohle.controller.controller import Controller
from dohle.controller.failure_detector import FailureDetector
from dohle.controller.quorum_snapshots import QuorumSnapshots
from dohle.controller.sessions import Sessions
from dohle.controller.snapshot_fetch import SnapshotFetch
from dohle.controller.snapshot_files import SnapshotFiles
from dohle.controller.vote_file import write_vote
from dohle.model.errors import CorruptLog, DohleError, NotEnoughReplicas, OutOfOrderSequenceNumber
from dohle.model.ids import NodeId, PartitionKey, SnapshotId
from dohle.model.image import BrokerImage, ClusterImage, PartitionImage
from dohle.model.metadata import Doubt
from dohle.raft.core import Core
from dohle.raft.leader import Leader
from dohle.raft.log_view import LogView
from dohle.raft.messages import Message, VoteResponse
from dohle.raft.node import RaftNode
from dohle.storage.group_commit import GroupCommit
from dohle.storage.log import Log
from dohle.storage.log_folder import LogFolder
from dohle.storage.opened import Opened
from dohle.storage.producer_states import Duplicate, ProducerStates
from dohle.storage.recovery import LogFiles
from dohle.storage.segments import Segments

RARE = (
    "a batch out of its producer's order is refused",
    "a broker is fenced early",
    "a change is left open by a controller that lost its office",
    "a broker takes a snapshot",
    "a damaged snapshot is refused",
    "a directory fails and its broker goes on",
    "a directory is missing and its replicas are not made anew",
    "a disk fails",
    "a divergence is truncated",
    "a duplicate is answered",
    "a leader's session ends in silence",
    "a member returns with a doubt",
    "a metadata follower changes its controller",
    "a PreVote is refused",
    "a process is killed while it writes its vote",
    "a rebalance moves replicas",
    "a producer snapshot is loaded",
    "a reader is sent to a follower",
    "a reader is sent back to its leader",
    "a Raft leader is proven gone",
    "a Raft leader without its majority steps down",
    "a Raft log is truncated",
    "a replica catches up by chunks",
    "a replica is eligible",
    "a segment is rolled",
    "a snapshot is fetched at a start",
    "a snapshot is installed",
    "a snapshot is written",
    "a stale AlterPartition is refused",
    "a stop was unclean",
    "a torn tail is cut",
    "a truncation goes across segments",
    "acknowledgements fail with their epoch",
    "all leaderships are handed over in a controlled shutdown",
    "an early fencing is undone",
    "an append is refused for want of replicas",
    "an eligible replica leads",
    "an unclean election is held",
    "an ISR grows",
    "an ISR shrinks",
    "a damaged leader is relieved",
    "a damaged replica begins anew",
    "damage is found at a start",
    "damage is found by a read",
    "the last known leader leads uncleanly",
    "the watermark waits for a replica that is about to join",
)
"""What is counted; a campaign that never meets one of them has not tried."""


class Counts:
    """What one run came to."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()
        self.controllers: dict[MetadataFollower, int] = {}  # that each follower had its last records from

    def add(self, name: str, count: int = 1) -> None:
        assert name in RARE, f"{name!r} is none of what is counted"
        self.of[name] += count


Wrap = Callable[[Counts, Callable[..., Any]], Callable[..., Any]]
WRAPS: list[tuple[object, str, Wrap]] = []


def _around(owner: object, method: Callable[..., Any]) -> Callable[[Wrap], Wrap]:
    assert vars(owner)[method.__name__] is method

    def register(wrap: Wrap) -> Wrap:
        WRAPS.append((owner, method.__name__, wrap))
        return wrap

    return register


# storage


@_around(LogFiles, LogFiles.open)
def _(counts: Counts, original: Callable[..., Awaitable[Opened]]) -> Callable[..., Awaitable[Opened]]:
    async def open_log(self: LogFiles, **options: Any) -> Opened:
        opened = await original(self, **options)
        counts.add("a stop was unclean", not opened.recovered.clean)
        counts.add("a torn tail is cut", opened.recovered.cut_bytes > 0)
        counts.add("damage is found at a start", opened.damage is not None)
        return opened

    return open_log


@_around(Log, Log._note_damage)
def _(counts: Counts, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def note_damage(self: Log, *arguments: Any) -> None:
        before = self.damage
        await original(self, *arguments)
        counts.add("damage is found by a read", before is None and self.damage is not None)

    return note_damage


@_around(Log, Log._roll)
def _(counts: Counts, original: Callable[[Log], Any]) -> Callable[[Log], Any]:
    def roll(self: Log) -> Any:
        counts.add("a segment is rolled")
        return original(self)

    return roll


@_around(Segments, Segments.drop_last)
def _(counts: Counts, original: Callable[[Segments], Any]) -> Callable[[Segments], Any]:
    def drop_last(self: Segments) -> Any:
        counts.add("a truncation goes across segments")
        return original(self)

    return drop_last


@_around(GroupCommit, GroupCommit._fail)
def _(counts: Counts, original: Callable[..., Any]) -> Callable[..., Any]:
    def fail(self: GroupCommit, error: OSError) -> Any:
        counts.add("a disk fails", self.failure is None)
        return original(self, error)

    return fail


@_around(ProducerStates, ProducerStates.check)
def _(counts: Counts, original: Callable[..., Duplicate | None]) -> Callable[..., Duplicate | None]:
    def check(self: ProducerStates, header: Any) -> Duplicate | None:
        try:
            duplicate = original(self, header)
        except OutOfOrderSequenceNumber:
            counts.add("a batch out of its producer's order is refused")
            raise
        if duplicate is not None:
            counts.add("a duplicate is answered")
        return duplicate

    return check


@_around(ProducerStates, ProducerStates.load)
def _(counts: Counts, original: Callable[..., None]) -> Callable[..., None]:
    def load(self: ProducerStates, data: bytes, now: float) -> None:
        original(self, data, now)
        counts.add("a producer snapshot is loaded")

    return load


# replication


@_around(Following, Following.reconcile)
def _(counts: Counts, original: Callable[..., Awaitable[bool]]) -> Callable[..., Awaitable[bool]]:
    async def reconcile(self: Following, refusal: Any) -> bool:
        before = self.log.log_end_offset
        again = await original(self, refusal)
        counts.add("a divergence is truncated", self.log.log_end_offset < before)
        return again

    return reconcile


@_around(Readers, Readers.replica_for)
def _(counts: Counts, original: Callable[..., NodeId | None]) -> Callable[..., NodeId | None]:
    def replica_for(self: Readers, *arguments: Any) -> NodeId | None:
        replica = original(self, *arguments)
        counts.add("a reader is sent to a follower", replica is not None)
        return replica

    return replica_for


@_around(Readers, Readers.check_following)
def _(counts: Counts, original: Callable[..., None]) -> Callable[..., None]:
    def check_following(self: Readers, *arguments: Any) -> None:
        try:
            original(self, *arguments)
        except DohleError:
            counts.add("a reader is sent back to its leader")
            raise

    return check_following


@_around(InSyncSet, InSyncSet.committed_as)
def _(counts: Counts, original: Callable[..., bool]) -> Callable[..., bool]:
    def committed_as(self: InSyncSet, members: Any, partition_epoch: int) -> bool:
        before = len(self.committed)
        is_news = original(self, members, partition_epoch)
        counts.add("an ISR grows", len(self.committed) > before)
        counts.add("an ISR shrinks", len(self.committed) < before)
        return is_news

    return committed_as


@_around(Leading, Leading.append)
def _(counts: Counts, original: Callable[..., Any]) -> Callable[..., Any]:
    def append(self: Leading, *arguments: Any) -> Any:
        try:
            return original(self, *arguments)
        except NotEnoughReplicas:
            counts.add("an append is refused for want of replicas")
            raise

    return append


@_around(Leading, Leading.resign)
def _(counts: Counts, original: Callable[..., None]) -> Callable[..., None]:
    def resign(self: Leading, failure: DohleError) -> None:
        counts.add("acknowledgements fail with their epoch", len(self._for_all) > 0)
        counts.add("a damaged leader is relieved", self.log.damage is not None)
        original(self, failure)

    return resign


@_around(Leading, Leading._wait_for_joining)
def _(counts: Counts, original: Callable[..., int]) -> Callable[..., int]:
    def wait_for_joining(self: Leading, candidate: int, now: float) -> int:
        before = [replica.joins_until for replica in self.replicas.values()]
        moves_to = original(self, candidate, now)
        begun = [
            was is None and one.joins_until is not None for was, one in zip(before, self.replicas.values(), strict=True)
        ]
        counts.add("the watermark waits for a replica that is about to join", sum(begun))
        return moves_to

    return wait_for_joining


@_around(PushSession, PushSession._compose_chunk)
def _(counts: Counts, original: Callable[..., Any]) -> Callable[..., Any]:
    def compose_chunk(self: PushSession) -> Any:
        counts.add("a replica catches up by chunks")
        return original(self)

    return compose_chunk


@_around(Replicas, Replicas.begin_anew)
def _(counts: Counts, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def begin_anew(self: Replicas, following: Following) -> None:
        await original(self, following)
        partition = self.partitions.get(following.key)
        counts.add("a damaged replica begins anew", partition is not None and partition.log is not following.log)

    return begin_anew


# clients


@_around(rebalance_plan, rebalance_plan.plan_rebalance)
def _(counts: Counts, original: Callable[..., Awaitable[RebalancePlan]]) -> Callable[..., Awaitable[RebalancePlan]]:
    async def plan_rebalance(*arguments: Any) -> RebalancePlan:
        plan = await original(*arguments)
        counts.add("a rebalance moves replicas", any(set(move.before) != set(move.after) for move in plan.moves))
        return plan

    return plan_rebalance


# brokers


@_around(MetadataFollower, MetadataFollower._apply)
def _(counts: Counts, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def apply(self: MetadataFollower, encoded: bytes) -> None:
        before = counts.controllers.get(self, self.controller_id)
        counts.add("a metadata follower changes its controller", before != self.controller_id)
        counts.controllers[self] = self.controller_id
        await original(self, encoded)

    return apply


@_around(Broker, Broker.leave)
def _(counts: Counts, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    def leads(broker: Broker) -> bool:
        return any(isinstance(partition.role, Leading) for partition in broker.replicas.partitions.values())

    async def leave(self: Broker) -> None:
        led = leads(self)
        await original(self)
        counts.add("all leaderships are handed over in a controlled shutdown", led and not leads(self))

    return leave


@_around(MetadataFollower, MetadataFollower._install)
def _(counts: Counts, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def install(self: MetadataFollower, *arguments: Any) -> None:
        await original(self, *arguments)
        counts.add("a broker takes a snapshot")

    return install


# controllers


@_around(isr, isr._check_epochs)
def _(counts: Counts, original: Callable[..., None]) -> Callable[..., None]:
    def check_epochs(*arguments: Any) -> None:
        try:
            original(*arguments)
        except DohleError:
            counts.add("a stale AlterPartition is refused")
            raise

    return check_epochs


@_around(registration._Returning, registration._Returning.doubt)
def _(counts: Counts, original: Callable[..., Doubt | None]) -> Callable[..., Doubt | None]:
    def doubt(self: object) -> Doubt | None:
        found = original(self)
        counts.add("a member returns with a doubt", found is not None)
        return found

    return doubt


@_around(elections.Revisions, elections.Revisions._note)
def _(counts: Counts, original: Callable[..., Any]) -> Callable[..., Any]:
    def note(self: object, key: PartitionKey, before: PartitionImage, outcome: Any) -> Any:
        became = [node for node in outcome.eligible if node not in before.eligible_replicas]
        counts.add("a replica is eligible", len(became))
        counts.add("an eligible replica leads", outcome.leader in before.eligible_replicas)
        return original(self, key, before, outcome)

    return note


@_around(elections.Revisions, elections.Revisions._alarm_unclean)
def _(counts: Counts, original: Callable[..., None]) -> Callable[..., None]:
    def alarm_unclean(self: object, key: PartitionKey, before: PartitionImage, leader: NodeId) -> None:
        counts.add("an unclean election is held")
        counts.add("the last known leader leads uncleanly", leader == before.last_known_leader)
        original(self, key, before, leader)

    return alarm_unclean


@_around(registration._Returning, registration._Returning.is_out_of_reach)
def _(counts: Counts, original: Callable[..., bool]) -> Callable[..., bool]:
    def is_out_of_reach(self: object) -> bool:
        found = original(self)
        counts.add("a directory is missing and its replicas are not made anew", found)
        return found

    return is_out_of_reach


@_around(FailedDirs, FailedDirs.failed)
def _(counts: Counts, original: Callable[..., None]) -> Callable[..., None]:
    def failed(self: FailedDirs, folder: LogFolder) -> None:
        counts.add("a directory fails and its broker goes on")
        original(self, folder)

    return failed


@_around(FailureDetector, FailureDetector._fence_early)
def _(counts: Counts, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def fence_early(self: FailureDetector, brokers: Sequence[BrokerImage], why: str) -> None:
        counts.add("a broker is fenced early", len(brokers))
        await original(self, brokers, why)

    return fence_early


@_around(Sessions, Sessions.may_unfence)
def _(counts: Counts, original: Callable[..., bool]) -> Callable[..., bool]:
    def may_unfence(self: Sessions, node_id: NodeId, broker_epoch: int, now: float) -> bool:
        may = original(self, node_id, broker_epoch, now)
        served = self._probation(node_id, broker_epoch) is not None and node_id not in self._sessions
        counts.add("an early fencing is undone", may and served)
        return may

    return may_unfence


@_around(FailureDetector, FailureDetector._fence)
def _(counts: Counts, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def fence(self: FailureDetector, brokers: Sequence[BrokerImage], why: str) -> None:
        image, expired = self._controller.committed, list(self.sessions.expired(self._clock.now()))
        silent = [broker for broker in brokers if broker.node_id in expired]
        leaders = [broker for broker in silent if any(image.led_by(broker.node_id))]
        counts.add("a leader's session ends in silence", len(leaders))
        await original(self, brokers, why)

    return fence


@_around(Controller, Controller._leave_office)
def _(counts: Counts, original: Callable[..., None]) -> Callable[..., None]:
    def leave_office(self: Controller) -> None:
        counts.add("a change is left open by a controller that lost its office", len(self._waiters) > 0)
        original(self)

    return leave_office


# the quorum


@_around(quorum, write_vote)
def _(counts: Counts, original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def write(*arguments: Any) -> None:
        name = "a process is killed while it writes its vote"
        counts.add(name)
        try:
            await original(*arguments)
        finally:  # never comes to one that is killed
            counts.add(name, -1)

    return write


@_around(SnapshotFiles, SnapshotFiles.write)
def _(counts: Counts, original: Callable[..., Awaitable[SnapshotId]]) -> Callable[..., Awaitable[SnapshotId]]:
    async def write_snapshot(self: SnapshotFiles, *arguments: Any) -> SnapshotId:
        snapshot = await original(self, *arguments)
        counts.add("a snapshot is written")
        return snapshot

    return write_snapshot


@_around(SnapshotFiles, SnapshotFiles.read)
def _(counts: Counts, original: Callable[..., Awaitable[ClusterImage]]) -> Callable[..., Awaitable[ClusterImage]]:
    async def read(self: SnapshotFiles, snapshot: SnapshotId) -> ClusterImage:
        try:
            return await original(self, snapshot)
        except CorruptLog:
            counts.add("a damaged snapshot is refused")
            raise

    return read


@_around(SnapshotFetch, SnapshotFetch.fetch_from_any)
def _(counts: Counts, original: Callable[..., Awaitable[ClusterImage]]) -> Callable[..., Awaitable[ClusterImage]]:
    async def fetch_from_any(self: SnapshotFetch, *arguments: Any) -> ClusterImage:
        image = await original(self, *arguments)
        counts.add("a snapshot is fetched at a start")
        return image

    return fetch_from_any


@_around(QuorumSnapshots, QuorumSnapshots.install)
def _(counts: Counts, original: Callable[..., Awaitable[ClusterImage]]) -> Callable[..., Awaitable[ClusterImage]]:
    async def install(self: QuorumSnapshots, snapshot: SnapshotId) -> ClusterImage:
        image = await original(self, snapshot)
        counts.add("a snapshot is installed")
        return image

    return install


@_around(Core, Core.send_after_vote)
def _(counts: Counts, original: Callable[..., None]) -> Callable[..., None]:
    def send_after_vote(self: Core, message: Message) -> None:
        if isinstance(message, VoteResponse) and message.pre_vote and not message.granted:
            counts.add("a PreVote is refused")
        original(self, message)

    return send_after_vote


@_around(Leader, Leader.tick)
def _(counts: Counts, original: Callable[..., bool]) -> Callable[..., bool]:
    def tick(self: Leader, core: Core, now: float) -> bool:
        has_majority = original(self, core, now)
        counts.add("a Raft leader without its majority steps down", not has_majority)
        return has_majority

    return tick


@_around(RaftNode, RaftNode.leader_gone)
def _(counts: Counts, original: Callable[..., Any]) -> Callable[..., Any]:
    def leader_gone(self: RaftNode, *arguments: Any) -> Any:
        counts.add("a Raft leader is proven gone")
        return original(self, *arguments)

    return leader_gone


@_around(LogView, LogView.truncate)
def _(counts: Counts, original: Callable[..., None]) -> Callable[..., None]:
    def truncate(self: LogView, to_offset: int) -> None:
        counts.add("a Raft log is truncated")
        original(self, to_offset)

    return truncate
