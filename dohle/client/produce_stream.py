"""ProduceStream: what a producer and one broker say to each other.

Requests carry one batch each of many partitions. One leaves as soon as there is anything to send; while it is under
way others follow only with batches that are full. So a lone record waits for nobody, a trickle gathers, and a flood
keeps the broker busy with large requests. (With two small ones under way, 1,000 records a second took a third longer
at the median, with four twice as long: each message costs the broker more than the records in it.) A request that is
not answered soon holds nobody back any more: the replicas of one slow partition are no other partition's business. One
whose answer a later request has overtaken is sent by itself until it is as quick as the others.

A stream that breaks, or leaves a request unanswered for too long, is given up: everything in flight on it is reported
to the partitions' queues as lost, and the next batch opens another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dohle.client.partition_queue import PartitionQueue
from dohle.client.pending_batch import PendingBatch
from dohle.client.producer_settings import ProducerSettings
from dohle.client.seams import Seams
from dohle.model.errors import DohleError, NetworkException, RequestTimedOut, error_for
from dohle.model.ids import PartitionKey, TopicId
from dohle.model.stragglers import Stragglers
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import broker_pb2
from dohle.runtime.network import Address, Lane, Stream
from dohle.runtime.tasks import Tasks

_PRODUCE: Final = methods_of(broker_pb2.DESCRIPTOR.services_by_name["Broker"])["Produce"]
_MOST_UNDER_WAY: Final = 5
_SOON_S: Final = 0.025
"""For how long a request counts as under way, if it is not answered before."""
_ANSWER_GRACE_S: Final = 1.0
"""How much longer than the broker waits for its replicas the answer may take."""

_ProduceStream = Stream[broker_pb2.ProduceRequest, broker_pb2.ProduceResponse]


@dataclass(slots=True)
class _Unanswered:
    """A request under way, and the batches of it that are not answered yet."""

    sent_at: float
    soon: asyncio.TimerHandle  # when others need not wait for it any more
    batches: dict[PartitionKey, tuple[PartitionQueue, PendingBatch]]


class ProduceStream:
    """Sends the batches of the partitions that one broker leads.

    `on_progress` hears of each answer and failure, `on_break` of a stream that ended.
    """

    def __init__(
        self,
        address: Address,
        settings: ProducerSettings,
        seams: Seams,
        tasks: Tasks,
        *,
        on_progress: Callable[[PartitionQueue, DohleError | None], None],
        on_break: Callable[[], None],
    ) -> None:
        self.address = address
        self._settings = settings
        self._seams = seams
        self._tasks = tasks
        self._on_progress = on_progress
        self._on_break = on_break
        self._queues: dict[PartitionQueue, None] = {}  # with something to send, the one served longest ago first
        self._stragglers = Stragglers[PartitionQueue]()
        self._wake = asyncio.Event()
        self._stream: _ProduceStream | None = None
        self._unanswered: dict[int, _Unanswered] = {}
        self._next_correlation = 0
        self._sender = tasks.spawn(self._send_all(), f"produce to {address}")

    def wake(self, queue: PartitionQueue) -> None:
        """Says that `queue` may have something to send here."""
        self._queues[queue] = None
        self._wake.set()

    def forget(self, queue: PartitionQueue) -> None:
        """Says that `queue` is led elsewhere; what it has in flight here will not be waited for."""
        self._queues.pop(queue, None)
        self._stragglers.forget(queue)
        for correlation, request in list(self._unanswered.items()):
            for key in [key for key, (owner, _) in request.batches.items() if owner is queue]:
                del request.batches[key]
            if not request.batches:
                del self._unanswered[correlation]
        self._wake.set()

    def _look_again(self) -> None:
        """What waits for those under way may leave now; most of the time nothing does."""
        if self._queues:
            self._wake.set()

    def oldest_wait_s(self, now: float) -> float:
        """Returns for how long the oldest request has been unanswered."""
        return max((now - request.sent_at for request in self._unanswered.values()), default=0.0)

    def check(self, now: float) -> None:
        """Gives the stream up if a request is overdue."""
        if self.oldest_wait_s(now) > self._settings.request_timeout_ms / 1000 + _ANSWER_GRACE_S:
            self._lost(self._stream, RequestTimedOut(f"{self.address} did not answer within request_timeout_ms"))

    def close(self) -> None:
        """Ends; what is in flight is reported as lost."""
        self._sender.cancel()
        self._queues.clear()
        self._lost(self._stream, NetworkException(f"the stream to {self.address} was closed here"))

    async def _send_all(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while picked := self._pick():
                await self._send(picked)

    def _pick(self) -> list[PartitionQueue]:
        """Returns the partitions whose next batches make up a request now."""
        now = self._seams.clock.now()
        under_way = [request for request in self._unanswered.values() if now < request.sent_at + _SOON_S]
        if not self._stragglers:
            return self._pick_of(list(self._queues), len(under_way), now)
        apart = self._stragglers.apart(now)
        of_others = sum(any(queue not in apart for queue, _ in one.batches.values()) for one in under_way)
        picked = self._pick_of([queue for queue in self._queues if queue not in apart], of_others, now)
        for queue in [queue for queue in self._queues if queue in apart]:
            if picked:
                break
            picked = self._pick_of([queue], sum(queue.key in request.batches for request in under_way), now)
        return picked

    def _pick_of(self, queues: list[PartitionQueue], under_way: int, now: float) -> list[PartitionQueue]:
        if under_way >= _MOST_UNDER_WAY:
            return []
        room_bytes = self._settings.max_request_bytes
        picked: list[PartitionQueue] = []
        for queue in queues:
            batch = queue.ready(now, full_only=under_way > 0)
            if batch is None:
                if not queue.has_queued:
                    del self._queues[queue]
                continue
            if picked and batch.size_bytes > room_bytes:
                break
            room_bytes -= batch.size_bytes
            picked.append(queue)
        for queue in picked:
            del self._queues[queue]
            self._queues[queue] = None
        return picked

    async def _send(self, picked: list[PartitionQueue]) -> None:
        correlation = self._next_correlation
        self._next_correlation += 1
        taken = {queue.key: (queue, queue.take()) for queue in picked}
        request = broker_pb2.ProduceRequest(
            correlation=correlation,
            acks=self._settings.acks,
            timeout_ms=self._settings.request_timeout_ms,
            partitions=[
                broker_pb2.ProducePartition(
                    topic_id=key.topic_id, partition=key.partition, batch=batch.encoded(self._settings.codec)
                )
                for key, (_, batch) in taken.items()
            ],
        )
        soon = asyncio.get_running_loop().call_later(_SOON_S, self._look_again)
        self._unanswered[correlation] = _Unanswered(self._seams.clock.now(), soon, taken)
        stream = self._stream
        try:
            stream = self._opened()
            await stream.send(request)
        except DohleError as failure:
            if stream is None:  # none could be opened at all
                self._all_lost(failure)
            else:
                self._lost(stream, failure)
            return
        if not self._settings.acks:
            sent = self._unanswered.pop(correlation, None)
            for queue, batch in sent.batches.values() if sent is not None else ():
                queue.acknowledged(batch, -1, -1)
                self._on_progress(queue, None)

    def _opened(self) -> _ProduceStream:
        if self._stream is None:
            stream: _ProduceStream = self._seams.network.stream(self.address, _PRODUCE, lane=Lane.CLIENT)
            self._stream = stream
            self._tasks.spawn(self._receive_all(stream), f"answers of {self.address}")
        return self._stream

    async def _receive_all(self, stream: _ProduceStream) -> None:
        try:
            while (response := await stream.receive()) is not None:
                if stream is not self._stream:
                    return
                for produced in response.partitions:
                    self._answered(produced)
                self._look_again()
            failure: DohleError = NetworkException(f"{self.address} ended the stream")
        except DohleError as error:
            failure = error
        self._lost(stream, failure)

    def _answered(self, produced: broker_pb2.ProducedPartition) -> None:
        request = self._unanswered.get(produced.correlation)
        key = PartitionKey(TopicId(produced.topic_id), produced.partition)
        if request is None or key not in request.batches:
            return  # given up meanwhile
        queue, batch = request.batches.pop(key)
        self._judge(queue, request.sent_at)
        if not request.batches:
            request.soon.cancel()
            del self._unanswered[produced.correlation]
        if produced.failure.code:
            failure = error_for(produced.failure.code, produced.failure.message)
            queue.failed(batch, failure, self._seams.clock.now())
            self._on_progress(queue, failure)
        else:
            queue.acknowledged(batch, produced.base_offset, produced.log_append_time_ms)
            self._on_progress(queue, None)

    def _judge(self, answered: PartitionQueue, sent_at: float) -> None:
        """Looks who is slow: unanswered though it was sent well before what is answered."""
        now = self._seams.clock.now()
        self._stragglers.done(answered, sent_at, now)
        for request in self._unanswered.values():
            if not self._stragglers.is_overtaken(request.sent_at):
                break  # all others are younger
            for queue, _ in request.batches.values():
                self._stragglers.late(queue, now)

    def _lost(self, stream: _ProduceStream | None, failure: DohleError) -> None:
        """Gives `stream` up, if that has not been done already."""
        if stream is None or stream is not self._stream:
            return
        stream.close()
        self._stream = None
        self._on_break()  # with acks=0 the only sign that the leader moved
        self._all_lost(failure)

    def _all_lost(self, failure: DohleError) -> None:
        # an error that the whole stream ended with says nothing about one batch: all that is certain is the doubt
        lost = failure if not failure.definite else NetworkException(f"{self.address} refused: {failure.message}")
        unanswered, self._unanswered = self._unanswered, {}
        now = self._seams.clock.now()
        queues: dict[PartitionQueue, None] = {}
        for request in unanswered.values():
            for queue, batch in request.batches.values():
                queue.failed(batch, lost, now)
                queues[queue] = None
        # together: who does not answer is not dialled once for each partition
        waiting = [queue for queue in queues if queue.retry_at > now]
        retry_at = min((queue.retry_at for queue in waiting), default=now)
        for queue in waiting:
            queue.retry_at = retry_at
        for queue in queues:
            self._on_progress(queue, lost)
