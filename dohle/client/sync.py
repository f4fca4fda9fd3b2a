"""Synchronous twins of Producer, Consumer and Admin, for programs without an event loop.

Each twin runs its asynchronous original on an event loop in a thread, which all twins of a process share, and hands
calls over to it; signatures, documentation, results and errors are the original's, and a twin may be used by several
threads. Handing a call over takes a good part of a millisecond, so records to send are handed over many at a time, and
records are best read in batches.

This is the one module of the clients that uses threads.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Final, Generic, NamedTuple, ParamSpec, Self, TypeVar, overload

import uvloop

from dohle.client import admin, consumer, producer
from dohle.client.fetched_batch import FetchedBatch
from dohle.client.pending_batch import Receipt
from dohle.client.values import ConsumerRecord, Delivery
from dohle.model.errors import Closed, ConfigurationError, DohleError
from dohle.model.ids import TopicPartition
from dohle.model.records import Headers

__all__ = ["Admin", "Consumer", "Producer"]

_MOST_HANDED: Final = 10_000
"""Records handed over that the event loop has not taken yet."""

P = ParamSpec("P")
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


class _Twin(Generic[Original]):
    """What the twins share: the original on its loop, and their end."""

    _on_loop: _OnLoop[Original]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._on_loop.close()


def _waited(
    original: Callable[Concatenate[Original, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[_Twin[Original], P], T]:
    """Returns the twin's method for a coroutine method of the original."""

    @wraps(original)
    def method(twin: _Twin[Original], /, *arguments: P.args, **options: P.kwargs) -> T:
        return twin._on_loop.wait(original(twin._on_loop.client, *arguments, **options))

    return method


def _called(original: Callable[Concatenate[Original, P], T]) -> Callable[Concatenate[_Twin[Original], P], T]:
    """Returns the twin's method for a plain method of the original, which is called on the loop as well."""

    @wraps(original)
    def method(twin: _Twin[Original], /, *arguments: P.args, **options: P.kwargs) -> T:
        async def called() -> T:
            return original(twin._on_loop.client, *arguments, **options)

        return twin._on_loop.wait(called())

    return method


@overload
def _in_thread(
    function: Callable[[T], None], threads: ThreadPoolExecutor | None = None
) -> Callable[[T], Awaitable[None]]: ...


@overload
def _in_thread(function: None, threads: ThreadPoolExecutor | None = None) -> None: ...


def _in_thread(
    function: Callable[[T], None] | None, threads: ThreadPoolExecutor | None = None
) -> Callable[[T], Awaitable[None]] | None:
    """Returns a coroutine function that has `function` called in a thread of `threads`, or of the loop."""
    if function is None:
        return None
    plain = function

    async def called(argument: T) -> None:
        await asyncio.get_running_loop().run_in_executor(threads, plain, argument)

    return called


class _Handed(NamedTuple):
    """A record on its way to the event loop."""

    topic: str
    value: bytes | None
    key: bytes | None
    headers: Headers
    partition: int | None
    timestamp_ms: int | None
    delivery: Future[Delivery]


class Producer(_Twin[producer.Producer]):
    """The synchronous `dohle.Producer`; takes the same options."""

    def __init__(self, bootstrap: str | Sequence[str], **options: Any) -> None:
        self._on_loop = _OnLoop(lambda: producer.Producer(bootstrap, **options))
        self._known_topics: set[str] = set()
        self._room = threading.Semaphore(_MOST_HANDED)
        self._handed: deque[_Handed] = deque()
        self._awake = False  # whether the loop is about to look at what was handed over
        self._sending: asyncio.Task[None] | None = None  # one at a time, for the order's sake

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

    partitions = _waited(producer.Producer.partitions)

    def flush(self) -> None:
        self._on_loop.wait(self._flush())

    def close(self) -> None:
        """Ends; what is not delivered is given up, with a ResourceWarning."""
        super().close()
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


