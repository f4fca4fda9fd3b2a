"""Doubtful elections: partitions whose in-sync members do not all come back are led again (replication.md, rule 13).

After every node stopped uncleanly, a topic that did not fsync every append waits until each member of the ISR has
registered, so that the one with the most leads. A member that never comes back is waited for half a minute from the
first one with a doubt, as this controller saw it; then those that are back decide, loudly. Topics that fsync every
append wait for as long as it takes, but for a member that has registered and is not unfenced: after half a minute an
eligible replica leads in its place.

One task, which looks at the partitions only when a broker's state has changed.
"""

from __future__ import annotations

import asyncio

from rpds import HashTrieMap

from dohle.controller.controller import Controller
from dohle.controller.elections import may_settle, settle_doubts
from dohle.model.errors import DohleError
from dohle.model.ids import NO_NODE, NodeId, PartitionKey
from dohle.model.image import BrokerImage, ClusterImage
from dohle.runtime.clock import Clock
from dohle.runtime.tasks import OnFailure, Tasks

PATIENCE_S = 30.0


class DoubtfulElections:
    """Works while this node is the active controller."""

    def __init__(self, controller: Controller, *, clock: Clock, on_failure: OnFailure) -> None:
        self._controller = controller
        self._clock = clock
        self._tasks = Tasks("doubtful elections", on_failure)
        self._seen: HashTrieMap[NodeId, BrokerImage] | None = None  # the brokers of the last look
        self._since: dict[PartitionKey, float] = {}  # when members with a doubt began to wait for others
        self._due_at: float | None = None

    async def start(self) -> None:
        self._tasks.spawn(self._watch(), "watch")

    async def close(self) -> None:
        await self._tasks.close()

    async def _watch(self) -> None:
        changed = asyncio.Event()
        self._controller.watch(changed)
        try:
            while True:
                changed.clear()
                if not self._controller.is_active:
                    self._seen, self._since, self._due_at = None, {}, None
                elif self._controller.committed.brokers is not self._seen:
                    self._look(self._controller.committed)
                if self._due_at is not None and self._due_at <= self._clock.now():
                    await self._settle()
                await self._changed_or_due(changed)
        finally:
            self._controller.unwatch(changed)

    async def _changed_or_due(self, changed: asyncio.Event) -> None:
        await self._clock.wait(changed, None if self._due_at is None else self._due_at - self._clock.now())

    def _look(self, image: ClusterImage) -> None:
        """Finds the partitions that wait; those overdue are tried again, for another broker may be back."""
        now = self._clock.now()
        waiting = [
            key
            for topic in image.topics_in_order()
            for number, partition in enumerate(topic.partitions)
            if partition.leader == NO_NODE and may_settle(image, key := PartitionKey(topic.topic_id, number), partition)
        ]
        self._seen = image.brokers
        self._since = {key: self._since.get(key, now) for key in waiting}
        self._due_at = min([since + PATIENCE_S for since in self._since.values()], default=None)

    async def _settle(self) -> None:
        now = self._clock.now()
        due = [key for key, since in self._since.items() if since + PATIENCE_S <= now]
        later = [since + PATIENCE_S for since in self._since.values() if since + PATIENCE_S > now]
        self._due_at = min(later, default=None)
        try:
            await self._controller.change(lambda image: settle_doubts(image, due))
        except DohleError:
            self._seen = None  # too many wait, or this node is active no longer: looks anew at the next change
