"""Housekeeper: a simulated client that does now and then what operators do, so that topics come and go meanwhile.

What it asks for may fail while the cluster is in trouble; what must not happen is an error that says it asked wrongly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from dohle.client.admin import Admin
from dohle.client.consumer import Consumer
from dohle.client.producer import Producer
from dohle.model.errors import DohleError, InvalidReplicationFactor, TopicAlreadyExists, UnknownTopicOrPartition
from dohle.testing.clients.sim_client import SimClient

_TOPICS = ("aside", "beside")
_RISKY = "beside"
"""Where it gambles, this topic counts what is not synced, and lets replicas lead that lack records."""
_RISKY_CONFIGS = {"flush.messages": "1000", "unclean.leader.election.enable": "true"}
_MOST_PARTITIONS = 3
_REQUEST_TIMEOUT_MS = 8_000
_SCRIBBLE_MS = 2_000
_LOOK_UP_S = 1.0
_EXPECTED = (
    TopicAlreadyExists,  # it was made by a request whose answer got lost
    UnknownTopicOrPartition,
    InvalidReplicationFactor,  # too few brokers are there
)


@dataclass(slots=True)
class Housekeeper:
    """Works for `topic` and on topics of its own. `done` counts what succeeded."""

    client: SimClient
    topic: str
    replication_factor: int
    every_s: float
    gambles: bool = False
    done: Counter[str] = field(default_factory=Counter)

    async def run(self, over: Callable[[], bool]) -> None:
        chance = self.client.random
        tasks = {"create": self._create, "delete": self._delete, "describe": self._describe, "ends": self._list_offsets}
        if self.gambles:
            tasks["scribble"] = self._scribble
        async with Admin(self.client.bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS, **self.client.seams) as admin:
            while not over():
                name = chance.choice(sorted(tasks))
                try:
                    await tasks[name](admin)
                    self.done[name] += 1
                except DohleError as error:
                    if error.definite and not error.retriable and not isinstance(error, _EXPECTED):
                        raise
                await self._rest(chance.expovariate(1 / self.every_s), over)

    async def _rest(self, seconds: float, over: Callable[[], bool]) -> None:
        clock = self.client.clock
        until = clock.now() + seconds
        while clock.now() < until and not over():
            await clock.sleep(_LOOK_UP_S)

    async def _create(self, admin: Admin) -> None:
        partitions = self.client.random.randint(1, _MOST_PARTITIONS)
        name = self.client.random.choice(_TOPICS)
        configs = {}
        if self.gambles and name == _RISKY:
            minimum = self.client.random.randint(1, self.replication_factor)
            configs = {**_RISKY_CONFIGS, "min.insync.replicas": str(minimum)}
        await admin.create_topic(
            name, partitions=partitions, replication_factor=self.replication_factor, configs=configs
        )

    async def _scribble(self, _admin: Admin) -> None:
        """Writes what nobody reads, so that there is something to lose."""
        async with Producer(
            self.client.bootstrap,
            acks=self.client.random.choice((1, "all")),
            idempotent=False,
            delivery_timeout_ms=_SCRIBBLE_MS,
            request_timeout_ms=_SCRIBBLE_MS,
            max_block_ms=_SCRIBBLE_MS,
            **self.client.seams,
        ) as producer:
            for number in range(self.client.random.randint(1, 30)):
                await producer.send(_RISKY, b"%d" % number)

    async def _delete(self, admin: Admin) -> None:
        there = [topic.name for topic in await admin.list_topics() if topic.name in _TOPICS]
        await admin.delete_topic(self.client.random.choice(there or _TOPICS))

    async def _describe(self, admin: Admin) -> None:
        await admin.describe_cluster()
        names = [topic.name for topic in await admin.list_topics()]
        await admin.describe_topic(self.client.random.choice(names))

    async def _list_offsets(self, _admin: Admin) -> None:
        async with self._consumer() as consumer:
            await consumer.assign(self.topic)
            starts = await consumer.beginning_offsets()
            ends = await consumer.end_offsets()
        for partition, start in starts.items():
            assert start <= ends[partition], f"{partition} begins at {start} and ends at {ends[partition]}"

    def _consumer(self) -> Consumer:
        return Consumer(self.client.bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS, **self.client.seams)
