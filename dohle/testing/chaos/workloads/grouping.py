"""Grouping: members of a group that share topics, commit by hand, come and go, and now and then stand still.

A poll is ok once its records were dealt with. A member that stood still for longer than its session goes on as if
nothing had happened, and first of all commits: that must be refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from dohle.model.ids import TopicPartition
from dohle.testing.chaos.history_file import Process
from dohle.testing.chaos.workloads.log_client import Failure, LogConsumer, Record
from dohle.testing.chaos.workloads.reading import by_log
from dohle.testing.chaos.workloads.work import Work
from dohle.testing.history.operations import Commit, Committed, Outcome, Poll, Subscribe

_POLL_S = 0.5
_POLL_RECORDS = (1, 50, 500)
_COMMITS = 0.5
_LEAVES = 0.01
_STANDS_STILL = 0.0015
_LONGEST_STAND_S = 15.0
_SLOWEST_S = 0.2
_ASKS_EVERY_S = 2.0
_RETRY_S = 0.5
_CATCHES_UP_S = 30.0
_EMPTY_POLLS = 4
"""After so many it has caught up."""


def group_of(work: Work) -> str:
    """Returns the group's name: members with other clients, which speak another protocol, have a group of their own."""
    return f"group-{work.job.client}"


async def be_members(work: Work, name: str) -> None:
    """Is one member after the other, until the work is over and the last has caught up."""
    chance = work.chance(name)
    life = 0
    while not work.over.is_set():
        await _Member(work, work.process(f"{name}.{life}"), chance).live()
        life += 1


async def ask_along(work: Work, name: str) -> None:
    """Asks again and again what the group has committed, until the work is over."""
    process = work.process(name)
    consumer = work.client.consumer(group_of(work))
    while not work.over.is_set():
        operation = process.invoke(Committed(group_of(work)))
        try:
            found = await consumer.committed(work.partitions)
        except Failure as failure:
            process.complete(operation, Outcome.INFO, why=failure.why)
        else:
            told = {str(one): offset for one, offset in found.items()}
            process.complete(operation, Outcome.OK, Committed(group_of(work), told))
        await work.rest(_ASKS_EVERY_S)
    await consumer.close()


@dataclass
class _Member:
    """One life of a member. `next`: where each of its partitions goes on behind what was dealt with."""

    work: Work
    process: Process
    chance: Random
    next: dict[TopicPartition, int] = field(default_factory=dict)
    rebalanced: dict[TopicPartition, None] = field(default_factory=dict)
    empty_polls: int = 0

    async def live(self) -> None:
        """Returns once it has left, or something failed that ends a member's life."""
        consumer = self.work.client.consumer(group_of(self.work))
        subscribed = self.process.invoke(Subscribe(tuple(sorted(self.work.job.topics)), group_of(self.work)))
        self.process.complete(subscribed, Outcome.OK)  # from now on it may be given something
        try:
            await consumer.subscribe(sorted(self.work.job.topics), self._changed)
            deadline: float | None = None
            while deadline is None or (time.monotonic() < deadline and self.empty_polls < _EMPTY_POLLS):
                await self._step(consumer)
                if self.work.over.is_set():
                    deadline = deadline or time.monotonic() + _CATCHES_UP_S
                elif self.chance.random() < _LEAVES:
                    break
            await self._commit(consumer)
        except Failure:
            await self.work.rest(_RETRY_S)
        finally:
            await consumer.close()

    async def _step(self, consumer: LogConsumer) -> None:
        stands_still = self.chance.random() < _STANDS_STILL and not self.work.over.is_set()
        await self._poll(consumer)
        if stands_still:
            self.work.client.stand_still(self.chance.uniform(0, _LONGEST_STAND_S))
        if stands_still or self.chance.random() < _COMMITS:
            await self._commit(consumer)

    async def _poll(self, consumer: LogConsumer) -> None:
        operation = self.process.invoke(Poll())
        try:
            records = await consumer.poll(self.chance.choice(_POLL_RECORDS), _POLL_S)
        except Failure as failure:
            self.process.complete(operation, Outcome.INFO, why=failure.why)
            raise
        before, self.rebalanced = self.rebalanced, {}  # what happens from now on concerns the next poll, too
        if records:
            await asyncio.sleep(self.chance.uniform(0, _SLOWEST_S))
        self.empty_polls = 0 if records else self.empty_polls + 1
        rebalanced = tuple(map(str, {**before, **self.rebalanced}))
        self.process.complete(operation, Outcome.OK, Poll(by_log(records)), rebalanced=rebalanced)
        self._dealt_with(records)

    def _dealt_with(self, records: Sequence[Record]) -> None:
        for record in records:
            if record.partition not in self.rebalanced:
                self.next[record.partition] = record.offset + 1

    async def _commit(self, consumer: LogConsumer) -> None:
        if not self.next:
            return
        offsets, self.next = self.next, {}
        logs = {str(partition): offset for partition, offset in offsets.items()}
        operation = self.process.invoke(Commit(group_of(self.work), logs))
        try:
            epoch = await consumer.commit(offsets)
        except Failure as failure:
            outcome = Outcome.FAIL if failure.definite else Outcome.INFO
            self.process.complete(operation, outcome, Commit(group_of(self.work), logs, failure.epoch), why=failure.why)
        else:
            self.process.complete(operation, Outcome.OK, Commit(group_of(self.work), logs, epoch))

    def _changed(self, partitions: Sequence[TopicPartition]) -> None:
        for partition in partitions:
            self.rebalanced[partition] = None
            self.next.pop(partition, None)
