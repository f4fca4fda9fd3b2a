"""Forker: a simulated client that forks a topic, reads both as far as they are to be the same, and writes to both.

What must not happen: that a fork lacks a record that its source has below the cut, or has another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dohle.client.admin import Admin
from dohle.client.consumer import Consumer
from dohle.client.producer import Producer
from dohle.client.values import ForkedTopic
from dohle.model.errors import (
    DamagedReplica,
    DohleError,
    InvalidReplicaAssignment,
    OffsetOutOfRange,
    ReassignmentInProgress,
    TopicAlreadyExists,
    UnknownTopicOrPartition,
    UnsupportedVersion,
)
from dohle.model.ids import TopicPartition
from dohle.testing.clients.sim_client import SimClient

PREFIX = "fork"
_REQUEST_TIMEOUT_MS = 15_000
_LOOK_UP_S = 1.0
_POLL_MS = 500
_MOST_TRIES = 20
_KEPT = 2
_FAR_BACK = 60
_FAR_BACK_MS = 10_000
_EXPECTED = (
    DamagedReplica,  # the leader's, and whoever else may lead has not taken over yet
    InvalidReplicaAssignment,  # a broker drains
    OffsetOutOfRange,  # it was deleted meanwhile
    ReassignmentInProgress,
    TopicAlreadyExists,
    UnknownTopicOrPartition,  # who answers has not heard of the topic
    UnsupportedVersion,  # nodes are being upgraded
)

_Found = dict[TopicPartition, dict[int, bytes | None]]


@dataclass(slots=True)
class Forker:
    """Works on forks of `topic`. `forked` counts those that came to be, `compared` records that were found in both."""

    client: SimClient
    topic: str
    every_s: float
    forked: int = 0
    compared: int = 0
    _begun: int = 0
    _there: list[str] = field(default_factory=list)

    async def run(self, over: Callable[[], bool]) -> None:
        chance, clock = self.client.random, self.client.clock
        async with Admin(self.client.bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS, **self.client.seams) as admin:
            while not over():
                until = clock.now() + chance.expovariate(1 / self.every_s)
                while clock.now() < until and not over():
                    await clock.sleep(_LOOK_UP_S)
                try:
                    await self._fork(admin, over)
                except DohleError as error:
                    if error.definite and not error.retriable and not isinstance(error, _EXPECTED):
                        raise

    async def _fork(self, admin: Admin, over: Callable[[], bool]) -> None:
        self._begun += 1
        name = f"{PREFIX}{self._begun}"
        made = await self._made(admin, name)
        self.forked += 1
        await self._compare(made, over)
        await self._write(name)
        self._there.append(name)
        if len(self._there) > _KEPT:
            await admin.delete_topic(self._there.pop(0))

    async def _made(self, admin: Admin, name: str) -> ForkedTopic:
        chance, wall_ms = self.client.random, self.client.clock.wall_ms()
        where = chance.choice(("now", "now", "offset", "time"))
        if where == "time":
            return await admin.fork_topic(self.topic, name, timestamp_ms=wall_ms - chance.randrange(_FAR_BACK_MS))
        if where == "now":
            return await admin.fork_topic(self.topic, name)
        async with self._consumer() as consumer:
            await consumer.assign(self.topic)
            ends = await consumer.end_offsets()
        offsets = {one.partition: max(0, end - chance.randrange(_FAR_BACK)) for one, end in ends.items()}
        return await admin.fork_topic(self.topic, name, offsets=offsets)

    async def _compare(self, made: ForkedTopic, over: Callable[[], bool]) -> None:
        of_fork = await self._read(made.name, made.ends, over)
        of_source = await self._read(self.topic, made.ends, over)
        try:
            starts = await self._starts()
        except DohleError:  # nobody answers now
            return
        for name, records in of_fork.items():
            of = TopicPartition(self.topic, name.partition)
            source = of_source.get(of, {})
            # some may have been deleted while the source was read
            begins = max(min(records, default=0), min(source, default=0), starts.get(of, 0))
            here = {offset: value for offset, value in records.items() if offset >= begins}
            there = {offset: value for offset, value in source.items() if offset >= begins}
            if not here or not there:
                continue  # nothing was read, or all is deleted there by now
            assert here == there, (
                f"{name} was forked at {made.ends.get(name.partition)} and has, from {begins} on,"
                f" {sorted(here.items() - there.items())[:3]} in place of {sorted(there.items() - here.items())[:3]}"
            )
            self.compared += len(here)

    async def _starts(self) -> dict[TopicPartition, int]:
        async with self._consumer() as consumer:
            await consumer.assign(self.topic)
            return await consumer.beginning_offsets()

    async def _read(self, topic: str, ends: Mapping[int, int], over: Callable[[], bool]) -> _Found:
        """Returns what lies below `ends`; nothing of what cannot be read now."""
        found: _Found = {}
        for _ in range(_MOST_TRIES):
            if over():
                return {}
            try:
                async with self._consumer() as consumer:
                    await consumer.assign(topic)
                    await consumer.seek_to_beginning()
                    found = {one: {} for one in consumer.assignment()}
                    left = [one for one in found if ends.get(one.partition)]
                    while left and not over():
                        for record in await consumer.batch(timeout_ms=_POLL_MS):
                            if record.offset < ends.get(record.partition, 0):
                                found[TopicPartition(topic, record.partition)][record.offset] = record.value
                        left = [one for one in left if await consumer.position(one) < ends[one.partition]]
                    return {} if left else found
            except DohleError:  # nobody answers, or who does has not heard of the topic
                await self.client.clock.sleep(_LOOK_UP_S)
        return {}

    async def _write(self, name: str) -> None:
        """Has the fork grow, so that there is something to lose that its source does not have."""
        async with Producer(
            self.client.bootstrap,
            linger_ms=0,
            delivery_timeout_ms=4_000,
            request_timeout_ms=2_000,
            max_block_ms=2_000,
            **self.client.seams,
        ) as producer:
            for number in range(self.client.random.randint(0, 10)):
                await producer.send(name, b"%s:%d" % (name.encode(), number))

    def _consumer(self) -> Consumer:
        return Consumer(self.client.bootstrap, request_timeout_ms=5_000, **self.client.seams)
