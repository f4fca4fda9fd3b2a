"""A partition's leader, for one leader epoch (rules 1, 3, 6-10, 16, 17 and 19 of replication).

Kept at every moment:

- the high watermark is at most the least counted end of the maximal in-sync set, and only moves forward;
- it does not move while the committed set is smaller than min(min.insync.replicas, replication factor);
- a replica's ends are those of its newest subscription;
- whoever is known to be damaged, the leader itself included, is not proposed as a member while another is sound.

It does no I/O but appends to its log; what is to be sent goes to its subscribers, what is to be asked of the controller
to `ask_controller`. Streams, time-outs and the controller's answers are driven from outside.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from dohle.broker.in_sync import InSyncSet, Proposal
from dohle.broker.lag import AppendHistory
from dohle.broker.waiting import Acknowledgements, Produced
from dohle.model.batch import Bytes
from dohle.model.errors import (
    CorruptMessage,
    DamagedReplica,
    DohleError,
    InvalidRequiredAcks,
    NotEnoughReplicas,
    NotEnoughReplicasAfterAppend,
    NotLeaderOrFollower,
    RequestTimedOut,
)
from dohle.model.ids import NodeId
from dohle.model.image import PartitionImage
from dohle.model.produced import validate_placed_batch, validate_produced_batch
from dohle.storage.log import Log

log = logging.getLogger(__name__)

ACKS_ALL = -1
ACKS_LEADER = 1
ACKS_NONE = 0

NOBODY_ELSE = "no other replica is in sync and alive: it cannot be read before one is, all else can"
JOIN_WAIT_S = 0.1
"""How long the watermark waits for a replica that is about to join (amendment 8)."""
JOIN_DISTANCE_BYTES = 1 << 20
"""Within this distance of the watermark a replica is about to join."""
READ_S = 600.0
"""For how long a follower counts as read by whom was sent there; consumers ask twice as often."""


class Subscriber(Protocol):
    """A follower's end of one partition, on its stream."""

    @property
    def is_live(self) -> bool:
        """Whether the follower was sent all that the log has."""
        ...

    def appended(self, batch: bytes, base_offset: int, next_offset: int) -> None:
        """Takes a batch to push."""
        ...

    def watermark_moved(self, *, is_read: bool) -> None:
        """Takes news of the watermark; `is_read`: consumers wait for it there."""
        ...

    def leader_resigned(self) -> None: ...


@dataclass(slots=True)
class Replica:
    """What the leader knows of one follower; nothing (-1) before its first subscription in this epoch."""

    broker_epoch: int = -1
    subscription: int = -1
    durable_end: int = -1
    durable_start: int = -1  # also of one whose version does not say
    subscriber: Subscriber | None = None
    joins_until: float | None = None  # how long the watermark waits for it to join; None: it has not waited yet
    read_until: float = 0.0  # consumers that were sent there may read it until then
    damaged: bool = False  # as it says itself


@dataclass(frozen=True, slots=True)
class LeaderTerms:
    """What a leader is bound to, from configuration and metadata."""

    me: NodeId
    lag_time_max_s: float
    is_live: Callable[[NodeId], bool]  # registered and not fenced, by the image
    may_join: Callable[[NodeId, int], bool]  # of that broker epoch, unfenced and not shutting down, by the image
    ask_controller: Callable[[Proposal], None]
    check_room: Callable[[Log], None]  # raises DiskFull where producers are to write nothing
    watermark_moved: Callable[[], None]  # or the log's start: readers want to know
    look_again: Callable[[float], None]  # calls `advance` after so many seconds


