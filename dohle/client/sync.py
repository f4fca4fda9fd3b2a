"""Synchronous twins of Producer, Consumer and Admin, for programs without an event loop.

Each twin runs its asynchronous original on an event loop in a thread, which all twins of a process share, and hands
calls over to it; arguments, results and errors are the original's, and a twin may be used by several threads. Handing a
call over takes a good part of a millisecond, so records to send are handed over many at a time, and records are best
read in batches.

This is the one module of the clients that uses threads.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final, Generic, NamedTuple, TypeVar

import uvloop

from dohle.client import admin, consumer, producer
from dohle.client.fetched_batch import FetchedBatch
from dohle.client.partition_changes import ElectedLeader, OngoingReassignments, PartitionHistory, Reassignment
from dohle.client.pending_batch import Receipt
from dohle.client.values import (
    ClusterDescription,
    ConsumerRecord,
    CreatedTopic,
    Delivery,
    FeatureDescription,
    LogDirDescription,
    NewTopic,
    QuorumDescription,
    TopicConfigEntry,
    TopicDescription,
)
from dohle.model.errors import Closed, DohleError
from dohle.model.ids import TopicPartition
from dohle.model.records import Headers

__all__ = ["Admin", "Consumer", "Producer"]

_MOST_HANDED: Final = 10_000
"""Records handed over that the event loop has not taken yet."""

T = TypeVar("T")
Original = TypeVar("Original", producer.Producer, consumer.Consumer, admin.Admin)


class _LoopThread:
    """The event loop of all synchronous clients of a process, in a daemon thread.

    One for all, and never closed: gRPC tells a loop late how the last calls on it ended, through whichever loop runs
    then, and does so with an exception if the former is closed.
    """

    _shared: _LoopThread | None = None
    _making = threading.Lock()

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self._process = os.getpid()
        self._thread = threading.Thread(target=self.loop.run_forever, name="dohle-clients", daemon=True)
        self._thread.start()
        atexit.register(self._stop)

    @classmethod
    def shared(cls) -> _LoopThread:
        """Returns this process's. A process that was forked off makes its own, since threads stay behind in a fork."""
        with cls._making:
            if cls._shared is None or cls._shared._process != os.getpid():
                cls._shared = cls()
            return cls._shared

    def _stop(self) -> None:
        if self._process == os.getpid():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()


class _OnLoop(Generic[Original]):
    """A client that lives on the event loop of the synchronous clients, and the calls that are handed over to it."""

    def __init__(self, make: Callable[[], Original]) -> None:
        self._loop = _LoopThread.shared().loop
        self._lock = threading.Lock()
        self._closed = False
        self.client: Original = self.wait(self._made(make))

    async def _made(self, make: Callable[[], Original]) -> Original:
        return make()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Returns what `work` returns on the loop; interrupted (Ctrl-C), cancels it there."""
        with self._lock:
            if self._closed:
                work.close()
                raise Closed("the client is closed")
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def soon(self, function: Callable[[], None]) -> None:
        """Has the loop call `function`, and waits for nothing."""
        with self._lock:
            if self._closed:
                raise Closed("the client is closed")
            self._loop.call_soon_threadsafe(function)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Returns what a plain function returns on the loop."""

        async def called() -> T:
            return function(*arguments)

        return self.wait(called())

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Closes the client. May be called more than once."""
        if not self._closed:
            try:
                self.wait(self.client.close())
            finally:
                with self._lock:
                    self._closed = True


class _Handed(NamedTuple):
    """A record on its way to the event loop."""

    topic: str
    value: bytes | None
    key: bytes | None
    headers: Headers
    partition: int | None
    timestamp_ms: int | None
    delivery: Future[Delivery]


class Producer:
    """The synchronous `dohle.Producer`; takes the same options."""

    def __init__(self, bootstrap: str | Sequence[str], **options: Any) -> None:
        self._on_loop: _OnLoop[producer.Producer] = _OnLoop(lambda: producer.Producer(bootstrap, **options))
        self._known_topics: set[str] = set()
        self._room = threading.Semaphore(_MOST_HANDED)
        self._handed: deque[_Handed] = deque()
        self._awake = False  # whether the loop is about to look at what was handed over
        self._sending: asyncio.Task[None] | None = None  # one at a time, for the order's sake

    def __enter__(self) -> Producer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Flushes and closes; on the way out of an exception closes without flushing."""
        try:
            if error is None and not self._on_loop.closed:
                self.flush()
        finally:
            self.close()

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> Future[Delivery]:
        """Returns a future of the delivery; waits while too much is under way. What is wrong, the future raises."""
        if topic not in self._known_topics:
            self.partitions(topic)
            self._known_topics.add(topic)
        self._room.acquire()
        delivery: Future[Delivery] = Future()
        delivery.set_running_or_notify_cancel()  # what is sent cannot be called back
        self._handed.append(_Handed(topic, value, key, headers, partition, timestamp_ms, delivery))
        # The loop clears `_awake` before it looks for the last time, so one of both sides always sees the other.
        if not self._awake:
            self._awake = True
            self._on_loop.soon(self._start_sending)
        return delivery

    def send_and_wait(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> Delivery:
        return self.send(
            topic, value, key=key, headers=headers, partition=partition, timestamp_ms=timestamp_ms
        ).result()

    def partitions(self, topic: str) -> int:
        return self._on_loop.wait(self._on_loop.client.partitions(topic))

    def flush(self) -> None:
        self._on_loop.wait(self._flush())

    def close(self) -> None:
        """Ends; what is not delivered is given up, with a ResourceWarning."""
        self._on_loop.close()
        self._known_topics.clear()
        while self._handed:
            self._handed.popleft().delivery.set_exception(Closed("the producer was closed before the record was sent"))
            self._room.release()

    def _start_sending(self) -> None:
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send_handed())

    async def _send_handed(self) -> None:
        while self._handed:
            self._awake = True
            while self._handed:
                await self._send_one(self._handed.popleft())
                self._room.release()
            self._awake = False

    async def _send_one(self, handed: _Handed) -> None:
        topic, value, key, headers, partition, timestamp_ms, delivery = handed
        try:
            receipt = await self._on_loop.client.send(
                topic, value, key=key, headers=headers, partition=partition, timestamp_ms=timestamp_ms
            )
        except DohleError as failure:
            delivery.set_exception(failure)
        else:
            receipt.add_done_callback(lambda receipt: _resolve(delivery, receipt))

    async def _flush(self) -> None:
        self._start_sending()
        assert self._sending is not None, "it was just started"
        await asyncio.shield(self._sending)
        await self._on_loop.client.flush()


