"""PendingBatch: records on their way to one partition, and Receipt, one record's share in it.

A batch gathers records until it is encoded; from then on it is bytes, which a repeated request carries unchanged. It
settles once, with offsets or with an error. That an attempt may have written it is remembered (`uncertain`), because
then neither may it be given another sequence number nor may its failure be called certain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Final, NamedTuple

from crc32c import crc32c

from dohle.client.values import Delivery
from dohle.model.batch import CRC_END, HEADER, HEADER_BYTES, NO_PRODUCER, NO_TIMESTAMP, read_header
from dohle.model.codecs import Codec
from dohle.model.errors import DeliveryTimedOut, DohleError, error_for
from dohle.model.records import BatchBuilder

NO_OFFSET: Final = -1


class ProducerIdentity(NamedTuple):
    """What a broker knows an idempotent producer by."""

    producer_id: int
    producer_epoch: int


NOT_IDEMPOTENT: Final = ProducerIdentity(NO_PRODUCER, NO_PRODUCER)


class PendingBatch:
    """One batch from its first record to its delivery."""

    __slots__ = (
        "_base_offset",
        "_callbacks",
        "_charged_bytes",
        "_done",
        "_encoded",
        "_failure",
        "_on_settled",
        "_timestamp_ms",
        "builder",
        "deadline",
        "full",
        "identity",
        "last_failure",
        "partition",
        "record_count",
        "send_at",
        "sequence",
        "settled",
        "topic",
        "uncertain",
    )

    def __init__(
        self,
        topic: str,
        partition: int,
        *,
        send_at: float,
        deadline: float,
        on_settled: Callable[[PendingBatch], None],
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.send_at = send_at
        self.deadline = deadline
        self.builder = BatchBuilder()
        self.full = False  # takes no more records
        self.record_count = 0
        self.identity: ProducerIdentity | None = None
        self.sequence = NO_PRODUCER
        self.uncertain = False
        self.last_failure: DohleError | None = None
        self.settled = False
        self._encoded: bytes | None = None
        self._charged_bytes = 0
        self._base_offset = NO_OFFSET
        self._timestamp_ms = NO_TIMESTAMP
        self._failure: DohleError | None = None
        self._done: asyncio.Event | None = None
        self._on_settled = on_settled
        self._callbacks: list[tuple[Callable[[Receipt], object], Receipt]] = []

    @property
    def size_bytes(self) -> int:
        """What the batch takes of a request, at most."""
        return self.builder.size_bytes if self._encoded is None else len(self._encoded)

    @property
    def charged_bytes(self) -> int:
        """What the batch takes of the producer's buffer until it is settled."""
        return self.builder.size_bytes if self._encoded is None else self._charged_bytes

    def assign(self, identity: ProducerIdentity, sequence: int) -> None:
        """Gives the batch its place among its producer's; again only after no attempt can have written it."""
        assert not self.uncertain, "another sequence number could write the batch twice"
        self.identity, self.sequence = identity, sequence
        if self._encoded is not None:
            self._encoded = _with_place(self._encoded, identity, sequence)

    def encoded(self, codec: Codec) -> bytes:
        """Returns the batch as it is sent; no record can be added afterwards."""
        if self._encoded is None:
            identity = self.identity or NOT_IDEMPOTENT
            assert self.record_count == len(self.builder), "every record is counted"
            self._charged_bytes = self.builder.size_bytes
            self._encoded = self.builder.build(
                codec,
                producer_id=identity.producer_id,
                producer_epoch=identity.producer_epoch,
                base_sequence=self.sequence,
            )
            self.builder = BatchBuilder()  # the records themselves are let go
        return self._encoded

    def deliver(self, base_offset: int, log_append_time_ms: int) -> None:
        self._base_offset, self._timestamp_ms = base_offset, log_append_time_ms
        self._settle()

    def fail(self, failure: DohleError) -> None:
        """Settles with `failure`, or with one that says "may have happened" where `failure` alone would not."""
        if self.uncertain and failure.definite:
            failure = DeliveryTimedOut(
                f"records for {self.topic}-{self.partition} may have been written: an attempt went unanswered, and the"
                f" last one ended with: {failure.message}"
            )
        self._failure = failure
        self._settle()

    def _settle(self) -> None:
        assert not self.settled, "a batch settles once"
        self.settled = True
        self._on_settled(self)
        if self._callbacks:  # before whoever waits is woken: after a flush all of them have been called
            loop = asyncio.get_running_loop()
            for callback, receipt in self._callbacks:
                loop.call_soon(callback, receipt)
            self._callbacks.clear()
        if self._done is not None:
            self._done.set()

    @property
    def failure(self) -> DohleError | None:
        return self._failure

    async def wait(self) -> None:
        """Returns once settled."""
        if not self.settled:
            if self._done is None:
                self._done = asyncio.Event()
            await self._done.wait()

    def delivery(self, index: int, timestamp_ms: int) -> Delivery:
        """Returns where record `index` is. Raises why it is nowhere."""
        if self._failure is not None:
            # an exception of its own for everyone who waits: a traceback grows each time that one is raised
            raise error_for(self._failure.code, self._failure.message)
        offset = NO_OFFSET if self._base_offset == NO_OFFSET else self._base_offset + index
        appended_ms = self._timestamp_ms
        return Delivery(
            self.topic, self.partition, offset, timestamp_ms if appended_ms == NO_TIMESTAMP else appended_ms
        )

    def add_done_callback(self, callback: Callable[[Receipt], object], receipt: Receipt) -> None:
        if self.settled:
            asyncio.get_running_loop().call_soon(callback, receipt)
        else:
            self._callbacks.append((callback, receipt))


