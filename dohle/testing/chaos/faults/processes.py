"""Faults of processes: kill, pause, restart, and one after the other as for an upgrade."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random

from dohle.testing.chaos.fault import Arguments, Effect, Fault
from dohle.testing.chaos.world import World

_WHOLE_PATIENCE_S = 60.0
_POLL_S = 0.1


def draw_nodes(chance: Random, nodes: tuple[int, ...]) -> list[int]:
    """Returns one node mostly, some now and then, and seldom all."""
    count = chance.choices((1, chance.randint(1, len(nodes)), len(nodes)), (7, 2, 1))[0]
    return sorted(chance.sample(nodes, count))


class _OfNodes(Fault):
    takes_nodes = True
    needs = frozenset(("processes",))

    def __init__(self, world: World, arguments: Arguments) -> None:
        super().__init__(world, arguments)
        self._nodes: list[int] = list(arguments["nodes"])
        self._hit = 0

    @classmethod
    def draw(cls, chance: Random, nodes: tuple[int, ...]) -> Arguments:
        return {"nodes": draw_nodes(chance, nodes)}

    def _running(self) -> list[int]:
        return [node for node in self._nodes if self.world.pid(node) is not None]

    async def _start(self) -> None:
        await self.world.start(*(node for node in self._nodes if self.world.pid(node) is None))


class Kill(_OfNodes):
    """Ends processes as `kill -9` does; the kernel keeps what they wrote."""

    name = "kill"

    async def begin(self) -> None:
        running = self._running()
        self.world.kill(*running)
        self._hit = len(running)

    async def heal(self) -> None:
        await self._start()

    async def effect(self) -> Effect:
        return Effect(self._hit, "processes killed")


class Pause(_OfNodes):
    """Stops processes with all their connections open, as a long garbage collection or a suspended machine does."""

    name = "pause"
    lasts_s = (1.0, 12.0)

    def __init__(self, world: World, arguments: Arguments) -> None:
        super().__init__(world, arguments)
        self._paused: dict[int, int] = {}

    async def begin(self) -> None:
        self._paused = {node: pid for node in self._running() if (pid := self.world.pid(node)) is not None}
        self.world.pause(*self._paused)

    async def heal(self) -> None:
        self._hit = sum(self.world.pid(node) == pid for node, pid in self._paused.items())
        self.world.resume(*self._running())

    async def effect(self) -> Effect:
        return Effect(self._hit, "processes paused")


class Restart(_OfNodes):
    """Stops nodes in good order, and starts them after a while."""

    name = "restart"

    async def begin(self) -> None:
        running = self._running()
        await asyncio.gather(*map(self.world.stop, running))
        self._hit = len(running)

    async def heal(self) -> None:
        await self._start()

    async def effect(self) -> Effect:
        return Effect(self._hit, "processes stopped")


class RollingRestart(Fault):
    """Restarts each node in turn, the next once all replicas are in sync again, as an upgrade does."""

    name = "rolling-restart"
    takes_nodes = True
    needs = frozenset(("processes",))
    lasts_s = (10.0, 20.0)

    def __init__(self, world: World, arguments: Arguments) -> None:
        super().__init__(world, arguments)
        self._rolling: asyncio.Task[None] | None = None
        self._restarted = 0

    @classmethod
    def draw(cls, chance: Random, nodes: tuple[int, ...]) -> Arguments:
        return {"nodes": chance.sample(nodes, len(nodes))}

    async def begin(self) -> None:
        self._rolling = asyncio.create_task(self._roll())

    async def _roll(self) -> None:
        for node in self.arguments["nodes"]:
            await self.world.stop(node)
            await self.world.start(node)
            self._restarted += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WHOLE_PATIENCE_S):
                    await self._whole()

    async def _whole(self) -> None:
        async with self.world.view() as view:
            while (state := await view.state()) is None or not state.whole:
                await asyncio.sleep(_POLL_S)

    async def heal(self) -> None:
        """Has it come to its end, which may take longer than was drawn."""
        if self._rolling is not None:
            await self._rolling
        await self.world.start(*(node for node in self.arguments["nodes"] if self.world.pid(node) is None))

    async def effect(self) -> Effect:
        return Effect(self._restarted, "nodes restarted")
