"""One replica on this broker: its log, and the role that metadata gives it.

A role ends before the next begins: a leader's waiting acknowledgements have failed, a follower's truncation has
finished. Whoever waits for something of the partition (a consumer for data, say) watches it, and is woken when the
watermark moves and when the role changes, which rule 15 asks for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from dohle.broker.following import Following
from dohle.broker.leading import Leading
from dohle.broker.rate import Rate
from dohle.model.errors import LeaderNotAvailable, NotLeaderOrFollower, UnknownTopicOrPartition
from dohle.model.ids import PartitionKey, TopicPartition
from dohle.storage.log import Log

Watcher = Callable[[], None]
T = TypeVar("T")

HOLD_S = 0.5
"""How long a producer waits while the log is exchanged; then it is told to come again."""


class Partition:
    """A replica; `role` is None while it neither leads nor follows: no leader is known, or its log is damaged."""

    def __init__(self, key: PartitionKey, name: TopicPartition, log: Log, now: float) -> None:
        self.key = key
        self.name = name
        self.log = log
        self.role: Leading | Following | None = None
        self.fills = False  # it was made anew, and has not been in sync
        self.exchanged: asyncio.Event | None = None  # set once the log that takes this one's place is there
        self.bytes_in = Rate(now)  # from producers
        self.bytes_out = Rate(now)  # to consumers
        self._watchers: dict[Watcher, None] = {}

    def leading(self) -> Leading:
        """Returns the leading role. Raises NotLeaderOrFollower, which says so where damage is the reason.

        Whoever asks is to look for the leader in either case: another replica may well be one.
        """
        if isinstance(self.role, Leading):
            return self.role
        reason = "" if self.log.damage is None else f": its replica is damaged, {self.log.damage}"
        raise NotLeaderOrFollower(f"this broker does not lead {self.name}{reason}")

    # another log takes the place of this one, under the same role

    @contextlib.contextmanager
    def appends_wait(self) -> Iterator[None]:
        """Meanwhile the log may become another one."""
        exchanged = self.exchanged = asyncio.Event()
        try:
            yield
        finally:
            self.exchanged = None
            exchanged.set()

    async def may_append(self) -> None:
        """Returns once `exchanged` is None. Raises LeaderNotAvailable if that takes too long."""
        try:
            async with asyncio.timeout(HOLD_S):
                while self.exchanged is not None:
                    await self.exchanged.wait()
        except TimeoutError:
            raise LeaderNotAvailable(
                f"{self.name} is changing over to another log directory; nothing was written: try again"
            ) from None

    def goes_on_with(self, log: Log, *, disk: int) -> None:
        """The role goes on with `log`, which is equal to this one and lies in the log folder of that number."""
        log.on_durable, self.log.on_durable = self.log.on_durable, None
        self.log = log
        match self.role:
            case Leading():
                self.role.log = log
            case Following():
                self.role.goes_on_with(log, disk)

    async def read(self, work: Callable[[Log], Awaitable[T]]) -> T:
        """Returns what `work` reads of the log; of the next one where that takes its place meanwhile."""
        while True:
            log = self.log
            try:
                return await work(log)
            except UnknownTopicOrPartition:  # it was closed
                if self.exchanged is not None:
                    await self.exchanged.wait()
                if self.log is log:
                    raise

    def watch(self, watcher: Watcher) -> None:
        self._watchers[watcher] = None

    def unwatch(self, watcher: Watcher) -> None:
        self._watchers.pop(watcher, None)

    def wake_watchers(self) -> None:
        for watcher in list(self._watchers):
            watcher()
