"""Faults of packets, which take a world whose links lose them."""

from __future__ import annotations

from random import Random

from dohle.testing.chaos.fault import Arguments, Effect, Fault
from dohle.testing.chaos.faults.traffic import draw_links
from dohle.testing.chaos.world import LinkRule, World


class Loss(Fault):
    """Some packets get lost, as on a bad cable; connections stay, and send them again."""

    name = "loss"
    needs = frozenset(("links", "packets"))

    def __init__(self, world: World, arguments: Arguments) -> None:
        super().__init__(world, arguments)
        self._before = 0
        self._dropped = 0

    @classmethod
    def draw(cls, chance: Random, nodes: tuple[int, ...]) -> Arguments:
        return {"links": draw_links(chance, nodes), "loss": round(chance.uniform(0.01, 0.3), 4)}

    async def begin(self) -> None:
        self._before = self.world.links.counts().dropped_packets
        rule = LinkRule(loss=self.arguments["loss"])
        links = [(source, target) for source, target in self.arguments["links"]]
        await self.world.links.impose(self, dict.fromkeys(links, rule))

    async def heal(self) -> None:
        self._dropped = self.world.links.counts().dropped_packets - self._before
        await self.world.links.lift(self)

    async def effect(self) -> Effect:
        return Effect(self._dropped, "packets lost")
