"""A partition's follower, for one leader epoch (rules 3-5 of replication).

Its log is changed by two things only: a push that names this leader epoch and the current subscription, and a
truncation that the leader's answer to a subscription asks for. The streams that carry both are `leader_link`'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from dohle.model.batch import read_header
from dohle.model.errors import DohleError, InvalidRecord
from dohle.model.ids import NodeId, PartitionKey
from dohle.rpc.v1 import replication_pb2
from dohle.storage.log import Log

log = logging.getLogger(__name__)

NO_SUBSCRIPTION = 0


class Following:
    """The role of follower. `subscription` is the number of the one that runs, 0 while there is none."""

    def __init__(
        self,
        key: PartitionKey,
        log: Log,
        leader: NodeId,
        leader_epoch: int,
        watermark_moved: Callable[[], None] = lambda: None,
        *,
        fills: bool = False,
        disk: int = 0,
    ) -> None:
        self.key = key
        self.log = log
        self.leader = leader
        self.leader_epoch = leader_epoch
        self.subscription = NO_SUBSCRIPTION
        self.acknowledged_end = self.acknowledged_start = -1
        self.ended = False
        self.fills = fills  # it was made anew, and has not been in sync
        self._disk = disk  # which of the broker's log folders it lies in
        self._watermark_moved = watermark_moved
        self.refusal: DohleError | None = None  # why what the leader sent last was not taken
        self.says_damaged = False  # the subscription that runs is no more than that: nothing is taken or acknowledged
        self._changing = asyncio.Lock()
        # an epoch without data, which this replica led, may not be the leader's: what was written before it may go on
        log.epochs.truncate_to(log.log_end_offset)

    @property
    def is_changing(self) -> bool:
        """Whether the log is being truncated: nothing may be appended, nor a subscription begin."""
        return self._changing.locked()

    def subscribe(self, number: int) -> replication_pb2.Subscription:
        """Begins subscription `number`: says where the log ends now."""
        self.subscription = number
        self.says_damaged = self.log.damage is not None
        self.acknowledged_end, self.acknowledged_start = self.log.counted_end, self.log.durable_start
        return replication_pb2.Subscription(
            topic_id=self.key.topic_id,
            partition=self.key.partition,
            leader_epoch=self.leader_epoch,
            subscription=number,
            position=self.log.log_end_offset,
            last_epoch=self.log.last_batch_epoch,
            durable_end=self.log.counted_end,
            log_start_offset=self.log.log_start_offset,
            fills=self.fills,
            damaged=self.says_damaged,
            disk=self._disk,
            durable_start=self.log.durable_start,
        )

    def take(self, push: replication_pb2.Push, *, is_old: bool = False) -> bool:
        """Appends what the leader pushed, takes over its watermark; returns False for a push of another subscription.

        `is_old`: the leader has read it from its log, and has much of it.

        Raises what the log raises: CorruptMessage or InvalidRecord if the batches do not continue it, StorageFailure,
        DamagedReplica.
        """
        if self.ended or push.subscription != self.subscription or push.leader_epoch != self.leader_epoch:
            return False
        if self.says_damaged:
            return False  # of a leader that does not know yet that a replica can be
        batches = push.batches  # each look at a field of bytes copies it
        if batches:
            base_offset = read_header(batches).base_offset
            if base_offset != self.log.log_end_offset:
                raise InvalidRecord(f"a push begins at offset {base_offset} where {self.log.log_end_offset} comes next")
            self.log.append_as_follower(batches, self.leader_epoch, is_old=is_old)
            self.refusal = None
        before = self.log.high_watermark, self.log.log_start_offset
        self.log.advance_high_watermark(push.high_watermark)
        self.log.advance_log_start(min(push.log_start_offset, self.log.high_watermark))
        if (self.log.high_watermark, self.log.log_start_offset) != before:
            self._watermark_moved()
        return True

    def acknowledgement(self) -> replication_pb2.Acknowledgement | None:
        """Returns what the leader has not been told yet, or None."""
        if self.ended or self.says_damaged or self.subscription == NO_SUBSCRIPTION or not self.has_news:
            return None
        self.acknowledged_end, self.acknowledged_start = self.log.counted_end, self.log.durable_start
        return replication_pb2.Acknowledgement(
            topic_id=self.key.topic_id,
            partition=self.key.partition,
            durable_end=self.acknowledged_end,
            durable_start=self.acknowledged_start,
        )

    @property
    def has_news(self) -> bool:
        """Whether the log counts more, or begins later durably, than the leader was told."""
        return self.log.counted_end > self.acknowledged_end or self.log.durable_start > self.acknowledged_start

    @property
    def awaits_news(self) -> bool:
        """Whether it will, once what the log has taken is durable."""
        log = self.log
        return log.counted_end < log.log_end_offset or log.durable_start < log.log_start_offset

    async def reconcile(self, refusal: replication_pb2.Refusal) -> bool:
        """Truncates to where this log and the leader's agree, as far as this answer tells (KIP-101, KIP-279).

        Returns whether to subscribe again. The watermark follows the truncation and never leads it (rule 4).
        """
        epoch, own_end = self.log.end_offset_for_epoch(refusal.diverging_epoch)
        if epoch == refusal.diverging_epoch:
            offset = min(own_end, refusal.diverging_end_offset)
        else:  # the leader's epoch is unknown here: back to the end of the floor below it, then ask again
            offset = min(max(own_end, self.log.log_start_offset), refusal.diverging_end_offset)
        async with self._changing:
            if not self.ended and offset < self.log.log_end_offset:
                if offset < self.log.high_watermark:
                    log.warning(
                        "%s: cut back to %d by leader %d, below its high watermark %d: acknowledged records are lost,"
                        " as after an unclean election or a data folder that was formatted anew",
                        self.log.name,
                        offset,
                        self.leader,
                        self.log.high_watermark,
                    )
                await self.log.truncate_to(offset)
        return not self.ended

    async def start_over(self, leader_log_start: int) -> bool:
        """Empties a log that ends before the leader's begins (rule 3). Returns whether to subscribe again.

        Or begins one there that is empty, and cannot tell whether what it had agreed with the leader's.
        """
        async with self._changing:
            is_nothing = self.log.last_batch_epoch < 0 and self.log.log_end_offset != leader_log_start
            if not self.ended and (is_nothing or self.log.log_end_offset < leader_log_start):
                await self.log.start_over_at(leader_log_start)
        return not self.ended

    def goes_on_with(self, log: Log, disk: int) -> None:
        """Another log of the same content, in another log folder, is the replica; no subscription runs."""
        assert self.subscription == NO_SUBSCRIPTION
        self.log, self._disk = log, disk

    def changing(self) -> asyncio.Lock:
        """To be held while the log is changed by others than its leader."""
        return self._changing

    def end(self) -> None:
        """The leader or its epoch has changed: nothing of the old one is taken any more."""
        self.ended = True
        self.subscription = NO_SUBSCRIPTION

    async def settled(self) -> None:
        """Returns once no truncation runs: the log's next role must not begin before."""
        async with self._changing:
            pass
