"""`__consumer_offsets`: made when a group is first asked for, as Kafka's is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from dohle.broker.metadata_follower import MetadataFollower
from dohle.broker.surroundings import Surroundings
from dohle.model.errors import CoordinatorNotAvailable, DohleError, TopicAlreadyExists, error_for
from dohle.model.image import TopicImage
from dohle.model.internal_topics import OFFSETS_TOPIC
from dohle.rpc.v1 import admin_pb2

log = logging.getLogger(__name__)


class AskController(Protocol):
    """Passes a request on to the active controller."""

    async def __call__(self, method: str, request: Any, *, timeout_s: float) -> Any: ...


_MAKE_S: Final = 5.0
_CATCH_UP_S: Final = 1.0
_PATIENCE_S: Final = 10.0
"""For so long after its start a broker waits for those to register that may be on their way: replicas stay where they
were put first."""


@dataclass(frozen=True, slots=True)
class OffsetsTopicSettings:
    """What the topic is made with. `replication_factor`: or as many as there are brokers, if fewer."""

    partitions: int = 50
    replication_factor: int = 3
    segment_bytes: int = 100 << 20

    @property
    def overrides(self) -> Mapping[str, str]:
        return {
            "cleanup.policy": "compact",
            "compression.type": "producer",
            "segment.bytes": str(self.segment_bytes),
        }


class OffsetsTopic:
    """As this broker knows it."""

    def __init__(
        self,
        settings: OffsetsTopicSettings,
        surroundings: Surroundings,
        metadata: MetadataFollower,
        ask_controller: AskController,
    ) -> None:
        self._settings = settings
        self._surroundings = surroundings
        self._metadata = metadata
        self._ask_controller = ask_controller
        self._patient_until = surroundings.clock.now() + _PATIENCE_S
        self._making: asyncio.Future[DohleError | None] | None = None

    @property
    def found(self) -> TopicImage | None:
        return self._metadata.image.topic_named(OFFSETS_TOPIC)

    @property
    def partition_count(self) -> int:
        """Also of the topic that is yet to be made."""
        found = self.found
        return self._settings.partitions if found is None else len(found.partitions)

    async def made(self) -> TopicImage:
        """Returns the topic, which is made if there is none. Raises CoordinatorNotAvailable."""
        found = self.found
        if found is not None:
            return found
        if self._making is None:
            self._making = asyncio.get_running_loop().create_future()
            self._surroundings.tasks.spawn(self._make(self._making), f"make {OFFSETS_TOPIC}")
        failure = await asyncio.shield(self._making)
        found = self.found
        if found is None:
            why = "it is not known here yet" if failure is None else failure.message
            raise CoordinatorNotAvailable(f"{OFFSETS_TOPIC} is not there: {why}")
        return found

    async def _make(self, done: asyncio.Future[DohleError | None]) -> None:
        failure: DohleError | None = None
        try:
            await self._ask_for_it()
        except TopicAlreadyExists:
            pass  # another broker was first
        except DohleError as error:
            log.warning("%s was not made: %s", OFFSETS_TOPIC, error.message)
            failure = error
        finally:
            self._making = None
            if not done.done():
                done.set_result(failure)

    async def _ask_for_it(self) -> None:
        known = self._metadata.image.brokers
        wanted = self._settings.replication_factor
        expected = {*known, *(voter.node_id for voter in self._metadata.image.voters)}
        if len(known) < min(wanted, len(expected)) and self._surroundings.clock.now() < self._patient_until:
            raise CoordinatorNotAvailable(
                f"{len(known)} of {len(expected)} nodes have registered as brokers, and it would be left with as many"
                f" replicas; that is waited for during a broker's first {_PATIENCE_S:g} s"
            )
        request = admin_pb2.CreateTopicsRequest(
            topics=[
                admin_pb2.NewTopic(
                    name=OFFSETS_TOPIC,
                    partitions=self._settings.partitions,
                    replication_factor=max(1, min(wanted, len(known))),
                    configs=[
                        admin_pb2.ConfigEntry(name=name, value=value)
                        for name, value in self._settings.overrides.items()
                    ],
                )
            ],
            timeout_ms=int(_MAKE_S * 1000),
        )
        answer = await self._ask_controller("CreateTopics", request, timeout_s=_MAKE_S)
        await self._metadata.reached(answer.metadata_offset, _CATCH_UP_S)
        (made,) = answer.topics
        if made.failure.code:
            raise error_for(made.failure.code, made.failure.message)
        log.info("%s was made, with %d partitions", OFFSETS_TOPIC, made.partitions)
