"""The leader's side of replication: one follower broker's stream (rules 3, 5 of replication).

Batches are pushed as they are appended, those of all partitions gathered into one message, with at most a small window
unacknowledged: while pushes are small the window is one push, freed when the follower has made it durable, which is
what gathers a load of small appends into few messages and few fsyncs; a backlog of bytes may run ahead on receipt.

A feed that cannot be held in memory falls back to catching up: its batches are read from the log, a chunk of each such
feed in turn, and sent when nothing newer waits, as much at once as holds nothing newer up (`catch_up_window`). Small
chunks that were read in one go are sent together: a broker that was restarted lacks a little of each of hundreds of
partitions. Chunks are acknowledged by offset and never hold the window.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

from dohle.broker.catch_up_bounds import CatchUpBound, CatchUpBounds
from dohle.broker.catch_up_window import CHUNK_BYTES, CatchUpWindow
from dohle.broker.leading import Leading
from dohle.broker.push_window import PUSH_BYTES, Lane, PushWindow
from dohle.model.batch import end_offset
from dohle.model.errors import DamagedReplica, DohleError, OffsetOutOfRange, ReplicaNotAvailable
from dohle.model.ids import NodeId, PartitionKey, TopicId
from dohle.model.stragglers import STRAGGLES_S, Stragglers
from dohle.rpc.v1 import common_pb2, replication_pb2
from dohle.runtime.clock import Clock
from dohle.runtime.network import Stream

log = logging.getLogger(__name__)

QUEUE_BYTES = 16 << 20
"""What a follower's feeds hold in memory before they fall back to the log."""
WATERMARK_DELAY_S = 0.5
"""How long a moved watermark waits for a push to travel with,"""
READ_WATERMARK_DELAY_S = 0.005
"""and how long where consumers read the follower."""
_WAITS_S = 1.0
"""Somebody is taken to wait for what the stream carries so long after the last push."""

FollowerStream = Stream[replication_pb2.LeaderMessage, replication_pb2.FollowerMessage]


class Feed:
    """One partition's way to one follower. `next_offset` is the first offset that was not sent or queued.

    Live: appends are queued. Joining: the last chunk is being read, appends after it are queued and must not be sent
    before it. Catching up: nothing is queued.
    """

    def __init__(self, session: PushSession, leading: Leading, subscription: replication_pb2.Subscription) -> None:
        self.session = session
        self.leading = leading
        self.key = PartitionKey(TopicId(subscription.topic_id), subscription.partition)
        self.number = subscription.subscription
        self.disk = subscription.disk
        self.lane: Lane = subscription.disk
        self.next_offset = subscription.position
        self.queue: list[bytes] = []
        self.queued_bytes = 0
        self.queue_start = subscription.position
        self.fills_to = (
            leading.log.log_end_offset if subscription.fills else 0
        )  # what is written meanwhile has no bound
        self.is_live = subscription.position == leading.log.log_end_offset
        self.is_joining = False
        self.last_chunk: _Chunk | None = None  # of a joining feed, once it is read: live begins when this one is sent
        self.unacknowledged: deque[_Chunk] = deque()

    def appended(self, batch: bytes, base_offset: int, next_offset: int) -> None:
        if not (self.is_live or self.is_joining):
            return
        assert base_offset >= self.next_offset, f"{self.key}: {base_offset} was appended below {self.next_offset}"
        if not self.queue:
            self.queue_start = self.next_offset
        self.queue.append(batch)
        self.queued_bytes += len(batch)
        self.next_offset = next_offset
        self.session.queued(self, len(batch))

    def watermark_moved(self, *, is_read: bool) -> None:
        if self.is_live:
            self.session.watermark_moved(self, READ_WATERMARK_DELAY_S if is_read else WATERMARK_DELAY_S)

    def leader_resigned(self) -> None:
        self.session.end(self)

    def fall_back(self) -> None:
        """Gives the queue up: its batches will be read from the log."""
        if self.queue:
            self.next_offset = self.queue_start
        self.queue = []
        self.queued_bytes = 0
        self.is_live = self.is_joining = False
        self.last_chunk = None

    def push(self, message: replication_pb2.LeaderMessage, batches: bytes) -> None:
        """Adds to `message`, in place: a push that is made by itself is copied into it, and back and forth for that."""
        message.pushes.add(
            topic_id=self.key.topic_id,
            partition=self.key.partition,
            leader_epoch=self.leading.leader_epoch,
            subscription=self.number,
            batches=batches,
            high_watermark=self.leading.log.high_watermark,
            log_start_offset=self.leading.log.log_start_offset,
        )


