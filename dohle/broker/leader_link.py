"""The follower's side of replication: one stream to each broker that leads something this broker follows.

The link subscribes for every partition that it was handed, appends what is pushed, and acknowledges what its logs
count, gathered: one message after each round of the group commit. A broken stream is dialled again with a growing
pause, and every partition then subscribes anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

from dohle.broker.following import NO_SUBSCRIPTION, Following
from dohle.broker.surroundings import Surroundings
from dohle.model.errors import (
    CorruptMessage,
    DamagedReplica,
    DohleError,
    InvalidRecord,
    NetworkException,
    OffsetOutOfRange,
    StorageFailure,
)
from dohle.model.ids import NodeId, PartitionKey, TopicId
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import replication_pb2
from dohle.runtime.network import Address, Lane, Stream
from dohle.storage.room import DiskFull

log = logging.getLogger(__name__)

RETRY_FIRST_S = 0.02
RETRY_MOST_S = 0.5
DAMAGE_RETRY_S = 5.0
"""Before a leader that cannot read what comes next is asked again: only another leader, or a person, can help."""

FOLLOW = methods_of(replication_pb2.DESCRIPTOR.services_by_name["Replication"])["Follow"]
LeaderStream = Stream[replication_pb2.FollowerMessage, replication_pb2.LeaderMessage]


@dataclass(slots=True)
class _Unsynced:
    """A push whose batches are appended and not yet counted."""

    push_number: int
    ends: list[tuple[Following, int, int]]  # whose, in which subscription, up to where

    @property
    def is_durable(self) -> bool:
        """Whether everybody counts it who still follows in that subscription."""
        return all(
            following.subscription != subscription or following.log.counted_end >= end
            for following, subscription, end in self.ends
        )


@dataclass(slots=True)
class _ToSay:
    """What the next message will carry."""

    subscribe: dict[PartitionKey, Following] = field(default_factory=dict)
    unsubscribe: list[replication_pb2.Unsubscription] = field(default_factory=list)
    touched: dict[PartitionKey, Following] = field(default_factory=dict)  # may have something to acknowledge


class LeaderLink:
    """The stream to one leader broker, and the partitions followed through it."""

    def __init__(
        self,
        leader: NodeId,
        address: Address,
        broker_epoch: int,
        numbers: Iterator[int],
        surroundings: Surroundings,
        mend: Callable[[Following, Address], Coroutine[Any, Any, None]],
    ) -> None:
        self.leader = leader
        self.address = address
        self._surroundings = surroundings
        self._mend = mend
        self._broker_epoch = broker_epoch
        self._numbers = numbers  # of subscriptions: ascending over all links of this incarnation
        self._stream: LeaderStream | None = None
        self._partitions: dict[PartitionKey, Following] = {}
        self._to_say = _ToSay()
        self._something_to_say = asyncio.Event()
        self._unsynced: list[_Unsynced] = []
        self._received_push = 0
        self._durable_push = 0
        self._reckoning = False
        self._task = surroundings.tasks.spawn(self._run(), f"link to {leader}")

    def __len__(self) -> int:
        return len(self._partitions)

    def follow(self, following: Following) -> None:
        """Begins to replicate a partition from this leader."""
        self._partitions[following.key] = following
        following.log.on_durable = self.counted
        self._subscribe_soon(following)

    def leave(self, following: Following) -> None:
        """Ends it; the caller then awaits `following.settled`."""
        if self._partitions.get(following.key) is not following:
            return
        del self._partitions[following.key]
        self._unsubscribe(following)
        self._to_say.subscribe.pop(following.key, None)
        self._to_say.touched.pop(following.key, None)
        following.log.on_durable = None
        following.end()
        self.counted()  # what it had not synced holds no push of the others up

    def moved(self, address: Address) -> None:
        """The leader broker listens elsewhere now."""
        self.address = address
        if self._stream is not None:
            self._stream.close()

    def tell_of_damage(self, following: Following) -> None:
        """The partition's log has been found damaged since the subscription that runs began."""
        if not following.says_damaged:
            self._unsubscribe(following)
            self._subscribe_soon(following)

    def pause(self, following: Following) -> None:
        """Takes nothing of it until `resume`; `following` is changing, so that no subscription begins."""
        self._unsubscribe(following)

    def resume(self, following: Following) -> None:
        self._subscribe_soon(following)

    def subscribe_again(self, following: Following, pause_s: float) -> None:
        """Ends the subscription that runs, and begins another after a while."""
        self._unsubscribe(following)
        if pause_s:
            self._subscribe_later(following, pause_s)
        else:
            self._subscribe_soon(following)

    def close(self) -> None:
        """Ends the stream and its task; partitions must have left before."""
        self._task.cancel()

    def _unsubscribe(self, following: Following) -> None:
        if following.subscription:
            self._to_say.unsubscribe.append(
                replication_pb2.Unsubscription(
                    topic_id=following.key.topic_id,
                    partition=following.key.partition,
                    subscription=following.subscription,
                )
            )
            self._something_to_say.set()
        following.subscription = NO_SUBSCRIPTION

    def _subscribe_soon(self, following: Following) -> None:
        if not following.ended and self._partitions.get(following.key) is following:
            self._to_say.subscribe[following.key] = following
            self._something_to_say.set()

    def _subscribe_later(self, following: Following, pause_s: float = 2 * RETRY_FIRST_S) -> None:
        delay = self._surroundings.random.uniform(pause_s / 2, 2 * pause_s)
        asyncio.get_running_loop().call_later(delay, self._subscribe_soon, following)

    # the stream

    async def _run(self) -> None:
        pause = RETRY_FIRST_S
        while True:
            while not self._partitions:
                self._something_to_say.clear()
                await self._something_to_say.wait()
            started = self._surroundings.clock.now()
            try:
                await self._session()
            except DohleError as error:
                log.info("stream to leader %d at %s ended: %s", self.leader, self.address, error)
            if self._surroundings.clock.now() - started > 1.0:
                pause = RETRY_FIRST_S
            await self._surroundings.clock.sleep(self._surroundings.random.uniform(pause / 2, pause))
            pause = min(2 * pause, RETRY_MOST_S)

    async def _session(self) -> None:
        stream = self._surroundings.network.stream(self.address, FOLLOW, lane=Lane.REPLICATION)
        self._stream = stream
        self._unsynced.clear()
        self._received_push = self._durable_push = 0
        self._to_say = _ToSay(subscribe=dict(self._partitions))
        for following in self._partitions.values():
            following.subscription = NO_SUBSCRIPTION
        opening = replication_pb2.FollowerOpening(
            hello=self._surroundings.identity.hello(), broker_epoch=self._broker_epoch
        )
        sender: asyncio.Task[None] | None = None
        try:
            await stream.send(replication_pb2.FollowerMessage(opening=opening))
            answer = await stream.receive()
            if answer is None:
                raise NetworkException(f"leader {self.leader} closed the stream before it opened")
            self._surroundings.identity.check(answer.opening)
            self._something_to_say.set()
            sender = self._surroundings.tasks.spawn(self._send(stream), f"acknowledgements to {self.leader}")
            while (message := await stream.receive()) is not None:
                self._received(message)
        finally:
            if sender is not None:
                sender.cancel()
            stream.close()

    async def _send(self, stream: LeaderStream) -> None:
        try:
            while True:
                await self._something_to_say.wait()
                self._something_to_say.clear()
                await stream.send(self._compose())
        except DohleError:
            pass  # the receiving side of the same stream raises it too, and begins anew

    def _compose(self) -> replication_pb2.FollowerMessage:
        to_say, self._to_say = self._to_say, _ToSay()
        # one that is being truncated, since an earlier stream, subscribes when that is done
        subscribing = {key: following for key, following in to_say.subscribe.items() if not following.is_changing}
        to_say.touched.update(subscribing)  # the end of its log may be appended and not counted yet
        message = replication_pb2.FollowerMessage(
            subscriptions=[following.subscribe(next(self._numbers)) for following in subscribing.values()],
            unsubscriptions=to_say.unsubscribe,
            received_push=self._received_push,
            durable_push=self._durable_push,
        )
        for key, following in to_say.touched.items():
            acknowledgement = following.acknowledgement()
            if acknowledgement is not None:
                message.acknowledgements.append(acknowledgement)
            if following.awaits_news:
                self._to_say.touched[key] = following
        return message

    # what arrives

    def _received(self, message: replication_pb2.LeaderMessage) -> None:
        ends: list[tuple[Following, int, int]] = []
        for push in message.pushes:
            following = self._partitions.get(PartitionKey(TopicId(push.topic_id), push.partition))
            if following is None:
                continue
            try:
                before = following.log.log_end_offset
                taken = following.take(push, is_old=not message.push_number)
                has_appended = taken and following.log.log_end_offset > before
                if has_appended:
                    ends.append((following, following.subscription, following.log.log_end_offset))
                if has_appended or (taken and following.awaits_news):
                    self._to_say.touched[following.key] = following
            except DohleError as error:
                self._failed(following, error)
        for refusal in message.refusals:
            self._refused(refusal)
        if message.push_number:
            self._received_push = message.push_number
            self._unsynced.append(_Unsynced(message.push_number, ends))
            if message.backlogged:
                self._something_to_say.set()
        self._reckon()

    def _failed(self, following: Following, error: DohleError) -> None:
        """A push could not be appended: this partition is in trouble, and no other."""
        log.warning("%s: a push from leader %d was not taken: %s", following.log.name, self.leader, error)
        following.refusal = error
        self._unsubscribe(following)
        match error:
            case CorruptMessage() | InvalidRecord():
                # on the way, or by a fault of the leader's: what the log holds is sound, so ask again from its end
                self._subscribe_later(following)
            case StorageFailure():  # the disk is full, say; if it has failed, the node's owner knows
                self._subscribe_later(following, RETRY_MOST_S)
            case DamagedReplica():
                self._subscribe_later(following)
            case _:
                pass  # the log is gone: it follows nobody any more

    def _refused(self, refusal: replication_pb2.Refusal) -> None:
        following = self._partitions.get(PartitionKey(TopicId(refusal.topic_id), refusal.partition))
        if following is None or following.subscription != refusal.subscription:
            return
        following.subscription = NO_SUBSCRIPTION
        if refusal.begin_anew and following.says_damaged:
            self._surroundings.tasks.spawn(self._mend(following, self.address), f"repair {following.log.name}")
        elif refusal.failure.code == CorruptMessage.code:
            log.warning(
                "%s: leader %d lacks what comes next: %s", following.log.name, self.leader, refusal.failure.message
            )
            self._subscribe_later(following, DAMAGE_RETRY_S)
        elif refusal.failure.code in (0, OffsetOutOfRange.code):
            self._surroundings.tasks.spawn(self._reconcile(following, refusal), f"reconcile {following.log.name}")
        else:
            self._subscribe_later(following)

    async def _reconcile(self, following: Following, refusal: replication_pb2.Refusal) -> None:
        before = following.log.log_end_offset
        try:
            if refusal.failure.code == 0:
                again = await following.reconcile(refusal)
            else:
                again = await following.start_over(refusal.log_start_offset)
        except DohleError as error:
            log.error("%s: cannot be brought in line with leader %d: %s", following.log.name, self.leader, error)
            following.refusal = error
            if isinstance(error, DamagedReplica):
                self._subscribe_later(following)
            elif isinstance(error, DiskFull):  # nothing has changed
                self._subscribe_later(following, RETRY_MOST_S)
            return
        following.refusal = None
        if again and following.log.log_end_offset != before:
            self._subscribe_soon(following)
        elif again:
            self._subscribe_later(following)

    # what becomes durable

    def counted(self) -> None:
        """A log of this link counts more; the reckoning comes once for all logs of one group commit."""
        if not self._reckoning:
            self._reckoning = True
            asyncio.get_running_loop().call_soon(self._reckon)

    def _reckon(self) -> None:
        self._reckoning = False
        before = self._durable_push
        # a push that waits for a slow disk keeps none that came later
        self._unsynced = [push for push in self._unsynced if not push.is_durable]
        self._durable_push = self._unsynced[0].push_number - 1 if self._unsynced else self._received_push
        if self._durable_push != before or self._unacknowledged():
            self._something_to_say.set()

    def _unacknowledged(self) -> bool:
        return any(following.has_news for following in self._to_say.touched.values())
