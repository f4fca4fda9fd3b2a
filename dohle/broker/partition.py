"""One replica on this broker: its log, and the role that metadata gives it.

A role ends before the next begins: a leader's waiting acknowledgements have failed, a follower's truncation has
finished. Whoever waits for something of the partition (a consumer for data, say) watches it, and is woken when the
watermark moves and when the role changes, which rule 15 asks for.
"""

from __future__ import annotations

from collections.abc import Callable

from dohle.broker.following import Following
from dohle.broker.leading import Leading
from dohle.broker.rate import Rate
from dohle.model.errors import NotLeaderOrFollower
from dohle.model.ids import PartitionKey, TopicPartition
from dohle.storage.log import Log

Watcher = Callable[[], None]


class Partition:
    """A replica; `role` is None while it neither leads nor follows: no leader is known, or its log is damaged."""

    def __init__(self, key: PartitionKey, name: TopicPartition, log: Log, now: float) -> None:
        self.key = key
        self.name = name
        self.log = log
        self.role: Leading | Following | None = None
        self.fills = False  # it was made anew, and has not been in sync
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

    def watch(self, watcher: Watcher) -> None:
        self._watchers[watcher] = None

    def unwatch(self, watcher: Watcher) -> None:
        self._watchers.pop(watcher, None)

    def wake_watchers(self) -> None:
        for watcher in list(self._watchers):
            watcher()
