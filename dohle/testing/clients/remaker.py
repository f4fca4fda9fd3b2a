"""Remaker: a simulated client that fills a topic, deletes it, and makes it again under the same name, all over.

What must not happen: that a topic shows records of one that had its name before. Lives of the topic are told apart by
their ids. Between them there is time enough for requests whose outcome is not known to have been carried out or lost,
so that what a life's producer wrote is in no later life by right.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from dohle.client.admin import Admin
from dohle.client.consumer import Consumer
from dohle.client.producer import Producer
from dohle.model.errors import (
    DohleError,
    InvalidReplicationFactor,
    InvalidTimestamp,
    TopicAlreadyExists,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from dohle.model.ids import TopicPartition
from dohle.testing.clients.sim_client import SimClient

TOPIC = "again"
_PARTITION = TopicPartition(TOPIC, 0)
_REQUEST_TIMEOUT_MS = 4_000
_LATE_S = 15.0
"""A request whose outcome is not known is carried out within so long, or never."""
_RETRY_S = 0.5
_MOST_RECORDS = 20
_POLLS = 3
_EXPECTED = (
    InvalidReplicationFactor,  # too few brokers are there
    InvalidTimestamp,  # the leader's clock is hours behind this client's
    UnknownTopicId,
    UnknownTopicOrPartition,
)


class _Unknown(Exception):
    """Nobody knows whether what was asked for has been done, or will be."""


@dataclass(slots=True)
class Remaker:
    """Works on a topic of its own. `read` counts the records that it found to be of their topic's own life."""

    client: SimClient
    replication_factor: int
    read: int = 0
    lives: list[bytes] = field(default_factory=list)  # the ids that the topic has had

    async def run(self, over: Callable[[], bool]) -> None:
        async with Admin(self.client.bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS, **self.client.seams) as admin:
            while not over():
                try:
                    await self._live_once(admin)
                except _Unknown:
                    await self._rest(_LATE_S, over)
                except DohleError as error:
                    if error.definite and not error.retriable and not isinstance(error, _EXPECTED):
                        raise
                await self._rest(_RETRY_S, over)

    async def _live_once(self, admin: Admin) -> None:
        await _change(admin.create_topic(TOPIC, partitions=1, replication_factor=self.replication_factor))
        topic_id = (await admin.describe_topic(TOPIC)).topic_id
        if topic_id not in self.lives:  # else who answered has not heard of the new one, or the old one is still there
            self.lives.append(topic_id)
            await self._fill(len(self.lives) - 1)
            await self._look(len(self.lives) - 1)
        await _change(admin.delete_topic(TOPIC))

    async def _fill(self, life: int) -> None:
        seams = self.client.seams
        async with Producer(
            self.client.bootstrap,
            linger_ms=0,
            delivery_timeout_ms=5_000,
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
            **seams,
        ) as producer:
            for _ in range(self.client.random.randint(1, _MOST_RECORDS)):
                await producer.send_and_wait(TOPIC, b"%d" % life)

    async def _look(self, newest: int) -> None:
        async with Consumer(self.client.bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS, **self.client.seams) as it:
            await it.assign(TOPIC)
            topic_id = it._fetcher.assigned[_PARTITION].key.topic_id  # an older life's, if brokers lag
            if topic_id not in self.lives:
                return
            life = self.lives.index(topic_id)
            for _ in range(_POLLS):
                for record in await it.batch():
                    written_in = int(record.value or b"")
                    assert written_in >= life, (
                        f"{TOPIC} was made again, as number {life} of {newest}, and shows at offset {record.offset} a"
                        f" record that was written to number {written_in}"
                    )
                    self.read += 1

    async def _rest(self, seconds: float, over: Callable[[], bool]) -> None:
        clock = self.client.clock
        until = clock.now() + seconds
        while clock.now() < until and not over():
            await clock.sleep(_RETRY_S)


async def _change(work: Coroutine[Any, Any, object]) -> None:
    """Has the topic made, or deleted, whoever does it. Raises _Unknown."""
    try:
        await work
    except (TopicAlreadyExists, UnknownTopicOrPartition):  # of a life that an error cut short, or by a late request
        pass
    except DohleError as error:
        if not error.definite:
            raise _Unknown from error
        raise
