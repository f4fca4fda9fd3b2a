"""Compaction: every so often, of the topics that ask for it, each key's former records go from the logs of this broker.

Each replica is compacted by itself, leader or not, so that replicas differ in which records are there, and never in the
last one of a key. The one with the largest share of what was not compacted yet comes first; one at a time, at a bounded
rate, with a bounded memory for keys, in a process beside the node.

What a tombstone has deleted must not come back: a replica that was away for longer than delete.retention.ms may have
what it deletes, and would never be told. So tombstones go only while all assigned replicas are in sync, as far as this
broker knows; else they stay for longer. (Kafka lets them go.)
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial

from dohle.broker.membership import Membership
from dohle.broker.metadata_follower import MetadataFollower
from dohle.broker.partition import Partition
from dohle.broker.read_budget import ReadBudget
from dohle.broker.replicas import Replicas
from dohle.broker.surroundings import Surroundings
from dohle.model.errors import DohleError
from dohle.runtime.clock import Clock
from dohle.runtime.tasks import turn
from dohle.runtime.workers import LostWorker, Workers
from dohle.storage.compaction.cleaning import Cleaning, Terms
from dohle.storage.compaction.compactor import Cleanable
from dohle.storage.log_dirs import LogDirs

log = logging.getLogger(__name__)

_IN_A_TURN = 16  # logs that are looked at before the loop does what waits


@dataclass(frozen=True, slots=True)
class CompactionSettings:
    """What an operator sets."""

    backoff_ms: int = 15_000
    bytes_per_s: int = 32 << 20
    memory_bytes: int = 128 << 20


class _Pace:
    def __init__(self, clock: Clock, bytes_per_s: int) -> None:
        self._clock = clock
        self._budget = ReadBudget(clock, lambda: bytes_per_s)

    async def passed(self, size_bytes: int) -> None:
        self._budget.spend(size_bytes)
        await self._clock.sleep(self._budget.pause_s())


class Compaction:
    """Of all logs of one broker: one pass over them after each pause, and none of them has a timer."""

    def __init__(
        self,
        surroundings: Surroundings,
        dirs: LogDirs,
        replicas: Replicas,
        membership: Membership,
        metadata: MetadataFollower,
        workers: Workers,
        settings: CompactionSettings,
    ) -> None:
        self.most_dirty = 0.0  # of the logs that were looked at last, the largest share that was not compacted
        self.failures = 0
        self._surroundings = surroundings
        self._dirs = dirs
        self._replicas = replicas
        self._membership = membership
        self._metadata = metadata
        self._workers = workers
        self._settings = settings
        self._pace = _Pace(surroundings.clock, settings.bytes_per_s)

    async def run(self) -> None:
        while True:
            await self._surroundings.clock.sleep(self._settings.backoff_ms / 1000)
            await self.check()

    async def check(self) -> None:
        """Looks at every log once, and compacts those that are due."""
        due: list[tuple[bool, float, Partition]] = []
        most_dirty = 0.0
        for number, partition in enumerate(list(self._replicas.partitions.values())):
            await turn(number, every=_IN_A_TURN)
            found = await self._look_at(partition)
            if found is not None:
                most_dirty = max(most_dirty, found.ratio)
                if found.is_due:
                    due.append((found.is_late, found.ratio, partition))
        self.most_dirty = most_dirty
        for _, _, partition in sorted(due, key=lambda one: one[:2], reverse=True):
            await self._compact(partition)

    async def _look_at(self, partition: Partition) -> Cleanable | None:
        held = partition.log
        is_here = self._replicas.partitions.get(partition.key) is partition and partition.exchanged is None
        if not held.config.is_compacted or not is_here or not held.is_settled:
            return None
        try:
            return await self._dirs.folder_of(held).compactor.look_at(held, self._surroundings.clock.wall_ms())
        except DohleError as error:
            self._failed(partition, error.message)
            return None

    async def _compact(self, partition: Partition) -> None:
        found = await self._look_at(partition)
        if found is None:
            return
        config = found.log.config
        terms = Terms(
            now_ms=self._surroundings.clock.wall_ms(),
            delete_retention_ms=config.delete_retention_ms,
            memory_bytes=self._settings.memory_bytes,
            tombstones_go=self._tombstones_go(partition),
            producers=found.log.producers.last_below(found.log.high_watermark),
        )
        try:
            aside = await self._workers.aside(partial(Cleaning, terms))
            try:
                await self._dirs.folder_of(found.log).compactor.compact(found, aside, self._pace)
            finally:
                await aside.close()
        except DohleError as error:
            self._failed(partition, error.message)
        except LostWorker as error:
            self._failed(partition, str(error))

    def _tombstones_go(self, partition: Partition) -> bool:
        image = self._metadata.image.partition(partition.key)
        if image is None or self._membership.fenced or self._membership.in_doubt:
            return False
        return set(image.assigned_replicas) <= set(image.in_sync_replicas)

    def _failed(self, partition: Partition, why: str) -> None:
        self.failures += 1
        log.error("%s: it is not compacted: %s", partition.name, why)
