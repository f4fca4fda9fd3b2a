"""A client of Fetch in memory: it asks as one that has a session, and keeps what it is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import NamedTuple

from dohle.kafka.messages.fetch import FetchRequest, FetchResponse
from dohle.listeners.byte_budget import ByteBudget
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.fetch import Fetching
from dohle.listeners.kafka.fetch_sessions import FetchSessions
from dohle.listeners.kafka.topics_known import TopicsKnown
from dohle.model.batch import split_batches
from dohle.runtime.network import Address
from tests.broker.brokers import Node

HERE = Address("memory", 9092)
BY_NAME = 12
BY_ID = 18


class Place(NamedTuple):
    """A partition, by its topic's name or id."""

    topic: str | bytes
    partition: int


class View(NamedTuple):
    """What a client knows of a partition."""

    error_code: int
    high_watermark: int
    log_start_offset: int


class Door:
    """The Fetch of one node, with its sessions."""

    def __init__(self, node: Node, *, slots: int = 10) -> None:
        self.sessions = FetchSessions(slots, node.broker.now, Random(1))
        known = TopicsKnown(node.broker, told_as_reached=())
        self.fetching = Fetching(node.broker, known, ByteBudget(1 << 30), self.sessions)

    async def ask(
        self,
        wanted: Mapping[Place, int],
        *,
        session: tuple[int, int] = (0, -1),
        forgotten: Iterable[Place] = (),
        version: int = BY_ID,
        max_wait_ms: int = 0,
        min_bytes: int = 1,
        max_bytes: int = 1 << 20,
        rack: str = "",
    ) -> FetchResponse:
        """`wanted`: the offset of each; `session`: its number and epoch."""
        topics: dict[str | bytes, FetchRequest.Topic] = {}
        for place, offset in wanted.items():
            topic = topics.setdefault(place.topic, FetchRequest.Topic(partitions=[], **_named(place)))
            topic.partitions.append(
                FetchRequest.Topic.Partition(
                    partition=place.partition, fetch_offset=offset, partition_max_bytes=1 << 20
                )
            )
        request = FetchRequest(
            max_wait_ms=max_wait_ms,
            min_bytes=min_bytes,
            max_bytes=max_bytes,
            session_id=session[0],
            session_epoch=session[1],
            rack_id=rack,
            topics=list(topics.values()),
            forgotten_topics_data=[
                FetchRequest.ForgottenTopic(partitions=[place.partition], **_named(place)) for place in forgotten
            ],
        )
        return await self.fetching.fetch(request, Caller("client", version, HERE, HERE))

    async def full(self, wanted: Mapping[Place, int], *, version: int = BY_ID) -> dict[Place, View]:
        """Returns what a client without a session is told."""
        return views(await self.ask(wanted, version=version))


class SessionClient:
    """A client with a session; `position` is what it wants, `known` what it was told of that last."""

    def __init__(self, door: Door, *, version: int = BY_ID) -> None:
        self.position: dict[Place, int] = {}
        self.known: dict[Place, View] = {}
        self.number, self.epoch = 0, 0
        self._door = door
        self._version = version

    async def fetch(
        self, changes: Mapping[Place, int] | None = None, *, forget: Iterable[Place] = (), **how: int | str
    ) -> FetchResponse:
        """Wants what is in `changes` from those offsets on, and fetches; what comes is known, and not read."""
        for place in forget:
            self.position.pop(place, None)
            self.known.pop(place, None)
        self.position |= changes or {}
        response = await self._door.ask(
            changes or {},
            session=(self.number, self.epoch),
            forgotten=forget,
            version=self._version,
            **how,  # type: ignore[arg-type]
        )
        if response.error_code == 0:
            self.number = response.session_id
            self.epoch = self.epoch + 1 if self.number else 0
            self.known |= views(response)
        return response


def views(response: FetchResponse) -> dict[Place, View]:
    return {
        place: View(one.error_code, one.high_watermark, one.log_start_offset) for place, one in parts(response).items()
    }


def parts(response: FetchResponse) -> dict[Place, FetchResponse.Topic.Partition]:
    """Returns the partitions of a response, in its order."""
    return {
        Place(topic.topic or topic.topic_id, one.partition_index): one
        for topic in response.responses
        for one in topic.partitions
    }


def offsets_in(partition: FetchResponse.Topic.Partition) -> list[int]:
    """Returns the base offsets of the batches."""
    data = b"".join(bytes(piece) for piece in partition.records or [])
    return [header.base_offset for _, header in split_batches(data)]


def _named(place: Place) -> dict[str, str | bytes]:
    return {"topic": place.topic} if isinstance(place.topic, str) else {"topic_id": place.topic}