class Leading:
    """The role of leader. `start` is where the epoch begins in the log."""

    def __init__(self, log: Log, partition: PartitionImage, terms: LeaderTerms, now: float) -> None:
        assert partition.leader == terms.me
        self.log = log
        self.leader_epoch = partition.leader_epoch
        self.epoch_start = log.start_epoch(partition.leader_epoch)
        self.in_sync = InSyncSet(partition.in_sync_replicas, partition.partition_epoch)
        self._terms = terms
        self._history = AppendHistory(now, log.log_end_offset, terms.lag_time_max_s / 100)
        self._has_alarmed = False
        self._for_all = Acknowledgements[Produced]()
        self._for_leader = Acknowledgements[Produced]()
        self._for_start = Acknowledgements[int]()
        self._partition = partition
        self.replicas = {node_id: Replica() for node_id in partition.assigned_replicas if node_id != terms.me}

    @property
    def assigned_replicas(self) -> tuple[NodeId, ...]:
        return self._partition.assigned_replicas

    @property
    def min_in_sync(self) -> int:
        """The effective minimum (amendment 12)."""
        return min(self.log.config.min_insync_replicas, self._partition.replication_factor)

    @property
    def live_in_sync(self) -> int:
        """How many members of the committed set count: a fenced one may stay, but is not in sync (amendment 1)."""
        return len(self.in_sync.committed) - len(self._fenced())

    def _fenced(self) -> list[NodeId]:
        return [n for n in self.in_sync.committed if n != self._terms.me and not self._terms.is_live(n)]

    @property
    def watermark_is_current(self) -> bool:
        """Whether the watermark has reached this epoch's start; "latest" means nothing before (rule 17)."""
        return self.log.high_watermark >= self.epoch_start

    @property
    def is_idle(self) -> bool:
        """Whether no time-out can come due: nothing waits, every member has everything, and nobody else is about to
        join: of the others none follows, as while a broker is down."""
        log = self.log
        if log.damage is not None or self._for_all or self._for_leader or self._for_start:
            return False
        end, members = log.log_end_offset, self.in_sync.committed
        for node_id, replica in self.replicas.items():  # four times a second for thousands of partitions
            if node_id in members:
                if replica.durable_end < end:
                    return False
            elif replica.subscriber is not None or replica.damaged:
                return False
        return True

    # appends

    def append(
        self, batch: Bytes, acks: int, deadline: float, now: float, wall_ms: int, *, keeps_offset: bool = False
    ) -> asyncio.Future[Produced] | None:
        """Appends one produced batch and returns its acknowledgement, or None for acks=0.

        With `keeps_offset` it is appended at its own offset or not at all: OffsetOutOfRange.

        Raises, with nothing appended: CorruptMessage, InvalidRecord, MessageTooLarge and the like for a bad batch,
        NotEnoughReplicas, the errors of sequences, StorageFailure when the disk is full, or nearly, or fails.
        """
        if acks not in (ACKS_ALL, ACKS_LEADER, ACKS_NONE):
            raise InvalidRequiredAcks(f"acks is {acks}; it must be -1 (all), 1 (the leader) or 0 (no answer)")
        if keeps_offset:
            header = validate_placed_batch(batch, self.log.config, self.log.log_end_offset)
        else:
            header = validate_produced_batch(batch, self.log.config, wall_ms)
        if acks == ACKS_ALL and self.live_in_sync < self.min_in_sync:
            raise NotEnoughReplicas(
                f"{self.live_in_sync} of {self._partition.replication_factor} replicas are in sync and"
                f" min.insync.replicas is {self.min_in_sync}; nothing was written"
            )
        duplicate = self.log.producers.check(header)
        if duplicate is not None:
            produced = Produced(duplicate.base_offset, -1, self.log.log_start_offset)
            return self._acknowledge(acks, duplicate.last_offset + 1, deadline, produced)
        self._terms.check_room(self.log)
        appended = self.log.append_as_leader(batch, self.leader_epoch, wall_ms)
        self._history.note(now, appended.next_offset, len(appended.batch))
        for replica in self.replicas.values():
            if replica.subscriber is not None:
                replica.subscriber.appended(appended.batch, appended.base_offset, appended.next_offset)
        produced = Produced(appended.base_offset, appended.log_append_time_ms, self.log.log_start_offset)
        future = self._acknowledge(acks, appended.next_offset, deadline, produced)
        if not self.replicas or self.log.counted_end == appended.next_offset:
            self.advance(now)
        return future

    def committed(self, end_offset: int, deadline: float) -> asyncio.Future[Produced]:
        """Returns what is done, or fails, as the acknowledgement of an append would that ends at `end_offset`."""
        return self._for_all.add(end_offset, deadline, Produced(end_offset, -1, self.log.log_start_offset))

    def _acknowledge(
        self, acks: int, end_offset: int, deadline: float, produced: Produced
    ) -> asyncio.Future[Produced] | None:
        if acks == ACKS_NONE:
            return None
        waiting = self._for_all if acks == ACKS_ALL else self._for_leader
        future = waiting.add(end_offset, deadline, produced)
        self._complete()
        return future

    # what followers say

    def has_newer(self, node_id: NodeId, broker_epoch: int, subscription: int) -> bool:
        """Whether this incarnation of the follower has subscribed after `subscription`."""
        replica = self.replicas[node_id]
        return replica.broker_epoch == broker_epoch and replica.subscription > subscription

    def subscribed(
        self,
        node_id: NodeId,
        broker_epoch: int,
        subscription: int,
        durable_end: int,
        durable_start: int,
        subscriber: Subscriber,
        now: float,
    ) -> None:
        """Begins a subscription that was found in order; it replaces all that was known of the replica's ends."""
        self.replicas[node_id] = Replica(broker_epoch, subscription, durable_end, durable_start, subscriber)
        self._replica_moved(node_id, now)

    def told_of_damage(self, node_id: NodeId, broker_epoch: int, subscription: int, now: float) -> bool:
        """A replica is damaged, and wants to begin anew in place of subscribing. Returns whether it may.

        It may when the controller cannot have it in the in-sync set any more, nor among the eligible: what it holds
        counts until then. Nor may it as long as this log is damaged as well, for then nobody knows which of the two is
        the better one.
        """
        self.replicas[node_id] = Replica(broker_epoch, subscription, damaged=True)
        self._change_in_sync(now)
        eligible = self._eligible()
        if eligible is None or self.log.damage is not None:
            return False
        return node_id not in (*self.in_sync.maximal, *eligible)

    def unsubscribed(self, node_id: NodeId, subscriber: Subscriber) -> None:
        """Ends a subscription, unless a newer one has taken its place; the replica's lag goes on counting."""
        replica = self.replicas[node_id]
        if replica.subscriber is subscriber:
            replica.subscriber = None

    def acknowledged(
        self, node_id: NodeId, subscriber: Subscriber, durable_end: int, durable_start: int, now: float
    ) -> None:
        """Takes a follower's durable ends; an older subscription's are ignored."""
        replica = self.replicas[node_id]
        if replica.subscriber is not subscriber:
            return
        if durable_end > replica.durable_end or durable_start > replica.durable_start:
            replica.durable_end = max(replica.durable_end, min(durable_end, self.log.log_end_offset))
            replica.durable_start = max(replica.durable_start, durable_start)
            self._replica_moved(node_id, now)

    def _replica_moved(self, node_id: NodeId, now: float) -> None:
        self._let_join(node_id, now)
        self._history.forget(min(replica.durable_end for replica in self.replicas.values()))
        self.advance(now)

    def _let_join(self, node_id: NodeId, now: float) -> None:
        """Rule 8."""
        if (
            node_id not in self.in_sync.committed
            and self.replicas[node_id].durable_end >= self.log.high_watermark
            and self._may_join(node_id, now)
        ):
            self._ask(self.in_sync.propose_join(node_id))

    def _may_join(self, node_id: NodeId, now: float) -> bool:
        """Whether a replica that has caught up is taken in; it must not bring back what was deleted, once it leads.

        One that stands still has caught up with the watermark that it holds back: it would be taken in whenever it was
        taken out, and nothing would be acknowledged. So who would be taken out at once is not taken in.
        """
        replica = self.replicas[node_id]
        return (
            replica.subscriber is not None
            and replica.durable_end >= self.epoch_start
            and (replica.durable_start >= self.log.durable_start or replica.durable_start < 0)
            and self._lag_s(replica, now) <= self._terms.lag_time_max_s
            and self._terms.may_join(node_id, replica.broker_epoch)
        )

    def sends_reader_to(self, near: Collection[NodeId], fetch_offset: int, now: float) -> NodeId | None:
        """Returns which of the followers `near` a consumer is to read from `fetch_offset` on, if any can be (KIP-392).

        It is in sync and follows at this moment, and its broker could lead. Of several the first as they are assigned:
        partitions begin with different ones.
        """
        for node_id in self._partition.assigned_replicas:
            replica = self.replicas.get(node_id)
            if (
                replica is not None
                and node_id in near
                and node_id in self.in_sync.committed
                and replica.subscriber is not None
                and replica.durable_end >= fetch_offset
                and self._terms.may_join(node_id, replica.broker_epoch)
            ):
                if now >= replica.read_until:
                    replica.subscriber.watermark_moved(is_read=True)  # it may have waited long until now
                replica.read_until = now + READ_S
                return node_id
        return None

    # what the controller says

    def reassigned(self, partition: PartitionImage) -> None:
        """Takes the replicas that metadata has now; none has gone, since that ends the leader epoch (rule 14)."""
        self._partition = partition
        for node_id in partition.assigned_replicas:
            if node_id != self._terms.me:
                self.replicas.setdefault(node_id, Replica())

    def is_adding(self, node_id: NodeId) -> bool:
        """Whether a reassignment brings this replica."""
        return node_id in self._partition.adding_replicas

    def isr_committed(self, members: tuple[NodeId, ...], partition_epoch: int, now: float) -> None:
        """Takes a committed in-sync set of this leader epoch, by answer or by metadata."""
        if self.in_sync.committed_as(members, partition_epoch):
            self.look_again(now)

    def isr_refused(self, proposal: Proposal, now: float) -> None:
        """The controller certainly did not commit `proposal`."""
        self.in_sync.refused(proposal)
        self.advance(now)

    def look_again(self, now: float) -> None:
        """What decides on joining or on the watermark has changed: the committed set, a broker's state, the topic."""
        self._change_in_sync(now)
        self.advance(now)

    def _change_in_sync(self, now: float) -> None:
        damaged = self._damaged_members()
        if damaged:
            self._ask(self.in_sync.propose_without(damaged))
        for node_id in sorted(self.replicas):
            self._let_join(node_id, now)
        fenced = self._fenced()
        if fenced and self.live_in_sync >= self.min_in_sync:  # they stayed for want of others (amendment 1)
            self._ask(self.in_sync.propose_leave(fenced, at_least=self.min_in_sync))

    # damage

    def _damaged_members(self) -> list[NodeId]:
        """Who is to leave the in-sync set for damage: this replica only where another one can lead."""
        damaged = [node_id for node_id, replica in self.replicas.items() if replica.damaged]
        found = [node_id for node_id in (*self.in_sync.committed, *(self._eligible() or ())) if node_id in damaged]
        return [*found, self._terms.me] if self.log.damage is not None and self._successors() else found

    def _eligible(self) -> tuple[NodeId, ...] | None:
        """Who is eligible by the newest change of the partition; None while metadata has not told of it."""
        is_known = self._partition.partition_epoch >= self.in_sync.partition_epoch
        return self._partition.eligible_replicas if is_known else None

    def _successors(self) -> list[NodeId]:
        return [
            node_id
            for node_id in self.in_sync.committed
            if node_id != self._terms.me and self._terms.is_live(node_id) and not self.replicas[node_id].damaged
        ]

    def found_damage(self, failure: DamagedReplica, now: float) -> DohleError:
        """A read has come upon damage. Asks to be relieved of the lead, and returns what to tell whoever reads."""
        self._change_in_sync(now)
        if self._successors():
            return NotLeaderOrFollower(f"{failure.message}; another replica is about to lead")
        if not self._has_alarmed:
            self._has_alarmed = True
            log.error("%s; this replica leads on, since no other is in sync and alive: the rest can be read", failure)
        return CorruptMessage(f"{failure.message}; {NOBODY_ELSE}")

    # the watermark

    def advance(self, now: float) -> None:
        """Moves the watermark as far as rule 6 lets it, and completes what waited for it."""
        if self.live_in_sync >= self.min_in_sync:
            candidate = self.log.counted_end
            for node_id in self.in_sync.maximal:
                if node_id != self._terms.me:
                    candidate = min(candidate, self.replicas[node_id].durable_end)
            if candidate > self.log.high_watermark:
                candidate = self._wait_for_joining(candidate, now)
            if candidate > self.log.high_watermark:
                self.log.advance_high_watermark(candidate)
                self._terms.watermark_moved()
                for replica in self.replicas.values():
                    if replica.subscriber is not None:
                        replica.subscriber.watermark_moved(is_read=now < replica.read_until)
        self._complete()

    # its beginning

    def begin_at(self, offset: int, *, is_awaited: bool = False) -> None:
        """Lets the log begin at `offset`, which the watermark has passed; followers hear of it, and do the same."""
        assert offset <= self.log.high_watermark
        self.log.advance_log_start(offset)
        self._terms.watermark_moved()
        for replica in self.replicas.values():
            if replica.subscriber is not None:
                replica.subscriber.watermark_moved(is_read=is_awaited)  # pushes that tell of one tell of both

    def delete_records(self, offset: int, deadline: float) -> asyncio.Future[int]:
        """Deletes what lies below `offset`, which the watermark has passed. Returns where the log begins, once nothing
        brings that back: no death of nodes, and no election but an unclean one."""
        if offset > self.log.log_start_offset:
            self.begin_at(offset, is_awaited=True)
        future = self._for_start.add(offset, deadline, self.log.log_start_offset)
        self._complete()
        return future

    def _sure_start(self) -> int:
        """Returns where the logs begin durably of all that live, as Kafka has it, or may lead all the same."""
        return min([self.log.durable_start, *self._starts_to_wait_for().values()])

    def _starts_to_wait_for(self) -> dict[NodeId, int]:
        eligible = self._eligible()
        if eligible is None:
            return {self._terms.me: -1}  # a change of the in-sync set whose outcome is not known
        leaders, replicas = (*self.in_sync.maximal, *eligible), self.replicas.items()
        return {n: one.durable_start for n, one in replicas if n in leaders or self._terms.is_live(n)}

    def _wait_for_joining(self, candidate: int, now: float) -> int:
        maximal = self.in_sync.maximal
        for node_id, replica in self.replicas.items():
            if node_id in maximal:
                replica.joins_until = None
                continue
            if replica.durable_end >= candidate or not self._may_join(node_id, now):
                continue
            if replica.subscriber is None or not replica.subscriber.is_live:
                continue  # it is not about to join while what it lacks waits for its turn among hundreds
            behind = self._history.bytes_between(replica.durable_end, self.log.high_watermark)
            if behind is None or behind > JOIN_DISTANCE_BYTES:
                continue
            if replica.joins_until is None:
                replica.joins_until = now + JOIN_WAIT_S
                self._terms.look_again(JOIN_WAIT_S)
            if now < replica.joins_until:
                candidate = max(replica.durable_end, self.log.high_watermark)
        return candidate

    def _complete(self) -> None:
        self._for_leader.reached(self.log.counted_end)
        if self._for_start:
            self._for_start.reached(self._sure_start())
        if not self._for_all:
            return
        failure: DohleError | None = None
        if self.live_in_sync < self.min_in_sync:
            failure = NotEnoughReplicasAfterAppend(
                f"written, but {self.live_in_sync} replicas are in sync and min.insync.replicas is {self.min_in_sync}"
            )
        # rule 19: a watermark left by an older epoch acknowledges nothing
        if self.log.high_watermark >= self.epoch_start:
            self._for_all.reached(self.log.high_watermark, failure)

    # time

    def tick(self, now: float) -> None:
        """Takes out replicas that lag too long (rule 9), and fails what has waited past its deadline.

        Asks again for what could not be asked when its reason came up: another change was in flight, or it was refused.
        """
        lagging = [
            node_id
            for node_id in self.in_sync.committed
            if node_id != self._terms.me
            and self._terms.is_live(node_id)
            and self._lag_s(self.replicas[node_id], now) > self._terms.lag_time_max_s
        ]
        if lagging:
            self._ask(self.in_sync.propose_leave(lagging, at_least=self.min_in_sync + len(self._fenced())))
        self._change_in_sync(now)
        late = RequestTimedOut("the replicas did not acknowledge in time; the records are in the leader's log")
        self._for_all.expire(now, late)
        self._for_leader.expire(now, late)
        if self._for_start:
            self._for_start.expire(now, self._deletion_is_late())

    def _deletion_is_late(self) -> DohleError:
        start = self.log.log_start_offset
        behind = [n for n, durable in self._starts_to_wait_for().items() if durable < start and n != self._terms.me]
        whose = f"nodes {', '.join(map(str, behind))}" if behind else "this leader's disk"
        return RequestTimedOut(
            f"this leader shows nothing below {start} any more, but {whose} did not confirm it in time: it goes on, and"
            " until it is done a new leader may show the records again; ask again to be sure"
        )

    def lags_s(self, now: float) -> dict[NodeId, float]:
        """Returns each follower's lag, for people and metrics."""
        return {node_id: self._lag_s(replica, now) for node_id, replica in self.replicas.items()}

    def _lag_s(self, replica: Replica, now: float) -> float:
        # of a log that is empty nobody lacks anything, subscribed or not
        return self._history.lag_s(max(replica.durable_end, self.log.log_start_offset), now)

    def _ask(self, proposal: Proposal | None) -> None:
        if proposal is not None:
            self._terms.ask_controller(proposal)

    def resign(self, failure: DohleError) -> None:
        """Ends the epoch: every waiting acknowledgement fails with `failure`."""
        self._for_all.fail_all(failure)
        self._for_leader.fail_all(failure)
        self._for_start.fail_all(failure)
        for replica in self.replicas.values():
            subscriber, replica.subscriber = replica.subscriber, None
            if subscriber is not None:
                subscriber.leader_resigned()
