"""Registers: clients that write few keys of a compacted topic over and over, delete some, and scan it along.

Each key is one process's own. Some are left alone for ever, which later compactions then meet again and again.
"""

from __future__ import annotations

from functools import partial
from random import Random

from dohle.testing.chaos.history_file import Process
from dohle.testing.chaos.workloads.log_client import Failure, LogProducer
from dohle.testing.chaos.workloads.reading import PUT_HEADER, scan
from dohle.testing.chaos.workloads.work import Pace, Work
from dohle.testing.chaos.workloads.writing import drawn_plan
from dohle.testing.history.operations import Operation, Outcome, Put

_KEYS = 20
_DELETES = 0.2
_LEFT_ALONE = 0.02
_SCANS_EVERY_S = 8.0
_RETRY_S = 0.2


async def overwrite(work: Work, name: str, per_s: float) -> None:
    """Puts until the work is over; all is settled then."""
    chance = work.chance(name)
    pace = Pace(per_s)
    process = work.process(name)
    producer = work.client.producer(drawn_plan(chance))
    keys = list(range(_KEYS))
    newest = _KEYS
    number = 0
    while not work.over.is_set():
        await pace.turn()
        place = chance.randrange(_KEYS)
        number += 1
        if not await _put(process, producer, work, keys[place], number, chance):
            await work.rest(_RETRY_S)
        if chance.random() < _LEFT_ALONE:
            keys[place] = newest
            newest += 1
    await producer.flush()
    await producer.close()


async def _put(process: Process, producer: LogProducer, work: Work, key: int, number: int, chance: Random) -> bool:
    """Returns whether it was taken."""
    partition = work.partitions[key % len(work.partitions)]
    token = f"{process.name}:{number}"
    put = Put(str(partition), f"{process.name}:{key}", token, chance.random() < _DELETES)
    operation = process.invoke(put)
    settled = partial(_settled, process, operation, put)
    value = None if put.deletes else token.encode()
    try:
        await producer.send(partition, value, settled, key=put.key.encode(), headers=[(PUT_HEADER, token.encode())])
    except Failure as failure:
        settled(None, failure)
        return False
    return True


def _settled(process: Process, operation: Operation, put: Put, offset: int | None, failure: Failure | None) -> None:
    if failure is None:
        process.complete(operation, Outcome.OK, put._replace(offset=offset))
    else:
        process.complete(operation, Outcome.FAIL if failure.definite else Outcome.INFO, why=failure.why)


async def scan_along(work: Work, name: str) -> None:
    """Scans again and again until the work is over."""
    process = work.process(name)
    while not work.over.is_set():
        await scan(process, work, work.partitions)
        await work.rest(_SCANS_EVERY_S)
