"""How a coordinator comes to know what its partition says: what is long is gathered in a process beside the node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from dohle.broker.groups.last_values import LastValues
from dohle.broker.groups.record_bytes import decoded
from dohle.broker.partition import Partition
from dohle.groups.records import GroupRecord
from dohle.model.errors import CorruptMessage
from dohle.runtime.tasks import turn
from dohle.runtime.workers import Workers
from dohle.storage.log import Log

log = logging.getLogger(__name__)

_LONG_BYTES: Final = 4 << 20
"""From here on a process of its own is quicker than its start is slow."""
_AT_ONCE_BYTES: Final = 32 << 10
_AT_ONCE_BYTES_ASIDE: Final = 1 << 20
_RECORDS_AT_ONCE: Final = 64
"""What the loop may be kept from other work by, in bytes that are gone through and in records that are taken."""
_GROWTH: Final = 4096
_MOST_ASIDE: Final = 2

Gather = Callable[[bytes], Awaitable[int]]
Give = Callable[[int], Awaitable[list[tuple[bytes, bytes]]]]


class Loading:
    """Loads partitions; so many of them at a time in processes of their own."""

    def __init__(self, workers: Workers) -> None:
        self.on_growth: Callable[[], None] = lambda: None  # after so many records, which are there to stay
        self._workers = workers
        self._may_run_aside = asyncio.Semaphore(_MOST_ASIDE)

    async def load(self, partition: Partition, up_to: int, apply: Callable[[GroupRecord], None]) -> int:
        """Gives `apply` the last record of each key below `up_to`, and returns how many there were.

        Raises CorruptMessage, DamagedReplica, StorageFailure, OffsetOutOfRange, UnknownTopicOrPartition; LostWorker.
        """
        is_long = partition.log.size_bytes >= _LONG_BYTES
        async with self._aside() if is_long else _here() as (gather, give):
            await _gather(partition, up_to, gather, _AT_ONCE_BYTES_ASIDE if is_long else _AT_ONCE_BYTES)
            return await self._take(partition, give, apply)

    async def _take(self, partition: Partition, give: Give, apply: Callable[[GroupRecord], None]) -> int:
        count = unknown = since_growth = 0
        while pairs := await give(_RECORDS_AT_ONCE):
            for key, value in pairs:
                try:
                    record = decoded(key, value)
                except CorruptMessage as error:
                    log.error("%s: a record is passed over, its key %s: %s", partition.name, key.hex(), error.message)
                    continue
                if record is None:
                    unknown += 1
                else:
                    apply(record)
                    count += 1
            since_growth += len(pairs)
            if since_growth >= _GROWTH:
                since_growth = 0
                self.on_growth()
            await turn(0, every=1)
        if unknown:
            log.warning("%s: %d records of kinds that are not known here are left alone", partition.name, unknown)
        return count

    @asynccontextmanager
    async def _aside(self) -> AsyncIterator[tuple[Gather, Give]]:
        async with self._may_run_aside:
            values = await self._workers.aside(LastValues)
            try:
                yield partial(values.run, LastValues.take), partial(values.run, LastValues.given)
            finally:
                await values.close()


@asynccontextmanager
async def _here() -> AsyncIterator[tuple[Gather, Give]]:
    values = LastValues()

    async def gather(batches: bytes) -> int:
        next_offset = values.take(batches)
        await turn(0, every=1)
        return next_offset

    async def give(most: int) -> list[tuple[bytes, bytes]]:
        return values.given(most)

    yield gather, give


async def _gather(partition: Partition, up_to: int, gather: Gather, at_once_bytes: int) -> None:
    offset = partition.log.log_start_offset
    while offset < up_to:

        async def read(log: Log, offset: int = offset) -> bytes:
            return await log.read(offset, at_once_bytes, up_to=up_to)

        batches = await partition.read(read)
        if not batches:
            raise CorruptMessage(f"{partition.name}: there is nothing at offset {offset}, below {up_to}")
        offset = await gather(batches)
