"""DeadLetters: where records go that a handler cannot take, with what happened to them and where they came from."""

from __future__ import annotations

import logging
from typing import Final

from dohle.client.producer import Producer
from dohle.client.values import ConsumerRecord

log = logging.getLogger(__name__)

_PREFIX: Final = "dohle.dead."
_MOST_MESSAGE_CHARACTERS: Final = 1000


class DeadLetters:
    """Writes them to `topic`: key, value and headers as they were, and headers of its own behind these."""

    def __init__(self, producer: Producer, topic: str, group_id: str) -> None:
        self._producer = producer
        self._topic = topic
        self._group_id = group_id

    async def open(self) -> None:
        """Raises UnknownTopicOrPartition if there is no such topic."""
        await self._producer.partitions(self._topic)

    async def send(self, record: ConsumerRecord, failure: Exception, attempts: int) -> None:
        """Returns when the record is written. Raises why it is not."""
        log.info(
            "%s-%d, offset %d: given up after %d attempts, and written to %s: %r",
            record.topic,
            record.partition,
            record.offset,
            attempts,
            self._topic,
            failure,
        )
        told = {
            "topic": record.topic,
            "partition": str(record.partition),
            "offset": str(record.offset),
            "timestamp": str(record.timestamp_ms),
            "group": self._group_id,
            "attempts": str(attempts),
            "error": type(failure).__qualname__,
            "message": str(failure)[:_MOST_MESSAGE_CHARACTERS],
        }
        await self._producer.send_and_wait(
            self._topic,
            record.value,
            key=record.key,
            headers=[*record.headers, *((_PREFIX + name, text.encode()) for name, text in told.items())],
        )

    async def close(self) -> None:
        await self._producer.close()