class Consumer(_Twin[consumer.Consumer]):
    """The synchronous `dohle.Consumer`; takes the same options."""

    def __init__(self, bootstrap: str | Sequence[str], **options: Any) -> None:
        self._on_loop = _OnLoop(lambda: consumer.Consumer(bootstrap, **options))

    def subscribe(
        self,
        *topics: str,
        pattern: str | None = None,
        on_assigned: Callable[[list[TopicPartition]], None] | None = None,
        on_revoked: Callable[[list[TopicPartition]], None] | None = None,
        on_lost: Callable[[list[TopicPartition]], None] | None = None,
    ) -> None:
        """See `dohle.Consumer.subscribe`. Callbacks are called in a thread of their own, and may use this consumer."""
        subscribing = self._on_loop.client.subscribe(
            *topics,
            pattern=pattern,
            on_assigned=_in_thread(on_assigned),
            on_revoked=_in_thread(on_revoked),
            on_lost=_in_thread(on_lost),
        )
        self._on_loop.wait(subscribing)

    def run(
        self,
        handler: Callable[[ConsumerRecord], None],
        *,
        workers: int = 1,
        attempts: int = 1,
        retry_backoff_ms: float = 100,
        dead_letters: str | None = None,
    ) -> None:
        """See `dohle.Consumer.run`. Each of the workers is a thread; a handler may use this consumer.

        Interrupted (Ctrl-C), it waits for handlers that have begun; what they handled counts as not finished.
        """
        if workers < 1:
            raise ConfigurationError(f"workers is {workers}; use 1 or more")
        with ThreadPoolExecutor(workers, thread_name_prefix="dohle-worker") as threads:
            running = self._on_loop.client.run(
                _in_thread(handler, threads),
                workers=workers,
                attempts=attempts,
                retry_backoff_ms=retry_backoff_ms,
                dead_letters=dead_letters,
            )
            self._on_loop.wait(running)

    stop = _called(consumer.Consumer.stop)
    unsubscribe = _waited(consumer.Consumer.unsubscribe)
    commit = _waited(consumer.Consumer.commit)
    committed = _waited(consumer.Consumer.committed)
    lag = _waited(consumer.Consumer.lag)
    assign = _waited(consumer.Consumer.assign)
    assignment = _called(consumer.Consumer.assignment)
    seek = _called(consumer.Consumer.seek)
    seek_to_beginning = _waited(consumer.Consumer.seek_to_beginning)
    seek_to_end = _waited(consumer.Consumer.seek_to_end)
    seek_to_time = _waited(consumer.Consumer.seek_to_time)
    pause = _called(consumer.Consumer.pause)
    resume = _called(consumer.Consumer.resume)
    position = _waited(consumer.Consumer.position)
    beginning_offsets = _waited(consumer.Consumer.beginning_offsets)
    end_offsets = _waited(consumer.Consumer.end_offsets)
    offsets_for_time = _waited(consumer.Consumer.offsets_for_time)
    batch = _waited(consumer.Consumer.batch)

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


class Admin(_Twin[admin.Admin]):
    """The synchronous `dohle.Admin`; takes the same options."""

    def __init__(self, bootstrap: str | Sequence[str], **options: Any) -> None:
        self._on_loop = _OnLoop(lambda: admin.Admin(bootstrap, **options))

    create_topics = _waited(admin.Admin.create_topics)
    create_topic = _waited(admin.Admin.create_topic)
    delete_topics = _waited(admin.Admin.delete_topics)
    delete_topic = _waited(admin.Admin.delete_topic)
    list_topics = _waited(admin.Admin.list_topics)
    describe_topics = _waited(admin.Admin.describe_topics)
    describe_topic = _waited(admin.Admin.describe_topic)
    delete_records = _waited(admin.Admin.delete_records)
    list_offsets = _waited(admin.Admin.list_offsets)
    create_partitions = _waited(admin.Admin.create_partitions)
    describe_configs = _waited(admin.Admin.describe_configs)
    alter_configs = _waited(admin.Admin.alter_configs)
    alter_partition_reassignments = _waited(admin.Admin.alter_partition_reassignments)
    list_partition_reassignments = _waited(admin.Admin.list_partition_reassignments)
    fork_topic = _waited(admin.Admin.fork_topic)
    snapshot_topic = _waited(admin.Admin.snapshot_topic)
    restore_topic = _waited(admin.Admin.restore_topic)
    list_snapshots = _waited(admin.Admin.list_snapshots)
    delete_snapshot = _waited(admin.Admin.delete_snapshot)
    list_groups = _waited(admin.Admin.list_groups)
    describe_groups = _waited(admin.Admin.describe_groups)
    alter_group_offsets = _waited(admin.Admin.alter_group_offsets)
    delete_groups = _waited(admin.Admin.delete_groups)
    elect_leaders = _waited(admin.Admin.elect_leaders)
    describe_partition_history = _waited(admin.Admin.describe_partition_history)
    describe_cluster = _waited(admin.Admin.describe_cluster)
    describe_quorum = _waited(admin.Admin.describe_quorum)
    add_voter = _waited(admin.Admin.add_voter)
    remove_voter = _waited(admin.Admin.remove_voter)
    transfer_controller = _waited(admin.Admin.transfer_controller)
    drain_broker = _waited(admin.Admin.drain_broker)
    unregister_broker = _waited(admin.Admin.unregister_broker)
    describe_features = _waited(admin.Admin.describe_features)
    update_features = _waited(admin.Admin.update_features)
    describe_log_dirs = _waited(admin.Admin.describe_log_dirs)
    describe_shortage = _waited(admin.Admin.describe_shortage)
    describe_log_dir_moves = _waited(admin.Admin.describe_log_dir_moves)
    alter_replica_log_dirs = _waited(admin.Admin.alter_replica_log_dirs)
