"""Faults of traffic: what nodes send each other comes late, slowly, or their connections break."""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from random import Random
from typing import Any

from dohle.testing.chaos.fault import Arguments, Effect, Fault
from dohle.testing.chaos.world import Link, LinkRule, World


def draw_links(chance: Random, nodes: tuple[int, ...]) -> list[list[int]]:
    """Returns all links, those of one node, or one in one direction."""
    links = [[one, other] for one in nodes for other in nodes if one != other]
    node = chance.choice(nodes)
    return chance.choice((links, [link for link in links if node in link], [chance.choice(links)]))


def links_in(arguments: Arguments) -> list[Link]:
    return [(source, target) for source, target in arguments["links"]]


class _Slow(Fault):
    needs = frozenset(("links",))

    def __init__(self, world: World, arguments: Arguments) -> None:
        super().__init__(world, arguments)
        self._before = 0
        self._held = 0

    @classmethod
    def draw(cls, chance: Random, nodes: tuple[int, ...]) -> Arguments:
        return {"links": draw_links(chance, nodes), **cls.draw_rule(chance)}

    @classmethod
    @abstractmethod
    def draw_rule(cls, chance: Random) -> dict[str, Any]: ...

    async def begin(self) -> None:
        rule = LinkRule(**{name: value for name, value in self.arguments.items() if name != "links"})
        self._before = self.world.links.counts().held_bytes
        await self.world.links.impose(self, dict.fromkeys(links_in(self.arguments), rule))

    async def heal(self) -> None:
        self._held = self.world.links.counts().held_bytes - self._before
        await self.world.links.lift(self)

    async def effect(self) -> Effect:
        return Effect(self._held, "bytes held back")


class Delay(_Slow):
    """As over long distances, or through a busy switch."""

    name = "delay"

    @classmethod
    def draw_rule(cls, chance: Random) -> dict[str, Any]:
        delay_s = round(chance.uniform(0.001, 0.2), 4)
        return {"delay_s": delay_s, "jitter_s": round(delay_s * chance.random(), 4)}


class Stall(_Slow):
    """Nothing arrives for seconds, and then all of it."""

    name = "stall"

    @classmethod
    def draw_rule(cls, chance: Random) -> dict[str, Any]:
        return {"delay_s": round(chance.uniform(1.0, 6.0), 3)}


class Throttle(_Slow):
    """A link that is narrow, so that its queue grows."""

    name = "throttle"

    @classmethod
    def draw_rule(cls, chance: Random) -> dict[str, Any]:
        return {"bytes_per_s": chance.choice((2_000, 10_000, 50_000, 200_000))}


class Reset(Fault):
    """Connections end now and then, as by a firewall that forgets them; new ones can be made at once."""

    name = "reset"
    needs = frozenset(("links",))

    def __init__(self, world: World, arguments: Arguments) -> None:
        super().__init__(world, arguments)
        self._task: asyncio.Task[None] | None = None
        self._before = 0
        self._resets = 0

    @classmethod
    def draw(cls, chance: Random, nodes: tuple[int, ...]) -> Arguments:
        return {"links": draw_links(chance, nodes), "every_s": round(chance.uniform(0.2, 3.0), 3)}

    async def begin(self) -> None:
        self._before = self.world.links.counts().resets
        self._task = asyncio.create_task(self._reset())

    async def _reset(self) -> None:
        while True:
            for source, target in links_in(self.arguments):
                await self.world.links.reset(source, target)
            await asyncio.sleep(self.arguments["every_s"])

    async def heal(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._resets = self.world.links.counts().resets - self._before

    async def effect(self) -> Effect:
        return Effect(self._resets, "connections reset")
