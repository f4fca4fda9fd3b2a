"""Scrubber: reads at a bounded rate what nobody may have read for long, so that rot is found while others are sound.

One pass an interval over each replica of this broker, from its first batch to where it is durable, the sealed segments
from the device, and held against their seals. Damage goes the way of any that a read finds (decision 0023): the log
notes it, and within a tick a follower says so to its leader, and a leader asks to be relieved. Passes begin anew with
the broker. Left out: what is known to be damaged, and the quorum's log, which every start reads.
"""

from __future__ import annotations

import logging
from functools import partial

from dohle.broker.partition import Partition
from dohle.broker.read_budget import ReadBudget
from dohle.broker.replicas import Replicas
from dohle.broker.traffic import Traffic
from dohle.model.errors import DamagedReplica, DohleError, OffsetOutOfRange, UnknownTopicOrPartition
from dohle.runtime.clock import Clock
from dohle.storage.log import Log
from dohle.storage.seal_scrub import SealScrub

log = logging.getLogger(__name__)

_CHUNK_BYTES = 256 << 10
_QUIET_S = 600.0  # after a start there is enough to read


class Scrubber:
    """Of all replicas of one broker, one after the other; `bytes_per_s` 0 means no bound."""

    def __init__(
        self, clock: Clock, replicas: Replicas, traffic: Traffic, *, interval_s: float, bytes_per_s: int
    ) -> None:
        self._clock = clock
        self._replicas = replicas
        self._traffic = traffic
        self._interval_s = interval_s
        self._budget = ReadBudget(clock, lambda: bytes_per_s)

    async def run(self) -> None:
        await self._clock.sleep(min(self._interval_s, _QUIET_S))
        while True:
            begun = self._clock.now()
            await self.scrub()
            await self._clock.sleep(max(0.0, begun + self._interval_s - self._clock.now()))

    async def scrub(self) -> None:
        """Reads every replica once that was here at the beginning."""
        for partition in list(self._replicas.partitions.values()):
            try:
                await self._read(partition)
            except UnknownTopicOrPartition:
                pass  # it is this broker's no more
            except DamagedReplica as failure:
                log.error("%s; found by scrubbing", failure)
            except DohleError as error:
                log.warning("%s: it could not be scrubbed: %s", partition.name, error)
        self._traffic.scrubs += 1

    async def _read(self, partition: Partition) -> None:
        offset, scrub = partition.log.first_offset, SealScrub(partition.log)
        while partition.log.damage is None:
            await self._clock.sleep(self._budget.pause_s())
            try:
                if scrub.log is not partition.log:  # it lies in another directory now
                    scrub = SealScrub(partition.log)
                batches = await partition.read(partial(_read_at, scrub, offset))
            except OffsetOutOfRange:
                if offset >= partition.log.first_offset:
                    return  # it was cut there
                offset = partition.log.first_offset  # what was before is not retained any more
                continue
            if not batches:
                return
            self._budget.spend(len(batches))
            self._traffic.scrubbed_bytes += len(batches)
            offset = await scrub.take(offset, batches)


async def _read_at(scrub: SealScrub, offset: int, read: Log) -> bytes:
    if read is scrub.log:
        await scrub.begin(offset)
    return await read.read(offset, _CHUNK_BYTES, up_to=read.durable_end, for_replica=True, from_device=True)
