"""A disk in memory whose reads and syncs take a moment, so that other tasks run meanwhile."""

from __future__ import annotations

import asyncio
from random import Random

from tests.storage.fault_disk import FaultDisk


class SlowDisk(FaultDisk):
    """Syncs and reads take up to `slowest_s`; none ends while `gate` is closed."""

    def __init__(self, random: Random, slowest_s: float = 0.0) -> None:
        super().__init__()
        self.random = random
        self.slowest_s = slowest_s
        self.gate = asyncio.Event()
        self.gate.set()

    async def pause(self) -> None:
        await asyncio.sleep(self.random.uniform(0, self.slowest_s))
        await self.gate.wait()

    def crash(self, random: Random) -> SlowDisk:
        plain = super().crash(random)
        after = SlowDisk(self.random, self.slowest_s)
        after.files, after.durable_files, after.folders = plain.files, plain.durable_files, plain.folders
        return after
