"""Measurements of a running cluster: throughput in, throughput out, latency at a fixed rate.

Throughput counts what was acknowledged, or read and decoded, not what was sent. Latency counts from when a record was
due, not from when it went out: a stall delays all that were due meanwhile, and each of them shows it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dohle.client.consumer import Consumer
from dohle.client.producer import Producer, Receipt
from dohle.model.errors import BufferFull, DohleError

_YIELD_EVERY = 200
_PAYLOADS = 64

Show = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Throughput:
    """Records and their values' bytes in a time."""

    records: int
    value_bytes: int
    seconds: float

    @property
    def records_per_s(self) -> float:
        return self.records / self.seconds if self.seconds else 0.0

    @property
    def mb_per_s(self) -> float:
        return self.value_bytes / 1e6 / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Times from when records were due to their acknowledgements."""

    records: int
    rate_per_s: float  # of acknowledgements
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


def payloads(size: int, seed: int = 0) -> list[bytes]:
    """Returns values of `size` bytes that no codec makes smaller."""
    source = random.Random(seed)  # noqa: S311 - to fill records, no secret
    return [source.randbytes(size) for _ in range(_PAYLOADS)]


async def measure_produce(producer: Producer, topic: str, records: int, size: int, show: Show) -> Throughput:
    """Writes `records` keyless records as fast as the cluster takes them. Raises the first failure."""
    failed = _FirstFailure()
    done = 0

    def acknowledged(receipt: Receipt) -> None:
        nonlocal done
        failed.note(receipt)
        done += 1

    await producer.partitions(topic)
    values = payloads(size)
    began = time.perf_counter()
    for number in range(records):
        value = values[number % _PAYLOADS]
        try:
            receipt = producer.send_nowait(topic, value)
        except BufferFull:
            receipt = await producer.send(topic, value)
        receipt.add_done_callback(acknowledged)
        if number % _YIELD_EVERY == 0:
            await asyncio.sleep(0)
            show(done)
            failed.check()
    await producer.flush()
    seconds = time.perf_counter() - began
    failed.check()
    return Throughput(done, done * size, seconds)


async def measure_consume(consumer: Consumer, topic: str, most_records: int | None, show: Show) -> Throughput:
    """Reads and decodes a topic from its beginning to where it ends now, or `most_records` of it."""
    await consumer.assign(topic)
    ends = await consumer.end_offsets(*consumer.assignment())
    starts = await consumer.beginning_offsets(*consumer.assignment())
    wanted = sum(ends[partition] - starts[partition] for partition in ends)
    if most_records is not None:
        wanted = min(wanted, most_records)
    count = 0
    size = 0
    began = time.perf_counter()
    if wanted:
        async for batch in consumer.batches():
            for record in batch.records():
                count += 1
                size += len(record.value or b"")
            show(count)
            if count >= wanted:
                break
    return Throughput(count, size, time.perf_counter() - began)


async def measure_latency(
    producer: Producer, topic: str, rate_per_s: float, duration_s: float, size: int, show: Show
) -> Latency:
    """Writes at a fixed rate, and measures each record from when it was due. Raises the first failure."""
    failed = _FirstFailure()
    times: list[float] = []
    values = payloads(size)
    total = max(1, int(rate_per_s * duration_s))
    await producer.partitions(topic)

    def sent(receipt: Receipt, due: float) -> None:
        def acknowledged(receipt: Receipt) -> None:
            failed.note(receipt)
            times.append(time.perf_counter() - due)

        receipt.add_done_callback(acknowledged)

    began = time.perf_counter()
    number = 0
    while number < total:
        elapsed = time.perf_counter() - began
        while number < total and number / rate_per_s <= elapsed:
            sent(await producer.send(topic, values[number % _PAYLOADS]), began + number / rate_per_s)
            number += 1
        show(len(times))
        failed.check()
        await asyncio.sleep(max(0.0, began + number / rate_per_s - time.perf_counter()))
    await producer.flush()
    seconds = time.perf_counter() - began
    failed.check()
    times.sort()
    return Latency(
        records=len(times),
        rate_per_s=len(times) / seconds,
        p50_ms=quantile(times, 0.5) * 1000,
        p99_ms=quantile(times, 0.99) * 1000,
        p999_ms=quantile(times, 0.999) * 1000,
        max_ms=times[-1] * 1000,
    )


def quantile(ascending: Sequence[float], share: float) -> float:
    """Returns the value that `share` of all are at or below."""
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]


class _FirstFailure:
    def __init__(self) -> None:
        self._failure: BaseException | None = None

    def note(self, receipt: Receipt) -> None:
        self._failure = self._failure or receipt.exception()

    def check(self) -> None:
        if isinstance(self._failure, DohleError):
            raise type(self._failure)(f"a record was not acknowledged: {self._failure.message}")
        if self._failure is not None:
            raise self._failure
