"""The demo by a client of Kafka's: confluent-kafka (librdkafka), which speaks to the nodes' Kafka ports."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from dohle.cli.demo_clients import PARTITIONS, TOPIC, YIELD_EVERY, Acknowledgements, Records, Show
from dohle.cli.flights import Flight
from dohle.model.errors import ConfigurationError, DohleError

_POLL_S = 0.02
_MOST_AT_ONCE = 10_000
_ASK_S = 30.0


class KafkaClient:
    """Raises ConfigurationError if confluent-kafka is not installed. Its calls block no longer than `_POLL_S`."""

    def __init__(self, bootstrap: str) -> None:
        try:
            import confluent_kafka
        except ImportError as error:
            raise ConfigurationError(
                "confluent-kafka is not installed, which the demo needs as Kafka's client: `pip install 'dohle[kafka]'`"
            ) from error
        self._kafka: Any = confluent_kafka
        self._config = {"bootstrap.servers": bootstrap, "client.id": "dohle-demo", "log_level": 0}

    async def load(self, flights: Sequence[Flight], acknowledgements: Acknowledgements, show: Show) -> float:
        def note(error: object, message: Any) -> None:
            if error is not None:
                acknowledgements.failed(error)
            else:
                acknowledgements.came(message.partition())

        bounded = {"linger.ms": 5, "queue.buffering.max.messages": _MOST_AT_ONCE}
        producer = self._kafka.Producer({**self._config, **bounded, "enable.idempotence": True})
        began = time.monotonic()
        for number, flight in enumerate(flights):
            while True:
                try:
                    producer.produce(TOPIC, flight.value, flight.carrier, on_delivery=note)
                    break
                except BufferError:  # its queue is full
                    await self._served(producer)
            if number % YIELD_EVERY == 0:
                producer.poll(0)
                await asyncio.sleep(0)
                show(acknowledgements.count)
        while len(producer):
            await self._served(producer)
            show(acknowledgements.count)
        return time.monotonic() - began

    async def _served(self, producer: Any) -> None:
        producer.poll(_POLL_S)
        await asyncio.sleep(0)

    async def ends(self) -> dict[int, int]:
        consumer = self._consumer()
        try:
            partitions = [self._kafka.TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)]
            offsets = [await asyncio.to_thread(consumer.get_watermark_offsets, one, _ASK_S) for one in partitions]
        except self._kafka.KafkaException as error:
            raise DohleError(f"confluent-kafka cannot read the ends of {TOPIC}: {error}") from error
        finally:
            consumer.close()
        return {partition: high for partition, (_low, high) in enumerate(offsets)}

    async def read(self) -> AsyncIterator[Records]:
        consumer = self._consumer()
        try:
            consumer.assign([self._kafka.TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)])
            while True:
                messages = consumer.consume(_MOST_AT_ONCE, _POLL_S)
                yield [(one.key(), one.value()) for one in messages if one.error() is None]
                await asyncio.sleep(0)
        finally:
            consumer.close()

    def _consumer(self) -> Any:
        return self._kafka.Consumer({**self._config, "group.id": "none", "enable.auto.commit": False})
