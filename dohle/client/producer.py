"""Producer: records in, deliveries out.

What is here runs once a record: which partition, is there room, into which batch. Everything else happens once a batch,
in `sender` and what it uses.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Callable, Sequence
from random import Random
from types import TracebackType

from dohle.client.backoff import Backoff
from dohle.client.cluster_view import ClusterView
from dohle.client.partition_queue import PartitionQueue
from dohle.client.pending_batch import PendingBatch, Receipt
from dohle.client.producer_settings import Acks, ProducerSettings
from dohle.client.seams import Seams, parse_bootstrap
from dohle.client.sender import Sender
from dohle.client.topic_route import TopicRoute
from dohle.client.values import Delivery
from dohle.model.batch import HEADER_BYTES
from dohle.model.errors import BufferFull, Closed, InvalidRecord, MessageTooLarge, UnknownServerError
from dohle.model.partitioner import partition_for
from dohle.model.records import Headers, record_size_bytes
from dohle.runtime.clock import Clock
from dohle.runtime.network import Network
from dohle.runtime.tasks import Tasks

__all__ = ["Delivery", "Producer", "Receipt"]

log = logging.getLogger(__name__)

_OVERHEAD_BYTES = record_size_bytes(None, None)


class Producer:
    """Sends records to topics.

    ::

        async with Producer("localhost:7092") as producer:
            delivery = await producer.send_and_wait("greetings", b"hello", key=b"world")

    Records with a key go where Kafka's clients would put them; those without fill one partition's batch after the
    other. Per partition, records are written in the order in which they were sent, and none twice.

    Errors with `definite` true say that the record was certainly not written; the others (DeliveryTimedOut, ...) that
    it may have been.

    - acks: "all" in-sync replicas have the record on disk; 1, the leader has; 0, nobody is asked
    - linger_ms: how long a batch waits for more records. Under load batches fill without it
    - batch_bytes: where a batch is full, before compression; the topic's max.message.bytes must allow it
    - max_request_bytes: how much goes to one broker at once; also the largest record
    - compression: none, gzip, snappy, lz4 or zstd
    - idempotent: whether repeated requests are told apart from new ones; None: exactly if acks is "all"
    - max_in_flight: unanswered batches per partition
    - delivery_timeout_ms: after which a record that was not acknowledged fails
    - request_timeout_ms: for how long a broker may wait for its replicas, and the client for the broker
    - buffer_bytes: what may be waiting for delivery; `send` waits beyond
    - max_block_ms: for how long `send` waits for room, or for a topic to be known
    - partitioner: from a key and the number of partitions to the partition
    """

    def __init__(
        self,
        bootstrap: str | Sequence[str],
        *,
        acks: Acks = "all",
        linger_ms: float = 0,
        batch_bytes: int = 256 << 10,
        max_request_bytes: int = 1 << 20,
        compression: str = "none",
        idempotent: bool | None = None,
        max_in_flight: int = 5,
        delivery_timeout_ms: int = 120_000,
        request_timeout_ms: int = 30_000,
        buffer_bytes: int = 64 << 20,
        max_block_ms: int = 60_000,
        client_id: str = "dohle-producer",
        partitioner: Callable[[bytes, int], int] = partition_for,
        network: Network | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        self._settings = ProducerSettings.checked(
            acks=acks,
            linger_ms=linger_ms,
            batch_bytes=batch_bytes,
            max_request_bytes=max_request_bytes,
            compression=compression,
            idempotent=idempotent,
            max_in_flight=max_in_flight,
            delivery_timeout_ms=delivery_timeout_ms,
            request_timeout_ms=request_timeout_ms,
            buffer_bytes=buffer_bytes,
            max_block_ms=max_block_ms,
            partitioner=partitioner,
        )
        addresses = parse_bootstrap(bootstrap)
        self._seams = Seams.of(client_id, network, clock, random)
        self._wall_ms = self._seams.clock.wall_ms
        self._tasks = Tasks("producer", self._broke)
        self._sender = Sender(addresses, self._settings, self._seams, self._tasks, self._metadata_changed)
        self._routes: dict[str, TopicRoute] = {}
        self._batch_bytes = batch_bytes
        self._free_bytes = buffer_bytes
        self._room = asyncio.Event()
        self._filled_a_batch = False
        self._closed = False
        self._bug: BaseException | None = None

    async def __aenter__(self) -> Producer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Flushes and closes; on the way out of an exception closes without flushing."""
        try:
            if error is None and not self._closed:
                await self.flush()
        finally:
            await self.close()

    async def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> Receipt:
        """Returns once the record is in the buffer; `await` the receipt for its delivery.

        Waits up to `max_block_ms` while the buffer is full, and for the first record of a topic until it is known.
        Raises BufferFull, UnknownTopicOrPartition, MessageTooLarge, BrokerNotAvailable: the record was not taken.
        """
        try:
            receipt = self.send_nowait(
                topic, value, key=key, headers=headers, partition=partition, timestamp_ms=timestamp_ms
            )
        except BufferFull:
            return await self._send_later(topic, value, key, headers, partition, timestamp_ms)
        if self._filled_a_batch:  # who never waits for anything would keep the full batches from leaving
            self._filled_a_batch = False
            await self._seams.clock.sleep(0)
        return receipt

    def send_nowait(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> Receipt:
        """Does what `send` does without ever waiting: raises BufferFull where `send` would wait, then `await` that.

        Nothing leaves before the event loop runs again, so let it run every few hundred records.
        """
        if value.__class__ is not bytes and value is not None:
            value = _as_bytes(value, "value")
        if key is not None and key.__class__ is not bytes:
            key = _as_bytes(key, "key")
        route = self._routes.get(topic)
        if route is None:
            self._check_usable()
            raise BufferFull(f"nothing is known of topic {topic!r} yet: await `send` or `partitions` first")
        if partition is not None:
            queue = route.numbered(partition)
        elif key is not None:
            queue = route.by_key.get(key) or route.keyed(key)
        else:
            queue = route.sticky
        if timestamp_ms is None:
            timestamp_ms = self._wall_ms()
        if headers:
            size_bytes = record_size_bytes(key, value, _checked_headers(headers))
        else:
            size_bytes = _OVERHEAD_BYTES + (len(value) if value else 0) + (len(key) if key else 0)
        if size_bytes > self._free_bytes:
            raise BufferFull(f"{self._settings.buffer_bytes} bytes (buffer_bytes) are waiting for delivery")
        batch = queue.last
        if batch is None or batch.full or batch.builder.size_bytes + size_bytes > self._batch_bytes:
            if batch is not None and not batch.full:
                batch.full = self._filled_a_batch = True
                self._sender.wake(queue)
            if partition is None and key is None:
                queue = route.next_sticky(batch)
            batch = self._open_batch(queue, size_bytes)
        self._free_bytes -= size_bytes
        index = batch.record_count
        batch.record_count = index + 1
        batch.builder.append(key, value, timestamp_ms, headers)
        return Receipt(batch, index, timestamp_ms)

    async def send_and_wait(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> Delivery:
        """Returns where the record was written, as `acks` demands. Raises why it was not, or may not have been."""
        receipt = await self.send(
            topic, value, key=key, headers=headers, partition=partition, timestamp_ms=timestamp_ms
        )
        return await receipt

    async def partitions(self, topic: str) -> int:
        """Returns how many partitions `topic` has; from then on `send_nowait` takes its records."""
        self._check_usable()
        if topic not in self._routes:
            await self._sender.metadata.topic(topic, self._settings.max_block_ms / 1000)
            self._metadata_changed(self._sender.metadata.view, topic)
        return len(self._routes[topic].queues)

    async def flush(self) -> None:
        """Returns when all records sent before are delivered or have failed, which their receipts and the log say.

        Their callbacks have been called by then.
        """
        self._check_usable()
        self._sender.hurry()
        for queue in list(self._sender.queues):
            for batch in queue.batches():
                await batch.wait()
        await self._seams.clock.sleep(0)  # for the callbacks of what was delivered just now

    async def close(self) -> None:
        """Ends. Records that are not delivered are given up, with a ResourceWarning; `flush` before, or `async with`.

        May be called more than once.
        """
        if self._closed:
            return
        self._closed = True
        self._routes.clear()
        undelivered = sum(batch.record_count for queue in self._sender.queues for batch in queue.batches())
        if undelivered:
            message = f"a producer was closed with {undelivered} undelivered records; flush before you close it"
            warnings.warn(message, ResourceWarning, stacklevel=2)
            log.warning("%s", message)
        for queue in self._sender.queues:
            queue.give_up(Closed("the producer was closed before the record was delivered"))
        self._sender.close()
        self._room.set()
        await self._tasks.close()
        await self._seams.close()

    async def _send_later(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        partition: int | None,
        timestamp_ms: int | None,
    ) -> Receipt:
        clock = self._seams.clock
        deadline = clock.now() + self._settings.max_block_ms / 1000
        await self.partitions(topic)
        while True:
            try:
                return self.send_nowait(
                    topic, value, key=key, headers=headers, partition=partition, timestamp_ms=timestamp_ms
                )
            except BufferFull:
                self._room.clear()
                try:
                    async with asyncio.timeout(max(deadline - clock.now(), 0)):
                        await self._room.wait()
                except TimeoutError:
                    raise BufferFull(
                        f"{self._settings.buffer_bytes} bytes (buffer_bytes) have been waiting for delivery for"
                        f" {self._settings.max_block_ms} ms (max_block_ms); is the cluster up?"
                    ) from None

    def _open_batch(self, queue: PartitionQueue, size_bytes: int) -> PendingBatch:
        if size_bytes + HEADER_BYTES > self._settings.max_request_bytes:
            raise MessageTooLarge(
                f"a record of {size_bytes} bytes: max_request_bytes is {self._settings.max_request_bytes}"
            )
        now = self._seams.clock.now()
        linger_s = self._settings.linger_ms / 1000
        batch = PendingBatch(
            queue.topic,
            queue.partition,
            send_at=now + linger_s,
            deadline=now + self._settings.delivery_timeout_ms / 1000,
            on_settled=self._settled,
        )
        self._free_bytes -= HEADER_BYTES
        queue.put(batch)
        if linger_s > 0:
            asyncio.get_running_loop().call_later(linger_s, self._sender.wake, queue)
        else:
            self._sender.wake(queue)
        return batch

    def _settled(self, batch: PendingBatch) -> None:
        self._free_bytes += batch.charged_bytes
        self._room.set()
        if batch.failure is not None and not self._closed:
            log.warning(
                "%d records for %s-%d failed: %s",
                batch.record_count,
                batch.topic,
                batch.partition,
                batch.failure.message,
            )

    def _metadata_changed(self, view: ClusterView, wanted: str | None = None) -> None:
        """Keeps the routes in step with the topics' partitions; a topic gets one when it is first wanted."""
        for name in [*self._routes, *([wanted] if wanted is not None else ())]:
            topic = view.topics[name]
            route = self._routes.get(name)
            queues = [*route.queues] if route is not None else []
            if route is not None and len(topic.partitions) <= len(queues):
                continue
            for partition in topic.partitions[len(queues) :]:
                queue = PartitionQueue(
                    name,
                    topic.topic_id,
                    partition.partition,
                    idempotent=self._settings.idempotent,
                    max_in_flight=self._settings.max_in_flight,
                    backoff=Backoff(self._seams.random),
                )
                self._sender.add(queue)
                queues.append(queue)
            first = self._seams.random.randrange(len(queues))
            self._routes[name] = TopicRoute(name, tuple(queues), self._settings.partitioner, first)

    def _check_usable(self) -> None:
        if self._bug is not None:
            raise UnknownServerError(f"the producer stopped because of a bug: {self._bug!r}")
        if self._closed:
            raise Closed("the producer is closed")

    def _broke(self, failure: BaseException) -> None:
        """A task ended that never should have: nothing is delivered any more, and nobody shall wait for it."""
        self._bug = failure
        self._routes.clear()
        for queue in self._sender.queues:
            queue.give_up(UnknownServerError(f"the producer stopped because of a bug: {failure!r}"))


def _as_bytes(given: object, what: str) -> bytes:
    if isinstance(given, bytes | bytearray | memoryview):
        return bytes(given)
    raise InvalidRecord(f"a record's {what} is bytes or None, not {type(given).__name__}; encode it first")


def _checked_headers(headers: Headers) -> Headers:
    for name, value in headers:
        if not isinstance(name, str) or not (value is None or isinstance(value, bytes)):
            raise InvalidRecord(f"a header is a name (str) and a value (bytes or None), not {name!r}, {value!r}")
    return headers
