"""Reading: clients that assign themselves partitions and note each poll; and who reads everything in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from dohle.model.ids import TopicPartition
from dohle.testing.chaos.history_file import Process
from dohle.testing.chaos.workloads.log_client import Failure, LogConsumer, Record
from dohle.testing.chaos.workloads.work import Work
from dohle.testing.history.operations import Assign, Ends, Outcome, Poll, Scan, Shown

_POLL_S = 1.0
_POLL_RECORDS = (1, 50, 500)
_PAUSE_S = 0.2
_RETRY_S = 0.5
_MOVES = 0.05
"""How often a restless reader goes elsewhere."""
_FAR_BACK = 300
_PATIENCE_S = 120
_FINAL_POLL_RECORDS = 2000
PUT_HEADER = "put"
"""The header that tells puts apart, deletions included."""


async def read_along(work: Work, name: str, *, restless: bool) -> None:
    """Reads all partitions from their beginnings until the work is over; or some of them, again and again others."""
    chance = work.chance(name)
    process = work.process(name)
    consumer = work.client.consumer()
    positions = dict.fromkeys(work.partitions, 0)
    reads = set[TopicPartition]()
    while not work.over.is_set():
        if not reads or (restless and chance.random() < _MOVES):
            chosen = chance.sample(work.partitions, chance.randint(1, len(positions))) if restless else work.partitions
            back = _FAR_BACK if restless else 0
            starts = {one: max(0, positions[one] - chance.randint(0, back)) for one in sorted(chosen)}
            reads = set(chosen) if await assigned(process, consumer, starts) else set()
        records = await polled(process, consumer, chance.choice(_POLL_RECORDS), _POLL_S) if reads else None
        if records is None:
            reads = set()
            await work.rest(_RETRY_S)
            continue
        for record in records:
            positions[record.partition] = record.offset + 1
        await work.rest(chance.uniform(0, _PAUSE_S))
    await consumer.close()


async def assigned(process: Process, consumer: LogConsumer, starts: Mapping[TopicPartition, int]) -> bool:
    """Has these read from their offsets on; returns whether that worked."""
    operation = process.invoke(Assign({str(one): start for one, start in starts.items()}))
    try:
        await consumer.assign(starts)
    except Failure as failure:
        process.complete(operation, Outcome.INFO, why=failure.why)
        return False
    process.complete(operation, Outcome.OK)
    return True


async def polled(process: Process, consumer: LogConsumer, most: int, timeout_s: float) -> Sequence[Record] | None:
    """Returns what a poll got; None if it failed: who goes on must assign anew."""
    operation = process.invoke(Poll())
    try:
        records = await consumer.poll(most, timeout_s)
    except Failure as failure:
        process.complete(operation, Outcome.INFO, why=failure.why)
        return None
    process.complete(operation, Outcome.OK, Poll(by_log(records)))
    return records


def by_log(records: Iterable[Record]) -> dict[str, list[tuple[int, str]]]:
    """Returns what a poll's records say to a history: by log, offsets and values."""
    found: dict[str, list[tuple[int, str]]] = {}
    for record in records:
        found.setdefault(str(record.partition), []).append((record.offset, (record.value or b"").decode()))
    return found


async def read_everything(work: Work) -> None:
    """Reads every partition from its beginning to its end. Raises Failure if it has not got there in time.

    For when all is calm: a leader that is cut off, and does not know it, tells a stale end. What the option `compacted`
    names, topics with commas between, is scanned.
    """
    compacted = work.job.options.get("compacted", "").split(",")
    plain = [one for one in work.partitions if one.topic not in compacted]
    scanned = [one for one in work.partitions if one.topic in compacted]
    attempt = 0
    try:
        async with asyncio.timeout(work.option("patience_s", _PATIENCE_S)):
            while plain and not await _read_to_ends(work, plain, attempt):
                attempt += 1
                await asyncio.sleep(_RETRY_S)
            while scanned and not await scan(work.process("final-scan"), work, scanned):
                await asyncio.sleep(_RETRY_S)
    except TimeoutError:
        raise Failure("nobody could read everything in time") from None


async def _read_to_ends(work: Work, partitions: Sequence[TopicPartition], attempt: int) -> bool:
    process, asking = work.process(f"final{attempt}"), work.process(f"ends{attempt}")
    consumer = work.client.consumer()
    try:
        if not await assigned(process, consumer, dict.fromkeys(partitions, 0)):
            return False
        operation = asking.invoke(Ends())
        try:
            ends = await consumer.ends(partitions)
        except Failure as failure:
            asking.complete(operation, Outcome.INFO, why=failure.why)
            return False
        asking.complete(operation, Outcome.OK, Ends({str(one): end for one, end in ends.items()}))
        while await _left(consumer, ends):
            if await polled(process, consumer, _FINAL_POLL_RECORDS, _POLL_S) is None:
                return False
        return True
    except Failure:
        return False
    finally:
        await consumer.close()


async def _left(consumer: LogConsumer, ends: Mapping[TopicPartition, int]) -> bool:
    """Whether the consumer is not at all ends yet."""
    for one, end in ends.items():
        if await consumer.position(one) < end:
            return True
    return False


async def scan(process: Process, work: Work, partitions: Sequence[TopicPartition]) -> bool:
    """Reads compacted partitions from their beginnings to their ends, with another consumer; returns whether it could.
    Each record's header `put` says which put it is of."""
    operation = process.invoke(Scan())
    consumer = work.client.consumer()
    shown: dict[str, list[Shown]] = {str(one): [] for one in partitions}
    try:
        await consumer.assign(dict.fromkeys(partitions, 0))
        ends = await consumer.ends(partitions)
        while await _left(consumer, ends):
            for record in await consumer.poll(_FINAL_POLL_RECORDS, _POLL_S):
                key, token = (record.key or b"").decode(), (record.header(PUT_HEADER) or b"").decode()
                shown[str(record.partition)].append(Shown(record.offset, key, token, record.value is None))
    except Failure as failure:
        process.complete(operation, Outcome.INFO, why=failure.why)
        return False
    finally:
        await consumer.close()
    process.complete(operation, Outcome.OK, Scan(shown))
    return True
