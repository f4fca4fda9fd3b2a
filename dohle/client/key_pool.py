"""KeyPool: runs a handler on many records at once, yet in order for each key of a partition.

Records with the same key wait for each other, others do not; those without a key wait for nobody. With one worker all
records of a partition are in order. Of each partition the lowest record that is not finished is known: up to there it
may be committed. One on which the handler fails for good goes to the dead letters, if there are any; if there are none,
or they cannot be written, the pool ends by that failure, and the record is not finished.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from dohle.client.assigned_partition import AssignedPartition
from dohle.client.dead_letters import DeadLetters
from dohle.client.offset_tracker import OffsetTracker
from dohle.client.unfinished import Unfinished
from dohle.client.values import ConsumerRecord
from dohle.model.errors import ConfigurationError
from dohle.runtime.clock import Clock
from dohle.runtime.tasks import Tasks, cancel

log = logging.getLogger(__name__)

_WAITING_EACH: Final = 32
"""Records that are taken, for each worker."""
_LONGEST_BACKOFF_S: Final = 5.0

Handler: TypeAlias = Callable[[ConsumerRecord], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a handler is tried on a record; the pause between doubles from `backoff_ms` on, up to 5 s."""

    attempts: int
    backoff_ms: float

    @classmethod
    def checked(cls, attempts: int, backoff_ms: float) -> Patience:
        """Raises ConfigurationError."""
        if attempts < 1 or backoff_ms < 0:
            raise ConfigurationError(f"attempts is {attempts}, retry_backoff_ms {backoff_ms}: use 1 or more, 0 or more")
        return cls(attempts, backoff_ms)


class _Work(NamedTuple):
    partition: AssignedPartition
    tracker: OffsetTracker
    record: ConsumerRecord


class KeyPool(Unfinished):
    """`workers` records are handled at once, at the most. `end` has been called, or it has ended by itself, once
    `ended` is set; `failure` is then why, if anything failed."""

    def __init__(
        self,
        handler: Handler,
        workers: int,
        patience: Patience,
        dead_letters: DeadLetters | None,
        clock: Clock,
        tasks: Tasks,
    ) -> None:
        if workers < 1:
            raise ConfigurationError(f"workers is {workers}; use 1 or more")
        self.ended = asyncio.Event()
        self.failure: Exception | None = None
        self._handler = handler
        self._patience = patience
        self._dead_letters = dead_letters
        self._clock = clock
        self._in_order = workers == 1
        self._most = workers * _WAITING_EACH
        self._waiting = 0  # records that are taken, those in work included
        self._lanes: dict[Hashable, deque[_Work]] = {}  # of each, the first is in work or comes next
        self._ready: asyncio.Queue[Hashable] = asyncio.Queue()  # lanes, each as often as it may be looked at
        self._began: dict[Hashable, float] = {}  # the lanes in work, since when
        self._trackers: dict[AssignedPartition, OffsetTracker] = {}
        self._in_work: dict[AssignedPartition, int] = {}
        self._progress = asyncio.Event()
        self._workers = [tasks.spawn(self._work(), f"worker {number}") for number in range(workers)]

    async def room(self) -> None:
        """Returns when there is room for another record."""
        while self._waiting >= self._most:
            await self._progress.wait()

    def put(self, partition: AssignedPartition, record: ConsumerRecord) -> None:
        """Takes a record; its offset is higher than those of `partition` before, unless the reader sought."""
        tracker = self._trackers.setdefault(partition, OffsetTracker())
        tracker.begin(record.offset)
        self._waiting += 1
        lane = self._lane(record)
        queue = self._lanes.setdefault(lane, deque())
        queue.append(_Work(partition, tracker, record))
        if len(queue) == 1:
            self._ready.put_nowait(lane)

    def end(self, failure: Exception | None = None) -> None:
        """Begins nothing more. The first failure counts."""
        if not self.ended.is_set():
            self.failure = failure
            self.ended.set()

    async def close(self, *, at_once: bool) -> None:
        """Returns when nothing is in work any more: what is in work is finished, or, `at_once`, cancelled."""
        self.end()
        while self._began and not at_once:
            await self._progress.wait()
        for worker in self._workers:
            await cancel(worker)

    def finished_to(self, partition: AssignedPartition) -> int | None:
        tracker = self._trackers.get(partition)
        lowest = None if tracker is None else tracker.lowest()
        return partition.position if lowest is None else lowest

    def hold(self, partition: AssignedPartition) -> None:
        """What has not begun stays unfinished for ever."""
        for lane, queue in list(self._lanes.items()):
            first = [queue[0]] if lane in self._began else []
            kept = deque([*first, *(work for work in list(queue)[len(first) :] if work.partition is not partition)])
            self._waiting -= len(queue) - len(kept)
            if kept:
                self._lanes[lane] = kept
            else:
                del self._lanes[lane]
        self._tell()

    def sought(self, partition: AssignedPartition) -> None:
        self.hold(partition)
        self._trackers.pop(partition, None)

    def forget(self, partition: AssignedPartition) -> None:
        self.sought(partition)

    async def until_finished(self, partition: AssignedPartition) -> None:
        while self._in_work.get(partition):
            await self._progress.wait()

    def busy_since(self) -> float | None:
        return next(iter(self._began.values()), None)

    def _lane(self, record: ConsumerRecord) -> Hashable:
        if self._in_order:
            return record.topic, record.partition
        if record.key is None:
            return record.topic, record.partition, None, record.offset
        return record.topic, record.partition, record.key

    async def _work(self) -> None:
        while True:
            lane = await self._ready.get()
            if self.ended.is_set():
                return
            if lane in self._began or lane not in self._lanes:
                continue  # it waits for another worker, who has it looked at again; or what it had was dropped
            work = self._lanes[lane][0]
            self._began[lane] = self._clock.now()
            self._in_work[work.partition] = self._in_work.get(work.partition, 0) + 1
            try:
                failure = await self._handle(work.record)
            finally:
                del self._began[lane]
                self._leave(work.partition)
            if failure is not None:
                self.end(failure)
                self._tell()
                return
            work.tracker.end(work.record.offset)
            self._next(lane)
            self._tell()

    def _next(self, lane: Hashable) -> None:
        queue = self._lanes[lane]
        queue.popleft()
        self._waiting -= 1
        if queue:
            self._ready.put_nowait(lane)
        else:
            del self._lanes[lane]

    def _leave(self, partition: AssignedPartition) -> None:
        self._in_work[partition] -= 1
        if not self._in_work[partition]:
            del self._in_work[partition]

    async def _handle(self, record: ConsumerRecord) -> Exception | None:
        """Returns why the record is not finished; None if it is, by the handler or as a dead letter."""
        backoff_s = self._patience.backoff_ms / 1000
        for attempt in range(1, self._patience.attempts + 1):
            try:
                outcome = self._handler(record)
                if inspect.isawaitable(outcome):
                    await outcome
            except Exception as failure:  # noqa: BLE001 - whatever the user's handler raises
                last = failure
            else:
                return None
            if attempt < self._patience.attempts:
                await self._clock.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, _LONGEST_BACKOFF_S)
        if self._dead_letters is None:
            return last
        try:
            await self._dead_letters.send(record, last, self._patience.attempts)
        except Exception as failure:  # noqa: BLE001 - a record that cannot be put aside must not be passed over
            failure.__context__ = last
            return failure
        return None

    def _tell(self) -> None:
        progress, self._progress = self._progress, asyncio.Event()
        progress.set()
