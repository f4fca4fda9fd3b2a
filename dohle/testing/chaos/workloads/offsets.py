"""Offsets: clients that read what they wrote from the offset that they were told, and that commit and ask.

Who reads from an acknowledged offset gets that record first. A group without members has committed what was committed
last, as far as anybody knows.
"""

from __future__ import annotations

import asyncio
import time

from dohle.model.ids import TopicPartition
from dohle.testing.chaos.history_file import Process
from dohle.testing.chaos.workloads.log_client import Failure, LogConsumer
from dohle.testing.chaos.workloads.reading import assigned, polled
from dohle.testing.chaos.workloads.work import Pace, Work
from dohle.testing.chaos.workloads.writing import Sender, drawn_plan
from dohle.testing.history.operations import Commit, Committed, Operation, Outcome

_POLL_S = 1.0
_POLL_RECORDS = 20
_SEES_IT_WITHIN_S = 20.0
_RETRY_S = 0.2
_PLACES = 10


async def read_own_writes(work: Work, name: str, per_s: float) -> None:
    """Sends a value, reads on from where it was put until it has it, and so on until the work is over."""
    chance, process, pace = work.chance(name), work.process(name), Pace(per_s)
    producer, consumer = work.client.producer(drawn_plan(chance)), work.client.consumer()
    sender = Sender(process, producer, chance)
    while not work.over.is_set():
        await pace.turn()
        partition = chance.choice(work.partitions)
        told: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        await sender.send(partition, told.set_result)
        offset = await told
        if offset is None or not await _read_on(work, process, consumer, partition, offset):
            await work.rest(_RETRY_S)
    await producer.flush()
    await producer.close()
    await consumer.close()


async def _read_on(work: Work, process: Process, consumer: LogConsumer, partition: TopicPartition, offset: int) -> bool:
    """Returns whether anything came; that it is what should have come, the history's judge sees."""
    if not await assigned(process, consumer, {partition: offset}):
        return False
    deadline = time.monotonic() + _SEES_IT_WITHIN_S
    while time.monotonic() < deadline and not work.over.is_set():
        records = await polled(process, consumer, _POLL_RECORDS, _POLL_S)
        if records is None:
            return False
        if records:
            return True
    return True


async def commit(work: Work, place: int, group: str, per_s: float) -> None:
    """Commits ever higher offsets, of one partition after the other, until the work is over. No other `place`, below
    10, commits the same: who is told of one is known to be told of that commit."""
    process, pace = work.process(f"commits{place}"), Pace(per_s)
    consumer = await _of(work, group)
    number = 0
    while not work.over.is_set():
        await pace.turn()
        number += 1
        offset = number * _PLACES + place
        partition = work.partitions[number % len(work.partitions)]
        logs = {str(partition): offset}
        operation = process.invoke(Commit(group, logs))
        try:
            await consumer.commit({partition: offset})
        except Failure as failure:
            _failed(process, operation, failure)
            await work.rest(_RETRY_S)
        else:
            process.complete(operation, Outcome.OK)
    await consumer.close()


async def ask(work: Work, name: str, group: str, per_s: float) -> None:
    """Asks what the group has committed, until the work is over."""
    process, pace = work.process(name), Pace(per_s)
    consumer = await _of(work, group)
    while not work.over.is_set():
        await pace.turn()
        operation = process.invoke(Committed(group))
        try:
            found = await consumer.committed(work.partitions)
        except Failure as failure:
            _failed(process, operation, failure)
            await work.rest(_RETRY_S)
        else:
            told = {str(one): offset for one, offset in found.items()}
            process.complete(operation, Outcome.OK, Committed(group, told))
    await consumer.close()


async def _of(work: Work, group: str) -> LogConsumer:
    """Returns a consumer that commits for `group` without being its member."""
    consumer = work.client.consumer(group)
    while True:
        try:
            await consumer.assign(dict.fromkeys(work.partitions, 0))
        except Failure:
            await asyncio.sleep(_RETRY_S)
        else:
            return consumer


def _failed(process: Process, operation: Operation, failure: Failure) -> None:
    process.complete(operation, Outcome.FAIL if failure.definite else Outcome.INFO, why=failure.why)
