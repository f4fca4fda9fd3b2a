"""Sender: the producer's work in the background.

It gives every partition's queue what it lacks: a leader (metadata), a producer id, a stream to send on, a look at the
clock. Queues decide what may leave, streams carry it; here is what connects them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from dohle.client.backoff import Backoff
from dohle.client.cluster_view import ClusterView
from dohle.client.metadata_cache import MetadataCache
from dohle.client.partition_queue import PartitionQueue
from dohle.client.pending_batch import ProducerIdentity
from dohle.client.produce_stream import ProduceStream
from dohle.client.producer_settings import ProducerSettings
from dohle.client.seams import Seams
from dohle.model.errors import DohleError, LeaderNotAvailable, NotLeaderOrFollower
from dohle.model.ids import NO_NODE
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import broker_pb2
from dohle.runtime.network import Address, Lane
from dohle.runtime.tasks import Tasks

log = logging.getLogger(__name__)

_INIT_PRODUCER_ID: Final = methods_of(broker_pb2.DESCRIPTOR.services_by_name["Broker"])["InitProducerId"]
_WATCH_S: Final = 0.1
_SUSPICIOUS_S: Final = 0.5
"""An answer that takes longer may come from a broker that leads no more: ask the others."""
_SUSPICION_GROWS: Final = 0.25
"""How late a new leader may be noticed, as a share of how long the answer has taken."""
_CALL_S: Final = 2.0


class Sender:
    """Delivers what is put into the queues that `add` was told of. `on_change` hears of new metadata first."""

    def __init__(
        self,
        bootstrap: Sequence[Address],
        settings: ProducerSettings,
        seams: Seams,
        tasks: Tasks,
        on_change: Callable[[ClusterView], None],
    ) -> None:
        self._settings = settings
        self._seams = seams
        self._tasks = tasks
        self._on_change = on_change
        self.metadata = MetadataCache(bootstrap, seams, tasks, self._metadata_changed)
        self.queues: list[PartitionQueue] = []
        self._streams: dict[int, ProduceStream] = {}
        self._woken_at: dict[PartitionQueue, float] = {}  # for which `retry_at` a timer was set last
        self._identity: ProducerIdentity | None = None
        self._fetching_identity = False
        self._suspect_at = 0.0
        self._busy = asyncio.Event()
        self._watching = False

    def add(self, queue: PartitionQueue) -> None:
        """Takes charge of a new partition."""
        self.queues.append(queue)
        self._update(queue, self.metadata.view)

    def wake(self, queue: PartitionQueue) -> None:
        """Says that `queue` has something new, or may send now what it could not before."""
        if not queue.has_queued:
            return
        self._watch()
        if queue.wants_identity and not self._give_identity(queue):
            return
        stream = self._stream(queue)
        if stream is None:
            queue.held_up(LeaderNotAvailable(f"{queue.topic}-{queue.partition} has no leader that can be reached"))
            self.metadata.request_refresh()
        else:
            stream.wake(queue)

    def hurry(self) -> None:
        """Sends everything without lingering."""
        for queue in self.queues:
            queue.hurry()
            self.wake(queue)

    def close(self) -> None:
        for node in sorted(self._streams):
            self._streams[node].close()
        self._streams.clear()

    def _stream(self, queue: PartitionQueue) -> ProduceStream | None:
        address = self.metadata.view.nodes.get(queue.leader)
        if address is None:
            return None
        stream = self._streams.get(queue.leader)
        if stream is None or stream.address != address:
            if stream is not None:
                stream.close()
            stream = ProduceStream(
                address,
                self._settings,
                self._seams,
                self._tasks,
                on_progress=self._progressed,
                on_break=self.metadata.request_refresh,
            )
            self._streams[queue.leader] = stream
        return stream

    def _progressed(self, queue: PartitionQueue, failure: DohleError | None) -> None:
        """An attempt of `queue` ended."""
        if failure is not None and failure.retriable:
            self.metadata.request_refresh()
        self._wake_in_time(queue)

    def _wake_in_time(self, queue: PartitionQueue) -> None:
        wait_s = queue.retry_at - self._seams.clock.now()
        if wait_s <= 0:
            self.wake(queue)
        elif self._woken_at.get(queue) != queue.retry_at:
            self._woken_at[queue] = queue.retry_at
            asyncio.get_running_loop().call_later(wait_s, self.wake, queue)

    def _metadata_changed(self, view: ClusterView) -> None:
        self._on_change(view)
        for queue in self.queues:
            self._update(queue, view)

    def _update(self, queue: PartitionQueue, view: ClusterView) -> None:
        topic = view.topics.get(queue.topic)
        if topic is None or queue.partition >= len(topic.partitions):
            return
        partition = topic.partitions[queue.partition]
        former = self._streams.get(queue.leader)
        moved = partition.leader not in (queue.leader, NO_NODE)
        queue.moved(
            topic.topic_id, partition.leader if partition.leader != NO_NODE else queue.leader, partition.leader_epoch
        )
        if moved and former is not None:
            former.forget(queue)
            queue.abandoned(NotLeaderOrFollower("another broker was elected leader"), self._seams.clock.now())
            queue.retry_at = 0.0
        self._wake_in_time(queue)

    def _give_identity(self, queue: PartitionQueue) -> bool:
        if self._identity is not None and queue.adopt(self._identity):
            return True
        if not self._fetching_identity:
            self._fetching_identity = True
            self._tasks.spawn(self._fetch_identity(), "producer id")
        return False

    async def _fetch_identity(self) -> None:
        backoff = Backoff(self._seams.random)
        request = broker_pb2.InitProducerIdRequest()
        while any(queue.wants_identity for queue in self.queues):
            try:
                address = await self.metadata.any_node(_CALL_S)
                answer: Any = await self._seams.network.call(
                    address, _INIT_PRODUCER_ID, request, lane=Lane.CLIENT, timeout_s=_CALL_S
                )
            except DohleError as failure:
                for queue in self.queues:
                    queue.held_up(failure)
                log.debug("no producer id yet: %s", failure.message)
                await self._seams.clock.sleep(backoff.next_s())
            else:
                self._identity = ProducerIdentity(answer.producer_id, answer.producer_epoch)
                break
        self._fetching_identity = False
        for queue in self.queues:
            self.wake(queue)

    def _watch(self) -> None:
        self._busy.set()
        if not self._watching:
            self._watching = True
            self._tasks.spawn(self._watch_all(), "delivery time-outs")

    async def _watch_all(self) -> None:
        """Enforces time-outs, and asks who leads where an answer is slow to come; rests while nothing is pending."""
        pause_s = min(_WATCH_S, self._settings.delivery_timeout_ms / 10_000)
        while True:
            await self._busy.wait()
            await self._seams.clock.sleep(pause_s)
            now = self._seams.clock.now()
            for queue in self.queues:
                if len(queue):
                    queue.expire(now)
                    self._wake_in_time(queue)
            for node in sorted(self._streams):
                self._streams[node].check(now)
            self._suspect(max((self._streams[node].oldest_wait_s(now) for node in sorted(self._streams)), default=0.0))
            if not any(len(queue) for queue in self.queues):
                self._busy.clear()

    def _suspect(self, slowest_s: float) -> None:
        """Asks who leads where an answer takes so long: again and again, yet less often the longer it takes."""
        now = self._seams.clock.now()
        if slowest_s <= _SUSPICIOUS_S:
            self._suspect_at = now
        elif now >= self._suspect_at:
            self._suspect_at = now + min(slowest_s * _SUSPICION_GROWS, _SUSPICIOUS_S)
            self.metadata.request_refresh()
