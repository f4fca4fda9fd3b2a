"""PartitionQueue: the batches of one partition, in order, whatever goes wrong on the way.

It does no I/O: the producer puts batches in, a produce stream takes them and reports what became of each attempt.

- Batches leave in order. After an attempt failed nothing more leaves until every batch in flight is answered; then all
  that were not acknowledged leave again, in order, with the sequence numbers that they had.
- A sequence number is used for one batch only. When a batch is given up, those behind it can never be accepted under
  the same producer id ("a hole"): the queue asks for a new one (`wants_identity`) and numbers anew from 0 what
  certainly was not written. What may have been written is never numbered anew, since that could write it twice: it
  fails, saying that it may have happened.
- Not idempotent, several in flight: a repeated batch may land behind a later one, or twice; that is what the caller
  chose.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from dohle.client.backoff import Backoff
from dohle.client.pending_batch import NO_OFFSET, NOT_IDEMPOTENT, PendingBatch, ProducerIdentity
from dohle.model.errors import (
    BrokerNotAvailable,
    DeliveryTimedOut,
    DohleError,
    DuplicateSequenceNumber,
    InvalidProducerEpoch,
    OutOfOrderSequenceNumber,
    UnknownProducerId,
)
from dohle.model.ids import NO_NODE, PartitionKey, TopicId

_SEQUENCE_MASK: Final = 0x7FFF_FFFF
_SEQUENCE_REFUSED: Final = (OutOfOrderSequenceNumber, UnknownProducerId, InvalidProducerEpoch)


class PartitionQueue:
    """One partition's share of a producer. `key`, `leader` and `leader_epoch` are what the metadata last said."""

    def __init__(
        self, topic: str, topic_id: bytes, partition: int, *, idempotent: bool, max_in_flight: int, backoff: Backoff
    ) -> None:
        self.topic = topic
        self.key = PartitionKey(TopicId(topic_id), partition)
        self.partition = partition
        self.leader: int = NO_NODE
        self.leader_epoch = -1
        self.last: PendingBatch | None = None  # records are added to this one until it is full
        self.retry_at = 0.0
        self._idempotent = idempotent
        self._max_in_flight = max_in_flight
        self._backoff = backoff
        self._queued: deque[PendingBatch] = deque()
        self._in_flight: deque[PendingBatch] = deque()
        self._again: deque[PendingBatch] = deque()  # of those in flight: answered, and to be sent again
        self._identity: ProducerIdentity | None = None if idempotent else NOT_IDEMPOTENT
        self._spent_identity: ProducerIdentity | None = None
        self._next_sequence = 0
        self._hole = False

    def __len__(self) -> int:
        """How many batches are not settled yet."""
        return len(self._queued) + len(self._in_flight)

    def batches(self) -> list[PendingBatch]:
        """Returns what is not settled yet, oldest first."""
        return [batch for batch in (*self._in_flight, *self._queued) if not batch.settled]

    @property
    def has_queued(self) -> bool:
        return bool(self._queued)

    @property
    def wants_identity(self) -> bool:
        """Whether nothing can leave before `adopt` was called."""
        return self._identity is None and bool(self._queued)

    def put(self, batch: PendingBatch) -> None:
        if self.last is not None:
            self.last.full = True
        self._queued.append(batch)
        self.last = batch

    def adopt(self, identity: ProducerIdentity) -> bool:
        """Numbers batches under `identity` from 0 on; False if that identity was given up here before."""
        if identity == self._spent_identity:
            return False
        self._identity = identity
        self._next_sequence = 0
        return True

    def ready(self, now: float, *, full_only: bool = False) -> PendingBatch | None:
        """Returns the batch that may leave now; with `full_only` just one that takes no more records."""
        if not self._queued or self._again or self._identity is None or now < self.retry_at:
            return None
        if len(self._in_flight) >= self._max_in_flight:
            return None
        batch = self._queued[0]
        due = batch.full or (not full_only and now >= batch.send_at)
        return batch if due else None

    def take(self) -> PendingBatch:
        """Moves the next batch into flight, with its place in the sequence; the caller sends it or reports `lost`."""
        batch = self._queued.popleft()
        if batch is self.last:
            self.last = None
        batch.full = True
        if batch.identity is None and self._idempotent:
            assert self._identity is not None, "nothing leaves without an identity"
            batch.assign(self._identity, self._next_sequence)
            self._next_sequence = (self._next_sequence + batch.record_count) & _SEQUENCE_MASK
        self._in_flight.append(batch)
        return batch

    def acknowledged(self, batch: PendingBatch, base_offset: int, log_append_time_ms: int) -> None:
        """The leader has written `batch`."""
        self._in_flight.remove(batch)
        self._backoff.reset()
        self.retry_at = 0.0
        if not batch.settled:
            batch.deliver(base_offset, log_append_time_ms)
        self._regroup()

    def failed(self, batch: PendingBatch, failure: DohleError, now: float) -> None:
        """An attempt ended with `failure`: `batch` leaves again, or settles."""
        batch.last_failure = failure
        if isinstance(failure, DuplicateSequenceNumber):  # written before, too long ago for its offset to be known
            self.acknowledged(batch, NO_OFFSET, -1)
            return
        if not failure.definite:
            batch.uncertain = True
        if isinstance(failure, _SEQUENCE_REFUSED):
            self._refused(batch, now)
        elif batch.settled or not failure.retriable:
            self._drop(batch, failure)
        else:
            self._repeat(batch, now)
        self._regroup()

    def abandoned(self, failure: DohleError, now: float) -> None:
        """Whoever had the batches in flight will not answer any more."""
        for batch in [batch for batch in self._in_flight if batch not in self._again]:
            self.failed(batch, failure, now)

    def moved(self, topic_id: bytes, leader: int, leader_epoch: int) -> None:
        """The metadata says something new: who leads, or that the topic was deleted and made again."""
        if topic_id != self.key.topic_id:
            self.key = PartitionKey(TopicId(topic_id), self.partition)
            self._hole = True  # the new topic has seen none of the sequence
            self._regroup()
        if leader_epoch != self.leader_epoch or leader != self.leader:
            self._backoff.reset()
            self.retry_at = 0.0
        self.leader, self.leader_epoch = leader, leader_epoch

    def held_up(self, failure: DohleError) -> None:
        """Remembers why nothing leaves, for what may have to be said in the end."""
        for batch in self._queued:
            if not batch.uncertain:
                batch.last_failure = failure

    def hurry(self) -> None:
        """Has everything queued leave without lingering."""
        for batch in self._queued:
            batch.send_at = 0.0

    def expire(self, now: float) -> None:
        """Gives up what is past its delivery time-out; one in flight is settled and still awaited."""
        for batch in self._in_flight:
            if now >= batch.deadline and not batch.settled:
                batch.uncertain |= batch not in self._again
                batch.fail(self._timed_out(batch))
        while self._queued and now >= self._queued[0].deadline:
            batch = self._queued[0]
            self._forget_queued(batch)
            batch.fail(self._timed_out(batch))

    def give_up(self, failure: DohleError) -> None:
        """Settles everything with `failure`; what is in flight may have been written; its answers may still come."""
        for batch in self._in_flight:
            batch.uncertain |= batch not in self._again
        for batch in self.batches():
            batch.fail(failure)
        self._in_flight = deque(batch for batch in self._in_flight if batch not in self._again)
        self._again.clear()
        self._queued.clear()
        self.last = None

    def _refused(self, batch: PendingBatch, now: float) -> None:
        """The leader does not take this sequence number: something before it is missing there."""
        first = batch is self._in_flight[0]
        if batch.settled:
            self._drop(batch, batch.last_failure or DeliveryTimedOut())
        else:
            self._repeat(batch, now)
        if first:
            self._hole = True  # everything before it was acknowledged or given up: no repetition can fill the gap

    def _repeat(self, batch: PendingBatch, now: float) -> None:
        if not self._again:
            self.retry_at = now + self._backoff.next_s()
        self._again.append(batch)

    def _drop(self, batch: PendingBatch, failure: DohleError) -> None:
        self._in_flight.remove(batch)
        self._hole = True
        if not batch.settled:
            batch.fail(failure)

    def _forget_queued(self, batch: PendingBatch) -> None:
        self._queued.remove(batch)
        if batch is self.last:
            self.last = None
        if batch.identity is not None:
            self._hole = True
            self._regroup()

    def _regroup(self) -> None:
        """Once nothing in flight is unanswered: puts back what must leave again, and renumbers behind a hole."""
        if len(self._again) < len(self._in_flight):
            return
        # in flight in the order of leaving, whatever the order of the answers
        for batch in reversed(self._in_flight):
            if batch.settled:
                self._hole = True
            else:
                self._queued.appendleft(batch)
        self._in_flight.clear()
        self._again.clear()
        if not self._hole:
            return
        self._hole = False
        if not self._idempotent:
            return
        self._spent_identity, self._identity = self._identity, None
        for batch in [batch for batch in self._queued if batch.identity is not None]:
            if batch.uncertain:
                self._queued.remove(batch)
                batch.fail(batch.last_failure or DeliveryTimedOut())
            else:
                batch.identity = None  # numbered anew when it leaves

    def _timed_out(self, batch: PendingBatch) -> DohleError:
        """Returns what to say of a batch past its delivery time-out: certain only if no attempt was in doubt."""
        reason = f": {batch.last_failure.message}" if batch.last_failure is not None else ""
        where = f"{self.topic}-{self.partition}"
        if batch.uncertain:
            return DeliveryTimedOut(
                f"no acknowledgement for {where} within delivery_timeout_ms; the records may have been written{reason}"
            )
        if batch.last_failure is not None and batch.last_failure.definite:
            return type(batch.last_failure)(f"{where} took no record within delivery_timeout_ms{reason}")
        return BrokerNotAvailable(
            f"nothing was sent to {where} within delivery_timeout_ms: no leader could be reached, or earlier batches"
            f" were still on their way; is the cluster up?{reason}"
        )
