"""A model of a cluster behind the seam of clients, sound but for the bug that it is given."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from dohle.model.ids import TopicPartition
from dohle.testing.chaos.workloads.log_client import Failure, Headers, ProducerPlan, Record, Settled

_EVERY = 23
"""So often something happens to a record."""


class ModelCluster:
    """`bug`: "", "lost", "doubled", "swapped", "lied", "stale" or "brought back". Ends the work once it has `most`."""

    def __init__(self, bug: str, most: int) -> None:
        self.bug = bug
        self.logs: dict[TopicPartition, list[Record]] = defaultdict(list)
        self.groups: dict[str, ModelGroup] = defaultdict(ModelGroup)
        self.taken = 0
        self.over = asyncio.Event()
        self._most = most

    def take(self, record: Record) -> int | None:
        """Returns the offset, None if it is not told. Raises Failure."""
        self.taken += 1
        if self.taken >= self._most:
            self.over.set()
        match self.taken % _EVERY:
            case 0:
                raise Failure("refused", definite=True)
            case 1:
                raise Failure("timed out, and it was not written")
            case 2:
                self._append(record)
                raise Failure("timed out, and it was written")
            case 3:
                self._append(record)
                return None
            case 4 if self.bug == "lied":
                self._append(record)
                raise Failure("refused, and written all the same", definite=True)
            case 5 if self.bug == "lost":
                return len(self.logs[record.partition])
            case 6 if self.bug == "doubled":
                self._append(record)
        return self._append(record)

    def _append(self, record: Record) -> int:
        log = self.logs[record.partition]
        log.append(record._replace(offset=len(log)))
        if self.bug == "swapped" and self.taken % _EVERY == 7 and len(log) > 1:
            last, former = log[-1], log[-2]
            log[-2:] = [last._replace(offset=former.offset), former._replace(offset=last.offset)]
        return len(log) - 1

    def shown(self, partition: TopicPartition, start: int) -> list[Record]:
        log = self.logs[partition]
        if self.bug == "brought back":  # what was put last is not shown
            last = max((one.offset for one in log if one.key == log[-1].key), default=-1) if log else -1
            log = [one for one in log if one.offset != last]
        return log[start:] if self.bug != "brought back" else [one for one in log if one.offset >= start]

    # the seam

    def producer(self, plan: ProducerPlan) -> ModelProducer:
        return ModelProducer(self)

    def consumer(self, group: str | None = None) -> ModelConsumer:
        return ModelConsumer(self, None if group is None else self.groups[group])

    def stand_still(self, seconds: float) -> None:
        pass

    async def close(self) -> None:
        pass


class ModelGroup:
    """Whoever subscribed last has all partitions."""

    def __init__(self) -> None:
        self.committed: dict[TopicPartition, int] = {}
        self.former: dict[TopicPartition, int] = {}
        self.owner: ModelConsumer | None = None
        self.epoch = 0


class ModelProducer:
    def __init__(self, cluster: ModelCluster) -> None:
        self._cluster = cluster

    async def send(
        self,
        partition: TopicPartition,
        value: bytes | None,
        settled: Settled,
        *,
        key: bytes | None = None,
        headers: Headers = (),
    ) -> None:
        try:
            offset = self._cluster.take(Record(partition, -1, key, value, headers))
        except Failure as failure:
            settled(None, failure)
        else:
            settled(offset, None)
        await asyncio.sleep(0)

    async def flush(self) -> None:
        pass

    async def close(self) -> None:
        pass


class ModelConsumer:
    def __init__(self, cluster: ModelCluster, group: ModelGroup | None) -> None:
        self._cluster = cluster
        self._group = group
        self._positions: dict[TopicPartition, int] = {}
        self._changed: Callable[[Sequence[TopicPartition]], None] | None = None
        self._epoch = -1

    async def assign(self, starts: Mapping[TopicPartition, int]) -> None:
        self._positions = dict(starts)

    async def subscribe(self, topics: Sequence[str], changed: Callable[[Sequence[TopicPartition]], None]) -> None:
        assert self._group is not None
        self._changed = changed
        self._group.epoch += 1
        self._group.owner, self._epoch = self, self._group.epoch

    async def poll(self, most: int, timeout_s: float) -> list[Record]:
        await asyncio.sleep(0.001)
        if self._group is not None and self._changed is not None:
            self._follow(self._group, self._changed)
        records = [one for name, start in self._positions.items() for one in self._cluster.shown(name, start)][:most]
        for one in records:
            self._positions[one.partition] = one.offset + 1
        return records

    def _follow(self, group: ModelGroup, changed: Callable[[Sequence[TopicPartition]], None]) -> None:
        names = sorted(self._cluster.logs)
        if group.owner is not self:
            changed(list(self._positions))
            self._positions = {}
        elif sorted(self._positions) != names:
            changed(names)
            self._positions = {name: group.committed.get(name, 0) for name in names}

    async def ends(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {name: len(self._cluster.logs[name]) for name in partitions}

    async def position(self, partition: TopicPartition) -> int:
        shown = self._cluster.shown(partition, self._positions[partition])
        return self._positions[partition] if shown else len(self._cluster.logs[partition])

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> int:
        assert self._group is not None
        if self._changed is not None and self._group.owner is not self:
            raise Failure("not a member any more", definite=True, epoch=self._epoch)
        self._group.former |= {name: self._group.committed[name] for name in offsets if name in self._group.committed}
        self._group.committed |= offsets
        return self._epoch

    async def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int | None]:
        assert self._group is not None
        found = self._group.former if self._cluster.bug == "stale" else self._group.committed
        return {name: found.get(name) for name in partitions}

    async def close(self) -> None:
        if self._group is not None and self._group.owner is self:
            self._group.owner = None