def _resolve(delivery: Future[Delivery], receipt: Receipt) -> None:
    failure = receipt.exception()
    if failure is None:
        delivery.set_result(receipt.result())
    else:
        delivery.set_exception(failure)


class Consumer:
    """The synchronous `dohle.Consumer`; takes the same options."""

    def __init__(self, bootstrap: str | Sequence[str], **options: Any) -> None:
        self._on_loop: _OnLoop[consumer.Consumer] = _OnLoop(lambda: consumer.Consumer(bootstrap, **options))
        self._records: Iterator[ConsumerRecord] = iter(())

    def __enter__(self) -> Consumer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def assign(self, *what: str | TopicPartition) -> None:
        self._on_loop.wait(self._on_loop.client.assign(*what))

    def assignment(self) -> list[TopicPartition]:
        return self._on_loop.call(self._on_loop.client.assignment)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._on_loop.call(self._on_loop.client.seek, partition, offset)

    def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        self._on_loop.wait(self._on_loop.client.seek_to_beginning(*partitions))

    def seek_to_end(self, *partitions: TopicPartition) -> None:
        self._on_loop.wait(self._on_loop.client.seek_to_end(*partitions))

    def seek_to_time(self, timestamp_ms: int, *partitions: TopicPartition) -> None:
        self._on_loop.wait(self._on_loop.client.seek_to_time(timestamp_ms, *partitions))

    def pause(self, *partitions: TopicPartition) -> None:
        self._on_loop.call(self._on_loop.client.pause, *partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self._on_loop.call(self._on_loop.client.resume, *partitions)

    def position(self, partition: TopicPartition) -> int:
        return self._on_loop.wait(self._on_loop.client.position(partition))

    def beginning_offsets(self, *partitions: TopicPartition) -> dict[TopicPartition, int]:
        return self._on_loop.wait(self._on_loop.client.beginning_offsets(*partitions))

    def end_offsets(self, *partitions: TopicPartition) -> dict[TopicPartition, int]:
        return self._on_loop.wait(self._on_loop.client.end_offsets(*partitions))

    def batch(self, max_records: int = 500, timeout_ms: float = 1000) -> list[ConsumerRecord]:
        return self._on_loop.wait(self._on_loop.client.batch(max_records, timeout_ms))

    def __iter__(self) -> Iterator[ConsumerRecord]:
        return self

    def __next__(self) -> ConsumerRecord:
        """Waits for the next record, however long. For many records `batch` or `batches` are quicker."""
        return self._on_loop.wait(self._on_loop.client.__anext__())

    def batches(self) -> Iterator[FetchedBatch]:
        """Yields batches, to be decoded in the caller's thread."""
        batches = self._on_loop.client.batches()

        async def following() -> FetchedBatch:
            return await anext(batches)

        while True:
            yield self._on_loop.wait(following())

    def close(self) -> None:
        self._on_loop.close()


class Admin:
    """The synchronous `dohle.Admin`; takes the same options."""

    def __init__(self, bootstrap: str | Sequence[str], **options: Any) -> None:
        self._on_loop: _OnLoop[admin.Admin] = _OnLoop(lambda: admin.Admin(bootstrap, **options))

    def __enter__(self) -> Admin:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def create_topics(
        self, topics: Sequence[NewTopic], *, validate_only: bool = False
    ) -> dict[str, CreatedTopic | DohleError]:
        return self._on_loop.wait(self._on_loop.client.create_topics(topics, validate_only=validate_only))

    def create_topic(
        self,
        name: str,
        *,
        partitions: int | None = None,
        replication_factor: int | None = None,
        configs: Mapping[str, str] | None = None,
        validate_only: bool = False,
    ) -> CreatedTopic:
        return self._on_loop.wait(
            self._on_loop.client.create_topic(
                name,
                partitions=partitions,
                replication_factor=replication_factor,
                configs=configs,
                validate_only=validate_only,
            )
        )

    def delete_topics(self, names: Sequence[str]) -> dict[str, DohleError | None]:
        return self._on_loop.wait(self._on_loop.client.delete_topics(names))

    def delete_topic(self, name: str) -> None:
        self._on_loop.wait(self._on_loop.client.delete_topic(name))

    def list_topics(self) -> list[TopicDescription]:
        return self._on_loop.wait(self._on_loop.client.list_topics())

    def describe_topics(self, names: Sequence[str]) -> dict[str, TopicDescription | DohleError]:
        return self._on_loop.wait(self._on_loop.client.describe_topics(names))

    def describe_topic(self, name: str) -> TopicDescription:
        return self._on_loop.wait(self._on_loop.client.describe_topic(name))

    def create_partitions(self, topic: str, total_count: int, *, validate_only: bool = False) -> None:
        self._on_loop.wait(self._on_loop.client.create_partitions(topic, total_count, validate_only=validate_only))

    def describe_configs(self, topic: str) -> list[TopicConfigEntry]:
        return self._on_loop.wait(self._on_loop.client.describe_configs(topic))

    def alter_configs(
        self,
        topic: str,
        changes: Mapping[str, str] | None = None,
        *,
        remove: Sequence[str] = (),
        validate_only: bool = False,
    ) -> None:
        self._on_loop.wait(
            self._on_loop.client.alter_configs(topic, changes, remove=remove, validate_only=validate_only)
        )

    def alter_partition_reassignments(
        self,
        reassignments: Sequence[Reassignment],
        *,
        throttle_bytes_per_s: int | None = None,
        validate_only: bool = False,
    ) -> dict[TopicPartition, DohleError | None]:
        return self._on_loop.wait(
            self._on_loop.client.alter_partition_reassignments(
                reassignments, throttle_bytes_per_s=throttle_bytes_per_s, validate_only=validate_only
            )
        )

    def list_partition_reassignments(self) -> OngoingReassignments:
        return self._on_loop.wait(self._on_loop.client.list_partition_reassignments())

    def elect_leaders(
        self, partitions: Mapping[str, Sequence[int]] | None = None, *, unclean: bool = False
    ) -> dict[TopicPartition, ElectedLeader | DohleError]:
        return self._on_loop.wait(self._on_loop.client.elect_leaders(partitions, unclean=unclean))

    def describe_partition_history(self, topic: str, partition: int, *, most_changes: int = 50) -> PartitionHistory:
        return self._on_loop.wait(
            self._on_loop.client.describe_partition_history(topic, partition, most_changes=most_changes)
        )

    def describe_cluster(self) -> ClusterDescription:
        return self._on_loop.wait(self._on_loop.client.describe_cluster())

    def describe_quorum(self) -> QuorumDescription:
        return self._on_loop.wait(self._on_loop.client.describe_quorum())

    def add_voter(self, node_id: int) -> bool:
        return self._on_loop.wait(self._on_loop.client.add_voter(node_id))

    def remove_voter(self, node_id: int) -> bool:
        return self._on_loop.wait(self._on_loop.client.remove_voter(node_id))

    def transfer_controller(self, node_id: int | None = None) -> int:
        return self._on_loop.wait(self._on_loop.client.transfer_controller(node_id))

    def unregister_broker(self, node_id: int) -> None:
        self._on_loop.wait(self._on_loop.client.unregister_broker(node_id))

    def describe_features(self) -> FeatureDescription:
        return self._on_loop.wait(self._on_loop.client.describe_features())

    def update_features(self, metadata_version: int | None = None, *, validate_only: bool = False) -> tuple[int, int]:
        return self._on_loop.wait(self._on_loop.client.update_features(metadata_version, validate_only=validate_only))

    def describe_log_dirs(self, node_id: int) -> list[LogDirDescription]:
        return self._on_loop.wait(self._on_loop.client.describe_log_dirs(node_id))

    def close(self) -> None:
        self._on_loop.close()
