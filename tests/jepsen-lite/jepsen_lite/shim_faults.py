"""Faults of disks that fail or are slow, and of clocks: what a library loaded into the node does (shim.c)."""

from __future__ import annotations

import asyncio
import time
from random import Random

from dohle.testing.chaos.fault import Arguments, Effect
from dohle.testing.chaos.faults.nodes import NodeFault, up_again
from dohle.testing.chaos.world import World
from jepsen_lite.shim import OWN_CLOCK, Shim

_MOST_JUMP_S = 12 * 3600
"""A day later states of producers expire, and a week later records."""
_DRIFT_STEP_S = 0.5


class ShimFault(NodeFault):
    """Has the shim in the node do something. A node that ends of it is started again when it is healed."""

    needs = frozenset({"processes", "shim"})
    counts: str
    """The shim's field that proves the effect."""
    what: str
    has_clock = False

    def __init__(self, world: World, arguments: Arguments) -> None:
        super().__init__(world, arguments)
        self._shim: Shim | None = None
        self._before = 0
        self._count = 0

    @classmethod
    def prepare(cls, world: World) -> None:
        for node in world.nodes:
            wanted = world.environments[node]
            wanted.update(Shim(world, node).environment(clock=cls.has_clock or OWN_CLOCK in wanted))

    async def begin(self) -> None:
        self._shim = Shim(self.world, self.node)
        await self._shim.loaded(clock=self.has_clock)
        self._before = self._shim.ask(self.counts)
        self.strike(self._shim)

    def strike(self, shim: Shim) -> None:
        raise NotImplementedError

    def mend(self, shim: Shim) -> None:
        raise NotImplementedError

    async def heal(self) -> None:
        if self._shim is not None:
            self.mend(self._shim)
        await up_again(self.world, self.node)

    async def effect(self) -> Effect:
        return Effect(0 if self._shim is None else self._shim.ask(self.counts) - self._before, self.what)


class WriteError(ShimFault):
    """Writes to a node's disk fail, all or some."""

    name = "write-error"
    takes_nodes = True
    counts = "failed_writes"
    what = "writes failed with EIO"

    @classmethod
    def draw(cls, chance: Random, nodes: tuple[int, ...]) -> Arguments:
        return {**super().draw(chance, nodes), "one_of": chance.choice((1, 3, 30))}

    def strike(self, shim: Shim) -> None:
        shim.tell("failing_writes", int(self.arguments["one_of"]))

    def mend(self, shim: Shim) -> None:
        shim.tell("failing_writes", 0)


class SyncError(ShimFault):
    """Syncs of a node's disk fail, all or some; what they were to sync is in the page cache still."""

    name = "sync-error"
    takes_nodes = True
    counts = "failed_syncs"
    what = "syncs failed with EIO"

    @classmethod
    def draw(cls, chance: Random, nodes: tuple[int, ...]) -> Arguments:
        return {**super().draw(chance, nodes), "one_of": chance.choice((1, 3, 30))}

    def strike(self, shim: Shim) -> None:
        shim.tell("failing_syncs", int(self.arguments["one_of"]))

    def mend(self, shim: Shim) -> None:
        shim.tell("failing_syncs", 0)


class SlowDisk(ShimFault):
    """Each write and sync of a node's disk takes longer."""

    name = "slow-disk"
    counts = "delayed_calls"
    what = "calls to a disk delayed"

    @classmethod
    def draw(cls, chance: Random, nodes: tuple[int, ...]) -> Arguments:
        sync_ms = chance.choice((5, 50, 500))
        return {**super().draw(chance, nodes), "sync_ms": sync_ms, "write_ms": chance.choice((0, 0, 1, 20))}

    def strike(self, shim: Shim) -> None:
        shim.tell("sync_delay_us", int(self.arguments["sync_ms"] * 1000))
        shim.tell("write_delay_us", int(self.arguments["write_ms"] * 1000))

    def mend(self, shim: Shim) -> None:
        shim.tell("sync_delay_us", 0)
        shim.tell("write_delay_us", 0)


class ClockFault(ShimFault):
    """The wall clock alone: what measures time that passes is the kernel's still."""

    needs = frozenset({"processes", "shim", "clocks"})
    counts = "skewed_reads"
    has_clock = True

    def mend(self, shim: Shim) -> None:
        shim.set_clock(0.0)


class ClockJump(ClockFault):
    """A node's clock jumps, forwards or backwards, and jumps back when it is healed."""

    name = "clock-jump"
    what = "times read that were off by a jump"

    @classmethod
    def draw(cls, chance: Random, nodes: tuple[int, ...]) -> Arguments:
        by_s = chance.choice((1, -1)) * chance.choice((1, 60, 3600, _MOST_JUMP_S))
        return {**super().draw(chance, nodes), "by_s": by_s}

    def strike(self, shim: Shim) -> None:
        shim.set_clock(float(self.arguments["by_s"]))


class ClockSkew(ClockFault):
    """A node's clock goes too fast or too slow, in steps of a second, and jumps back when it is healed."""

    name = "clock-skew"
    what = "times read that were off by a skew"

    def __init__(self, world: World, arguments: Arguments) -> None:
        super().__init__(world, arguments)
        self._drifting: asyncio.Task[None] | None = None

    @classmethod
    def draw(cls, chance: Random, nodes: tuple[int, ...]) -> Arguments:
        return {**super().draw(chance, nodes), "rate": chance.choice((0.1, 0.5, 0.8, 1.2, 2.0, 10.0))}

    def strike(self, shim: Shim) -> None:
        self._drifting = asyncio.create_task(self._drift(shim))

    async def _drift(self, shim: Shim) -> None:
        began_s = time.monotonic()
        while True:
            await asyncio.sleep(_DRIFT_STEP_S)
            shim.set_clock((float(self.arguments["rate"]) - 1) * (time.monotonic() - began_s))

    def mend(self, shim: Shim) -> None:
        if self._drifting is not None:
            self._drifting.cancel()
        super().mend(shim)