class Receipt:
    """A record's delivery to be: `await receipt` returns its Delivery, or raises why there is none.

    Made instead of a future because one is needed for every record. May be awaited any number of times, or never; a
    cancelled wait leaves the delivery alone.
    """

    __slots__ = ("_batch", "_index", "_timestamp_ms")

    def __init__(self, batch: PendingBatch, index: int, timestamp_ms: int) -> None:
        self._batch = batch
        self._index = index
        self._timestamp_ms = timestamp_ms

    def done(self) -> bool:
        return self._batch.settled

    def result(self) -> Delivery:
        """Returns the Delivery, or raises why there is none. Raises InvalidStateError before `done()`."""
        if not self._batch.settled:
            raise asyncio.InvalidStateError("the record is not delivered yet: await the receipt")
        return self._batch.delivery(self._index, self._timestamp_ms)

    def exception(self) -> DohleError | None:
        """Returns why there is no Delivery, None if there is one. Raises InvalidStateError before `done()`."""
        if not self._batch.settled:
            raise asyncio.InvalidStateError("the record is not delivered yet: await the receipt")
        return self._batch.failure

    def add_done_callback(self, callback: Callable[[Receipt], object]) -> None:
        """Has the event loop call `callback(receipt)` once the delivery is settled."""
        self._batch.add_done_callback(callback, self)

    def __await__(self) -> Generator[Any, None, Delivery]:
        if not self._batch.settled:
            yield from self._batch.wait().__await__()
        return self._batch.delivery(self._index, self._timestamp_ms)


def _with_place(encoded: bytes, identity: ProducerIdentity, sequence: int) -> bytes:
    """Returns the batch with another producer id, epoch and sequence, and the CRC-32C that goes with them."""
    header = read_header(encoded)._replace(
        producer_id=identity.producer_id, producer_epoch=identity.producer_epoch, base_sequence=sequence
    )
    covered = HEADER.pack(*header)[CRC_END:]
    payload = memoryview(encoded)[HEADER_BYTES:]
    return b"".join((HEADER.pack(*header._replace(crc=crc32c(payload, crc32c(covered)))), payload))