@dataclass(slots=True)
class _Chunk:
    """What is read from the log and not acknowledged."""

    feed: Feed
    batches: bytes
    end_offset: int
    size_bytes: int
    sent_at: float = 0.0


class PushSession:
    """One stream. `find` returns the leading role for a subscription, or raises why there is none (rule 3's order)."""

    def __init__(
        self,
        stream: FollowerStream,
        follower: NodeId,
        broker_epoch: int,
        opening: common_pb2.Hello,
        find: Callable[[NodeId, int, replication_pb2.Subscription], Leading],
        clock: Clock,
        bounds: CatchUpBounds,
    ) -> None:
        self._bounds = bounds
        self._pausing: asyncio.TimerHandle | None = None
        self._stream = stream
        self._follower = follower
        self._broker_epoch = broker_epoch
        self._find = find
        self._clock = clock
        self._feeds: dict[PartitionKey, Feed] = {}
        self._ready: defaultdict[Lane, dict[PartitionKey, Feed]] = defaultdict(dict)  # live, with something queued
        self._stale: dict[PartitionKey, Feed] = {}  # watermark moved since the last push
        self._lagging: dict[
            PartitionKey, Feed
        ] = {}  # neither live nor joining, the one that was read longest ago first
        self._chunks: deque[_Chunk] = deque()  # to be sent
        self._refusals: list[replication_pb2.Refusal] = []
        self._opening: common_pb2.Hello | None = opening
        self._queued_bytes = 0
        self._catch_up_window = CatchUpWindow()
        self._window = PushWindow()
        self._stragglers = defaultdict[int, Stragglers[PartitionKey]](Stragglers)  # by disk
        self._straggling: asyncio.TimerHandle | None = None
        self._watermark_timer: asyncio.TimerHandle | None = None
        self._watermarks_due = False
        self._work = asyncio.Event()
        self._work.set()  # the opening is to be sent
        self._behind = asyncio.Event()

    # what the leaders of this broker say

    def queued(self, feed: Feed, size_bytes: int) -> None:
        self._queued_bytes += size_bytes
        if self._queued_bytes > QUEUE_BYTES:  # by whoever takes longest, and not by who came last
            self._fall_back(max(self._feeds.values(), key=lambda one: one.queued_bytes))
        if feed.is_live:
            self._ready[feed.lane][feed.key] = feed
            if feed.lane != feed.disk:
                self._rejoin_if_prompt(feed, self._clock.now())
            self._wake_if_open()

    def _fall_back(self, feed: Feed) -> None:
        self._queued_bytes -= feed.queued_bytes
        self._ready[feed.lane].pop(feed.key, None)
        feed.fall_back()
        self._lags(feed)

    def _lags(self, feed: Feed) -> None:
        self._lagging[feed.key] = feed
        self._behind.set()

    def watermark_moved(self, feed: Feed, delay_s: float) -> None:
        self._stale[feed.key] = feed
        loop = asyncio.get_running_loop()
        if self._watermark_timer is not None:
            if self._watermark_timer.when() <= loop.time() + delay_s:
                return
            self._watermark_timer.cancel()
        self._watermark_timer = loop.call_later(delay_s, self._watermarks_are_due)

    def _watermarks_are_due(self) -> None:
        self._watermark_timer = None
        if self._stale:
            self._watermarks_due = True
            self._work.set()

    # sending: one task, so that the order of what is composed is the order on the wire

    async def send(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while (message := self._compose()) is not None:
                await self._stream.send(message)

    def _wake_if_open(self) -> None:
        if self._open_lane() is not None:
            self._work.set()
        elif self._straggling is None and any(self._ready.values()):
            self._straggling = asyncio.get_running_loop().call_later(STRAGGLES_S, self._look_for_stragglers)

    def _open_lane(self) -> Lane | None:
        """Returns on which lane a push may go, of those on which something waits."""
        for lane, ready in self._ready.items():
            if ready and (self._window.is_open(lane, 0) or self._is_backlog_open(lane, ready)):
                return lane
        return None

    def _is_backlog_open(self, lane: Lane, ready: dict[PartitionKey, Feed]) -> bool:
        if self._queued_bytes <= PUSH_BYTES:
            return False
        return self._window.is_open(lane, sum(feed.queued_bytes for feed in ready.values()))

    def _look_for_stragglers(self) -> None:
        """A few partitions that keep all the others waiting go on by themselves. If they are many, it is the disk."""
        self._straggling = None
        now = self._clock.now()
        late = defaultdict[int, list[PartitionKey]](list)
        for key in self._window.stragglers(now - STRAGGLES_S):
            late[self._feeds[key].disk].append(key)
        for disk, keys in late.items():
            if self._stragglers[disk].let_go(keys, now):
                for key in keys:
                    self._to_lane(self._feeds[key], key)
                    self._window.set_apart(key)
        self._wake_if_open()

    def _rejoin_if_prompt(self, feed: Feed, now: float) -> None:
        if feed.lane == feed.disk or self._stragglers[feed.disk].is_apart(feed.key, now):
            return
        if self._window.is_open(feed.lane, 0):  # and the others do not wait for what it has under way
            self._to_lane(feed, feed.disk)

    def _to_lane(self, feed: Feed, lane: Lane) -> None:
        if feed.lane == lane:
            return
        if self._ready[feed.lane].pop(feed.key, None) is not None:
            self._ready[lane][feed.key] = feed
        if feed.lane != feed.disk:
            del self._ready[feed.lane]
        feed.lane = lane

    def _compose(self) -> replication_pb2.LeaderMessage | None:
        if self._opening is not None:
            opening, self._opening = self._opening, None
            return replication_pb2.LeaderMessage(opening=opening)
        if self._refusals:
            refusals, self._refusals = self._refusals, []
            return replication_pb2.LeaderMessage(refusals=refusals)
        if (lane := self._open_lane()) is not None:
            return self._compose_push(lane)
        if self._watermarks_due:
            self._watermarks_due = False
            stale, self._stale = self._stale, {}
            if stale:
                message = replication_pb2.LeaderMessage()
                for feed in stale.values():
                    feed.push(message, b"")
                return message
        return self._compose_chunks() if self._chunks else None

    def _compose_push(self, lane: Lane) -> replication_pb2.LeaderMessage:
        message = replication_pb2.LeaderMessage()
        ends: dict[PartitionKey, int] = {}
        gathered = 0
        ready = self._ready[lane]
        for key in list(ready):
            if gathered >= PUSH_BYTES:
                break
            feed = ready.pop(key)
            taken, rest = _take(feed.queue, PUSH_BYTES - gathered, at_least_one=gathered == 0)
            if not taken:
                ready[key] = feed
                break
            batches = taken[0] if len(taken) == 1 else b"".join(taken)
            feed.queue = rest
            feed.queued_bytes -= len(batches)
            ends[key] = feed.next_offset
            if rest:
                ends[key] = feed.queue_start = _base_offset(rest[0])
                ready[key] = feed  # behind the others: no partition starves its neighbours
            self._queued_bytes -= len(batches)
            gathered += len(batches)
            self._stale.pop(key, None)
            feed.push(message, batches)
        for feed in self._stale.values():
            feed.push(message, b"")
        self._stale = {}
        message.push_number = self._window.send(lane, ends, self._clock.now())
        message.backlogged = self._queued_bytes > PUSH_BYTES  # of whichever lanes: saying it costs little
        return message

    def _compose_chunks(self) -> replication_pb2.LeaderMessage:
        message, gathered, now = replication_pb2.LeaderMessage(), 0, self._clock.now()
        while self._chunks and (not gathered or gathered + self._chunks[0].size_bytes <= CHUNK_BYTES):
            chunk = self._chunks.popleft()
            gathered += chunk.size_bytes
            feed = chunk.feed
            if feed.last_chunk is chunk:
                feed.last_chunk = None
                feed.is_joining = False
                feed.is_live = True
                if feed.queue:
                    self._ready[feed.lane][feed.key] = feed
            chunk.sent_at = now
            batches, chunk.batches = chunk.batches, b""
            feed.push(message, batches)
        return message

    # catching up: one task, that reads

    async def catch_up(self) -> None:
        while True:
            await self._behind.wait()
            self._behind.clear()
            while (feed := self._next_to_read()) is not None:
                await self._read_chunk(feed, self._bound_of(feed))

    def _next_to_read(self) -> Feed | None:
        """Returns the feed whose turn it is, of those that no bound makes wait."""
        window = self._catch_up_window
        if not window.is_open or not self._lagging:
            return None
        if rest_s := window.rest_s(self._clock.now()):
            self._look_after(rest_s)
            return None
        pauses_s: list[float] = []
        for key, feed in list(self._lagging.items()):
            bound = self._bound_of(feed)
            pause_s = bound.pause_s() if bound is not None else 0.0
            if not pause_s:
                del self._lagging[key]
                return feed
            pauses_s.append(pause_s)
        if pauses_s:
            self._look_after(min(pauses_s))
        return None

    def _look_after(self, seconds: float) -> None:
        if self._pausing is not None:
            self._pausing.cancel()
        self._pausing = asyncio.get_running_loop().call_later(seconds, self._behind.set)

    def _bound_of(self, feed: Feed) -> CatchUpBound | None:
        if feed.leading.is_adding(self._follower):
            return self._bounds.of_moves_to(self._follower)
        return self._bounds.of_fills_of(self._follower) if feed.next_offset < feed.fills_to else None

    async def _read_chunk(self, feed: Feed, bound: CatchUpBound | None) -> None:
        most_bytes = self._catch_up_window.chunk_bytes
        if bound is not None:
            most_bytes = bound.chunk_bytes(most_bytes)
        leader_log = feed.leading.log
        start, end = feed.next_offset, leader_log.log_end_offset
        # whatever is appended while the read runs is queued, so that reaching `end` is catching up
        feed.is_joining = True
        feed.next_offset = end
        try:
            batches = b""
            if start < end:
                batches = await leader_log.read(start, most_bytes, up_to=end, for_replica=True)
        except DohleError as failure:
            if self._feeds.get(feed.key) is not feed:
                return
            error = failure
            if isinstance(failure, DamagedReplica):
                error = feed.leading.found_damage(failure, self._clock.now())
            self.end(feed)
            self._refuse(feed.key, feed.number, error, leader_log.first_offset)
            return
        if self._feeds.get(feed.key) is not feed:
            return
        if bound is not None:
            bound.spend(len(batches))
        reached = end_offset(batches) if batches else start
        chunk = _Chunk(feed, batches, reached, len(batches))
        if feed.is_joining and reached == end:
            feed.last_chunk = chunk
        else:
            self._queued_bytes -= feed.queued_bytes
            feed.fall_back()
            feed.next_offset = reached
            self._lags(feed)
        feed.unacknowledged.append(chunk)
        self._catch_up_window.read(chunk.size_bytes, reached - start)
        self._catch_up_window.lacks(self._lacked_records, self._clock.now())
        self._chunks.append(chunk)
        self._work.set()

    def _lacked_records(self) -> int:
        return sum(feed.leading.log.log_end_offset - feed.next_offset for feed in self._lagging.values())

    # what the follower says

    async def receive(self) -> None:
        """Returns when the follower has ended the stream."""
        while (message := await self._stream.receive()) is not None:
            now = self._clock.now()
            for acknowledgement in message.acknowledgements:
                self._acknowledged(acknowledgement, now)
            self._window.arrived(message.received_push, message.durable_push)
            for unsubscription in message.unsubscriptions:
                feed = self._feeds.get(PartitionKey(TopicId(unsubscription.topic_id), unsubscription.partition))
                if feed is not None and feed.number == unsubscription.subscription:
                    self.end(feed)
            for subscription in message.subscriptions:
                self._subscribe(subscription, now)
            self._wake_if_open()

    def _acknowledged(self, acknowledgement: replication_pb2.Acknowledgement, now: float) -> None:
        """Of an earlier subscription none comes once the next has begun: a stream keeps its order.

        Unless it comes on an earlier stream: its feed is one that `Leading` has let go of.
        """
        feed = self._feeds.get(PartitionKey(TopicId(acknowledgement.topic_id), acknowledgement.partition))
        if feed is None:
            return
        sent_at = self._window.acknowledged(feed.key, acknowledgement.durable_end)
        if sent_at is not None:
            if self._stragglers[feed.disk].done(feed.key, sent_at, now):
                log.info("%s is slow at node %d: it is pushed apart", feed.leading.log.name, self._follower)
            self._rejoin_if_prompt(feed, now)
        while feed.unacknowledged and feed.unacknowledged[0].end_offset <= acknowledgement.durable_end:
            chunk = feed.unacknowledged.popleft()
            self._catch_up_window.durable(
                chunk.size_bytes, chunk.sent_at, now, others_wait=now - self._window.sent_at < _WAITS_S
            )
            self._behind.set()
        feed.leading.acknowledged(self._follower, feed, acknowledgement.durable_end, acknowledgement.durable_start, now)

    def _subscribe(self, subscription: replication_pb2.Subscription, now: float) -> None:
        key = PartitionKey(TopicId(subscription.topic_id), subscription.partition)
        former = self._feeds.get(key)
        if former is not None:
            self.end(former)
        number = subscription.subscription
        try:
            leading = self._find(self._follower, self._broker_epoch, subscription)
        except DohleError as error:
            self._refuse(key, number, error, -1)
            return
        if leading.has_newer(self._follower, self._broker_epoch, number):
            return  # by a stream that has taken this one's place
        leader_log = leading.log
        if subscription.damaged:
            begin_anew = leading.told_of_damage(self._follower, self._broker_epoch, number, now)
            self._refuse(key, number, ReplicaNotAvailable("the replica is damaged"), -1, begin_anew=begin_anew)
            return
        # from the first batch that is there: a replica that begins anew has to begin where a batch does
        first, last = leader_log.first_offset, leader_log.log_end_offset
        if subscription.last_epoch >= 0:
            epoch, end = leader_log.end_offset_for_epoch(subscription.last_epoch)
            if epoch != subscription.last_epoch or end < subscription.position:
                self._diverging(key, number, epoch, end)
                return
        else:  # an empty log never diverges (amendment 10); it may have let go what the leader has otherwise
            last = first
        if not first <= subscription.position <= last:
            outside = OffsetOutOfRange(
                f"the replica ends at {subscription.position} and the leader's log spans"
                f" {first} to {leader_log.log_end_offset}"
            )
            self._refuse(key, number, outside, first)
            return
        feed = Feed(self, leading, subscription)
        self._feeds[key] = feed
        self._stale[key] = feed  # so that the follower learns the watermark even if nothing is appended
        self._watermarks_due = True
        self._work.set()
        durable_end = min(subscription.durable_end, subscription.position)
        durable_start = subscription.durable_start if subscription.HasField("durable_start") else -1
        leading.subscribed(self._follower, self._broker_epoch, number, durable_end, durable_start, feed, now)
        if not feed.is_live:
            self._lags(feed)

    def _diverging(self, key: PartitionKey, number: int, epoch: int, end: int) -> None:
        self._refusals.append(
            replication_pb2.Refusal(
                topic_id=key.topic_id,
                partition=key.partition,
                subscription=number,
                diverging_epoch=epoch,
                diverging_end_offset=end,
            )
        )
        self._work.set()

    def _refuse(
        self, key: PartitionKey, number: int, error: DohleError, log_start_offset: int, *, begin_anew: bool = False
    ) -> None:
        self._refusals.append(
            replication_pb2.Refusal(
                topic_id=key.topic_id,
                partition=key.partition,
                subscription=number,
                failure=common_pb2.Failure(code=error.code, message=error.message),
                log_start_offset=log_start_offset,
                begin_anew=begin_anew,
            )
        )
        self._work.set()

    def end(self, feed: Feed) -> None:
        """Ends one partition's feed; what it queued is dropped."""
        if self._feeds.get(feed.key) is feed:
            del self._feeds[feed.key]
            self._lagging.pop(feed.key, None)
        self._to_lane(feed, feed.disk)
        self._ready[feed.lane].pop(feed.key, None)
        self._stale.pop(feed.key, None)
        self._window.forget(feed.key)
        self._stragglers[feed.disk].forget(feed.key)
        self._queued_bytes -= feed.queued_bytes
        feed.fall_back()
        if feed.unacknowledged:
            self._chunks = deque(chunk for chunk in self._chunks if chunk.feed is not feed)
            self._catch_up_window.forgotten(sum(chunk.size_bytes for chunk in feed.unacknowledged))
            feed.unacknowledged.clear()
            self._behind.set()
        feed.leading.unsubscribed(self._follower, feed)

    def close(self) -> None:
        """The stream is over: every feed ends."""
        for timer in (self._watermark_timer, self._pausing, self._straggling):
            if timer is not None:
                timer.cancel()
        for feed in list(self._feeds.values()):
            self.end(feed)


def _take(queue: list[bytes], most_bytes: int, *, at_least_one: bool) -> tuple[list[bytes], list[bytes]]:
    """Splits `queue` into what fits and the rest."""
    count = total = 0
    for batch in queue:
        if total + len(batch) > most_bytes and not (at_least_one and count == 0):
            break
        total += len(batch)
        count += 1
    return queue[:count], queue[count:]


def _base_offset(batch: bytes) -> int:
    return int.from_bytes(batch[:8], "big", signed=True)
