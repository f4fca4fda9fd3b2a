"""Where rare things are seen that happen to controllers: what they decide, their quorum, its snapshots."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from dohle.broker.failed_dirs import FailedDirs
from dohle.controller import elections, isr, registration, topics, waiting_for_room
from dohle.controller.controller import Controller
from dohle.controller.failure_detector import FailureDetector
from dohle.controller.quorum_snapshots import QuorumSnapshots
from dohle.controller.sessions import Sessions
from dohle.controller.snapshot_fetch import SnapshotFetch
from dohle.controller.snapshot_files import SnapshotFiles
from dohle.controller.vote_file import write_vote
from dohle.model.errors import CorruptLog, DohleError
from dohle.model.ids import NodeId, PartitionKey, SnapshotId
from dohle.model.image import BrokerImage, ClusterImage, PartitionImage
from dohle.model.metadata import Doubt
from dohle.raft.core import Core
from dohle.raft.leader import Leader
from dohle.raft.log_view import LogView
from dohle.raft.messages import Message, VoteResponse
from dohle.raft.node import RaftNode
from dohle.storage.log_folder import LogFolder
from dohle.testing.invariants.rarities import Counts, Wrapped, around

WRAPS: list[Wrapped] = []

_around = partial(around, WRAPS)


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


@_around(topics, topics._placed)
def _(counts: Counts, original: Callable[..., Any]) -> Callable[..., Any]:
    def placed(image: ClusterImage, *arguments: Any) -> Any:
        found = original(image, *arguments)
        beside = any(broker.active and broker.draining for broker in image.brokers_in_order())
        counts.add("new replicas are placed beside a draining broker", beside)
        return found

    return placed


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


@_around(elections, elections._leads_uncleanly)
def _(counts: Counts, original: Callable[..., str]) -> Callable[..., str]:
    def leads_uncleanly(before: PartitionImage, leader: NodeId) -> str:
        counts.add("an unclean election is held")
        counts.add("the last known leader leads uncleanly", leader == before.last_known_leader)
        return original(before, leader)

    return leads_uncleanly


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


@_around(waiting_for_room, write_vote)
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
